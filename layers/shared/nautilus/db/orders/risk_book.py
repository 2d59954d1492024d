"""What an account holds and has reserved: the rows that are locked before an order, and the one place that changes them.

Locks are taken in one order: accounts by name (`lock_account`), contracts by number (`lock_exposure`), orders by id. Whoever
changes an order holds all three, so that the sums here are those of the orders at each commit.
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple

from nautilus.db.cursor import Cursor, Prepared
from nautilus.db.rows import every, one, one_or_none

ZERO = Decimal(0)


class AccountRow(NamedTuple):
    """A row of `risk_accounts`. reserved_value: in base currency."""

    account: str
    reserved_value: Decimal


class ExposureRow(NamedTuple):
    """A row of `risk_book`; all in units of the contract. position: negative when short."""

    account: str
    con_id: int
    position: Decimal
    reserved_buy: Decimal
    reserved_sell: Decimal


_ACCOUNT = "SELECT account, reserved_value FROM risk_accounts WHERE account = %s FOR UPDATE"
_EXPOSURE = (
    "SELECT account, con_id, position, reserved_buy, reserved_sell FROM risk_book"
    " WHERE account = %s AND con_id = %s FOR UPDATE"
)

_CHANGE = (
    "UPDATE risk_book SET position = position + %s, reserved_buy = reserved_buy + %s, reserved_sell = reserved_sell + %s"
    " WHERE account = %s AND con_id = %s"
)


def lock_account(cursor: Cursor, account: str) -> AccountRow:
    """Hold an account until the transaction ends, and make its commit durable.

    The first lock of each transaction that writes orders, requests or words of IB. account: empty for words that name none.
    """
    # Whoever learns that an order is accepted, or acts on a word of IB, must find it after any crash.
    cursor.execute(f"SET LOCAL synchronous_commit = on; {_ACCOUNT}", (account,))
    found = one_or_none(cursor, AccountRow)
    if found is None:
        cursor.execute("INSERT INTO risk_accounts (account) VALUES (%s) ON CONFLICT DO NOTHING", (account,))
        cursor.execute(_ACCOUNT, (account,))
        found = one(cursor, AccountRow)
    return found


def forget_unused(cursor: Cursor, account: str) -> None:
    """Remove what `lock_account` and `lock_exposure` made in this transaction for a name whose orders are all denied: one that
    somebody typed by mistake is no account."""
    cursor.execute(
        "WITH gone AS (DELETE FROM risk_accounts r WHERE account = %s AND xmin = pg_current_xact_id()::xid"
        " AND NOT EXISTS (SELECT 1 FROM orders o WHERE o.account = r.account AND o.state <> 'denied') RETURNING account)"
        " DELETE FROM risk_book b USING gone WHERE b.account = gone.account",
        (account,),
    )


def lock_accounts(cursor: Cursor, accounts: Iterable[str]) -> None:
    """Hold several accounts, in the order of their names."""
    for account in sorted(set(accounts)):
        lock_account(cursor, account)


def lock_exposure(cursor: Cursor, account: str, con_id: int) -> ExposureRow:
    """Hold a contract of an account that is held already."""
    cursor.execute(_EXPOSURE, (account, con_id))
    found = one_or_none(cursor, ExposureRow)
    if found is None:
        cursor.execute(
            "INSERT INTO risk_book (account, con_id) VALUES (%s, %s) ON CONFLICT DO NOTHING", (account, con_id)
        )
        cursor.execute(_EXPOSURE, (account, con_id))
        found = one(cursor, ExposureRow)
    return found


# ---- account and contract in one round trip --------------------------------------------------------------------------

DURABLE = "set_config('synchronous_commit', 'on', true) = 'on'"
"""A condition that is always true, and makes the commit durable (`lock_account`)."""
LOCKED = (
    "sums AS MATERIALIZED (SELECT a.account, a.reserved_value FROM named JOIN risk_accounts a USING (account) FOR UPDATE OF a),"
    " book AS MATERIALIZED (SELECT k.position, k.reserved_buy, k.reserved_sell FROM named JOIN sums USING (account)"
    "  JOIN risk_book k USING (account, con_id) FOR UPDATE OF k)"
)
"""Parts of a statement whose part `named` names one account and contract: they lock the rows of both. A row of `book` is found
by one of `sums`, so the account is locked first; and locking reads a row as it is once the lock is there, not as it was when
the statement began."""
LOCKED_COLUMNS = (
    "named.account AS of_account, named.con_id AS of_con_id, sums.reserved_value AS reserved_in_all,"
    " book.position, book.reserved_buy, book.reserved_sell"
)
LOCKED_ROWS = "named LEFT JOIN sums ON true LEFT JOIN book ON true"


class LockedRow(NamedTuple):
    """`LOCKED_COLUMNS`: what is None has no row yet."""

    of_account: str
    of_con_id: int
    reserved_in_all: Decimal | None
    position: Decimal | None
    reserved_buy: Decimal | None
    reserved_sell: Decimal | None


_LOCK = Prepared(
    "nautilus_lock_book",
    f"WITH named AS MATERIALIZED (SELECT $1 AS account, $2 AS con_id WHERE {DURABLE}), {LOCKED}"
    f" SELECT {LOCKED_COLUMNS} FROM {LOCKED_ROWS}",
    ("text", "bigint"),
)


def lock_book(cursor: Cursor, account: str, con_id: int) -> tuple[AccountRow, ExposureRow]:
    """`lock_account` and `lock_exposure` at once."""
    cursor.run(_LOCK, (account, con_id))
    return of_locked(cursor, one(cursor, LockedRow))


def of_locked(cursor: Cursor, row: LockedRow) -> tuple[AccountRow, ExposureRow]:
    """The rows of account and contract; what was not there is made."""
    account, con_id = row.of_account, row.of_con_id
    sums = (
        AccountRow(account, row.reserved_in_all) if row.reserved_in_all is not None else lock_account(cursor, account)
    )
    if row.position is None or row.reserved_buy is None or row.reserved_sell is None:
        return sums, lock_exposure(cursor, account, con_id)
    return sums, ExposureRow(account, con_id, row.position, row.reserved_buy, row.reserved_sell)


# ---- reservations ----------------------------------------------------------------------------------------------------

SETTLED = (
    "settled_book AS (UPDATE risk_book k SET"
    "  reserved_buy = k.reserved_buy + CASE w.side WHEN 'BUY' THEN w.reserved_quantity - %(had_quantity)s ELSE 0 END,"
    "  reserved_sell = k.reserved_sell + CASE w.side WHEN 'SELL' THEN w.reserved_quantity - %(had_quantity)s ELSE 0 END"
    "  FROM written w WHERE k.account = w.account AND k.con_id = w.con_id AND w.reserved_quantity <> %(had_quantity)s"
    "  RETURNING 1),"
    " settled_sums AS (UPDATE risk_accounts a SET reserved_value = a.reserved_value + w.reserved_value - %(had_value)s"
    "  FROM written w WHERE a.account = w.account AND w.reserved_value <> %(had_value)s RETURNING 1)"
)
"""Parts of a statement whose part `written` wrote one order: they move the sums by what the order reserves now and did not
reserve before. The account and the contract are held."""
IS_SETTLED = (
    "(reserved_quantity = %(had_quantity)s OR EXISTS (SELECT FROM settled_book))"
    " AND (reserved_value = %(had_value)s OR EXISTS (SELECT FROM settled_sums))"
)
"""Whether both found the row that they were to change."""


TYPES = {"had_quantity": "numeric", "had_value": "numeric"}
"""The types of its values."""


def had(quantity: Decimal, value: Decimal) -> dict[str, object]:
    """The values of `SETTLED`: what the order reserved before; zeros for a new one."""
    return {"had_quantity": quantity, "had_value": value}


def move(cursor: Cursor, account: str, con_id: int, quantity: Decimal) -> None:
    """Change a position by an execution, a correction or an adjustment, in the transaction that writes it."""
    if quantity:
        _change(cursor, account, con_id, position=quantity)


def _change(
    cursor: Cursor, account: str, con_id: int, *, position: Decimal = ZERO, buys: Decimal = ZERO, sells: Decimal = ZERO
) -> None:
    # Not INSERT ... ON CONFLICT: the checks of the row would refuse a negative difference before the conflict is seen.
    cursor.execute(_CHANGE, (position, buys, sells, account, con_id))
    if cursor.rowcount == 0:
        lock_exposure(cursor, account, con_id)
        cursor.execute(_CHANGE, (position, buys, sells, account, con_id))


def read(cursor: Cursor, account: str, con_id: int) -> ExposureRow:
    """A contract of an account, without a lock; zeros where there is nothing."""
    cursor.execute(_EXPOSURE.removesuffix(" FOR UPDATE"), (account, con_id))
    return one_or_none(cursor, ExposureRow) or ExposureRow(account, con_id, ZERO, ZERO, ZERO)


def in_use(cursor: Cursor, account: str) -> list[ExposureRow]:
    """The contracts of which an account holds or has reserved something, by number; without a lock."""
    cursor.execute(
        "SELECT account, con_id, position, reserved_buy, reserved_sell FROM risk_book WHERE account = %s"
        " AND (position <> 0 OR reserved_buy <> 0 OR reserved_sell <> 0) ORDER BY con_id",
        (account,),
    )
    return every(cursor, ExposureRow)


def read_account(cursor: Cursor, account: str) -> AccountRow:
    """What an account has reserved, without a lock; zero where there is nothing."""
    cursor.execute(_ACCOUNT.removesuffix(" FOR UPDATE"), (account,))
    return one_or_none(cursor, AccountRow) or AccountRow(account, ZERO)


def held(cursor: Cursor, account: str) -> list[ExposureRow]:
    """The contracts of which an account holds something, by number."""
    cursor.execute(
        "SELECT account, con_id, position, reserved_buy, reserved_sell FROM risk_book"
        " WHERE account = %s AND position <> 0 ORDER BY con_id",
        (account,),
    )
    return every(cursor, ExposureRow)
