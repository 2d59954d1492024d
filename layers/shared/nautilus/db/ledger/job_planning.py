"""Planning jobs: a bridge leases a queued job, turns its items into chunks, and lets the job run."""

from collections.abc import Mapping
from typing import Any, NamedTuple
from uuid import UUID

from nautilus.backfill.states import JobState, check_job, ending
from nautilus.db.connection import Json
from nautilus.db.cursor import Cursor
from nautilus.db.rows import every, one_or_none, scalar


class JobToPlan(NamedTuple):
    """A job that a bridge has leased to plan it."""

    id: UUID
    owner: str
    origin: str
    priority: int
    mode: str
    correlation_id: str


class OpenItem(NamedTuple):
    """An item that is not planned yet; times are in market ns on the series' axis."""

    id: int
    selector: Mapping[str, Any]
    timeframe: str
    price: str | None
    session: str | None
    wanted_start: int | None
    wanted_end: int | None
    wanted_back: int | None


class _PlannedJob(NamedTuple):
    chunks_total: int
    chunks_done: int
    chunks_good: int
    items_failed: int
    shortfall: bool
    bars: int


def claim_queued(cursor: Cursor, bridge: str, lease_s: int) -> JobToPlan | None:
    """Take the next queued job for planning; None when there is none."""
    cursor.execute(
        "UPDATE backfill_jobs SET state = %s, lease_bridge = %s, updated_at = clock_timestamp(),"
        " lease_until = clock_timestamp() + make_interval(secs => %s)"
        " WHERE id = (SELECT id FROM backfill_jobs WHERE state = %s AND not_before <= clock_timestamp()"
        "  ORDER BY priority DESC, created_at LIMIT 1 FOR UPDATE SKIP LOCKED)"
        " RETURNING id, owner, origin, priority, mode, correlation_id",
        (JobState.PLANNING, bridge, lease_s, JobState.QUEUED),
    )
    return one_or_none(cursor, JobToPlan)


def open_items(cursor: Cursor, job_id: UUID) -> list[OpenItem]:
    """The items of a job that are still to be planned."""
    cursor.execute(
        "SELECT id, selector, timeframe, price, session, wanted_start, wanted_end, wanted_back FROM backfill_items"
        " WHERE job_id = %s AND state = 'queued' ORDER BY id",
        (job_id,),
    )
    return every(cursor, OpenItem)


class PlanLost(Exception):
    """The job is not ours to plan any more: it was stopped, or our lease on it ran out."""


def _hold_plan(cursor: Cursor, job_id: UUID, bridge: str, lease_s: int) -> None:
    """Lock the job while it is still ours to plan, and prolong our lease; PlanLost otherwise."""
    cursor.execute(
        "UPDATE backfill_jobs SET lease_until = clock_timestamp() + make_interval(secs => %s)"
        " WHERE id = %s AND state = %s AND lease_bridge = %s",
        (lease_s, job_id, JobState.PLANNING, bridge),
    )
    if cursor.rowcount != 1:
        raise PlanLost(f"job {job_id} is not planned here any more")


def fail_item(
    cursor: Cursor, item_id: int, job_id: UUID, error: Mapping[str, Any], *, bridge: str, lease_s: int
) -> None:
    _hold_plan(cursor, job_id, bridge, lease_s)
    cursor.execute("UPDATE backfill_items SET state = 'failed', error = %s WHERE id = %s", (Json(dict(error)), item_id))
    cursor.execute("UPDATE backfill_jobs SET items_failed = items_failed + 1 WHERE id = %s", (job_id,))


def item_planned(
    cursor: Cursor,
    item_id: int,
    job_id: UUID,
    *,
    series_id: int,
    plan: Mapping[str, Any],
    chunks: int,
    shortfall: bool,
    bridge: str,
    lease_s: int,
) -> None:
    """An item has become chunks: `chunks` of them are wanted by the job from now on. PlanLost undoes all of it."""
    _hold_plan(cursor, job_id, bridge, lease_s)
    cursor.execute(
        "UPDATE backfill_items SET state = 'planned', series_id = %s, plan = %s WHERE id = %s",
        (series_id, Json(dict(plan)), item_id),
    )
    cursor.execute(
        "UPDATE backfill_jobs SET chunks_total = chunks_total + %s, shortfall = shortfall OR %s WHERE id = %s",
        (chunks, shortfall, job_id),
    )


