"""Who may move a backfill job, or a chunk of one, from which state to which. An impossible move raises.

job:    queued -> planning -> running -> succeeded | partial | failed
        planning -> queued             its bridge went silent
        queued | planning | running -> stopping -> stopped
chunk:  pending -> leased -> done | failed | split
        leased -> pending              the lease ran out, or IB told us to wait
        pending -> done                somebody else's answer already covers it
        pending | leased -> cancelled  no live job wants it
"""

from collections.abc import Mapping
from enum import StrEnum


class Job(StrEnum):
    QUEUED = "queued"
    PLANNING = "planning"
    RUNNING = "running"
    STOPPING = "stopping"
    SUCCEEDED = "succeeded"
    PARTIAL = "partial"
    FAILED = "failed"
    STOPPED = "stopped"


class Chunk(StrEnum):
    PENDING = "pending"
    LEASED = "leased"
    DONE = "done"
    FAILED = "failed"
    SPLIT = "split"
    CANCELLED = "cancelled"


_ENDED = (Job.SUCCEEDED, Job.PARTIAL, Job.FAILED)
ACTIVE_JOBS: tuple[str, ...] = (Job.QUEUED, Job.PLANNING, Job.RUNNING)
"""Jobs that still want their chunks: live, and not asked to stop."""
JOB_MOVES: Mapping[Job, tuple[Job, ...]] = {
    Job.QUEUED: (Job.PLANNING, Job.STOPPING),
    Job.PLANNING: (Job.RUNNING, Job.QUEUED, Job.STOPPING, *_ENDED),
    Job.RUNNING: (Job.STOPPING, *_ENDED),
    Job.STOPPING: (Job.STOPPED,),
    Job.SUCCEEDED: (),
    Job.PARTIAL: (),
    Job.FAILED: (),
    Job.STOPPED: (),
}
CHUNK_MOVES: Mapping[Chunk, tuple[Chunk, ...]] = {
    Chunk.PENDING: (Chunk.LEASED, Chunk.DONE, Chunk.CANCELLED),
    Chunk.LEASED: (Chunk.DONE, Chunk.FAILED, Chunk.SPLIT, Chunk.PENDING, Chunk.CANCELLED),
    Chunk.DONE: (),
    Chunk.FAILED: (),
    Chunk.SPLIT: (),
    Chunk.CANCELLED: (),
}

LIVE_JOBS: tuple[str, ...] = tuple(job.value for job, moves in JOB_MOVES.items() if moves)
LIVE_CHUNKS: tuple[str, ...] = tuple(chunk.value for chunk, moves in CHUNK_MOVES.items() if moves)


class ImpossibleMove(RuntimeError):
    """A move that the tables do not have: a bug, never a caller's mistake."""


def check_job(old: Job, new: Job) -> None:
    if new not in JOB_MOVES[old]:
        raise ImpossibleMove(f"a job cannot go from {old} to {new}")


def check_chunk(old: Chunk, new: Chunk) -> None:
    if new not in CHUNK_MOVES[old]:
        raise ImpossibleMove(f"a chunk cannot go from {old} to {new}")


def jobs_before(new: Job) -> list[str]:
    """The states from which a job may come to `new`: for a WHERE clause."""
    return [old.value for old, moves in JOB_MOVES.items() if new in moves]


def chunks_before(new: Chunk) -> list[str]:
    """The states from which a chunk may come to `new`: for a WHERE clause."""
    return [old.value for old, moves in CHUNK_MOVES.items() if new in moves]


def ending(*, good: int, total: int, bars: int, items_failed: int, shortfall: bool) -> Job:
    """How a job ends when all its chunks have: `good` of them filled, closed or confirmed empty; `bars` came in all.

    shortfall: part of the wish is beyond what IB can deliver (before the head, too old, not closed yet).
    """
    if good == total and not items_failed and not shortfall:
        return Job.SUCCEEDED
    if good == 0 and bars == 0 and (total or items_failed):
        return Job.FAILED
    return Job.PARTIAL
