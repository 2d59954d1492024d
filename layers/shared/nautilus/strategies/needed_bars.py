"""Whether the bars that a back-test needs are stored, and which backfill would bring the missing ones."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from nautilus.clock import rfc3339
from nautilus.coverage.availability import Availability, Calendars, Subject, Window, assess, missing_rows
from nautilus.db.bars import read
from nautilus.db.cursor import Cursor
from nautilus.errors import Conflict

MOST_RANGES = 20


class Gap(NamedTuple):
    """A series of a run that is not complete over its range."""

    series: Mapping[str, Any]
    availability: Availability


def gaps(
    cursor: Cursor, known: Calendars, subjects: Sequence[tuple[Mapping[str, Any], Subject]], window: Window
) -> list[Gap]:
    """The series that are not complete, in the order of the run's. A longer bar is not made of shorter ones for a back-test."""
    context = read.snapshot_context(cursor)
    found = []
    for series, subject in subjects:
        seen = assess(cursor, context, known, subject=subject, window=window)
        if seen.finer is not None or not seen.complete:
            found.append(Gap(series, seen))
    return found


def refuse(found: Sequence[Gap], start: int, end: int) -> None:
    """Conflict that names what is missing of each series, with the bodies of the backfills that bring it."""
    if not found:
        return
    names = ", ".join(f"{gap.series['instrument_id']} {gap.series['timeframe']} {gap.series['price']}" for gap in found)
    raise Conflict(
        f"bars are missing of {names}: request the backfills that stand in `backfill`, or send allow_missing",
        code="bars-missing",
        extra={
            "missing": [_missing(gap, start, end) for gap in found],
            "backfill": [_backfill(gap, start, end) for gap in found],
        },
    )


def _missing(gap: Gap, start: int, end: int) -> dict[str, Any]:
    seen = gap.availability
    ranges = missing_rows(seen.missing)[:MOST_RANGES]
    if seen.finer is not None:
        why = f"only bars of {seen.finer.name} are stored"
        ranges = [{"start": rfc3339(start), "end": rfc3339(end), "state": "not_asked", "reason": why}]
    return {**gap.series, "ranges": ranges}


def _backfill(gap: Gap, start: int, end: int) -> dict[str, Any]:
    """The body of POST /api/v1/ib/backfill."""
    return {
        "con_id": gap.series["con_id"],
        "timeframe": gap.series["timeframe"],
        "price": gap.series["price"],
        "session": gap.series["session"],
        "start": rfc3339(start),
        "end": rfc3339(end),
    }
