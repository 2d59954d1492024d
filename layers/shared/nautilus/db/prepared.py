"""Cursors that begin a transaction with its first statement, and that keep prepared statements planned."""

import re
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import Any
from zlib import crc32

import psycopg2
import psycopg2.extensions
import psycopg2.extras

from nautilus.db.cursor import Prepared
from nautilus.db.deadlines import Deadlines
from nautilus.errors import Unavailable

# The lock comes before the snapshot. Who changes how bars lie, not what they are, locks the same table exclusively just
# before it commits (nautilus/db/timescale.py), so that no snapshot of before meets a catalog of after.
_SNAPSHOT = b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; LOCK TABLE store IN ACCESS SHARE MODE;"
_LOST = (psycopg2.errors.InvalidSqlStatementName, psycopg2.errors.DuplicatePreparedStatement)
"""The session does not know a plan that its connection has made, or knows one that it has not."""


_CUT_SHORT = (
    *(psycopg2.errors.QueryCanceled, psycopg2.errors.LockNotAvailable),
    psycopg2.extensions.TransactionRollbackError,
)
"""Errors that ended a statement for what others did, and its transaction with it."""
_STALE = "RevalidateCachedQuery"
"""Where PostgreSQL refuses a plan whose columns have another type by now; its words are in the server's language."""

_DEADLINES = Deadlines()


class Collision(Unavailable):
    """Two transactions stood in each other's way and PostgreSQL ended this one; the same again will do."""


class PreparingConnection(psycopg2.extensions.connection):  # type: ignore[misc]  # psycopg2 has no types
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


class TransactionCursor(psycopg2.extras.NamedTupleCursor):  # type: ignore[misc]
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

    def limit(self, longest_s: float) -> None:
        """Let each statement of this transaction, which has not begun, take so many seconds at most."""
        limit = b"; SET LOCAL statement_timeout = %d;" % round(longest_s * 1000)
        self.beginning = self.beginning.replace(b";", limit, 1)

    def copy_expert(self, *args: Any, **kwargs: Any) -> Any:
        with self.connection.waited_for():
            if not self.begun:
                self.begun = True
                super().execute(self.beginning)
            return super().copy_expert(*args, **kwargs)

    def rows_with_bytes(self, query: str) -> list[tuple[Any, ...]]:
        """The rows of one statement as plain tuples, their texts as bytes. For long texts, which nobody looks into: making a
        `str` of each and bytes of that again takes as long as reading them."""
        if not self.begun:
            self.execute("SELECT 1")
        with self.connection.waited_for(), self.connection.cursor(cursor_factory=psycopg2.extensions.cursor) as plain:
            psycopg2.extensions.register_type(psycopg2.extensions.BYTES, plain)
            plain.execute(query)
            rows: list[tuple[Any, ...]] = plain.fetchall()
            return rows

    def end(self, how: str) -> None:
        """COMMIT or ROLLBACK what was begun."""
        if self.begun and not self.connection.closed:
            with self.connection.waited_for():
                super().execute(how)
        self.begun = False

    def run(self, statement: Prepared, values: Sequence[Any]) -> None:
        """Execute a prepared statement. Collision when it turns out, in the middle of a transaction, that plans cannot be kept
        here, or that a migration has made a plan another one."""
        prepared, anew = self.connection.prepared, not self.begun
        if prepared is None:
            self.execute(self._with_values(statement, values))
            return
        plan = _plan(statement)
        call = self.mogrify(f"EXECUTE {plan} ({', '.join(['%s'] * len(statement.types))})", values).decode()
        try:
            self.execute(call if plan in prepared else f"{_preparation(statement)}; {call}")
        except _LOST as lost:
            # A pooler between us and the server hands out another session for each transaction: no plans from here on.
            self.connection.prepared = None
            if not anew:
                raise Collision("the database session changed; try again", code="collision", retry_after_s=1) from lost
            self.end("ROLLBACK")
            self.execute(self._with_values(statement, values))
        except psycopg2.errors.FeatureNotSupported as stale:
            prepared.add(plan)
            if stale.diag.source_function != _STALE:
                raise
            self.connection.close()  # the next one plans anew
            raise Collision(
                "the database's schema has changed; try again", code="collision", retry_after_s=1
            ) from stale
        except _CUT_SHORT:
            if plan not in prepared:  # nobody knows whether before it was made, or after
                self.connection.close()
            raise
        except psycopg2.Error:
            prepared.add(plan)  # no rollback undoes a plan
            raise
        else:
            prepared.add(plan)

    def _with_values(self, statement: Prepared, values: Sequence[Any]) -> str:
        """The same statement with its values in it, to be planned anew."""
        texts = [self.mogrify(f"%s::{t}", (v,)).decode() for v, t in zip(values, statement.types, strict=True)]
        return re.sub(r"\$(\d+)", lambda found: texts[int(found[1]) - 1], statement.sql)


@lru_cache
def _plan(statement: Prepared) -> str:
    """The name of its plan: behind a pooler, another release's statement of the same name is another one."""
    return f"{statement.name}_{crc32(statement.sql.encode()):08x}"


def _preparation(statement: Prepared) -> str:
    return f"PREPARE {_plan(statement)} ({', '.join(statement.types)}) AS {statement.sql}"


class SnapshotCursor(TransactionCursor):
    """The same, for readers of one state of the database."""

    beginning = _SNAPSHOT
