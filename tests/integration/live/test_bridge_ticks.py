"""Ticks of trades, quotes and midpoints from a want to the bus: each of them, and IB's limits kept over every outage."""

from collections.abc import Iterator
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest

from ib_gateway_sim.market.contracts import ContractQuery
from ib_gateway_sim.market.generated.market import Market
from nautilus.clock import NS_PER_S, rfc3339
from tests.integration.live.test_bridge_bars import NOON, run
from tests.support.live_stack import LiveStack, live_stack
from tests.support.stack import service_stack

STEPPED = ("--clock", "stepped", "--latency", "none", "--start", "2026-03-02T17:00:00Z")
TRADES, QUOTES, MIDPOINTS = (f"data.{kind}.NASDAQ.AAPL" for kind in ("trades", "quote_ticks", "midpoint_ticks"))
CHANNELS = {"TRADES": TRADES, "BID_ASK": QUOTES, "MIDPOINT": MIDPOINTS}
KINDS = {"TRADES": "trade", "BID_ASK": "quote_tick", "MIDPOINT": "midpoint_tick"}
IB_WORDS = {"TRADES": "Last", "BID_ASK": "BidAsk", "MIDPOINT": "MidPoint"}
PAUSE_S = 15


@pytest.fixture
def live(servers: SimpleNamespace, dsn: str) -> Iterator[LiveStack]:
    with service_stack(servers.group, servers.folder, dsn, *STEPPED) as stack, live_stack(stack) as made:
        yield made


def requested(live: LiveStack) -> list[tuple[str, str]]:
    """(symbol, IB's kind) of each request for ticks, in order."""
    return [(row["fields"]["symbol"], row["fields"]["tickType"]) for row in live.received("reqTickByTickData")]


def sent_at(live: LiveStack, symbol: str = "AAPL") -> list[float]:
    """Market seconds after noon of the requests for ticks of an instrument, by the pacing book."""
    identity = f"live|tbt|{live.instrument(symbol)}"
    query = "SELECT sent_at FROM ib_requests WHERE kind = 'live-tbt' AND identity = %s ORDER BY sent_at"
    return [(row.sent_at - NOON) / NS_PER_S for row in live.rows(query, identity)]


def states(live: LiveStack) -> dict[str, str]:
    return {row.price: row.state for row in live.streams() if row.kind == "ticks"}


def want_all(live: LiveStack) -> None:
    live.want("user:1", [live.ticks("AAPL", price) for price in KINDS])


def wait_for_all(live: LiveStack) -> None:
    """Let market time pass until all three speak."""
    for _ in range(40):
        if set(states(live).values()) == {"live"} and len(states(live)) == 3:
            return
        live.advance(5)
    raise AssertionError(f"not all are live: {live.streams()}")


def assert_paced(live: LiveStack) -> None:
    """No two requests for ticks of one instrument within 15 s, and nothing that IB would have refused."""
    at = sent_at(live)
    assert all(later - earlier >= PAUSE_S for earlier, later in pairwise(at)), at
    assert live.violations() == []


def published(live: LiveStack, price: str, since: int, until: int) -> list[tuple[Any, ...]]:
    """The ticks that were published, by IB's time."""
    names = {"TRADES": ("price", "size"), "BID_ASK": ("bid", "ask", "bid_size", "ask_size"), "MIDPOINT": ("price",)}
    found = live.messages(KINDS[price], CHANNELS[price])
    return [(m["ts"], *(m[name] for name in names[price])) for m in found if rfc3339(since) <= m["ts"] < rfc3339(until)]


def true_ticks(price: str, since: int, until: int) -> list[tuple[Any, ...]]:
    """The ticks of the market itself."""
    market = Market(7)
    (one,) = market.find(
        ContractQuery(symbol="AAPL", sec_type="STK", exchange="SMART", currency="USD"), NOON / NS_PER_S
    )
    found = market.ticks(one, price, since / NS_PER_S, until / NS_PER_S, 100_000)
    values = {
        "TRADES": lambda tick: (tick.price, tick.size),
        "BID_ASK": lambda tick: (tick.bid, tick.ask, tick.bid_size, tick.ask_size),
        "MIDPOINT": lambda tick: (tick.price,),
    }
    return [(rfc3339(int(tick.t_s) * NS_PER_S), *values[price](tick)) for tick in found]


