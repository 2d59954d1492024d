"""Provisional bars beside those of history: bars of streams that no answer of IB has confirmed."""

from nautilus.coverage.availability import Availability
from nautilus.coverage.gaps import Missing
from nautilus.coverage.states import CoverageState
from nautilus.db.bars import bar_source
from nautilus.db.bars.bar_source import ProvisionalPart
from nautilus.db.cursor import Cursor
from nautilus.db.live import provisional
from nautilus.db.market import series
from nautilus.db.market.series import Series
from nautilus.live.offered import stored_timeframe
from nautilus.market import slots
from nautilus.market.slots import Slots
from nautilus.spans import Span, Spans

LOST = "live_bars_lost"
"""The reason where nobody can say which provisional bars there are: the server has crashed, or no stream has begun yet."""


def beside(
    cursor: Cursor, availability: Availability, *, end: int | None, now_ns: int
) -> tuple[Availability, ProvisionalPart]:
    """The view with the state `provisional` where history has not confirmed what is shown; and which bars these are. On the
    primary alone.

    end: of the window, as it was given; None: up to the bar that forms. now_ns: market time.
    """
    forming = _slot_end(availability, now_ns) if end is None else 0
    span = (availability.span[0], max(availability.span[1], forming))
    forming_yet = _open(availability, (availability.span[1], span[1]))
    later = [Missing(each, CoverageState.NOT_CLOSED_YET) for each in forming_yet]
    availability = availability._replace(span=span, missing=[*availability.missing, *later])
    if not provisional.is_whole(cursor):
        unknown = _open(availability, (max(span[0], availability.until), span[1]))
        return _marked(availability, unknown, LOST), _none(availability)
    part = _part(cursor, availability)
    stamps = bar_source.provisional_stamps(cursor, part, span)
    ends = dict(zip(part.slots.starts, part.slots.closes, strict=True)) if part.slots is not None else {}
    frame = availability.subject.timeframe
    shown = Spans((ts, ends.get(ts, frame.next(ts))) for ts in stamps)
    return _marked(availability._replace(row=availability.row or _nothing(availability)), shown), part


def _open(availability: Availability, span: Span) -> Spans:
    """What of a span is open time, as far as the sessions are known: a closed market lacks nothing."""
    calendar = availability.calendar
    if calendar is None or span[0] >= span[1]:
        return Spans([span])
    hours = Spans((session.open_ns, session.close_ns) for session in calendar.between(*span))
    return Spans([span]) & hours


def _slot_end(availability: Availability, now_ns: int) -> int:
    """The end of the bar that forms."""
    frame, calendar = availability.subject.timeframe, availability.calendar
    return calendar.slot(frame, now_ns)[1] if calendar is not None else frame.next(now_ns)


def _none(availability: Availability) -> ProvisionalPart:
    """No bar at all."""
    stored = stored_timeframe(availability.subject.timeframe.name)
    return ProvisionalPart(0, stored, Spans(), Spans(), availability.until)


def _part(cursor: Cursor, availability: Availability) -> ProvisionalPart:
    subject, row, until = availability.subject, availability.row, availability.until
    stored = stored_timeframe(subject.timeframe.name)
    stream = series.find(cursor, subject.instrument.con_id, stored, price=subject.price, session=subject.session)
    if stream is None:
        return _none(availability)
    # Of aggregated bars every closed one is there.
    settled = Spans.of(series.ALL_TIME[0], until) if availability.finer else row.covered if row else Spans()
    part = ProvisionalPart(stream.id, stored, stream.covered, settled, until)
    if stored == subject.timeframe:
        return part
    known = _slots(cursor, availability, stream)
    return part._replace(slots=known) if known.starts else _none(availability)


def _slots(cursor: Cursor, availability: Availability, stream: Series) -> Slots:
    """The slots that may hold provisional bars of a stream: from its oldest on."""
    calendar, frame, span = availability.calendar, availability.subject.timeframe, availability.span
    if calendar is None:
        return Slots()
    oldest = provisional.within(cursor, stream.id, *span)[:1]
    first = min([availability.until, *(bar.ts for bar in oldest)])
    return slots.on_axis(calendar, frame, (max(span[0], calendar.slot(frame, first)[0]), span[1]))


def _marked(availability: Availability, shown: Spans, reason: str = "") -> Availability:
    """The view with a range in the state `provisional`, whatever it misses there else, and nothing of it to be requested:
    the bridge requests it from history by itself."""
    rest = [m._replace(span=span) for m in availability.missing for span in Spans.of(*m.span) - shown]
    marked = [Missing(span, CoverageState.PROVISIONAL, reason) for span in shown]
    return availability._replace(missing=sorted(rest + marked, key=_start), to_ask=availability.to_ask - shown)


def _start(gap: Missing) -> Span:
    return gap.span


def _nothing(availability: Availability) -> Series:
    """A series without bars, where none is stored yet."""
    subject = availability.subject
    return Series(0, subject.instrument.con_id, subject.timeframe, subject.price, subject.session, Spans(), 0, None)
