"""What is known of many orders at once, for words of IB that may say nothing new. Nothing is locked."""

from collections.abc import Collection
from typing import NamedTuple
from uuid import UUID

from nautilus.db.cursor import Cursor
from nautilus.db.orders.executions import ExecutionRow
from nautilus.db.orders.orders import OrderRow
from nautilus.db.orders.requests import RequestRow, open_of_several
from nautilus.db.rows import every

_ORDERS, _EXECUTIONS = (", ".join(kind._fields) for kind in (OrderRow, ExecutionRow))


class KnownOrders(NamedTuple):
    """Orders, their open requests, and executions by IB's whole id of a revision."""

    orders: list[OrderRow]
    requests: dict[UUID, list[RequestRow]]
    executions: dict[str, list[ExecutionRow]]


def read(
    cursor: Cursor, order_ids: Collection[UUID], perm_ids: Collection[int], exec_ids: Collection[str]
) -> KnownOrders:
    """Those with one of these ids or permIds, or with an execution of these."""
    executions: dict[str, list[ExecutionRow]] = {}
    if exec_ids:
        cursor.execute(
            f"SELECT {_EXECUTIONS} FROM executions WHERE exec_id = ANY(%s) ORDER BY account", (list(exec_ids),)
        )
        for row in every(cursor, ExecutionRow):
            executions.setdefault(row.exec_id, []).append(row)
    found = _orders(cursor, order_ids, perm_ids)
    ids = [row.id for row in found]
    requests = open_of_several(cursor, ids) if ids else {}
    return KnownOrders(found, {number: requests.get(number, []) for number in ids}, executions)


def _orders(cursor: Cursor, order_ids: Collection[UUID], perm_ids: Collection[int]) -> list[OrderRow]:
    if not order_ids and not perm_ids:
        return []
    cursor.execute(
        f"SELECT {_ORDERS} FROM orders WHERE id = ANY(%s::uuid[]) OR perm_ids && %s::bigint[] ORDER BY id",
        (list(order_ids), list(perm_ids)),
    )
    return every(cursor, OrderRow)
