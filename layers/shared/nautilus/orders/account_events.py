"""What happened to the orders of accounts, as sockets tell it: each event with the order or the fill that it is about."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from nautilus.db.cursor import Cursor
from nautilus.db.orders import events, executions, orders
from nautilus.db.orders.events import EventRow
from nautilus.db.orders.executions import ExecutionRow
from nautilus.db.orders.orders import OrderFilter, OrderRow
from nautilus.orders.applying import KINDS
from nautilus.orders.report import described
from nautilus.orders.states import OVER
from nautilus.orders.words import Commission, Execution

OF_FILLS = (KINDS[Execution], KINDS[Commission])
"""Kinds of events that tell of a fill."""

MOST_OPEN, SHOWN_OVER = 1_000, 200
"""Orders of the web front end's list, which has no pages: those that are not over, and of those that are the newest."""


class AccountEvent(NamedTuple):
    """An event, and what is known of it.

    order: as it was when the event was read; it may be newer than the event. None: the event fits no order. described: the
    same as the API tells it. fill: the revisions of the execution that it brought, up to its own; empty: it brought none, or
    nothing new.
    """

    row: EventRow
    order: OrderRow | None
    described: Mapping[str, Any] | None
    fill: Sequence[ExecutionRow]


class Missed(NamedTuple):
    """What a reader of an account missed. newest: id of the account's last event, 0 without any. events: those since;
    None: there are too many, or nobody knows, as the id that the reader had is no event of the account."""

    newest: int
    events: Sequence[AccountEvent] | None


class OpenOrders(NamedTuple):
    """The open orders of an account, the newest first, and the id of its last event. whole: there are no more."""

    newest: int
    orders: Sequence[tuple[OrderRow, Mapping[str, Any]]]
    whole: bool


def after(cursor: Cursor, seen: Mapping[str, int], limit: int) -> list[AccountEvent]:
    """What came after the events that a reader has seen, the oldest first. seen: account -> id of the last one."""
    return _with_details(cursor, events.after(cursor, seen, limit))


def missed(cursor: Cursor, account: str, last_id: int, most: int, *, fills: bool = False) -> Missed:
    """What a reader who was away missed. most: of so many events. fills: it reads those of fills alone."""
    last = newest(cursor, account)
    if last_id and not events.is_of(cursor, last_id, account):
        return Missed(last, None)
    rows = events.after(cursor, {account: last_id}, most + 1, kinds=OF_FILLS if fills else None)
    return Missed(last, _with_details(cursor, rows) if len(rows) <= most else None)


def open_orders(cursor: Cursor, account: str, most: int) -> OpenOrders:
    """How an account stands now."""
    found = orders.listed(cursor, OrderFilter(accounts=[account], open_only=True), limit=most + 1)
    shown = found[:most]
    pairs = tuple(zip(shown, described(cursor, shown), strict=True))
    return OpenOrders(newest(cursor, account), pairs, whole=len(found) <= most)


def overview(cursor: Cursor, accounts: Sequence[str] | None) -> list[OrderRow]:
    """The orders of accounts (None: of all) that are not over, MOST_OPEN at most, and the SHOWN_OVER newest of those that are;
    the newest first."""
    which = OrderFilter(accounts=accounts)
    alive = orders.listed(cursor, which._replace(open_only=True), limit=MOST_OPEN)
    over = orders.listed(cursor, which._replace(states=sorted(OVER)), limit=SHOWN_OVER)
    return sorted(alive + over, key=lambda row: (row.accepted_at, row.id), reverse=True)


def newest(cursor: Cursor, account: str) -> int:
    """The id of the account's last event; 0 without any."""
    return events.newest(cursor, [account])[account]


def _with_details(cursor: Cursor, rows: Sequence[EventRow]) -> list[AccountEvent]:
    ids = {row.order_id for row in rows if row.order_id is not None}
    found = orders.several(cursor, list(ids)) if ids else []
    known: dict[UUID | None, OrderRow] = {order.id: order for order in found}
    about: dict[UUID | None, Mapping[str, Any]] = dict(zip(known, described(cursor, found), strict=True))
    fill_ids = [row.id for row in rows if row.kind in OF_FILLS]
    fills = executions.of_events(cursor, fill_ids) if fill_ids else {}
    return [AccountEvent(row, known.get(row.order_id), about.get(row.order_id), fills.get(row.id, ())) for row in rows]
