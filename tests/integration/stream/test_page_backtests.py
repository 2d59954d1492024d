"""The progress of back-tests over `/ws/realtime`: to pages that follow them and may see them, until they are over."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from nautilus.db.connection import Database
from tests.integration.stream.test_old_front_end import page
from tests.support.strategy_rows import insert_run
from tests.support.stream_server import StreamServer, wait


@pytest.fixture
def running(dsn: str, tmp_path: Path) -> Iterator[StreamServer]:
    made = StreamServer(dsn, tmp_path)
    yield made
    made.stop()


def moved(database: Database, number: object, values: str) -> None:
    with database.transaction() as cursor:
        cursor.execute(f"UPDATE strategy_runs SET version = version + 1, {values} WHERE id = %s", (number,))


def test_a_page_gets_the_progress_of_its_back_test_until_the_end(running: StreamServer, dsn: str) -> None:
    database = Database(dsn, name="test-page-backtests", size=2)
    with database.transaction() as cursor:
        row, other = insert_run(cursor), insert_run(cursor, owner="user:2")
    headers = {"Authorization": f"Bearer {running.token(1, 'orders:read')}"}
    with page(running, **headers) as one:
        for number in (row.id, other.id, "none"):
            one.send(type="subscribe_backtest_progress", backtestId=str(number))
        assert one.next("messagebus", "backtest_progress")["payload"]["data"]["status"] == "queued"
        moved(database, row.id, "state = 'running', bars_done = 39, bars_total = 390")
        found = one.next("messagebus", "backtest_progress")["payload"]
        assert (found["backtestId"], found["data"]["progress"], found["data"]["barsDone"]) == (str(row.id), 0.1, 39)
        moved(database, row.id, "state = 'completed', finished_at = now(), metrics = '{\"total_pnl\": \"7\"}'")
        found = one.next("messagebus", "backtest_complete")["payload"]
        assert (found["data"]["progress"], found["data"]["results"]) == (1.0, {"total_pnl": "7"})
        assert str(other.id) not in str(one.received)
    wait(lambda: not running.stream.page_backtests._followed, "nothing is read for pages that are gone")
    database.close()
