"""Who may move a backfill job, or a chunk of one, from which state to which. An impossible move raises.

job:    queued -> planning -> running -> succeeded | partial | failed
        planning -> queued             its bridge went silent
        queued | planning | running -> stopping -> stopped
chunk:  pending -> leased -> done | failed | split
        leased -> pending              the lease ran out, or IB made us wait
        pending -> done                somebody else's answer already covers it
        pending | leased -> cancelled  no live job wants it
"""

from collections.abc import Mapping
from enum import StrEnum


class JobState(StrEnum):
    QUEUED = "queued"
    PLANNING = "planning"
    RUNNING = "running"
    STOPPING = "stopping"
    SUCCEEDED = "succeeded"
    PARTIAL = "partial"
    FAILED = "failed"
    STOPPED = "stopped"


class ChunkState(StrEnum):
    PENDING = "pending"
    LEASED = "leased"
    DONE = "done"
    FAILED = "failed"
    SPLIT = "split"
    CANCELLED = "cancelled"


_ENDED = (JobState.SUCCEEDED, JobState.PARTIAL, JobState.FAILED)
ACTIVE_JOBS: tuple[str, ...] = (JobState.QUEUED, JobState.PLANNING, JobState.RUNNING)
"""Jobs that still want their chunks: live, and not asked to stop."""
JOB_MOVES: Mapping[JobState, tuple[JobState, ...]] = {
    JobState.QUEUED: (JobState.PLANNING, JobState.STOPPING),
    JobState.PLANNING: (JobState.RUNNING, JobState.QUEUED, JobState.STOPPING, *_ENDED),
    JobState.RUNNING: (JobState.STOPPING, *_ENDED),
    JobState.STOPPING: (JobState.STOPPED,),
    JobState.SUCCEEDED: (),
    JobState.PARTIAL: (),
    JobState.FAILED: (),
    JobState.STOPPED: (),
}
CHUNK_MOVES: Mapping[ChunkState, tuple[ChunkState, ...]] = {
    ChunkState.PENDING: (ChunkState.LEASED, ChunkState.DONE, ChunkState.CANCELLED),
    ChunkState.LEASED: (ChunkState.DONE, ChunkState.FAILED, ChunkState.SPLIT, ChunkState.PENDING, ChunkState.CANCELLED),
    ChunkState.DONE: (),
    ChunkState.FAILED: (),
    ChunkState.SPLIT: (),
    ChunkState.CANCELLED: (),
}

LIVE_JOBS: tuple[str, ...] = tuple(job.value for job, moves in JOB_MOVES.items() if moves)
LIVE_CHUNKS: tuple[str, ...] = tuple(chunk.value for chunk, moves in CHUNK_MOVES.items() if moves)


class ImpossibleMove(RuntimeError):
    """A move that the tables do not have: a bug, never a caller's mistake."""


def check_job(old: JobState, new: JobState) -> None:
    if new not in JOB_MOVES[old]:
        raise ImpossibleMove(f"a job cannot go from {old} to {new}")


def check_chunk(old: ChunkState, new: ChunkState) -> None:
    if new not in CHUNK_MOVES[old]:
        raise ImpossibleMove(f"a chunk cannot go from {old} to {new}")


def jobs_before(new: JobState) -> list[str]:
    """The states from which a job may come to `new`: for a WHERE clause."""
    return [old.value for old, moves in JOB_MOVES.items() if new in moves]


def chunks_before(new: ChunkState) -> list[str]:
    """The states from which a chunk may come to `new`: for a WHERE clause."""
    return [old.value for old, moves in CHUNK_MOVES.items() if new in moves]


def ending(*, good: int, total: int, bars: int, items_failed: int, shortfall: bool) -> JobState:
    """How a job ends when all its chunks have: `good` of them filled, closed or confirmed empty; `bars` came in all.

    shortfall: part of the request is beyond what IB can deliver (before the head, too old, not closed yet).
    """
    if good == total and not items_failed and not shortfall:
        return JobState.SUCCEEDED
    if good == 0 and bars == 0 and (total or items_failed):
        return JobState.FAILED
    return JobState.PARTIAL
