"""A backfill says when it will end: not by its mean rate, but by when IB's limits let the rest of its requests out."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from nautilus.backfill.pacing import MARGIN_NS, PERIOD_NS, PacingLimits, Request
from nautilus.clock import NS_PER_S, parse_rfc3339
from nautilus.db.ledger import requests
from tests.support.stack import ServiceStack, service_stack

NOW = "2026-03-04T17:30:30Z"
BACKGROUND = PacingLimits().period_weight - PacingLimits().reserve
AGO_S = 60


@pytest.fixture
def stack(servers: SimpleNamespace, dsn: str) -> Iterator[ServiceStack]:
    """A service stack whose market time stands still until it is moved: seconds are those of market time."""
    options = ("--latency", "none", "--clock", "stepped", "--start", NOW)
    with service_stack(servers.group, servers.folder, dsn, *options) as made:
        made.start_bridge()
        yield made


def callers(stack: ServiceStack, count: int) -> int:
    """So many small requests went out a minute ago; returns when the first of them leaves IB's ten minutes."""
    (login,) = (row.login for row in stack.rows("SELECT login FROM ib_sessions"))
    at = stack.market_ns() - AGO_S * NS_PER_S
    with stack.db.transaction() as cursor:
        for number in range(count):
            requests.insert(
                cursor, login, "another", kind="bars", request=Request(f"{number}", f"{number}", True), sent_at=at
            )
    return at + PERIOD_NS + MARGIN_NS


def blocked(stack: ServiceStack, job_id: str) -> dict[str, Any]:
    def paced() -> bool:
        return bool(stack.job(job_id)["blocked_on"] == "pacing")

    stack.wait(paced, "it waits for IB's limits", tell=lambda: stack.job(job_id))
    return stack.job(job_id)


def test_a_paced_job_ends_when_the_book_lets_its_last_request_out(stack: ServiceStack) -> None:
    free = callers(stack, BACKGROUND - 3)
    job = stack.backfill(symbol="AAPL", timeframe="30s", start="2026-02-23T00:00:00Z", end="2026-03-04T17:00:00Z")
    stack.wait(lambda: stack.job(job)["progress"]["chunks_done"] == 3, "three requests find a place")
    body = blocked(stack, job)
    left = (free - stack.market_ns()) / NS_PER_S
    assert left == pytest.approx(540, abs=1)
    # Nothing but the book holds the rest: a request or two after the window, five in two seconds, and an answer.
    assert left <= body["eta_seconds"] <= left + 10, body
    assert parse_rfc3339(body["next_request_at"]) == free
    stack.advance(300)
    assert blocked(stack, job)["eta_seconds"] == pytest.approx(body["eta_seconds"] - 300, abs=5)
    stack.advance(242)  # the window is free again

    def ended() -> bool:
        stack.advance(3)
        return bool(stack.job(job)["finished_at"])

    stack.wait(ended, "it ends", every_s=0.3)
    over = stack.job(job)
    assert (over["eta_seconds"], over["next_request_at"]) == (None, None)


def test_a_job_whose_head_waits_says_so_before_it_is_planned(stack: ServiceStack) -> None:
    free = callers(stack, BACKGROUND)
    job = stack.backfill(symbol="IWM", timeframe="1h", start="2023-06-01T00:00:00Z", end="2026-03-04T00:00:00Z")
    body = blocked(stack, job)
    assert body["status"] == "queued"
    left = (free - stack.market_ns()) / NS_PER_S
    assert parse_rfc3339(body["next_request_at"]) == free
    assert left <= body["eta_seconds"] <= left + 30, body


def test_while_there_is_no_session_nobody_can_say(stack: ServiceStack) -> None:
    callers(stack, BACKGROUND)
    job = stack.backfill(symbol="AAPL", timeframe="30s", start="2026-02-23T00:00:00Z", end="2026-03-04T17:00:00Z")
    assert blocked(stack, job)["eta_seconds"] is not None
    stack.stop_bridge()
    body = stack.job(job)
    assert (body["blocked_on"], body["eta_seconds"], body["next_request_at"]) == ("ib_session", None, None)
