"""One word of IB for one order: what the rules say about it becomes rows. The caller holds account, contract and order."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from uuid import UUID

from nautilus.db.cursor import Cursor
from nautilus.db.market import calendars
from nautilus.db.monitoring import incidents
from nautilus.db.orders import events, notifications, orders, requests, trading_state
from nautilus.db.orders.events import Event
from nautilus.db.orders.orders import OrderRow
from nautilus.db.orders.requests import RequestRow
from nautilus.monitoring.incidents import Condition
from nautilus.orders.apply import fits, terms_of
from nautilus.orders.outcome import FollowUp, Known, Notice, OrderFacts, Outcome, RequestFacts, Terms
from nautilus.orders.states import AT_BROKER, OVER, OrderState, Pending, RequestKind, RequestState
from nautilus.orders.words import (
    BrokerError,
    Commission,
    CompletedOrder,
    Execution,
    OpenOrder,
    OrderStatus,
    OrderWord,
)

KEEPER = "orders"
"""Who opens and closes the incidents of orders."""
KINDS: Mapping[type[OrderWord], str] = {
    OpenOrder: "open-order",
    OrderStatus: "order-status",
    CompletedOrder: "completed-order",
    Execution: "execution",
    Commission: "commission",
    BrokerError: "broker-error",
}
"""Word -> the kind of its event."""
_WITH_THE_ORDER = frozenset({"order-ghost", "order-twin", "order-waits-for-click"})
"""Incidents that are over when IB shows that the order is, with all its permIds."""
_NOT_CONFIRMED = frozenset({OrderState.SENDING, OrderState.SENT, OrderState.UNKNOWN})
_TAKEN = frozenset({OrderState.HELD, OrderState.WORKING})
"""IB takes orders of this login."""
_TIGHTER = {FollowUp.HALT: "halted", FollowUp.REDUCE: "reducing"}


def facts_of(cursor: Cursor, row: OrderRow, word: OrderWord) -> OrderFacts:
    """What the rules are given of an order, its open requests too."""
    day_ends = _day_ends(cursor, row) if needs_day_end(row, word) else None
    unproven = _unproven(cursor, row) if shows_other_terms(row, word) else None
    return order_facts(row, requests.open_of(cursor, row.id), day_ends=day_ends, unproven=unproven)


def order_facts(
    row: OrderRow,
    open_requests: Iterable[RequestRow],
    *,
    day_ends: int | None,
    unproven: RequestFacts | None = None,
) -> OrderFacts:
    """The same of what was read before. day_ends: the end of an order's day, None where it decides nothing."""
    return OrderFacts(
        id=row.id,
        state=OrderState(row.state),
        quantity=row.quantity,
        pending=Pending(row.pending),
        filled=row.filled,
        average=row.avg_fill_price,
        filled_by_status=row.filled_by_status,
        perm_ids=tuple(row.perm_ids),
        broker_status=row.broker_status,
        why_held=row.why_held,
        type=row.type,
        tif=row.tif,
        good_till=row.good_till,
        day_ends=day_ends,
        confirmed=Terms(row.confirmed_quantity, row.confirmed_limit, row.confirmed_stop),
        notices=tuple(_notice(one) for one in row.notices),
        requests=tuple(_request(one) for one in open_requests),
        unproven=unproven,
    )


def shows_other_terms(row: OrderRow, word: OrderWord) -> bool:
    """Whether IB shows an order otherwise than its row has it."""
    own = Terms(row.quantity, row.limit_price, row.stop_price, row.trail_amount, row.trail_percent, row.tif)
    return isinstance(word, OpenOrder) and not fits(own, terms_of(word))


def _unproven(cursor: Cursor, row: OrderRow) -> RequestFacts | None:
    found = requests.unproven_modify(cursor, row.id)
    return _request(found) if found is not None else None


def needs_day_end(row: OrderRow, word: OrderWord) -> bool:
    """Only where it may decide: whether an end was the end of the day."""
    if row.tif != "DAY" or isinstance(word, (Execution, Commission)):
        return False
    return isinstance(word, BrokerError) or word.status not in ("Submitted", "PreSubmitted", "PendingSubmit", "Filled")


def _day_ends(cursor: Cursor, row: OrderRow) -> int | None:
    return calendars.end_of_day(cursor, row.con_id, row.market_at, "all" if row.outside_rth else "rth")


def _notice(kept: Mapping[str, object]) -> Notice:
    return Notice(int(str(kept.get("code", 0))), str(kept.get("text", "")), int(str(kept.get("ended_perm_id", 0))))


def _request(row: RequestRow) -> RequestFacts:
    return RequestFacts(row.id, RequestKind(row.kind), RequestState(row.state), wanted_terms(row), row.code)


