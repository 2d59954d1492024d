"""Which range of time a reader means who does not say: so many trading days back from the last closed bar."""

from datetime import timedelta

from nautilus.clock import NS_PER_DAY, datetime_of, day_of, label_of
from nautilus.market.calendar import Calendar
from nautilus.market.timeframes import Timeframe
from nautilus.spans import Span

_TRADING_DAYS = {"day": 1, "week": 5, "month": 23}
"""The most trading days that one bar with such a label takes."""
_SHORTEST_DAY_S = 3 * 3600
"""A regular session is hardly ever shorter; used to turn a number of bars into a number of trading days."""
_LONGEST_BREAK_NS = 40 * NS_PER_DAY
"""Longer than any holiday; a month of bars begins within."""


def days_back(timeframe: Timeframe, limit: int | None) -> int:
    """How many trading days hold the default window, or at least `limit` bars."""
    if limit is None:
        return timeframe.default_days
    if timeframe.label:
        return limit * _TRADING_DAYS[timeframe.label]
    per_day = max(1, _SHORTEST_DAY_S * 1_000_000_000 // timeframe.step_ns)
    return -(-limit // per_day)


def lookback_ns(timeframe: Timeframe, limit: int | None) -> int:
    """How far back, in ns, a calendar must be loaded to count that many trading days: weekends and holidays included."""
    return (days_back(timeframe, limit) * 8 // 5 + 14) * NS_PER_DAY


def back_from(end: int, timeframe: Timeframe, limit: int | None, calendar: Calendar | None) -> Span:
    """The window of `days_back` trading days that ends at `end`. Without a calendar, weekdays are counted."""
    days = days_back(timeframe, limit)
    if calendar is not None and calendar.sessions:
        if timeframe.intraday:
            begun = calendar.between(end - lookback_ns(timeframe, limit), end)
            dates = sorted({s.trade_date for s in begun})[-days:]
            if len(dates) == days:
                return min(s.open_ns for s in begun if s.trade_date == dates[0]), end
        else:
            dates = calendar.trade_dates(
                day_of(end - lookback_ns(timeframe, limit)), day_of(end - 1) + timedelta(days=1)
            )[-days:]
            if len(dates) == days:
                return timeframe.floor(label_of(dates[0])), end
    day = datetime_of(end).date() if timeframe.intraday else day_of(end)
    while days > 0:
        day -= timedelta(days=1)
        days -= day.weekday() < 5
    return timeframe.floor(label_of(day)), end


def last_close(until: int, timeframe: Timeframe, calendar: Calendar | None) -> int:
    """The close of the last bar that is closed at `until`, on the series' axis: over a weekend, Friday's close.

    Where the calendar does not reach, `until` itself: a session may have been held there.
    """
    if calendar is None or not calendar.known_axis(timeframe).covers((until - 1, until)):
        return until
    units = calendar.units(timeframe, (until - _LONGEST_BREAK_NS, until))
    return min(until, units[-1][1]) if units else until
