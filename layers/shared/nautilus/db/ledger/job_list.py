"""Backfill jobs as their owner sees them: summaries, items, chunks, totals."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from nautilus.backfill.states import LIVE_JOBS
from nautilus.db import timescale
from nautilus.db.cursor import Cursor

_SUMMARY = (
    "SELECT id, owner, origin, state, priority, mode, request, chunks_total, chunks_done, requests_sent,"
    " bars_new, bars_revised, bars_same, items_failed, waits_for, created_at, started_at, finished_at, updated_at"
    " FROM backfill_jobs"
)


def summaries(cursor: Cursor, owner: str | None, limit: int = 50) -> list[Any]:
    """The newest jobs, live ones first; of one owner, or of all when None."""
    newest = "(%(owner)s IS NULL OR owner = %(owner)s) ORDER BY created_at DESC LIMIT %(limit)s"
    # Each half by an index of its own: sorted together, all jobs that ever were would be read.
    cursor.execute(
        f"SELECT * FROM (({_SUMMARY} WHERE state = ANY(%(live)s) AND {newest}) UNION ALL"
        f" ({_SUMMARY} WHERE state <> ALL(%(live)s) AND {newest})) j"
        " ORDER BY state = ANY(%(live)s) DESC, created_at DESC LIMIT %(limit)s",
        {"owner": owner, "live": list(LIVE_JOBS), "limit": limit},
    )
    return list(cursor.fetchall())


def summary(cursor: Cursor, job_id: UUID) -> Any | None:
    cursor.execute(f"{_SUMMARY} WHERE id = %s", (job_id,))
    return cursor.fetchone()


def items(cursor: Cursor, job_ids: Sequence[UUID]) -> list[Any]:
    """What was asked of each job, what it was planned to, and what went wrong with it."""
    cursor.execute(
        "SELECT i.job_id, i.selector, i.timeframe, coalesce(s.price, i.price) AS price,"
        " coalesce(s.session, i.session) AS session, i.wanted_start, i.wanted_end, i.state, i.series_id, i.plan, i.error,"
        " n.instrument_id, n.con_id"
        " FROM backfill_items i LEFT JOIN series s ON s.id = i.series_id LEFT JOIN instruments n ON n.con_id = s.con_id"
        " WHERE i.job_id = ANY(%s) ORDER BY i.id",
        (list(job_ids),),
    )
    return list(cursor.fetchall())


def chunks(cursor: Cursor, job_id: UUID, after: int, limit: int) -> list[Any]:
    """The chunks a job wants, by id, after the chunk `after`."""
    cursor.execute(
        "SELECT c.id, n.instrument_id, s.timeframe, s.price, s.session, c.span_start, c.span_end, c.state, c.outcome,"
        " c.ib_code, c.attempts, c.not_before, c.bars, c.request_id, c.updated_at"
        " FROM job_chunks j JOIN backfill_chunks c ON c.id = j.chunk_id JOIN series s ON s.id = c.series_id"
        " JOIN instruments n ON n.con_id = s.con_id"
        " WHERE j.job_id = %s AND c.id > %s ORDER BY c.id LIMIT %s",
        (job_id, after, limit),
    )
    return list(cursor.fetchall())


def totals(cursor: Cursor) -> Any:
    """Counts over everything, for the front end's card: chunks as they are counted when they change, and cheap estimates
    where exact numbers would scan the bars."""
    cursor.execute(
        "SELECT n.*, %s::bigint AS total_bars, (SELECT count(DISTINCT con_id) FROM series) AS unique_instruments,"
        " (SELECT count(DISTINCT timeframe) FROM series) AS unique_timeframes,"
        " pg_database_size(current_database()) AS database_bytes FROM"
        " (SELECT coalesce(sum(chunks) FILTER (WHERE state = 'pending'), 0)::bigint AS queue_size,"
        "   coalesce(sum(chunks) FILTER (WHERE state = 'leased'), 0)::bigint AS active_requests,"
        "   coalesce(sum(chunks) FILTER (WHERE state IN ('done', 'split')), 0)::bigint AS completed_requests,"
        "   coalesce(sum(chunks) FILTER (WHERE state = 'failed'), 0)::bigint AS failed_requests"
        "  FROM backfill_chunk_counts) n",
        (timescale.estimated_bars(cursor),),
    )
    return cursor.fetchone()
