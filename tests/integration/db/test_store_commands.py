"""make backup, restore, verify and forget: a copy that is whole, restored beside the old one and proven."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from dev import store
from nautilus.db import migrate
from nautilus.db.connection import Database
from tests.conftest import Server, execute
from tests.integration.db.test_migrate import old_database
from tests.integration.db.test_verify import database, lose_a_day

__all__ = ["database"]  # the fixture: a week of bars, covered
NAME = f"restored_of_test_{os.getpid()}"


@pytest.fixture
def restored(server: Server) -> Iterator[str]:
    yield server.dsn(NAME)
    execute(server, f"DROP DATABASE IF EXISTS {NAME} WITH (FORCE)")


def rows(dsn: str, query: str) -> list[tuple[object, ...]]:
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        return list(cursor.fetchall())


def command(*words: str) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    full = [sys.executable, "-m", "dev.store", *words]
    return subprocess.run(full, env=environment, capture_output=True, text=True, check=False)


EVERYTHING = (
    "SELECT * FROM bars_minute ORDER BY ts",
    "SELECT * FROM series ORDER BY id",
    "SELECT * FROM coverage_notes ORDER BY id",
    "SELECT source, created_at, forgotten_at FROM store",
    "SELECT * FROM trading_sessions ORDER BY open_ns",
)


def test_what_is_restored_is_what_was_there_and_is_proven(
    database: Database, dsn: str, restored: str, tmp_path: Path
) -> None:
    file = tmp_path / "copy.dump"
    assert command("backup", str(file), "--url", dsn).returncode == 0
    body = command("restore", str(file), "--url", dsn, "--into", NAME)
    assert body.returncode == 0, body.stderr
    assert "1 series, 15 bars" in body.stdout
    for query in EVERYTHING:
        assert rows(restored, query) == rows(dsn, query)
    # From here on both number the versions of their series alike: what is kept of one must not pass for the other's.
    assert rows(restored, "SELECT id FROM store") != rows(dsn, "SELECT id FROM store")
    with closing(psycopg2.connect(restored)) as connection, connection.cursor() as cursor:  # identities go on
        cursor.execute("INSERT INTO audit_log (action, outcome, actor) VALUES ('a', 'ok', 'x')")
    again = command("restore", str(file), "--url", dsn, "--into", NAME)
    assert again.returncode == 1
    assert "already exists" in again.stderr
    assert rows(restored, "SELECT count(*) FROM bars_minute") == [(15,)]  # and the one that is there stays


def test_what_was_harmed_before_the_copy_is_told_after_it(
    database: Database, dsn: str, restored: str, tmp_path: Path
) -> None:
    with database.transaction() as cursor:
        lose_a_day(cursor)
    store.backup(dsn, tmp_path / "copy")
    assert [f.kind for f in store.restore(dsn, tmp_path / "copy", NAME).findings] == ["covered_without_bars"]


def test_a_copy_of_the_version_before_is_brought_to_this_one(empty_dsn: str, restored: str, tmp_path: Path) -> None:
    old_database(empty_dsn)
    store.backup(empty_dsn, tmp_path / "copy")
    report = store.restore(empty_dsn, tmp_path / "copy", NAME)
    assert report.bars == 1
    newest = rows(restored, "SELECT version_num FROM alembic_version")
    migrate.upgrade(empty_dsn)
    assert rows(empty_dsn, "SELECT version_num FROM alembic_version") == newest


def test_a_broken_copy_leaves_no_database_behind(dsn: str, tmp_path: Path) -> None:
    store.backup(dsn, tmp_path / "copy")
    whole = (tmp_path / "copy").read_bytes()
    (tmp_path / "copy").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(store.Failed, match="pg_restore"):
        store.restore(dsn, tmp_path / "copy", NAME)
    assert rows(dsn, f"SELECT 1 FROM pg_database WHERE datname = '{NAME}'") == []
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]


def test_verify_and_forget_reach_the_database_that_is_named(database: Database, dsn: str, tmp_path: Path) -> None:
    assert command("verify", "--url", dsn).stdout.endswith("nothing is wrong\n")
    with database.transaction() as cursor:
        lose_a_day(cursor)
    assert command("verify", "--url", dsn).returncode == 1
    assert command("verify", "--url", dsn, "--repair").returncode == 0
    assert "audit_log: 0 rows forgotten" in command("forget", "--url", dsn).stdout
    body = command("verify", "--data", str(tmp_path))
    assert body.returncode == 1
    assert "make up" in body.stderr
