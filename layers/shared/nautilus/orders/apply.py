"""What a word of IB changes of an order. Fills are facts, statuses are rumours: a sum of executions ends an order, a status
that says so asks for them. The table of states decides each move; here a word becomes an event of that table.
"""

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal

from nautilus.orders.codes import refuses
from nautilus.orders.draft import Draft
from nautilus.orders.outcome import FollowUp, Known, OrderFacts, Outcome, Terms
from nautilus.orders.refusals import apply_code
from nautilus.orders.states import ALIVE, Event, OrderState, RequestKind
from nautilus.orders.words import BrokerError, CompletedOrder, Execution, OpenOrder, OrderStatus, Word

STATUSES: Mapping[str, Event] = {
    "ApiPending": Event.PENDING_SUBMIT,
    "PendingSubmit": Event.PENDING_SUBMIT,
    "PreSubmitted": Event.PRE_SUBMITTED,
    "Submitted": Event.SUBMITTED,
    "PendingCancel": Event.PENDING_CANCEL,
    "Inactive": Event.INACTIVE,
    "Filled": Event.STATUS_FILLED,
    "Cancelled": Event.STATUS_CANCELLED,
    "ApiCancelled": Event.STATUS_CANCELLED,
}
"""IB's status words; another one is OTHER_STATUS."""
NAMED: Mapping[Event, Event] = {
    Event.PENDING_SUBMIT: Event.NAMED_SENT,
    Event.PENDING_CANCEL: Event.NAMED_SENT,
    Event.PRE_SUBMITTED: Event.NAMED_HELD,
    Event.SUBMITTED: Event.NAMED_WORKING,
}
"""What a status means where it is no rumour."""
_LIMITED = frozenset({"LMT", "STP LMT", "TRAIL LIMIT", "LIT", "LOC", "REL"})
_STOPPED = frozenset({"STP", "STP LMT", "MIT", "LIT"})
_TRAILING = frozenset({"TRAIL", "TRAIL LIMIT"})
NOT_ABOUT_AN_ORDER = "not_about_an_order"


def apply(order: OrderFacts, word: Word, known: Known) -> Outcome:
    """What becomes of the order by this word. ValueError: an execution without `known.filled`, a bug of the caller's."""
    draft = Draft.of(order)
    match word:
        case OpenOrder(what_if=True):
            return Outcome(NOT_ABOUT_AN_ORDER)
        case OpenOrder():
            _open_order(draft, word, known)
        case OrderStatus():
            _order_status(draft, word, known)
        case CompletedOrder():
            _completed(draft, word, known)
        case Execution():
            _execution(draft, word, known)
        case BrokerError():
            apply_code(draft, word, known)
        case _:
            return Outcome(NOT_ABOUT_AN_ORDER)
    return draft.outcome()


# ---- statuses --------------------------------------------------------------------------------------------------------


def _open_order(draft: Draft, word: OpenOrder, known: Known) -> None:
    certain = _learn_standing(draft, word, known)
    _learn_terms(draft, terms_of(word), answered=known.answer == "open")
    _status(draft, word, known, certain=certain)


def _order_status(draft: Draft, word: OrderStatus, known: Known) -> None:
    certain = _learn_standing(draft, word, known)
    draft.learn_filled_by_status(word.filled)
    _status(draft, word, known, certain=certain)


def _learn_standing(draft: Draft, word: OpenOrder | OrderStatus, known: Known) -> bool:
    """Whether the word is certain: it answers the question for open orders, or shows another order of this reference."""
    twin = draft.learn_perm_id(word.perm_id)
    certain = (twin or known.answer == "open") and not _late_duplicate(draft.now, word)
    # IB tells with orderStatus alone why an order is held; an openOrder comes beside each of them.
    why_held = word.why_held if isinstance(word, OrderStatus) else word.why_held or None
    draft.learn_status(word.status, why_held, certain=certain)
    return certain


def _completed(draft: Draft, word: CompletedOrder, known: Known) -> None:
    draft.learn_perm_id(word.perm_id)
    draft.learn_status(word.status, "", certain=False)
    draft.learn_filled_by_status(word.filled)
    text = f"IB lists it as completed: {word.status}, {word.completed_status or 'without a reason'}"
    match STATUSES.get(word.status, Event.OTHER_STATUS):
        case Event.STATUS_CANCELLED:
            draft.end(word.perm_id, known, text)
        case Event.INACTIVE:
            draft.move(Event.REJECTED if draft.end_perm_id(word.perm_id) else Event.TWIN_ENDED, text)
        case Event.STATUS_FILLED:
            _filled_by_status(draft, word.perm_id, text)
        case _:
            draft.move(Event.OTHER_STATUS, text)


