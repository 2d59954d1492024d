"""A process with more than a thousand open files works as one with ten."""

import asyncio
import os
import resource
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from nautilus.db.connection import Database
from nautilus.db.ledger.jobs import CHANNEL
from nautilus.log import logger
from nautilus.process.notify import Listener

MANY = 1_100


@pytest.fixture
def many_files() -> Iterator[None]:
    """So many files are open that new ones get numbers above 1,023."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MANY + 200
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"this machine allows {hard} open files only")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    with ExitStack() as files:
        for _ in range(MANY):
            files.callback(os.close, os.open(os.devnull, os.O_RDONLY))
        yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_every_transaction_works(many_files: None, dsn: str) -> None:
    database = Database(dsn, name="nautilus-test", size=2)
    for number in range(6):
        with database.transaction(snapshot=number % 2 == 0) as cursor:
            cursor.execute("SELECT %s", (number,))
            assert cursor.fetchone()[0] == number
            assert cursor.connection.fileno() > 1_023
    database.close()


def test_a_connection_that_was_ended_while_idle_is_still_noticed(many_files: None, dsn: str) -> None:
    database, other = Database(dsn, name="nautilus-test", size=1), Database(dsn, name="nautilus-other", size=1)
    with database.transaction() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        pid = cursor.fetchone()[0]
    with other.transaction() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
    with database.transaction() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        assert cursor.fetchone()[0] != pid
    database.close()
    other.close()


def test_the_bridge_hears_of_work(many_files: None, dsn: str) -> None:
    database = Database(dsn, name="nautilus-test", size=1)

    async def woken_by_notify() -> None:
        woken = asyncio.Event()
        listener = Listener(database, {CHANNEL: woken.set}, logger("test", "WARNING"))
        listener.start(asyncio.get_running_loop())
        try:
            async with asyncio.timeout(20):
                while not woken.is_set():
                    await asyncio.to_thread(notify)
                    await asyncio.sleep(0.05)
        finally:
            await asyncio.to_thread(listener.stop)

    def notify() -> None:
        with database.transaction() as cursor:
            cursor.execute(f"NOTIFY {CHANNEL}")

    asyncio.run(woken_by_notify())
    database.close()
