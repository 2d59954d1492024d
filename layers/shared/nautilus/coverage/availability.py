"""One consistent look at a series: which window is meant, what of it is there, what is missing and why.

No bars are read for it. Where the series itself has gaps but a finer one is complete over the window, the bars are
aggregated.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from nautilus.backfill.planner import PlanInput, by_rules, plan
from nautilus.clock import NS_PER_DAY, NS_PER_S, rfc3339
from nautilus.coverage.gaps import Missing, missing
from nautilus.coverage.states import CoverageState
from nautilus.db.bars import read, requested
from nautilus.db.bars.read import SeriesKey, SeriesState, SnapshotContext
from nautilus.db.cursor import Cursor
from nautilus.db.market import calendars, series
from nautilus.db.market.calendars import CalendarStamp
from nautilus.db.market.series import Series
from nautilus.errors import InvalidInput
from nautilus.market import aggregation
from nautilus.market import slots as grid
from nautilus.market.calendar import Calendar, weekdays
from nautilus.market.closing import BarClosing, ClosedBounds
from nautilus.market.instrument import Instrument
from nautilus.market.timeframes import Timeframe
from nautilus.market.windows import back_from, last_close
from nautilus.spans import Span, Spans

_EDGE_NS = 60 * NS_PER_S
"""The newest bars shorter than a minute are requested once they make a whole minute."""
_MOST_CALENDARS = 200
_ZONES_NS = 2 * NS_PER_DAY
"""So far around a range of labels a stand-in must reach to know their days by any clock of the world."""


class Window(NamedTuple):
    """What of a series is requested: [start, end) on its axis; None: as far as the default goes. limit: bars at most."""

    start: int | None = None
    end: int | None = None
    limit: int | None = None


class Subject(NamedTuple):
    """What is looked at: an instrument, and which of its series."""

    instrument: Instrument
    timeframe: Timeframe
    price: str
    session: str

    @property
    def key(self) -> SeriesKey:
        return (self.instrument.con_id, self.timeframe.name, self.price, self.session)


class Availability(NamedTuple):
    """What of a window is there. `row` is the series whose bars are read: the subject's own, or `finer`, to be aggregated."""

    subject: Subject
    span: Span
    until: int
    calendar: Calendar | None
    row: Series | None
    missing: Sequence[Missing]
    finer: Timeframe | None = None
    to_ask: Spans = Spans()
    """What nobody has requested yet, nor within the last minute."""
    requests: int = 0
    """How many requests to IB would fill that."""
    job_id: UUID | None = None
    """A job that is bringing part of what is missing."""

    @property
    def complete(self) -> bool:
        return all(m.state is CoverageState.NOT_CLOSED_YET for m in self.missing)

    @property
    def pending(self) -> bool:
        """True while something of the window is under way."""
        return any(m.state is CoverageState.QUEUED for m in self.missing)

    @property
    def data_version(self) -> int:
        return self.row.data_version if self.row else 0