def _status(draft: Draft, word: OpenOrder | OrderStatus, known: Known, *, certain: bool) -> None:
    event = STATUSES.get(word.status, Event.OTHER_STATUS)
    text = f"IB says {word.status}" + (f" ({word.why_held})" if word.why_held else "")
    if event is Event.STATUS_CANCELLED:
        draft.end(word.perm_id, known, text)
        if word.status == "ApiCancelled":
            draft.follow(FollowUp.THREE_QUESTIONS)
        return
    if event is Event.STATUS_FILLED:
        _filled_by_status(draft, word.perm_id, text)
        return
    if event is Event.INACTIVE and draft.now.why_held != "locate" and _was_refused(draft.now):
        event = Event.REJECTED
    elif certain:
        event = NAMED.get(event, event)
    draft.move(event, text)
    if draft.now.state in ALIVE and len(draft.now.perm_ids) < 2 and _whole(draft.now):
        draft.move(Event.FILLED_WHOLE, "its executions fill it")


def _filled_by_status(draft: Draft, perm_id: int, text: str) -> None:
    if draft.fill_one(perm_id, text):
        draft.move(Event.FILLED_WHOLE if _whole(draft.now) else Event.STATUS_FILLED, text)


def _was_refused(order: OrderFacts) -> bool:
    return any(refuses(notice.code) for notice in order.notices if notice.code)


def _late_duplicate(order: OrderFacts, word: OpenOrder | OrderStatus) -> bool:
    """Whether an order that is filled is shown alive as it was before its last fill."""
    shown = word.quantity if isinstance(word, OpenOrder) else word.filled + word.remaining
    return order.state is OrderState.FILLED and len(order.perm_ids) < 2 and order.filled >= shown


# ---- terms -----------------------------------------------------------------------------------------------------------


def terms_of(word: OpenOrder) -> Terms:
    """What IB shows of an order. Its auxiliary price is a stop price, or the amount of a trailing order; IB fills both
    prices with zeros where the type has none."""
    kind = word.type.replace("_", " ")
    limited, stops, trails = (kind in types for types in (_LIMITED, _STOPPED, _TRAILING))
    return Terms(
        quantity=word.quantity,
        limit_price=word.limit_price if limited else None,
        stop_price=word.aux_price if stops else None,
        trail_amount=word.aux_price if trails else None,
        trail_percent=word.trail_percent,
        tif=word.tif,
    )


def _learn_terms(draft: Draft, shown: Terms, *, answered: bool) -> None:
    """Confirm a modify that IB shows. answered: without a modify, what the open orders say is what the order asks for."""
    kept = Terms(shown.quantity, shown.limit_price, shown.stop_price)
    draft.now = replace(draft.now, confirmed=kept)
    modify = draft.now.request(RequestKind.MODIFY)
    if modify and fits(modify.wanted, shown):
        draft.confirm_modify(modify)
    elif modify is None and draft.now.unproven and draft.now.state in ALIVE and fits(draft.now.unproven.wanted, shown):
        draft.confirm_late(draft.now.unproven)
    elif modify is None and answered and draft.now.state in ALIVE and shown.quantity != draft.now.quantity:
        draft.now = replace(draft.now, quantity=shown.quantity or draft.now.quantity)


def fits(wanted: Terms, shown: Terms) -> bool:
    """Whether an order shows all that was wanted."""
    pairs = (
        (wanted.quantity, shown.quantity),
        (wanted.limit_price, shown.limit_price),
        (wanted.stop_price, shown.stop_price),
        (wanted.trail_amount, shown.trail_amount),
        (wanted.trail_percent, shown.trail_percent),
        (wanted.tif, shown.tif),
    )
    return all(want is None or want == show for want, show in pairs)


# ---- fills -----------------------------------------------------------------------------------------------------------


def whole_quantity(order: OrderFacts) -> Decimal:
    """How much may be filled: the most of what we want, what IB last showed, and what a modify at IB wants."""
    modify = order.request(RequestKind.MODIFY)
    wanted = modify.wanted.quantity if modify else None
    return max(order.quantity, order.confirmed.quantity or Decimal(0), wanted or Decimal(0))


def _whole(order: OrderFacts) -> bool:
    """Whether the executions fill the order: all of it, or as much as IB says that it has filled of it in all."""
    if order.filled <= 0:
        return False
    by_status = order.broker_status == "Filled" and order.filled_by_status == order.filled
    return by_status or order.filled >= whole_quantity(order)


def _execution(draft: Draft, word: Execution, known: Known) -> None:
    if known.filled is None:
        raise ValueError("an execution is applied with the sum of all: known.filled")
    draft.learn_perm_id(word.perm_id)
    old = draft.now.filled
    draft.now = replace(draft.now, filled=known.filled, average=known.average)
    text = f"IB executed {word.quantity} at {word.price}: {known.filled} in all"
    if known.filled == old:
        draft.move(Event.REPEATED_FILL, text)
    elif known.filled < old:
        draft.move(Event.CORRECTED, f"{text}, corrected from {old}")
    elif known.filled > whole_quantity(draft.now):
        draft.move(Event.OVERFILLED, f"{text}, and the order is for {draft.now.quantity}")
    else:
        over = _whole(draft.now) and not draft.others_live
        draft.move(Event.FILLED_WHOLE if over else Event.FILLED_IN_PART, text)
    if draft.now.state is OrderState.UNKNOWN:
        draft.follow(FollowUp.THREE_QUESTIONS)
