"""A read replica takes the bars off the primary's hands, and its lag never shows in an answer."""

from collections.abc import Iterator
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from nautilus.bars import Bar
from tests.conftest import Server, execute, unconnected
from tests.shelf import BARS, Api, Shelf, stock
from tests.unit.markets import MINUTE, ns, nyse

NOW = ns("2024-01-12 17:00", "America/New_York")
START, END = ns("2024-01-08 09:30", "America/New_York"), ns("2024-01-08 16:00", "America/New_York")
MARK = 7.25
"""Volume of every bar in the replica, so that an answer tells whose bars it holds."""


def bars(close: float = 100.5) -> list[Bar]:
    return [Bar(ts, 100.0, 101.0, 99.0, close, 10.0, 100.1, 3) for ts in range(START, END, MINUTE)]


class Copy:
    """A copy of the shelf's database as it is now, with a mark on its bars."""

    def __init__(self, server: Server, shelf: Shelf) -> None:
        self._server = server
        self._name = shelf.dsn.rpartition("/")[2].partition("?")[0]
        self.dsn = server.dsn(f"{self._name}_copy")
        self.catch_up(shelf)

    def catch_up(self, shelf: Shelf) -> None:
        self.drop()
        shelf.db.close()
        with unconnected(self._server, self._name):
            execute(self._server, f"CREATE DATABASE {self._name}_copy TEMPLATE {self._name} STRATEGY FILE_COPY")
        with closing(psycopg2.connect(self.dsn)) as connection, connection, connection.cursor() as cursor:
            for table in ("bars_minute", "bar_revisions"):
                cursor.execute(f"UPDATE {table} SET volume = %s", (MARK,))

    def drop(self) -> None:
        execute(self._server, f"DROP DATABASE IF EXISTS {self._name}_copy WITH (FORCE)")


@pytest.fixture
def shelf(dsn: str) -> Iterator[Shelf]:
    made = Shelf(dsn, NOW)
    made.instrument(stock(), nyse(date(2023, 12, 1), 60))
    made.record(stock(), "1m", bars(), settled=[(START, END)])
    yield made
    made.close()


@pytest.fixture
def copy(server: Server, shelf: Shelf) -> Iterator[Copy]:
    made = Copy(server, shelf)
    yield made
    made.drop()


@pytest.fixture
def api(shelf: Shelf, copy: Copy, tmp_path: Path) -> Api:
    return shelf.api(tmp_path, replica_url=copy.dsn)


def read(api: Api, **query: Any) -> tuple[Any, bool]:
    """The answer, and whether a replica gave its bars."""
    asked = {"symbol": "AAPL", "timeframe": "1m", "start": START, "end": END, "wait": 0}
    answer = api.get(BARS, params=asked | query)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    marked = {candle["volume"] for candle in told["candles"]} == {MARK}
    assert ("replica" in answer.headers["server-timing"]) == marked
    return told, marked


def test_bars_come_from_a_replica_that_is_as_far(api: Api) -> None:
    told, marked = read(api)
    assert marked
    assert (told["total"], told["coverage"]["complete"]) == (390, True)
    derived = api.get(BARS, params={"symbol": "AAPL", "timeframe": "30m", "start": START, "end": END})
    assert derived.json()["source"] == "derived from 1m"
    assert {candle["volume"] for candle in derived.json()["candles"]} == {30 * MARK}


def test_what_a_replica_does_not_know_yet_is_read_from_the_primary(shelf: Shelf, copy: Copy, api: Api) -> None:
    revised = bars()[0]._replace(close=100.75)
    shelf.record(stock(), "1m", [revised])
    told, marked = read(api)
    assert not marked
    assert told["candles"][0]["close"] == 100.75
    copy.catch_up(shelf)
    told, marked = read(api)
    assert marked
    assert told["candles"][0]["close"] == 100.75


def test_pages_of_a_walk_may_come_from_either(shelf: Shelf, copy: Copy, api: Api) -> None:
    first, marked = read(api, limit=100)
    assert marked
    shelf.record(stock(), "1m", bars(close=99.5))
    second, marked = read(api, limit=100, page_token=first["next_page_token"])
    assert not marked, "as of the first page's version, which only the primary can tell by now"
    copy.catch_up(shelf)
    third, marked = read(api, limit=1000, page_token=second["next_page_token"])
    assert marked
    candles = [c for page in (first, second, third) for c in page["candles"]]
    assert [(c["ts"], c["close"]) for c in candles] == [(b.ts, b.close) for b in bars()]


def test_a_tag_is_the_primarys(shelf: Shelf, api: Api) -> None:
    query = {"symbol": "AAPL", "timeframe": "1m", "start": START, "end": END}
    tag = api.get(BARS, params=query).headers["etag"]
    assert api.get(BARS, params=query, headers={"if-none-match": tag}).status_code == 304
    shelf.record(stock(), "1m", bars(close=99.5))
    assert api.get(BARS, params=query, headers={"if-none-match": tag}).status_code == 200


def test_without_its_replica_a_read_is_a_read(shelf: Shelf, copy: Copy, api: Api, server: Server) -> None:
    assert read(api)[1]
    copy.drop()
    told, marked = read(api)
    assert (marked, told["total"]) == (False, 390)


def test_another_store_is_no_replica(shelf: Shelf, server: Server, template: str, tmp_path: Path, copy: Copy) -> None:
    """The same series with the same version, and other bars: the store's id tells them apart."""
    with closing(psycopg2.connect(copy.dsn)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("UPDATE store SET id = gen_random_uuid()")
    assert not read(shelf.api(tmp_path, replica_url=copy.dsn))[1]
