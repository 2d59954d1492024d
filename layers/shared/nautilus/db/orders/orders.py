"""Orders as rows. Whoever inserts or changes one holds the locks of its account and contract (nautilus/db/orders/risk_book.py);
each change settles what the order reserves and writes an event, in the same transaction."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from nautilus.db.cursor import Cursor
from nautilus.db.orders import events, requests, risk_book
from nautilus.db.orders.events import Event
from nautilus.db.orders.exact import difference, product
from nautilus.db.orders.frames import as_json, clean_text
from nautilus.db.prepared import Collision
from nautilus.db.rows import every, one_or_none
from nautilus.orders.states import ALIVE, OVER

_ZERO = Decimal(0)
_ALIVE = sorted(ALIVE)
_OVER = sorted(OVER)


class OrderRow(NamedTuple):
    """A row of `orders`; docs/data.md says what each column means. Times ending in `_at` and `_since` are machine time, but
    for market_at; good_till, valid_until and market_at are market time in ns."""

    id: UUID
    principal: str
    idempotency_key: str | None
    fingerprint: str
    account: str
    con_id: int
    symbol: str
    instrument_id: str
    side: str
    type: str
    tif: str
    quantity: Decimal
    limit_price: Decimal | None
    stop_price: Decimal | None
    trail_amount: Decimal | None
    trail_percent: Decimal | None
    good_till: int | None
    outside_rth: bool
    group_id: UUID | None
    group_kind: str
    group_role: str
    oca_group: str
    oca_type: int | None
    parent_id: UUID | None
    tags: list[str]
    origin: str
    valid_until: int | None
    state: str
    state_since: datetime
    why: str
    pending: str
    filled: Decimal
    filled_by_status: Decimal | None
    avg_fill_price: Decimal | None
    reserved_quantity: Decimal
    reserved_value: Decimal
    unit_value: Decimal | None
    reducing: bool
    confirmed_quantity: Decimal | None
    confirmed_limit: Decimal | None
    confirmed_stop: Decimal | None
    client_id: int | None
    order_id: int | None
    gateway_session: int | None
    perm_ids: list[int]
    broker_status: str
    why_held: str
    notices: list[dict[str, Any]]
    checks: list[dict[str, Any]]
    version: int
    accepted_at: datetime
    market_at: int
    sent_at: datetime | None
    acknowledged_at: datetime | None
    over_at: datetime | None

    @property
    def alive(self) -> bool:
        return self.state in ALIVE


class NewOrder(NamedTuple):
    """What is known of an order when its row is written; what is left out has its default. state: `accepted`, `denied`, or,
    of an order that IB named first, what IB says."""

    id: UUID
    principal: str
    account: str
    con_id: int
    symbol: str
    side: str
    type: str
    tif: str
    quantity: Decimal
    origin: str
    state: str
    market_at: int
    idempotency_key: str | None = None
    fingerprint: str = ""
    instrument_id: str = ""
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail_amount: Decimal | None = None
    trail_percent: Decimal | None = None
    good_till: int | None = None
    outside_rth: bool = False
    group_id: UUID | None = None
    group_kind: str = ""
    group_role: str = ""
    oca_group: str = ""
    oca_type: int | None = None
    parent_id: UUID | None = None
    tags: Sequence[str] = ()
    valid_until: int | None = None
    why: str = ""
    unit_value: Decimal | None = None
    reducing: bool = False
    client_id: int | None = None
    order_id: int | None = None
    gateway_session: int | None = None
    perm_ids: Sequence[int] = ()
    broker_status: str = ""
    checks: Sequence[Mapping[str, object]] = ()


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


def insert(cursor: Cursor, new: NewOrder, event: Event) -> OrderRow | None:
    """Write an order, what it reserves, and its first event. None when its principal used the idempotency key before: then
    nothing is written, and `by_key` finds the order of that key."""
    quantity, value = reservation(new.state, new.quantity, _ZERO, unit_value=new.unit_value, reducing=new.reducing)
    fields = {column: _value(column, given) for column, given in new._asdict().items()}
    fields |= {"reserved_quantity": quantity, "reserved_value": value}
    placeholders = ", ".join(f"%({column})s" for column in fields)
    cursor.execute(
        events.with_event(
            f"INSERT INTO orders ({', '.join(fields)}, over_at) VALUES ({placeholders}, CASE WHEN %(_state)s = ANY(%(_over)s)"
            " THEN clock_timestamp() END) ON CONFLICT (principal, idempotency_key) DO NOTHING",
            _COLUMNS,
        ),
        fields | {"_state": new.state, "_over": _OVER} | events.values_of(event),
    )
    row = one_or_none(cursor, OrderRow)
    if row is not None:
        risk_book.settle(cursor, None, row)
    return row


def update(cursor: Cursor, before: OrderRow, changes: Mapping[str, object], event: Event) -> OrderRow:
    """Change an order: version one higher, reservation settled, event written; returns the new row.

    An empty `changes` settles the reservation alone, after a request of the order changed. Collision when somebody changed
    the row since `before` was read: whoever read it with `lock` never meets that.
    """
    wrong = sorted(set(changes) & (_KEPT | _COMPUTED) | set(changes) - set(OrderRow._fields))
    if wrong:
        raise ValueError(f"these columns of an order are not set by a change: {', '.join(wrong)}")
    after = before._replace(**changes)  # type: ignore[arg-type]  # the columns are checked above, their types by PostgreSQL
    wanted = requests.open_modify_quantity(cursor, before.id) if after.alive else None
    quantity, value = reservation(
        after.state, after.quantity, after.filled, wanted=wanted, unit_value=after.unit_value, reducing=after.reducing
    )
    fields = {column: _value(column, given) for column, given in changes.items()}
    fields |= {"reserved_quantity": quantity, "reserved_value": value}
    changed = ", ".join(f"{column} = %({column})s" for column in fields)
    cursor.execute(
        events.with_event(
            f"UPDATE orders SET {changed}, version = version + 1, {_TIMES} WHERE id = %(_id)s AND version = %(_version)s",
            _COLUMNS,
        ),
        fields
        | {"_id": before.id, "_version": before.version, "_state": after.state, "_over": _OVER}
        | {"_moved": after.state != before.state, "_ib": event.source == "ib", **events.values_of(event, before.state)},
    )
    row = one_or_none(cursor, OrderRow)
    if row is None:
        raise Collision(f"order {before.id} was changed meanwhile", code="collision", retry_after_s=1)
    risk_book.settle(cursor, before, row)
    return row


_TIMES = (
    "state_since = CASE WHEN %(_moved)s THEN clock_timestamp() ELSE state_since END,"
    " sent_at = CASE WHEN %(_moved)s AND %(_state)s = 'sending' THEN clock_timestamp() ELSE sent_at END,"
    " acknowledged_at = CASE WHEN %(_ib)s THEN coalesce(acknowledged_at, clock_timestamp()) ELSE acknowledged_at END,"
    " over_at = CASE WHEN %(_state)s = ANY(%(_over)s) THEN coalesce(over_at, clock_timestamp()) END"
)


def reservation(
    state: str,
    quantity: Decimal,
    filled: Decimal,
    *,
    wanted: Decimal | None = None,
    unit_value: Decimal | None,
    reducing: bool,
) -> tuple[Decimal, Decimal]:
    """What an order reserves: quantity, and value in base currency. wanted: the quantity of an open modify."""
    largest = quantity if wanted is None else max(quantity, wanted)
    held = max(difference(largest, filled), _ZERO) if state in ALIVE else _ZERO
    return held, _ZERO if reducing or unit_value is None else product(held, unit_value)


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


def lock_with_book(cursor: Cursor, order_id: UUID) -> OrderRow | None:
    """Account, contract and order, locked in this order: how a transaction about one order begins."""
    found = read(cursor, order_id)
    if found is None:
        return None
    risk_book.lock_account(cursor, found.account)
    risk_book.lock_exposure(cursor, found.account, found.con_id)
    return lock(cursor, order_id)


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
