"""Connections to PostgreSQL: a small pool, checked before use, and transactions as `with` blocks.

Every failure to reach the database surfaces as `Unavailable`, so that a caller gets 503 with Retry-After and the next
call tries again from scratch.
"""

import re
import select
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2
import psycopg2.extensions
import psycopg2.extras

from nautilus.db.cursor import Cursor
from nautilus.db.pool import PoolPlaces
from nautilus.db.prepared import Collision, PreparingConnection, SnapshotCursor, TransactionCursor
from nautilus.errors import Unavailable
from nautilus.infra.breaker import Breaker
from nautilus.infra.executors import caller

psycopg2.extras.register_uuid()

Json = psycopg2.extras.Json
UniqueViolation = psycopg2.errors.UniqueViolation

_CONNECT_TIMEOUT_S = 3
POOL_WAIT_S = 5.0
"""How long a caller waits for a connection of a pool that is all in use."""
_SLOW_CONNECT_S = 1.0
"""A connection that failed only after so long: the host swallows packets, and the next one would take as long."""
_SILENCE_S = 3.0
"""How much longer than a statement may take the server may be silent about it; then it hangs."""
BRIEF_S = 3.0
"""How long a statement of a brief transaction may take."""
_SHARED_FAILURE_S = 1.0
"""For so long such a failure is everybody's, and nobody else tries."""
_AWAY = (psycopg2.OperationalError, psycopg2.InterfaceError)
# Compiling costs more than any statement here takes; a prepared statement is planned once, whatever its values.
_PLANNING = "-c jit=off -c plan_cache_mode=force_generic_plan"


def readable(connection: Any, timeout_s: float) -> bool:
    """True when the server has sent something, or hung up, within `timeout_s` seconds. Any number of open files is fine."""
    # Not select(): it knows no descriptor above 1,023.
    waiting = select.poll()
    waiting.register(connection, select.POLLIN | select.POLLPRI)
    return bool(waiting.poll(timeout_s * 1000))


