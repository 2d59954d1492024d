"""When the exchanges are open: sessions with holidays, early closes and daylight saving, 2004 to 2030.

The table data/calendars.json is made by dev/calendar_table.py; it holds wall-clock minutes, and the time zone turns
them into instants, so that daylight saving is right by construction.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import cache, lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

FIRST, LAST = date(2004, 1, 1), date(2030, 12, 31)  # what the table covers
_LAST_INSTANT_S = 221_845_392_000  # the year 9000: dates end with 9999

Span = tuple[int, int]  # wall-clock minutes after midnight of the trade date, negative: the evening before


class Session(NamedTuple):
    """One range of trading: epoch seconds UTC, half-open; a trade date can have several, in order."""

    open_s: int
    close_s: int
    trade_date: date


class Segment(NamedTuple):
    """A part of a session that lies wholly inside or wholly outside regular hours."""

    open_s: int
    close_s: int
    regular: bool


def calendar_names() -> tuple[str, ...]:
    """The calendars of the table."""
    return tuple(_table())


def zone_name(calendar: str) -> str:
    """The time zone of a calendar as IB spells it (US/Eastern)."""
    return str(_table()[calendar]["ib_zone"])


@cache
def zone(calendar: str) -> ZoneInfo:
    """The time zone that the wall clock of a calendar shows."""
    return ZoneInfo(_table()[calendar]["zone"])


@lru_cache(maxsize=100_000)
def day_sessions(calendar: str, day: date, *, rth: bool) -> tuple[Session, ...]:
    """The sessions of one trade date, empty when closed; LookupError outside 2004 to 2030."""
    return tuple(
        Session(_instant(calendar, day, opened), _instant(calendar, day, closed), day)
        for opened, closed in _day_spans(calendar, day)[1 if rth else 0]
    )


@lru_cache(maxsize=100_000)
def day_segments(calendar: str, day: date) -> tuple[Segment, ...]:
    """The sessions of one trade date, cut where regular hours begin and end."""
    every, regular = _day_spans(calendar, day)
    segments: list[Segment] = []
    for opened, closed in every:
        inside = [span for span in regular if opened <= span[0] and span[1] <= closed]
        cuts = sorted({opened, closed, *(edge for span in inside for edge in span)})
        for start, end in pairwise(cuts):
            at = _instant(calendar, day, start), _instant(calendar, day, end)
            segments.append(Segment(*at, any(span[0] <= start < span[1] for span in inside)))
    return tuple(segments)


@lru_cache(maxsize=10_000)
def quiet_slots(calendar: str, day: date, size_s: int, shift_s: int) -> tuple[int, ...]:
    """The slots of the wall clock, by the label of their bar, in which a trade date has a session and no regular hours."""
    segments = day_segments(calendar, day)
    regular = [one for one in segments if one.regular]
    labels: dict[int, None] = {}
    for segment in segments:
        first = (segment.open_s + shift_s) // size_s * size_s - shift_s
        for slot in range(first, segment.close_s, size_s):
            if not any(one.open_s < slot + size_s and slot < one.close_s for one in regular):
                labels.setdefault(max(slot, segment.open_s))
    return tuple(labels)


def known_sessions(calendar: str, day: date, *, rth: bool) -> tuple[Session, ...]:
    """The sessions of one trade date, empty also outside 2004 to 2030."""
    return day_sessions(calendar, day, rth=rth) if FIRST <= day <= LAST else ()


def sessions(calendar: str, start_s: float, end_s: float, *, rth: bool) -> list[Session]:
    """Sessions that overlap [start_s, end_s), whole, in order."""
    return [
        session
        for day in trade_dates(start_s, end_s)
        for session in day_sessions(calendar, day, rth=rth)
        if session.open_s < end_s and session.close_s > start_s
    ]


def trade_dates(start_s: float, end_s: float) -> list[date]:
    """Calendar days of the table whose sessions may overlap [start_s, end_s); a session is at most a day early."""
    first = max(utc_date(start_s) - timedelta(days=1), FIRST)
    last = min(utc_date(end_s) + timedelta(days=2), LAST)
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def utc_date(t_s: float) -> date:
    """The UTC date of an instant between 1970 and 9000, or of the nearest."""
    return datetime.fromtimestamp(min(max(t_s, 0), _LAST_INSTANT_S), UTC).date()


def hours_text(where: ZoneInfo, sessions_of: Callable[[date], Sequence[Session]], now_s: float, days: int) -> str:
    """Sessions from today on, as contract details spell them, in the wall clock of a zone."""
    today = datetime.fromtimestamp(now_s, where).date()
    parts = []
    for day in (today + timedelta(days=n) for n in range(days)):
        found = sessions_of(day)
        parts += [f"{_wall(where, one.open_s)}-{_wall(where, one.close_s)}" for one in found]
        if not found:
            parts.append(f"{day:%Y%m%d}:CLOSED")
    return ";".join(parts)


@lru_cache(maxsize=10_000)
def utc_offset_s(where: ZoneInfo, t_s: int) -> int:
    """Seconds to add to UTC for the wall clock of a zone: bars of hours begin at full hours there."""
    offset = datetime.fromtimestamp(t_s, where).utcoffset()
    return int(offset.total_seconds()) if offset else 0


def _wall(where: ZoneInfo, t_s: int) -> str:
    return f"{datetime.fromtimestamp(t_s, where):%Y%m%d:%H%M}"


def _instant(calendar: str, day: date, minute: int) -> int:
    """Adding to an aware datetime moves its wall clock, so the zone's offset is that of the result."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone(calendar))
    return int((midnight + timedelta(minutes=minute)).timestamp())


def _day_spans(calendar: str, day: date) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
    if not FIRST <= day <= LAST:
        raise LookupError(f"the calendars cover {FIRST} to {LAST}, not {day}")
    entry = _table()[calendar]
    letter = entry["years"][str(day.year)][day.timetuple().tm_yday - 1]
    return ((), ()) if letter == "." else entry["hours"][letter]


@lru_cache(maxsize=1)
def _table() -> dict[str, Any]:
    """name -> {zone, ib_zone, years: {"2004": one letter per day}, hours: {letter: (all spans, regular spans)}}."""
    text = (Path(__file__).parents[1] / "data" / "calendars.json").read_text()
    calendars: dict[str, Any] = json.loads(text)["calendars"]
    for entry in calendars.values():
        entry["hours"] = {chr(ord("a") + n): _spans(pattern) for n, pattern in enumerate(entry["patterns"])}
    return calendars


def _spans(pattern: str) -> tuple[tuple[Span, ...], ...]:
    """ "-420:915 930:960 | 510:900" -> all sessions, regular hours."""
    return tuple(
        tuple((int(span.split(":")[0]), int(span.split(":")[1])) for span in half.split())
        for half in pattern.split("|")
    )
