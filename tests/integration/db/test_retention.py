"""What the daily command forgets, what it keeps, and what a reader is told of bars that are gone."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import psycopg2
import pytest

from nautilus.clock import NS_PER_DAY, NS_PER_S
from nautilus.coverage.states import CoverageState
from nautilus.db import retention
from nautilus.db.bridge import status as sessions
from nautilus.db.connection import Database
from nautilus.db.cursor import Cursor
from nautilus.db.market import series
from nautilus.db.retention import Kept
from nautilus.db.strategies import sweeps, templates
from nautilus.db.strategies.templates import Template
from nautilus.market.bar import Bar
from nautilus.market.timeframes import timeframe
from nautilus.spans import Spans
from nautilus.strategies.states import Mode
from tests.integration.db.test_migrate import INSTRUMENT
from tests.support.strategy_rows import insert_run

DAY = NS_PER_DAY
FOR_GOOD = Kept(requests=0, revisions=0, audit=0, bars={})


@pytest.fixture
def database(dsn: str) -> Iterator[Database]:
    """Daily and one-minute bars, one a day, of the last hundred days."""
    made = Database(dsn, name="test")
    with made.transaction() as cursor:
        cursor.execute(INSTRUMENT)
        today = sessions.machine_now(cursor) // DAY * DAY
        for name in ("1m", "1d"):
            row = series.find_or_make(cursor, 1, timeframe(name), price="TRADES", session="rth")
            bars = [Bar(today - n * DAY, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1) for n in range(100, 0, -1)]
            series.apply_changes(cursor, row, bars=bars, settled=Spans.of(today - 100 * DAY, today), request_id=1)
    yield made
    made.close()


def query(database: Database, text: str) -> list[tuple[Any, ...]]:
    with database.transaction() as cursor:
        cursor.execute(text)
        return [tuple(row) for row in cursor.fetchall()]


def test_by_default_no_bar_is_forgotten(database: Database) -> None:
    assert set(retention.forget(database, FOR_GOOD).values()) == {0}
    assert query(database, "SELECT count(*) FROM bars_minute") == [(100,)]


def test_bars_of_one_timeframe_go_and_the_range_says_why(database: Database) -> None:
    kept = Kept(0, 0, 0, {"1m": 30})
    assert retention.forget(database, kept)["bars of 1m"] in (70, 71)  # 70 in the first minute of a day
    with database.transaction() as cursor:
        now = sessions.machine_now(cursor)
        row = series.by_id(cursor, 1)
        notes = series.notes(cursor, 1, (0, now))
    assert [(n.state, n.reason, n.expires_at) for n in notes] == [(CoverageState.UNAVAILABLE, "retention", None)]
    assert not row.covered & Spans.of(*notes[0].span)
    assert abs(notes[0].span[1] - (now - 30 * DAY)) < 120 * NS_PER_S
    assert query(database, "SELECT count(*) FROM bars_coarse") == [(100,)]
    assert retention.forget(database, kept)["bars of 1m"] == 0


def test_a_day_later_the_range_grows_and_stays_one(database: Database) -> None:
    for days in (30, 29, 28):
        retention.forget(database, Kept(0, 0, 0, {"1m": days}))
    assert query(database, "SELECT count(*) FROM coverage_notes") == [(1,)]
    assert query(database, "SELECT count(*) FROM bars_minute")[0][0] in (27, 28)


def test_old_rows_of_the_record_go_and_young_ones_stay(database: Database) -> None:
    with database.transaction() as cursor:
        cursor.execute(
            "INSERT INTO ib_requests (login, bridge, kind, identity, contract, small, weight, sent_at, booked_at)"
            " SELECT 'l', 'b', 'bars', '', '', false, 1, 0, now() - make_interval(days => n) FROM generate_series(1, 10) n"
        )
        cursor.execute(
            "INSERT INTO bar_revisions (series_id, ts, until_version, changed_at)"
            " SELECT 1, n, 1, now() - make_interval(days => n) FROM generate_series(1, 20) n"
        )
        cursor.execute(
            "INSERT INTO audit_log (at, action, outcome, actor)"
            " SELECT now() - make_interval(days => n), 'a', 'ok', 'x' FROM generate_series(1, 10) n"
        )
        cursor.execute("UPDATE series_changes SET committed_at = now() - interval '8 days' WHERE series_id = 2")
    gone = retention.forget(database, Kept(requests=4, revisions=7, audit=9, bars={}))
    assert {table: count for table, count in gone.items() if count} == {
        "ib_requests": 7,
        "bar_revisions": 14,
        "series_changes": 1,
        "audit_log": 2,
    }
    assert query(database, "SELECT count(*) FROM ib_requests") == [(3,)]
    assert query(database, "SELECT series_id FROM series_changes") == [(1,)]


def test_requests_that_confirm_live_bars_go_earlier(database: Database) -> None:
    with database.transaction() as cursor:
        cursor.execute(
            "INSERT INTO ib_requests (login, bridge, kind, identity, contract, small, weight, sent_at, booked_at)"
            " SELECT 'l', 'b', kind, '', '', false, 1, 0, now() - make_interval(days => n)"
            " FROM generate_series(1, 20) n, unnest('{bars,confirm,poll,keep-up}'::text[]) kind"
        )
    gone = retention.forget(database, Kept(requests=18, revisions=0, audit=0, bars={}, confirmations=14))
    assert (gone["ib_requests"], gone[retention.CONFIRMATIONS]) == (3 * 4, 4 * 3)
    left = query(database, "SELECT kind, count(*)::int FROM ib_requests GROUP BY kind ORDER BY kind")
    assert left == [("bars", 17), ("confirm", 13), ("keep-up", 13), ("poll", 13)]
    retention.forget(database, FOR_GOOD)
    assert query(database, "SELECT count(*)::int FROM ib_requests") == [(17 + 3 * 13,)]


def test_uploads_of_fills_that_nobody_finished_go_after_a_day(database: Database) -> None:
    with database.transaction() as cursor:
        cursor.execute(
            "INSERT INTO fill_imports (id, account, kind, name, size, sha256, state, by, at, finished_at)"
            " SELECT gen_random_uuid(), 'U1', 'flex', n || state, 1, repeat('0', 64), state, 'user:1',"
            "  now() - make_interval(hours => n), CASE WHEN state IN ('done', 'refused') THEN now() END"
            " FROM unnest('{23,25}'::int[]) n, unnest('{uploading,applying,done,refused}'::text[]) state"
        )
        cursor.execute("INSERT INTO fill_import_parts SELECT id, 1, 'x' FROM fill_imports WHERE finished_at IS NULL")
    assert retention.forget(database, FOR_GOOD)["fill_imports"] == 1
    left = {name for (name,) in query(database, "SELECT name FROM fill_imports")}
    assert left == {"23uploading", *(f"{n}{state}" for n in (23, 25) for state in ("applying", "done", "refused"))}
    assert query(database, "SELECT count(*)::int FROM fill_import_parts") == [(3,)]


def ended(cursor: Cursor, days: int | None, mode: Mode = Mode.BACKTEST, **more: Any) -> UUID:
    """A run that ended so many days ago, or has not, with a row of each kind."""
    run = insert_run(cursor, mode, **more)
    if days is not None:
        cursor.execute(
            "UPDATE strategy_runs SET state = 'stopped', finished_at = now() - make_interval(days => %s) WHERE id = %s",
            (days, run.id),
        )
    for table, columns, values in (
        ("bars", "n, series, opened_ns, closed_ns, open, high, low, close, state", "1, 0, 1, 2, 1, 1, 1, 1, 'closed'"),
        (
            "orders",
            "n, client_order_id, con_id, decided_ns, side, type, quantity, state",
            "1, 'a', 1, 1, 'BUY', 'M', 1, 's'",
        ),
        ("fills", "n, client_order_id, con_id, market_ns, side, quantity, price", "1, 'a', 1, 1, 'BUY', 1, 1"),
        ("equity", "market_ns, equity", "1, 1"),
        ("events", "n, kind", "1, 'log'"),
    ):
        cursor.execute(f"INSERT INTO strategy_{table} (run_id, {columns}) VALUES (%s, {values})", (run.id,))
    return run.id


def test_backtests_and_paper_go_after_their_days_and_live_runs_stay(database: Database) -> None:
    with database.transaction() as cursor:
        old = [ended(cursor, 11), ended(cursor, 11, Mode.PAPER), ended(cursor, 400)]
        left = [ended(cursor, 9), ended(cursor, None), ended(cursor, None, Mode.PAPER), ended(cursor, 400, Mode.LIVE)]
    assert set(retention.forget(database, FOR_GOOD).values()) == {0}
    gone = retention.forget(database, Kept(0, 0, 0, {}, runs=10), batch=2)
    assert (gone["strategy_runs"], gone["strategy_bars"]) == (len(old), len(old))
    assert query(database, "SELECT id FROM strategy_runs ORDER BY id") == [(run,) for run in sorted(left)]
    for table in ("bars", "orders", "fills", "equity", "events"):
        rows = query(database, f"SELECT run_id FROM strategy_{table} ORDER BY run_id")
        assert rows == [(run,) for run in sorted(left)], table
    again = retention.forget(database, Kept(0, 0, 0, {}, runs=10))
    assert {count for table, count in again.items() if table.startswith("strategy_")} == {0}


def test_a_sweep_goes_as_a_whole_when_its_last_run_is_old(database: Database) -> None:
    ids = [uuid4() for _ in range(3)]
    with database.transaction() as cursor:
        for n, sweep in enumerate(ids):
            sweeps.insert(cursor, sweep_id=sweep, owner="user:1", name="", grid={"fast": [1, 2]}, runs=2)
            ended(cursor, 20, sweep_id=sweep, sweep_n=0)
            ended(cursor, (20, 5, None)[n], sweep_id=sweep, sweep_n=1)
        cursor.execute("UPDATE strategy_sweeps SET created_at = now() - interval '30 days'")
    gone = retention.forget(database, Kept(0, 0, 0, {}, runs=10))
    assert (gone["strategy_runs"], gone["strategy_sweeps"]) == (2, 1)
    assert query(database, "SELECT id FROM strategy_sweeps ORDER BY id") == [(one,) for one in sorted(ids[1:])]
    assert query(database, "SELECT count(*)::int FROM strategy_runs") == [(4,)]


def test_a_deleted_configuration_goes_with_the_last_of_its_runs(database: Database) -> None:
    with database.transaction() as cursor:
        templates.replace(cursor, [Template("t", "T", "", "", {}, "built in")])
        cursor.execute(
            "INSERT INTO strategy_configs (id, owner, name, template_id, archived_at)"
            " SELECT gen_random_uuid(), 'user:1', n, 't', CASE WHEN n <> 'mine' THEN now() - interval '20 days' END"
            " FROM unnest('{mine,deleted,deleted but run}'::text[]) n"
        )
        cursor.execute("SELECT id FROM strategy_configs WHERE name = 'deleted but run'")
        ended(cursor, 5, config_id=cursor.fetchone()[0])
    assert retention.forget(database, Kept(0, 0, 0, {}, runs=10))["strategy_configs"] == 1
    left = query(database, "SELECT name FROM strategy_configs ORDER BY name")
    assert left == [("deleted but run",), ("mine",)]


def test_more_than_a_batch_goes_in_batches(database: Database) -> None:
    with database.transaction() as cursor:
        cursor.execute(
            "INSERT INTO audit_log (at, action, outcome, actor)"
            " SELECT now() - interval '3 days', 'a', 'ok', 'x' FROM generate_series(1, 10)"
        )
    assert retention.forget(database, Kept(0, 0, 1, {}), batch=3)["audit_log"] == 10


def test_profit_by_the_minute_goes_after_thirty_days_of_market_time(database: Database) -> None:
    with database.transaction() as cursor:
        now = sessions.market_now(cursor)
        for days in (29, 31, 400):
            cursor.execute("INSERT INTO pnl_minutes (account, minute) VALUES ('SIM1', %s)", (now - days * DAY,))
    assert retention.forget(database, FOR_GOOD)["pnl_minutes"] == 2
    assert query(database, "SELECT minute FROM pnl_minutes") == [(now - 29 * DAY,)]


def is_due(database: Database, *, done: str, now: str, jobs: int = 0) -> bool:
    """Whether it is time, at 05:00, when it was done last and it is now, both as `day hour:minute` of March."""
    with database.transaction() as cursor:
        # The database's clock cannot be set: what happened is moved instead, and the hour of the day.
        cursor.execute("SELECT clock_timestamp() AT TIME ZONE 'UTC' AS now")
        real = cursor.fetchone().now
        body, last = (datetime.strptime(f"2026-03-{text}", "%Y-%m-%d %H:%M") for text in (now, done))
        shift = real.replace(minute=0, second=0, microsecond=0) - body.replace(minute=0)
        cursor.execute("UPDATE store SET forgotten_at = %s AT TIME ZONE 'UTC'", (last + shift,))
        for n in range(jobs):
            cursor.execute(
                "INSERT INTO backfill_jobs (owner, origin, request, fingerprint) VALUES ('x', 'api', '{}', %s)",
                (str(n),),
            )
        found = retention.due(cursor, (5 + real.hour - body.hour) % 24)
        cursor.connection.rollback()
    return found


@pytest.mark.parametrize(
    ("done", "now", "jobs", "due"),
    [
        ("01 05:00", "02 04:00", 0, False),
        ("01 05:00", "02 05:00", 0, True),
        ("02 05:00", "02 05:00", 0, False),
        ("02 05:00", "02 23:00", 0, False),
        ("01 23:00", "02 06:00", 0, True),
        ("01 05:00", "02 06:00", 1, False),  # not while a backfill runs
        ("01 05:00", "03 03:00", 1, False),
        ("01 05:00", "03 04:00", 1, True),  # but some day it must be
    ],
)
def test_it_is_due_once_a_day_and_not_while_a_backfill_runs(
    database: Database, done: str, now: str, jobs: int, due: bool
) -> None:
    assert is_due(database, done=done, now=now, jobs=jobs) is due


def test_a_new_store_is_left_alone(database: Database) -> None:
    with database.transaction() as cursor:
        # Made a minute from now: an hour of the real clock may begin while this test runs.
        cursor.execute("UPDATE store SET created_at = clock_timestamp() + interval '1 minute'")
        assert not any(retention.due(cursor, hour) for hour in range(24))
        cursor.execute("UPDATE store SET created_at = clock_timestamp() - interval '25 hours'")
        assert all(retention.due(cursor, hour) for hour in range(24))


def test_two_at_a_time_never_do_and_who_is_stopped_has_not_done_it(database: Database, dsn: str) -> None:
    with closing(psycopg2.connect(dsn)) as other, other.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", (retention._LOCK,))
        with pytest.raises(retention.Busy):
            retention.run(dsn, FOR_GOOD)
    retention.run(dsn, FOR_GOOD, stopped=lambda: True)
    assert query(database, "SELECT forgotten_at FROM store") == [(None,)]
    retention.run(dsn, FOR_GOOD)
    assert query(database, "SELECT forgotten_at IS NULL FROM store") == [(False,)]


@pytest.mark.parametrize(
    ("settings", "status", "words"),
    [
        ({}, 0, "bars of 1m: 70 rows forgotten|bars of 1m: 71 rows forgotten"),
        ({"NAUTILUS_KEEP_BARS_DAYS": "1x=3"}, 2, "1x=3"),
        ({"NAUTILUS_KEEP_REVISIONS_DAYS": "2"}, 2, "at least 7"),
    ],
)
def test_the_command(database: Database, dsn: str, settings: dict[str, str], status: int, words: str) -> None:
    environment = os.environ | {"NAUTILUS_DATABASE_URL": dsn, "PYTHONPATH": os.pathsep.join(sys.path)}
    environment |= {"NAUTILUS_KEEP_BARS_DAYS": "1m=30"} | settings
    command = [sys.executable, "-m", "nautilus.db.retention"]
    body = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert body.returncode == status, body.stderr
    assert any(part in body.stdout + body.stderr for part in words.split("|"))
