"""TimescaleDB as it is meant to be used. Skipped where the tests' server has no such extension: NAUTILUS_TEST_DSN names
one that has it, and then all tests of the suite that need a database run on hypertables."""

import io
import os
import random
import re
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit, urlunsplit

import psycopg2
import pytest

from dev import store
from nautilus.clock import NS_PER_DAY
from nautilus.db import retention, timescale, verify
from nautilus.db.bars import candles
from nautilus.db.bars.bar_source import BarSource, page_end
from nautilus.db.bars.candles import Rendering
from nautilus.db.bars.write import Written
from nautilus.db.bridge import status
from nautilus.db.connection import Database
from nautilus.db.cursor import Cursor
from nautilus.db.market import series
from nautilus.db.migrate import upgrade
from nautilus.market.bar import Bar
from nautilus.market.slots import Slots
from nautilus.market.timeframes import timeframe
from nautilus.reading.formats import Format
from nautilus.spans import Spans
from tests.conftest import Server
from tests.integration.db.test_migrate import INSTRUMENT, old_database
from tests.integration.db.test_writing import write_any

MINUTE = 60_000_000_000
WIDTH = timescale.HYPERTABLES["bars_minute"].chunk_ns
START = 1_672_617_600_000_000_000


@pytest.fixture(autouse=True, scope="module")
def _extension(server: Server) -> None:
    with closing(psycopg2.connect(server.dsn("postgres"))) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'timescaledb'")
        if cursor.fetchone() is None:
            pytest.skip("this PostgreSQL has no TimescaleDB; NAUTILUS_TEST_DSN may name one that has")
        cursor.execute("SELECT current_setting('timescaledb.license', true) = 'apache'")
        if cursor.fetchone()[0]:
            pytest.skip("this TimescaleDB is the Apache edition, without a columnstore")


@pytest.fixture
def database(empty_dsn: str) -> Iterator[Database]:
    upgrade(empty_dsn)
    made = Database(empty_dsn, name="test")
    with made.transaction() as cursor:
        cursor.execute(INSTRUMENT)
        series.find_or_make(cursor, 1, timeframe("1m"), price="TRADES", session="rth")
    yield made
    made.close()


def bars(count: int, price: float = 10.0) -> list[Bar]:
    return [Bar(START + n * MINUTE, price, price, price, price, 1.0, price, 1) for n in range(count)]


def record(database: Database, new: list[Bar]) -> Written:
    with database.transaction() as cursor:
        found = series.by_id(cursor, 1, lock=True)
        return series.apply_changes(
            cursor, found, bars=new, settled=Spans.of(new[0].ts, new[-1].ts + MINUTE), request_id=1
        )


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


def test_bars_in_chunks_and_columns_are_estimated(database: Database) -> None:
    record(database, bars(5_000))
    with database.transaction() as cursor:
        cursor.execute("ANALYZE bars_minute")
        assert timescale.estimated_bars(cursor) == 5_000


