"""Connections to PostgreSQL: a small pool, checked before use, and transactions as `with` blocks.

Every failure to reach the database surfaces as `Unavailable`, so that a caller hears 503 with Retry-After and the next
call tries again from scratch.
"""

import re
import select
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import lru_cache
from typing import Any
from zlib import crc32

import psycopg2
import psycopg2.extensions
import psycopg2.extras

from nautilus.db.cursor import Cursor, Prepared, Step
from nautilus.db.deadlines import Deadlines
from nautilus.errors import Unavailable
from nautilus.infra.breaker import Breaker
from nautilus.infra.executors import caller, share
from nautilus.spans import Span, Spans

psycopg2.extras.register_uuid()

Json = psycopg2.extras.Json
UniqueViolation = psycopg2.errors.UniqueViolation

_CONNECT_TIMEOUT_S = 3
_POOL_WAIT_S = 5.0
_SLOW_CONNECT_S = 1.0
"""A connection that failed only after so long: the host swallows packets, and the next one would take as long."""
_SILENCE_S = 3.0
"""How much longer than a statement may take the server may be silent about it; then it hangs."""
_SHARED_FAILURE_S = 1.0
"""For so long such a failure is everybody's, and nobody else tries."""
_AWAY = (psycopg2.OperationalError, psycopg2.InterfaceError)
# The lock comes before the snapshot. Who changes how bars lie, not what they are, locks the same table exclusively just
# before it commits (nautilus/db/timescale.py), so that no snapshot of before meets a catalog of after.
_SNAPSHOT = b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; LOCK TABLE store IN ACCESS SHARE MODE;"
# Compiling costs more than any statement here takes; a prepared statement is planned once, whatever its values.
_PLANNING = "-c jit=off -c plan_cache_mode=force_generic_plan"
_LOST = (psycopg2.errors.InvalidSqlStatementName, psycopg2.errors.DuplicatePreparedStatement)
"""The session does not know a plan that its connection has made, or knows one that it has not."""


_DEADLINES = Deadlines()


class Collision(Unavailable):
    """Two transactions stood in each other's way and PostgreSQL ended this one; the same again will do."""


class _Connection(psycopg2.extensions.connection):  # type: ignore[misc]  # psycopg2 has no types
    """A connection that knows which statements it has planned; `None` when it cannot keep them. longest_s: how long it may
    be silent over one statement; None: for ever. broken_off: it was silent for longer."""

    prepared: set[str] | None
    longest_s: float | None = None
    broken_off = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.prepared = set()

    def waited_for(self) -> AbstractContextManager[None]:
        """A block that waits for the server's answer to one statement."""
        return _DEADLINES.over(self, self.longest_s) if self.longest_s is not None else nullcontext()


class _Cursor(psycopg2.extras.NamedTupleCursor):  # type: ignore[misc]
    """A cursor whose transaction begins in the same round trip as its first statement, and that can be given a `Prepared`;
    on a connection in autocommit."""

    beginning = b"BEGIN;"
    begun = False

    def execute(self, query: Any, vars: Any = None) -> Any:
        with self.connection.waited_for():
            if self.begun:
                return super().execute(query, vars)
            self.begun = True
            return super().execute(self.beginning + self.mogrify(query, vars))

    def copy_expert(self, *args: Any, **kwargs: Any) -> Any:
        with self.connection.waited_for():
            if not self.begun:
                self.begun = True
                super().execute(self.beginning)
            try:
                return super().copy_expert(*args, **kwargs)
            except _LOST as lost:
                raise self._collision() from lost

    def end(self, how: str) -> None:
        """COMMIT or ROLLBACK what was begun."""
        if self.begun and not self.connection.closed:
            with self.connection.waited_for():
                super().execute(how)
        self.begun = False

    def run(self, statement: Prepared, values: Sequence[Any], *, before: Sequence[Step] = ()) -> None:
        """Execute it, after the steps `before` in the same round trip. Collision when it turns out, in the middle of a
        transaction, that plans cannot be kept here."""
        steps, anew = [*before, (statement, values)], not self.begun
        if self.connection.prepared is None:
            self.execute(self._inlined(steps))
            return
        unknown = [step[0] for step in steps if _plan(step[0]) not in self.connection.prepared]
        try:
            self.execute("; ".join([*map(_preparation, unknown), self._executed(steps)]))
        except _LOST as lost:
            collision = self._collision()
            if not anew:
                raise collision from lost
            self.end("ROLLBACK")
            self.execute(self._inlined(steps))
        except psycopg2.Error:
            # No rollback undoes a plan.
            self.connection.prepared.update(map(_plan, unknown))
            raise
        else:
            self.connection.prepared.update(map(_plan, unknown))

    def planned(self, statement: Prepared, values: Sequence[Any]) -> str:
        """SQL that executes it, to stand beside other SQL in one round trip. What is not planned yet is planned now, in a
        round trip of its own. Collision as with `run`."""
        prepared, steps = self.connection.prepared, [(statement, values)]
        if prepared is None:
            return self._inlined(steps)
        if _plan(statement) not in prepared:
            try:
                self.execute(_preparation(statement))
            except _LOST as lost:
                raise self._collision() from lost
            prepared.add(_plan(statement))
        return self._executed(steps)

    def _collision(self) -> Collision:
        """A pooler between us and the server hands out another session for each transaction: no plans from here on."""
        self.connection.prepared = None
        return Collision("the database session changed; try again", code="collision", retry_after_s=1)

    def _executed(self, steps: Sequence[Step]) -> str:
        """SQL that executes prepared statements."""
        calls = "; ".join(f"EXECUTE {_plan(each)} ({', '.join(['%s'] * len(each.types))})" for each, _ in steps)
        return str(self.mogrify(calls, [value for _, values in steps for value in values]).decode())

    def _inlined(self, steps: Sequence[Step]) -> str:
        """The same statements with their values in them, to be planned anew."""
        return "; ".join(self._with_values(*step) for step in steps)

    def _with_values(self, statement: Prepared, values: Sequence[Any]) -> str:
        texts = [self.mogrify(f"%s::{t}", (v,)).decode() for v, t in zip(values, statement.types, strict=True)]
        return re.sub(r"\$(\d+)", lambda found: texts[int(found[1]) - 1], statement.sql)


