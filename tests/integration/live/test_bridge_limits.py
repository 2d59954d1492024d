"""IB's limits: lines, new streams of five-second bars, open requests, permissions. Whoever waits has a reason; nothing flaps."""

from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from tests.integration.live.test_bridge_bars import run
from tests.support.live_stack import LiveStack, live_stack
from tests.support.stack import service_stack

STEPPED = ("--clock", "stepped", "--latency", "none", "--start", "2026-03-02T17:00:00Z")
RUNNING = ("--clock", "rate:5", *STEPPED[2:])
"""Many messages: a clock that stands still would hold them up."""
MANY = tuple(f"MANY{n:02}" for n in range(1, 51))


@pytest.fixture
def live(servers: SimpleNamespace, dsn: str) -> Iterator[LiveStack]:
    with service_stack(servers.group, servers.folder, dsn, *STEPPED) as stack, live_stack(stack) as made:
        yield made


@pytest.fixture
def running(servers: SimpleNamespace, dsn: str) -> Iterator[LiveStack]:
    with service_stack(servers.group, servers.folder, dsn, *RUNNING) as stack, live_stack(stack) as made:
        yield made


def requested(live: LiveStack, kind: str = "reqMktData") -> list[str]:
    return [row["fields"]["symbol"] for row in live.received(kind)]


def quote_states(live: LiveStack) -> dict[int, tuple[str, str]]:
    return {row.con_id: (row.state, row.reason) for row in live.streams()}


def test_one_line_too_many_goes_to_the_higher_priority_and_everybody_hears_of_it(live: LiveStack) -> None:
    live.start_bridge(live_lines="4")
    watched = [live.quotes(symbol, 3) for symbol in MANY[:4]]
    live.want("user:2", watched)
    for symbol in MANY[:4]:
        live.wait_state(symbol, "live")
    live.want("user:1", [live.quotes("AAPL", 9)])
    live.wait_state("AAPL", "live")
    live.want("stream:1", [live.quotes("MSFT", 6), live.quotes("SPY", 2)])
    live.wait_state("MSFT", "live")
    live.wait_state("SPY", "waiting")
    evicted = [row for row in live.streams() if row.state == "evicted"]
    assert len(evicted) == 2
    assert {row.priority for row in evicted} == {3}
    assert {row.reason for row in evicted} == {"evicted:priority"}
    by = [m["by"] for m in live.all if m["t"] == "stream" and m["state"] == "evicted"]
    assert set(by) <= {"data.quotes.NASDAQ.AAPL", "data.quotes.NASDAQ.MSFT"}
    assert len(by) == 2
    assert live.stream("SPY").reason == "no_market_data_line_free"  # type: ignore[union-attr]
    before = len(requested(live))
    run(live, 600, 60)
    assert len(requested(live)) == before, "nothing flaps for ten minutes"
    assert live.violations() == []


def test_lines_that_tws_takes_are_learnt_and_given_back(live: LiveStack) -> None:
    """The simulator has 100 lines; TWS takes 97 of them."""
    live.start_bridge()
    live.sim.command("take_lines 97")
    live.want("user:1", [live.quotes(symbol, 6) for symbol in MANY[:5]])
    live.wait(lambda: [s for s, _ in quote_states(live).values()].count("live") == 3, "three have a line")
    live.wait(lambda: ("waiting", "no_market_data_line_free") in quote_states(live).values(), "two wait", 30)
    live.wait(lambda: live.stack.session()["activity"]["live_lines"]["limit"] <= 4, "what was learnt is told", 30)
    refused = len(live.errors())
    run(live, 50, 10)
    assert len(live.errors()) == refused, "no storm"
    live.sim.command("take_lines 0")
    run(live, 200, 20)
    live.wait(lambda: [s for s, _ in quote_states(live).values()].count("live") == 5, "all have a line", 30)
    assert {code for code, _ in live.errors()} == {101}


def test_sixty_new_streams_of_five_second_bars_never_break_the_limit_and_keep_a_reserve(running: LiveStack) -> None:
    live = running
    live.start_bridge(live_keep_up_to_date="0")
    live.want("user:2", [live.bars(symbol, priority=3) for symbol in MANY] + [live.bars("SPY", priority=3)])
    live.wait(lambda: len(requested(live, "reqRealTimeBars")) == 40, "forty are requested", 120, live.streams)
    sources = [row.source for row in live.streams()]
    assert (sources.count("rtb"), sources.count("poll")) == (40, 11)
    live.want("user:1", [live.bars("AAPL", priority=7)])
    live.wait(lambda: "AAPL" in requested(live, "reqRealTimeBars"), "who watches has the reserve", 30)
    assert {row.reason for row in live.streams() if row.source == "poll"} == {"real_time_query"}
    assert live.violations() == []


def test_what_ib_does_not_permit_is_refused_once_with_a_reason(live: LiveStack) -> None:
    live.start_bridge()
    live.want("user:1", [live.quotes("NOPERM"), live.bars("NOPERM"), live.quotes("AAPL")])
    row = live.wait_state("NOPERM", "refused", "quotes")
    assert (row.reason, row.refused_code) == ("no_permission", 354)
    live.wait_state("NOPERM", "refused", "bars")
    live.wait_state("AAPL", "live")
    run(live, 600, 60)
    assert requested(live).count("NOPERM") == 1
    assert len(live.received("reqHistoricalData")) <= 6, "a stream that is refused is not confirmed for long"
    assert live.violations() == []


def test_delayed_quotes_are_marked_and_a_part_that_is_missing_ends_nothing(live: LiveStack) -> None:
    live.start_bridge(live_feed="delayed")
    live.sim.command("permission MSFT part")
    live.want("user:1", [live.quotes("NOPERM"), live.quotes("MSFT")])
    assert live.wait_state("NOPERM", "live").feed == "delayed"
    live.advance(2)
    live.wait(lambda: live.quote_row("NOPERM").feed == "delayed", "the quote is marked")
    live.wait_state("MSFT", "live")
    assert live.quote_row("MSFT").bid is None
    live.stack.sim.command("drop")
    live.wait(lambda: len(live.received("reqMarketDataType")) == 2, "the kind of data is said again", 60)
    live.advance(3)
    live.wait(lambda: requested(live).count("NOPERM") == 2, "all are requested again")


def test_a_new_bridge_remembers_the_streams_of_the_last_ten_minutes_and_ends_its_own_when_told(live: LiveStack) -> None:
    live.start_bridge(live_keep_up_to_date="0", live_real_time_bars="3", live_reserved="0")
    live.want("user:1", [live.bars(symbol) for symbol in MANY[:3]])
    live.wait(lambda: len(requested(live, "reqRealTimeBars")) == 3, "three are requested")
    assert live.stack.stop_bridge() == 0
    assert len(live.received("cancelRealTimeBars")) == 3
    assert {(row.state, row.reason) for row in live.streams()} == {("wanted", "bridge_stopped")}
    live.start_bridge(live_keep_up_to_date="0", live_real_time_bars="3", live_reserved="0")
    live.wait(lambda: [row.source for row in live.streams()] == ["poll"] * 3, "they are polled", 60, live.streams)
    assert len(requested(live, "reqRealTimeBars")) == 3
    assert live.violations() == []
