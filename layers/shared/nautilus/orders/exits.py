"""Exits of an entry that ended after a part of it had filled: they are to protect what was filled, no less and no more.

What IB does with the exits then is not established, so nothing is taken for granted: exits that are still there get the quantity
that was filled, and where IB ended all of them with their entry, new ones are placed at the same prices. An exit that
somebody cancelled stays cancelled.
"""

from collections.abc import Collection, Sequence
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID, uuid4

from nautilus.db.cursor import Cursor
from nautilus.db.orders import events, notifications, orders, requests, risk_book
from nautilus.db.orders.events import Event
from nautilus.db.orders.exact import difference
from nautilus.db.orders.orders import NewOrder, OrderRow
from nautilus.orders import change
from nautilus.orders.account_facts import pending_orders
from nautilus.orders.exposure import pending
from nautilus.orders.groups import oca_group_id
from nautilus.orders.placing_rows import Caller
from nautilus.orders.row_tickets import protects
from nautilus.orders.states import AT_BROKER, BEFORE_SENDING, OVER, OrderState, RequestKind, RequestState
from nautilus.orders.ticket import Side

BY = "order-process"
"""The principal of what the order process changes by itself."""
_NAME = "exits of "
"""With the entry's id: the OCA group of exits that are placed after its end."""
REDUCES = 2
"""OCA type of new exits: a fill of one makes the other smaller, both never fill."""
_WAITING = BEFORE_SENDING | {OrderState.SENDING, OrderState.SENT, OrderState.UNKNOWN}
_ZERO = Decimal(0)


class Resize(NamedTuple):
    """An exit that IB has, and the quantity that it is to have in all. 0: it is to end."""

    exit_id: UUID
    quantity: Decimal


class Plan(NamedTuple):
    """What makes the exits right. resized: those that are there; placed: those at whose prices new ones are placed, for
    `quantity` each. wrong: why nothing can be done about exits that do not fit, in a sentence. waits: nobody knows yet."""

    resized: tuple[Resize, ...] = ()
    placed: tuple[UUID, ...] = ()
    quantity: Decimal = _ZERO
    wrong: str = ""
    waits: bool = False

    @property
    def done(self) -> bool:
        """Whether there is nothing to look after any more."""
        return self == Plan()


class _Bracket(NamedTuple):
    """exits: those that were placed with the entry; added: those that were placed after its end. need: what they are for."""

    entry: OrderRow
    exits: Sequence[OrderRow]
    added: Sequence[OrderRow]
    need: Decimal

    @property
    def all_exits(self) -> list[OrderRow]:
        return [*self.exits, *self.added]


# ---- what is to be done ----------------------------------------------------------------------------------------------


def entries_of(cursor: Cursor, order_ids: Collection[UUID]) -> set[UUID]:
    """The entries of the brackets to which these orders belong, or whose exits they replace."""
    found = {_entry_of(row) for row in orders.several(cursor, list(order_ids))}
    return {entry for entry in found if entry is not None}


def _entry_of(row: OrderRow) -> UUID | None:
    if row.group_kind == "bracket":
        return row.parent_id or row.id
    return UUID(row.oca_group.removeprefix(_NAME)) if protects(row) else None


def plan(cursor: Cursor, entry_id: UUID) -> Plan:
    """What is to be done about the exits of an entry now. Nothing, while IB has the entry, or where nothing of it has filled."""
    entry = orders.lock_with_book(cursor, entry_id)
    if entry is None or entry.state not in OVER or entry.filled <= 0 or entry.group_id is None:
        return Plan()
    if entry.filled == entry.quantity and not _ended_before(cursor, entry):
        return Plan()
    exits = [row for row in orders.of_group(cursor, entry.group_id) if row.id != entry.id]
    added = orders.of_group(cursor, oca_group_id(entry.account, _NAME + str(entry.id)))
    sold = sum((row.filled for row in (*exits, *added)), _ZERO)
    found = _Bracket(entry, exits, added, max(entry.filled - sold, _ZERO))
    if any(row.state in _WAITING for row in found.all_exits):
        return Plan(waits=True)
    alive = [row for row in found.all_exits if row.state in AT_BROKER]
    if alive:
        return _resizing(cursor, found, alive)
    return _placing(cursor, found) if found.need else Plan()


def _ended_before(cursor: Cursor, entry: OrderRow) -> bool:
    """Whether an entry that is filled was over before its last fill came: IB ends the exits with it."""
    return entry.state != OrderState.FILLED or events.filled_late(cursor, entry.id)


