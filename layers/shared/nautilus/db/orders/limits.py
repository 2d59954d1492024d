"""The limits of risk that an administrator has set, as rows. What the names mean stands in nautilus/orders/limits.py."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from nautilus.db.cursor import Cursor
from nautilus.db.rows import every, one, one_or_none
from nautilus.orders.limits import ALL_ACCOUNTS


class LimitSetRow(NamedTuple):
    """A row of `risk_limits`. account: `*` for all; value: None: no limit; set_at: machine time."""

    account: str
    name: str
    value: Decimal | None
    set_by: str
    set_at: datetime


_COLUMNS = ", ".join(LimitSetRow._fields)


def listed(cursor: Cursor, accounts: Sequence[str]) -> list[LimitSetRow]:
    """The rows of accounts and those of all, by account and name."""
    cursor.execute(
        f"SELECT {_COLUMNS} FROM risk_limits WHERE account = ANY(%s) ORDER BY account, name",
        ([*accounts, ALL_ACCOUNTS],),
    )
    return every(cursor, LimitSetRow)


def locked(cursor: Cursor, account: str, name: str) -> LimitSetRow | None:
    """One row, held until the transaction ends."""
    cursor.execute(f"SELECT {_COLUMNS} FROM risk_limits WHERE account = %s AND name = %s FOR UPDATE", (account, name))
    return one_or_none(cursor, LimitSetRow)


def put(cursor: Cursor, account: str, name: str, value: Decimal | None, *, set_by: str) -> LimitSetRow:
    cursor.execute(
        "INSERT INTO risk_limits (account, name, value, set_by) VALUES (%s, %s, %s, %s)"
        " ON CONFLICT (account, name) DO UPDATE SET value = excluded.value, set_by = excluded.set_by,"
        f" set_at = clock_timestamp() RETURNING {_COLUMNS}",
        (account, name, value, set_by),
    )
    return one(cursor, LimitSetRow)


def remove(cursor: Cursor, account: str, name: str) -> bool:
    """Whether there was such a row: what counts now is the row of all, or the default."""
    cursor.execute("DELETE FROM risk_limits WHERE account = %s AND name = %s", (account, name))
    return cursor.rowcount == 1
