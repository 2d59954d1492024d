"""Modify, cancel and resolve an order. What must be sent to IB becomes a row of `order_requests`; what it never had ends at once.

No check stands before a cancel. A modify reserves the larger of old and new until IB confirms or refuses it.
"""

from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Literal, NamedTuple
from uuid import UUID, uuid4

from nautilus.db.cursor import Cursor
from nautilus.db.monitoring import incidents
from nautilus.db.orders import notifications, orders, requests
from nautilus.db.orders.events import Event
from nautilus.db.orders.exact import difference
from nautilus.db.orders.orders import Held, OrderRow
from nautilus.db.orders.requests import RequestRow
from nautilus.errors import Conflict, InvalidInput, NotFound
from nautilus.market.instrument import Instrument
from nautilus.orders import checks
from nautilus.orders.account_facts import with_account
from nautilus.orders.applying import KEEPER
from nautilus.orders.check_case import Case
from nautilus.orders.checks import Refusal
from nautilus.orders.facts import Facts
from nautilus.orders.groups import legs
from nautilus.orders.outcome import Terms
from nautilus.orders.placing_rows import Caller
from nautilus.orders.row_tickets import columns_of, ticket_of
from nautilus.orders.states import BEFORE_SENDING, OrderState, Pending, RequestKind, RequestState, after
from nautilus.orders.states import Event as Happening

ResolvedAs = Literal["never_arrived", "cancelled", "modify_not_done"]
_ONE_QUANTITY = (
    "of the orders of a bracket stays what it is, as its exits would end another quantity than its entry begins; cancel it and"
    " place another one, or change prices alone"
)
_NOTHING: Mapping[str, object] = MappingProxyType({})


class Changed(NamedTuple):
    """What became of a request to change an order. request: None when refused by checks. repeated: it was there before."""

    order: OrderRow
    request: RequestRow | None
    refusals: tuple[Refusal, ...] = ()
    repeated: bool = False


# ---- modify ----------------------------------------------------------------------------------------------------------


def modify(
    cursor: Cursor,
    order_id: UUID,
    terms: Terms,
    caller: Caller,
    *,
    version: int | None,
    instrument: Instrument,
    facts: Facts,
) -> Changed:
    """Ask for other terms; what is None stays. version: the row's, as the caller saw it; None: whatever it is now.

    An order that was not sent has them at once. Conflict: the order is over, external, changed meanwhile, or another modify is
    under way. Refusals of the checks write nothing.
    """
    held = _held(cursor, order_id)
    row = held.order
    known = _repeated(cursor, row, caller, RequestKind.MODIFY)
    if known is not None:
        return known
    _may_change(row)
    if version is not None and version != row.version:
        raise Conflict(
            f"the order changed since version {version}; it is {row.version} now",
            code="order-changed",
            extra={"version": row.version},
        )
    open_requests = requests.open_of(cursor, row.id)
    _nothing_in_the_way(row, open_requests)
    wanted = _wanted(row, terms)
    if "quantity" in wanted and row.group_kind == "bracket":
        raise InvalidInput.field("quantity", _ONE_QUANTITY, (f"{row.quantity:f}",))
    facts = with_account(cursor, facts, held.account, held.exposure, principal=caller.principal, changes=row)
    ticket = ticket_of(row, instrument, terms)
    refusals = tuple(checks.run(ticket, facts, "function"))
    if refusals:
        return Changed(row, None, refusals)
    case = Case(ticket, legs(ticket)[0], facts)
    if row.state == OrderState.ACCEPTED:
        return _modify_unsent(cursor, row, wanted, caller, unit_value=case.reserved_unit_value, now=facts.now)
    return _ask_for(cursor, row, wanted, caller, unit_value=case.reserved_unit_value, now=facts.now)


def _nothing_in_the_way(row: OrderRow, open_requests: list[RequestRow]) -> None:
    for request in open_requests:
        if request.kind == RequestKind.CANCEL:
            raise Conflict("a cancel of this order is under way", code="order-cancel-pending")
        text = "IB has not said what became of" if request.state == RequestState.UNKNOWN else "there is"
        raise Conflict(f"{text} another modify of this order", code="order-modify-pending")
    if row.state == OrderState.UNKNOWN:
        raise Conflict(
            "nobody knows whether IB has this order; it cannot be changed, only cancelled", code="order-unknown"
        )
    if row.state == OrderState.RESERVED:
        raise Conflict("the order is being sent in this moment; try again", code="order-being-sent")


def _wanted(row: OrderRow, terms: Terms) -> dict[str, object]:
    """The terms that differ from the order's. InvalidInput where none does, or less is wanted than has filled."""
    wanted = {name: value for name, value in columns_of(terms).items() if getattr(row, name) != value}
    if not wanted:
        raise InvalidInput(
            "nothing would change: name a quantity, a price or a time in force that differs", code="no-change"
        )
    if terms.quantity is not None and terms.quantity <= row.filled:
        raise InvalidInput.field("quantity", f"must be more than the {row.filled:f} that have filled; cancel the rest")
    return wanted


