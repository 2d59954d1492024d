"""What verifying a store finds about orders: reservations and positions computed anew from orders, executions and adjustments,
and whether any order, permId or execution stands there twice."""

from collections.abc import Iterator
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from nautilus.db.cursor import Cursor
from nautilus.db.orders import missed_fills, risk_book
from nautilus.db.orders.requests import OPEN_STATES
from nautilus.db.rows import every, scalar, scalars
from nautilus.db.verify_findings import Finding
from nautilus.orders.states import ALIVE

_ALIVE = sorted(ALIVE)
_OPEN = list(OPEN_STATES)

# The one rule of reservations, in SQL: a second telling, so that a mistake in the first is seen.
_RESERVES = (
    "SELECT o.id, o.account, o.con_id, o.side, o.reserved_quantity, o.reserved_value, r.quantity AS due_quantity,"
    " CASE WHEN o.reducing THEN 0 ELSE r.quantity * coalesce(o.unit_value, 0) END AS due_value"
    " FROM orders o LEFT JOIN order_requests m ON m.order_id = o.id AND m.kind = 'modify' AND m.state = ANY(%(open)s)"
    " CROSS JOIN LATERAL (SELECT CASE WHEN o.state = ANY(%(alive)s)"
    "  THEN greatest(greatest(o.quantity, (m.wanted->>'quantity')::numeric) - o.filled, 0) ELSE 0 END AS quantity) r"
)
_POSITIONS = (
    "SELECT account, con_id, sum(quantity) AS due FROM ("
    " SELECT account, con_id, quantity FROM position_openings UNION ALL"
    " SELECT account, con_id, quantity FROM position_adjustments UNION ALL"
    " SELECT account, con_id, CASE side WHEN 'BUY' THEN quantity ELSE -quantity END FROM executions WHERE latest) p"
    " GROUP BY account, con_id"
)


class _Reservation(NamedTuple):
    id: UUID
    reserved_quantity: Decimal
    reserved_value: Decimal
    due_quantity: Decimal
    due_value: Decimal


class _Book(NamedTuple):
    account: str
    con_id: int
    position: Decimal
    reserved_buy: Decimal
    reserved_sell: Decimal
    due_position: Decimal
    due_buy: Decimal
    due_sell: Decimal


class _Account(NamedTuple):
    account: str
    reserved_value: Decimal
    due: Decimal


class _Fill(NamedTuple):
    id: UUID
    filled: Decimal
    due: Decimal


class _Twice(NamedTuple):
    account: str
    what: str
    rows: int


def count(cursor: Cursor) -> int:
    cursor.execute("SELECT count(*) FROM orders")
    return scalar(cursor, int)


def verify_orders(cursor: Cursor) -> Iterator[Finding]:
    """Everything about orders, in the snapshot of this transaction."""
    yield from _reservations(cursor)
    yield from _books(cursor)
    yield from _accounts(cursor)
    yield from _fills(cursor)
    yield from _twice(cursor)
    yield from _requests(cursor)
    for row in missed_fills.wrong(cursor):
        text = f"adjustment {row.id}: executions explain {row.explained:f} of it, and should explain {row.due:f}"
        yield Finding("adjustment_explained", text)


def _reservations(cursor: Cursor) -> Iterator[Finding]:
    cursor.execute(
        f"SELECT id, reserved_quantity, reserved_value, due_quantity, due_value FROM ({_RESERVES}) r"
        " WHERE reserved_quantity <> due_quantity OR reserved_value <> due_value ORDER BY id",
        {"open": _OPEN, "alive": _ALIVE},
    )
    for row in every(cursor, _Reservation):
        yield Finding(
            "order_reservation",
            f"order {row.id} reserves {row.reserved_quantity:f} ({row.reserved_value:f}), and should reserve"
            f" {row.due_quantity:f} ({row.due_value:f})",
        )


_BOOKS = (
    f"WITH due AS ({_RESERVES}), held AS ({_POSITIONS}), sums AS (SELECT account, con_id,"
    " sum(due_quantity) FILTER (WHERE side = 'BUY') AS buy, sum(due_quantity) FILTER (WHERE side = 'SELL') AS sell"
    " FROM due GROUP BY account, con_id)"
    " SELECT account, con_id, coalesce(b.position, 0) AS position, coalesce(b.reserved_buy, 0) AS reserved_buy,"
    "  coalesce(b.reserved_sell, 0) AS reserved_sell, coalesce(h.due, 0) AS due_position, coalesce(s.buy, 0) AS due_buy,"
    "  coalesce(s.sell, 0) AS due_sell"
    " FROM risk_book b FULL JOIN held h USING (account, con_id) FULL JOIN sums s USING (account, con_id)"
)


