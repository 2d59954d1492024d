"""What listeners get while the database is silent: bars go on, and those that closed meanwhile are told again once stored."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from types import SimpleNamespace

import psycopg2
import pytest

from ib_bridge.live.publishing import Publishing
from nautilus.db.bridge import status
from nautilus.db.connection import Database
from nautilus.db.live import provisional
from nautilus.db.live.provisional import ProvisionalBar
from nautilus.infra.bus.redis_streams import RedisReader
from nautilus.log import logger
from nautilus.process.transactions import TransactionRunner
from tests.support.markets import ns

NOON = ns("2026-03-02 17:00")
CHANNEL = "data.bars.AAPL.NASDAQ-1-MINUTE-LAST-EXTERNAL"
OTHER_CHANNEL = "data.bars.THIN.NASDAQ-1-MINUTE-LAST-EXTERNAL"


@pytest.fixture
def made(dsn: str, redis_url: str) -> Iterator[SimpleNamespace]:
    database = Database(dsn, name="test-publishing", size=3)
    with database.transaction() as cursor:
        store = status.store(cursor).id
    publishing = Publishing(
        "b-1",
        transactions=TransactionRunner(database, threads=2),
        redis_url=redis_url,
        kept=list,
        lost=lambda: None,
        log=logger("test", "ERROR"),
    )
    reader = RedisReader(redis_url, store, block_s=0.05)
    reader.read()
    with closing(reader), closing(database):
        yield SimpleNamespace(publishing=publishing, reader=reader, database=database, dsn=dsn)


def tell(publishing: Publishing, minute: int, state: str) -> None:
    ts = NOON + minute * 60_000_000_000
    publishing.outbox.put_bar(ProvisionalBar(1, ts, 1.0, 1.0, 1.0, 1.0, 1.0, 1, state, False, "kutd", ts))
    publishing.outbox.tell("bar", CHANNEL, {"ts": minute, "state": state})


def received(reader: RedisReader) -> list[tuple[int, str]]:
    bodies = [json.loads(entry.body) for entry in reader.read() if entry.kind == "bar"]
    return [(body["ts"], body["state"]) for body in bodies]


def kinds(reader: RedisReader) -> list[str]:
    bodies = [json.loads(entry.body) for entry in reader.read()]
    return [f"{body['t']} {body.get('state', '')}".strip() for body in bodies]


def stored(database: Database) -> list[str]:
    with database.transaction() as cursor:
        return [bar.state for bar in provisional.within(cursor, 1, NOON, NOON + 3_600_000_000_000)]


async def until(publishing: Publishing, condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await publishing.beat(0.0)


def test_a_silent_database_delays_rows_alone_and_what_closed_meanwhile_is_told_again(made: SimpleNamespace) -> None:
    async def play() -> None:
        publishing: Publishing = made.publishing
        tell(publishing, 0, "forming")
        await publishing.beat(0.0)
        assert received(made.reader) == [(0, "forming")]
        with closing(psycopg2.connect(made.dsn)) as other:
            with other.cursor() as cursor:
                cursor.execute("LOCK TABLE live_bars")
            tell(publishing, 0, "closed")
            tell(publishing, 1, "forming")
            await publishing.beat(0.0)
            assert received(made.reader) == [(0, "closed"), (1, "forming")], "bars do not wait for the database"
            tell(publishing, 2, "closed")
            await publishing.beat(0.0)
            assert received(made.reader) == [(2, "closed")]
        again: list[tuple[int, str]] = []

        def both() -> bool:
            again.extend(received(made.reader))
            return len(again) >= 2

        await until(publishing, both)
        assert again == [(0, "closed"), (2, "closed")]
        assert stored(made.database) == ["closed", "forming", "closed"]
        await publishing.beat(0.0)
        assert received(made.reader) == [], "once"
        await publishing.close(0.0)

    asyncio.run(play())


def test_a_bar_that_closed_while_the_database_was_silent_is_published_again_before_it_is_confirmed(
    made: SimpleNamespace,
) -> None:
    """Somebody may have read rows meanwhile that have a part of it: the range alone would make that confirmed."""

    async def play() -> None:
        publishing: Publishing = made.publishing
        tell(publishing, 0, "forming")
        await publishing.beat(0.0)
        with closing(psycopg2.connect(made.dsn)) as other:
            with other.cursor() as cursor:
                cursor.execute("LOCK TABLE live_bars")
            tell(publishing, 0, "closed")
            await publishing.beat(0.0)
            made.reader.read()
            publishing.outbox.tell("confirmed", OTHER_CHANNEL, {})
            await publishing.beat(0.0)
            assert kinds(made.reader) == ["confirmed"], "of another series"
            publishing.outbox.tell("confirmed", CHANNEL, {})
            await publishing.beat(0.0)
            assert kinds(made.reader) == ["bar closed", "confirmed"]
        await until(publishing, lambda: "bar closed" in kinds(made.reader))
        assert stored(made.database) == ["closed"]
        publishing.outbox.tell("confirmed", CHANNEL, {})
        await publishing.beat(0.0)
        assert kinds(made.reader) == ["confirmed"], "its row is stored"
        await publishing.close(0.0)

    asyncio.run(play())


def test_the_last_rows_are_written_though_an_earlier_beat_was_cancelled_while_it_wrote(made: SimpleNamespace) -> None:
    async def play() -> None:
        publishing: Publishing = made.publishing
        tell(publishing, 0, "closed")
        with closing(psycopg2.connect(made.dsn)) as other:
            with other.cursor() as cursor:
                cursor.execute("LOCK TABLE live_bars")
            beat = asyncio.create_task(publishing.beat(0.0))
            await asyncio.sleep(0)
            beat.cancel()
            await asyncio.wait({beat})
            tell(publishing, 1, "closed")
        await publishing.close(0.0)
        assert stored(made.database) == ["closed", "closed"]

    asyncio.run(play())
