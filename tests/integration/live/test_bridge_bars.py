"""Bars from a want to the bus, beside history of the same minutes, asked at the end."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from nautilus.clock import rfc3339
from tests.support.live_stack import LiveStack, live_stack
from tests.support.markets import MINUTE, ns
from tests.support.stack import service_stack

NOON = ns("2026-03-02 17:00")
STEPPED = ("--clock", "stepped", "--latency", "none", "--start", "2026-03-02T17:00:00Z")
AAPL_1M = "data.bars.AAPL.NASDAQ-1-MINUTE-LAST-EXTERNAL"
AAPL_5M = "data.bars.AAPL.NASDAQ-5-MINUTE-LAST-EXTERNAL"
AAPL_1D = "data.bars.AAPL.NASDAQ-1-DAY-LAST-EXTERNAL"
AAPL_5S = "data.bars.AAPL.NASDAQ-5-SECOND-LAST-EXTERNAL"
EURUSD = "data.bars.EUR/USD.IDEALPRO-1-MINUTE-MID-EXTERNAL"
PRICES = ("open", "high", "low", "close")


@pytest.fixture
def live(servers: SimpleNamespace, dsn: str) -> Iterator[LiveStack]:
    with service_stack(servers.group, servers.folder, dsn, *STEPPED) as stack, live_stack(stack) as made:
        yield made


def final(live: LiveStack, channel: str) -> dict[str, dict[str, Any]]:
    """The last state of each bar that was told as closed, or as what history says of it."""
    return {m["ts"]: m for m in live.messages("bar", channel) if m["state"] != "forming"}


def history(live: LiveStack, start: int, end: int, **query: str) -> dict[str, dict[str, Any]]:
    """What IB's history has, asked now."""
    window = {"start": rfc3339(start), "end": rfc3339(end)}
    live.stack.finished(live.stack.backfill(**query, **window, mode="force"))
    found = live.stack.bars(**query, **window)
    rows = found["candles"]
    return {rfc3339(int(row["ts"])): row for row in rows}


def differences(live_bars: dict[str, dict[str, Any]], true: dict[str, dict[str, Any]], *names: str) -> list[str]:
    """Where two sets of bars differ, both ways."""
    found = [f"{ts} is in one alone" for ts in live_bars.keys() ^ true.keys()]
    return found + [
        f"{ts} {name}: {live_bars[ts][name]} {true[ts][name]}"
        for ts in sorted(live_bars.keys() & true.keys())
        for name in names
        if live_bars[ts][name] != true[ts][name]
    ]


def run(live: LiveStack, seconds: int, step: int = 20) -> None:
    """Let market time pass in steps, each of which the bridge has seen."""
    for _ in range(seconds // step):
        live.advance(step)


def test_minutes_kept_up_to_date_and_what_is_folded_of_them_equal_history(live: LiveStack) -> None:
    live.start_bridge()
    live.want("user:1", [live.bars("AAPL", frame) for frame in ("1m", "5m", "1d")])
    row = live.wait_state("AAPL", "live")
    assert (row.source, row.kind) == ("kutd", "bars:1m")
    run(live, 660)
    live.wait(lambda: len(final(live, AAPL_1M)) >= 10, "ten minutes are closed", 30, lambda: final(live, AAPL_1M))
    minutes = {ts: m for ts, m in final(live, AAPL_1M).items() if rfc3339(NOON) <= ts < rfc3339(NOON + 10 * MINUTE)}
    true = history(live, NOON, NOON + 10 * MINUTE, symbol="AAPL", timeframe="1m")
    assert differences(minutes, true, *PRICES, "volume") == []
    assert len(minutes) == 10
    fives = {ts: m for ts, m in final(live, AAPL_5M).items() if rfc3339(NOON) <= ts < rfc3339(NOON + 10 * MINUTE)}
    true_fives = history(live, NOON, NOON + 10 * MINUTE, symbol="AAPL", timeframe="5m")
    assert differences(fives, true_fives, *PRICES, "volume") == []
    assert not any(m.get("partial") for m in fives.values())
    # The mutants: what the comparison must see.
    first = min(minutes)
    for wrong in (
        {**minutes, first: {**minutes[first], "high": minutes[first]["low"], "low": minutes[first]["high"]}},
        {ts: m for ts, m in minutes.items() if ts != first},
        {**minutes, first: {**minutes[first], "volume": minutes[first]["volume"] - 1}},
    ):
        assert differences(wrong, true, *PRICES, "volume")
    days = live.messages("bar", AAPL_1D)
    assert {(m["ts"], m["state"]) for m in days} == {("2026-03-02T00:00:00Z", "forming")}
    assert len(live.received("reqHistoricalData")) >= 1
    assert len([r for r in live.received("reqHistoricalData") if r["fields"]["keepUpToDate"]]) == 1
    assert live.errors() == []


def test_bars_of_five_seconds_and_minutes_folded_of_them_equal_history(live: LiveStack) -> None:
    live.start_bridge(live_keep_up_to_date="0")
    live.want(
        "user:1", [live.bars("AAPL", "5s"), live.bars("AAPL", "1m"), live.bars("EUR/USD", "1m", "MIDPOINT", "all")]
    )
    assert live.wait_state("AAPL", "asking", "bars:1m").source == "rtb"
    live.wait_state("EUR/USD", "asking")
    run(live, 200)
    live.wait(lambda: len(final(live, AAPL_1M)) >= 3, "three minutes are closed")
    live.wait(lambda: len(final(live, EURUSD)) >= 3, "three minutes are closed")
    start, end = NOON + MINUTE, NOON + 3 * MINUTE
    for channel, query in (
        (AAPL_1M, {"symbol": "AAPL", "timeframe": "1m"}),
        (AAPL_5S, {"symbol": "AAPL", "timeframe": "5s"}),
        (EURUSD, {"symbol": "EUR/USD", "timeframe": "1m"}),
    ):
        minutes = {ts: m for ts, m in final(live, channel).items() if rfc3339(start) <= ts < rfc3339(end)}
        names = (*PRICES, "volume") if "AAPL" in channel else PRICES
        assert differences(minutes, history(live, start, end, **query), *names) == []
        assert minutes
    assert {m["volume"] for m in final(live, EURUSD).values()} == {None}
    assert live.errors() == []
