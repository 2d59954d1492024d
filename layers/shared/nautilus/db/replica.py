"""Reading from a read replica, which may lag behind, fail, or be something else by now: then it just gives nothing."""

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import psycopg2

from nautilus.breaker import Breaker
from nautilus.db import reading
from nautilus.db.connection import Cursor, Database
from nautilus.errors import Unavailable

T = TypeVar("T")
FIRST_REST_S = 1.0
"""How long a replica that failed is left alone; twice as long after each further failure."""
LONGEST_REST_S = 30.0
LONGEST_READ_S = 10.0
"""Then the primary is asked, while most of the 29 s that a function has are left."""
_LOOK_S = 1.0

_log = logging.getLogger(__name__)


class Replica:
    """The replica of one process, None: there is none. Safe to share between threads.

    A read that replay got in the way of (a "recovery conflict") is no different from one whose server died: mostly
    PostgreSQL ends the connection, and no word of why arrives. So a failure costs a short rest, and only one after the
    other makes it long.
    """

    def __init__(self, database: Database | None) -> None:
        self._database = database
        self._watch = _Watch()
        self._breaker = Breaker(FIRST_REST_S, LONGEST_REST_S)

    def read(self, store_id: str, versions: Mapping[int, int], call: Callable[[Cursor], T]) -> T | None:
        """What `call` makes of a snapshot of the replica in which the series, by id, have these versions; None when it is
        not that far, is no replica of that store, fails or rests."""
        if self._database is None or not versions or not self._breaker.admits():
            return None
        began = self._breaker.clock()
        try:
            with self._database.transaction(snapshot=True) as cursor, self._watch.over(cursor.connection):
                found = call(cursor) if reading.is_same(cursor, store_id, versions) else None
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


class _Watch:
    """Breaks off reads that take too long. A server whose disk hangs says nothing, not even that a statement's time is
    over, and a network that is cut is noticed after minutes. One thread looks at all reads, as long as there are any."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._deadlines: dict[Any, float] = {}
        self._looking = False

    @contextmanager
    def over(self, connection: Any) -> Iterator[None]:
        with self._lock:
            self._deadlines[connection] = time.monotonic() + LONGEST_READ_S
            if not self._looking:
                self._looking = True
                threading.Thread(target=self._look, name="replica-watch", daemon=True).start()
        try:
            yield
        finally:
            with self._lock:
                del self._deadlines[connection]

    def _look(self) -> None:
        while True:
            time.sleep(_LOOK_S)
            with self._lock:
                if not self._deadlines:
                    self._looking = False
                    return
                for connection, deadline in self._deadlines.items():
                    if deadline < time.monotonic():
                        try:
                            _break_off(connection)
                        except Exception:
                            # One connection of an odd kind must not end the watch over all others.
                            _log.exception("replica-watch-broke")


def _break_off(connection: Any) -> None:
    """End a connection under the hands of the thread that waits for it."""
    with suppress(psycopg2.Error, OSError), socket.socket(fileno=os.dup(connection.fileno())) as line:
        line.shutdown(socket.SHUT_RDWR)
