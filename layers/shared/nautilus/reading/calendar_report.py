"""The trading sessions of an instrument, as an answer tells them."""

from nautilus.clock import NS_PER_DAY, rfc3339
from nautilus.coverage.availability import Subject, Window
from nautilus.db.bars import read
from nautilus.db.cursor import Cursor
from nautilus.db.market import calendars
from nautilus.market.calendar import Session
from nautilus.reading import schemas
from nautilus.reading.coverage_report import session_row
from nautilus.reading.query import MAX_LIMIT

_BEHIND_NS = 37 * NS_PER_DAY
_AHEAD_NS = 7 * NS_PER_DAY


def sessions(cursor: Cursor, subject: Subject, window: Window) -> schemas.CalendarAnswer:
    """The sessions within a window, by default a month back and a week ahead, as far as IB sent them."""
    now = read.snapshot_context(cursor).market_ns
    end = window.end if window.end is not None else now + _AHEAD_NS
    start = window.start if window.start is not None else end - _BEHIND_NS
    name = subject.instrument.calendar
    known = calendars.known(cursor, name, subject.session)
    found = calendars.load(cursor, name, subject.session, (start, end)) if known and start < end else None
    rows: list[Session] = found.between(start, end) if found else []
    return schemas.CalendarAnswer(
        instrument_id=subject.instrument.instrument_id,
        session=subject.session,
        time_zone=found.time_zone if found else subject.instrument.time_zone,
        known=schemas.Stretch(start=rfc3339(known[0]), end=rfc3339(known[1])) if known else None,
        sessions=[schemas.SessionRow.model_validate(session_row(row)) for row in rows[: window.limit or MAX_LIMIT]],
    )
