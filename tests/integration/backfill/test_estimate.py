"""What a dry run foretells is what the bridge then does, by the bridge's own numbers."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from nautilus.backfill.pacing import Request
from nautilus.clock import rfc3339
from nautilus.db.ledger import requests
from tests.conftest import Server, database
from tests.support.stack import ServiceStack, service_stack

START = "2026-03-04T17:30:30Z"


@pytest.fixture(scope="module")
def stack(servers: SimpleNamespace, server: Server, template: str) -> Iterator[ServiceStack]:
    """A bridge whose requests are shorter than the built-in ones, with one of them open at a time."""
    options = ("--latency", "none", "--clock", "rate:20", "--start", START)
    with database(server, template) as dsn, service_stack(servers.group, servers.folder, dsn, *options) as made:
        made.start_bridge(chunk_spans="1m=43200,30s=14400,1h=604800,1d=2592000", max_open_requests="1")
        made.wait(lambda: made.session()["state"] == "connected", "the session works")
        yield made


def foretold(stack: ServiceStack, **request_: Any) -> dict[str, Any]:
    answer = stack.client.post("/api/v1/ib/backfill", json=request_ | {"dry_run": True})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def planned(stack: ServiceStack, **request_: Any) -> tuple[dict[str, Any], list[tuple[int, int]]]:
    """The job when it has ended, and the windows of its chunks."""
    job = stack.finished(stack.backfill(**request_))
    rows = stack.rows(
        "SELECT window_start, window_end FROM backfill_chunks c JOIN job_chunks j ON j.chunk_id = c.id"
        " WHERE j.job_id = %s ORDER BY 1",
        job["job_id"],
    )
    return job, [(row.window_start, row.window_end) for row in rows]


def texts(stack: ServiceStack, windows: list[tuple[int, int]]) -> list[dict[str, str]]:
    return [{"start": rfc3339(start), "end": rfc3339(end)} for start, end in windows]


WEEK = {"symbol": "AAPL", "start": "2026-02-23T00:00:00Z", "end": "2026-02-28T00:00:00Z"}


@pytest.mark.parametrize(
    ("request_", "count"),
    [
        (WEEK | {"timeframe": "1m", "end": "2026-02-25T00:00:00Z"}, 2),
        (WEEK | {"timeframe": "1m"}, 3),  # what is left, each with some bars of what is there
        (WEEK | {"timeframe": "1m", "mode": "force"}, 5),
        (WEEK | {"timeframe": "30s", "end": "2026-02-24T00:00:00Z"}, 2),
        (WEEK | {"timeframe": "1h", "start": "2026-02-02T00:00:00Z"}, 4),
        (WEEK | {"timeframe": "1d", "start": "2025-10-01T00:00:00Z"}, 5),
        ({"symbol": "EUR/USD", "timeframe": "1h", "start": "2026-02-02T00:00:00Z", "end": "2026-02-28T00:00:00Z"}, 4),
    ],
)
def test_a_dry_run_equals_the_plan_of_a_bridge_with_other_numbers(
    stack: ServiceStack, request_: dict[str, Any], count: int
) -> None:
    # The first of its calendar teaches its sessions: what is compared rests on no guess.
    lesson = {"timeframe": "8h", "start": "2025-09-20T00:00:00Z", "end": "2026-03-01T00:00:00Z", "mode": "force"}
    stack.finished(stack.backfill(symbol=request_["symbol"], **lesson))
    body = foretold(stack, **request_)
    assert not body["approximate"]
    job, windows = planned(stack, **request_)
    assert body["requests"] == len(windows) == job["progress"]["requests_sent"] == count
    assert sorted(body["items"][0]["chunks"], key=lambda c: c["start"]) == texts(stack, windows)


def test_a_dry_run_tells_of_the_head_that_is_asked_for_first(stack: ServiceStack) -> None:
    request_ = {"symbol": "IWM", "timeframe": "1d", "start": "2024-06-01T00:00:00Z", "end": "2026-03-01T00:00:00Z"}
    assert foretold(stack, **request_)["head_requests"] == 1
    stack.finished(stack.backfill(**request_))
    assert len(stack.received("reqHeadTimestamp")) == 1
    assert foretold(stack, **request_ | {"mode": "force"})["head_requests"] == 0


def test_a_head_is_foretold_once_for_all_timeframes_that_want_it(stack: ServiceStack) -> None:
    request_ = {"symbols": ["QQQ", "SPY"], "start": "2024-06-01T00:00:00Z", "end": "2026-03-01T00:00:00Z"}
    body = foretold(stack, **request_, timeframes=["8h", "4h", "1d"])
    requested = len(stack.received("reqHeadTimestamp"))
    stack.finished(stack.backfill(**request_, timeframes=["8h", "4h", "1d"]))
    assert body["head_requests"] == len(stack.received("reqHeadTimestamp")) - requested == 2
    assert [item["head_requests"] for item in body["items"]] == [1, 0, 0] * 2


def test_the_time_foretold_goes_by_the_requests_the_bridge_has_open(stack: ServiceStack) -> None:
    request_ = {"symbol": "MSFT", "timeframe": "1m", "start": "2026-01-05T00:00:00Z", "end": "2026-02-28T00:00:00Z"}
    with stack.db.transaction() as cursor:
        for number in range(50):  # answers that take a minute each, so that they are what bounds it
            sent = Request(f"slow|{number}", "slow", small=False)
            booked = requests.insert(cursor, "another", "another", kind="bars", request=sent, sent_at=stack.market_ns())
            requests.close(cursor, booked, "ok", ms=60_000, bars=1)
    alone = foretold(stack, **request_)
    assert alone["seconds"] >= 60 * alone["requests"]
    stack.stop_bridge()
    stack.start_bridge(chunk_spans="1m=43200,30s=14400,1h=604800,1d=2592000", max_open_requests="50")
    stack.wait(lambda: foretold(stack, **request_)["seconds"] <= alone["seconds"] / 2, "the new number is published")


def test_a_read_counts_the_requests_that_the_bridge_would_make(stack: ServiceStack) -> None:
    """Fifteen days are three requests by the built-in numbers, and more than a read may queue by the bridge's."""
    answer = stack.bars(symbol="QQQ", timeframe="1h", start="2025-09-20T00:00:00Z", end="2026-02-28T00:00:00Z", wait=0)
    assert answer["job_id"] is None
    assert "backfill" in answer
