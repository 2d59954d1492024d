"""The coverage of many series at once, one trade date after the other; days that are alike are one run."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from functools import lru_cache
from itertools import groupby
from typing import Any, NamedTuple, Protocol

from nautilus.clock import NS_PER_DAY, day_of, label_of, rfc3339
from nautilus.coverage.availability import Availability, Calendars, Subject, Window, assess_stored
from nautilus.coverage.gaps import Missing
from nautilus.coverage.states import CoverageState
from nautilus.db.bars.read import SnapshotContext
from nautilus.db.cursor import Cursor
from nautilus.db.market import instruments, series, series_list
from nautilus.db.market.series import Series
from nautilus.errors import InvalidInput, NotFound
from nautilus.market import slots
from nautilus.market.calendar import Calendar
from nautilus.market.instrument import Instrument
from nautilus.market.timeframes import Timeframe
from nautilus.reading.formats import compact
from nautilus.spans import Span, Spans

MAX_SERIES = 200
DEFAULT_SERIES = 50
DEFAULT_DAYS = 90
MAX_DAYS = 3_660
SETTLED = "settled"
UNKNOWN = "unknown"
_WORST_FIRST = (
    CoverageState.FAILED,
    CoverageState.UNAVAILABLE,
    CoverageState.STALE,
    CoverageState.EMPTY_UNCONFIRMED,
    CoverageState.NOT_ASKED,
    CoverageState.QUEUED,
    CoverageState.NOT_CLOSED_YET,
)
_MOST_SLOTS = 10_000_000
_DAY = timedelta(days=1)


class Day(NamedTuple):
    """A trade date of a series. expected: its slots; None: nobody knows its sessions. settled: how many of them are."""

    date: date
    state: str
    expected: int | None
    settled: int


def numbers_of(text: str) -> list[int]:
    """The numbers of series in a parameter. InvalidInput names it when it holds anything else."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not 1 <= len(set(words)) <= MAX_SERIES or not all(word.isascii() and word.isdecimal() for word in words):
        raise InvalidInput.field("series", f"must be 1 to {MAX_SERIES} numbers of series, comma-separated", ["1,2,3"])
    numbers = [int(word) for word in dict.fromkeys(words)]
    if max(numbers) >= 2**31:
        raise InvalidInput.field("series", "a number of a series is below 2,147,483,648", ["1,2,3"])
    return numbers


