"""Bars of a timeframe that is not stored, made of a finer one as answers make them: only where that one lacks nothing."""

from collections.abc import Mapping
from typing import NamedTuple

from nautilus.coverage.availability import Calendars, Subject, assess_stored
from nautilus.db.bars.read import SnapshotContext
from nautilus.db.cursor import Cursor
from nautilus.db.market.series import Series
from nautilus.db.market.series_list import Ends
from nautilus.market import slots
from nautilus.market.aggregation import sources
from nautilus.market.calendar import Calendar
from nautilus.market.timeframes import Timeframe
from nautilus.spans import Span


class Made(NamedTuple):
    """The finer series, and the range of the stamps that bars made of it have."""

    row: Series
    span: Span


class Range(NamedTuple):
    """Which stamps are wanted, [start, end); None: as far as whole bars can be made."""

    start: int | None
    end: int | None


def made_of(
    cursor: Cursor,
    context: SnapshotContext,
    known: Calendars,
    *,
    subject: Subject,
    stored: Mapping[str, Series],
    ends: Mapping[int, Ends],
    wanted: Range,
) -> Made | None:
    """The coarsest finer series that lacks nothing of the range; None: there is none. stored: by timeframe."""
    calendar = known.get(cursor, subject.instrument.calendar, subject.session)
    if calendar is None:
        return None
    for finer in sources(subject.timeframe, subject.price):
        row = stored.get(finer.name)
        span = _whole(calendar, subject.timeframe, row, ends=ends[row.id], wanted=wanted) if row is not None else None
        if row is None or span is None or not calendar.known_axis(subject.timeframe).covers(span):
            continue
        window = source_window(calendar, subject.timeframe, span)
        of_finer = subject._replace(timeframe=finer)
        if not assess_stored(cursor, context, known, subject=of_finer, window=window, row=row).missing:
            return Made(row, span)
    return None


def _whole(calendar: Calendar, frame: Timeframe, row: Series, *, ends: Ends, wanted: Range) -> Span | None:
    """The stamps of the bars that are wanted, but for the first and the last where they are not settled as a whole."""
    first, last = ends.first, ends.last
    if first is None or last is None:
        return None
    low = next((one[0] for one in row.covered if one[0] <= first < one[1]), first)
    high = next((one[1] for one in row.covered if one[0] <= last < one[1]), last)
    begin = calendar.slot(frame, first)[0]
    found = slots.on_axis(calendar, frame, (max(wanted.start or begin, begin), min(wanted.end or last + 1, last + 1)))
    stamps = [stamp for stamp, close in zip(found.starts, found.closes, strict=True) if low <= stamp and close <= high]
    return (stamps[0], stamps[-1] + 1) if stamps else None


def source_window(calendar: Calendar, frame: Timeframe, span: Span) -> Span:
    """The range of the finer series from which the bars with these stamps are made: whole slots."""
    found = slots.on_axis(calendar, frame, span)
    return (found.starts[0], found.closes[-1]) if found.starts else span
