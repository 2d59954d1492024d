"""Bars: what they are, and how longer ones are made of shorter ones."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from datetime import date, timedelta
from itertools import groupby
from typing import NamedTuple

from ib_gateway_sim.market import calendars
from ib_gateway_sim.market.calendars import Session

# seconds of each bar size that is shorter than a day; the rest are "1d" "1w" "1M"
INTRADAY_S = {
    "1s": 1,
    "5s": 5,
    "10s": 10,
    "15s": 15,
    "30s": 30,
    "1m": 60,
    "2m": 120,
    "3m": 180,
    "5m": 300,
    "10m": 600,
    "15m": 900,
    "20m": 1200,
    "30m": 1800,
    "1h": 3600,
    "2h": 7200,
    "3h": 10800,
    "4h": 14400,
    "8h": 28800,
}
SIZES = (*INTRADAY_S, "1d", "1w", "1M")


class Bar(NamedTuple):
    """One bar as IB serves it. Write prices with repr(): they are the exact decimal.

    `t`: the bar's open in epoch seconds; of 1d, 1w and 1M midnight UTC of the date that IB prints (the trade date; the
    last trading day of the week or month; today while the period forms). `volume` is an int in shares or contracts (a
    float only for CRYPTO); volume, wap and count are -1 for MIDPOINT, BID, ASK and BID_ASK (wap and count also for
    a replayed file of trades), and volume and wap are 0 for an index.
    """

    t: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    wap: float
    count: int  # type: ignore[assignment]  # hides tuple.count, which nobody needs here


def merged_slots(parts: list[Bar], size_s: int, shift_s: int, what: str, sessions: Sequence[Session]) -> list[Bar]:
    """Parts of one trade date, in order, with those of the same slot of the wall clock made one bar.

    A bar is stamped with the start of its slot, or with the opening of a session that begins inside it.
    """
    result: list[Bar] = []
    for slot, group in groupby(parts, lambda part: (part.t + shift_s) // size_s):
        start_s = slot * size_s - shift_s
        opened = next(one.open_s for one in sessions if one.close_s > start_s)
        result.append(merged(list(group), max(start_s, opened), what))
    return result


def filled(parts: list[Bar], slots: Sequence[int], before: Callable[[float], float | None]) -> list[Bar]:
    """Bars of one trade date with a flat one of no volume, at the last price traded, for each of the slots without a trade.

    So IB serves minutes of stocks outside regular hours. `before`: the last price before an instant when no bar tells it;
    None before the first trade of the date, where there is no bar either.
    """
    times = [bar.t for bar in parts]
    have = set(times)
    result = list(parts)
    earlier: float | None = None
    searched = False
    for t in slots:
        if t in have:
            continue
        at = bisect_left(times, t)
        if at == 0 and not searched:
            searched, earlier = True, before(t)
        price = parts[at - 1].close if at else earlier
        if price is not None:
            result.append(Bar(t, price, price, price, price, 0, price, 0))
    return sorted(result)


def merged(bars: list[Bar], t: int, what: str) -> Bar:
    """Bars that follow each other as one that is stamped t."""
    if len(bars) == 1:
        return bars[0] if bars[0].t == t else bars[0]._replace(t=t)
    first, last = bars[0], bars[-1]
    high, low = max(bar.high for bar in bars), min(bar.low for bar in bars)
    if what == "BID_ASK":
        opened = round(sum(bar.open for bar in bars) / len(bars), 6)
        closed = round(sum(bar.close for bar in bars) / len(bars), 6)
        return Bar(t, opened, high, low, closed, -1, -1, -1)
    if first.volume < 0:
        return Bar(t, first.open, high, low, last.close, -1, -1, -1)
    volume = sum(bar.volume for bar in bars)
    if isinstance(volume, float):
        volume = round(volume, 4)
    if first.count < 0:  # a replayed file knows volumes, but neither trades nor their average price
        return Bar(t, first.open, high, low, last.close, volume, -1, -1)
    wap = round(sum(bar.wap * bar.volume for bar in bars) / volume, 6) if volume else 0
    return Bar(t, first.open, high, low, last.close, volume, wap, sum(bar.count for bar in bars))


def dated_bars(
    day_bar: Callable[[date], Bar | None],
    opening: Callable[[date], int | None],
    known: tuple[date, date],
    size: str,
    what: str,
    start_s: float,
    end_s: float,
    now_s: float,
) -> list[Bar]:
    """1d, 1w and 1M bars of the periods whose first session opens in [start_s, end_s), from the bar of each day.

    `opening`: when a trade date's first session opens, None when it is closed. `known`: the first and last date of all.
    """
    result: list[Bar] = []
    first = max(calendars.utc_date(start_s) - timedelta(days=1), known[0])
    last = min(calendars.utc_date(end_s) + timedelta(days=2), known[1])
    day = period_start(first, size)
    while day <= last:
        following = next_period(day, size)
        days = [when for when in days_between(day, following) if opening(when) is not None]
        opened = opening(days[0]) if days else None
        if opened is not None and start_s <= opened < end_s:
            begun = [when for when in days if (opening(when) or 0) < now_s]
            bars = [bar for bar in map(day_bar, begun) if bar is not None]
            if bars:
                result.append(merged(bars, midnight_s(begun[-1]), what))
        day = following
    return result


def period_start(day: date, size: str) -> date:
    """The first calendar day of the day, week or month that holds a day."""
    if size == "1w":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if size == "1M" else day


def next_period(day: date, size: str) -> date:
    """The first calendar day of the period after the one that begins on `day`."""
    if size == "1M":
        return (day + timedelta(days=32)).replace(day=1)
    return day + timedelta(days=7 if size == "1w" else 1)


def midnight_s(day: date) -> int:
    """00:00 UTC of a date, the label of a dated bar."""
    return (day - date(1970, 1, 1)).days * 86400


def days_between(start: date, end: date) -> Iterator[date]:
    return (start + timedelta(days=n) for n in range((end - start).days))
