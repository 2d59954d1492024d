"""The nights in which New York and Chicago change their clocks, live: bars, slots, closes and trade dates are history's.

From the last slot of four hours on Friday to the midnight before Monday. Both markets are closed when the clocks change: one
stream lives through sessions of both offsets.
"""

from collections.abc import Callable
from datetime import date
from functools import cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pytest

from ib_bridge.live import bar_folds
from ib_bridge.live.bar_folds import BarFolds
from ib_gateway_sim.market.contracts import ContractQuery
from nautilus.clock import NS_PER_HOUR, NS_PER_S, datetime_of, label_of
from nautilus.live.bars import LiveBar, LiveState
from nautilus.live.folding import Part
from nautilus.market.calendar import Calendar
from nautilus.market.timeframes import Timeframe, timeframe
from nautilus.spans import Span
from tests.support.live_market import MARKET, Arrival, Watched, prices, seconds, utc

FRAMES = ("1m", "5m", "1h", "4h")
UPDATE_S = 20
EURUSD = ContractQuery(symbol="EUR", sec_type="CASH", currency="USD", exchange="IDEALPRO")


def es(expiry: str) -> ContractQuery:
    return ContractQuery(symbol="ES", sec_type="FUT", last_trade_date=expiry, exchange="CME")


class Night(NamedTuple):
    """Times are UTC. start: a slot of four hours before Friday's close. until: the midnight before Monday at the exchange."""

    query: ContractQuery
    what: str
    start: str
    friday_close: str
    sunday_open: str
    until: str
    trade_dates: tuple[date, date]

    @property
    def name(self) -> str:
        return f"{self.query.symbol} {self.sunday_open[:10]}"


SPRING, AUTUMN = (date(2026, 3, 6), date(2026, 3, 9)), (date(2026, 10, 30), date(2026, 11, 2))
# The hours: 17:15 to 17:00 in New York, 17:00 to 16:00 in Chicago.
NIGHTS = (
    Night(
        *(EURUSD, "MIDPOINT"),
        *("2026-03-06 21:00", "2026-03-06 22:00", "2026-03-08 21:15", "2026-03-09 04:00"),
        SPRING,
    ),
    Night(
        *(EURUSD, "MIDPOINT"),
        *("2026-10-30 20:00", "2026-10-30 21:00", "2026-11-01 22:15", "2026-11-02 05:00"),
        AUTUMN,
    ),
    Night(
        *(es("202603"), "TRADES"),
        *("2026-03-06 18:00", "2026-03-06 22:00", "2026-03-08 22:00", "2026-03-09 05:00"),
        SPRING,
    ),
    Night(
        *(es("202612"), "TRADES"),
        *("2026-10-30 17:00", "2026-10-30 21:00", "2026-11-01 23:00", "2026-11-02 06:00"),
        AUTUMN,
    ),
)
every_night = pytest.mark.parametrize("night", NIGHTS, ids=lambda night: night.name)


@cache
def watched(night: Night) -> Watched:
    return Watched.of(night.query, night.what, seconds(night.start), seconds(night.until))


@cache
def five_seconds(night: Night) -> list[Arrival]:
    return watched(night).five_seconds()


class Listener:
    """The last state of every bar by timeframe, and the market time at which it closed."""

    def __init__(self, night: Night, calendar: Calendar, arrivals: list[Arrival], *, five: bool) -> None:
        self.bars: dict[str, dict[int, LiveBar]] = {name: {} for name in (*FRAMES, "1d")}
        self.closed_at: dict[tuple[str, int], int] = {}
        fillers = five and night.what == "TRADES"
        folds = BarFolds(lambda: calendar, timeframe("1m"), from_five_seconds=five, with_fillers=fillers)
        folds.want(FRAMES if five else [*FRAMES, "1d"])
        for at_s, parts in arrivals:
            self._take(folds, at_s * NS_PER_S, parts)

    def _take(self, folds: BarFolds, at: int, parts: list[Part]) -> None:
        for frame, bar in [*(each for part in parts for each in folds.add(part)), *folds.pass_time(at)]:
            self.bars[frame.name][bar.ts] = bar
            if bar.state is LiveState.CLOSED:
                self.closed_at.setdefault((frame.name, bar.ts), at)


