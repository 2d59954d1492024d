"""While Redis or a replica is asked, no transaction of the primary is open, whatever they do; and what falls back on the
primary leaves connections to the others."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import psycopg2
import pytest

from tests.support.markets import MINUTE, ns, nyse
from tests.support.neighbours import Relay, relay
from tests.support.replication import wait_for
from tests.support.stored_bars import BARS, Api, StoredBars, stock

NOW = ns("2024-01-12 17:00", "America/New_York")
START = ns("2024-01-12 09:30", "America/New_York")
REQUESTED: dict[str, Any] = {"symbol": "AAPL", "timeframe": "1m", "start": START, "end": START + 390 * MINUTE}
LISTING = "/api/v1/market-data/instruments"


@pytest.fixture
def stored_bars(dsn: str) -> Iterator[StoredBars]:
    made = StoredBars(dsn, NOW)
    made.instrument(stock(), nyse(date(2023, 12, 1), 60))
    made.record_session(START, NOW)
    yield made
    made.close()


class Transactions:
    """Looks at the primary each time that a neighbour is sent something: how many transactions of the API are open."""

    def __init__(self, dsn: str) -> None:
        self._connection = psycopg2.connect(dsn)
        self._connection.autocommit = True
        self.open: list[int] = []

    def check(self, _: bytes = b"") -> None:
        self.open.append(self.count("xact_start IS NOT NULL"))

    def count(self, condition: str) -> int:
        with self._connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                f" AND application_name = 'nautilus-test' AND {condition}"
            )
            return int(cursor.fetchone()[0])

    def close(self) -> None:
        self._connection.close()


def read(api: Api, **more: Any) -> httpx.Response:
    answer = api.get(BARS, params=REQUESTED | more, headers={"Accept-Encoding": "gzip"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["total"] == 390
    return answer


def test_redis_is_asked_and_told_outside_of_the_snapshot(
    stored_bars: StoredBars, redis_url: str, tmp_path: Path
) -> None:
    with relay(redis_url) as between, closing(Transactions(stored_bars.dsn)) as transactions:
        between.overheard = transactions.check
        api = stored_bars.api(tmp_path, redis_url=between.before(redis_url))
        wait_for(lambda: "cache;desc=hit" in read(api).headers["server-timing"], "an answer out of Redis")
    assert len(transactions.open) >= 3
    assert set(transactions.open) == {0}


def test_the_replica_is_asked_outside_of_the_snapshot(stored_bars: StoredBars, tmp_path: Path) -> None:
    with relay(stored_bars.dsn) as between, closing(Transactions(stored_bars.dsn)) as transactions:
        # A primary is no replica; what it is asked first is enough here.
        between.overheard = transactions.check
        read(stored_bars.api(tmp_path, replica_url=between.before(stored_bars.dsn)))
    assert transactions.open[0] == 0, "before the replica was even greeted"


def test_reads_that_wait_for_a_hung_replica_keep_nothing_from_the_others(
    stored_bars: StoredBars, tmp_path: Path
) -> None:
    """Of two connections to the primary two reads hold none while the replica says nothing."""
    with relay() as silent, closing(Transactions(stored_bars.dsn)) as transactions:
        api = stored_bars.api(tmp_path, replica_url=silent.before(stored_bars.dsn), database_pool=2)

        async def callers() -> list[int]:
            reads = [asyncio.create_task(api.client.get(BARS, params=REQUESTED)) for _ in range(2)]
            while not silent.accepted:
                await asyncio.sleep(0.005)
            held = [transactions.count("xact_start IS NOT NULL") for _ in range(5)]
            answers = await asyncio.gather(*reads)
            assert {answer.status_code for answer in answers} == {200}
            assert {answer.json()["total"] for answer in answers} == {390}
            return held

        assert min(api.all(callers())[0]) == 0
        requested = silent.accepted
        for _ in range(5):
            read(api)
        assert silent.accepted <= requested + 1, "one read finds out whether it is well; nobody waits for that"


def test_what_falls_back_on_the_primary_leaves_half_of_its_connections(stored_bars: StoredBars, tmp_path: Path) -> None:
    with (
        relay() as silent,
        closing(psycopg2.connect(stored_bars.dsn)) as other,
        closing(Transactions(stored_bars.dsn)) as transactions,
    ):
        api = stored_bars.api(tmp_path, replica_url=silent.before(stored_bars.dsn), database_pool=4)
        read(api)  # the replica has failed
        other.cursor().execute("LOCK TABLE bars_minute IN ACCESS EXCLUSIVE MODE")

        async def callers() -> None:
            reads = [asyncio.create_task(api.client.get(BARS, params=REQUESTED)) for _ in range(8)]
            while transactions.count("wait_event_type = 'Lock'") < 2:
                await asyncio.sleep(0.01)
            listing = await api.client.get(LISTING)
            assert (listing.status_code, transactions.count("wait_event_type = 'Lock'")) == (200, 2)
            other.rollback()
            assert {answer.status_code for answer in await asyncio.gather(*reads)} == {200}

        api.all(callers())


def test_a_redis_that_hangs_is_soon_left_alone(stored_bars: StoredBars, redis_url: str, tmp_path: Path) -> None:
    with relay(redis_url) as between:
        api = stored_bars.api(tmp_path, redis_url=between.before(redis_url), reads_per_minute=1_000_000)
        read(api)
        between.hang()
        for _ in range(3):
            read(api)
        tried = between.accepted
        for _ in range(5):
            read(api)
        assert between.accepted <= tried + 1


def test_a_relay_hangs_for_who_is_connected_already(redis_url: str) -> None:
    """The test's own tool: a connection that worked gets no answer any more."""
    import redis

    def ping(through: Relay) -> bool:
        with redis.Redis.from_url(through.before(redis_url), socket_timeout=0.5) as client:
            return bool(client.ping())

    with relay(redis_url) as between:
        assert ping(between)
        between.hang()
        with pytest.raises(redis.TimeoutError):
            ping(between)
        between.heal()
        assert ping(between)
