"""Migrations: from nothing, from the version before, twice, by two at once, beside running code, in two halves."""

import os
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import psycopg2
from alembic.config import Config
from alembic.script import ScriptDirectory

from nautilus.db import migrate
from nautilus.db.bars.write import Written
from nautilus.db.connection import Database
from nautilus.db.market import series
from nautilus.market.bar import Bar
from nautilus.market.timeframes import timeframe
from nautilus.spans import Spans

MINUTE = 60_000_000_000
AT = 1_704_465_000_000_000_000
INSTRUMENT = (
    "INSERT INTO instruments (con_id, instrument_id, symbol, asset_class, exchange, primary_exchange, currency,"
    " local_symbol, trading_class, expiry, multiplier, min_tick, long_name, time_zone, calendar)"
    " VALUES (1, 'A.X', 'A', 'STK', 'SMART', 'X', 'USD', 'A', 'A', '', '', 0.01, 'A', 'America/New_York', 'X')"
)


def shape(dsn: str) -> list[tuple[object, ...]]:
    """Columns, constraints and indexes."""
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT table_name, column_name, data_type, is_nullable, column_default FROM information_schema.columns"
            " WHERE table_schema = 'public' UNION ALL"
            " SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), '', '' FROM pg_constraint"
            " WHERE connamespace = 'public'::regnamespace UNION ALL"
            " SELECT tablename, indexname, indexdef, '', '' FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1, 2, 3"
        )
        return list(cursor.fetchall())