def span_of(window: Window, now: int) -> Span:
    """The range that is shown: as given, or the last 90 days. now: market time. InvalidInput when it is too long."""
    end = window.end if window.end is not None else (now // NS_PER_DAY + 1) * NS_PER_DAY
    start = window.start if window.start is not None else end - DEFAULT_DAYS * NS_PER_DAY
    if start >= end:
        raise InvalidInput.field("start", "must be before end")
    if end - start > MAX_DAYS * NS_PER_DAY:
        raise InvalidInput.field("start", f"the map shows {MAX_DAYS} days at most", [f"{MAX_DAYS} days before end"])
    return start, end


class Chosen(Protocol):
    """Which series a caller wants to see, and when (`nautilus.reading.parameters.MapParameters`)."""

    instrument_id: str | None
    limit: int
    after: int

    @property
    def frame(self) -> str | None: ...

    def numbers(self) -> list[int] | None: ...

    def window(self) -> Window: ...


def answer(cursor: Cursor, context: SnapshotContext, known: Calendars, *, given: Chosen) -> Mapping[str, Any]:
    """The map of the series that a caller names, or of the next ones in order."""
    numbers, next_after = given.numbers(), None
    if numbers is None:
        which = {"instrument_id": given.instrument_id, "frame": given.frame}
        numbers = series_list.numbers(cursor, **which, limit=given.limit, after=given.after)
        next_after = numbers[-1] if len(numbers) == given.limit else None
    shown = mapped(cursor, context, known, numbers=numbers, window=given.window())
    return {**shown, "next_after": next_after}


def mapped(
    cursor: Cursor, context: SnapshotContext, known: Calendars, *, numbers: Sequence[int], window: Window
) -> Mapping[str, Any]:
    """The answer, of these series in a window. NotFound names a number that no series has."""
    span = span_of(window, context.market_ns)
    rows = {row.id: row for row in series.by_ids(cursor, numbers)}
    missing = [number for number in numbers if number not in rows]
    if missing:
        raise NotFound(f"there is no series {missing[0]}", code="unknown-series")
    about = instruments.several(cursor, {row.con_id for row in rows.values()})
    units = lru_cache(None)(_units)
    shown = []
    for number in numbers:
        row = rows[number]
        one = about[row.con_id]
        subject = Subject(one, row.timeframe, row.price, row.session)
        availability = assess_stored(cursor, context, known, subject=subject, window=span, row=row)
        calendar = availability.calendar
        days = list(_days(availability, units(calendar, row.timeframe, span) if calendar is not None else ()))
        shown.append({**_named(row, one), "runs": [_run(list(run)) for _, run in groupby(days, _alike)]})
    return {"window": {"start": rfc3339(span[0]), "end": rfc3339(span[1])}, "series": shown}


def tagged(answer: Mapping[str, Any]) -> tuple[bytes, str]:
    """An answer as JSON, and its tag: equal bodies have equal ones. Versions alone would not do, as what is queued has none."""
    body = compact(answer)
    return body, hashlib.sha256(body).hexdigest()[:32]


def _named(row: Series, one: Instrument) -> dict[str, Any]:
    return {
        "series_id": row.id,
        "con_id": row.con_id,
        "instrument_id": one.instrument_id,
        "timeframe": row.timeframe.name,
        "price": row.price,
        "session": row.session,
        "data_version": row.data_version,
    }


def _units(calendar: Calendar, frame: Timeframe, span: Span) -> list[tuple[date, Span, int]]:
    """What of a span can hold bars, session by session: trade date, range and number of slots."""
    if not frame.intraday:
        return [(day_of(start), (start, end), 1) for start, end in calendar.units(frame, span)]
    found = []
    for session in calendar.between(*span):
        part = (max(session.open_ns, span[0]), min(session.close_ns, span[1]))
        found.append((session.trade_date, part, slots.count(calendar, frame, part, _MOST_SLOTS)))
    return found


def _days(availability: Availability, units: Sequence[tuple[date, Span, int]]) -> Iterator[Day]:
    """The trade dates of a window in order, and days of the calendar where the sessions are not known."""
    gaps, row, calendar = availability.missing, availability.row, availability.calendar
    assert row is not None  # noqa: S101  for the type checker: it was read from the table
    whole = Spans.of(*availability.span)
    known = calendar.known_axis(row.timeframe) & whole if calendar is not None else Spans()
    found: dict[date, Day] = {}
    for day, group in groupby(units, lambda unit: unit[0]):
        parts = [(span, number) for _, span, number in group if known.covers(span)]
        if parts:
            found[day] = _day(availability, gaps, day, parts)
    for start, end in whole - known:
        at = day_of(start)
        while label_of(at) < end:
            found.setdefault(at, Day(at, UNKNOWN, None, 0))
            at += _DAY
    yield from sorted(found.values())


def _day(availability: Availability, gaps: Sequence[Missing], day: date, parts: list[tuple[Span, int]]) -> Day:
    states: set[CoverageState] = set()
    expected = missing = 0
    for span, number in parts:
        expected += number
        for gap in gaps:
            if gap.span[0] >= span[1] or gap.span[1] <= span[0]:
                continue
            states.add(gap.state)
            inside = (max(gap.span[0], span[0]), min(gap.span[1], span[1]))
            missing += number if inside == span else _slots(availability, inside)
    state = next((one.value for one in _WORST_FIRST if one in states), SETTLED)
    return Day(day, state, expected, max(0, expected - missing))


def _slots(availability: Availability, span: Span) -> int:
    calendar, row = availability.calendar, availability.row
    assert calendar is not None  # noqa: S101  for the type checker: sessions are known
    assert row is not None  # noqa: S101  for the type checker
    return slots.count(calendar, row.timeframe, span, _MOST_SLOTS)


def _alike(day: Day) -> object:
    """What days of one run share. A day that is settled in part is like no other."""
    return (day.state, day.date if day.expected and 0 < day.settled < day.expected else None)


def _run(days: Sequence[Day]) -> Mapping[str, Any]:
    unknown = days[0].expected is None
    return {
        "from": days[0].date.isoformat(),
        "to": days[-1].date.isoformat(),
        "days": len(days),
        "state": days[0].state,
        "expected": None if unknown else sum(day.expected or 0 for day in days),
        "settled": sum(day.settled for day in days),
    }
