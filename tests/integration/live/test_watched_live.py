"""The watch list, wants and quotes from the API to IB and back: the real bridge, the simulator, PostgreSQL."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.live_stack import LiveStack, live_stack
from tests.support.stack import service_stack

STEPPED = ("--clock", "stepped", "--latency", "none", "--start", "2026-03-02T17:00:00Z")
WATCH = "/api/v1/market-data/watchlist"
LIVE = "/api/v1/market-data/live"
QUOTES = "/api/v1/market-data/quotes"
SETTING = "AAPL.NASDAQ:1m,EUR/USD.IDEALPRO:1m,NEVERHEARDOF.NYSE:1m"


@pytest.fixture
def live(servers: SimpleNamespace, dsn: str) -> Iterator[LiveStack]:
    settings = {"NAUTILUS_LIVE_WATCH": SETTING}
    with (
        service_stack(servers.group, servers.folder, dsn, *STEPPED, settings=settings) as stack,
        live_stack(stack) as made,
    ):
        yield made


def rows(live: LiveStack, path: str, kind: str, **params: str) -> list[dict[str, Any]]:
    answer = live.stack.client.get(path, params=params)
    assert answer.status_code == 200, answer.text
    return list(answer.json()[kind])


def test_names_of_the_setting_are_looked_up_and_kept_live(live: LiveStack) -> None:
    unknown = [row["reason"] for row in rows(live, WATCH, "series")]
    assert unknown == ["unknown_instrument"] * 3
    live.start_bridge(live_linger_s="1")
    watched = lambda: {row["series"]: row["state"] for row in rows(live, WATCH, "series")}  # noqa: E731
    live.wait(lambda: list(watched().values()).count("live") == 2, "both are live", 60, watched)
    assert watched() == {
        "AAPL.NASDAQ:1m:TRADES:rth": "live",
        "EUR/USD.IDEALPRO:1m:MIDPOINT:all": "live",
        "NEVERHEARDOF.NYSE:1m": "waiting",
    }
    live.advance(120)

    def confirmed() -> bool:
        return all(row["confirmed_until"] and row["age_s"] < 600 for row in rows(live, WATCH, "series")[:2])

    live.wait(confirmed, "history has confirmed them", 60, lambda: rows(live, WATCH, "series"))
    assert not any(row["stale"] for row in rows(live, WATCH, "series")[:2])
    answer = live.stack.client.put(WATCH, json={"series": [{"symbol": "MSFT"}]})
    assert answer.status_code == 200, answer.text
    live.wait(lambda: watched() == {"MSFT.NASDAQ:1m:TRADES:rth": "live"}, "the new list holds", 60, watched)
    live.wait(lambda: len(live.streams()) == 1, "nobody wants the others any more", 60, live.streams)
    codes = [code for code, _ in live.errors()]
    assert set(codes) <= {200, 162}, "an unknown name, and bars that ended because they were cancelled"
    assert codes.count(200) == 1, "IB is not asked about it again and again"


def test_what_a_caller_wants_becomes_quotes_and_ends_with_him(live: LiveStack) -> None:
    live.start_bridge(live_linger_s="1", live_watch="")
    client = live.stack.client
    answer = client.post(LIVE, json={"wants": [{"symbol": "AAPL", "kind": "quotes"}]})
    assert answer.status_code == 200, "IB was asked what AAPL is"
    live.wait_state("AAPL", "live", "quotes")
    live.advance(2)
    live.wait(lambda: rows(live, QUOTES, "quotes", symbols="AAPL")[0]["quote"], "a quote is there")
    (row,) = rows(live, QUOTES, "quotes", symbols="AAPL")
    assert (row["state"], row["stale"], row["reason"], row["quote"]["feed"]) == ("live", False, None, "live")
    assert 0 < row["quote"]["bid"] < row["quote"]["ask"]
    (want,) = rows(live, LIVE, "wants")
    assert (want["channel"], want["state"], want["source"]) == ("data.quotes.NASDAQ.AAPL", "live", "mkt")
    assert client.delete(LIVE, params={"all": "true"}).json()["dropped"] == ["data.quotes.NASDAQ.AAPL"]
    live.wait(lambda: live.received("cancelMktData"), "the line is given back")
    (row,) = rows(live, QUOTES, "quotes", symbols="AAPL")
    live.wait(lambda: rows(live, QUOTES, "quotes", symbols="AAPL")[0]["reason"] == "not_wanted", "the stream is gone")
    (row,) = rows(live, QUOTES, "quotes", symbols="AAPL")
    assert row["stale"] is True
    assert row["quote"]["bid"], "the last quote is shown for what it is"
