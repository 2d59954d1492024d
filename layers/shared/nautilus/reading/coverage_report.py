"""How much of a window is there, range by range, and why not the rest."""

from collections.abc import Mapping, Sequence
from typing import Any

from nautilus.clock import rfc3339
from nautilus.coverage.availability import Availability, Calendars, Subject, Window, assess
from nautilus.coverage.gaps import Missing
from nautilus.coverage.states import SETTLED, CoverageState
from nautilus.db.bars import volume_units, write
from nautilus.db.bars.read import SnapshotContext
from nautilus.db.cursor import Cursor
from nautilus.market import slots
from nautilus.market.calendar import Calendar
from nautilus.market.instrument import sent_in_lots, volume_unit
from nautilus.spans import Span, Spans

_MOST_SLOTS = 10_000_000


def coverage(
    cursor: Cursor, context: SnapshotContext, known: Calendars, *, subject: Subject, window: Window
) -> Mapping[str, Any]:
    """The window cut into ranges of one state each, with the bars in them and how many slots there are.

    Closed time goes with what lies around it; it is a range of its own only where nothing else is.
    """
    availability = assess(cursor, context, known, subject=subject, window=window)
    intervals = _intervals(cursor, availability)
    counts = (
        write.counts(cursor, availability.row.id, availability.row.timeframe, [s.span for s in intervals])
        if availability.row
        else []
    )
    rows = []
    for n, interval in enumerate(intervals):
        row: dict[str, Any] = {
            "start": rfc3339(interval.span[0]),
            "end": rfc3339(interval.span[1]),
            "state": interval.state.value,
            "bars": counts[n] if counts else 0,
            "expected": _slots(availability.calendar, availability, interval.span),
        }
        if interval.reason:
            row["reason"] = interval.reason
        if interval.ib_code:
            row["ib_code"] = interval.ib_code
        rows.append(row)
    return {
        **named(availability.subject),
        "source": f"derived from {availability.finer.name}" if availability.finer else context.source,
        "data_version": availability.data_version,
        "window": {"start": rfc3339(availability.span[0]), "end": rfc3339(availability.span[1])},
        "intervals": rows,
        "summary": _summary(availability, rows, intervals),
        "volume_unit": _volume_unit(cursor, availability),
        "job_id": str(availability.job_id) if availability.job_id else None,
    }


def _volume_unit(cursor: Cursor, availability: Availability) -> str | None:
    """What the volumes of the window count; `unknown` where IB may have sent shares or lots and nobody knows which."""
    about = (availability.subject.instrument, availability.subject.price)
    doubtful = availability.row is not None and sent_in_lots(*about)
    if (
        doubtful
        and availability.row
        and volume_units.unknown(cursor, availability.row.id, Spans.of(*availability.span))
    ):
        return "unknown"
    return volume_unit(*about)


def _summary(
    availability: Availability, rows: Sequence[Mapping[str, Any]], intervals: Sequence[Missing]
) -> Mapping[str, Any]:
    """The window in numbers, without what is not closed yet: `complete` asks for none of that.

    Where the sessions of a range are not known nobody can say how many bars are missing, nor what share is there.
    """
    closed = [(r, s.state) for r, s in zip(rows, intervals, strict=True) if s.state is not CoverageState.NOT_CLOSED_YET]
    unknown = sum(r["expected"] is None for r, _ in closed)
    expected = sum(r["expected"] or 0 for r, _ in closed)
    settled = sum(r["expected"] or 0 for r, state in closed if state in SETTLED)
    share = 100.0 * settled / expected if expected else 100.0 if availability.complete else 0.0
    return {
        "complete": availability.complete,
        "complete_pct": None if unknown else share,
        "bars": sum(r["bars"] for r in rows),
        "expected": expected,
        "missing_bars": None if unknown else expected - settled,
        "unknown": unknown,
    }


def _slots(calendar: Calendar | None, availability: Availability, span: Span) -> int | None:
    """How many bars a range can hold; None where the calendar does not reach."""
    frame = availability.row.timeframe if availability.row else availability.subject.timeframe
    if calendar is None or not calendar.known_axis(frame).covers(span):
        return None
    return slots.count(calendar, frame, span, _MOST_SLOTS)


def _intervals(cursor: Cursor, availability: Availability) -> list[Missing]:
    """The settled and the missing ranges of a view, in order, together the whole window."""
    found: list[Missing] = []
    at = availability.span[0]
    for gap in [*availability.missing, Missing((availability.span[1], availability.span[1]), CoverageState.CLOSED)]:
        if at < gap.span[0]:
            found += _settled(cursor, availability, (at, gap.span[0]))
        if gap.span[0] < gap.span[1]:
            found += _at_the_edge(availability, gap)
        at = gap.span[1]
    return _without_closed(found)


def _at_the_edge(availability: Availability, gap: Missing) -> list[Missing]:
    """A gap in parts: those of which the sessions are known can be counted in bars, the others cannot."""
    if availability.calendar is None:
        return [gap]
    whole = Spans.of(*gap.span)
    known = availability.calendar.known_axis(
        availability.row.timeframe if availability.row else availability.subject.timeframe
    )
    return [gap._replace(span=span) for span in sorted([*(whole & known), *(whole - known)])]


def _without_closed(intervals: Sequence[Missing]) -> list[Missing]:
    """Closed time given to the range before it, at the beginning to the one after it."""
    found: list[Missing] = []
    for interval in intervals:
        if found and interval.state is CoverageState.CLOSED:
            found[-1] = found[-1]._replace(span=(found[-1].span[0], interval.span[1]))
        elif found and found[-1].state is CoverageState.CLOSED:
            found[-1] = interval._replace(span=(found[-1].span[0], interval.span[1]))
        else:
            found.append(interval)
    return found


def _settled(cursor: Cursor, availability: Availability, span: Span) -> list[Missing]:
    """What is settled, in two states: sessions with bars are filled, those without are confirmed to be empty."""
    if availability.calendar is None or availability.row is None:
        return [Missing(span, CoverageState.CLOSED)]
    units = availability.calendar.units(availability.row.timeframe, span)
    counts = write.counts(cursor, availability.row.id, availability.row.timeframe, units)
    merged: list[tuple[int, CoverageState]] = []  # (start, state); each reaches to the next
    for (start, _), number in zip(units, counts, strict=True):
        state = CoverageState.FILLED if number else CoverageState.EMPTY_CONFIRMED
        if not merged or merged[-1][1] is not state:
            merged.append((start if merged else span[0], state))
    if not merged:
        return [Missing(span, CoverageState.CLOSED)]
    ends = [start for start, _ in merged[1:]] + [span[1]]
    return [Missing((start, end), state) for (start, state), end in zip(merged, ends, strict=True)]


def named(subject: Subject) -> dict[str, Any]:
    """Which series is meant, as answers show it."""
    return {
        "instrument_id": subject.instrument.instrument_id,
        "symbol": subject.instrument.display_symbol,
        "timeframe": subject.timeframe.name,
        "price": subject.price,
        "session": subject.session,
    }


def session_row(session: Any) -> Mapping[str, Any]:
    return {
        "trade_date": session.trade_date.isoformat(),
        "open": rfc3339(session.open_ns),
        "close": rfc3339(session.close_ns),
    }
