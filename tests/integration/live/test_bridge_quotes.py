"""Quotes from a want to the bus: the real bridge, the simulator, PostgreSQL, Redis."""

from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from tests.support.live_stack import LiveStack, live_stack
from tests.support.stack import service_stack

STEPPED = ("--clock", "stepped", "--latency", "none", "--start", "2026-03-02T17:00:00Z")


@pytest.fixture
def live(servers: SimpleNamespace, dsn: str) -> Iterator[LiveStack]:
    with service_stack(servers.group, servers.folder, dsn, *STEPPED) as stack, live_stack(stack) as made:
        yield made


def test_a_want_becomes_a_line_a_row_and_messages_and_ends_when_nobody_wants_it(live: LiveStack) -> None:
    live.start_bridge(live_linger_s="0")
    apple = live.instrument("AAPL")
    live.want("user:1", [live.quotes("AAPL")])
    live.wait_state("AAPL", "live")
    live.advance(2)
    channel = "data.quotes.NASDAQ.AAPL"
    live.wait(lambda: live.messages("quote", channel), "a quote is published")
    (row,) = live.rows("SELECT bid, ask, last, volume, feed, ts, seen_at FROM live_quotes WHERE con_id = %s", apple)
    assert row.bid < row.ask
    assert row.feed == "live"
    newest = live.messages("quote", channel)[-1]
    live.wait(lambda: live.messages("quote", channel)[-1]["bid"] == live.quote_row("AAPL").bid, "row and message agree")
    assert newest["ts"] is not None
    assert [m["state"] for m in live.messages("stream", channel)][:3] == ["wanted", "asking", "live"]
    live.want("user:2", [live.quotes("AAPL")])
    live.drop("user:1")
    live.want("user:3", [live.quotes("MSFT")])
    live.wait_state("MSFT", "live")  # so the bridge has read that one of them has gone
    assert len(live.received("reqMktData")) == 2, "two want it: one line, beside the other instrument's"
    assert live.received("cancelMktData") == []
    live.drop("user:2")
    live.wait(lambda: live.received("cancelMktData"), "the last one has gone")
    live.wait(lambda: live.stream("AAPL") is None, "the row goes, too")
    assert len(live.received("cancelMktData")) == 1
    assert live.errors() == []


def test_ticks_come_one_by_one_and_the_sixth_stream_waits(live: LiveStack) -> None:
    live.start_bridge()
    symbols = ("AAPL", "MSFT", "SPY", "MANY01", "MANY02", "MANY03")
    live.want("user:1", [live.ticks(symbol) for symbol in symbols])
    live.wait(lambda: len(live.received("reqTickByTickData")) == 5, "five are requested")
    live.advance(20)
    live.wait(lambda: [m for m in live.all if m["t"] == "trade"], "trades are published", 60, live.streams)
    first = next(m for m in live.all if m["t"] == "trade")
    assert first["c"].startswith("data.trades.")
    assert set(first) >= {"price", "size", "ts", "seen", "exchange", "conditions"}
    assert "2026-03-02T17:00:00Z" <= first["ts"] <= "2026-03-02T17:00:20Z"
    waiting = [row for row in live.streams() if row.state == "waiting"]
    assert [row.reason for row in waiting] == ["no_tick_by_tick_stream_free"]
    assert live.errors() == []
