"""How one bar came to be: its revisions, the chunks and requests behind it, and what is noted where there is none."""

from collections.abc import Sequence
from typing import Any

from nautilus.db.cursor import Cursor
from nautilus.db.ranges import int8range
from nautilus.spans import Span


def arrival(cursor: Cursor, series_id: int, ts: int) -> Any | None:
    """The version with which a range that held nothing got bars at `ts`, and when."""
    cursor.execute(
        "SELECT version, committed_at FROM series_changes WHERE series_id = %s AND added @> %s::bigint"
        " ORDER BY version LIMIT 1",
        (series_id, ts),
    )
    return cursor.fetchone()


def revisions(cursor: Cursor, series_id: int, ts: int) -> list[Any]:
    """What a bar was before each change, oldest first; without prices: it did not exist."""
    cursor.execute(
        "SELECT until_version, open, high, low, close, volume, vwap, trades, request_id FROM bar_revisions"
        " WHERE series_id = %s AND ts = %s ORDER BY until_version",
        (series_id, ts),
    )
    return list(cursor.fetchall())


def bar(cursor: Cursor, table: str, series_id: int, ts: int) -> Any | None:
    """The bar as it is now."""
    cursor.execute(
        f"SELECT open, high, low, close, volume, vwap, trades FROM {table} WHERE series_id = %s AND ts = %s",
        (series_id, ts),
    )
    return cursor.fetchone()


def chunks_at(cursor: Cursor, series_id: int, span: Span, limit: int = 20) -> list[Any]:
    """The chunks whose range touches `span`, newest first, with every request they led to."""
    cursor.execute(
        "SELECT c.id, c.span_start, c.span_end, c.state, c.outcome, c.ib_code, c.attempts, c.mode, c.updated_at"
        " FROM backfill_chunks c WHERE c.series_id = %s AND c.span_start < %s AND c.span_end > %s"
        " ORDER BY c.id DESC LIMIT %s",
        (series_id, span[1], span[0], limit),
    )
    return list(cursor.fetchall())


def requests_of(cursor: Cursor, chunk_ids: Sequence[int], request_ids: Sequence[int]) -> list[Any]:
    """Requests by chunk or by number, oldest first."""
    cursor.execute(
        "SELECT id, chunk_id, kind, identity, booked_at, sent_at, outcome, ib_code, ib_text, ms, bars, correlation_id"
        " FROM ib_requests WHERE chunk_id = ANY(%s) OR id = ANY(%s) ORDER BY id",
        (list(chunk_ids), list(request_ids)),
    )
    return list(cursor.fetchall())


def note_at(cursor: Cursor, series_id: int, ts: int) -> Any | None:
    """What is noted about a stamp that is not settled."""
    cursor.execute(
        "SELECT state, reason, ib_code, checked_at, expires_at, request_id FROM coverage_notes"
        " WHERE series_id = %s AND range && %s::int8range",
        (series_id, int8range((ts, ts + 1))),
    )
    return cursor.fetchone()
