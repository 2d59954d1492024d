"""One caller whose questions hang in the database takes nothing from the others but a share."""

import asyncio
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import psycopg2
import pytest

import functions.backfill.app
import functions.bars.app
from nautilus.web import create_app
from tests.shelf import BARS, Api, Shelf, stock
from tests.unit.markets import DAY, MINUTE, ns, nyse

NOW = ns("2024-01-12 17:00", "America/New_York")
START = ns("2024-01-12 09:30", "America/New_York")
ASKED: dict[str, Any] = {"symbol": "AAPL", "timeframe": "1m", "start": START, "end": START + 390 * MINUTE}
DAILY: dict[str, Any] = {"symbol": "AAPL", "timeframe": "1d", "start": START - 30 * DAY, "wait": 0}
STATUS = "/api/v1/historical/backfill/status"


@pytest.fixture
def shelf(dsn: str) -> Iterator[Shelf]:
    made = Shelf(dsn, NOW)
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
    ("table", "path", "asked"), [("bars_coarse", BARS, DAILY), ("backfill_jobs", STATUS, {})], ids=["reads", "a-route"]
)
def test_another_callers_reads_are_answered_beside_thirty_that_hang(
    shelf: Shelf, tmp_path: Path, table: str, path: str, asked: dict[str, Any]
) -> None:
    known = shelf.app(tmp_path, database_pool=8, statement_timeout_ms=120_000).state.services
    api = Api(create_app(functions.bars.app.router, functions.backfill.app.router, services=known))
    one, other = shelf.user(1, "bars:read"), shelf.user(2, "bars:read")

    async def crowd() -> None:
        assert (await api.client.get(BARS, params=ASKED, headers=other)).status_code == 200
        with locked(shelf.dsn, table) as waiting:
            hanging = [asyncio.create_task(api.client.get(path, params=asked, headers=one)) for _ in range(30)]
            while waiting() < 4:
                await asyncio.sleep(0.02)
            answers = await asyncio.gather(*(api.client.get(BARS, params=ASKED, headers=other) for _ in range(10)))
            assert {(a.status_code, a.json().get("total")) for a in answers} == {(200, 390)}
            assert waiting() < 8, "a quarter of the connections is left"
            assert not any(task.done() and task.result().status_code == 200 for task in hanging)
        await asyncio.gather(*hanging)

    api.all(crowd())
    api.close()
