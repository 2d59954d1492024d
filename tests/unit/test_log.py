"""Log lines: what a monitor and a person find in each."""

import io
import json
import logging
from datetime import UTC, datetime

import pytest

from nautilus.log import correlated, invocation, logger


@pytest.fixture
def log():
    """The logger of a process called `bars`."""
    made = logger("bars")
    yield made
    made.handlers = []


def lines(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_line_is_an_action_and_its_ids(log, capsys):
    before = datetime.now(UTC)
    log.info("chunk-done", extra={"chunk_id": 7, "what": {"a": [1]}, "day": before.date()})
    (line,) = lines(capsys)
    at = datetime.fromisoformat(line.pop("timestamp"))
    assert 0 <= (at - before).total_seconds() + 0.001 < 5
    assert at.tzinfo == UTC
    assert line.pop("location").startswith("test_a_line_is_an_action_and_its_ids:")
    assert line == {
        "level": "INFO",
        "message": "chunk-done",
        "service": "bars",
        "chunk_id": 7,
        "what": {"a": [1]},
        "day": str(before.date()),
    }


def test_ids_of_request_and_event_are_on_each_line_of_theirs(log, capsys):
    with correlated("wish-1"):
        token = invocation.set("event-1")
        log.info("one")
        invocation.reset(token)
        log.info("two", extra={"correlation_id": "another"})
    log.info("three")
    one, two, three = lines(capsys)
    assert (one["correlation_id"], one["function_request_id"]) == ("wish-1", "event-1")
    assert (two["correlation_id"], "function_request_id" in two) == ("another", False)
    assert not {"correlation_id", "function_request_id"} & set(three)


def test_an_exception_is_one_line_with_its_traceback(log, capsys):
    try:
        raise KeyError("nobody expected this")
    except KeyError:
        log.exception("request-broke", extra={"path": "/x"})
    (line,) = lines(capsys)
    assert (line["level"], line["path"], line["exception_name"]) == ("ERROR", "/x", "KeyError")
    assert line["exception"].startswith("Traceback")
    assert "nobody expected this" in line["exception"]
    log.error("no exception", exc_info=True)
    assert "exception" not in lines(capsys)[0]


def test_what_our_modules_say_is_such_a_line_and_is_written_once(log, capsys):
    """Lambda's runtime has a handler at the root: it must not write the line again."""
    root = logging.StreamHandler(io.StringIO())
    logging.getLogger().addHandler(root)
    logging.getLogger("nautilus.infra.queue").warning("hint-not-sent: %s", "ü\n")
    logging.getLogger().removeHandler(root)
    (line,) = lines(capsys)
    assert (line["message"], line["service"], line["level"]) == ("hint-not-sent: ü\n", "bars", "WARNING")
    assert root.stream.getvalue() == ""


def test_less_severe_lines_are_left_out(capsys):
    log = logger("bars", "WARNING")
    log.info("chunk-done")
    log.warning("pacing")
    assert [line["message"] for line in lines(capsys)] == ["pacing"]
    logger("bars", "INFO").handlers = []
