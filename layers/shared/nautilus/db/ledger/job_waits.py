"""What live jobs still wait for: chunks, items that are not planned yet, and times."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from nautilus.backfill.states import JobState
from nautilus.db.cursor import Cursor
from nautilus.db.ledger.jobs import ACTIVE
from nautilus.db.rows import every, scalar_or_none


class WaitingChunks(NamedTuple):
    """How many chunks (`pending`) of a series a job waits for; `not_before` is of the first."""

    job_id: UUID
    priority: int
    interactive: bool
    series_id: int
    con_id: int
    exchange: str
    price: str
    timeframe: str
    pending: int
    not_before: int | None


class UnplannedItem(NamedTuple):
    """An item of a live job that is not planned yet; `open_items` counts those of its job."""

    job_id: UUID
    priority: int
    mode: str
    interactive: bool
    selector: Mapping[str, Any]
    timeframe: str
    price: str | None
    session: str | None
    wanted_start: int | None
    wanted_end: int | None
    wanted_back: int | None
    open_items: int


class _Deferred(NamedTuple):
    id: UUID
    outcome: str | None
    not_before: int


def correlation_of(cursor: Cursor, chunk_id: int) -> str:
    """The correlation id of the oldest live job that wants a chunk; empty when none does."""
    cursor.execute(
        "SELECT correlation_id FROM backfill_jobs j JOIN job_chunks c ON c.job_id = j.id"
        f" WHERE c.chunk_id = %s AND j.state IN {ACTIVE} ORDER BY j.created_at LIMIT 1",
        (chunk_id,),
    )
    return scalar_or_none(cursor, str) or ""


def waiting_chunks(cursor: Cursor, *, most: int, pairs: int = 200) -> list[WaitingChunks]:
    """How many chunks each active job waits for per series (at most `most`), in the order in which the bridge takes
    them. Leased ones are on their way."""
    cursor.execute(
        "SELECT w.job_id, w.priority, w.interactive, w.series_id, s.con_id, n.exchange, s.price, s.timeframe,"
        " p.pending, p.not_before FROM (SELECT j.id AS job_id, j.priority, j.origin = 'read' AS interactive, j.served_at,"
        "  i.series_id, min(i.id) AS item FROM backfill_jobs j JOIN backfill_items i ON i.job_id = j.id"
        f"  WHERE j.state IN {ACTIVE} AND i.series_id IS NOT NULL GROUP BY j.id, i.series_id"
        "  ORDER BY j.priority DESC, j.served_at NULLS FIRST, item LIMIT %s) w"
        " JOIN series s ON s.id = w.series_id JOIN instruments n ON n.con_id = s.con_id"
        " CROSS JOIN LATERAL (SELECT count(*) AS pending, min(c.not_before) AS not_before FROM (SELECT c.not_before"
        "  FROM backfill_chunks c WHERE c.series_id = w.series_id AND c.state = 'pending' AND EXISTS"
        "  (SELECT 1 FROM job_chunks jc WHERE jc.job_id = w.job_id AND jc.chunk_id = c.id) LIMIT %s) c) p"
        " WHERE p.pending > 0 ORDER BY w.priority DESC, w.served_at NULLS FIRST, w.item",
        (pairs, most),
    )
    return every(cursor, WaitingChunks)


def unplanned_items(cursor: Cursor, limit: int) -> list[UnplannedItem]:
    """The items of live jobs that are not planned yet, in the order of planning, with how many their job has of them."""
    cursor.execute(
        "SELECT j.id AS job_id, j.priority, j.mode, j.origin = 'read' AS interactive, i.selector, i.timeframe, i.price,"
        " i.session, i.wanted_start, i.wanted_end, i.wanted_back, count(*) OVER (PARTITION BY j.id) AS open_items"
        " FROM backfill_jobs j JOIN backfill_items i ON i.job_id = j.id WHERE j.state = ANY(%s) AND i.state = 'queued'"
        " ORDER BY j.priority DESC, j.created_at, i.id LIMIT %s",
        ([JobState.QUEUED, JobState.PLANNING], limit),
    )
    return every(cursor, UnplannedItem)


def deferred(cursor: Cursor, job_ids: Sequence[UUID], market_ns: int) -> dict[UUID, str]:
    """Running jobs of which nothing can be requested before a later market time, with the reason of what comes first."""
    # Of each series the first by an index: a job may wait for more chunks than one wants to read every few seconds.
    cursor.execute(
        "SELECT DISTINCT ON (j.id) j.id, c.outcome, c.not_before FROM backfill_jobs j"
        " JOIN backfill_items i ON i.job_id = j.id CROSS JOIN LATERAL"
        " (SELECT c.outcome, c.not_before FROM backfill_chunks c WHERE c.series_id = i.series_id AND c.state = 'pending'"
        "   AND EXISTS (SELECT 1 FROM job_chunks w WHERE w.job_id = j.id AND w.chunk_id = c.id)"
        "  ORDER BY c.not_before LIMIT 1) c"
        " WHERE j.id = ANY(%s) AND j.state = %s AND NOT EXISTS (SELECT 1 FROM backfill_chunks l"
        "  JOIN job_chunks w ON w.chunk_id = l.id WHERE w.job_id = j.id AND l.state = 'leased')"
        " ORDER BY j.id, c.not_before",
        (list(job_ids), JobState.RUNNING),
    )
    return {row.id: row.outcome for row in every(cursor, _Deferred) if row.not_before > market_ns and row.outcome}
