"""How many statements it takes to write many rows: as many as for a few, as most are written under a lock."""

from collections.abc import Callable, Iterator
from datetime import date, timedelta

import pytest

from ib_bridge.history import writer
from ib_bridge.history.writer import Answer
from nautilus.backfill.planner import Chunk
from nautilus.clock import NS_PER_DAY, NS_PER_HOUR
from nautilus.coverage.states import CoverageState, Note
from nautilus.db.cursor import Cursor
from nautilus.db.ledger import chunks, job_planning, jobs
from nautilus.db.ledger.jobs import Item
from nautilus.db.market import calendars, instruments, series
from nautilus.market.calendar import Session
from nautilus.market.symbols import Selector
from nautilus.spans import Spans
from tests.integration.backfill.test_ledger import AAPL, MINUTE, Ledger

TABLES = (
    *("backfill_jobs", "backfill_items", "backfill_chunks", "job_chunks", "coverage_notes"),
    *("instruments", "calendars", "trading_sessions"),
)


@pytest.fixture
def ledger(dsn: str) -> Iterator[Ledger]:
    """A ledger whose database writes down each statement that changes one of the tables."""
    made = Ledger(dsn)
    with made.db.transaction() as cursor:
        cursor.execute(
            "CREATE TABLE statements (on_table text, kind text);"
            "CREATE FUNCTION write_down() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            "  INSERT INTO statements VALUES (TG_TABLE_NAME, TG_OP); RETURN NULL; END $$;"
            + "".join(
                f"CREATE TRIGGER written_down AFTER INSERT OR UPDATE OR DELETE ON {table}"
                " FOR EACH STATEMENT EXECUTE FUNCTION write_down();"
                for table in TABLES
            )
        )
    yield made
    made.db.close()


def spans(count: int) -> list[tuple[int, int]]:
    return [(n * 10, n * 10 + 10) for n in range(count)]


def parts(count: int) -> list[Chunk]:
    return [Chunk((a * MINUTE, b * MINUTE), (a * MINUTE, b * MINUTE)) for a, b in spans(count)]


def a_job_of_many_series(ledger: Ledger, count: int) -> None:
    items = [Item(Selector("STK", f"S{n}", "USD"), "1m", None, None, 0, None, MINUTE) for n in range(count)]
    with ledger.db.transaction() as cursor:
        job = jobs.create(
            cursor,
            owner="user:1",
            origin="api",
            items=items,
            priority=4,
            mode="missing",
            request={},
            fingerprint="f",
            correlation_id="",
        )
        stored = job_planning.open_items(cursor, job)
    assert [Selector.of(row.selector) for row in stored] == [item.selector for item in items]
    assert {(row.price, row.wanted_start, row.wanted_end, row.wanted_back) for row in stored} == {
        (None, 0, None, MINUTE)
    }


def a_plan_of_many_chunks(ledger: Ledger, count: int) -> None:
    _, ids = ledger.job(*spans(count))
    assert len(ids) == count == ids[-1] - ids[0] + 1
    with ledger.db.transaction() as cursor:
        cursor.execute("SELECT span_start FROM backfill_chunks ORDER BY id")
        # The newest time has the smallest number: it is asked for first.
        assert [row.span_start for row in cursor.fetchall()] == [a * MINUTE for a, _ in reversed(spans(count))]


def a_chunk_that_becomes_many(ledger: Ledger, count: int) -> None:
    job, (chunk,) = ledger.job((0, 10 * count))
    for _ in range(3):
        ledger.join([chunk])
    held = ledger.lease(chunk)
    assert held is not None
    with ledger.db.transaction() as cursor:
        chunks.split(cursor, held, parts(count), request_id=None)
    totals = ledger.one("SELECT array_agg(DISTINCT chunks_total) AS found FROM backfill_jobs WHERE state = 'running'")
    assert totals.found == [count]
    assert ledger.one("SELECT count(*) AS n FROM job_chunks WHERE job_id = %s", job).n == 1 + count


