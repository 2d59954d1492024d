"""How one bar came to be, or why there is none."""

from collections.abc import Mapping, Sequence
from typing import Any

from nautilus.clock import microseconds_text, rfc3339
from nautilus.coverage.availability import Availability, Calendars, Subject, Window, assess
from nautilus.coverage.states import CoverageState
from nautilus.db.bars import history
from nautilus.db.bars import revisions as bar_revisions
from nautilus.db.bars.history import Arrival, ChunkAt, NoteAt
from nautilus.db.bars.read import SnapshotContext
from nautilus.db.bars.revisions import Revision
from nautilus.db.cursor import Cursor
from nautilus.db.ledger import requests as sent_requests
from nautilus.db.ledger.requests import SentRequest
from nautilus.market.bar import Bar
from nautilus.market.calendar import Calendar
from nautilus.reading.coverage_report import named, session_row
from nautilus.spans import Span


def explain(
    cursor: Cursor, context: SnapshotContext, known: Calendars, *, subject: Subject, ts: int
) -> Mapping[str, Any]:
    """Everything that is known about the slot that holds `ts`: the bar, its state, the chunks and requests behind it."""
    calendar = known.get(cursor, subject.instrument.calendar, subject.session)
    slot = _slot(calendar, subject, ts)
    availability = assess(cursor, context, known, subject=subject, window=Window(slot[0], slot[1]))
    if availability.finer is not None:
        return {
            **_about(availability, slot, ts),
            "derived_from": availability.finer.name,
            "state": CoverageState.FILLED.value,
        }
    if availability.row is None:
        return {
            **_about(availability, slot, ts),
            "state": _state(availability, False).value,
            "bar": None,
            "chunks": [],
            "revisions": [],
        }
    row = availability.row
    bar = history.bar(cursor, row.id, row.timeframe, slot[0])
    revisions = bar_revisions.of_bar(cursor, row.id, slot[0])
    chunks = history.chunks_at(cursor, row.id, slot)
    arrival = history.arrival(cursor, row.id, slot[0])
    requests = _requests(cursor, row.id, chunks=chunks, revisions=revisions, arrival=arrival)
    note = history.note_at(cursor, row.id, slot[0])
    return {
        **_about(availability, slot, ts),
        "state": _state(availability, bar is not None).value,
        "bar": _bar(bar) if bar else None,
        "brought_by": _brought_by(bar, revisions, requests, arrival),
        "arrived": {"version": arrival.version, "at": microseconds_text(arrival.committed_at)} if arrival else None,
        "note": _note(note) if note else None,
        "revised": len([r for r in revisions if r.existed]),
        "revisions": [
            {
                "until_version": r.until_version,
                "before": _bar(r) if r.existed else None,
                "by_request": r.request_id,
            }
            for r in revisions
        ],
        "chunks": [_chunk(c, [r for r in requests if r.chunk_id == c.id]) for c in chunks],
        "requests": [_request(r) for r in requests if r.chunk_id is None],
    }


def _requests(
    cursor: Cursor, series_id: int, *, chunks: Sequence[Any], revisions: Sequence[Any], arrival: Any
) -> Sequence[Any]:
    """The requests of the chunks, those that revised the bar, and, of live bars, the one that it came with."""
    numbers = [r.request_id for r in revisions if r.request_id]
    if arrival is not None:
        first = history.without_chunk(cursor, series_id, arrival.committed_at)
        numbers += [first] if first is not None else []
    return sent_requests.of_chunks(cursor, [c.id for c in chunks], numbers)


def _slot(calendar: Calendar | None, subject: Subject, ts: int) -> Span:
    frame = subject.timeframe
    start, end = calendar.slot(frame, ts) if calendar else (frame.floor(ts), frame.next(ts))
    session = calendar.session_at(ts) if calendar and frame.intraday else None
    return (max(start, session.open_ns), min(end, session.close_ns)) if session else (start, end)


def _about(availability: Availability, slot: Span, ts: int) -> dict[str, Any]:
    session = (
        availability.calendar.session_at(ts)
        if availability.calendar and availability.subject.timeframe.intraday
        else None
    )
    return {
        **named(availability.subject),
        "ts": ts,
        "slot": {"start": rfc3339(slot[0]), "end": rfc3339(slot[1])},
        "trading_session": session_row(session) if session else None,
        "data_version": availability.data_version,
    }


def _state(availability: Availability, there: bool) -> CoverageState:
    if there:
        return CoverageState.FILLED
    if availability.missing:
        return availability.missing[0].state
    opens = (
        availability.calendar.units(availability.subject.timeframe, availability.span) if availability.calendar else []
    )
    # In a session that has other bars, a slot without one is a minute in which nobody traded: IB's answer says so.
    return CoverageState.EMPTY_CONFIRMED if opens else CoverageState.CLOSED


def _brought_by(
    bar: Bar | None, revisions: Sequence[Revision], requests: Sequence[SentRequest], arrival: Arrival | None
) -> Mapping[str, Any] | None:
    """The request whose answer the present value came with: the last revision's, else the one before the bar's arrival."""
    if bar is None or not requests:
        return None
    last = revisions[-1].request_id if revisions else None
    for request in requests:
        if request.id == last:
            return _request(request)
    good = [r for r in requests if r.outcome == "ok" and (arrival is None or r.booked_at <= arrival.committed_at)]
    return _request(good[-1]) if good else None


def _bar(row: Bar | Revision) -> Mapping[str, Any]:
    return {name: getattr(row, name) for name in Bar._fields}


def _note(row: NoteAt) -> Mapping[str, Any]:
    return {
        "state": row.state,
        "reason": row.reason,
        "ib_code": row.ib_code,
        "checked_at": rfc3339(row.checked_at),
        "expires_at": rfc3339(row.expires_at) if row.expires_at is not None else None,
        "by_request": row.request_id,
    }


def _chunk(row: ChunkAt, requests: Sequence[SentRequest]) -> Mapping[str, Any]:
    return {
        "id": row.id,
        "start": rfc3339(row.span_start),
        "end": rfc3339(row.span_end),
        "state": row.state,
        "outcome": row.outcome,
        "ib_code": row.ib_code,
        "attempts": row.attempts,
        "mode": row.mode,
        "updated_at": microseconds_text(row.updated_at),
        "requests": [_request(r) for r in requests],
    }


def _request(row: SentRequest) -> Mapping[str, Any]:
    return {
        "id": row.id,
        "kind": row.kind,
        "identity": row.identity,
        "sent_at": microseconds_text(row.booked_at),
        "market_time": rfc3339(row.sent_at),
        "outcome": row.outcome,
        "ib_code": row.ib_code,
        "ib_text": row.ib_text,
        "ms": row.ms,
        "bars": row.bars,
        "correlation_id": row.correlation_id,
    }
