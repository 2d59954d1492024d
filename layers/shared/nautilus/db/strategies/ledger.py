"""A live run's orders in the ledger: those that are open, what was filled, and what happened since."""

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from nautilus.db.cursor import Cursor
from nautilus.db.orders.orders import OrderRow
from nautilus.db.orders.requests import RequestRow
from nautilus.db.rows import every, scalar_or_none
from nautilus.orders.states import ALIVE


class RunExecution(NamedTuple):
    """An execution of one of a run's orders, in its latest revision. ts: market time, ns."""

    exec_id: str
    order_id: UUID
    con_id: int
    side: str
    quantity: Decimal
    price: Decimal
    ts: int
    commission: Decimal | None
    commission_currency: str | None


_ORDER = ", ".join(f"o.{name}" for name in OrderRow._fields)
_REQUEST = ", ".join(RequestRow._fields)


def open_orders(cursor: Cursor, principal: str) -> list[OrderRow]:
    """The orders of a run that are not over, the oldest first."""
    cursor.execute(
        f"SELECT {_ORDER} FROM orders o WHERE principal = %s AND state = ANY(%s) ORDER BY accepted_at, id",
        (principal, sorted(ALIVE)),
    )
    return every(cursor, OrderRow)


def orders_of(cursor: Cursor, principal: str, order_ids: Sequence[UUID]) -> list[OrderRow]:
    """Those of these orders that are a run's."""
    cursor.execute(
        f"SELECT {_ORDER} FROM orders o WHERE principal = %s AND id = ANY(%s::uuid[])", (principal, list(order_ids))
    )
    return every(cursor, OrderRow)


def executions(cursor: Cursor, principal: str, order_ids: Sequence[UUID] | None = None) -> list[RunExecution]:
    """The executions of a run's orders in the order of time. order_ids: of these alone."""
    cursor.execute(
        "SELECT e.exec_id, e.order_id, e.con_id, e.side, e.quantity, e.price, e.ts, e.commission, e.commission_currency"
        " FROM executions e JOIN orders o ON o.id = e.order_id WHERE o.principal = %(principal)s AND e.latest"
        " AND e.quantity > 0 AND (%(ids)s::uuid[] IS NULL OR o.id = ANY(%(ids)s::uuid[])) ORDER BY e.ts, e.exec_id",
        {"principal": principal, "ids": None if order_ids is None else list(order_ids)},
    )
    return every(cursor, RunExecution)


def last_event(cursor: Cursor, account: str) -> int:
    """The id of the newest event of an account; 0 without any."""
    cursor.execute("SELECT max(id) FROM order_events WHERE account = %s", (account,))
    return scalar_or_none(cursor, int) or 0


class _Touched(NamedTuple):
    id: int
    order_id: UUID


class Touched(NamedTuple):
    """Orders of a run that something happened to, and the id of the last event that was looked at."""

    order_ids: list[UUID]
    last_id: int


def touched(cursor: Cursor, principal: str, account: str, after: int, *, limit: int = 1_000) -> Touched:
    """What happened to a run's orders after an event of its account. Ids of one account come in the order of their commits."""
    cursor.execute(
        "SELECT e.id, e.order_id FROM order_events e JOIN orders o ON o.id = e.order_id"
        " WHERE e.account = %s AND e.id > %s AND o.principal = %s ORDER BY e.id LIMIT %s",
        (account, after, principal, limit),
    )
    rows = every(cursor, _Touched)
    return Touched(list(dict.fromkeys(row.order_id for row in rows)), rows[-1].id if rows else after)


def refused_requests(cursor: Cursor, principal: str, order_ids: Sequence[UUID]) -> list[RequestRow]:
    """The run's modifies and cancels of these orders that were refused, the oldest first."""
    cursor.execute(
        f"SELECT {_REQUEST} FROM order_requests WHERE principal = %s AND order_id = ANY(%s::uuid[])"
        " AND state IN ('refused', 'overtaken') ORDER BY asked_at, id",
        (principal, list(order_ids)),
    )
    return every(cursor, RequestRow)


def made_by_host(cursor: Cursor, principal: str, beginning: str) -> list[OrderRow]:
    """The orders of a run whose idempotency keys begin with a text, the newest first."""
    cursor.execute(
        f"SELECT {_ORDER} FROM orders o WHERE principal = %s AND starts_with(idempotency_key, %s)"
        " ORDER BY accepted_at DESC, id",
        (principal, beginning),
    )
    return every(cursor, OrderRow)