def test_each_tick_of_the_market_is_published_once_whatever_it_is_of(live: LiveStack) -> None:
    live.start_bridge()
    want_all(live)
    wait_for_all(live)
    run(live, 20, 5)
    since = live.stack.market_ns() - 10 * NS_PER_S
    until = since + 60 * NS_PER_S
    run(live, 60, 10)
    for price in KINDS:
        true = true_ticks(price, since, until)
        assert len(true) > 10
        live.wait(lambda: published(live, price, since, until) == true, f"all ticks of {price}", 30)  # noqa: B023
    numbers = [m["seq"] for m in live.all if m["c"] == QUOTES]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert (live.missed, live.errors()) == (0, [])
    assert live.stack.session()["activity"]["live_tick_by_tick"] == {"limit": 5, "used": 3}


def test_streams_of_ticks_of_one_instrument_begin_fifteen_seconds_apart_and_others_do_not_wait(live: LiveStack) -> None:
    live.start_bridge()
    live.want("user:1", [live.ticks("AAPL", price) for price in KINDS] + [live.ticks("MSFT", "BID_ASK")])
    live.wait(lambda: len(requested(live)) == 2, "one of each instrument is requested", 30, live.streams)
    assert {symbol for symbol, _ in requested(live)} == {"AAPL", "MSFT"}

    def waiting() -> list[tuple[str, str]]:
        return [(row.state, row.reason) for row in live.streams() if row.state == "wanted"]

    live.wait(lambda: waiting() == [("wanted", "pacing")] * 2, "the others of AAPL wait with the reason", 30, waiting)
    live.advance(14)
    live.wait(lambda: live.stack.market_ns() >= NOON + 14 * NS_PER_S, "the bridge sees the time")
    assert len(requested(live)) == 2
    run(live, 40, 4)
    live.wait(lambda: len(requested(live)) == 4, "all are requested", 30, live.streams)
    assert sorted(kind for symbol, kind in requested(live) if symbol == "AAPL") == sorted(IB_WORDS.values())
    assert_paced(live)


@pytest.mark.parametrize("outage", ["1101", "competing", "drop", "farm"])
def test_ticks_of_every_kind_are_requested_again_after_an_outage_within_ibs_limits(
    live: LiveStack, outage: str
) -> None:
    live.start_bridge()
    want_all(live)
    wait_for_all(live)
    if outage == "1101":
        live.sim.command("lost")
        live.advance(5)
        live.sim.command("restored lost")
    elif outage == "competing":
        live.sim.command("competing on")
        run(live, 20, 5)
        live.sim.command("competing off")
    elif outage == "drop":
        live.sim.command("drop")
    else:
        live.sim.command("farm_flap usfarm 3 dead")
    for _ in range(24):
        live.advance(5)
    live.wait(lambda: len(requested(live)) >= 6, "all three are requested again", 30, live.streams)
    wait_for_all(live)
    counts = {price: len(live.messages(KINDS[price], CHANNELS[price])) for price in KINDS}
    run(live, 40, 10)
    for price, before in counts.items():
        live.wait(lambda: len(live.messages(KINDS[price], CHANNELS[price])) > before, f"{price} speaks again")  # noqa: B023
    assert_paced(live)


def test_a_bridge_that_follows_a_killed_one_keeps_the_pause_of_fifteen_seconds(live: LiveStack) -> None:
    live.start_bridge()
    live.want("user:1", [live.ticks("AAPL", "BID_ASK")])
    live.wait(lambda: len(requested(live)) == 1, "it is requested")
    live.advance(2)
    live.wait(lambda: live.messages("quote_tick", QUOTES), "it speaks")
    live.stack.kill_bridge()
    live.start_bridge()

    def reason() -> str:
        row = live.stream("AAPL", "ticks")
        return row.reason if row is not None and row.state == "wanted" else ""

    live.wait(lambda: reason() == "pacing", "the next bridge waits", 30, live.streams)
    assert len(requested(live)) == 1
    run(live, 20, 4)
    live.wait(lambda: len(requested(live)) == 2, "it is requested again", 30, live.streams)
    live.advance(5)
    live.wait_state("AAPL", "live", "ticks")
    assert_paced(live)


def test_what_ib_refuses_of_ticks_of_quotes_is_told_with_the_reason(live: LiveStack) -> None:
    live.start_bridge()
    live.want("user:1", [live.ticks("NOPERM", "BID_ASK")])
    row = live.wait_state("NOPERM", "refused", "ticks")
    assert (row.price, row.reason, row.refused_code) == ("BID_ASK", "no_permission", 10189)
    (message, *_) = [m for m in live.all if m["t"] == "stream" and m["state"] == "refused"]
    assert message["c"].startswith("data.quote_ticks.")