def a_series_that_ib_refuses(ledger: Ledger, count: int) -> None:
    job, ids = ledger.job(*spans(count))
    other = ledger.join(ids[: count - 1])
    held = ledger.lease(ids[0])
    assert held is not None
    with ledger.db.transaction() as cursor:
        writer.refused(cursor, held, Answer(1, 1, 162, "no permissions"), reason="no_permission", market_ns=0)
    found = ledger.one("SELECT count(*) AS n, min(outcome) AS outcome FROM backfill_chunks WHERE state = 'done'")
    assert (found.n, found.outcome) == (count, "unavailable:no_permission")
    assert [(ledger.state(number), done(ledger, number)) for number in (job, other)] == [
        ("failed", count),
        ("failed", count - 1),
    ]


def done(ledger: Ledger, job: object) -> int:
    return int(ledger.one("SELECT chunks_done FROM backfill_jobs WHERE id = %s", job).chunks_done)


def an_answer_that_leaves_many_notes(ledger: Ledger, count: int) -> None:
    noted = [
        Note((a * MINUTE, a * MINUTE + 1), CoverageState.FAILED, f"r{a}", None, 7, None if a % 20 else 9)
        for a, _ in spans(count)
    ]
    with ledger.db.transaction() as cursor:
        row = series.by_id(cursor, ledger.series, lock=True)
        series.apply_changes(cursor, row, settled=Spans(), noted=noted, request_id=5)
        assert series.notes(cursor, row.id, series.ALL_TIME) == noted


def a_schedule_of_many_days(ledger: Ledger, count: int) -> None:
    body = [
        Session(n * NS_PER_DAY, n * NS_PER_DAY + NS_PER_HOUR, date(1970, 1, 1) + timedelta(n)) for n in range(count)
    ]
    known = (0, count * NS_PER_DAY)
    with ledger.db.transaction() as cursor:
        # IB may tell a session twice: the last word counts.
        calendars.store(
            cursor, "C", "rth", time_zone="UTC", known=known, sessions=[body[0]._replace(close_ns=1), *body]
        )
        loaded = calendars.load(cursor, "C", "rth", known)
    assert loaded is not None
    assert list(loaded.sessions) == body


def a_lookup_of_many_contracts(ledger: Ledger, count: int) -> None:
    found = [(AAPL._replace(con_id=100 + n, min_tick=0.01 * n), {"n": n}) for n in range(count)]

    def keep(cursor: Cursor) -> None:
        instruments.store_all(cursor, [(AAPL._replace(con_id=100, symbol="OLD"), {}), *found])

    with ledger.db.transaction() as cursor:
        keep(cursor)
        stored = instruments.listed(cursor, "", 99, 1000)
    assert stored == found


@pytest.mark.parametrize(
    "work",
    [
        a_job_of_many_series,
        a_plan_of_many_chunks,
        a_chunk_that_becomes_many,
        a_series_that_ib_refuses,
        an_answer_that_leaves_many_notes,
        a_schedule_of_many_days,
        a_lookup_of_many_contracts,
    ],
)
def test_many_rows_take_as_many_statements_as_a_few(ledger: Ledger, work: Callable[[Ledger, int], None]) -> None:
    taken = []
    for count in (3, 40):
        for table in ("bridge_commands", "job_chunks", "backfill_chunks", "backfill_items", "backfill_jobs"):
            ledger.one(f"DELETE FROM {table} RETURNING 1")
        ledger.one("DELETE FROM coverage_notes RETURNING 1")
        ledger.one("DELETE FROM statements RETURNING 1")
        work(ledger, count)
        taken.append(
            ledger.one(
                "SELECT array_agg(on_table || ' ' || kind ORDER BY on_table, kind) AS found FROM statements"
            ).found
        )
    assert taken[0] == taken[1]
