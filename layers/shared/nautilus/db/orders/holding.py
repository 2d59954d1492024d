"""An order together with the rows of its account and contract, all locked: how a step of the order process begins."""

from typing import NamedTuple

from nautilus.db.cursor import Cursor
from nautilus.db.orders import orders, risk_book
from nautilus.db.orders.orders import OrderRow
from nautilus.db.orders.risk_book import AccountRow, ExposureRow


class Held(NamedTuple):
    """All three locked until the transaction ends."""

    order: OrderRow
    account: AccountRow
    exposure: ExposureRow


def hold(cursor: Cursor, seen: OrderRow) -> Held | None:
    """`orders.lock_with_book` for an order whose row was read before: account and contract of an order never change."""
    account = risk_book.lock_account(cursor, seen.account)
    exposure = risk_book.lock_exposure(cursor, seen.account, seen.con_id)
    order = orders.lock(cursor, seen.id)
    return None if order is None else Held(order, account, exposure)
