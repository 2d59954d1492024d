"""Outages of every kind: what is lost is told, requested again within IB's limits, and whole in the end."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from nautilus.clock import rfc3339
from tests.integration.live.test_bridge_bars import AAPL_1M, NOON, PRICES, differences, final, history, run
from tests.support.live_stack import LiveStack, live_stack
from tests.support.markets import MINUTE
from tests.support.stack import service_stack

STEPPED = ("--clock", "stepped", "--latency", "none", "--start", "2026-03-02T17:00:00Z")


@pytest.fixture
def live(servers: SimpleNamespace, dsn: str) -> Iterator[LiveStack]:
    with service_stack(servers.group, servers.folder, dsn, *STEPPED) as stack, live_stack(stack) as made:
        yield made


def kept_up(live: LiveStack) -> list[Any]:
    return [row for row in live.received("reqHistoricalData") if row["fields"]["keepUpToDate"]]


def closed_until(live: LiveStack, minutes: int, channel: str = AAPL_1M) -> dict[str, dict[str, Any]]:
    """The last states of the first minutes, when all of them are there."""
    end = rfc3339(NOON + minutes * MINUTE)

    def found() -> dict[str, dict[str, Any]]:
        return {ts: m for ts, m in final(live, channel).items() if rfc3339(NOON) <= ts < end}

    live.wait(lambda: len(found()) == minutes, f"{minutes} minutes are closed", 60, found)
    return found()


def assert_history(live: LiveStack, minutes: int, channel: str = AAPL_1M, **query: str) -> None:
    """What listeners have in the end is what history has."""
    true = history(live, NOON, NOON + minutes * MINUTE, **(query or {"symbol": "AAPL", "timeframe": "1m"}))

    def found() -> list[str]:
        return differences(closed_until(live, minutes, channel), true, *PRICES)

    live.wait(lambda: not found(), "listeners have what history has", 30, found)


def test_a_flap_of_a_history_farm_is_a_gap_that_is_filled_with_one_new_request(live: LiveStack) -> None:
    live.start_bridge()
    live.want("user:1", [live.bars("AAPL")])
    live.wait_state("AAPL", "live")
    run(live, 80)
    live.sim.command("farm_flap ushmds 3")
    live.advance(2)
    live.wait(lambda: live.stream("AAPL").resubscribed == 1, "it is lost")  # type: ignore[union-attr]
    run(live, 10, 5)
    live.wait(lambda: len(kept_up(live)) == 2, "it is requested again")
    live.wait_state("AAPL", "live")
    run(live, 80)
    live.wait(lambda: live.messages("filled", AAPL_1M), "the gap is filled", 30, lambda: live.messages("gap", AAPL_1M))
    kinds = [m["t"] for m in live.all if m["c"] == AAPL_1M and m["t"] in ("gap", "filled")]
    assert kinds == ["gap", "filled"]
    gap, filled = live.messages("gap", AAPL_1M)[0], live.messages("filled", AAPL_1M)[0]
    assert (gap["start"], gap["reason"]) == (rfc3339(NOON + MINUTE), "stream_died")
    assert (filled["start"], filled["end"]) == (gap["start"], gap["end"])
    confirmed = [m for m in live.messages("bar", AAPL_1M) if m["ts"] == gap["start"]][-1]
    assert confirmed["state"] in ("confirmed", "revised") or any(
        m["start"] <= gap["start"] < m["end"] for m in live.messages("confirmed", AAPL_1M)
    )
    assert len(kept_up(live)) == 2
    assert len(live.received("cancelHistoricalData")) == 1
    assert_history(live, 2)
    assert [code for code, _ in live.errors()] == [10182, 162]


def real_time_bars(live: LiveStack) -> list[str]:
    return [row["fields"]["symbol"] for row in live.received("reqRealTimeBars")]


def start_real_time_bars(live: LiveStack, *symbols: str) -> None:
    """Streams of 5-second bars that speak."""
    live.start_bridge(live_keep_up_to_date="0", settle_intraday_s="5")
    live.want("user:1", [live.bars(symbol) for symbol in symbols])
    live.wait(lambda: len(real_time_bars(live)) == len(symbols), "bars of five seconds are requested")
    run(live, 40)
    for symbol in symbols:
        live.wait_state(symbol, "live")


def probes(live: LiveStack, since: int) -> list[int]:
    """How often history was asked about a silent stream since a market time, for each contract."""
    query = "SELECT count(*) AS n FROM ib_requests WHERE kind = 'live-probe' AND sent_at > %s GROUP BY contract"
    return [int(row.n) for row in live.rows(query, since)]


def states(live: LiveStack, channel: str = AAPL_1M) -> list[tuple[str, str]]:
    return [(m["state"], m["reason"]) for m in live.messages("stream", channel)]


def test_after_a_flap_that_kills_without_a_word_the_watchdog_finds_it_and_no_illiquid_stream_is_asked_for(
    live: LiveStack,
) -> None:
    start_real_time_bars(live, "AAPL", "THIN")
    flap = live.stack.market_ns()
    live.sim.command("farm_flap usfarm 3 dead")
    run(live, 60, 10)
    live.wait(lambda: real_time_bars(live).count("AAPL") == 2, "it is requested again", 60, lambda: live.streams())
    assert real_time_bars(live).count("THIN") == 1
    assert set(probes(live, flap)) == {1}
    assert ("stale", "silent") in states(live)
    run(live, 130, 20)
    live.wait_state("AAPL", "live")
    live.wait(lambda: live.messages("filled", AAPL_1M), "the hole is filled")
    assert live.messages("gap", AAPL_1M)[0]["reason"] == "mute"
    assert_history(live, 3)
    assert live.violations() == []


def test_after_1102_healthy_streams_are_left_alone_and_mute_ones_are_found(live: LiveStack) -> None:
    start_real_time_bars(live, "AAPL")
    live.sim.command("lost")
    live.advance(5)
    live.wait_state("AAPL", "stale")
    live.sim.command("restored maintained")
    run(live, 120, 20)
    live.wait_state("AAPL", "live")
    assert real_time_bars(live) == ["AAPL"], "it goes on: nothing is requested again"
    assert live.messages("gap", AAPL_1M), "what it missed shows in the times of its bars"
    live.sim.command("lost")
    live.advance(5)
    live.sim.command("restored maintained mute")
    run(live, 90, 10)
    live.wait(
        lambda: len(real_time_bars(live)) == 2,
        "it is mute, and requested again",
        60,
        lambda: (
            live.streams(),
            live.rows("SELECT kind, identity, outcome, bars, sent_at FROM ib_requests"),
            live.market(),
        ),
    )
    run(live, 60, 20)
    live.wait_state("AAPL", "live")
    assert_history(live, 4)
    assert live.violations() == []


@pytest.mark.parametrize("outage", ["1101", "competing", "half_open", "drop"])
def test_each_outage_ends_with_all_streams_live_and_no_hole(live: LiveStack, outage: str) -> None:
    live.start_bridge(ib_heartbeat_s="0.5", live_keep_up_to_date="1", settle_intraday_s="5")
    live.want("user:1", [live.bars("AAPL", priority=9), live.bars("MSFT"), live.quotes("AAPL")])
    live.wait_state("AAPL", "live", "bars")
    live.wait_state("AAPL", "live", "quotes")
    live.wait_state("MSFT", "asking", "bars")
    run(live, 70, 10)
    live.wait_state("MSFT", "live", "bars")
    if outage == "1101":
        live.sim.command("lost")
        live.advance(5)
        live.sim.command("restored lost")
    elif outage == "competing":
        live.sim.command("competing on")
        run(live, 70, 10)
        assert len(live.received("reqMktData")) <= 3, "one stream is tried each minute"
        live.sim.command("competing off")
        run(live, 60, 10)
    elif outage == "half_open":
        live.sim.command("half_open")
        live.wait(lambda: "ib-not-connected" in [line["message"] for line in live.stack.log()], "the bridge sees it")
    else:
        live.sim.command("drop")
    run(live, 80, 10)
    for symbol, kind in (("AAPL", "bars"), ("AAPL", "quotes"), ("MSFT", "bars")):
        live.wait_state(symbol, "live", kind)
    run(live, 60, 10)
    live.wait(lambda: not any(row.holes for row in live.streams()), "no hole is left", 60, live.streams)
    assert_history(live, 2)
    msft = "data.bars.MSFT.NASDAQ-1-MINUTE-LAST-EXTERNAL"
    assert_history(live, 2, msft, symbol="MSFT", timeframe="1m")
    assert live.violations() == []


def test_bars_kept_up_to_date_alone_are_back_within_a_minute_of_a_competing_session(live: LiveStack) -> None:
    live.start_bridge(settle_intraday_s="5")
    live.want("user:1", [live.bars("AAPL"), live.bars("MSFT")])
    for symbol in ("AAPL", "MSFT"):
        live.wait_state(symbol, "live")
    live.sim.command("competing on")
    live.wait(lambda: ("wanted", "competing_session") in states(live), "listeners know", 30, lambda: states(live))
    run(live, 70, 10)
    live.sim.command("competing off")
    run(live, 60, 10)
    for symbol in ("AAPL", "MSFT"):
        live.wait_state(symbol, "live")
    assert len(kept_up(live)) <= 2 + 2 + 1, "one stream is tried each minute, the other follows"
    live.wait(lambda: live.stack.session()["state"] == "connected", "the session is ours", 30, live.stack.session)
    assert live.violations() == []


def test_the_stream_that_is_tried_may_go_without_leaving_the_others_waiting_for_ever(live: LiveStack) -> None:
    live.start_bridge(settle_intraday_s="5", live_linger_s="0")
    live.want("user:1", [live.bars("AAPL", priority=9)])
    live.want("user:2", [live.bars("MSFT")])
    for symbol in ("AAPL", "MSFT"):
        live.wait_state(symbol, "live")
    live.sim.command("competing on")
    live.wait(lambda: ("wanted", "competing_session") in states(live), "listeners know", 30, lambda: states(live))
    live.drop("user:1")
    live.wait(lambda: len(live.streams()) == 1, "the first to be tried is wanted no longer", 30, live.streams)
    live.sim.command("competing off")
    run(live, 70, 10)
    live.wait_state("MSFT", "live")


@pytest.fixture
def closed_market(servers: SimpleNamespace, dsn: str) -> Iterator[LiveStack]:
    night = (*STEPPED[:-1], "2026-03-02T22:00:00Z")
    with service_stack(servers.group, servers.folder, dsn, *night) as stack, live_stack(stack) as made:
        yield made


def test_a_stream_that_is_not_refused_shows_that_a_competing_session_is_over_though_it_is_silent(
    closed_market: LiveStack,
) -> None:
    """Bars of five seconds in a closed market say nothing. IB refuses at once while somebody else uses the login."""
    live = closed_market
    live.start_bridge(live_keep_up_to_date="0")
    live.want("user:1", [live.bars("AAPL", priority=9), live.bars("MSFT")])
    live.wait(lambda: len(real_time_bars(live)) == 2, "both are requested", 60, live.streams)
    live.sim.command("competing on")
    live.wait(lambda: ("wanted", "competing_session") in states(live), "listeners know", 30, lambda: states(live))
    run(live, 70, 10)
    live.wait(lambda: real_time_bars(live)[2:] == ["AAPL"], "one is tried, and refused", 30, live.streams)
    live.sim.command("competing off")

    def requested() -> list[str]:
        live.advance(5)
        return real_time_bars(live)[3:]

    live.wait(lambda: "MSFT" in requested(), "the other follows", 60, live.streams)
    assert real_time_bars(live)[3:] == ["AAPL", "MSFT"], "neither is requested twice"
    live.wait(lambda: live.stack.session()["state"] == "connected", "the session is ours", 30, live.stack.session)


@pytest.mark.parametrize("kept", [0, 1])
def test_after_a_bust_the_old_request_is_cancelled_before_the_new_one_which_is_booked(
    live: LiveStack, kept: int
) -> None:
    kind, sent, cancelled = (
        ("keep-up", "reqHistoricalData", "cancelHistoricalData")
        if kept
        else ("live-rtb", "reqRealTimeBars", "cancelRealTimeBars")
    )
    live.start_bridge(live_keep_up_to_date=str(kept), settle_intraday_s="5")
    live.want("user:1", [live.bars("AAPL")])
    live.wait(lambda: live.received(sent) and live.stream("AAPL"), "it is requested")
    run(live, 70, 10)
    live.wait_state("AAPL", "live")
    live.sim.command("bust AAPL")
    live.advance(1)
    live.wait(lambda: live.received(cancelled), "the old one is cancelled")
    run(live, 120, 20)
    live.wait_state("AAPL", "live")

    def requests() -> list[Any]:
        return [r for r in live.received(sent) if kind == "live-rtb" or r["fields"]["keepUpToDate"]]

    assert len(requests()) == 2
    assert requests()[0]["time_ns"] < live.received(cancelled)[0]["time_ns"] <= requests()[1]["time_ns"]
    assert len(live.rows("SELECT 1 FROM ib_requests WHERE kind = %s", kind)) == 2
    assert_history(live, 2)
    assert live.violations() == []
