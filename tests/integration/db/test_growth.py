"""What is asked often costs the same however much is stored; what is stored and of no use goes."""

import time
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import Any, cast

import psycopg2
import pytest

from nautilus.clock import NS_PER_DAY
from nautilus.db import retention, verify
from nautilus.db.auth import login_failures, refresh_families
from nautilus.db.bars import history, read
from nautilus.db.bridge import commands, status
from nautilus.db.ledger import chunk_counts, chunks, idempotency, job_list, job_stopping, job_waits, requests
from nautilus.db.market import series
from nautilus.db.retention import Kept
from nautilus.market.bar import Bar
from nautilus.spans import Spans
from tests.integration.backfill.test_ledger import Ledger

CHUNKS = 30_000
COMMANDS = 20_000
MINUTE = 60_000_000_000


@pytest.fixture
def ledger(dsn: str) -> Iterator[Ledger]:
    made = Ledger(dsn)
    yield made
    made.db.close()


@pytest.fixture
def grown(ledger: Ledger) -> Ledger:
    """A ledger in which much has happened, with fresh statistics."""
    with ledger.db.transaction() as cursor:
        cursor.execute(
            "INSERT INTO backfill_jobs (owner, origin, state, request, fingerprint, created_at, finished_at)"
            " SELECT 'user:' || n % 50, 'api', 'succeeded', '{}', 'f', now() - make_interval(mins => n), now()"
            " FROM generate_series(1, 20000) n"
        )
        cursor.execute(
            "INSERT INTO backfill_chunks (series_id, span_start, span_end, window_start, window_end, state)"
            " SELECT %s, n * 100, n * 100 + 100, n * 100, n * 100 + 100, 'done' FROM generate_series(1, %s) n",
            (ledger.series, CHUNKS),
        )
        cursor.execute(
            "INSERT INTO bridge_commands (type, args, state, result, requested_by, expires_at, finished_at)"
            " SELECT 'search', jsonb_build_object('pattern', 'P' || n), 'done', jsonb_build_object('n', n), 'x', now(),"
            " now() - make_interval(secs => n) FROM generate_series(1, %s) n",
            (COMMANDS,),
        )
        cursor.execute(
            "INSERT INTO ib_requests (login, bridge, kind, identity, contract, small, weight, sent_at, outcome)"
            " SELECT 'l', 'b', 'bars', '', '', false, 1, n, 'ok' FROM generate_series(1, %s) n",
            (COMMANDS,),
        )
        cursor.execute(
            "INSERT INTO idempotency_keys (principal, route, key, fingerprint, job_id)"
            " SELECT 'user:1', 'backfill', n::text, 'f', gen_random_uuid() FROM generate_series(1, %s) n",
            (COMMANDS,),
        )
        cursor.execute(
            "INSERT INTO login_failures (subject, failures) SELECT 'name:' || n, 1 FROM generate_series(1, %s) n",
            (2 * COMMANDS,),
        )
        cursor.execute("INSERT INTO users (username, password_hash) VALUES ('ann', 'x')")
        cursor.execute(
            "INSERT INTO refresh_families (user_id, address, user_agent, expires_at)"
            " SELECT 1, '', '', now() + interval '1 day' FROM generate_series(1, %s)",
            (COMMANDS,),
        )
    with closing(psycopg2.connect(ledger.dsn)) as connection:
        connection.autocommit = True
        connection.cursor().execute("VACUUM ANALYZE")
    return ledger


def running_job_of_all(ledger: Ledger) -> Any:
    """A running job that waits for every chunk, of which none may be asked for before a market time."""
    job, _ = ledger.job()
    with ledger.db.transaction() as cursor:
        cursor.execute("UPDATE backfill_chunks SET state = 'pending', not_before = id + 10000, outcome = 'pacing'")
        cursor.execute("INSERT INTO job_chunks SELECT %s, id FROM backfill_chunks", (job,))
        cursor.execute(
            "UPDATE backfill_jobs SET state = 'running', chunks_total = %s, finished_at = NULL WHERE id = %s",
            (CHUNKS, job),
        )
    with closing(psycopg2.connect(ledger.dsn)) as connection:
        connection.autocommit = True
        connection.cursor().execute("VACUUM ANALYZE")
    return job


def pages_read(ledger: Ledger, work: Any) -> int:
    """How many pages of tables and indexes the last statement of `work` reads."""
    with ledger.db.transaction() as cursor:
        work(cursor)
        statement = cast(Any, cursor).query.decode().split("BEGIN;")[-1]
        cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}")
        (body,) = cursor.fetchone()
        cursor.connection.rollback()
    plan = body[0]["Plan"]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