def _modify_unsent(
    cursor: Cursor, row: OrderRow, wanted: Mapping[str, object], caller: Caller, *, unit_value: Decimal | None, now: int
) -> Changed:
    """Nobody but us has it: its row is changed, and the request is confirmed at once."""
    request = _insert(cursor, row, RequestKind.MODIFY, caller, wanted=wanted)
    done = requests.update(cursor, request, state=RequestState.CONFIRMED, why="the order was not sent yet")
    event = Event("modified", "api", now, "changed before it was sent", wanted)
    after_row = orders.update(cursor, row, {**wanted, "unit_value": unit_value}, event)
    notifications.notify(cursor, notifications.SENDING)
    return Changed(after_row, done)


def _ask_for(
    cursor: Cursor, row: OrderRow, wanted: Mapping[str, object], caller: Caller, *, unit_value: Decimal | None, now: int
) -> Changed:
    """Reserve the larger of old and new in quantity and in value, and leave the rest to the order process."""
    kept = {"unit_value": unit_value, "unit_value_before": row.unit_value} if unit_value is not None else {}
    request = _insert(cursor, row, RequestKind.MODIFY, caller, wanted={**wanted, **kept})
    larger = max((one for one in (unit_value, row.unit_value) if one is not None), default=None)
    changes = {"unit_value": larger} if larger != row.unit_value else {}
    event = Event("modify-wanted", "api", now, f"{caller.principal} wants other terms", wanted)
    after_row = orders.update(cursor, row, changes, event)
    notifications.notify(cursor, notifications.MODIFIES)
    return Changed(after_row, request)


def resize_exit(cursor: Cursor, row: OrderRow, quantity: Decimal, caller: Caller, *, now: int) -> Changed:
    """Ask for another quantity of an exit whose entry ended when a part of it had filled. The order process checks it."""
    return _ask_for(cursor, row, {"quantity": quantity}, caller, unit_value=row.unit_value, now=now)


# ---- cancel ----------------------------------------------------------------------------------------------------------


def cancel(cursor: Cursor, order_id: UUID, caller: Caller, *, now: int, source: str = "api") -> Changed:
    """Ask for the end of an order. What was not sent ends at once, with the exits of a bracket; a cancel that is under way is
    answered again. Conflict: the order is over, or external. now: market time in ns."""
    row = _held(cursor, order_id).order
    known = _repeated(cursor, row, caller, RequestKind.CANCEL)
    if known is not None:
        return known
    _may_change(row)
    if row.state in BEFORE_SENDING:
        return _cancel_unsent(cursor, row, caller, now=now, source=source)
    for request in requests.open_of(cursor, row.id):
        if request.kind == RequestKind.CANCEL and request.state != RequestState.UNKNOWN:
            return Changed(row, request, repeated=True)
        if request.kind == RequestKind.MODIFY and request.state == RequestState.WANTED:
            row = _overtake(cursor, row, request, now=now, source=source)
    made = _insert(cursor, row, RequestKind.CANCEL, caller)
    row = orders.update(cursor, row, {}, Event("cancel-wanted", source, now, f"{caller.principal} wants its end"))
    notifications.notify(cursor, notifications.CANCELS)
    return Changed(row, made)


def _cancel_unsent(cursor: Cursor, row: OrderRow, caller: Caller, *, now: int, source: str) -> Changed:
    request = _insert(cursor, row, RequestKind.CANCEL, caller)
    done = requests.update(cursor, request, state=RequestState.CONFIRMED, why="the order was not sent yet")
    text = f"cancelled by {caller.principal} before it was sent"
    row = _end_unsent(cursor, row, text, now=now, source=source)
    if row.group_role == "parent" and row.group_id is not None:
        for leg in orders.of_group(cursor, row.group_id):
            held = orders.lock(cursor, leg.id) if leg.id != row.id and leg.state in BEFORE_SENDING else None
            if held is not None:
                _end_unsent(cursor, held, "its entry was cancelled before it was sent", now=now, source=source)
    notifications.notify(cursor, notifications.SENDING)
    return Changed(row, done)


def _end_unsent(cursor: Cursor, row: OrderRow, why: str, *, now: int, source: str) -> OrderRow:
    for request in requests.open_of(cursor, row.id):
        requests.update(cursor, request, state=RequestState.OVERTAKEN, why=why)
    state = after(OrderState(row.state), Happening.CANCELLED_UNSENT)
    return orders.update(cursor, row, {"state": state, "why": why}, Event("cancelled", source, now, why))


