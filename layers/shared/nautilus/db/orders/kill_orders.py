"""What the kill switch wants done, a row per account or one for all (`*`). The order process does it and notes the outcome."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID, uuid4

from nautilus.db.cursor import Cursor
from nautilus.db.orders.frames import clean_text
from nautilus.db.orders.trading_state import ALL
from nautilus.db.rows import every, one


class KillOrderRow(NamedTuple):
    """A row of `kill_orders`. done_at: when IB showed that it was done. text: what is in its way, or what was found."""

    id: UUID
    account: str
    cancel: str
    flatten: bool
    by: str
    reason: str
    asked_at: datetime
    done_at: datetime | None
    text: str


_COLUMNS = ", ".join(KillOrderRow._fields)


def put(cursor: Cursor, account: str, *, cancel: str, flatten: bool, by: str, reason: str) -> KillOrderRow:
    cursor.execute(
        "INSERT INTO kill_orders (id, account, cancel, flatten, by, reason) VALUES (%s, %s, %s, %s, %s, %s)"
        f" RETURNING {_COLUMNS}",
        (uuid4(), account, cancel, flatten, by, clean_text(reason)),
    )
    return one(cursor, KillOrderRow)


def listed(cursor: Cursor, accounts: Sequence[str] | None, *, limit: int = 100) -> list[KillOrderRow]:
    """Those of accounts, and those of all, the newest first. accounts: None for every account."""
    cursor.execute(
        f"SELECT {_COLUMNS} FROM kill_orders WHERE %(accounts)s::text[] IS NULL OR account = ANY(%(accounts)s)"
        " ORDER BY asked_at DESC, id LIMIT %(limit)s",
        {"accounts": None if accounts is None else [*accounts, ALL], "limit": limit},
    )
    return every(cursor, KillOrderRow)
