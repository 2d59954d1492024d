"""Connections to PostgreSQL: a small pool, checked before use, and transactions as `with` blocks.

Every failure to reach the database surfaces as `Unavailable`, so that a caller hears 503 with Retry-After and the next
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

from nautilus.errors import Unavailable
from nautilus.spans import Span, Spans

psycopg2.extras.register_uuid()

Cursor = Any
"""A psycopg2 cursor whose rows are named tuples (psycopg2 has no types of its own)."""
Json = psycopg2.extras.Json
UniqueViolation = psycopg2.errors.UniqueViolation

_CONNECT_TIMEOUT_S = 3
_POOL_WAIT_S = 5.0
# The lock comes before the snapshot. Who changes how bars lie, not what they are, locks the same table exclusively just
# before it commits (nautilus/db/timescale.py), so that no snapshot of before meets a catalog of after.
_SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; LOCK TABLE store IN ACCESS SHARE MODE"


class Collision(Unavailable):
    """Two transactions stood in each other's way and PostgreSQL ended this one; the same again will do."""


class Database:
    """A pool of at most `size` connections to one database; safe to share between threads."""

    def __init__(self, url: str, *, name: str, size: int = 10, statement_timeout_ms: int = 15_000) -> None:
        self._url = url
        self._options = {
            "application_name": name,
            "connect_timeout": _CONNECT_TIMEOUT_S,
            "keepalives_idle": 30,
            "options": f"-c statement_timeout={statement_timeout_ms} -c timezone=UTC"
            " -c idle_in_transaction_session_timeout=60000",
        }
        self._idle: list[Any] = []
        self._lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(size)

    def connect(self) -> Any:
        """A connection of its own, outside the pool: for LISTEN and for session locks. The caller closes it."""
        try:
            return psycopg2.connect(self._url, cursor_factory=psycopg2.extras.NamedTupleCursor, **self._options)
        except psycopg2.OperationalError as down:
            raise Unavailable(
                f"the database cannot be reached ({_first_line(down)})", code="database-unavailable"
            ) from down

    @contextmanager
    def transaction(self, *, snapshot: bool = False) -> Iterator[Cursor]:
        """A cursor in one transaction: committed at the end of the block, rolled back on any error.

        snapshot: REPEATABLE READ READ ONLY; all statements of the block see one state of the database.
        """
        with self._borrow() as connection:
            connection.autocommit = snapshot
            if not snapshot:
                with connection, connection.cursor() as cursor:
                    yield cursor
                return
            with connection.cursor() as cursor:
                cursor.execute(_SNAPSHOT)  # by hand: after psycopg2's own BEGIN it would be a round trip more
                try:
                    yield cursor
                finally:
                    if not connection.closed:
                        cursor.execute("ROLLBACK")

    @contextmanager
    def _borrow(self) -> Iterator[Any]:
        if not self._slots.acquire(timeout=_POOL_WAIT_S):
            raise Unavailable("all database connections are busy", code="database-busy", retry_after_s=2)
        connection = None
        try:
            connection = self._checked() or self.connect()
            yield connection
        except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
            if isinstance(error, psycopg2.extensions.TransactionRollbackError):
                raise Collision(
                    "another change came in between; try again", code="collision", retry_after_s=1
                ) from error
            if isinstance(error, psycopg2.errors.QueryCanceled):
                raise Unavailable("the database took too long to answer", code="database-slow") from error
            if connection is not None:
                connection.close()
            raise Unavailable(f"the database went away ({_first_line(error)})", code="database-unavailable") from error
        finally:
            try:
                if connection is not None and not connection.closed:
                    if connection.status != psycopg2.extensions.STATUS_READY:
                        connection.rollback()
                    with self._lock:
                        self._idle.append(connection)
            except psycopg2.Error:
                if connection is not None:
                    connection.close()
            finally:
                self._slots.release()

    def _checked(self) -> Any | None:
        """An idle connection that still lives. Data waiting on an idle one means the server said goodbye (or froze us)."""
        while True:
            with self._lock:
                if not self._idle:
                    return None
                connection = self._idle.pop()
            if connection.closed:
                continue
            if not select.select([connection], [], [], 0)[0]:
                return connection
            try:
                with connection.cursor() as cursor:
                    cursor.execute("SELECT 1")
                connection.rollback()
            except psycopg2.Error:
                connection.close()
                continue
            return connection

    def close(self) -> None:
        """Close what is idle. Borrowed connections close when they come back and are dropped with the process."""
        with self._lock:
            while self._idle:
                self._idle.pop().close()


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return re.sub(r"password=\S+", "password=...", text[0]) if text else type(error).__name__


def multirange(spans: Spans) -> str:
    """PostgreSQL's text of an int8multirange."""
    return "{" + ",".join(f"[{start},{end})" for start, end in spans) + "}"


def spans_of(text: str | None) -> Spans:
    """The spans of an int8multirange's text (psycopg2 has no type for it)."""
    numbers = re.findall(r"\[(-?\d+),(-?\d+)\)", text or "")
    return Spans((int(start), int(end)) for start, end in numbers)


def int8range(span: Span) -> str:
    """PostgreSQL's text of an int8range."""
    return f"[{span[0]},{span[1]})"


def span_of(text: str) -> Span:
    """The span of an int8range's text."""
    return next(iter(spans_of(text)))
