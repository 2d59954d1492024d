"""The bridge's side of the ledger: which request is next, leasing it, and ending it in the transaction of its answer.

Lock order everywhere: login, series, chunk, jobs by id. Each lease raises a token; who comes back with an old one finds
no row and rolls everything back.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from nautilus.backfill.planner import Chunk
from nautilus.backfill.states import ChunkState, check_chunk
from nautilus.db.cursor import Cursor
from nautilus.db.ledger import job_counts, job_stopping, jobs
from nautilus.db.rows import every, insert_rows, one, scalars, there
from nautilus.spans import Span

LEASE_S = 60
"""Life of a lease, machine time; renewed every 15 s."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A chunk that could be requested now, best first."""

    chunk_id: int
    series_id: int
    con_id: int
    timeframe: str
    price: str
    session: str
    window: Span
    interactive: bool


@dataclass(frozen=True, slots=True)
class Lease:
    """A chunk that is ours until the lease runs out; `token` proves it."""

    chunk_id: int
    series_id: int
    span: Span
    window: Span
    token: int
    attempts: int
    force: bool


class _CandidateRow(NamedTuple):
    id: int
    series_id: int
    con_id: int
    timeframe: str
    price: str
    session: str
    window_start: int
    window_end: int
    interactive: bool


class _LeasedRow(NamedTuple):
    series_id: int
    span_start: int
    span_end: int
    window_start: int
    window_end: int
    token: int
    attempts: int
    mode: str


class _ChunkSpan(NamedTuple):
    id: int
    span_start: int
    span_end: int


class LeaseLost(Exception):
    """Somebody else has the chunk now, or it was cancelled: what we bring is rolled back."""


_PLANNED = {
    "series_id": "integer",
    "span_start": "bigint",
    "span_end": "bigint",
    "window_start": "bigint",
    "window_end": "bigint",
    "mode": "text",
    "parent_id": "bigint",
}


def insert(
    cursor: Cursor, series_id: int, planned: Sequence[Chunk], *, mode: str, parent: int | None = None
) -> list[int]:
    """Write pending chunks, newest first: a trader wants yesterday before last year."""
    ordered = sorted(planned, key=lambda c: c.span, reverse=True)
    lines = [(series_id, *chunk.span, *chunk.window, mode, parent) for chunk in ordered]
    insert_rows(cursor, "backfill_chunks", _PLANNED, lines, then="RETURNING id")
    return scalars(cursor, int) if lines else []


def force(cursor: Cursor, chunk_ids: Sequence[int]) -> None:
    """Chunks under way that a forcing job joins are requested even if their range gets covered meanwhile."""
    cursor.execute("UPDATE backfill_chunks SET mode = 'force' WHERE id = ANY(%s)", (list(chunk_ids),))


def want(cursor: Cursor, job_id: UUID, chunk_ids: Sequence[int]) -> int:
    """Link chunks to a job; returns how many links are new."""
    cursor.execute(
        "INSERT INTO job_chunks (job_id, chunk_id) SELECT %s, unnest(%s::bigint[]) ON CONFLICT DO NOTHING",
        (job_id, list(chunk_ids)),
    )
    return int(cursor.rowcount)


def candidates(cursor: Cursor, market_ns: int, limit: int = 64) -> list[Candidate]:
    """The next chunk of every series that a job waits for: highest priority, then the job served longest ago.

    What is planned of a job is requested while the rest of it is still being planned.
    """
    cursor.execute(
        "SELECT c.id, c.series_id, s.con_id, s.timeframe, s.price, s.session, c.window_start, c.window_end,"
        " j.origin = 'read' AS interactive"
        " FROM backfill_jobs j JOIN backfill_items i ON i.job_id = j.id JOIN series s ON s.id = i.series_id"
        " CROSS JOIN LATERAL (SELECT c.id, c.series_id, c.window_start, c.window_end FROM backfill_chunks c"
        "  WHERE c.series_id = i.series_id AND c.state = 'pending' AND c.not_before <= %s AND EXISTS"
        "  (SELECT 1 FROM job_chunks jc WHERE jc.job_id = j.id AND jc.chunk_id = c.id) ORDER BY c.id LIMIT 1) c"
        f" WHERE j.state IN {jobs.ACTIVE} ORDER BY j.priority DESC, j.served_at NULLS FIRST, i.id LIMIT %s",
        (market_ns, limit),
    )
    return [
        Candidate(
            chunk_id=row.id,
            series_id=row.series_id,
            con_id=row.con_id,
            timeframe=row.timeframe,
            price=row.price,
            session=row.session,
            window=(row.window_start, row.window_end),
            interactive=row.interactive,
        )
        for row in every(cursor, _CandidateRow)
    ]


