"""What an account holds and has reserved: the rows that are locked before an order, and the one place that changes them.

Locks are taken in one order: accounts by name (`lock_account`), contracts by number (`lock_exposure`), orders by id. Whoever
changes an order holds all three, so that the sums here are those of the orders at each commit.
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple, Protocol

from nautilus.db.cursor import Cursor
from nautilus.db.orders.exact import difference
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


class Reserving(Protocol):
    """What a reservation is made of."""

    @property
    def account(self) -> str: ...
    @property
    def con_id(self) -> int: ...
    @property
    def side(self) -> str: ...
    @property
    def reserved_quantity(self) -> Decimal: ...
    @property
    def reserved_value(self) -> Decimal: ...


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


def settle(cursor: Cursor, before: Reserving | None, after: Reserving) -> None:
    """Move the sums by what an order reserves now and did not reserve before. before: None for a new order."""
    quantity = difference(after.reserved_quantity, before.reserved_quantity if before else ZERO)
    value = difference(after.reserved_value, before.reserved_value if before else ZERO)
    if quantity:
        buys, sells = (quantity, ZERO) if after.side == "BUY" else (ZERO, quantity)
        _change(cursor, after.account, after.con_id, buys=buys, sells=sells)
    if value:
        cursor.execute(
            "UPDATE risk_accounts SET reserved_value = reserved_value + %s WHERE account = %s", (value, after.account)
        )


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
