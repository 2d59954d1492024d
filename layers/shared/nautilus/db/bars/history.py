"""How one bar came to be: the chunks and requests behind it, and what is noted where there is none."""

from datetime import datetime
from typing import NamedTuple

from nautilus.db.bars.write import table_of
from nautilus.db.cursor import Cursor
from nautilus.db.ranges import int8range
from nautilus.db.rows import every, one_or_none, scalar_or_none
from nautilus.market.bar import Bar
from nautilus.market.timeframes import Timeframe
from nautilus.spans import Span


class Arrival(NamedTuple):
    """The version with which a range got its first bars, and when."""

    version: int
    committed_at: datetime


class ChunkAt(NamedTuple):
    """A chunk whose range holds the bar."""

    id: int
    span_start: int
    span_end: int
    state: str
    outcome: str | None
    ib_code: int | None
    attempts: int
    mode: str
    updated_at: datetime


class NoteAt(NamedTuple):
    """What is noted about a range that is not settled."""

    state: str
    reason: str
    ib_code: int | None
    checked_at: int
    expires_at: int | None
    request_id: int | None


def arrival(cursor: Cursor, series_id: int, ts: int) -> Arrival | None:
    """The version with which a range that held nothing got bars at `ts`, and when."""
    cursor.execute(
        "SELECT version, committed_at FROM series_changes WHERE series_id = %s AND added @> %s::bigint"
        " ORDER BY version LIMIT 1",
        (series_id, ts),
    )
    return one_or_none(cursor, Arrival)


def bar(cursor: Cursor, series_id: int, timeframe: Timeframe, ts: int) -> Bar | None:
    """The bar as it is now."""
    cursor.execute(
        "SELECT ts, open, high, low, close, volume, vwap, trades"
        f" FROM {table_of(timeframe)} WHERE series_id = %s AND ts = %s",
        (series_id, ts),
    )
    return one_or_none(cursor, Bar)


def chunks_at(cursor: Cursor, series_id: int, span: Span, limit: int = 20) -> list[ChunkAt]:
    """The chunks whose range touches `span`, newest first, with every request they led to."""
    cursor.execute(
        "SELECT c.id, c.span_start, c.span_end, c.state, c.outcome, c.ib_code, c.attempts, c.mode, c.updated_at"
        " FROM backfill_chunks c WHERE c.series_id = %s AND c.span_start < %s AND c.span_end > %s"
        " ORDER BY c.id DESC LIMIT %s",
        (series_id, span[1], span[0], limit),
    )
    return every(cursor, ChunkAt)


def without_chunk(cursor: Cursor, series_id: int, committed_at: datetime) -> int | None:
    """The last request of live bars of a series that was answered with bars and sent in the ten minutes before a commit."""
    cursor.execute(
        "SELECT id FROM ib_requests WHERE series_id = %s AND chunk_id IS NULL AND outcome = 'ok'"
        " AND booked_at <= %s AND booked_at > %s - interval '10 minutes' ORDER BY id DESC LIMIT 1",
        (series_id, committed_at, committed_at),
    )
    return scalar_or_none(cursor, int)


def note_at(cursor: Cursor, series_id: int, ts: int) -> NoteAt | None:
    """What is noted about a stamp that is not settled."""
    cursor.execute(
        "SELECT state, reason, ib_code, checked_at, expires_at, request_id FROM coverage_notes"
        " WHERE series_id = %s AND range && %s::int8range",
        (series_id, int8range((ts, ts + 1))),
    )
    return one_or_none(cursor, NoteAt)