class Calendars:
    """Calendars of one process, read again when they have changed."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], tuple[CalendarStamp, Calendar]] = {}

    def get(self, cursor: Cursor, name: str, session: str, stamp: CalendarStamp | None = None) -> Calendar | None:
        """All that is known of a calendar as of the cursor's snapshot; None when no sessions were ever requested.

        stamp: its `calendars.state`, when the caller has read it already.
        """
        stamp = stamp or calendars.state(cursor, name, session)
        if stamp is None:
            return None
        held = self._known.get((name, session))
        if held is not None and held[0] == stamp:
            return held[1]
        found = calendars.load(cursor, name, session, stamp[0])
        if found is not None:
            if len(self._known) >= _MOST_CALENDARS:
                self._known.clear()
            self._known[(name, session)] = (stamp, found)
        return found


def assess(
    cursor: Cursor,
    context: SnapshotContext,
    known: Calendars,
    *,
    subject: Subject,
    window: Window,
    series_state: SeriesState | None = None,
) -> Availability:
    """One consistent look, in the caller's snapshot. InvalidInput when the window lies in the future.

    standing: how the series stands, when the caller has read it in the same snapshot.
    """
    series_state = series_state or read.series_state(cursor, subject.key, subject.instrument.calendar)
    calendar = None
    if series_state.calendar is not None:
        calendar = known.get(cursor, subject.instrument.calendar, subject.session, series_state.calendar)
    frame = subject.timeframe
    bounds = _bounds(calendar, frame, subject.instrument, context)
    span = _span(window, frame, calendar, bounds=bounds, now=context.market_ns)
    availability = _assess_series(
        cursor, context, subject, span=span, bounds=bounds, calendar=calendar, row=series_state.row
    )
    if availability.complete or calendar is None:
        return availability
    return _aggregated(cursor, context, availability, bounds=bounds, calendar=calendar) or availability


def assess_stored(
    cursor: Cursor, context: SnapshotContext, known: Calendars, *, subject: Subject, window: Span, row: Series
) -> Availability:
    """The same of one stored series alone, whatever finer ones hold, in the window as it is given."""
    calendar = known.get(cursor, subject.instrument.calendar, subject.session)
    bounds = _bounds(calendar, subject.timeframe, subject.instrument, context)
    return _assess_series(cursor, context, subject, span=window, bounds=bounds, calendar=calendar, row=row)


def _bounds(
    calendar: Calendar | None, frame: Timeframe, instrument: Instrument, context: SnapshotContext
) -> ClosedBounds:
    now = context.market_ns
    return BarClosing.of(calendar, frame, instrument, delay=context.close_delay, now=now).bounds(now)


def _span(window: Window, frame: Timeframe, calendar: Calendar | None, *, bounds: ClosedBounds, now: int) -> Span:
    if window.start is not None and window.start >= now:
        raise InvalidInput.field(
            "start",
            f"{rfc3339(window.start)} lies in the future; market time is {rfc3339(now)}",
            [f"before {rfc3339(now)}"],
        )
    closed = last_close(bounds.closed, frame, calendar)
    newest = closed if bounds.undecided == bounds.closed else bounds.undecided
    end = window.end if window.end is not None else newest
    start = window.start
    if start is None:
        start = back_from(min(end, closed), frame, window.limit, calendar)[0]
    first = calendar.slot(frame, start)[0] if calendar else frame.floor(start)
    return first, max(first, end)


def _assess_series(
    cursor: Cursor,
    context: SnapshotContext,
    subject: Subject,
    *,
    span: Span,
    bounds: ClosedBounds,
    calendar: Calendar | None,
    row: Series | None,
) -> Availability:
    """What of the window is settled in a series, and what explains the rest. Asks the ledger only when there is a rest."""
    frame = row.timeframe if row else subject.timeframe
    covered = row.covered if row else Spans()
    until, edge = bounds
    _, cut = by_rules(
        span, frame, now=context.market_ns, until=edge, head=row.head_ts if row else None, calendar=calendar
    )

    def gaps(notes: Sequence[Any], live: Spans) -> list[Missing]:
        return missing(
            span, frame, calendar, covered=covered, notes=notes, live=live, until=edge, impossible=cut.impossible
        )

    found = gaps((), Spans())
    if not any(m.state is CoverageState.NOT_ASKED for m in found):
        return Availability(subject, span, until, calendar, row, found)
    chunks = series.live(cursor, row.id, span) if row else []
    ranges = requested.requested_ranges(cursor, subject.key)
    live = Spans([*(chunk for _, chunk in chunks), *(w.span for w in ranges if w.waiting)])
    notes = [
        n
        for n in (series.notes(cursor, row.id, span) if row else ())
        if n.expires_at is None or n.expires_at > context.market_ns
    ]
    found = gaps(notes, live)
    not_asked = Spans(m.span for m in found if m.state is CoverageState.NOT_ASKED)
    job_id = next((w.job_id for w in ranges if w.waiting and Spans.of(*w.span) & Spans.of(*span)), None)
    if job_id is None and chunks:
        job_id = requested.job_of(cursor, [number for number, _ in chunks])
    to_ask = not_asked - Spans(w.span for w in ranges)
    if frame.small:
        to_ask = Spans(gap for gap in to_ask if gap[1] < until or gap[1] - gap[0] >= _EDGE_NS)
    requests = _requests(to_ask, frame, calendar, instrument=subject.instrument, context=context, until=until)
    return Availability(subject, span, until, calendar, row, found, None, to_ask, requests, job_id)


def _aggregated(
    cursor: Cursor, context: SnapshotContext, own: Availability, *, bounds: ClosedBounds, calendar: Calendar
) -> Availability | None:
    """The view made of the coarsest finer series that is complete over the window; None when there is none."""
    subject = own.subject
    frame = subject.timeframe
    candidates = aggregation.sources(frame, subject.price)
    span = own.span
    if (
        not candidates
        or span[0] >= span[1]
        or not calendar.known_axis(frame).covers((span[0], min(span[1], own.until)))
    ):
        return None
    # Whole slots are needed: the last bar takes all that belongs to it, but nothing that still forms.
    slots = grid.on_axis(calendar, frame, (span[0], min(span[1], own.until)))
    if not slots.starts:
        return None
    wide = (span[0], slots.closes[-1])
    for row in read.stored(cursor, subject.instrument.con_id, candidates, price=subject.price, session=subject.session):
        finer = _bounds(calendar, row.timeframe, subject.instrument, context)
        availability = _assess_series(cursor, context, subject, span=wide, bounds=finer, calendar=calendar, row=row)
        if not availability.missing:
            rest = _beyond_closed(own, bounds)
            to_ask = own.to_ask & Spans(m.span for m in rest if m.state is CoverageState.NOT_ASKED)
            return Availability(subject, span, own.until, calendar, row, rest, row.timeframe, to_ask, 0, own.job_id)
    return None


def _beyond_closed(own: Availability, bounds: ClosedBounds) -> list[Missing]:
    """What a view misses of the slots that are not closed, or of which nobody can say so."""
    rows = [m for m in own.missing if m.span[1] > bounds.closed]
    return [m._replace(span=(max(m.span[0], bounds.closed), m.span[1])) for m in rows]


def _requests(
    gaps: Spans,
    frame: Timeframe,
    calendar: Calendar | None,
    *,
    instrument: Instrument,
    context: SnapshotContext,
    until: int,
) -> int:
    """How many requests the gaps come to; where the calendar does not reach, weekdays stand in for it."""
    total = 0
    for gap in gaps:
        known = calendar is not None and calendar.known_axis(frame).covers(gap)
        around = (gap[0] - _ZONES_NS, gap[1] + _ZONES_NS)
        sessions = calendar if calendar is not None and known else weekdays(*around, instrument.time_zone)
        given = PlanInput(
            wanted=gap,
            timeframe=frame,
            calendar=sessions,
            now=context.market_ns,
            until=until,
            head=None,
            span_s=context.rules.spans_s[frame.name],
        )
        total += len(plan(given).chunks)
    return total


def missing_rows(missing_: Sequence[Missing]) -> list[Mapping[str, Any]]:
    """Gaps as answers show them."""
    return [
        {
            "start": rfc3339(m.span[0]),
            "end": rfc3339(m.span[1]),
            "state": m.state.value,
            **({"reason": m.reason} if m.reason else {}),
            **({"ib_code": m.ib_code} if m.ib_code else {}),
        }
        for m in missing_
    ]