def test_a_plain_database_whose_server_gets_the_extension(empty_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Migrating again moves what is there; who holds a table is waited for in turns, as by any migration."""
    with monkeypatch.context() as before:
        before.setattr(timescale, "adopt", timescale.storage)
        assert upgrade(empty_dsn).startswith("plain PostgreSQL")
    with closing(Database(empty_dsn, name="test", size=2)) as database:
        with database.transaction() as cursor:
            cursor.execute(INSTRUMENT)
            series.find_or_make(cursor, 1, timeframe("1m"), price="TRADES", session="rth")
        record(database, bars(50_000))
        record(database, bars(10, 11.0))
        with database.transaction() as holder:
            holder.execute("SELECT 1 FROM bars_minute LIMIT 1")
            mover = threading.Thread(target=upgrade, args=(empty_dsn,), kwargs={"lock_wait_ms": 100})
            mover.start()
            tries: set[int] = set()  # each is a connection
            while mover.is_alive() and len(tries) < 2:
                with database.transaction() as cursor:
                    cursor.execute(
                        "SELECT pid FROM pg_stat_activity"
                        " WHERE datname = current_database() AND application_name = 'nautilus-migrate'"
                    )
                    tries |= {row.pid for row in cursor.fetchall()}
                mover.join(0.01)
            assert mover.is_alive()
        mover.join(30)
        with database.transaction(snapshot=True) as cursor:
            assert timescale.in_use(cursor)
            assert count(cursor) == 50_000
            assert verify.verify(cursor).findings == []
        assert record(database, bars(50_010)).new == 10
        assert retention.recompress(database)[0] > 0


def test_bars_of_the_version_before_are_moved(empty_dsn: str) -> None:
    old_database(empty_dsn)
    upgrade(empty_dsn)
    with closing(Database(empty_dsn, name="test", size=1)) as database, database.transaction() as cursor:
        cursor.execute("SELECT count(*) FROM bars_minute")
        assert cursor.fetchone()[0] == 1
        assert timescale.in_use(cursor)


def test_quiet_chunks_go_by_column_and_writes_into_them_count_exactly(database: Database) -> None:
    record(database, bars(50_000))
    done, _ = retention.recompress(database)
    assert done == size(database).by_column > 0
    assert record(database, bars(2_000)).same == 2_000
    assert retention.recompress(database) == (0, 0)  # nothing was written
    revised = record(database, bars(2_000, 11.0))
    assert (revised.new, revised.revised, revised.same) == (0, 2_000, 0)
    assert retention.recompress(database) == (1, 0)
    with database.transaction(snapshot=True) as cursor:
        cursor.execute("SELECT count(*), count(*) FILTER (WHERE open = 11) AS revised FROM bars_minute")
        assert tuple(cursor.fetchone()) == (50_000, 2_000)
        cursor.execute("SELECT count(*) FROM bar_revisions WHERE open = 10")
        assert cursor.fetchone()[0] == 2_000
        assert verify.verify(cursor).findings == []


def test_new_bars_go_into_chunks_that_are_by_column(database: Database) -> None:
    rows = bars(40_000)
    record(database, rows[:10_000])
    assert retention.recompress(database)[0]
    written = record(database, rows[9_000:])
    assert (written.new, written.same) == (30_000, 1_000)
    with database.transaction() as cursor:
        cursor.execute("SELECT count(*), count(DISTINCT ts) AS apart FROM bars_minute")
        assert tuple(cursor.fetchone()) == (40_000, 40_000)


def test_any_bars_over_any_others_with_columns_made_in_between(database: Database) -> None:
    dice = random.Random(5)
    write_any(database, lambda: dice.random() < 0.5 and retention.recompress(database))


def test_a_snapshot_of_before_sees_all_bars_after_each_conversion(database: Database) -> None:
    """By itself the extension would hide bars from it that are moved into columns after it was taken."""
    record(database, bars(10_000))
    with database.transaction(snapshot=True) as reader:
        reader.execute("SELECT 1")  # with which it begins
        assert retention.recompress(database)[0] > 0
        assert count(reader) == 10_000
    record(database, bars(2_000, 11.0))
    with database.transaction(snapshot=True) as reader:
        reader.execute("SELECT 1")
        assert retention.recompress(database) == (0, 1)  # it gives way
        assert count(reader) == 10_000
    assert retention.recompress(database) == (1, 0)
    with database.transaction(snapshot=True) as reader:
        assert count(reader) == 10_000


def test_readers_and_a_writer_beside_conversions_miss_nothing(database: Database) -> None:
    record(database, bars(10_000))
    stop, wrong = threading.Event(), []

    def read() -> None:
        while not stop.is_set():
            with database.transaction(snapshot=True) as cursor:
                cursor.execute("SELECT data_version FROM series")
                if (found := count(cursor)) != 10_000:
                    wrong.append(found)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    converted = 0
    for n in range(12):
        assert record(database, bars(500, 11.0 + n)).revised == 500
        converted += retention.recompress(database)[0]
    stop.set()
    for reader in readers:
        reader.join()
    assert wrong == []
    assert converted > 0


def test_bars_are_forgotten_out_of_columns_and_empty_chunks_go(database: Database) -> None:
    """A quarter of a year, kept from the middle of its second month: a chunk goes whole, one in part."""
    days = 84
    record(database, [bar._replace(ts=START + n * NS_PER_DAY // 100) for n, bar in enumerate(bars(100 * days))])
    retention.recompress(database)
    with database.transaction() as cursor:
        kept_days = (status.market_now(cursor) - START) // NS_PER_DAY - days // 2
        chunks = timescale.size(cursor, "bars_minute")
        assert chunks is not None
    gone = retention.forget(database, retention.Kept(0, 0, 0, {"1m": kept_days}))["bars of 1m"]
    assert abs(gone - 100 * days // 2) <= 100
    with database.transaction(snapshot=True) as cursor:
        assert count(cursor) == 100 * days - gone
        assert verify.verify(cursor).findings == []
        assert retention.drop_empty(database) == 0  # a snapshot may still need them
    assert retention.drop_empty(database) > 0
    assert size(database).chunks < chunks.chunks
    with database.transaction(snapshot=True) as cursor:
        assert count(cursor) == 100 * days - gone


def test_a_copy_of_columns_and_rows_beside_them_is_restored_and_proven(
    database: Database, empty_dsn: str, tmp_path: Path
) -> None:
    record(database, bars(50_000))
    retention.recompress(database)
    record(database, bars(500, 11.0))
    url, name = empty_dsn, f"restored_{os.getpid()}"
    store.backup(url, tmp_path / "copy")
    with retention.alone(url), pytest.raises(store.Failed, match="try again"):
        store.backup(url, tmp_path / "another")
    report = store.restore(url, tmp_path / "copy", name)
    made = Database(urlunsplit(urlsplit(url)._replace(path="/" + name)), name="test", size=2)
    try:
        assert (report.bars, report.findings) == (50_000, [])
        assert size(made).by_column == size(database).by_column == 2
        with made.transaction(snapshot=True) as restored, database.transaction(snapshot=True) as original:
            for cursor in (restored, original):
                cursor.execute("SELECT md5(string_agg(b::text, ';' ORDER BY ts)) FROM bars_minute b")
            assert restored.fetchone() == original.fetchone()
        assert record(made, bars(600, 11.0)).revised == 100  # and it is written to and moved as before
        assert retention.recompress(made) == (1, 0)
    finally:
        made.close()
        with closing(psycopg2.connect(url)) as connection:
            connection.autocommit = True
            connection.cursor().execute(f"DROP DATABASE {name} WITH (FORCE)")


def count(cursor: Cursor) -> int:
    cursor.execute("SELECT count(*) FROM bars_minute WHERE series_id = 1 AND ts >= 0 AND ts < %s", (2**62,))
    return int(cursor.fetchone()[0])


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
    assert retention.recompress(database) == (there - 1, 0)


@pytest.mark.parametrize("form", [Format.JSON, Format.COLUMNS, Format.CSV])
def test_a_page_plans_the_chunks_of_its_window_alone(
    database: Database, form: Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The statements of the reader itself, for a window of many time slices: the two chunks it lies in, of twelve."""
    record(database, [bar._replace(ts=START + n * 20 * MINUTE) for n, bar in enumerate(bars(24_000))])
    plans: list[str] = []

    class Explaining:
        """A cursor that explains what it is to read, and reads it."""

        def __init__(self, cursor: Cursor) -> None:
            self._cursor = cursor

        def execute(self, statement: str) -> None:
            self._explain(statement)
            self._cursor.execute(statement)

        def fetchone(self) -> Any:
            return self._cursor.fetchone()

        def fetchall(self) -> list[Any]:
            return self._cursor.fetchall()

        def copy_expert(self, statement: str, out: io.BytesIO) -> None:
            self._explain(
                statement[statement.index("(") + 1 : statement.rindex(")", 0, statement.rindex(" TO STDOUT") + 1)]
            )
            self._cursor.copy_expert(statement, out)

        def _explain(self, statement: str) -> None:
            self._cursor.execute("EXPLAIN " + statement)
            plans.append("\n".join(row[0] for row in self._cursor.fetchall()))

    middle = START // WIDTH * WIDTH + 6 * WIDTH
    window = (middle - 10 * NS_PER_DAY, middle + 10 * NS_PER_DAY)
    rendering = Rendering(form, ("time", "open", "close"), timeframe("1m"))
    stored = BarSource(1, timeframe("1m"))
    hours = range(window[0], window[1], 60 * MINUTE)
    aggregated = stored._replace(slots=Slots(hours, hours, [start + 60 * MINUTE for start in hours]))
    with database.transaction(snapshot=True) as cursor:
        explaining = cast(Cursor, Explaining(cursor))
        for source, bars_an_hour in ((stored, 3), (aggregated, 1)):
            assert page_end(explaining, source, window, 20 * 24 * bars_an_hour, backward=False) is None
            slices = candles.time_slices(explaining, source, window, rendering, limit=10_000)
            assert sum(each.size for each in slices) == 20 * 24 * bars_an_hour
    assert len(plans) == 4
    assert {len(set(re.findall(r"_hyper_\d+_\d+_chunk", plan))) for plan in plans} == {2}, plans
