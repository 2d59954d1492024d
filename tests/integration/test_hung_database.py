"""A database host that accepts connections and says nothing: everybody hears 503 as soon as the first one does."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from nautilus.api_keys import new_key
from nautilus.db.connection import Database
from nautilus.errors import Unavailable
from tests.neighbours import relay
from tests.shelf import BARS, Api, Shelf
from tests.unit.markets import ns

NOW = ns("2024-01-12 17:00", "America/New_York")
ASKED = {"symbol": "AAPL", "timeframe": "1m"}


def test_six_requests_with_a_token_read_the_deny_list_once(dsn: str, tmp_path: Path) -> None:
    shelf = Shelf(dsn, NOW)
    with relay() as silent:
        api = shelf.api(tmp_path, database_url=silent.before(dsn))
        headers = shelf.user(1, "bars:read")
        answers = api.all(*(api.client.get(BARS, params=ASKED, headers=headers) for _ in range(6)))
        assert {(a.status_code, a.json()["code"]) for a in answers} == {(503, "database-unavailable")}
        assert silent.accepted == 1, "each connection takes its time-out of three seconds"
    shelf.close()


def test_a_connection_that_failed_slowly_is_not_tried_by_all_of_a_pool(dsn: str) -> None:
    with relay() as silent:
        database = Database(silent.before(dsn), name="nautilus-test", size=2)
        codes = _refusals(database, 12)
        assert codes == {"database-unavailable"}
        assert silent.accepted <= 2, "those who found a free place tried; the others shared their failure"


def _refusals(database: Database, number: int) -> set[str]:
    def ask() -> str:
        with pytest.raises(Unavailable) as refused, database.transaction() as cursor:
            cursor.execute("SELECT 1")
        return refused.value.code

    with ThreadPoolExecutor(number) as threads:
        return {future.result() for future in [threads.submit(ask) for _ in range(number)]}


def test_requests_with_a_key_fail_together(dsn: str, tmp_path: Path) -> None:
    shelf = Shelf(dsn, NOW)
    with relay() as silent:
        api: Api = shelf.api(tmp_path, database_url=silent.before(dsn), database_pool=2)
        headers = {"X-API-Key": new_key().text}
        answers: list[httpx.Response] = api.all(
            *(api.client.get(BARS, params=ASKED, headers=headers) for _ in range(8))
        )
        assert {a.json()["code"] for a in answers} == {"database-unavailable"}
        assert silent.accepted <= 2
    shelf.close()


def test_a_database_that_is_back_is_asked_again(dsn: str) -> None:
    with relay(dsn) as between:
        database = Database(between.before(dsn), name="nautilus-test", size=1)
        between.hang()
        assert _refusals(database, 1) == {"database-unavailable"}
        between.heal()
        found = None
        while found is None:
            try:
                with database.transaction(snapshot=True) as cursor:
                    cursor.execute("SELECT 1")
                    found = cursor.fetchone()[0]
            except Unavailable:
                continue
        assert found == 1
        database.close()
