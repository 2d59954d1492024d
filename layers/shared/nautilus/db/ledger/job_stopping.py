"""Stopping jobs: what no other live job waits for is cancelled."""

from collections.abc import Sequence
from uuid import UUID

from nautilus.backfill.states import LIVE_CHUNKS, ChunkState, JobState, chunks_before, jobs_before
from nautilus.db.cursor import Cursor
from nautilus.db.ledger.jobs import ACTIVE, notify
from nautilus.db.rows import scalars


def stop(cursor: Cursor, job_id: UUID | None, owner: str | None) -> list[UUID]:
    """Ask one job, or all live ones (of one owner), to stop; returns those that were live. Twice is the same as once.

    What no other live job wants and nobody works on is cancelled here; the bridge ends the rest.
    """
    cursor.execute(
        "SELECT id FROM backfill_jobs WHERE state = ANY(%(before)s)"
        " AND (%(job)s::uuid IS NULL OR id = %(job)s) AND (%(owner)s IS NULL OR owner = %(owner)s) ORDER BY id",
        {"before": jobs_before(JobState.STOPPING), "job": job_id, "owner": owner},
    )
    wanted = scalars(cursor, UUID)
    if not wanted:
        return []
    # Lock order: chunks, then jobs by id. A job must be `stopping` before its chunks can be orphans, so the chunks are
    # locked first, then the jobs change, then what became an orphan goes.
    cursor.execute(
        "SELECT c.id FROM backfill_chunks c WHERE c.state = 'pending'"
        " AND EXISTS (SELECT 1 FROM job_chunks j WHERE j.chunk_id = c.id AND j.job_id = ANY(%s)) ORDER BY c.id FOR UPDATE",
        (wanted,),
    )
    pending = scalars(cursor, int)
    cursor.execute("SELECT id FROM backfill_jobs WHERE id = ANY(%s) ORDER BY id FOR UPDATE", (wanted,))
    cursor.execute(
        "UPDATE backfill_jobs SET state = %s, updated_at = clock_timestamp() WHERE id = ANY(%s) AND state = ANY(%s)"
        " RETURNING id",
        (JobState.STOPPING, wanted, jobs_before(JobState.STOPPING)),
    )
    stopping = scalars(cursor, UUID)
    cancel_unwanted(cursor, pending)
    finish_stopping(cursor)
    for job in stopping:
        notify(cursor, "stop", job)
    return stopping


def cancel_unwanted(cursor: Cursor, chunk_ids: Sequence[int]) -> int:
    """Cancel those of the chunks that no live job wants; the caller holds their locks."""
    cursor.execute(
        "UPDATE backfill_chunks c SET state = %s, updated_at = clock_timestamp(), lease_bridge = NULL, lease_until = NULL"
        " WHERE c.id = ANY(%s) AND c.state = ANY(%s) AND NOT EXISTS (SELECT 1 FROM job_chunks jc"
        f" JOIN backfill_jobs j ON j.id = jc.job_id WHERE jc.chunk_id = c.id AND j.state IN {ACTIVE})",
        (ChunkState.CANCELLED, list(chunk_ids), chunks_before(ChunkState.CANCELLED)),
    )
    return int(cursor.rowcount)


def cancel_unreferenced(cursor: Cursor) -> int:
    """Cancel pending chunks that no live job wants, however they came about."""
    cursor.execute(
        f"SELECT id FROM backfill_chunks c WHERE state = 'pending' AND NOT EXISTS (SELECT 1 FROM job_chunks jc"
        f" JOIN backfill_jobs j ON j.id = jc.job_id WHERE jc.chunk_id = c.id AND j.state IN {ACTIVE})"
        f" ORDER BY id LIMIT 1000 FOR UPDATE SKIP LOCKED"
    )
    return cancel_unwanted(cursor, scalars(cursor, int))


def finish_stopping(cursor: Cursor) -> None:
    """Jobs that were asked to stop are stopped once none of their chunks is being worked on for them alone."""
    cursor.execute(
        "UPDATE backfill_jobs j SET state = %s, finished_at = clock_timestamp(), updated_at = clock_timestamp()"
        " WHERE j.id IN (SELECT id FROM backfill_jobs WHERE state = %s ORDER BY id FOR UPDATE)"
        " AND NOT EXISTS (SELECT 1 FROM job_chunks jc JOIN backfill_chunks c ON c.id = jc.chunk_id"
        "  WHERE jc.job_id = j.id AND c.state = ANY(%s) AND NOT EXISTS (SELECT 1 FROM job_chunks oc"
        "   JOIN backfill_jobs o ON o.id = oc.job_id WHERE oc.chunk_id = c.id"
        f"   AND o.state IN {ACTIVE}))",
        (JobState.STOPPED, JobState.STOPPING, list(LIVE_CHUNKS)),
    )