def _overtake(cursor: Cursor, row: OrderRow, request: RequestRow, *, now: int, source: str) -> OrderRow:
    """A modify that was not sent is not sent any more; what it reserved returns."""
    why = "the order is to be cancelled"
    requests.update(cursor, request, state=RequestState.OVERTAKEN, why=why)
    value = requests.number(request.wanted, "unit_value_before")
    changes = {} if value is None else {"unit_value": value}
    return orders.update(cursor, row, changes, Event("modify-overtaken", source, now, why))


# ---- resolve ---------------------------------------------------------------------------------------------------------


def resolve(cursor: Cursor, order_id: UUID, outcome: ResolvedAs, *, by: str, note: str, now: int) -> OrderRow:
    """A person says what became of an order that is `unknown`, or of its modify. Evidence that comes later counts more.

    Conflict where it is not unknown. note: why they know; not empty.
    """
    if not note.strip():
        raise InvalidInput.field("note", "must say how you know, in a sentence")
    row = _held(cursor, order_id).order
    if outcome == "modify_not_done":
        return _resolve_modify(cursor, row, f"not done, says {by}: {note.strip()}", now)
    if row.state != OrderState.UNKNOWN:
        raise Conflict(f"the order is {row.state}, not unknown", code="order-not-unknown", extra={"state": row.state})
    happening = Happening.RESOLVED_CANCELLED if outcome == "cancelled" else Happening.RESOLVED_NEVER_ARRIVED
    why = f"{outcome}, says {by}: {note.strip()}"
    for request in requests.open_of(cursor, row.id):
        requests.update(cursor, request, state=RequestState.OVERTAKEN, why=why)
    changes = {"state": after(OrderState.UNKNOWN, happening), "why": why, "pending": ""}
    row = orders.update(cursor, row, changes, Event("resolved", "person", now, why))
    incidents.end(cursor, KEEPER, str(row.id))
    notifications.notify(cursor)
    return row


def _resolve_modify(cursor: Cursor, row: OrderRow, why: str, now: int) -> OrderRow:
    for request in requests.open_of(cursor, row.id):
        if request.kind == RequestKind.MODIFY and request.state != RequestState.WANTED:
            event = Event("resolved", "person", now, why, {"request": str(request.id)})
            done = refuse_modify(cursor, row, request, why=why, event=event)
            if done is not None:
                notifications.notify(cursor)
                return done
    raise Conflict("there is no modify of this order that IB may have", code="modify-not-unknown")


def refuse_modify(cursor: Cursor, row: OrderRow, request: RequestRow, *, why: str, event: Event) -> OrderRow | None:
    """End a modify as refused without a word of IB; what it reserved returns. None when it has another state by now. The order is
    held."""
    if requests.update(cursor, request, state=RequestState.REFUSED, why=why) is None:
        return None
    left = {one.kind for one in requests.open_of(cursor, row.id) if one.state != RequestState.WANTED}
    pending = Pending.CANCEL if RequestKind.CANCEL in left else Pending.NONE
    value = requests.number(request.wanted, "unit_value_before")
    return orders.update(cursor, row, {"pending": pending, **({} if value is None else {"unit_value": value})}, event)


# ---- all -------------------------------------------------------------------------------------------------------------


def _held(cursor: Cursor, order_id: UUID) -> Held:
    held = orders.hold(cursor, order_id)
    if held is None:
        raise NotFound(f"there is no order {order_id}", code="order-not-found")
    return held


def _may_change(row: OrderRow) -> None:
    if row.origin == "external":
        raise Conflict("the order was placed beside this system; change it where it was placed", code="order-external")
    if not row.alive:
        raise Conflict(f"the order is over: {row.state}", code="order-over", extra={"state": row.state, "why": row.why})


def _repeated(cursor: Cursor, row: OrderRow, caller: Caller, kind: RequestKind) -> Changed | None:
    """The request that this caller made with this key before. InvalidInput when it was another one."""
    found = requests.by_key(cursor, caller.principal, caller.key) if caller.key is not None else None
    if found is None:
        return None
    if found.order_id != row.id or found.kind != kind or found.wanted.get("fingerprint", "") != caller.fingerprint:
        raise InvalidInput(
            "Idempotency-Key: this key was used for another request; take a new one", code="idempotency-key-reused"
        )
    return Changed(row, found, repeated=True)


def _insert(
    cursor: Cursor, row: OrderRow, kind: RequestKind, caller: Caller, *, wanted: Mapping[str, object] = _NOTHING
) -> RequestRow:
    quantity = wanted.get("quantity")
    extra = (
        difference(quantity, row.quantity) if isinstance(quantity, Decimal) and quantity > row.quantity else Decimal(0)
    )
    return requests.insert(
        cursor,
        request_id=uuid4(),
        order_id=row.id,
        account=row.account,
        principal=caller.principal,
        kind=kind,
        wanted={**wanted, **({"fingerprint": caller.fingerprint} if caller.fingerprint else {})},
        extra_reserved=extra,
        idempotency_key=caller.key,
    )
