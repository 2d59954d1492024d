"""The counters of a job: requests sent, chunks ended; the last chunk ends the job."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from nautilus.backfill.states import JobState, check_job, ending
from nautilus.db.cursor import Cursor
from nautilus.db.ledger.jobs import ACTIVE
from nautilus.db.rows import every


class _CountedJob(NamedTuple):
    id: UUID
    state: str
    chunks_total: int
    chunks_done: int
    chunks_good: int
    items_failed: int
    shortfall: bool
    bars: int
    ended: int


def served(cursor: Cursor, chunk_id: int) -> None:
    """A request for a chunk is about to be sent: count it for the jobs that wait for it; their next turn is later."""
    cursor.execute(
        "UPDATE backfill_jobs SET served_at = clock_timestamp(), requests_sent = requests_sent + 1,"
        " started_at = coalesce(started_at, clock_timestamp()) WHERE id IN"
        " (SELECT j.id FROM backfill_jobs j JOIN job_chunks c ON c.job_id = j.id"
        f"  WHERE c.chunk_id = %s AND j.state IN {ACTIVE} ORDER BY j.id FOR UPDATE OF j)",
        (chunk_id,),
    )


def count_chunks(
    cursor: Cursor, chunk_ids: Sequence[int], *, good: bool, new: int = 0, revised: int = 0, same: int = 0
) -> None:
    """Credit ended chunks to every job that wants them; the statement that raises the counter also ends the job.

    good: each of them is wholly settled. new, revised, same: bars of all of them together.
    """
    cursor.execute(
        "SELECT j.id, j.state, j.chunks_total, j.chunks_done, j.chunks_good, j.items_failed, j.shortfall,"
        " j.bars_new + j.bars_revised + j.bars_same AS bars, c.ended FROM backfill_jobs j JOIN"
        " (SELECT job_id, count(*) AS ended FROM job_chunks WHERE chunk_id = ANY(%s) GROUP BY job_id) c ON c.job_id = j.id"
        " ORDER BY j.id FOR UPDATE OF j",
        (list(chunk_ids),),
    )
    for job in every(cursor, _CountedJob):
        done, good_now = job.chunks_done + job.ended, job.chunks_good + (job.ended if good else 0)
        state, over = job.state, False
        if job.state == JobState.RUNNING and done >= job.chunks_total:
            state = ending(
                good=good_now,
                total=job.chunks_total,
                bars=job.bars + new + revised + same,
                items_failed=job.items_failed,
                shortfall=job.shortfall,
            )
            check_job(JobState.RUNNING, state)
            over = True
        cursor.execute(
            "UPDATE backfill_jobs SET chunks_done = %s, chunks_good = %s, bars_new = bars_new + %s,"
            " bars_revised = bars_revised + %s, bars_same = bars_same + %s, state = %s,"
            " finished_at = CASE WHEN %s THEN clock_timestamp() ELSE finished_at END, updated_at = clock_timestamp()"
            " WHERE id = %s",
            (done, good_now, new, revised, same, state, over, job.id),
        )