def lease(cursor: Cursor, chunk_id: int, bridge: str) -> Lease | None:
    """Take a pending chunk that nobody else is taking; None when it is gone."""
    cursor.execute(
        "SELECT id FROM backfill_chunks WHERE id = %s AND state = 'pending' FOR UPDATE SKIP LOCKED", (chunk_id,)
    )
    if not there(cursor):
        return None
    cursor.execute(
        "UPDATE backfill_chunks SET state = %s, lease_bridge = %s, token = token + 1, attempts = attempts + 1,"
        " lease_until = clock_timestamp() + make_interval(secs => %s), updated_at = clock_timestamp() WHERE id = %s"
        " RETURNING series_id, span_start, span_end, window_start, window_end, token, attempts, mode",
        (ChunkState.LEASED, bridge, LEASE_S, chunk_id),
    )
    row = one(cursor, _LeasedRow)
    return Lease(
        chunk_id=chunk_id,
        series_id=row.series_id,
        span=(row.span_start, row.span_end),
        window=(row.window_start, row.window_end),
        token=row.token,
        attempts=row.attempts,
        force=row.mode == "force",
    )


def renew(cursor: Cursor, leases: Sequence[Lease]) -> list[int]:
    """Prolong our leases; returns the chunks that are still ours."""
    cursor.execute(
        "UPDATE backfill_chunks c SET lease_until = clock_timestamp() + make_interval(secs => %s)"
        " FROM unnest(%s::bigint[], %s::bigint[]) AS l(id, token)"
        " WHERE c.id = l.id AND c.token = l.token AND c.state = 'leased' RETURNING c.id",
        (LEASE_S, [x.chunk_id for x in leases], [x.token for x in leases]),
    )
    return scalars(cursor, int)


def unwanted(cursor: Cursor, leases: Sequence[Lease]) -> list[int]:
    """Those of our chunks that no live job wants any more: their requests can be cancelled at IB."""
    cursor.execute(
        "SELECT c.id FROM backfill_chunks c WHERE c.id = ANY(%s) AND (c.state <> 'leased' OR NOT EXISTS"
        " (SELECT 1 FROM job_chunks jc JOIN backfill_jobs j ON j.id = jc.job_id WHERE jc.chunk_id = c.id"
        f"  AND j.state IN {jobs.ACTIVE}))",
        ([x.chunk_id for x in leases],),
    )
    return scalars(cursor, int)


def _end(cursor: Cursor, held: Lease, state: ChunkState, **columns: int | str | None) -> None:
    check_chunk(ChunkState.LEASED, state)
    sets = "".join(f", {name} = %({name})s" for name in columns)
    cursor.execute(
        f"UPDATE backfill_chunks SET state = %(state)s, lease_bridge = NULL, lease_until = NULL,"
        f" updated_at = clock_timestamp(){sets} WHERE id = %(id)s AND token = %(token)s AND state = 'leased'",
        {"state": state, "id": held.chunk_id, "token": held.token} | columns,
    )
    if cursor.rowcount != 1:
        raise LeaseLost(f"chunk {held.chunk_id} is no longer ours")


def done(
    cursor: Cursor,
    held: Lease,
    *,
    outcome: str,
    good: bool,
    bars: int,
    new: int = 0,
    revised: int = 0,
    same: int = 0,
    request_id: int | None = None,
    ib_code: int | None = None,
) -> None:
    """The chunk has its answer: `filled`, `empty:confirmed`, `empty:unconfirmed`, `unavailable:<reason>`, `covered`."""
    _end(cursor, held, ChunkState.DONE, outcome=outcome, bars=bars, request_id=request_id, ib_code=ib_code)
    job_counts.count_chunks(cursor, [held.chunk_id], good=good, new=new, revised=revised, same=same)


