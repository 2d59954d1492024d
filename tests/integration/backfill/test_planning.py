"""Planning when IB's limits leave no room for the heads it asks for: nobody else waits, and who does is told why."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from nautilus.backfill.pacing import BURST_COUNT, PacingLimits, Request
from nautilus.clock import NS_PER_S
from nautilus.db.ledger import requests
from tests.support.stack import ServiceStack, service_stack

NOW = "2026-03-04T17:30:30Z"
WINDOW_S = 601
BACKGROUND = PacingLimits().period_weight - PacingLimits().reserve
LONG = {"timeframe": "1h", "start": "2023-06-01T00:00:00Z", "end": "2026-03-04T00:00:00Z"}
"""Six requests, so that its head is worth asking for: more than IB takes in two seconds."""


@pytest.fixture
def stack(servers: SimpleNamespace, dsn: str) -> Iterator[ServiceStack]:
    """A service stack whose market time stands still until it is moved."""
    options = ("--latency", "none", "--clock", "stepped", "--start", NOW)
    with service_stack(servers.group, servers.folder, dsn, *options) as made:
        made.start_bridge()
        yield made


def callers(stack: ServiceStack, count: int, ago_s: float = 30) -> None:
    """So many small requests went out so long ago."""
    (login,) = (row.login for row in stack.rows("SELECT login FROM ib_sessions"))
    at = stack.market_ns() - round(ago_s * NS_PER_S)
    with stack.db.transaction() as cursor:
        for number in range(count):
            requested = Request(f"{ago_s}|{number}", f"{ago_s}|{number}", small=True)
            requests.insert(cursor, login, "another", kind="bars", request=requested, sent_at=at)


def finished(stack: ServiceStack, job_id: str) -> dict[str, Any]:
    """The job when it has ended, with some seconds of market time whenever it needs them."""

    def ended() -> bool:
        stack.advance(3)
        return bool(stack.job(job_id)["finished_at"])

    stack.wait(ended, f"job {job_id} ends", 60, lambda: stack.job(job_id), every_s=0.3)
    return stack.job(job_id)


def waiting(stack: ServiceStack, job_id: str) -> dict[str, Any]:
    """The job, once it says that it waits for IB's limits."""
    stack.wait(lambda: stack.job(job_id)["blocked_on"] == "pacing", "it waits", tell=lambda: stack.job(job_id))
    return stack.job(job_id)


def test_a_job_whose_head_must_wait_says_so_and_others_go_first(stack: ServiceStack) -> None:
    callers(stack, BACKGROUND)
    late = stack.backfill(symbol="IWM", **LONG)
    assert waiting(stack, late)["status"] == "queued"
    soon = stack.backfill(symbol="AAPL", timeframe="1h", days_back=20)
    assert stack.finished(soon)["status"] == "succeeded"
    assert not stack.received("reqHeadTimestamp")
    stack.advance(WINDOW_S)
    assert finished(stack, late)["status"] == "succeeded"
    assert len(stack.received("reqHeadTimestamp")) == 1


def test_what_is_planned_of_a_job_arrives_while_the_rest_waits(stack: ServiceStack) -> None:
    callers(stack, BACKGROUND - 1)
    job = stack.backfill(symbols=["AAPL", "IWM"], timeframes=["1h"], start=LONG["start"], end=LONG["end"])
    stack.wait(lambda: stack.job(job)["progress"]["chunks_done"] == BURST_COUNT - 1, "all that one may ask for at once")
    stack.advance(3)
    half = waiting(stack, job)
    assert (half["status"], [item["state"] for item in half["items"]]) == ("queued", ["planned", "queued"])
    assert half["progress"]["bars_new"] > 0
    stack.advance(WINDOW_S)
    whole = finished(stack, job)
    assert (whole["status"], whole["blocked_on"]) == ("succeeded", None)
    assert whole["progress"]["chunks_done"] == whole["progress"]["chunks_total"] > half["progress"]["chunks_total"]


def test_a_backfill_of_few_requests_does_not_wait_for_its_head(stack: ServiceStack) -> None:
    callers(stack, BACKGROUND)
    job = stack.finished(stack.backfill(symbol="IWM", timeframe="1d", start="2023-06-01T00:00:00Z", end=LONG["end"]))
    assert (job["status"], job["progress"]["requests_sent"]) == ("succeeded", 1)
    assert not stack.received("reqHeadTimestamp")


def test_a_person_who_waits_for_old_bars_has_the_reserve_for_their_head(stack: ServiceStack) -> None:
    callers(stack, BACKGROUND)
    stack.bars(symbol="IWM", **LONG, wait=0)
    stack.wait(lambda: stack.received("reqHeadTimestamp"), "the head is asked for")


def test_a_head_has_the_next_place_before_small_bars(stack: ServiceStack) -> None:
    callers(stack, 1, ago_s=590)
    callers(stack, BACKGROUND - 1)
    small = stack.backfill(symbol="AAPL", timeframe="30s", days_back=2)
    waiting(stack, small)
    late = stack.backfill(symbol="IWM", **LONG)
    waiting(stack, late)
    stack.advance(11)
    assert finished(stack, late)["status"] == "succeeded"
    assert not [one for one in stack.received("reqHistoricalData") if one["fields"]["barSize"] == "30 secs"]
    stack.advance(WINDOW_S)
    assert finished(stack, small)["status"] == "succeeded"
