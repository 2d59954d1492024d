"""The bridge's way to the database: each call is one transaction in a worker thread, so the event loop never waits."""

import asyncio
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Concatenate, ParamSpec, TypeVar

from nautilus.db.connection import Database
from nautilus.db.cursor import Cursor
from nautilus.db.prepared import Collision

P = ParamSpec("P")
T = TypeVar("T")
_TRIES = 4
"""A transaction that met another one (deadlock, serialization) is tried this often in all."""
_PAUSE_S = 0.05
"""Machine time before the second try, doubled before each further one: the other transaction needs time to end."""


class TransactionRunner:
    """Runs database work off the event loop. Errors are the caller's, `Unavailable` when the database is away."""

    def __init__(self, database: Database, threads: int, sleep: Callable[[float], None] = time.sleep) -> None:
        self.database = database
        self._sleep = sleep
        self._pool = ThreadPoolExecutor(threads, "store")

    async def run(self, work: Callable[Concatenate[Cursor, P], T], *args: P.args, **more: P.kwargs) -> T:
        """`work(cursor, ...)` in one transaction; committed when it returns."""

        def transaction() -> T:
            for attempt in range(_TRIES):
                try:
                    with self.database.transaction() as cursor:
                        return work(cursor, *args, **more)
                except Collision:
                    if attempt == _TRIES - 1:
                        raise
                    # In this thread of the pool; by chance, so that two that collided do not do so again.
                    self._sleep(_PAUSE_S * 2**attempt * random.uniform(0.5, 1.0))
            raise AssertionError("unreachable")

        return await asyncio.get_running_loop().run_in_executor(self._pool, transaction)

    def close(self) -> None:
        self._pool.shutdown(wait=True)
        self.database.close()
