"""What a code of IB changes of an order, and of the requests to change it. The table of codes says what each means."""

from dataclasses import dataclass

from nautilus.orders.codes import About, Act, CodeRule, rule
from nautilus.orders.draft import Draft
from nautilus.orders.outcome import FollowUp, Known, Notice, OrderFacts, RequestFacts
from nautilus.orders.states import OVER, Event, OrderState, RequestKind, RequestState
from nautilus.orders.words import BrokerError

_NOT_TAKEN = frozenset({OrderState.SENDING, OrderState.SENT, OrderState.UNKNOWN})


_TWIN = (
    "IB has this order more than once, and its order id does not reach all: cancel the others in TWS, or by a kill with"
    " `everything`"
)


@dataclass(frozen=True, slots=True)
class _Code:
    code: int
    rule: CodeRule
    text: str
    """For `why` and the notices: the reason, IB's code and IB's text."""


def apply_code(draft: Draft, word: BrokerError, known: Known) -> None:
    """The effect of an error or notice that has the number of this order."""
    found = rule(word.code, word.text)
    if found.act is Act.REJECT and word.code == 200 and not known.contracts_known:
        found = CodeRule(About.ORDER, Act.UNCERTAIN, found.reason, found.text)
    code = _Code(word.code, found, f"{found.reason}: IB {word.code}: {word.text}")
    request = _addressee(draft.now, found)
    if found.incident:
        draft.alarm(found.incident, f"{code.text} ({found.text})")
    if request:
        _about_request(draft, request, code)
    elif found.about is About.CONNECTION:
        draft.event = Event.NOTICE
    else:
        _about_order(draft, code, known)


def taken(order: OrderFacts) -> bool:
    """Whether IB has accepted the order, as far as its messages say."""
    return bool(order.perm_ids) or order.state in (OrderState.HELD, OrderState.WORKING)


def _addressee(order: OrderFacts, found: CodeRule) -> RequestFacts | None:
    """The request that a code is about; None: it is about the order."""
    modify, cancel = order.request(RequestKind.MODIFY), order.request(RequestKind.CANCEL)
    if found.act in (Act.NOTICE, Act.CANCEL, Act.SLOW_DOWN) or not (modify or cancel):
        return None
    if found.act is Act.HALT and taken(order):
        return cancel or modify
    if found.about is About.REQUEST:
        first, second = (cancel, modify) if found.act in (Act.NOT_FOUND, Act.UNCERTAIN) else (modify, cancel)
        return first or second
    return modify if taken(order) else None


# ---- about a request -------------------------------------------------------------------------------------------------


def _about_request(draft: Draft, request: RequestFacts, code: _Code) -> None:
    state = RequestState.REFUSED
    if code.rule.act is Act.UNCERTAIN:
        state = RequestState.UNKNOWN
    elif code.rule.act is Act.REQUEST_ONCE_MORE and request.code != code.code:
        state = RequestState.WANTED
    elif code.rule.act is Act.HALT and request.kind is RequestKind.CANCEL:
        state = RequestState.WANTED  # a read-only gateway did not take it; it goes out when the box is unticked
    half_done = state is RequestState.REFUSED and request.kind is RequestKind.CANCEL and len(draft.now.perm_ids) > 1
    draft.set_request(request, state, code=code.code, why=code.text + (f"; {_TWIN}" if half_done else ""))
    draft.move(Event.REQUEST_REFUSED if state is RequestState.REFUSED else Event.NOTICE, code.text)
    draft.follow(_after_refusal(code.rule.act))


def _after_refusal(act: Act) -> FollowUp:
    if act is Act.ALREADY_FILLED:
        return FollowUp.ASK_EXECUTIONS
    return FollowUp.THREE_QUESTIONS if act in (Act.NOT_FOUND, Act.UNCERTAIN) else FollowUp.REREAD


# ---- about the order -------------------------------------------------------------------------------------------------


def _about_order(draft: Draft, code: _Code, known: Known) -> None:
    match code.rule.act:
        case Act.NOTICE:
            draft.note(Notice(code.code, code.text))
            draft.move(Event.NOTICE, code.text)
        case Act.CANCEL:
            draft.end(0, known, code.text)
        case Act.REJECT | Act.HALT:
            _refused(draft, code)
        case Act.ONCE_MORE:
            _once_more(draft, code, known)
        case Act.UNCERTAIN if code.rule.about is not About.REQUEST:
            draft.note(Notice(code.code, code.text))
            draft.move(Event.UNCERTAIN, code.text)
        case _:
            _answer_without_request(draft, code)


def _refused(draft: Draft, code: _Code) -> None:
    order = draft.now
    draft.note(Notice(code.code, code.text))
    untouched = not taken(order) and order.filled == 0
    early = order.state in _NOT_TAKEN and not taken(order)
    if early or order.state is OrderState.INACTIVE or (order.state is OrderState.CANCELLED and untouched):
        draft.move(Event.REFUSED, code.text)
    else:
        draft.move(Event.REFUSED_LATER, code.text)


def _once_more(draft: Draft, code: _Code, known: Known) -> None:
    """Back to `accepted` once, where it is proven that IB does not have the order."""
    order = draft.now
    first = not any(notice.code == code.code for notice in order.notices)
    proven = order.state is OrderState.SENDING and not order.perm_ids and order.filled == 0
    draft.note(Notice(code.code, code.text))
    if first and proven and not (code.code == 103 and known.id_used_before):
        draft.move(Event.REFUSED_ONCE, code.text)
        draft.extra |= {"order_id": None, "client_id": None, "gateway_session": None}
    elif code.code == 10006 and proven:
        draft.move(Event.REFUSED, code.text)
        draft.follow(FollowUp.CANCEL_GROUP)
    else:
        draft.move(Event.UNCERTAIN, code.text)
    if code.code == 103:
        draft.follow(FollowUp.RAISE_ORDER_ID)


def _answer_without_request(draft: Draft, code: _Code) -> None:
    """An answer to a request that is not open: a late one, or IB took a new order for a modify."""
    if draft.now.state in _NOT_TAKEN and not taken(draft.now):
        draft.note(Notice(code.code, code.text))
        draft.move(Event.UNCERTAIN, code.text)
    else:
        draft.move(Event.NOTICE, code.text)
    if draft.now.state not in OVER:
        draft.follow(_after_refusal(code.rule.act))
