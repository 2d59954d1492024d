"""Backfill jobs: how they are made, watched and stopped. Rows are the truth; a message only says "look"."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from nautilus.backfill.states import (
    ACTIVE_JOBS,
    LIVE_CHUNKS,
    LIVE_JOBS,
    Chunk,
    Job,
    check_job,
    chunks_before,
    ending,
    jobs_before,
)
from nautilus.db import timescale
from nautilus.db.connection import Json
from nautilus.db.cursor import Cursor
from nautilus.db.rows import insert_rows
from nautilus.errors import InvalidInput
from nautilus.market.instrument import Selector

ACTIVE = "('" + "', '".join(ACTIVE_JOBS) + "')"
"""The states of jobs that still want their chunks, for a WHERE clause."""
CHANNEL = "nautilus"
"""The NOTIFY channel the bridge listens on; the payload is a kind and an id, as in a queue message."""


class Item(NamedTuple):
    """One series of a job as it was asked for. Times in market ns on the series' axis.

    start and end None: `back` ns back from the last closed bar. price and session None: the asset class's default.
    """

    selector: Selector
    timeframe: str
    price: str | None
    session: str | None
    start: int | None
    end: int | None
    back: int | None


_ITEM = {
    "job_id": "uuid",
    "selector": "jsonb",
    "timeframe": "text",
    "price": "text",
    "session": "text",
    "wanted_start": "bigint",
    "wanted_end": "bigint",
    "wanted_back": "bigint",
}


def fingerprint(items: Sequence[Item], mode: str) -> str:
    """One text per wish, the same however it was spelled."""
    rows = sorted(
        json.dumps([_words(i.selector), i.timeframe, i.price, i.session, i.start, i.end, i.back]) for i in items
    )
    return hashlib.sha256("\n".join([mode, *rows]).encode()).hexdigest()


def _words(selector: Selector) -> str:
    """What names the instrument: where a venue was named, another one may mean another contract, or none."""
    return f"{selector.key}@{selector.venue}" if selector.venue else selector.key


def notify(cursor: Cursor, kind: str, number: UUID | str) -> None:
    """Wake the bridge when this transaction commits."""
    cursor.execute("SELECT pg_notify(%s, %s)", (CHANNEL, f"{kind}:{number}"))


def create(
    cursor: Cursor,
    *,
    owner: str,
    origin: str,
    items: Sequence[Item],
    priority: int,
    mode: str,
    request: Mapping[str, Any],
    fingerprint: str,
    correlation_id: str,
) -> UUID:
    """Write a queued job with its items and wake the bridge."""
    cursor.execute(
        "INSERT INTO backfill_jobs (owner, origin, priority, mode, request, fingerprint, correlation_id)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s) RETURNING id",
        (owner, origin, priority, mode, Json(dict(request)), fingerprint, correlation_id),
    )
    job_id: UUID = cursor.fetchone().id
    insert_rows(cursor, "backfill_items", _ITEM, [(job_id, Json(i.selector.as_dict()), *i[1:]) for i in items])
    notify(cursor, "job", job_id)
    return job_id


def any_live(cursor: Cursor, origin: str) -> bool:
    """True while a job of this origin lives."""
    cursor.execute(
        "SELECT 1 FROM backfill_jobs WHERE origin = %s AND state = ANY(%s) LIMIT 1", (origin, list(LIVE_JOBS))
    )
    return cursor.fetchone() is not None


def live_duplicate(cursor: Cursor, owner: str, fingerprint: str) -> UUID | None:
    """A live job of the same owner for the same. Of two equal requests at once the second waits here until the first has
    committed, and then finds its job."""
    cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"{owner}|{fingerprint}",))
    cursor.execute(
        f"SELECT id FROM backfill_jobs WHERE owner = %s AND fingerprint = %s AND state IN {ACTIVE}"
        " ORDER BY created_at DESC LIMIT 1",
        (owner, fingerprint),
    )
    row = cursor.fetchone()
    return row.id if row else None


def correlation_of(cursor: Cursor, chunk_id: int) -> str:
    """The correlation id of the oldest live job that wants a chunk; empty when none does."""
    cursor.execute(
        "SELECT correlation_id FROM backfill_jobs j JOIN job_chunks c ON c.job_id = j.id"
        f" WHERE c.chunk_id = %s AND j.state IN {ACTIVE} ORDER BY j.created_at LIMIT 1",
        (chunk_id,),
    )
    row = cursor.fetchone()
    return str(row.correlation_id) if row else ""


def claim_key(cursor: Cursor, principal: str, route: str, key: str, fingerprint: str) -> UUID | None:
    """The job that this idempotency key already made, within a day; InvalidInput when it was for another request.

    The key is locked until the transaction ends: of two callers at once the second waits and finds the first's job.
    """
    cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"{principal}|{route}|{key}",))
    forget_old_keys(cursor)
    cursor.execute(
        "SELECT fingerprint, job_id FROM idempotency_keys WHERE principal = %s AND route = %s AND key = %s",
        (principal, route, key),
    )
    row = cursor.fetchone()
    if row is None:
        return None
    if row.fingerprint != fingerprint:
        raise InvalidInput(
            "Idempotency-Key: this key was used for another request; take a new one", code="idempotency-key-reused"
        )
    job_id: UUID = row.job_id
    return job_id


def forget_old_keys(cursor: Cursor) -> None:
    """Remove the keys of a day ago."""
    # Not clock_timestamp(): no index is used for what may change from row to row.
    cursor.execute("DELETE FROM idempotency_keys WHERE created_at < statement_timestamp() - interval '1 day'")


def keep_key(cursor: Cursor, principal: str, route: str, key: str, fingerprint: str, job_id: UUID) -> None:
    cursor.execute(
        "INSERT INTO idempotency_keys (principal, route, key, fingerprint, job_id) VALUES (%s, %s, %s, %s, %s)",
        (principal, route, key, fingerprint, job_id),
    )


# ---- watching --------------------------------------------------------------------------------------------------------

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


def waiting_chunks(cursor: Cursor, *, most: int, pairs: int = 200) -> list[Any]:
    """How many chunks each active job waits for per series (at most `most`), in the order in which the bridge looks at
    them: job_id, priority, interactive, series_id, con_id, exchange, price, timeframe, pending, not_before (of the
    first). Leased ones are on their way."""
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
    return list(cursor.fetchall())


def unplanned_items(cursor: Cursor, limit: int) -> list[Any]:
    """The items of live jobs that are not planned yet, in the order of planning, with how many their job has of them."""
    cursor.execute(
        "SELECT j.id AS job_id, j.priority, j.mode, j.origin = 'read' AS interactive, i.selector, i.timeframe, i.price,"
        " i.session, i.wanted_start, i.wanted_end, i.wanted_back, count(*) OVER (PARTITION BY j.id) AS open_items"
        " FROM backfill_jobs j JOIN backfill_items i ON i.job_id = j.id WHERE j.state = ANY(%s) AND i.state = 'queued'"
        " ORDER BY j.priority DESC, j.created_at, i.id LIMIT %s",
        ([Job.QUEUED, Job.PLANNING], limit),
    )
    return list(cursor.fetchall())


def put_off(cursor: Cursor, job_ids: Sequence[UUID], market_ns: int) -> dict[UUID, str]:
    """Running jobs of which nothing can be asked before a later market time, with the reason of what comes first."""
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
        (list(job_ids), Job.RUNNING),
    )
    return {row.id: row.outcome for row in cursor.fetchall() if row.not_before > market_ns and row.outcome}


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


# ---- stopping and ending ---------------------------------------------------------------------------------------------


def stop(cursor: Cursor, job_id: UUID | None, owner: str | None) -> list[UUID]:
    """Ask one job, or all live ones (of one owner), to stop; returns those that were live. Twice is the same as once.

    What no other live job wants and nobody works on is cancelled here; the bridge ends the rest.
    """
    cursor.execute(
        "SELECT id FROM backfill_jobs WHERE state = ANY(%(before)s)"
        " AND (%(job)s::uuid IS NULL OR id = %(job)s) AND (%(owner)s IS NULL OR owner = %(owner)s) ORDER BY id",
        {"before": jobs_before(Job.STOPPING), "job": job_id, "owner": owner},
    )
    wanted = [row.id for row in cursor.fetchall()]
    if not wanted:
        return []
    # Lock order: chunks, then jobs by id. A job must be `stopping` before its chunks can be orphans, so the chunks are
    # locked first, then the jobs change, then what became an orphan goes.
    cursor.execute(
        "SELECT c.id FROM backfill_chunks c WHERE c.state = 'pending'"
        " AND EXISTS (SELECT 1 FROM job_chunks j WHERE j.chunk_id = c.id AND j.job_id = ANY(%s)) ORDER BY c.id FOR UPDATE",
        (wanted,),
    )
    pending = [row.id for row in cursor.fetchall()]
    cursor.execute("SELECT id FROM backfill_jobs WHERE id = ANY(%s) ORDER BY id FOR UPDATE", (wanted,))
    cursor.execute(
        "UPDATE backfill_jobs SET state = %s, updated_at = clock_timestamp() WHERE id = ANY(%s) AND state = ANY(%s)"
        " RETURNING id",
        (Job.STOPPING, wanted, jobs_before(Job.STOPPING)),
    )
    stopping = [row.id for row in cursor.fetchall()]
    cancel_orphans(cursor, pending)
    finish_stopping(cursor)
    for job in stopping:
        notify(cursor, "stop", job)
    return stopping


def cancel_orphans(cursor: Cursor, chunk_ids: Sequence[int]) -> int:
    """Cancel those of the chunks that no live job wants; the caller holds their locks."""
    cursor.execute(
        "UPDATE backfill_chunks c SET state = %s, updated_at = clock_timestamp(), lease_bridge = NULL, lease_until = NULL"
        " WHERE c.id = ANY(%s) AND c.state = ANY(%s) AND NOT EXISTS (SELECT 1 FROM job_chunks jc"
        f" JOIN backfill_jobs j ON j.id = jc.job_id WHERE jc.chunk_id = c.id AND j.state IN {ACTIVE})",
        (Chunk.CANCELLED, list(chunk_ids), chunks_before(Chunk.CANCELLED)),
    )
    return int(cursor.rowcount)


def cancel_strays(cursor: Cursor) -> int:
    """Cancel pending chunks that no live job wants, however they came about."""
    cursor.execute(
        f"SELECT id FROM backfill_chunks c WHERE state = 'pending' AND NOT EXISTS (SELECT 1 FROM job_chunks jc"
        f" JOIN backfill_jobs j ON j.id = jc.job_id WHERE jc.chunk_id = c.id AND j.state IN {ACTIVE})"
        f" ORDER BY id LIMIT 1000 FOR UPDATE SKIP LOCKED"
    )
    return cancel_orphans(cursor, [row.id for row in cursor.fetchall()])


def served(cursor: Cursor, chunk_id: int) -> None:
    """A request for a chunk is about to be sent: count it for the jobs that wait for it; their next turn is later."""
    cursor.execute(
        "UPDATE backfill_jobs SET served_at = clock_timestamp(), requests_sent = requests_sent + 1,"
        " started_at = coalesce(started_at, clock_timestamp()) WHERE id IN"
        " (SELECT j.id FROM backfill_jobs j JOIN job_chunks c ON c.job_id = j.id"
        f"  WHERE c.chunk_id = %s AND j.state IN {ACTIVE} ORDER BY j.id FOR UPDATE OF j)",
        (chunk_id,),
    )


def finish_stopping(cursor: Cursor) -> None:
    """Jobs that were asked to stop are stopped once none of their chunks is being worked on for them alone."""
    cursor.execute(
        "UPDATE backfill_jobs j SET state = %s, finished_at = clock_timestamp(), updated_at = clock_timestamp()"
        " WHERE j.id IN (SELECT id FROM backfill_jobs WHERE state = %s ORDER BY id FOR UPDATE)"
        " AND NOT EXISTS (SELECT 1 FROM job_chunks jc JOIN backfill_chunks c ON c.id = jc.chunk_id"
        "  WHERE jc.job_id = j.id AND c.state = ANY(%s) AND NOT EXISTS (SELECT 1 FROM job_chunks oc"
        "   JOIN backfill_jobs o ON o.id = oc.job_id WHERE oc.chunk_id = c.id"
        f"   AND o.state IN {ACTIVE}))",
        (Job.STOPPED, Job.STOPPING, list(LIVE_CHUNKS)),
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
    for job in cursor.fetchall():
        done, good_now = job.chunks_done + job.ended, job.chunks_good + (job.ended if good else 0)
        state, over = job.state, False
        if job.state == Job.RUNNING and done >= job.chunks_total:
            state = ending(
                good=good_now,
                total=job.chunks_total,
                bars=job.bars + new + revised + same,
                items_failed=job.items_failed,
                shortfall=job.shortfall,
            )
            check_job(Job.RUNNING, state)
            over = True
        cursor.execute(
            "UPDATE backfill_jobs SET chunks_done = %s, chunks_good = %s, bars_new = bars_new + %s,"
            " bars_revised = bars_revised + %s, bars_same = bars_same + %s, state = %s,"
            " finished_at = CASE WHEN %s THEN clock_timestamp() ELSE finished_at END, updated_at = clock_timestamp()"
            " WHERE id = %s",
            (done, good_now, new, revised, same, state, over, job.id),
        )


# ---- planning --------------------------------------------------------------------------------------------------------


def claim_queued(cursor: Cursor, bridge: str, lease_s: int) -> Any | None:
    """Take the next queued job for planning; None when there is none."""
    cursor.execute(
        "UPDATE backfill_jobs SET state = %s, lease_bridge = %s, updated_at = clock_timestamp(),"
        " lease_until = clock_timestamp() + make_interval(secs => %s)"
        " WHERE id = (SELECT id FROM backfill_jobs WHERE state = %s AND not_before <= clock_timestamp()"
        "  ORDER BY priority DESC, created_at LIMIT 1 FOR UPDATE SKIP LOCKED)"
        " RETURNING id, owner, origin, priority, mode, correlation_id",
        (Job.PLANNING, bridge, lease_s, Job.QUEUED),
    )
    return cursor.fetchone()


def open_items(cursor: Cursor, job_id: UUID) -> list[Any]:
    """The items of a job that are still to be planned."""
    cursor.execute(
        "SELECT id, selector, timeframe, price, session, wanted_start, wanted_end, wanted_back FROM backfill_items"
        " WHERE job_id = %s AND state = 'queued' ORDER BY id",
        (job_id,),
    )
    return list(cursor.fetchall())


class PlanLost(Exception):
    """The job is not ours to plan any more: it was stopped, or our lease on it ran out."""


def _hold_plan(cursor: Cursor, job_id: UUID, bridge: str, lease_s: int) -> None:
    """Lock the job while it is still ours to plan, and prolong our lease; PlanLost otherwise."""
    cursor.execute(
        "UPDATE backfill_jobs SET lease_until = clock_timestamp() + make_interval(secs => %s)"
        " WHERE id = %s AND state = %s AND lease_bridge = %s",
        (lease_s, job_id, Job.PLANNING, bridge),
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
    series_id: int,
    plan: Mapping[str, Any],
    *,
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
        (job_id, Job.PLANNING, bridge),
    )
    job = cursor.fetchone()
    if job is None:
        return
    state = Job.RUNNING
    if job.chunks_done >= job.chunks_total:
        state = ending(
            good=job.chunks_good,
            total=job.chunks_total,
            bars=job.bars,
            items_failed=job.items_failed,
            shortfall=job.shortfall,
        )
    check_job(Job.PLANNING, state)
    cursor.execute(
        "UPDATE backfill_jobs SET state = %s, lease_bridge = NULL, lease_until = NULL,"
        " started_at = coalesce(started_at, clock_timestamp()),"
        " waits_for = NULL, finished_at = CASE WHEN %s THEN clock_timestamp() END, updated_at = clock_timestamp()"
        " WHERE id = %s",
        (state, state != Job.RUNNING, job_id),
    )


def unplan(cursor: Cursor, job_id: UUID, bridge: str, reason: str, *, after_s: float | None = None) -> None:
    """Give a job back: planning could not go on, for a reason that who watches is told. Planned items stay planned and
    their requests go on; other jobs come first meanwhile. It is tried again `after_s` from now, machine time; without
    that, after longer each time, up to a minute."""
    cursor.execute(
        "UPDATE backfill_jobs SET state = %(queued)s, lease_bridge = NULL, lease_until = NULL, updated_at = clock_timestamp(),"
        " plan_attempts = plan_attempts + CASE WHEN %(after)s::float8 IS NULL THEN 1 ELSE 0 END, waits_for = %(reason)s,"
        " not_before = clock_timestamp()"
        "  + make_interval(secs => coalesce(%(after)s::float8, least(60, 2 ^ least(plan_attempts, 6))))"
        " WHERE id = %(job)s AND state = %(planning)s AND lease_bridge = %(bridge)s",
        {
            "queued": Job.QUEUED,
            "after": after_s,
            "reason": reason,
            "job": job_id,
            "planning": Job.PLANNING,
            "bridge": bridge,
        },
    )


def planning_waits(cursor: Cursor, reason: str) -> bool:
    """True when a job that is not planned yet waits for this."""
    cursor.execute(
        "SELECT EXISTS (SELECT 1 FROM backfill_jobs WHERE state = ANY(%s) AND waits_for = %s) AS waits",
        ([Job.QUEUED, Job.PLANNING], reason),
    )
    return bool(cursor.fetchone().waits)


def hurry(cursor: Cursor) -> int:
    """What kept jobs from being planned is over: none waits any longer."""
    cursor.execute(
        "UPDATE backfill_jobs SET not_before = '-infinity' WHERE state = %s AND not_before > clock_timestamp()",
        (Job.QUEUED,),
    )
    return int(cursor.rowcount)


def expire_plans(cursor: Cursor, bridge: str | None = None) -> int:
    """Jobs whose planner went silent are queued again; those of `bridge` at once (it has just started)."""
    cursor.execute(
        "UPDATE backfill_jobs SET state = %s, lease_bridge = NULL, lease_until = NULL, updated_at = clock_timestamp()"
        " WHERE state = %s AND (lease_until < clock_timestamp() OR lease_bridge = %s)",
        (Job.QUEUED, Job.PLANNING, bridge),
    )
    return int(cursor.rowcount)
