"""An SQS that accepts and says nothing: no answer waits for the hint, and it is soon left alone."""

import logging
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

import functions.backfill.app
import functions.bars.app
import functions.monitoring.app
from nautilus.http.app import create_app
from nautilus.infra.breaker import Breaker
from nautilus.infra.messages import CommandHint, JobHint
from nautilus.infra.queue import Queue
from tests.support.markets import ns, nyse
from tests.support.neighbours import Relay, relay
from tests.support.replication import wait_for
from tests.support.stored_bars import BARS, Api, StoredBars, stock

NOW = ns("2024-01-12 17:00", "America/New_York")
START = ns("2024-01-12 09:30", "America/New_York")
CALENDAR = nyse(date(2023, 12, 1), 60)
LONG_S = 60.0
"""Longer than any answer takes: who waits for a hint waits until it is let through."""


@pytest.fixture
def hung(queue: SimpleNamespace) -> Iterator[Relay]:
    """A relay before the real SQS that passes nothing on."""
    with relay(queue.endpoint_url) as between:
        between.hang()
        yield between


@pytest.fixture
def stored_bars(dsn: str) -> Iterator[StoredBars]:
    made = StoredBars(dsn, NOW)
    for number, symbol in enumerate(("AAPL", "MSFT", "NVDA", "AMZN"), 1):
        made.instrument(stock(number, symbol), CALENDAR)
    made.record_session(START, NOW)
    yield made
    made.close()


def patient(queue: SimpleNamespace, hung: Relay) -> Queue:
    return Queue(hung.before(queue.url), endpoint=hung.before(queue.endpoint_url), patience_s=LONG_S)


def received(queue: SimpleNamespace) -> list[Any]:
    return [message.hint for message in Queue(queue.url, endpoint=queue.endpoint_url).receive(10)]


def test_reads_with_gaps_and_complete_reads_are_answered_before_their_hints_are_sent(
    stored_bars: StoredBars, queue: SimpleNamespace, hung: Relay, tmp_path: Path
) -> None:
    app = stored_bars.app(tmp_path)
    app.state.services.queue = patient(queue, hung)
    api = Api(app)
    symbols = ("MSFT", "NVDA", "AMZN", "AAPL")
    answers = api.all(
        *(api.client.get(BARS, params={"symbol": s, "timeframe": "1m", "wait": 0}) for s in symbols for _ in range(4))
    )
    assert {answer.status_code for answer in answers} == {200}
    assert [answer.json()["total"] for answer in answers[-4:]] == [390] * 4
    jobs = {row.id for row in stored_bars.rows("SELECT id FROM backfill_jobs")}
    assert len(jobs) == 3
    # Only now may the hints go: until here each would have taken a minute.
    hung.heal()
    assert app.state.services.queue.flush(30)
    found: set[Any] = set()
    while found < jobs:
        found |= {hint.job_id for hint in received(queue)}
    assert found == jobs
    api.close()


def test_a_backfill_its_stop_and_a_command_are_answered_before_their_hints_are_sent(
    stored_bars: StoredBars, queue: SimpleNamespace, hung: Relay, tmp_path: Path
) -> None:
    settings = stored_bars.app(tmp_path).state.services
    settings.queue = patient(queue, hung)
    app = create_app(functions.backfill.app.router, functions.monitoring.app.router, services=settings)
    api = Api(app)
    headers = stored_bars.user(1, "backfill:write", "session:write")

    def post(path: str, body: dict[str, Any] | None = None) -> Any:
        return api.all(api.client.post(path, json=body, headers=headers))[0]

    requested = post("/api/v1/ib/backfill", {"symbol": "MSFT", "timeframe": "1m", "start": START, "end": NOW})
    assert requested.status_code == 202, requested.text
    stopped = post("/api/v1/historical/backfill/stop", {"job_id": requested.json()["job_id"]})
    assert stopped.status_code == 200, stopped.text
    assert post("/api/v1/ib/session/reconnect").status_code == 202
    hung.heal()
    assert settings.queue.flush(30)
    api.close()


def test_an_sqs_that_said_nothing_is_left_alone_and_asked_again_after_a_rest(
    queue: SimpleNamespace, caplog: pytest.LogCaptureFixture
) -> None:
    time = SimpleNamespace(now=100.0)
    with relay(queue.endpoint_url) as between:
        ours = Queue(
            between.before(queue.url),
            endpoint=between.before(queue.endpoint_url),
            patience_s=0.3,
            breaker=Breaker(5, clock=lambda: time.now),
        )
        between.hang()
        with caplog.at_level(logging.WARNING):
            assert not ours.send(JobHint(job_id=uuid4()))
        assert "hint-not-sent" in caplog.text
        tried = between.accepted
        time.now = 104.9
        assert not ours.send(JobHint(job_id=uuid4()))
        ours.announce(JobHint(job_id=uuid4()))
        assert ours.flush(0), "nothing was begun"
        assert between.accepted == tried
        between.heal()
        time.now = 105.0
        wait_for(lambda: _sent(ours, time), "a hint that is taken again")


def _sent(queue: Queue, time: SimpleNamespace) -> bool:
    """Whether a hint is taken, after another rest."""
    time.now += 5
    return queue.send(JobHint(job_id=uuid4()))


def test_hints_that_cannot_go_do_not_pile_up(queue: SimpleNamespace, hung: Relay) -> None:
    ours = patient(queue, hung)
    for _ in range(1_000):
        ours.announce(JobHint(job_id=uuid4()))
    hung.heal()
    assert ours.flush(60)
    assert ours.send(JobHint(job_id=uuid4())), "it was not ill, only slow"


def test_an_answer_is_held_for_no_hint_of_an_earlier_one(hung: Relay) -> None:
    sender = Queue("http://127.0.0.1/queue", endpoint=hung.before("http://127.0.0.1"), patience_s=60)
    sender.announce(CommandHint(command_id=uuid4(), correlation_id=""))
    assert not sender.flush(0.2)
    assert sender.flush(0.2), "nothing new is under way"
    sender.announce(CommandHint(command_id=uuid4(), correlation_id=""))
    assert not sender.flush(0.2)
