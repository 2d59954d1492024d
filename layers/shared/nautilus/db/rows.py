"""Many rows in one statement. Row by row, each costs a round trip, often under a lock that others wait for."""

from collections.abc import Mapping, Sequence
from typing import Any

from nautilus.db.connection import Cursor


def insert_rows(
    cursor: Cursor, table: str, types: Mapping[str, str], rows: Sequence[Sequence[Any]], *, then: str = ""
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