@lru_cache
def _plan(statement: Prepared) -> str:
    """The name of its plan: behind a pooler, another release's statement of the same name is another one."""
    return f"{statement.name}_{crc32(statement.sql.encode()):08x}"


def _preparation(statement: Prepared) -> str:
    return f"PREPARE {_plan(statement)} ({', '.join(statement.types)}) AS {statement.sql}"


def readable(connection: Any, timeout_s: float) -> bool:
    """True when the server has sent something, or hung up, within `timeout_s` seconds. Any number of open files is fine."""
    # Not select(): it knows no descriptor above 1,023.
    waiting = select.poll()
    waiting.register(connection, select.POLLIN | select.POLLPRI)
    return bool(waiting.poll(timeout_s * 1000))


class _SnapshotCursor(_Cursor):
    """The same, for readers of one state of the database."""

    beginning = _SNAPSHOT


class _Places:
    """The places of a pool of connections. One caller gets three quarters of them, where there are four or more."""

    def __init__(self, size: int) -> None:
        self._free = size
        self._share = share(size) if size >= 4 else size
        self._taken: Counter[str] = Counter()
        self._changed = threading.Condition()

    def take(self, who: str, timeout_s: float) -> bool:
        """Wait for a place, at most so many seconds; False when there was none."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._open_to(who), timeout_s):
                return False
            self._free -= 1
            if who:
                self._taken[who] += 1
            return True

    def _open_to(self, who: str) -> bool:
        return self._free > 0 and self._taken.get(who, 0) < self._share

    def give_back(self, who: str) -> None:
        with self._changed:
            self._free += 1
            if who:
                self._taken[who] -= 1
                if not self._taken[who]:
                    del self._taken[who]
            self._changed.notify_all()


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
    ) -> None:
        self.size = size
        self._url = url
        self._longest_s = statement_timeout_ms / 1000 + _SILENCE_S if statement_timeout_ms else None
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
        self._places = _Places(size)
        self._reach = Breaker(_SHARED_FAILURE_S)

    def connect(self, longest_s: float | None = None) -> Any:
        """A connection of its own, outside the pool: for LISTEN and for session locks. The caller closes it.

        longest_s: how long its server may be silent within a block of `waited_for`, in seconds; None: for ever.
        """
        try:
            connection = psycopg2.connect(
                self._url,
                connection_factory=_Connection,
                cursor_factory=psycopg2.extras.NamedTupleCursor,
                **self._options,
            )
            connection.longest_s = longest_s
            return connection
        except psycopg2.OperationalError as down:
            raise Unavailable(
                f"the database cannot be reached ({_first_line(down)})", code="database-unavailable"
            ) from down

    def listen(self, channel: str) -> Any:
        """A connection of its own that hears the notifications of a channel; the caller polls and closes it."""
        connection = self.connect(self._longest_s)
        try:
            connection.autocommit = True
            with connection.waited_for(), connection.cursor() as cursor:
                cursor.execute(f"LISTEN {channel}")
        except psycopg2.Error as down:
            connection.close()
            raise Unavailable(f"the database is gone ({_first_line(down)})", code="database-unavailable") from down
        return connection

    @contextmanager
    def transaction(self, *, snapshot: bool = False) -> Iterator[Cursor]:
        """A cursor in one transaction: committed at the end of the block, rolled back on any error.

        snapshot: REPEATABLE READ READ ONLY; all statements of the block see one state of the database.
        """
        with self._borrow() as connection:
            connection.autocommit = True
            with connection.cursor(cursor_factory=_SnapshotCursor if snapshot else _Cursor) as cursor:
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
        if not self._places.take(who, _POOL_WAIT_S):
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
                    # Whoever comes now hears so at once, instead of finding out on another idle connection.
                    self.close()
                    self._reach.failed(self._reach.clock())
                    raise Unavailable("the database says nothing", code="database-unavailable") from error
            raise Unavailable(f"the database went away ({_first_line(error)})", code="database-unavailable") from error
        finally:
            try:
                if connection is not None and not connection.closed:
                    with self._lock:
                        self._idle.append(connection)
            finally:
                self._places.give_back(who)

    def _opened(self) -> Any:
        """A new connection for the pool. Where the last one failed slowly a moment ago, the same failure at once."""
        if not self._reach.admits():
            raise Unavailable("the database cannot be reached (no answer just now)", code="database-unavailable")
        began = self._reach.clock()
        try:
            connection = self.connect(self._longest_s)
        except Unavailable:
            if self._reach.clock() - began >= _SLOW_CONNECT_S:
                self._reach.failed(began)
            raise
        self._reach.succeeded(began)
        return connection

    def _checked(self) -> Any | None:
        """An idle connection that still lives. Data waiting on an idle one means the server said goodbye (or froze us)."""
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