def others_pending(cursor: Cursor, series_id: int) -> list[tuple[int, Span]]:
    """The pending chunks of a series, locked: (chunk id, span). The caller holds the series' lock."""
    cursor.execute(
        "SELECT id, span_start, span_end FROM backfill_chunks WHERE series_id = %s AND state = 'pending'"
        " ORDER BY id FOR UPDATE SKIP LOCKED",
        (series_id,),
    )
    return [(row.id, (row.span_start, row.span_end)) for row in every(cursor, _ChunkSpan)]


def done_unasked(cursor: Cursor, chunk_ids: Sequence[int], *, outcome: str, ib_code: int | None) -> None:
    """Pending chunks have their answer through another's: the series as a whole is refused. The caller holds their
    locks."""
    check_chunk(ChunkState.PENDING, ChunkState.DONE)
    cursor.execute(
        "UPDATE backfill_chunks SET state = %s, outcome = %s, ib_code = %s, bars = 0, updated_at = clock_timestamp()"
        " WHERE id = ANY(%s)",
        (ChunkState.DONE, outcome, ib_code, list(chunk_ids)),
    )
    job_counts.count_chunks(cursor, chunk_ids, good=False)


def failed(cursor: Cursor, held: Lease, *, outcome: str, ib_code: int | None, request_id: int | None) -> None:
    _end(cursor, held, ChunkState.FAILED, outcome=outcome, ib_code=ib_code, request_id=request_id)
    job_counts.count_chunks(cursor, [held.chunk_id], good=False)


def again(cursor: Cursor, held: Lease, *, not_before: int, outcome: str, ib_code: int | None = None) -> None:
    """Back to pending, not before a market time: IB made us wait, or the session went away."""
    _end(cursor, held, ChunkState.PENDING, not_before=not_before, outcome=outcome, ib_code=ib_code)


def split(cursor: Cursor, held: Lease, parts: Sequence[Chunk], *, request_id: int | None) -> None:
    """Replace a chunk that is too large by smaller ones, for every job that wants it."""
    _end(cursor, held, ChunkState.SPLIT, outcome="too_slow", request_id=request_id)
    ids = insert(cursor, held.series_id, parts, mode="force" if held.force else "missing", parent=held.chunk_id)
    cursor.execute(
        "INSERT INTO job_chunks (job_id, chunk_id) SELECT job_id, unnest(%s::bigint[]) FROM job_chunks WHERE chunk_id = %s",
        (ids, held.chunk_id),
    )
    # The parts count instead of the whole.
    cursor.execute(
        "UPDATE backfill_jobs SET chunks_total = chunks_total + %s WHERE id IN (SELECT j.id FROM backfill_jobs j"
        "  JOIN job_chunks c ON c.job_id = j.id WHERE c.chunk_id = %s ORDER BY j.id FOR UPDATE OF j)",
        (len(ids) - 1, held.chunk_id),
    )


def cancel(cursor: Cursor, held: Lease) -> None:
    """The chunk is ours and nobody wants it any more."""
    cursor.execute(
        "SELECT 1 FROM backfill_chunks WHERE id = %s AND token = %s AND state = 'leased' FOR UPDATE",
        (held.chunk_id, held.token),
    )
    if there(cursor):
        job_stopping.cancel_unwanted(cursor, [held.chunk_id])


def release(cursor: Cursor, bridge: str | None = None) -> int:
    """Leases that ran out go back to pending; those of `bridge` at once (it has just started, or is stopping)."""
    cursor.execute(
        "UPDATE backfill_chunks SET state = %s, lease_bridge = NULL, lease_until = NULL, token = token + 1,"
        " updated_at = clock_timestamp() WHERE id IN (SELECT id FROM backfill_chunks WHERE state = %s"
        "  AND (lease_until < clock_timestamp() OR lease_bridge = %s) ORDER BY id FOR UPDATE SKIP LOCKED) RETURNING id",
        (ChunkState.PENDING, ChunkState.LEASED, bridge),
    )
    freed = scalars(cursor, int)
    job_stopping.cancel_unwanted(cursor, freed)
    return len(freed)
