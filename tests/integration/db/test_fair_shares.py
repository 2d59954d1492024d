"""One caller whose questions hang in the database takes nothing from the others but a share."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from contextvars import copy_context
from datetime import date
from pathlib import Path
from typing import Any

import psycopg2
import pytest

import functions.backfill.app
import functions.bars.app
from nautilus.db.bridge import commands
from nautilus.db.connection import Database
from nautilus.db.ledger import job_stopping
from nautilus.http.app import create_app
from nautilus.infra.executors import caller, share
from nautilus.lookup.command_watch import CommandWatch
from nautilus.reading.read_through import Watch
from tests.integration.backfill.test_ledger import Ledger
from tests.support.markets import DAY, MINUTE, ns, nyse
from tests.support.stored_bars import BARS, Api, StoredBars, stock

NOW = ns("2024-01-12 17:00", "America/New_York")
START = ns("2024-01-12 09:30", "America/New_York")
REQUESTED: dict[str, Any] = {"symbol": "AAPL", "timeframe": "1m", "start": START, "end": START + 390 * MINUTE}
DAILY: dict[str, Any] = {"symbol": "AAPL", "timeframe": "1d", "start": START - 30 * DAY, "wait": 0}
STATUS = "/api/v1/historical/backfill/status"


@pytest.fixture
def stored_bars(dsn: str) -> Iterator[StoredBars]:
    made = StoredBars(dsn, NOW)
    made.instrument(stock(), nyse(date(2023, 12, 1), 60))
    made.record_session(START, NOW)
    made.record(stock(), "1d", settled=[(START - 60 * DAY, NOW)])
    yield made
    made.close()


@contextmanager
def locked(dsn: str, table: str) -> Iterator[Any]:
    """Whoever asks a table waits; yields how many do."""
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        cursor.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")

        def waiting() -> int:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = %s::regclass", (table,))
            return int(cursor.fetchone()[0])

        yield waiting


@pytest.mark.parametrize(
    ("table", "path", "requested"),
    [("bars_coarse", BARS, DAILY), ("backfill_jobs", STATUS, {})],
    ids=["reads", "a-route"],
)
def test_another_callers_reads_are_answered_beside_thirty_that_hang(
    stored_bars: StoredBars, tmp_path: Path, table: str, path: str, requested: dict[str, Any]
) -> None:
    known = stored_bars.app(tmp_path, database_pool=8, statement_timeout_ms=120_000).state.services
    api = Api(create_app(functions.bars.app.router, functions.backfill.app.router, services=known))
    one, other = stored_bars.user(1, "bars:read"), stored_bars.user(2, "bars:read")

    async def callers() -> None:
        assert (await api.client.get(BARS, params=REQUESTED, headers=other)).status_code == 200
        with locked(stored_bars.dsn, table) as waiting:
            hanging = [asyncio.create_task(api.client.get(path, params=requested, headers=one)) for _ in range(30)]
            while waiting() < 4:
                await asyncio.sleep(0.02)
            answers = await asyncio.gather(*(api.client.get(BARS, params=REQUESTED, headers=other) for _ in range(10)))
            assert {(a.status_code, a.json().get("total")) for a in answers} == {(200, 390)}
            assert waiting() < 8, "a quarter of the connections is left"
            assert not any(task.done() and task.result().status_code == 200 for task in hanging)
        await asyncio.gather(*hanging)

    api.all(callers())
    api.close()


@contextmanager
def used_up(database: Database, who: str) -> Iterator[None]:
    """All connections that one caller may have are with questions of that caller."""
    with ExitStack() as held:
        context = copy_context()
        context.run(caller.set, who)
        for _ in range(share(database.size)):
            transaction = database.transaction()
            context.run(transaction.__enter__)
            held.callback(transaction.__exit__, None, None, None)
        yield


def test_commands_are_watched_for_all_when_the_first_who_waits_has_used_up_its_share(dsn: str) -> None:
    database = Database(dsn, name="test", size=4)
    watch = CommandWatch(database)
    with database.transaction() as cursor:
        first, second = (
            commands.request(cursor, "resolve", {"symbol": s}, by="x", correlation_id="", expires_s=600) for s in "AB"
        )

    async def work() -> None:
        caller.set("user:1")
        one = asyncio.create_task(watch.ended([first], 600))
        await asyncio.sleep(0)
        caller.set("user:2")
        other = asyncio.create_task(watch.ended([second], 20))
        with used_up(database, "user:1"):
            with closing(psycopg2.connect(dsn)) as bridge, bridge, bridge.cursor() as cursor:
                cursor.execute(
                    "UPDATE bridge_commands SET state = 'done', finished_at = now() WHERE id = %s", (second,)
                )
            assert set(await other) == {second}
        one.cancel()

    asyncio.run(work())
    database.close()


def test_bars_are_watched_for_all_when_the_first_who_waits_has_used_up_its_share(dsn: str) -> None:
    ledger = Ledger(dsn)
    (first, _), (second, _) = ledger.job((0, 10)), ledger.job((20, 30))
    database = Database(dsn, name="test", size=4)
    watch = Watch(database)

    async def work() -> None:
        caller.set("user:1")
        one = asyncio.create_task(watch.changed([], [first], 600))
        await asyncio.sleep(0)
        caller.set("user:2")
        other = asyncio.create_task(watch.changed([], [second], 20))
        with used_up(database, "user:1"):
            with ledger.db.transaction() as cursor:
                job_stopping.stop(cursor, second, None)
                job_stopping.finish_stopping(cursor)
            assert await other
        one.cancel()

    asyncio.run(work())
    database.close()