def slot_end(watch: Watched, frame: Timeframe, ts: int) -> int:
    """When a bar is over, by the clock on the exchange's wall and the simulator's sessions."""
    (session,) = MARKET.sessions(watch.contract, ts // NS_PER_S, ts // NS_PER_S + 1, rth=False)
    end = ts - ts % frame.step_ns + frame.step_ns
    if frame.step_ns > NS_PER_HOUR:
        hours = frame.step_ns // NS_PER_HOUR
        hour = datetime_of(ts).astimezone(ZoneInfo(watch.contract.time_zone)).hour
        end = ts - ts % NS_PER_HOUR + (hours - hour % hours) * NS_PER_HOUR
    return min(end, session.close_s * NS_PER_S)


def differences(watch: Watched, listener: Listener, *, step_s: int) -> set[str]:
    """The timeframes in which a listener has another bar than history, a part of one, or its close at another time."""
    found = set()
    for name in FRAMES:
        bars = [bar for _, bar in sorted(listener.bars[name].items())]
        if [prices(bar) for bar in bars] != watch.history(name) or any(bar.partial for bar in bars):
            found.add(name)
            continue
        for bar in bars:
            late = listener.closed_at.get((name, bar.ts), 0) - slot_end(watch, timeframe(name), bar.ts)
            if not 0 <= late <= step_s * NS_PER_S:
                found.add(name)
    return found


def check(night: Night, listener: Listener, *, step_s: int) -> None:
    watch = watched(night)
    assert len(watch.history("4h")) == 3
    assert differences(watch, listener, step_s=step_s) == set()
    for name in FRAMES:
        opens = [utc(ts) for ts in sorted(listener.bars[name])]
        assert opens[0] == night.start
        assert next(text for text in opens if text > night.friday_close) == night.sunday_open
        last = max(ts for ts in listener.bars[name] if utc(ts) < night.friday_close)
        assert utc(slot_end(watch, timeframe(name), last)) == night.friday_close


@every_night
def test_bars_of_five_seconds_become_historys_bars_before_and_after_the_clocks_change(night: Night) -> None:
    check(night, Listener(night, watched(night).calendar(), five_seconds(night), five=True), step_s=5)


@every_night
def test_updates_become_historys_bars_before_and_after_the_clocks_change(night: Night) -> None:
    arrivals = watched(night).updates(UPDATE_S)
    listener = Listener(night, watched(night).calendar(), arrivals, five=False)
    check(night, listener, step_s=UPDATE_S)
    days = listener.bars["1d"]
    assert sorted(days) == [label_of(day) for day in night.trade_dates]
    (monday,) = [row for row in watched(night).history("1d") if row[0] == label_of(night.trade_dates[1])]
    assert prices(days[monday[0]]) == monday


# ---- the comparison finds wrong slots --------------------------------------------------------------------------------


one_of_each = pytest.mark.parametrize("night", [NIGHTS[0], NIGHTS[3]], ids=lambda night: night.name)


@one_of_each
def test_slots_by_a_fixed_offset_of_new_york_are_found_wrong(night: Night) -> None:
    """Hours and less are the same by every offset of whole hours."""
    true = watched(night).calendar()
    listener = Listener(night, Calendar(true.sessions, true.known, "Etc/GMT+5"), five_seconds(night), five=True)
    assert differences(watched(night), listener, step_s=5) == {"4h"}


def unopened(slot_of: Callable[[Calendar, Timeframe, int], Span | None]) -> Callable[..., Span | None]:
    """Slots that are cut at the session's close alone."""

    def wrong(calendar: Calendar, frame: Timeframe, ts: int) -> Span | None:
        span = slot_of(calendar, frame, ts)
        return (calendar.slot(frame, ts)[0], span[1]) if span is not None and frame.intraday else span

    return wrong


@one_of_each
def test_slots_that_ignore_the_sessions_open_are_found_wrong(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bar_folds, "slot_of", unopened(bar_folds.slot_of))
    listener = Listener(night, watched(night).calendar(), five_seconds(night), five=True)
    wrong = {"1h", "4h"} if night.query is EURUSD else {"4h"}
    assert differences(watched(night), listener, step_s=5) == wrong
