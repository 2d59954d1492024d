"""What of a series is on its way: ranges that were requested and are not planned yet, and the jobs that bring them."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple
from uuid import UUID

from nautilus.backfill.states import LIVE_JOBS
from nautilus.db.bars.read import SeriesKey
from nautilus.db.cursor import Cursor
from nautilus.db.rows import every, scalar_or_none, scalars
from nautilus.spans import Span

AGAIN_AFTER_S = 60
"""A read asks for the same range at most once in so many seconds of machine time, whatever became of it."""


class RequestedRange(NamedTuple):
    """A range of a series that somebody requested by instrument. live: its job is not over. waiting: it is not even
    planned, so that no chunk shows it."""

    job_id: UUID
    span: Span
    live: bool
    waiting: bool


class _RequestedRow(NamedTuple):
    id: UUID
    wanted_start: int
    wanted_end: int
    state: str
    live: bool


def requested_ranges(cursor: Cursor, key: SeriesKey) -> list[RequestedRange]:
    """What was requested of a series and is not planned yet, and what reads requested within the last minute."""
    # Jobs first, each kind by an index of its own: of all items that ever were, nearly all are long over.
    cursor.execute(
        "WITH named AS ("
        "  SELECT id, created_at, true AS live FROM backfill_jobs WHERE state = ANY(%(live)s)"
        "  UNION ALL SELECT id, created_at, false FROM backfill_jobs WHERE origin = 'read'"
        "   AND created_at > statement_timestamp() - make_interval(secs => %(again)s) AND state <> ALL(%(live)s))"
        " SELECT j.id, i.wanted_start, i.wanted_end, i.state, j.live FROM named j JOIN backfill_items i ON i.job_id = j.id"
        " WHERE i.selector ->> 'con_id' = %(con_id)s AND i.timeframe = %(frame)s AND i.price = %(price)s"
        " AND i.session = %(session)s AND i.wanted_start < i.wanted_end ORDER BY j.created_at",
        {
            "live": list(LIVE_JOBS),
            "again": AGAIN_AFTER_S,
            "con_id": str(key[0]),
            "frame": key[1],
            "price": key[2],
            "session": key[3],
        },
    )
    return [
        RequestedRange(row.id, (row.wanted_start, row.wanted_end), row.live, row.live and row.state == "queued")
        for row in every(cursor, _RequestedRow)
    ]


def lock_asking(cursor: Cursor, key: SeriesKey) -> None:
    """Of several reads that miss the same, one asks; the others wait here and then see that it did."""
    cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 7243394))", (f"read|{'|'.join(map(str, key))}",))


def job_of(cursor: Cursor, chunk_ids: Sequence[int]) -> UUID | None:
    """A live job that waits for one of these chunks, the newest."""
    cursor.execute(
        "SELECT j.id FROM job_chunks c JOIN backfill_jobs j ON j.id = c.job_id"
        " WHERE c.chunk_id = ANY(%s) AND j.state = ANY(%s) ORDER BY j.created_at DESC LIMIT 1",
        (list(chunk_ids), list(LIVE_JOBS)),
    )
    return scalar_or_none(cursor, UUID)


def ended(cursor: Cursor, job_ids: Iterable[UUID]) -> set[UUID]:
    """Those of the jobs that live no more."""
    wanted = set(job_ids)
    cursor.execute(
        "SELECT id FROM backfill_jobs WHERE id = ANY(%s) AND state = ANY(%s)", (list(wanted), list(LIVE_JOBS))
    )
    return wanted.difference(scalars(cursor, UUID))
