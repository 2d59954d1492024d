"""What is known of many orders at once, for words of IB that may say nothing new. Nothing is locked."""

from collections.abc import Collection
from typing import NamedTuple
from uuid import UUID

from nautilus.db.cursor import Cursor
from nautilus.db.orders.executions import ExecutionRow
from nautilus.db.orders.orders import OrderRow
from nautilus.db.orders.requests import OPEN_STATES, RequestRow
from nautilus.db.rows import every

_ORDERS, _EXECUTIONS, _REQUESTS = (", ".join(kind._fields) for kind in (OrderRow, ExecutionRow, RequestRow))


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
    requests: dict[UUID, list[RequestRow]] = {row.id: [] for row in found}
    if found:
        cursor.execute(
            f"SELECT {_REQUESTS} FROM order_requests WHERE order_id = ANY(%s::uuid[]) AND state = ANY(%s)"
            " ORDER BY asked_at, id",
            (list(requests), list(OPEN_STATES)),
        )
        for request in every(cursor, RequestRow):
            requests[request.order_id].append(request)
    return KnownOrders(found, requests, executions)


def _orders(cursor: Cursor, order_ids: Collection[UUID], perm_ids: Collection[int]) -> list[OrderRow]:
    if not order_ids and not perm_ids:
        return []
    cursor.execute(
        f"SELECT {_ORDERS} FROM orders WHERE id = ANY(%s::uuid[]) OR perm_ids && %s::bigint[] ORDER BY id",
        (list(order_ids), list(perm_ids)),
    )
    return every(cursor, OrderRow)
