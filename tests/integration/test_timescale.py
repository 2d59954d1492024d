"""TimescaleDB as it is meant to be used. Skipped where the tests' server has no such extension: NAUTILUS_TEST_DSN names
one that has it, and then all tests of the suite that need a database run on hypertables."""

from collections.abc import Iterator
from contextlib import closing

import psycopg2
import pytest

from nautilus.bars import Bar
from nautilus.clock import NS_PER_DAY
from nautilus.db import retention, series, timescale, verify
from nautilus.db.bars import Written
from nautilus.db.connection import Database
from nautilus.db.migrate import upgrade
from nautilus.spans import Spans
from nautilus.timeframes import timeframe
from tests.conftest import Server
from tests.integration.test_migrate import INSTRUMENT, old_database

MINUTE = 60_000_000_000
START = 1_672_617_600_000_000_000


@pytest.fixture(autouse=True, scope="module")
def _extension(server: Server) -> None:
    with closing(psycopg2.connect(server.dsn("postgres"))) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'timescaledb'")
        if cursor.fetchone() is None:
            pytest.skip("this PostgreSQL has no TimescaleDB; NAUTILUS_TEST_DSN may name one that has")


@pytest.fixture
def database(empty_dsn: str) -> Iterator[Database]:
    upgrade(empty_dsn)
    made = Database(empty_dsn, name="test")
    with made.transaction() as cursor:
        cursor.execute(INSTRUMENT)
        series.find_or_make(cursor, 1, timeframe("1m"), "TRADES", "rth")
    yield made
    made.close()


def bars(count: int, price: float = 10.0) -> list[Bar]:
    return [Bar(START + n * MINUTE, price, price, price, price, 1.0, price, 1) for n in range(count)]


def record(database: Database, new: list[Bar]) -> Written:
    with database.transaction() as cursor:
        found = series.by_id(cursor, 1, lock=True)
        return series.record(cursor, found, bars=new, settled=Spans.of(new[0].ts, new[-1].ts + MINUTE), request_id=1)


def size(database: Database) -> timescale.Size:
    with database.transaction() as cursor:
        found = timescale.size(cursor, "bars_minute")
    assert found is not None
    return found


def test_migrating_makes_hypertables_and_again_changes_nothing(empty_dsn: str) -> None:
    first = upgrade(empty_dsn)
    assert first.startswith("TimescaleDB 2.")
    assert upgrade(empty_dsn) == first
    with closing(Database(empty_dsn, name="test", size=1)) as database, database.transaction() as cursor:
        assert timescale.in_use(cursor)
        cursor.execute(
            "SELECT hypertable_name, integer_interval, integer_now_func FROM timescaledb_information.dimensions"
        )
        found = {row.hypertable_name: row for row in cursor.fetchall()}
    assert {name: row.integer_interval for name, row in found.items()} == {
        name: cut.chunk_ns for name, cut in timescale.HYPERTABLES.items()
    }
    assert {row.integer_now_func for row in found.values()} == {"nautilus_now_ns"}


def test_bars_of_the_version_before_are_moved(empty_dsn: str) -> None:
    old_database(empty_dsn)
    upgrade(empty_dsn)
    with closing(Database(empty_dsn, name="test", size=1)) as database, database.transaction() as cursor:
        cursor.execute("SELECT count(*) FROM bars_minute")
        assert cursor.fetchone()[0] == 1
        assert timescale.in_use(cursor)


def test_quiet_chunks_go_by_column_and_writes_into_them_count_exactly(database: Database) -> None:
    record(database, bars(50_000))
    assert retention.recompress(database) == size(database).by_column > 0
    assert record(database, bars(2_000)).same == 2_000
    assert retention.recompress(database) == 0  # nothing was written
    revised = record(database, bars(2_000, 11.0))
    assert (revised.new, revised.revised, revised.same) == (0, 2_000, 0)
    assert retention.recompress(database) == 1
    with database.transaction(snapshot=True) as cursor:
        cursor.execute("SELECT count(*), count(*) FILTER (WHERE open = 11) AS revised FROM bars_minute")
        assert tuple(cursor.fetchone()) == (50_000, 2_000)
        cursor.execute("SELECT count(*) FROM bar_revisions WHERE open = 10")
        assert cursor.fetchone()[0] == 2_000
        assert verify.verify(cursor).findings == []


def test_new_bars_go_into_chunks_that_are_by_column(database: Database) -> None:
    rows = bars(40_000)
    record(database, rows[:10_000])
    assert retention.recompress(database)
    written = record(database, rows[9_000:])
    assert (written.new, written.same) == (30_000, 1_000)
    with database.transaction() as cursor:
        cursor.execute("SELECT count(*), count(DISTINCT ts) AS apart FROM bars_minute")
        assert tuple(cursor.fetchone()) == (40_000, 40_000)


def test_a_range_with_a_backfill_under_way_is_left_alone(database: Database) -> None:
    record(database, bars(10_000))
    with database.transaction() as cursor:
        cursor.execute(
            "INSERT INTO backfill_chunks (series_id, span_start, span_end, window_start, window_end)"
            " VALUES (1, %(from)s, %(to)s, %(from)s, %(to)s)",
            {"from": START, "to": START + NS_PER_DAY},
        )
        cursor.execute("SELECT count(*) FROM timescaledb_information.chunks WHERE hypertable_name = 'bars_minute'")
        there = cursor.fetchone()[0]
    assert retention.recompress(database) == there - 1


def test_a_page_plans_the_chunks_of_its_window_alone(database: Database) -> None:
    record(database, bars(400_000))
    with database.transaction() as cursor:
        cursor.execute(
            "EXPLAIN SELECT * FROM bars_minute WHERE series_id = 1 AND ts >= %s AND ts < %s ORDER BY ts DESC LIMIT 100",
            (START, START + 100 * MINUTE),
        )
        plan = "\n".join(row[0] for row in cursor.fetchall())
    assert len({word for word in plan.split() if word.startswith("_hyper_") and word.endswith("_chunk")}) == 1, plan
