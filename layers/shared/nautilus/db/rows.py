"""Rows of the database as typed tuples, and many rows written by one statement.

A row is a NamedTuple with a field for each column of its SELECT. The type checker then finds a column that is misspelt
where the row is used, and the functions here find one that is misspelt in the SQL, with the first row that is read.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any, TypeVar, overload

from nautilus.db.cursor import Cursor

R = TypeVar("R", bound=tuple[Any, ...])
"""A NamedTuple."""
V = TypeVar("V")
A = TypeVar("A", bound=tuple[Any, ...])
B = TypeVar("B", bound=tuple[Any, ...])
C = TypeVar("C", bound=tuple[Any, ...])
D = TypeVar("D", bound=tuple[Any, ...])
E = TypeVar("E", bound=tuple[Any, ...])
F = TypeVar("F", bound=tuple[Any, ...])


def one(cursor: Cursor, kind: type[R]) -> R:
    """The row of a statement that always returns one."""
    row = one_or_none(cursor, kind)
    if row is None:
        raise LookupError(f"no row for {kind.__name__}")
    return row


def one_or_none(cursor: Cursor, kind: type[R]) -> R | None:
    """The first row, or None."""
    row = cursor.fetchone()
    return None if row is None else _maker(cursor, kind)(row)


def every(cursor: Cursor, kind: type[R], **convert: Callable[[Any], Any]) -> list[R]:
    """All rows, in their order. convert: field -> what makes its value of that of the column."""
    rows = cursor.fetchall()
    if not rows:
        return []
    make = _maker(cursor, kind)
    if convert:
        names = [column.name for column in cursor.description or ()]
        if unknown := convert.keys() - set(names):
            raise TypeError(f"{kind.__name__} has no fields {sorted(unknown)}")
        rows = [[convert[n](v) if n in convert else v for n, v in zip(names, row, strict=True)] for row in rows]
    return list(map(make, rows))


def there(cursor: Cursor) -> bool:
    """True when the statement returned a row, whatever stands in it."""
    return cursor.fetchone() is not None


@overload
def joined(cursor: Cursor, kinds: tuple[type[A], type[B]]) -> list[tuple[A, B | None]]: ...
@overload
def joined(cursor: Cursor, kinds: tuple[type[A], type[B], type[C]]) -> list[tuple[A, B | None, C | None]]: ...
@overload
def joined(
    cursor: Cursor, kinds: tuple[type[A], type[B], type[C], type[D], type[E], type[F]]
) -> list[tuple[A, B | None, C | None, D | None, E | None, F | None]]: ...
def joined(cursor: Cursor, kinds: tuple[Any, ...]) -> list[Any]:
    """All rows of a statement with LEFT JOINs, each row in parts: the columns of one NamedTuple after those of another.

    A part after the first is None where all its columns are NULL: the join found nothing.
    """
    names = tuple(column.name for column in cursor.description or ())
    fields = tuple(name for kind in kinds for name in kind._fields)
    if names != fields:
        raise TypeError(f"the parts have the fields {fields}, the answer has the columns {names}")
    ends = list(accumulate(len(kind._fields) for kind in kinds))
    parts = list(zip(kinds, [0, *ends], ends, strict=False))
    return [
        tuple(
            kind._make(row[at:end]) if at == 0 or any(v is not None for v in row[at:end]) else None
            for kind, at, end in parts
        )
        for row in cursor.fetchall()
    ]


def _maker(cursor: Cursor, kind: type[R]) -> Callable[[Sequence[Any]], R]:
    """What makes a row of its values; TypeError when the columns of the answer are not its fields, in their order."""
    named: Any = kind  # no type of Python says "any NamedTuple"
    columns = tuple(column.name for column in cursor.description or ())
    if columns != named._fields:
        raise TypeError(f"{kind.__name__} has the fields {named._fields}, the answer has the columns {columns}")
    make: Callable[[Sequence[Any]], R] = named._make
    return make


def scalar(cursor: Cursor, kind: type[V]) -> V:
    """The only value of a statement that always returns one row, with a value of this type in its only column."""
    row = cursor.fetchone()
    if row is None:
        raise LookupError(f"no row with a value of type {kind.__name__}")
    return _value(row, kind)


def scalar_or_none(cursor: Cursor, kind: type[V]) -> V | None:
    """The only value; None when there is no row, or NULL in it."""
    row = cursor.fetchone()
    return None if row is None or row[0] is None else _value(row, kind)


def scalars(cursor: Cursor, kind: type[V]) -> list[V]:
    """The only value of each row."""
    return [_value(row, kind) for row in cursor.fetchall()]


def _value(row: Any, kind: type[V]) -> V:
    (value,) = row
    if not isinstance(value, kind):
        raise TypeError(f"a value of type {type(value).__name__}, not {kind.__name__}")
    return value


def insert_rows(
    cursor: Cursor, table: str, types: Mapping[str, str], rows: Sequence[Sequence[object]], *, then: str = ""
) -> None:
    """Insert rows in their order, so that identities rise in it too.

    types: column -> PostgreSQL type, in the order of a row's values. then: what follows, such as RETURNING or
    ON CONFLICT (which takes no two rows of one key). Without rows nothing is executed.
    """
    if not rows:
        return
    names = ", ".join(types)
    arrays = ", ".join(f"%s::{kind}[]" for kind in types.values())
    cursor.execute(
        f"INSERT INTO {table} ({names}) SELECT {names} FROM unnest({arrays}) WITH ORDINALITY AS r({names}, row_number)"
        f" ORDER BY row_number {then}",
        [list(column) for column in zip(*rows, strict=True)],
    )