def planned(cursor: Cursor, job_id: UUID, bridge: str) -> None:
    """All items are planned: the job runs, or, when nothing is left to ask, has ended. A stopped job stays as it is.

    Chunks may have been done by another job's lead while this one was being planned, so the counters are taken anew.
    """
    cursor.execute(
        "SELECT chunks_total, chunks_done, chunks_good, items_failed, shortfall,"
        " bars_new + bars_revised + bars_same AS bars FROM backfill_jobs"
        " WHERE id = %s AND state = %s AND lease_bridge = %s FOR UPDATE",
        (job_id, JobState.PLANNING, bridge),
    )
    job = one_or_none(cursor, _PlannedJob)
    if job is None:
        return
    state = JobState.RUNNING
    if job.chunks_done >= job.chunks_total:
        state = ending(
            good=job.chunks_good,
            total=job.chunks_total,
            bars=job.bars,
            items_failed=job.items_failed,
            shortfall=job.shortfall,
        )
    check_job(JobState.PLANNING, state)
    cursor.execute(
        "UPDATE backfill_jobs SET state = %s, lease_bridge = NULL, lease_until = NULL,"
        " started_at = coalesce(started_at, clock_timestamp()),"
        " waits_for = NULL, finished_at = CASE WHEN %s THEN clock_timestamp() END, updated_at = clock_timestamp()"
        " WHERE id = %s",
        (state, state != JobState.RUNNING, job_id),
    )


def release_plan(cursor: Cursor, job_id: UUID, bridge: str, reason: str, *, after_s: float | None = None) -> None:
    """Give a job back: planning could not go on, for a reason that the job's status shows. Planned items stay planned and
    their requests go on; other jobs come first meanwhile. It is tried again `after_s` from now, machine time; without
    that, after longer each time, up to a minute."""
    cursor.execute(
        "UPDATE backfill_jobs SET state = %(queued)s, lease_bridge = NULL, lease_until = NULL, updated_at = clock_timestamp(),"
        " plan_attempts = plan_attempts + CASE WHEN %(after)s::float8 IS NULL THEN 1 ELSE 0 END, waits_for = %(reason)s,"
        " not_before = clock_timestamp()"
        "  + make_interval(secs => coalesce(%(after)s::float8, least(60, 2 ^ least(plan_attempts, 6))))"
        " WHERE id = %(job)s AND state = %(planning)s AND lease_bridge = %(bridge)s",
        {
            "queued": JobState.QUEUED,
            "after": after_s,
            "reason": reason,
            "job": job_id,
            "planning": JobState.PLANNING,
            "bridge": bridge,
        },
    )


def planning_waits(cursor: Cursor, reason: str) -> bool:
    """True when a job that is not planned yet waits for this."""
    cursor.execute(
        "SELECT EXISTS (SELECT 1 FROM backfill_jobs WHERE state = ANY(%s) AND waits_for = %s) AS waits",
        ([JobState.QUEUED, JobState.PLANNING], reason),
    )
    return scalar(cursor, bool)


def requeue_now(cursor: Cursor) -> int:
    """What kept jobs from being planned is over: none waits any longer."""
    cursor.execute(
        "UPDATE backfill_jobs SET not_before = '-infinity' WHERE state = %s AND not_before > clock_timestamp()",
        (JobState.QUEUED,),
    )
    return int(cursor.rowcount)


def expire_plans(cursor: Cursor, bridge: str | None = None) -> int:
    """Jobs whose planner went silent are queued again; those of `bridge` at once (it has just started)."""
    cursor.execute(
        "UPDATE backfill_jobs SET state = %s, lease_bridge = NULL, lease_until = NULL, updated_at = clock_timestamp()"
        " WHERE state = %s AND (lease_until < clock_timestamp() OR lease_bridge = %s)",
        (JobState.QUEUED, JobState.PLANNING, bridge),
    )
    return int(cursor.rowcount)