def run(dsn: str) -> "subprocess.Popen[str]":
    environment = os.environ | {"NAUTILUS_DATABASE_URL": dsn, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        [sys.executable, "-m", "nautilus.db.migrate"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def old_database(dsn: str) -> None:
    """The previous version's schema, with a series whose bar was revised by its writer."""
    migrate.upgrade(dsn, "0002")
    database = Database(dsn, name="old")
    with database.transaction() as cursor:
        cursor.execute(INSTRUMENT)
        series.find_or_make(cursor, 1, timeframe("1m"), price="TRADES", session="rth")
    for price in (10.0, 11.0):
        write(database, price)
    database.close()


def write(database: Database, price: float) -> Written:
    with database.transaction() as cursor:
        found = series.by_id(cursor, 1, lock=True)
        bar = Bar(AT, price, price, price, price, 5.0, price, 1)
        return series.apply_changes(cursor, found, bars=[bar], settled=Spans.of(AT, AT + MINUTE), request_id=1)


def test_two_at_once_from_nothing_make_one_schema(empty_dsn: str, dsn: str) -> None:
    both = [run(empty_dsn), run(empty_dsn)]
    words = [process.communicate(timeout=60)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], words
    assert shape(empty_dsn) == shape(dsn)


def test_two_at_once_from_the_version_before_keep_what_is_there(empty_dsn: str, dsn: str) -> None:
    old_database(empty_dsn)
    both = [run(empty_dsn), run(empty_dsn)]
    words = [process.communicate(timeout=60)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], words
    assert shape(empty_dsn) == shape(dsn)
    with closing(psycopg2.connect(empty_dsn)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT open, changed_at IS NOT NULL FROM bar_revisions")
        assert cursor.fetchall() == [(10.0, True)]
        cursor.execute("SELECT open FROM bars_minute")
        assert cursor.fetchall() == [(11.0,)]


def test_where_changes_were_forgotten_before_versions_are_told_from_the_first_that_is_left(empty_dsn: str) -> None:
    migrate.upgrade(empty_dsn, "0012")
    with closing(psycopg2.connect(empty_dsn)) as connection, connection.cursor() as cursor:
        cursor.execute(INSTRUMENT)
        cursor.execute(
            "INSERT INTO series (con_id, timeframe, price, session, data_version)"
            " SELECT 1, name, 'TRADES', 'rth', 9 FROM unnest(ARRAY['1m', '5m', '1d']) AS name"
        )
        cursor.execute("INSERT INTO series_changes (series_id, version, added) VALUES (1, 4, '{}'), (1, 6, '{}')")
        cursor.execute("UPDATE series SET data_version = 0 WHERE id = 3")
        cursor.execute("UPDATE store SET forgotten_at = now()")
        connection.commit()
        migrate.upgrade(empty_dsn)
        cursor.execute("SELECT series_id, version FROM forgotten_versions ORDER BY 1")
        assert cursor.fetchall() == [(1, 4), (2, 9)]


def test_again_changes_nothing(dsn: str) -> None:
    before = shape(dsn)
    assert migrate.upgrade(dsn).startswith(("plain PostgreSQL", "TimescaleDB 2."))
    assert shape(dsn) == before


def test_a_table_that_is_held_is_tried_again(empty_dsn: str) -> None:
    """The migration gives up its place in the queue, so that those behind it go on, and comes back."""
    old_database(empty_dsn)
    with closing(psycopg2.connect(empty_dsn)) as holder:
        holder.cursor().execute("SELECT 1 FROM bar_revisions")
        thread = threading.Thread(target=migrate.upgrade, args=(empty_dsn,), kwargs={"lock_wait_ms": 100})
        thread.start()
        with closing(psycopg2.connect(empty_dsn)) as watch, watch.cursor() as cursor:
            watch.autocommit = True
            waiters: set[str] = set()
            while len(waiters) < 3 and thread.is_alive():  # three transactions in turn wait for the table
                cursor.execute("SELECT virtualtransaction FROM pg_locks WHERE NOT granted")
                waiters |= {row[0] for row in cursor.fetchall()}
        assert len(waiters) == 3
        holder.rollback()
        thread.join(30)
    with closing(psycopg2.connect(empty_dsn)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT version_num FROM alembic_version")
        assert cursor.fetchone()[0] >= "0003"


def test_a_writer_from_before_works_on_during_and_after(empty_dsn: str) -> None:
    """Its open transaction makes the migration wait, never fail; its next one finds the new column filled."""
    old_database(empty_dsn)
    database = Database(empty_dsn, name="old")
    with database.transaction() as cursor:
        found = series.by_id(cursor, 1, lock=True)
        series.apply_changes(cursor, found, bars=[Bar(AT, 12.0, 12.0, 12.0, 12.0, 5.0, 12.0, 1)], request_id=2)
        process = run(empty_dsn)
        with closing(psycopg2.connect(empty_dsn)) as connection, connection.cursor() as watch:
            waiting = 0
            while not waiting and process.poll() is None:
                watch.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
                waiting = watch.fetchone()[0]
        assert waiting
    assert process.communicate(timeout=60)[0].startswith("the database is up to date")
    assert process.returncode == 0
    assert write(database, 13.0).revised == 1
    with database.transaction(snapshot=True) as cursor:
        cursor.execute("SELECT open, changed_at IS NOT NULL FROM bar_revisions ORDER BY until_version")
        assert [tuple(row) for row in cursor.fetchall()] == [(10.0, True), (11.0, True), (12.0, True)]
    database.close()


MIGRATION = '''
"""{text}"""
from alembic import op

revision = "{revision}"
down_revision = {after!r}
branch_labels = None
depends_on = None
phase = "{phase}"


def upgrade() -> None:
    op.execute("{statement}")
'''


def test_what_removes_waits_for_the_second_half(empty_dsn: str, tmp_path: Path) -> None:
    (tmp_path / "versions").mkdir()
    (tmp_path / "env.py").write_text((migrate.FOLDER / "env.py").read_text())
    steps = (
        ("1", None, "expand", "CREATE TABLE thing (old_name int)"),
        ("2", "1", "expand", "ALTER TABLE thing ADD COLUMN new_name int"),
        ("3", "2", "contract", "ALTER TABLE thing DROP COLUMN old_name"),
    )
    for revision, after, phase, statement in steps:
        text = MIGRATION.format(text=revision, revision=revision, after=after, phase=phase, statement=statement)
        (tmp_path / "versions" / f"{revision}.py").write_text(text)

    def columns() -> list[str]:
        with closing(psycopg2.connect(empty_dsn)) as connection, connection.cursor() as cursor:
            cursor.execute(
                "SELECT attname FROM pg_attribute WHERE attrelid = 'thing'::regclass AND attnum > 0"
                " AND NOT attisdropped ORDER BY 1"
            )
            return [row[0] for row in cursor.fetchall()]

    migrate.upgrade(empty_dsn, phase="expand", folder=tmp_path)
    assert columns() == ["new_name", "old_name"]
    migrate.upgrade(empty_dsn, phase="contract", folder=tmp_path)
    assert columns() == ["new_name"]
    migrate.upgrade(empty_dsn, phase="expand", folder=tmp_path)  # the first half again, by somebody late
    assert columns() == ["new_name"]


def test_every_migration_says_a_phase_that_exists() -> None:
    config = Config()
    config.set_main_option("script_location", str(migrate.FOLDER))
    for script in ScriptDirectory.from_config(config).walk_revisions():
        assert getattr(script.module, "phase", "expand") in ("expand", "contract")
