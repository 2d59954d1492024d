"""Hours in which nothing comes: before the open, in a futures' break, in a halt, of an instrument that seldom trades."""

from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from nautilus.clock import rfc3339
from tests.integration.live.test_bridge_bars import PRICES, differences, final, history, run
from tests.support.live_stack import LiveStack, live_stack
from tests.support.markets import MINUTE, ns
from tests.support.stack import service_stack

AAPL = "data.bars.AAPL.NASDAQ-1-MINUTE-LAST-EXTERNAL"


@pytest.fixture
def live(servers: SimpleNamespace, dsn: str, request: pytest.FixtureRequest) -> Iterator[LiveStack]:
    """At the market time that the test names."""
    options = ("--clock", "stepped", "--latency", "none", "--start", request.param)
    with service_stack(servers.group, servers.folder, dsn, *options) as stack, live_stack(stack) as made:
        yield made


def channels(live: LiveStack, symbol: str) -> list[str]:
    """The channels of bars of an instrument that something was published on, minutes first."""
    (row,) = live.rows("SELECT instrument_id FROM instruments WHERE con_id = %s", live.instrument(symbol))
    live.wait(lambda: any(row.instrument_id in m["c"] for m in live.all), "something is published")
    return sorted({m["c"] for m in live.all if m["c"].startswith(f"data.bars.{row.instrument_id}-")}, reverse=True)


def stream_states(live: LiveStack, channel: str) -> list[tuple[str, str]]:
    return [(m["state"], m["reason"]) for m in live.messages("stream", channel)]


@pytest.mark.parametrize("live", ["2026-03-02T14:29:30Z"], indirect=True)
def test_who_subscribes_before_the_open_has_a_forming_bar_within_five_seconds_of_the_first_trade(
    live: LiveStack,
) -> None:
    live.start_bridge()
    live.want("user:1", [live.bars("AAPL")])
    live.wait(lambda: live.received("reqHistoricalData"), "it is requested")
    live.wait_state("AAPL", "live")
    run(live, 30, 10)
    live.advance(5)
    live.wait(lambda: live.messages("bar", AAPL), "a bar forms", 30, lambda: live.stream("AAPL"))
    first = live.messages("bar", AAPL)[0]
    assert (first["ts"], first["state"]) == ("2026-03-02T14:30:00Z", "forming")
    assert live.messages("gap", AAPL) == []


@pytest.mark.parametrize("live", ["2026-03-02T21:58:00Z"], indirect=True)
def test_a_futures_break_is_no_silence_and_no_hole_and_the_next_bar_is_of_the_next_trade_date(live: LiveStack) -> None:
    live.start_bridge()
    live.want("user:1", [live.bars("ES", frame, session="all") for frame in ("1m", "1d")])
    live.wait_state("ES", "live")
    minutes, days = channels(live, "ES")
    run(live, 600, 60)
    live.wait(lambda: ("live", "market_closed") in stream_states(live, minutes), "it is said to be closed")
    run(live, 3_000, 600)
    run(live, 300, 30)
    live.wait(
        lambda: max(final(live, minutes), default="") >= "2026-03-02T23:01:00Z", "the new session's bars come", 60
    )
    assert [m for m in live.messages("stream", minutes) if m["state"] == "stale"] == []
    assert live.messages("gap", minutes) == []
    assert not any("2026-03-02T22:00:00Z" <= ts < "2026-03-02T23:00:00Z" for ts in final(live, minutes))
    assert [m["ts"] for m in live.messages("bar", days)][-1] == "2026-03-03T00:00:00Z"
    assert live.messages("bar", days)[0]["ts"] == "2026-03-02T00:00:00Z"
    assert live.violations() == []


@pytest.mark.parametrize("live", ["2026-03-02T15:00:00Z"], indirect=True)
def test_an_instrument_that_seldom_trades_has_no_bar_of_fillers(live: LiveStack) -> None:
    live.start_bridge(live_keep_up_to_date="0")
    live.want("user:1", [live.bars("THIN")])
    live.wait(lambda: live.received("reqRealTimeBars"), "it is requested")
    run(live, 7_200, 120)
    start, end = ns("2026-03-02 15:00"), ns("2026-03-02 16:58")
    true = history(live, start, end, symbol="THIN", timeframe="1m")
    (channel,) = channels(live, "THIN")
    live.wait(lambda: len(final(live, channel)) >= len(true), "all bars have come", 30, lambda: final(live, channel))
    kept = {ts: m for ts, m in final(live, channel).items() if m["state"] != "withdrawn" and ts < rfc3339(end)}
    assert differences(kept, true, *PRICES) == []
    assert 0 < len(true) < 30
    # The mutant: who takes fillers for bars has a bar in nearly every minute.
    fillers = {rfc3339(start + n * MINUTE): next(iter(true.values())) for n in range(118)}
    assert differences(kept | fillers, true)
    assert len(live.received("reqRealTimeBars")) == 1


@pytest.mark.parametrize("live", ["2026-03-11T15:00:00Z"], indirect=True)
def test_a_halt_is_stale_once_and_costs_one_question_and_no_new_stream(live: LiveStack) -> None:
    live.start_bridge(live_keep_up_to_date="0")
    live.want("user:1", [live.quotes("HALT")])
    live.wait_state("HALT", "live", "quotes")
    live.want("user:1", [live.bars("HALT"), live.quotes("HALT")])
    live.wait(lambda: live.received("reqRealTimeBars"), "it is requested")
    run(live, 120, 20)
    (channel,) = channels(live, "HALT")
    live.wait(lambda: ("stale", "halted") in stream_states(live, channel), "it is halted", 30, lambda: live.streams())
    run(live, 1_200, 60)
    assert stream_states(live, channel).count(("stale", "silent")) == 1
    probes = live.rows("SELECT identity FROM ib_requests WHERE kind = 'live-probe'")
    assert len([row for row in probes if "bars:1m" in row.identity]) == 1
    assert len(live.received("reqRealTimeBars")) == 1
    assert len(live.received("reqMktData")) == 1
    assert live.quote_row("HALT").halted is True
