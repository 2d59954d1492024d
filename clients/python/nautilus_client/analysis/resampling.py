"""Longer bars of shorter ones, as the API makes them: cut at the open and the close of each session.

Bars up to 15m lie on whole multiples of their length. `20m` to `1h` go by the clock of the exchange, `2h` to `8h` from midnight
there. A week begins on Monday, a month on its first. A bar is stamped with its slot's begin, or with the session's open where
that is later: New York's first `1h` bar is 09:30 to 10:00.
"""

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd

from nautilus_client.errors import BadTime
from nautilus_client.records import Calendar
from nautilus_client.timeframes import INTRADAY_S, checked, intraday
from nautilus_client.times import zone_of

_QUARTER_S = 900


def resample(frame: pd.DataFrame, timeframe: str, calendar: Calendar | None = None) -> pd.DataFrame:
    """The bars of `frame` as bars of a longer timeframe; slots without a bar give none.

    frame: intraday bars for an intraday timeframe, bars of 1d for 1w and 1M. calendar: its sessions; not for 1w and 1M. A bar
    outside of all sessions is left out. volume is unknown where that of a bar is; so are vwap and trades. `1d` is refused: a
    daily close is an auction's or a settlement price, which no minute has.
    """
    if checked(timeframe) == "1d":
        raise BadTime("1d is not made of shorter bars: its close is an auction's or a settlement price")
    stamps = (
        _labels(frame.index, timeframe) if not intraday(timeframe) else slots(frame.index, timeframe, _needed(calendar))
    )
    inside = ~pd.isna(stamps)
    return _aggregated(frame[inside], stamps[inside])


def _needed(calendar: Calendar | None) -> Calendar:
    if calendar is None:
        raise TypeError("intraday bars are cut at sessions: give the calendar of client.calendar(...)")
    return calendar


def _aggregated(frame: pd.DataFrame, stamps: pd.DatetimeIndex) -> pd.DataFrame:
    groups = frame.groupby(stamps, sort=True)
    found: dict[str, Any] = {}
    for name, how in (("open", "first"), ("high", "max"), ("low", "min"), ("close", "last")):
        if name in frame:
            found[name] = getattr(groups[name], how)()
    if "volume" in frame:
        found["volume"] = _sums(frame["volume"], stamps)
    if "vwap" in frame and "volume" in frame:
        # Known only where each bar has both. A bar without any volume weighs nothing.
        weights = _sums(frame["volume"].where(frame["vwap"].notna()), stamps)
        values = _sums(frame["vwap"] * frame["volume"], stamps)
        found["vwap"] = (values / weights).where(weights > 0)
    if "trades" in frame:
        found["trades"] = _sums(frame["trades"].astype("Int64"), stamps)
    result = pd.DataFrame({name: found[name] for name in frame.columns if name in found})
    result.index = pd.DatetimeIndex(result.index, name=frame.index.name)
    return result


def _sums(values: "pd.Series[Any]", stamps: pd.DatetimeIndex) -> "pd.Series[Any]":
    """Sums in the order of time; unknown where a value is."""
    if str(values.dtype) == "Int64":
        groups = values.groupby(stamps, sort=True)
        return groups.sum().where(groups.count() == groups.size())
    # numpy and pandas add pairwise; the server adds one by one, and so the digits are the same.
    order = pd.Series(values.to_numpy(), index=stamps)
    return order.groupby(level=0, sort=True).agg(lambda part: float(np.add.accumulate(part.to_numpy())[-1]))


def slots(index: pd.DatetimeIndex, timeframe: str, calendar: Calendar) -> pd.DatetimeIndex:
    """The stamp of the longer bar that each stamp belongs to; NaT outside of all sessions."""
    opens = pd.DatetimeIndex([one.open for one in calendar.sessions]).as_unit("ns")
    closes = pd.DatetimeIndex([one.close for one in calendar.sessions]).as_unit("ns")
    utc = pd.DatetimeIndex(index).tz_convert("UTC").as_unit("ns")
    if not len(opens) or not len(utc):
        return pd.DatetimeIndex([pd.NaT] * len(utc), tz="UTC")
    at = opens.searchsorted(utc, side="right") - 1
    held = np.clip(at, 0, None)
    inside = (at >= 0) & (utc < closes[held])
    begins = _slot_begins(utc, timeframe, zone_of(calendar.time_zone))
    later = np.maximum(begins.asi8, opens[held].asi8)
    stamps = pd.DatetimeIndex(later.view("M8[ns]")).tz_localize("UTC")
    return stamps.where(inside, pd.NaT)


def _slot_begins(utc: pd.DatetimeIndex, timeframe: str, zone: dt.tzinfo) -> pd.DatetimeIndex:
    """The begin of each stamp's slot, sessions apart."""
    seconds = INTRADAY_S[timeframe]
    step = seconds * 1_000_000_000
    ns = utc.asi8
    if _QUARTER_S % seconds == 0:
        return pd.DatetimeIndex((ns - ns % step).view("M8[ns]")).tz_localize("UTC")
    local = utc.tz_convert(zone)
    wall = local.tz_localize(None).as_unit("ns").asi8
    if seconds <= 3_600:
        return pd.DatetimeIndex((ns - wall % step).view("M8[ns]")).tz_localize("UTC")
    return _by_marks(utc, local, seconds // 3_600, zone)


def _by_marks(utc: pd.DatetimeIndex, local: pd.DatetimeIndex, hours: int, zone: dt.tzinfo) -> pd.DatetimeIndex:
    """Slots of whole hours from the exchange's midnight: on days when clocks change one slot is shorter or longer."""
    first, last = min(local).date(), max(local).date()
    marks = [
        dt.datetime.combine(first + dt.timedelta(days=n), dt.time(hour), tzinfo=zone).astimezone(dt.UTC)
        for n in range((last - first).days + 1)
        for hour in range(0, 24, hours)
    ]
    known = pd.DatetimeIndex(marks).as_unit("ns")
    return known[known.searchsorted(utc, side="right") - 1]


def _labels(index: pd.DatetimeIndex, timeframe: str) -> pd.DatetimeIndex:
    """The Monday, or the first of the month, of dates that are stamped with midnight UTC."""
    days = pd.DatetimeIndex(index).as_unit("ns")
    if timeframe == "1w":
        return days - pd.to_timedelta(days.weekday, unit="D")
    return days - pd.to_timedelta(days.day - 1, unit="D")
