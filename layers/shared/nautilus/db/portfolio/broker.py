"""What IB says about single positions: their profit and value, and when they were last equal to ours."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import NamedTuple

from nautilus.db.cursor import Cursor
from nautilus.db.rows import every, insert_rows


class BrokerPnl(NamedTuple):
    """A row of `broker_pnl`, in the account's base currency. as_of: market time in ns."""

    account: str
    con_id: int
    quantity: Decimal | None
    daily: Decimal | None
    unrealized: Decimal | None
    realized: Decimal | None
    value: Decimal | None
    as_of: int


class PositionCheck(NamedTuple):
    """A row of `position_checks`. verified_at: market time in ns."""

    account: str
    con_id: int
    quantity: Decimal
    verified_at: int


_TYPES = {
    "account": "text",
    "con_id": "bigint",
    "quantity": "numeric",
    "daily": "numeric",
    "unrealized": "numeric",
    "realized": "numeric",
    "value": "numeric",
    "as_of": "bigint",
}


def put_pnl(cursor: Cursor, rows: Iterable[BrokerPnl]) -> None:
    """Store what IB sent; of several of one contract the last."""
    newest = {(row.account, row.con_id): row for row in rows}
    changes = ", ".join(f"{name} = excluded.{name}" for name in BrokerPnl._fields[2:])
    insert_rows(
        cursor,
        "broker_pnl",
        _TYPES,
        [newest[key] for key in sorted(newest)],
        then=f"ON CONFLICT (account, con_id) DO UPDATE SET {changes}",
    )


def pnl(cursor: Cursor, accounts: Sequence[str]) -> list[BrokerPnl]:
    cursor.execute(
        f"SELECT {', '.join(BrokerPnl._fields)} FROM broker_pnl WHERE account = ANY(%s) ORDER BY account, con_id",
        (list(accounts),),
    )
    return every(cursor, BrokerPnl)


class Watched(NamedTuple):
    """A contract of an account whose profit is worth asking for."""

    account: str
    con_id: int


def to_watch(cursor: Cursor, accounts: Sequence[str]) -> list[Watched]:
    """Open positions by IB's word, and those that are flat while the row of `broker_pnl` still counts some of them."""
    cursor.execute(
        "SELECT account, con_id FROM broker_positions WHERE account = ANY(%(accounts)s) AND quantity <> 0"
        " UNION SELECT account, con_id FROM broker_pnl WHERE account = ANY(%(accounts)s) AND quantity <> 0 ORDER BY 1, 2",
        {"accounts": list(accounts)},
    )
    return every(cursor, Watched)


def verify_equal(cursor: Cursor, account: str) -> None:
    """Write down which positions of an account are IB's, by the positions that it sent last. The account is held.

    Currency pairs are left out: IB's positions of them are virtual.
    """
    cursor.execute(
        "INSERT INTO position_checks (account, con_id, quantity, verified_at)"
        " SELECT p.account, p.con_id, p.quantity, p.as_of FROM broker_positions p LEFT JOIN risk_book b USING (account, con_id)"
        " LEFT JOIN instruments i USING (con_id) WHERE p.account = %s AND p.quantity = coalesce(b.position, 0)"
        " AND i.asset_class IS DISTINCT FROM 'CASH' ON CONFLICT (account, con_id) DO UPDATE SET quantity = excluded.quantity,"
        " verified_at = excluded.verified_at",
        (account,),
    )


def checks(cursor: Cursor, accounts: Sequence[str]) -> list[PositionCheck]:
    cursor.execute(
        f"SELECT {', '.join(PositionCheck._fields)} FROM position_checks WHERE account = ANY(%s) ORDER BY account, con_id",
        (list(accounts),),
    )
    return every(cursor, PositionCheck)
