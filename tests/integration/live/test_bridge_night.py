"""The nightly restart of a gateway with as many streams as IB allows."""

from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from nautilus.clock import NS_PER_S, rfc3339
from tests.integration.live.test_bridge_bars import PRICES, differences, final, history
from tests.support.live_stack import LiveStack, live_stack
from tests.support.markets import MINUTE
from tests.support.stack import service_stack

MANY = tuple(f"MANY{n:02}" for n in range(1, 51))
QUOTED = (*MANY, "AAPL", "MSFT", "NVDA", "AMZN", "GOOGL", "TSLA", "QQQ", "TLT", "SPY", "IWM")
"""With thirty streams of five-second bars they take all market data lines that live data may use."""
RATE = 3
LONGEST_S = 240
"""Of market time: with one request in fifteen seconds sixty take 900. It is a few seconds where nothing else runs."""
OPTIONS = ("--clock", f"rate:{RATE}", "--latency", "none", "--start", "2026-03-02T17:00:00Z")


@pytest.fixture
def live(servers: SimpleNamespace, dsn: str) -> Iterator[LiveStack]:
    with service_stack(servers.group, servers.folder, dsn, *OPTIONS) as stack, live_stack(stack) as made:
        yield made


def living(live: LiveStack, kind: str) -> int:
    return sum(1 for row in live.streams() if row.kind == kind and row.state == "live")


@pytest.mark.timeout(600)
def test_after_a_nightly_restart_all_streams_are_back_within_ibs_limits(live: LiveStack) -> None:
    """Forty bars kept up to date, thirty streams of five-second bars, sixty quotes."""
    live.start_bridge(settle_intraday_s="5")
    bars = [live.bars(symbol, priority=7) for symbol in MANY]
    bars += [live.bars(symbol, price="MIDPOINT", priority=3) for symbol in MANY[:20]]
    live.want("user:1", bars + [live.quotes(symbol) for symbol in QUOTED])
    live.wait(
        lambda: (living(live, "bars:1m"), living(live, "quotes")) == (70, 60), "all live", 150, lambda: tally(live)
    )
    assert [row.source for row in live.streams()].count("kutd") == 40
    assert [row.source for row in live.streams()].count("rtb") == 30
    before = len(live.received("reqMktData"))
    live.sim.command("restart 120")
    live.wait(lambda: live.stack.session()["state"] != "connected", "the connection is lost", 60)
    live.wait(lambda: live.stack.session()["state"] == "connected", "it is back", 120)
    back = live.stack.market_ns()
    live.wait(lambda: len(live.received("reqMktData")) >= before + 60, "quotes are requested again", 60)
    live.wait(
        lambda: (living(live, "bars:1m"), living(live, "quotes")) == (70, 60), "all live", 150, lambda: tally(live)
    )
    assert (live.stack.market_ns() - back) / NS_PER_S <= LONGEST_S
    times = [row["time_ns"] for row in live.received("reqMktData")][before:]
    assert (max(times) - min(times)) / NS_PER_S <= LONGEST_S / 3
    assert (max(times) - back) / NS_PER_S <= LONGEST_S, "nor is the first of them late"
    assert {row.source for row in live.streams() if row.kind == "bars:1m"} <= {"kutd", "rtb", "poll"}
    assert live.violations() == []
    live.wait(lambda: not any(row.holes for row in live.streams()), "no hole is left", 240, lambda: holes(live))
    start, end = back - back % MINUTE - 3 * MINUTE, back - back % MINUTE
    (row,) = live.rows("SELECT instrument_id FROM instruments WHERE con_id = %s", live.instrument(MANY[0]))
    channel = f"data.bars.{row.instrument_id}-1-MINUTE-LAST-EXTERNAL"
    true = history(live, start, end, symbol=MANY[0], timeframe="1m")
    published = {ts: m for ts, m in final(live, channel).items() if rfc3339(start) <= ts < rfc3339(end)}
    assert differences(published, true, *PRICES) == []


def tally(live: LiveStack) -> list[tuple[str, str, str, str]]:
    return sorted((row.kind, row.source, row.state, row.reason) for row in live.streams() if row.state != "live")


def holes(live: LiveStack) -> list[tuple[str, str, str]]:
    return [(row.source, row.price, str(row.holes)) for row in live.streams() if row.holes]