def _books(cursor: Cursor) -> Iterator[Finding]:
    cursor.execute(
        f"SELECT * FROM ({_BOOKS}) b WHERE position <> due_position OR reserved_buy <> due_buy OR reserved_sell <> due_sell"
        " ORDER BY account, con_id",
        {"open": _OPEN, "alive": _ALIVE},
    )
    for row in every(cursor, _Book):
        where = f"account {row.account}, contract {row.con_id}"
        if row.position != row.due_position:
            yield Finding("order_position", f"{where}: position {row.position:f}, executions say {row.due_position:f}")
        for side, sum_, due in (("buy", row.reserved_buy, row.due_buy), ("sell", row.reserved_sell, row.due_sell)):
            if sum_ != due:
                yield Finding("order_reserved_sum", f"{where}: {sum_:f} reserved to {side}, its orders say {due:f}")


def _accounts(cursor: Cursor) -> Iterator[Finding]:
    cursor.execute(
        f"WITH due AS ({_RESERVES}), sums AS (SELECT account, sum(due_value) AS due FROM due GROUP BY account)"
        " SELECT account, coalesce(a.reserved_value, 0) AS reserved_value, coalesce(s.due, 0) AS due"
        " FROM risk_accounts a FULL JOIN sums s USING (account)"
        " WHERE coalesce(a.reserved_value, 0) <> coalesce(s.due, 0) ORDER BY account",
        {"open": _OPEN, "alive": _ALIVE},
    )
    for row in every(cursor, _Account):
        text = f"account {row.account}: a value of {row.reserved_value:f} is reserved, its orders say {row.due:f}"
        yield Finding("order_reserved_sum", text)


def _fills(cursor: Cursor) -> Iterator[Finding]:
    cursor.execute(
        "SELECT o.id, o.filled, coalesce(e.due, 0) AS due FROM orders o LEFT JOIN (SELECT order_id, sum(quantity) AS due"
        " FROM executions WHERE latest GROUP BY order_id) e ON e.order_id = o.id"
        " WHERE o.filled <> coalesce(e.due, 0) ORDER BY o.id"
    )
    for row in every(cursor, _Fill):
        yield Finding("order_fills", f"order {row.id} says {row.filled:f} filled, its executions say {row.due:f}")


def _twice(cursor: Cursor) -> Iterator[Finding]:
    cursor.execute(
        "SELECT account, 'permId ' || p AS what, count(*) AS rows FROM orders CROSS JOIN unnest(perm_ids) AS p"
        " GROUP BY account, p HAVING count(*) > 1 UNION ALL"
        " SELECT min(account), 'order id ' || order_id || ' of client ' || client_id, count(*) FROM orders"
        "  WHERE order_id > 0 AND origin <> 'external' GROUP BY client_id, order_id HAVING count(*) > 1 UNION ALL"
        " SELECT account, 'execution ' || exec_base, count(*) FILTER (WHERE latest) FROM executions"
        "  GROUP BY account, exec_base HAVING count(*) FILTER (WHERE latest) <> 1 OR max(revision) <>"
        "  max(revision) FILTER (WHERE latest) ORDER BY 1, 2"
    )
    for row in every(cursor, _Twice):
        yield Finding("order_twice", f"account {row.account}: {row.what} stands at {row.rows} rows that count")


def _requests(cursor: Cursor) -> Iterator[Finding]:
    cursor.execute(
        "SELECT r.id FROM order_requests r JOIN orders o ON o.id = r.order_id WHERE r.state = ANY(%s)"
        " AND o.state <> ALL(%s) ORDER BY r.asked_at",
        (_OPEN, _ALIVE),
    )
    for request_id in scalars(cursor, UUID):
        yield Finding("order_request_open", f"request {request_id} is open, and its order is over")


def mend_reservations(cursor: Cursor) -> int:
    """Set reservations and positions to what orders, executions and adjustments say, all accounts held; returns how many rows
    were wrong."""
    cursor.execute("SELECT account FROM risk_accounts UNION SELECT account FROM orders")
    risk_book.lock_accounts(cursor, scalars(cursor, str))
    given = {"open": _OPEN, "alive": _ALIVE}
    cursor.execute(
        f"UPDATE orders o SET reserved_quantity = r.due_quantity, reserved_value = r.due_value FROM ({_RESERVES}) r"
        " WHERE r.id = o.id AND (o.reserved_quantity <> r.due_quantity OR o.reserved_value <> r.due_value)",
        given,
    )
    mended = cursor.rowcount
    cursor.execute(
        "INSERT INTO risk_book AS k (account, con_id, position, reserved_buy, reserved_sell)"
        f" SELECT account, con_id, due_position, due_buy, due_sell FROM ({_BOOKS}) b"
        " WHERE position <> due_position OR reserved_buy <> due_buy OR reserved_sell <> due_sell"
        " ON CONFLICT (account, con_id) DO UPDATE SET position = excluded.position, reserved_buy = excluded.reserved_buy,"
        " reserved_sell = excluded.reserved_sell",
        given,
    )
    mended += cursor.rowcount
    cursor.execute(
        f"WITH due AS ({_RESERVES}), sums AS (SELECT account, sum(due_value) AS due FROM due GROUP BY account)"
        " UPDATE risk_accounts a SET reserved_value = coalesce((SELECT due FROM sums s WHERE s.account = a.account), 0)"
        " WHERE reserved_value <> coalesce((SELECT due FROM sums s WHERE s.account = a.account), 0)",
        given,
    )
    return int(mended + cursor.rowcount)
