"""A database host that accepts connections and says nothing: everybody hears 503 as soon as the first one does."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx
import psycopg2
import pytest

from nautilus.auth.api_keys import new_key
from nautilus.db.connection import Database, readable
from nautilus.db.deadlines import Deadlines
from nautilus.errors import Unavailable
from tests.support.markets import ns
from tests.support.neighbours import relay
from tests.support.stored_bars import BARS, Api, StoredBars

NOW = ns("2024-01-12 17:00", "America/New_York")
REQUESTED = {"symbol": "AAPL", "timeframe": "1m"}


def test_six_requests_with_a_token_read_the_deny_list_once(dsn: str, tmp_path: Path) -> None:
    stored_bars = StoredBars(dsn, NOW)
    with relay() as silent:
        api = stored_bars.api(tmp_path, database_url=silent.before(dsn))
        headers = stored_bars.user(1, "bars:read")
        answers = api.all(*(api.client.get(BARS, params=REQUESTED, headers=headers) for _ in range(6)))
        assert {(a.status_code, a.json()["code"]) for a in answers} == {(503, "database-unavailable")}
        assert silent.accepted == 1, "each connection takes its time-out of three seconds"
    stored_bars.close()


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


def test_a_server_that_falls_silent_over_a_statement_is_not_waited_for_for_ever(dsn: str) -> None:
    """As when it is frozen, or the network is cut: connections are open, the server's own time limits are not kept."""
    with relay(dsn) as between:
        database = Database(between.before(dsn), name="nautilus-test", size=3, statement_timeout_ms=200)
        both = threading.Barrier(3)

        def ask(_: int) -> None:
            with database.transaction(snapshot=True) as cursor:
                both.wait(20)
                cursor.execute("SELECT 1")

        with ThreadPoolExecutor(3) as threads:
            list(threads.map(ask, range(3)))
            between.hang()
            requested = [threads.submit(ask, n) for n in range(3)]
            try:
                assert {type(each.exception(timeout=60)) for each in requested} == {Unavailable}
                assert {each.exception().code for each in requested} == {"database-unavailable"}  # type: ignore[union-attr]
            finally:
                between.heal()
        assert _answered(database)
        database.close()


def test_what_an_idle_connection_has_to_say_is_not_waited_for_for_ever(dsn: str) -> None:
    """Data waits on it, so it is asked whether it still lives before it is used; its server hangs by then."""
    with relay(dsn) as between, closing(psycopg2.connect(dsn)) as other:
        database = Database(between.before(dsn), name="nautilus-test", size=1, statement_timeout_ms=200)
        with database.transaction() as cursor:
            cursor.execute("LISTEN hung_database")
            idle = cursor.connection
        with other, other.cursor() as cursor:
            cursor.execute("NOTIFY hung_database")
        assert readable(idle, 20)
        between.hang()
        assert _refusals(database, 1) == {"database-unavailable"}
        between.heal()
        database.close()


def test_a_watch_that_found_no_thread_begins_with_the_next_statement(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_thread(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    deadlines = Deadlines(interval_s=0.05)
    with closing(Database(dsn, name="nautilus-test").connect()) as connection, connection.cursor() as cursor:
        with monkeypatch.context() as exhausted:
            exhausted.setattr(threading.Thread, "start", no_thread)
            with pytest.raises(RuntimeError, match="new thread"), deadlines.over(connection, 60):
                cursor.execute("SELECT 1")
        with pytest.raises(psycopg2.Error), deadlines.over(connection, 0):
            cursor.execute("SELECT pg_sleep(10)")
        assert connection.broken_off


def test_a_statement_within_its_time_is_not_broken_off(dsn: str) -> None:
    database = Database(dsn, name="nautilus-test", size=1, statement_timeout_ms=60_000)
    with database.transaction() as cursor:
        cursor.execute("SELECT pg_sleep(2.5)")
        cursor.execute("SELECT 1")
        assert cursor.fetchone()[0] == 1
    database.close()


def test_requests_with_a_key_fail_together(dsn: str, tmp_path: Path) -> None:
    stored_bars = StoredBars(dsn, NOW)
    with relay() as silent:
        api: Api = stored_bars.api(tmp_path, database_url=silent.before(dsn), database_pool=2)
        headers = {"X-API-Key": new_key().text}
        answers: list[httpx.Response] = api.all(
            *(api.client.get(BARS, params=REQUESTED, headers=headers) for _ in range(8))
        )
        assert {a.json()["code"] for a in answers} == {"database-unavailable"}
        assert silent.accepted <= 2
    stored_bars.close()


def test_a_database_that_is_back_is_asked_again(dsn: str) -> None:
    with relay(dsn) as between:
        database = Database(between.before(dsn), name="nautilus-test", size=1)
        between.hang()
        assert _refusals(database, 1) == {"database-unavailable"}
        between.heal()
        assert _answered(database)
        database.close()


def _answered(database: Database) -> bool:
    """Ask until there is an answer."""
    while True:
        try:
            with database.transaction(snapshot=True) as cursor:
                cursor.execute("SELECT 1")
                return bool(cursor.fetchone()[0] == 1)
        except Unavailable:
            time.sleep(0.05)