QUESTIONS: dict[str, Any] = {
    "status": job_list.totals,
    "jobs of all": lambda cursor: job_list.summaries(cursor, None),
    "jobs of one": lambda cursor: job_list.summaries(cursor, "user:7"),
    "search": lambda cursor: commands.last_result(cursor, "search", {"pattern": "P7"}),
    "explain, old": lambda cursor: history.chunks_at(cursor, 1, (700, 701)),
    "explain, new": lambda cursor: history.chunks_at(cursor, 1, (CHUNKS * 100, CHUNKS * 100 + 1)),
    "start of a bridge": lambda cursor: requests.lose(cursor, "b"),
    "keys of a day ago": idempotency.forget_old_keys,
    "failures of a day ago": login_failures.forget_old,
    "sessions that ended long ago": refresh_families.forget_old,
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_what_is_asked_often_reads_a_few_pages_however_much_there_is(grown: Ledger, question: str) -> None:
    # Every table has hundreds of pages; a scan of the series' part of an index may have a hundred and fifty.
    assert pages_read(grown, QUESTIONS[question]) < 170


@pytest.mark.parametrize("leased", [False, True])
def test_why_a_large_job_is_deferred_is_read_from_a_few_pages(grown: Ledger, leased: bool) -> None:
    job = running_job_of_all(grown)
    with grown.db.transaction() as cursor:
        if leased:
            cursor.execute(
                "UPDATE backfill_chunks SET state = 'leased' WHERE id = (SELECT max(id) FROM backfill_chunks)"
            )
        cursor.execute("SELECT min(not_before) AS at FROM backfill_chunks WHERE state = 'pending'")
        first = cursor.fetchone().at
        assert job_waits.deferred(cursor, [job], first - 1) == ({} if leased else {job: "pacing"})
        assert job_waits.deferred(cursor, [job], first) == {}
    assert pages_read(grown, lambda cursor: job_waits.deferred(cursor, [job], first)) < 170


# ---- counts of chunks ------------------------------------------------------------------------------------------------


def counts(ledger: Ledger) -> dict[str, int]:
    """What the front end's card is told; each number is compared with the rows."""
    with ledger.db.transaction(snapshot=True) as cursor:
        assert chunk_counts.wrong(cursor) == {}
        row = job_list.totals(cursor)
    return {
        "pending": row.queue_size,
        "leased": row.active_requests,
        "done": row.completed_requests,
        "failed": row.failed_requests,
    }


def test_chunks_are_counted_through_all_that_becomes_of_them(ledger: Ledger) -> None:
    assert counts(ledger) == {"pending": 0, "leased": 0, "done": 0, "failed": 0}
    job, ids = ledger.job((0, 10), (10, 20), (20, 30), (30, 40))
    assert counts(ledger) == {"pending": 4, "leased": 0, "done": 0, "failed": 0}
    held = [lease for number in ids[:3] if (lease := ledger.lease(number))]
    assert counts(ledger) == {"pending": 1, "leased": 3, "done": 0, "failed": 0}
    ledger.done(held[0])
    with ledger.db.transaction() as cursor:
        chunks.failed(cursor, held[1], outcome="timeout", ib_code=None, request_id=None)
        chunks.renew(cursor, [held[2]])
    assert counts(ledger) == {"pending": 1, "leased": 1, "done": 1, "failed": 1}
    with suppress(ZeroDivisionError), ledger.db.transaction() as cursor:
        chunks.done(cursor, held[2], outcome="filled", good=True, bars=0)
        raise ZeroDivisionError
    assert counts(ledger) == {"pending": 1, "leased": 1, "done": 1, "failed": 1}
    with ledger.db.transaction() as cursor:
        job_stopping.stop(cursor, job, None)
    assert counts(ledger) == {"pending": 0, "leased": 1, "done": 1, "failed": 1}
    ledger.one("DELETE FROM series RETURNING 1")
    assert counts(ledger) == {"pending": 0, "leased": 0, "done": 0, "failed": 0}


def test_counts_of_server_processes_that_ended_are_added_up(ledger: Ledger) -> None:
    ledger.job((0, 10), (10, 20))
    with closing(psycopg2.connect(ledger.dsn)) as other, other, other.cursor() as cursor:
        cursor.execute("UPDATE backfill_chunks SET state = 'failed' WHERE span_start = 0")
    before = counts(ledger)
    backends = "SELECT count(DISTINCT backend) AS n FROM backfill_chunk_counts WHERE backend <> 0"
    assert ledger.one(backends).n == 2
    clients = "datname = current_database() AND backend_type = 'client backend'"  # TimescaleDB has workers of its own
    while ledger.one(f"SELECT count(*) AS n FROM pg_stat_activity WHERE {clients}").n > 1:
        time.sleep(0.01)  # the other server process is on its way out
    retention.forget(ledger.db, Kept(0, 0, 0, {}))
    assert ledger.one(backends).n == 1
    assert counts(ledger) == before


def test_wrong_counts_are_found_and_mended(ledger: Ledger) -> None:
    ledger.job((0, 10), (10, 20))
    ledger.one("UPDATE backfill_chunk_counts SET chunks = 7 RETURNING 1")
    with ledger.db.transaction(snapshot=True) as cursor:
        found = [finding for finding in verify.verify(cursor).findings if finding.kind == "chunk_counts"]
    assert [finding.text for finding in found] == ["7 chunks are counted as pending, there are 2"]
    assert verify.repair(ledger.db, found) == 1
    assert counts(ledger)["pending"] == 2


# ---- what goes -------------------------------------------------------------------------------------------------------


def test_finished_commands_and_expired_refusals_go(ledger: Ledger) -> None:
    with ledger.db.transaction() as cursor:
        cursor.execute(
            "INSERT INTO bridge_commands (type, args, state, requested_by, created_at, expires_at, finished_at)"
            " SELECT 'search', jsonb_build_object('at', at), state, 'x', at, at,"
            " CASE WHEN state IN ('done', 'failed') THEN at END FROM"
            " (SELECT now() - make_interval(days => n) AS at, state FROM generate_series(1, 10) n,"
            "  unnest('{queued,done,failed}'::text[]) state) c"
        )
        cursor.execute(
            "INSERT INTO instrument_lookups (key, con_ids, expires_at) SELECT 'k' || n || known,"
            " CASE WHEN known THEN '{1}'::bigint[] ELSE '{}' END, now() + make_interval(hours => 1 - 12 * n)"
            " FROM generate_series(0, 4) n, unnest('{true,false}'::boolean[]) known"
        )
    kept = Kept(0, 0, 0, {}, commands=4)
    gone = retention.forget(ledger.db, kept, batch=4)
    assert (gone["bridge_commands"], gone["instrument_lookups"]) == (21, 2)
    assert ledger.one("SELECT count(*) AS n FROM bridge_commands").n == 9
    left = ledger.one("SELECT count(*) AS n, count(*) FILTER (WHERE con_ids = '{1}') AS known FROM instrument_lookups")
    assert (left.n, left.known) == (8, 5)
    assert set(retention.forget(ledger.db, kept).values()) == {0}


def test_old_bars_go_in_parts_and_the_writer_has_its_turn_between_them(ledger: Ledger) -> None:
    with ledger.db.transaction() as cursor:
        now = status.market_now(cursor) // NS_PER_DAY * NS_PER_DAY
        first = now - 40 * NS_PER_DAY
        bars = [Bar(first + n * MINUTE, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1) for n in range(95)]
        row = series.by_id(cursor, ledger.series, lock=True)
        series.apply_changes(cursor, row, bars=bars, settled=Spans.of(first, now))
    time_slices = []

    def between() -> bool:
        """Whoever writes this series may lock it now, and everything that was forgotten so far is told."""
        with ledger.db.transaction() as cursor:
            cursor.execute("SELECT 1 FROM series WHERE id = %s FOR UPDATE NOWAIT", (ledger.series,))
            cursor.execute("SELECT count(*) AS n, min(ts) AS first FROM bars_minute")
            left = cursor.fetchone()
            row = series.by_id(cursor, ledger.series)
            noted = [note.span for note in series.notes(cursor, row.id, series.ALL_TIME)]
        assert len(noted) <= 1
        for span in noted:
            assert span[0] == first
            assert not row.covered & Spans.of(*span)
            assert left.first is None or (left.first == span[1] and left.first in row.covered)
            time_slices.append((span, row.data_version))
        return False

    gone = retention.forget(ledger.db, Kept(0, 0, 0, {"1m": 30}), between, bars_at_once=20)
    assert gone["bars of 1m"] == 95
    assert [span[1] for span, _ in time_slices] == [first + n * MINUTE for n in (20, 40, 60, 80)]
    versions = [version for _, version in time_slices]
    assert versions == sorted(set(versions))
    with ledger.db.transaction() as cursor:
        (note,) = series.notes(cursor, ledger.series, series.ALL_TIME)
        assert read.any_removed(cursor, ledger.series, 1, (first + 90 * MINUTE, first + 91 * MINUTE))
    assert note.span[1] >= now - 30 * NS_PER_DAY


def test_whoever_stops_it_keeps_the_rest(ledger: Ledger) -> None:
    with ledger.db.transaction() as cursor:
        first = status.market_now(cursor) // NS_PER_DAY * NS_PER_DAY - 40 * NS_PER_DAY
        bars = [Bar(first + n * MINUTE, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1) for n in range(95)]
        row = series.by_id(cursor, ledger.series, lock=True)
        series.apply_changes(cursor, row, bars=bars, settled=Spans.of(first, first + 95 * MINUTE))
    left = lambda: ledger.one("SELECT count(*) AS n FROM bars_minute").n  # noqa: E731
    gone = retention.forget(ledger.db, Kept(0, 0, 0, {"1m": 30}), lambda: left() <= 55, bars_at_once=20)
    assert (gone["bars of 1m"], left()) == (40, 55)
