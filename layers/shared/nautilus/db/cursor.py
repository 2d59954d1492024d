"""The cursor that every function of nautilus.db takes: one transaction of one connection."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

Values = Sequence[object] | Mapping[str, object] | None
"""The values of a statement: for `%s` in their order, for `%(name)s` by name."""


class Prepared(NamedTuple):
    """A statement that each connection plans once; its values are $1, $2 ... of these types.

    Worth it where planning takes longer than the answer: small questions that touch many tables. Not for tables of bars:
    without their values TimescaleDB plans and locks every chunk.
    """

    name: str
    sql: str
    types: tuple[str, ...]


class PreparedByName(NamedTuple):
    """The same with names: `names[0]` is the name of $1."""

    statement: Prepared
    names: tuple[str, ...]

    @classmethod
    def of(cls, name: str, sql: str, types: Mapping[str, str]) -> "PreparedByName":
        """sql: with its values as `%(name)s`. types: name -> PostgreSQL type, others too."""
        names = tuple(dict.fromkeys(_NAMED.findall(sql)))
        numbers = {one: f"${n}" for n, one in enumerate(names, 1)}
        numbered = _NAMED.sub(lambda found: numbers[found[1]], sql)
        return cls(Prepared(name, numbered, tuple(types[one] for one in names)), names)

    def run(self, cursor: "Cursor", values: Mapping[str, object]) -> None:
        """Execute it. values: others too."""
        cursor.run(self.statement, [values[name] for name in self.names])


_NAMED = re.compile(r"%\((\w+)\)s")


class Readable(Protocol):
    """What COPY reads from."""

    def read(self, size: int, /) -> bytes: ...


class Writable(Protocol):
    """What COPY writes to."""

    def write(self, data: bytes, /) -> object: ...


class Column(Protocol):
    """A column of an answer."""

    @property
    def name(self) -> str: ...


class Cursor(Protocol):
    """A cursor in one transaction. `Database.transaction` makes it; psycopg2, which has no types, does the work.

    Read its rows with the functions of nautilus/db/rows.py: they give each row its type.
    """

    @property
    def rowcount(self) -> int:
        """How many rows the last statement returned or changed."""

    @property
    def description(self) -> Sequence[Column] | None:
        """The columns of the last answer; None when it has no rows."""

    @property
    def connection(self) -> Any:
        """The connection of psycopg2."""

    def execute(self, query: str, vars: Values = None, /) -> None:
        """Execute one statement."""

    def run(self, statement: Prepared, values: Sequence[object]) -> None:
        """Execute a prepared statement."""

    def rows_with_bytes(self, query: str, /) -> list[tuple[Any, ...]]:
        """The rows of one statement as plain tuples, their texts as bytes."""

    def copy_expert(self, sql: str, file: Readable | Writable, size: int = 8192) -> None:
        """Execute COPY from or to a file."""

    def mogrify(self, query: str, vars: Values = None, /) -> bytes:
        """The SQL with its values in it."""

    def fetchone(self) -> Any:
        """The next row, or None."""

    def fetchall(self) -> list[Any]:
        """All rows that are left."""

    def end(self, how: str) -> None:
        """COMMIT or ROLLBACK what was begun."""
