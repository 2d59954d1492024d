"""Backfill jobs as their owner sees them: summaries, items, chunks, totals."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from nautilus.backfill.states import LIVE_JOBS
from nautilus.db import timescale
from nautilus.db.cursor import Cursor
from nautilus.db.rows import every, one, one_or_none


class JobSummary(NamedTuple):
    """A row of `backfill_jobs`, as far as its owner sees it."""

    id: UUID
    owner: str
    origin: str
    state: str
    priority: int
    mode: str
    request: Mapping[str, Any]
    chunks_total: int
    chunks_done: int
    requests_sent: int
    bars_new: int
    bars_revised: int
    bars_same: int
    items_failed: int
    waits_for: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    updated_at: datetime


_SUMMARY = f"SELECT {', '.join(JobSummary._fields)} FROM backfill_jobs"


class JobItem(NamedTuple):
    """A row of `backfill_items` with its series and its instrument, as far as they are known."""

    job_id: UUID
    selector: Mapping[str, Any]
    timeframe: str
    price: str | None
    session: str | None
    wanted_start: int | None
    wanted_end: int | None
    state: str
    series_id: int | None
    plan: Mapping[str, Any] | None
    error: dict[str, Any] | None
    instrument_id: str | None
    con_id: int | None


class JobChunk(NamedTuple):
    """A row of `backfill_chunks` with its series and its instrument."""

    id: int
    instrument_id: str
    timeframe: str
    price: str
    session: str
    span_start: int
    span_end: int
    state: str
    outcome: str | None
    ib_code: int | None
    attempts: int
    not_before: int
    bars: int | None
    request_id: int | None
    updated_at: datetime


class Totals(NamedTuple):
    """Counts over all jobs, series and bars."""

    queue_size: int
    active_requests: int
    completed_requests: int
    failed_requests: int
    total_bars: int
    unique_instruments: int
    unique_timeframes: int
    database_bytes: int


def summaries(cursor: Cursor, owner: str | None, limit: int = 50) -> list[JobSummary]:
    """The newest jobs, live ones first; of one owner, or of all when None."""
    newest = "(%(owner)s IS NULL OR owner = %(owner)s) ORDER BY created_at DESC LIMIT %(limit)s"
    # Each half by an index of its own: sorted together, all jobs that ever were would be read.
    cursor.execute(
        f"SELECT * FROM (({_SUMMARY} WHERE state = ANY(%(live)s) AND {newest}) UNION ALL"
        f" ({_SUMMARY} WHERE state <> ALL(%(live)s) AND {newest})) j"
        " ORDER BY state = ANY(%(live)s) DESC, created_at DESC LIMIT %(limit)s",
        {"owner": owner, "live": list(LIVE_JOBS), "limit": limit},
    )
    return every(cursor, JobSummary)


def summary(cursor: Cursor, job_id: UUID) -> JobSummary | None:
    cursor.execute(f"{_SUMMARY} WHERE id = %s", (job_id,))
    return one_or_none(cursor, JobSummary)


def items(cursor: Cursor, job_ids: Sequence[UUID]) -> list[JobItem]:
    """The items of each job: what was requested, what was planned, and what went wrong."""
    cursor.execute(
        "SELECT i.job_id, i.selector, i.timeframe, coalesce(s.price, i.price) AS price,"
        " coalesce(s.session, i.session) AS session, i.wanted_start, i.wanted_end, i.state, i.series_id, i.plan, i.error,"
        " n.instrument_id, n.con_id"
        " FROM backfill_items i LEFT JOIN series s ON s.id = i.series_id LEFT JOIN instruments n ON n.con_id = s.con_id"
        " WHERE i.job_id = ANY(%s) ORDER BY i.id",
        (list(job_ids),),
    )
    return every(cursor, JobItem)


def chunks(cursor: Cursor, job_id: UUID, after: int, limit: int) -> list[JobChunk]:
    """The chunks a job wants, by id, after the chunk `after`."""
    cursor.execute(
        "SELECT c.id, n.instrument_id, s.timeframe, s.price, s.session, c.span_start, c.span_end, c.state, c.outcome,"
        " c.ib_code, c.attempts, c.not_before, c.bars, c.request_id, c.updated_at"
        " FROM job_chunks j JOIN backfill_chunks c ON c.id = j.chunk_id JOIN series s ON s.id = c.series_id"
        " JOIN instruments n ON n.con_id = s.con_id"
        " WHERE j.job_id = %s AND c.id > %s ORDER BY c.id LIMIT %s",
        (job_id, after, limit),
    )
    return every(cursor, JobChunk)


def totals(cursor: Cursor) -> Totals:
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
    return one(cursor, Totals)