def _resizing(cursor: Cursor, found: _Bracket, alive: Sequence[OrderRow]) -> Plan:
    """Exits that IB has get what is to be protected; of what cannot be changed the plan says why."""
    resized: list[Resize] = []
    for row in alive:
        wanted = row.filled + found.need if found.need else _ZERO
        if min(row.quantity, row.confirmed_quantity or row.quantity) == wanted:
            continue
        own = [one for one in requests.of_order(cursor, row.id) if one.principal == BY]
        if requests.open_of(cursor, row.id):
            return Plan(waits=True)
        if any(one.state == RequestState.REFUSED and (one.wanted_quantity or _ZERO) == wanted for one in own):
            return Plan(wrong=f"the {row.group_role} is for {row.quantity:f}, {found.need:f} are filled: {own[-1].why}")
        resized.append(Resize(row.id, wanted))
    return Plan(resized=tuple(resized))


def _placing(cursor: Cursor, found: _Bracket) -> Plan:
    """Where IB ended all exits with their entry, the same ones are placed anew, once."""
    need = f"{found.need:f} of {found.entry.quantity:f} are filled, and no exit protects them"
    if any(_was_cancelled(cursor, row) for row in found.added):
        return Plan()
    if found.added:
        return Plan(wrong=f"{need}: {found.added[0].why or found.added[0].state}")
    lost = [row for row in found.exits if row.state == OrderState.CANCELLED and not _was_cancelled(cursor, row)]
    quantity = min(found.need, _unprotected(cursor, found.entry)) if lost else _ZERO
    return Plan(placed=tuple(row.id for row in lost), quantity=quantity) if quantity > 0 else Plan()


def _unprotected(cursor: Cursor, entry: OrderRow) -> Decimal:
    """How much of the position on the entry's side no open order would close: somebody may have closed it since."""
    side = Side(entry.side)
    held = risk_book.read(cursor, entry.account, entry.con_id).position * side.sign
    others = pending_orders(cursor, orders.open_with_modifies(cursor, entry.account, entry.con_id))
    return difference(held, pending(others, side.opposite))


def _was_cancelled(cursor: Cursor, row: OrderRow) -> bool:
    """Whether somebody wanted the end of an exit itself; a kill of all orders does."""
    return any(one.kind == RequestKind.CANCEL and one.principal != BY for one in requests.of_order(cursor, row.id))


# ---- doing it --------------------------------------------------------------------------------------------------------


def carry_out(cursor: Cursor, entry_id: UUID, wanted: Plan, *, now: int) -> Plan:
    """Do what was planned, if it is still what is to be done; returns the plan of now. now: market time in ns."""
    current = plan(cursor, entry_id)
    if current != wanted or current.wrong:
        return current
    for one in current.resized:
        _resize(cursor, one, now)
    entry = orders.read(cursor, entry_id)
    if entry is not None:
        for exit_id in current.placed:
            _place(cursor, entry, exit_id, current.quantity, now=now)
    notifications.notify(cursor)
    return current


def _resize(cursor: Cursor, one: Resize, now: int) -> None:
    if not one.quantity:
        change.cancel(cursor, one.exit_id, Caller(BY), now=now, source="process")
        return
    row = orders.lock(cursor, one.exit_id)
    if row is not None:
        change.resize_exit(cursor, row, one.quantity, Caller(BY), now=now)


def _place(cursor: Cursor, entry: OrderRow, exit_id: UUID, quantity: Decimal, *, now: int) -> None:
    """A new exit: an order of its own, which the order process checks and sends like others. It is never stale."""
    lost = orders.read(cursor, exit_id)
    if lost is None:
        return
    name = _NAME + str(entry.id)
    text = f"{quantity:f} of the entry {entry.id} were filled when it ended, and IB ended its exits with it"
    new = NewOrder(
        id=uuid4(),
        principal=entry.principal,
        account=lost.account,
        con_id=lost.con_id,
        symbol=lost.symbol,
        instrument_id=lost.instrument_id,
        side=lost.side,
        type=lost.type,
        tif=lost.tif,
        quantity=quantity,
        limit_price=lost.limit_price,
        stop_price=lost.stop_price,
        trail_amount=lost.trail_amount,
        trail_percent=lost.trail_percent,
        good_till=lost.good_till,
        outside_rth=lost.outside_rth,
        group_id=oca_group_id(entry.account, name),
        group_kind="oca",
        group_role=lost.group_role,
        oca_group=name,
        oca_type=REDUCES,
        tags=lost.tags,
        origin=lost.origin,
        state=OrderState.ACCEPTED,
        market_at=now,
        unit_value=lost.unit_value,
        reducing=True,
    )
    orders.insert(cursor, new, Event("accepted", "process", now, text, {"entry": str(entry.id)}))
