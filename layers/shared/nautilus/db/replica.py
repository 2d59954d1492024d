"""Reading from a read replica, which may lag behind, fail, or be something else by now: then it just gives nothing."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, TypeVar

import psycopg2

from nautilus.db.bars import read
from nautilus.db.connection import Database
from nautilus.db.cursor import Cursor
from nautilus.db.deadlines import Deadlines
from nautilus.errors import Unavailable
from nautilus.infra.breaker import Breaker
from nautilus.infra.executors import Executor

T = TypeVar("T")
FIRST_REST_S = 1.0
"""How long a replica that failed is left alone; twice as long after each further failure."""
LONGEST_REST_S = 30.0
PATIENCE_S = 1.0
"""How long a read waits for the replica's first word; most of a healthy one's come within milliseconds."""
LONGEST_READ_S = 10.0
"""Then the read goes to the primary, while most of the 29 s that a function has are left."""
INTERVAL_S = 1.0
"""How often it is looked whether a read takes longer than that."""

_log = logging.getLogger(__name__)


class _Word:
    """What the thread of a read tells those who wait for it: when it begins, and that the replica has answered."""

    def __init__(self) -> None:
        self.began: float | None = None
        self.answered: Future[None] = Future()


class Replica:
    """The replica of one process, None: there is none. Safe to share between threads.

    Reads run in threads of their own, without a connection of the primary. One that gets no word within `patience_s` is
    answered by the primary, and so are all others from then on until the replica is well: whether it is, reads in the
    background find out.

    A read that replay got in the way of (a "recovery conflict") is no different from one whose server died: mostly
    PostgreSQL ends the connection, and no word of why arrives. So a failure costs a short rest, and only one after the
    other makes it long.
    """

    def __init__(
        self,
        database: Database | None,
        *,
        patience_s: float = PATIENCE_S,
        longest_read_s: float = LONGEST_READ_S,
        interval_s: float = INTERVAL_S,
        breaker: Breaker | None = None,
    ) -> None:
        self._database = database
        self._patience_s = patience_s
        self._longest_read_s = longest_read_s
        self._deadlines = Deadlines(interval_s)
        self._breaker = breaker or Breaker(FIRST_REST_S, LONGEST_REST_S)
        self._threads = Executor("replica", database.size if database else 1)

    @property
    def configured(self) -> bool:
        return self._database is not None

    @property
    def resting(self) -> bool:
        """True while it is left alone after a failure."""
        return self._breaker.resting

    async def read(self, store_id: str, versions: Mapping[int, int], call: Callable[[Cursor], T]) -> T | None:
        """What `call` makes of a snapshot of the replica in which the series, by id, have these versions; None when it is
        not that far, is no replica of that store, fails, says nothing or rests."""
        ill = self._breaker.rest_s > 0
        if not self.configured or not versions or not self._breaker.admits():
            return None
        word = _Word()
        pages = asyncio.ensure_future(self._threads.run(self._read, store_id, versions, call, word))
        if ill:
            # Nobody waits for a replica that failed before: this read only finds out whether it is well.
            pages.add_done_callback(_seen)
            return None
        either: set[asyncio.Future[Any]] = {pages, asyncio.wrap_future(word.answered)}
        await asyncio.wait(either, timeout=self._patience_s, return_when=asyncio.FIRST_COMPLETED)
        if pages.done() or word.answered.done():
            return await pages
        pages.add_done_callback(_seen)
        if word.began is not None:
            self._fail(word.began, TimeoutError(f"it said nothing for {self._patience_s:g} s"))
        return None

    def _read(self, store_id: str, versions: Mapping[int, int], call: Callable[[Cursor], T], word: _Word) -> T | None:
        assert self._database is not None  # noqa: S101  for the type checker: `read` has looked
        word.began = began = self._breaker.clock()
        found = None
        try:
            with (
                self._database.transaction(snapshot=True) as cursor,
                self._deadlines.over(cursor.connection, self._longest_read_s),
            ):
                same = read.is_same(cursor, store_id, versions)
                word.answered.set_result(None)
                found = call(cursor) if same else None
                cursor.end("COMMIT")
        except (Unavailable, psycopg2.Error) as failure:  # the second: it has another schema, or broken pages, or ...
            self._fail(began, failure)
            return None
        if self._breaker.succeeded(began):
            _log.info("replica-recovered")
        return found

    def _fail(self, began: float, failure: Exception) -> None:
        if self._breaker.failed(began):
            reason = str(failure).partition("\n")[0]
            _log.warning("replica-failed: left alone for %g s: %s", self._breaker.rest_s, reason)


def _seen(reading: "asyncio.Future[Any]") -> None:
    """Take the outcome of a read that nobody waits for."""
    if not reading.cancelled():
        reading.exception()