def wanted_terms(row: RequestRow) -> Terms:
    """The terms that a modify wants."""
    wanted = row.wanted
    return Terms(
        **{name: requests.number(wanted, name) for name in Terms.__dataclass_fields__ if name != "tif"},
        tif=str(wanted["tif"]) if wanted.get("tif") is not None else None,
    )


# ---- writing ---------------------------------------------------------------------------------------------------------


def write(
    cursor: Cursor, row: OrderRow, word: OrderWord, outcome: Outcome, *, known: Known, is_waited_for: bool = False
) -> OrderRow:
    """Write what a word changes: requests, the order with its reservation, an event, incidents, the trading state.

    An answer to one of our questions that changes nothing leaves no event: the questions come each minute. is_waited_for: the
    order has open requests, which may be sent when IB has it.
    """
    event = Event(KINDS[type(word)], "ib", known.now_ns, outcome.text or outcome.event, frame_of(word))
    changed = _write_requests(cursor, row, outcome)
    if outcome.changes or changed:
        after = orders.update(cursor, row, _columns(row, outcome, changed), event)
    else:
        after = row
        if known.answer is None or outcome.incidents:
            events.add(cursor, event, account=row.account, order_id=row.id, before=row.state, after=row.state)
    if is_waited_for and (after is not row or known.answer is None):
        notifications.notify(cursor, notifications.CANCELS, notifications.MODIFIES)
    _tell(cursor, row, after, outcome)
    return after


def frame_of(word: OrderWord) -> Mapping[str, object]:
    """The word as it came, or, where nothing of that was kept, its fields."""
    return word.raw or {name: value for name, value in asdict(word).items() if name != "raw"}


def _write_requests(cursor: Cursor, row: OrderRow, outcome: Outcome) -> list[RequestRow]:
    """The requests that changed, as they were before."""
    if not outcome.requests:
        return []
    there = {one.id: one for one in requests.open_of(cursor, row.id)}
    for late in (change.id for change in outcome.requests if change.id not in there):
        found = requests.read(cursor, late)
        there |= {late: found} if found is not None else {}
    changed = [(there[change.id], change) for change in outcome.requests if change.id in there]
    for before, change in changed:
        requests.update(cursor, before, state=change.state, code=change.code, why=change.why)
    return [before._replace(state=change.state) for before, change in changed]


def _columns(row: OrderRow, outcome: Outcome, changed: Iterable[RequestRow]) -> dict[str, object]:
    """The changes as columns, and the value of a unit that a modify which is over leaves behind."""
    columns: dict[str, object] = dict(outcome.changes)
    for request in changed:
        value = unit_value_after(request)
        if value is not None:
            columns["unit_value"] = value
    return columns


def unit_value_after(request: RequestRow) -> object:
    """The value of a unit that an order has when its modify is over; None where the modify changes nothing about it."""
    if request.kind != RequestKind.MODIFY or request.state not in requests.OVER_STATES:
        return None
    confirmed = request.state == RequestState.CONFIRMED
    return requests.number(request.wanted, "unit_value" if confirmed else "unit_value_before")


def _tell(cursor: Cursor, before: OrderRow, after: OrderRow, outcome: Outcome) -> None:
    """Open incidents, close the one of an order that is known again, and tighten the trading state."""
    if outcome.incidents:
        conditions = [
            Condition(one.code, str(after.id), {"text": one.detail, "account": after.account})
            for one in outcome.incidents
        ]
        incidents.tell(cursor, KEEPER, conditions)
    _end_incidents(cursor, before, after)
    for follow_up in outcome.follow_ups:
        if follow_up in _TIGHTER:
            trading_state.tighten(
                cursor, after.account, _TIGHTER[follow_up], reason=_reason(after.id, outcome), set_by="order-process"
            )


def _end_incidents(cursor: Cursor, before: OrderRow, after: OrderRow) -> None:
    """Close what is over by what IB shows. What was opened by this very word stays: it is about an order that was over before."""
    ended: set[str] = set()
    if before.state == OrderState.UNKNOWN != after.state:
        ended.add("order-unknown")
    if before.state in AT_BROKER and after.state in OVER:
        ended |= _WITH_THE_ORDER
    if after.perm_ids and not before.perm_ids:
        ended.add("order-waits-for-click")
    if ended:
        incidents.end(cursor, KEEPER, str(after.id), codes=sorted(ended))
    if before.state in _NOT_CONFIRMED and after.state in _TAKEN:
        incidents.end_code(cursor, KEEPER, "orders-not-allowed")


def _reason(order_id: UUID, outcome: Outcome) -> str:
    details = "; ".join(one.detail for one in outcome.incidents)
    return f"order {order_id}: {details or outcome.text}"
