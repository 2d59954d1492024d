"""Orders as rows. Whoever inserts or changes one holds the locks of its account and contract (nautilus/db/orders/risk_book.py);
each change settles what the order reserves and writes an event, in the same transaction."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from nautilus.db.cursor import Cursor, Prepared
from nautilus.db.orders import events, risk_book
from nautilus.db.orders.events import Event
from nautilus.db.orders.frames import as_json, clean_text
from nautilus.db.orders.order_rows import NewOrder as NewOrder
from nautilus.db.orders.order_rows import OrderRow as OrderRow
from nautilus.db.orders.order_statements import INSERT, update_of
from nautilus.db.orders.risk_book import AccountRow, ExposureRow, LockedRow
from nautilus.db.prepared import Collision
from nautilus.db.rows import every, joined, one_or_none
from nautilus.orders.states import ALIVE, OVER

_ZERO = Decimal(0)
_ALIVE = sorted(ALIVE)
_OVER = sorted(OVER)
_COLUMNS = ", ".join(OrderRow._fields)
_JSON = frozenset({"notices", "checks"})
_LISTS = frozenset({"perm_ids", "tags"})
_TEXTS = frozenset({"why", "why_held", "broker_status", "symbol", "type", "tif"})
_KEPT = frozenset({"id", "principal", "idempotency_key", "fingerprint", "account", "con_id", "side", "version"})
"""Columns that never change."""
_COMPUTED = frozenset({"reserved_quantity", "reserved_value", "state_since", "sent_at", "acknowledged_at", "over_at"})
"""Columns that follow from the others."""


def _value(column: str, value: Any) -> object:
    """A value as the driver writes it into a column."""
    if column in _JSON:
        return as_json(value)
    if column in _LISTS:
        return list(value)
    return clean_text(value) if column in _TEXTS else value


# ---- writing ---------------------------------------------------------------------------------------------------------


class _Settled(NamedTuple):
    settled: bool


def insert(cursor: Cursor, new: NewOrder, event: Event) -> OrderRow | None:
    """Write an order, what it reserves, and its first event. None when its principal used the idempotency key before: then
    nothing is written, and `by_key` finds the order of that key."""
    fields = {column: _value(column, given) for column, given in new._asdict().items()}
    INSERT.run(cursor, fields | _reserving(new) | risk_book.had(_ZERO, _ZERO) | events.values_of(event))
    return _written(cursor)


def update(cursor: Cursor, before: OrderRow, changes: Mapping[str, object], event: Event) -> OrderRow:
    """Change an order: version one higher, reservation settled, event written; returns the new row.

    An empty `changes` settles the reservation alone, after a request of the order changed. Collision when somebody changed
    the row since `before` was read: whoever read it with `lock` never meets that.
    """
    wrong = sorted(set(changes) & (_KEPT | _COMPUTED) | set(changes) - set(OrderRow._fields))
    if wrong:
        raise ValueError(f"these columns of an order are not set by a change: {', '.join(wrong)}")
    after = before._replace(**changes)  # type: ignore[arg-type]  # the columns are checked above, their types by PostgreSQL
    fields = {column: _value(column, given) for column, given in changes.items()}
    update_of(tuple(sorted(fields))).run(
        cursor,
        fields
        | _reserving(after)
        | risk_book.had(before.reserved_quantity, before.reserved_value)
        | {"_version": before.version, "_moved": after.state != before.state, "_ib": event.source == "ib"}
        | events.values_of(event, before.state),
    )
    row = _written(cursor)
    if row is None:
        raise Collision(f"order {before.id} was changed meanwhile", code="collision", retry_after_s=1)
    return row


def _written(cursor: Cursor) -> OrderRow | None:
    """The order that was written; None when none was. LookupError when its account or contract was not held: no sum moved."""
    for row, settled in joined(cursor, (OrderRow, _Settled)):
        if settled is None or not settled.settled:
            raise LookupError(f"account {row.account} and contract {row.con_id} of order {row.id} are not held")
        return row
    return None


def _reserving(order: NewOrder | OrderRow) -> dict[str, object]:
    """The values of `due`, and of the lists of states."""
    return {
        "_id": order.id,
        "_state": order.state,
        "_quantity": order.quantity,
        "_filled": order.filled if isinstance(order, OrderRow) else _ZERO,
        "_unit_value": order.unit_value,
        "_reducing": order.reducing,
        "_alive": _ALIVE,
        "_over": _OVER,
    }


# ---- reading ---------------------------------------------------------------------------------------------------------


def read(cursor: Cursor, order_id: UUID) -> OrderRow | None:
    cursor.execute(f"SELECT {_COLUMNS} FROM orders WHERE id = %s", (order_id,))
    return one_or_none(cursor, OrderRow)


def several(cursor: Cursor, order_ids: Sequence[UUID]) -> list[OrderRow]:
    """Those of these orders that there are."""
    cursor.execute(f"SELECT {_COLUMNS} FROM orders WHERE id = ANY(%s::uuid[])", (list(order_ids),))
    return every(cursor, OrderRow)


def lock(cursor: Cursor, order_id: UUID) -> OrderRow | None:
    """The order, held until the transaction ends; its account and contract are held already."""
    cursor.execute(f"SELECT {_COLUMNS} FROM orders WHERE id = %s FOR NO KEY UPDATE", (order_id,))
    return one_or_none(cursor, OrderRow)


def lock_several(cursor: Cursor, order_ids: Sequence[UUID]) -> list[OrderRow]:
    """Those of these orders that there are, locked in the order of their ids; their account and contract are held already."""
    cursor.execute(
        f"SELECT {_COLUMNS} FROM orders WHERE id = ANY(%s::uuid[]) ORDER BY id FOR NO KEY UPDATE", (list(order_ids),)
    )
    return every(cursor, OrderRow)


def lock_group(cursor: Cursor, group_id: UUID) -> list[OrderRow]:
    """The same of a group."""
    cursor.execute(f"SELECT {_COLUMNS} FROM orders WHERE group_id = %s ORDER BY id FOR NO KEY UPDATE", (group_id,))
    return every(cursor, OrderRow)


def lock_with_book(cursor: Cursor, order_id: UUID) -> OrderRow | None:
    """Account, contract and order, locked in this order: how a transaction about one order begins."""
    found = hold(cursor, order_id)
    return found.order if found is not None else None


class Held(NamedTuple):
    """An order with the rows of its account and contract, all three locked until the transaction ends."""

    order: OrderRow
    account: AccountRow
    exposure: ExposureRow


_HOLD = Prepared(
    "nautilus_hold_order",
    f"WITH named AS MATERIALIZED (SELECT account, con_id FROM orders WHERE id = $1 AND {risk_book.DURABLE}),"
    f" {risk_book.LOCKED}, own AS MATERIALIZED (SELECT o.* FROM book JOIN orders o ON o.id = $1 FOR NO KEY UPDATE OF o)"
    f" SELECT {risk_book.LOCKED_COLUMNS}, {', '.join(f'own.{name}' for name in OrderRow._fields)}"
    f" FROM {risk_book.LOCKED_ROWS} LEFT JOIN own ON true",
    ("uuid",),
)


def hold(cursor: Cursor, order_id: UUID) -> Held | None:
    """The same with the rows of account and contract; None when there is no such order."""
    cursor.run(_HOLD, (order_id,))
    for locked, found in joined(cursor, (LockedRow, OrderRow)):
        account, exposure = risk_book.of_locked(cursor, locked)
        order = found or lock(cursor, order_id)  # the rows of account and contract were not there before
        return Held(order, account, exposure) if order is not None else None
    return None


def by_key(cursor: Cursor, principal: str, key: str) -> OrderRow | None:
    """The order that a principal placed with this idempotency key; of a group its first order."""
    cursor.execute(f"SELECT {_COLUMNS} FROM orders WHERE principal = %s AND idempotency_key = %s", (principal, key))
    return one_or_none(cursor, OrderRow)


def same_lately(cursor: Cursor, account: str, *, principal: str, fingerprint: str, within_s: float) -> OrderRow | None:
    """The newest order that the web front end placed for this principal with the same body, if it came so lately, in seconds
    of machine time, and was not denied. The caller holds the account."""
    cursor.execute(
        f"SELECT {_COLUMNS} FROM orders WHERE account = %s AND principal = %s AND fingerprint = %s"
        " AND origin = 'front_end' AND state <> 'denied' AND parent_id IS NULL"
        " AND accepted_at > clock_timestamp() - %s * interval '1 s' ORDER BY accepted_at DESC LIMIT 1",
        (account, principal, fingerprint, within_s),
    )
    return one_or_none(cursor, OrderRow)


def of_group(cursor: Cursor, group_id: UUID) -> list[OrderRow]:
    """The orders of a group, in the order in which they were placed."""
    cursor.execute(
        f"SELECT {_COLUMNS} FROM orders WHERE group_id = %s ORDER BY accepted_at, parent_id NULLS FIRST, id",
        (group_id,),
    )
    return every(cursor, OrderRow)


def open_of(cursor: Cursor, account: str, con_id: int | None = None) -> list[OrderRow]:
    """The orders of an account that are not over, the oldest first. con_id: of one contract alone."""
    cursor.execute(
        f"SELECT {_COLUMNS} FROM orders WHERE account = %(account)s AND state = ANY(%(alive)s)"
        " AND state NOT IN ('denied', 'rejected', 'filled', 'cancelled', 'expired')"  # as the index says it
        " AND (%(con_id)s::bigint IS NULL OR con_id = %(con_id)s) ORDER BY accepted_at, id",
        {"account": account, "con_id": con_id, "alive": _ALIVE},
    )
    return every(cursor, OrderRow)


def of_groups(cursor: Cursor, group_ids: Collection[UUID]) -> dict[UUID | None, list[OrderRow]]:
    """Group -> its orders, in the order in which they were placed."""
    found: dict[UUID | None, list[OrderRow]] = {number: [] for number in group_ids}
    if found:
        cursor.execute(
            f"SELECT {_COLUMNS} FROM orders WHERE group_id = ANY(%s::uuid[])"
            " ORDER BY accepted_at, parent_id NULLS FIRST, id",
            (list(group_ids),),
        )
        for row in every(cursor, OrderRow):
            found[row.group_id].append(row)
    return found


class _Modify(NamedTuple):
    wanted: Mapping[str, Any]


_OPEN_WITH_MODIFIES = Prepared(
    "nautilus_open_with_modifies",
    f"SELECT {', '.join(f'o.{name}' for name in OrderRow._fields)}, m.wanted FROM orders o"
    " LEFT JOIN order_requests m ON m.order_id = o.id AND m.kind = 'modify'"
    "  AND m.state IN ('wanted', 'sending', 'sent', 'unknown')"  # as the index says it
    " WHERE o.account = $1 AND o.con_id = $2 AND o.state NOT IN ('denied', 'rejected', 'filled', 'cancelled', 'expired')"
    " ORDER BY o.accepted_at, o.id",
    ("text", "bigint"),
)


def open_with_modifies(cursor: Cursor, account: str, con_id: int) -> list[tuple[OrderRow, Mapping[str, Any] | None]]:
    """The orders of a contract that are not over, the oldest first, each with what its open modify wants (None: it has none)."""
    cursor.run(_OPEN_WITH_MODIFIES, (account, con_id))
    return [(row, modify.wanted if modify is not None else None) for row, modify in joined(cursor, (OrderRow, _Modify))]


def in_state(cursor: Cursor, states: Sequence[str], limit: int = 1_000) -> list[OrderRow]:
    """The orders in one of these states, the oldest first: what waits for being sent, what a crash left behind."""
    cursor.execute(
        f"SELECT {_COLUMNS} FROM orders WHERE state = ANY(%s)"
        " AND state NOT IN ('denied', 'rejected', 'filled', 'cancelled', 'expired') ORDER BY accepted_at, id LIMIT %s",
        (list(states), limit),
    )
    return every(cursor, OrderRow)


class OrderFilter(NamedTuple):
    """Which orders are listed. accounts: None for all. open_only: those that are not over. since: accepted at or after."""

    accounts: Sequence[str] | None = None
    states: Sequence[str] | None = None
    con_id: int | None = None
    origin: str | None = None
    open_only: bool = False
    since: datetime | None = None


class LastListed(NamedTuple):
    """Where a list goes on: behind this order."""

    accepted_at: datetime
    id: UUID


def listed(cursor: Cursor, which: OrderFilter, before: LastListed | None = None, limit: int = 100) -> list[OrderRow]:
    """Orders, the newest first. before: the last one of the page before."""
    states = which.states if not which.open_only else [s for s in _ALIVE if which.states is None or s in which.states]
    cursor.execute(
        f"SELECT {_COLUMNS} FROM orders WHERE (%(accounts)s::text[] IS NULL OR account = ANY(%(accounts)s))"
        " AND (%(states)s::text[] IS NULL OR state = ANY(%(states)s))"
        " AND (%(con_id)s::bigint IS NULL OR con_id = %(con_id)s)"
        " AND (%(origin)s::text IS NULL OR origin = %(origin)s)"
        " AND (%(since)s::timestamptz IS NULL OR accepted_at >= %(since)s)"
        " AND (%(at)s::timestamptz IS NULL OR (accepted_at, id) < (%(at)s, %(id)s::uuid))"
        " ORDER BY accepted_at DESC, id DESC LIMIT %(limit)s",
        {
            "accounts": None if which.accounts is None else list(which.accounts),
            "states": None if states is None else list(states),
            "con_id": which.con_id,
            "origin": which.origin,
            "since": which.since,
            "at": before.accepted_at if before else None,
            "id": before.id if before else None,
            "limit": limit,
        },
    )
    return every(cursor, OrderRow)