class Database:
    """A pool of at most `size` connections to one database; safe to share between threads."""

    def __init__(
        self,
        url: str,
        *,
        name: str,
        size: int = 10,
        statement_timeout_ms: int = 15_000,
        lock_timeout_ms: int | None = None,
        pool_wait_s: float = POOL_WAIT_S,
    ) -> None:
        self.size = size
        self._pool_wait_s = pool_wait_s
        self._url = url
        self._longest_s = statement_timeout_ms / 1000 + _SILENCE_S if statement_timeout_ms else None
        self._brief_s = min(BRIEF_S, statement_timeout_ms / 1000) if statement_timeout_ms else BRIEF_S
        self._options = {
            "application_name": name,
            "connect_timeout": _CONNECT_TIMEOUT_S,
            "keepalives_idle": 30,
            "options": f"-c statement_timeout={statement_timeout_ms} -c timezone=UTC"
            f" -c idle_in_transaction_session_timeout=60000 {_PLANNING}"
            + (f" -c lock_timeout={lock_timeout_ms}" if lock_timeout_ms is not None else ""),
        }
        self._idle: list[Any] = []
        self._lock = threading.Lock()
        self._permits = PoolPlaces(size)
        self._breaker = Breaker(_SHARED_FAILURE_S)

    def connect(self, longest_s: float | None = None) -> Any:
        """A connection of its own, outside the pool: for LISTEN and for session locks. The caller closes it.

        longest_s: how long its server may be silent within a block of `waited_for`, in seconds; None: for ever.
        """
        try:
            connection = psycopg2.connect(
                self._url,
                connection_factory=PreparingConnection,
                cursor_factory=psycopg2.extras.NamedTupleCursor,
                **self._options,
            )
            connection.longest_s = longest_s
            return connection
        except psycopg2.OperationalError as down:
            raise Unavailable(
                f"the database cannot be reached ({_first_line(down)})", code="database-unavailable"
            ) from down

    def listen(self, *channels: str) -> Any:
        """A connection of its own that receives the notifications of channels; the caller polls and closes it."""
        connection = self.connect(self._longest_s)
        try:
            connection.autocommit = True
            with connection.waited_for(), connection.cursor() as cursor:
                for channel in channels:
                    cursor.execute(f"LISTEN {channel}")
        except psycopg2.Error as down:
            connection.close()
            raise Unavailable(f"the database is gone ({_first_line(down)})", code="database-unavailable") from down
        return connection

    @contextmanager
    def transaction(self, *, snapshot: bool = False, brief: bool = False) -> Iterator[Cursor]:
        """A cursor in one transaction: committed at the end of the block, rolled back on any error.

        snapshot: REPEATABLE READ READ ONLY; all statements of the block see one state of the database. brief: it is about few
        rows, and somebody waits: a statement may take BRIEF_S at most, and a server that is silent is given up that much sooner.
        """
        with self._borrow() as connection:
            connection.autocommit = True
            connection.longest_s = self._brief_s + _SILENCE_S if brief else self._longest_s
            with connection.cursor(cursor_factory=SnapshotCursor if snapshot else TransactionCursor) as cursor:
                if brief:
                    cursor.limit(self._brief_s)
                try:
                    yield cursor
                    cursor.end("COMMIT")
                except BaseException:  # a COMMIT that is cancelled before it begins leaves the transaction open, too
                    try:
                        cursor.end("ROLLBACK")
                    except psycopg2.Error:
                        connection.close()
                    raise

    @contextmanager
    def _borrow(self) -> Iterator[Any]:
        who = caller.get()
        if not self._permits.take(who, self._pool_wait_s):
            raise Unavailable("all database connections are busy", code="database-busy", retry_after_s=2)
        connection = None
        try:
            connection = self._checked() or self._opened()
            yield connection
        except psycopg2.Error as error:
            # A server that dies in the middle of a COPY leaves psycopg2 without a word: an error of no kind.
            # (So is one with a code that psycopg2 does not know, TimescaleDB's for instance.)
            wordless = type(error) is psycopg2.DatabaseError and error.pgcode is None
            if not isinstance(error, _AWAY) and not wordless:
                raise
            if isinstance(error, (psycopg2.extensions.TransactionRollbackError, psycopg2.errors.LockNotAvailable)):
                raise Collision(
                    "another change came in between; try again", code="collision", retry_after_s=1
                ) from error
            if isinstance(error, psycopg2.errors.QueryCanceled):
                raise Unavailable("the database took too long to answer", code="database-slow") from error
            if connection is not None:
                connection.close()
                if connection.broken_off:
                    # The next callers fail at once, instead of finding out on another idle connection.
                    self.close()
                    self._breaker.failed(self._breaker.clock())
                    raise Unavailable("the database says nothing", code="database-unavailable") from error
            raise Unavailable(f"the database went away ({_first_line(error)})", code="database-unavailable") from error
        finally:
            try:
                if connection is not None and not connection.closed:
                    with self._lock:
                        self._idle.append(connection)
            finally:
                self._permits.give_back(who)

    def _opened(self) -> Any:
        """A new connection for the pool. Where the last one failed slowly just before, the same failure at once."""
        if not self._breaker.admits():
            raise Unavailable("the database cannot be reached (no answer just now)", code="database-unavailable")
        began = self._breaker.clock()
        try:
            connection = self.connect(self._longest_s)
        except Unavailable:
            if self._breaker.clock() - began >= _SLOW_CONNECT_S:
                self._breaker.failed(began)
            raise
        self._breaker.succeeded(began)
        return connection

    def _checked(self) -> Any | None:
        """An idle connection that still lives. Data waiting on an idle one means that the server ends it (or we were frozen)."""
        while True:
            with self._lock:
                if not self._idle:
                    return None
                connection = self._idle.pop()
            if connection.closed:
                continue
            try:
                if readable(connection, 0):
                    with connection.waited_for(), connection.cursor() as cursor:
                        cursor.execute("SELECT 1")
            except (psycopg2.Error, OSError):
                connection.close()
                continue
            return connection

    def close(self) -> None:
        """Close what is idle. Borrowed connections close when they come back and are dropped with the process."""
        with self._lock:
            while self._idle:
                self._idle.pop().close()


def plain_connection(url: str, *, name: str) -> Any:
    """A connection without limits of time and without a pool, for commands. Unavailable when nobody answers, or refuses."""
    try:
        return psycopg2.connect(url, application_name=name, connect_timeout=_CONNECT_TIMEOUT_S)
    except psycopg2.OperationalError as down:
        raise Unavailable(
            f"the database cannot be reached ({_first_line(down)})", code="database-unavailable"
        ) from down


def _first_line(error: Exception) -> str:
    """What a driver's error says, in one line and without a password."""
    text = str(error).strip().splitlines()
    return re.sub(r"password=\S+", "password=...", text[0]) if text else type(error).__name__
