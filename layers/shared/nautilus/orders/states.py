"""The states of an order, and one table of how it comes from one to the next.

What is not in the table changes nothing: a word of IB is logged and a person is alarmed; a step of ours raises.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import NamedTuple


class OrderState(StrEnum):
    """How an order stands, by what is committed. From `sending` on, IB may have it."""

    ACCEPTED = "accepted"
    """Stored and reserved for; not sent."""
    RESERVED = "reserved"
    """It has its order id; not sent."""
    SENDING = "sending"
    """Committed before the write: it may have been written."""
    SENT = "sent"
    """IB has it and has not confirmed it."""
    HELD = "held"
    """IB confirmed it and holds it: closed market, trigger, parent, locate."""
    WORKING = "working"
    INACTIVE = "inactive"
    """IB says `Inactive` and not why: refused, or held. It may still fill."""
    UNKNOWN = "unknown"
    """It may exist, and may fill. Evidence or a person ends this, time never."""
    DENIED = "denied"
    """Our own checks refused it; it was never sent."""
    REJECTED = "rejected"
    """IB or the exchange refused it."""
    FILLED = "filled"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    """IB says that its time in force ended."""


class Pending(StrEnum):
    """What was sent to change an order and is not confirmed. A cancel hides a modify."""

    NONE = ""
    MODIFY = "modify"
    CANCEL = "cancel"


class RequestKind(StrEnum):
    MODIFY = "modify"
    CANCEL = "cancel"


class RequestState(StrEnum):
    """How a request to modify or cancel an order stands."""

    WANTED = "wanted"
    SENDING = "sending"
    """Committed before the write: it may have been written."""
    SENT = "sent"
    UNKNOWN = "unknown"
    """It may have been done."""
    CONFIRMED = "confirmed"
    REFUSED = "refused"
    OVERTAKEN = "overtaken"
    """The order was over before it was done."""


_S = OrderState
BEFORE_SENDING = frozenset({_S.ACCEPTED, _S.RESERVED})
AT_BROKER = frozenset({_S.SENDING, _S.SENT, _S.HELD, _S.WORKING, _S.INACTIVE, _S.UNKNOWN})
"""States in which IB may have the order."""
ALIVE = BEFORE_SENDING | AT_BROKER
OVER = frozenset(_S) - ALIVE
RESERVES = ALIVE
"""States in which an order holds its reservation of risk."""
OPEN_REQUESTS = frozenset({RequestState.WANTED, RequestState.SENDING, RequestState.SENT, RequestState.UNKNOWN})
REQUESTS_AT_BROKER = OPEN_REQUESTS - {RequestState.WANTED}
"""States in which IB may have the request, and may answer it."""


# ---- what happens ----------------------------------------------------------------------------------------------------


class Event(StrEnum):
    """What happens to an order. The second half are words of IB, as `apply` understands them."""

    CHECKS_PASSED = "checks_passed"
    CHECKS_FAILED = "checks_failed"
    CANCELLED_UNSENT = "cancelled_unsent"
    """Somebody cancels it before it is sent."""
    DENIED_UNSENT = "denied_unsent"
    """Its `valid_for` is over, trading is halted, or a check of the process refused it."""
    ID_RESERVED = "id_reserved"
    NOT_WRITTEN = "not_written"
    """It is proven that no byte of it was written."""
    COMMITTED_TO_SEND = "committed_to_send"
    CANCEL_SENT = "cancel_sent"
    MODIFY_SENT = "modify_sent"
    NOT_NAMED = "not_named"
    """None of the three questions named it, three times; or the rest of a partly filled one is gone without a word."""
    RESOLVED_CANCELLED = "resolved_cancelled"
    RESOLVED_NEVER_ARRIVED = "resolved_never_arrived"

    PENDING_SUBMIT = "pending_submit"
    PRE_SUBMITTED = "pre_submitted"
    SUBMITTED = "submitted"
    PENDING_CANCEL = "pending_cancel"
    OTHER_STATUS = "other_status"
    """A status that nobody knows."""
    INACTIVE = "inactive"
    NAMED_SENT = "named_sent"
    """The answer to the question for open orders names it so, or another permId of it is so: no rank counts."""
    NAMED_HELD = "named_held"
    NAMED_WORKING = "named_working"
    STATUS_FILLED = "status_filled"
    """IB says `Filled`, and the executions that we have are fewer."""
    STATUS_CANCELLED = "status_cancelled"
    STATUS_EXPIRED = "status_expired"
    TWIN_ENDED = "twin_ended"
    """One of several permIds of it is over."""
    REFUSED = "refused"
    """A refusing code for an order that IB never took, or calls inactive."""
    REFUSED_LATER = "refused_later"
    """A refusing code for an order that IB took, while nothing is pending."""
    REFUSED_ONCE = "refused_once"
    """A code that says that the order is not at IB and may be sent again under a new order id."""
    REJECTED = "rejected"
    """Inactive with a refusing code, or among the completed orders."""
    REQUEST_REFUSED = "request_refused"
    NOTICE = "notice"
    """IB sent a message about an order that lives."""
    UNCERTAIN = "uncertain"
    """A code after which nobody knows whether IB has the order."""
    FILLED_IN_PART = "filled_in_part"
    FILLED_WHOLE = "filled_whole"
    OVERFILLED = "overfilled"
    CORRECTED = "corrected"
    """A revision of an execution lowers the sum."""
    REPEATED_FILL = "repeated_fill"
    """The sum is what it was."""


_E = Event
WORDS_OF_IB: tuple[Event, ...] = tuple(Event)[tuple(Event).index(_E.PENDING_SUBMIT) :]


# ---- the table -------------------------------------------------------------------------------------------------------


class Move(NamedTuple):
    """One line of the table. to: None: the state stays. incident: opened for a person, a code of `incidents.CODES`."""

    before: frozenset[OrderState | None]
    events: tuple[Event, ...]
    to: OrderState | None
    incident: str = ""


def _m(
    before: Iterable[OrderState | None] | OrderState | None,
    events: Event | tuple[Event, ...],
    to: OrderState | None,
    incident: str = "",
) -> Move:
    states = [before] if before is None or isinstance(before, OrderState) else before
    return Move(frozenset(states), (events,) if isinstance(events, Event) else events, to, incident)


_NEW = None
_SAME = None
_ENDED = {_S.CANCELLED, _S.EXPIRED}
_NEVER_THERE = BEFORE_SENDING | {_S.REJECTED, _S.DENIED}
"""States that say that IB does not have the order. A word of IB that shows it there is a ghost."""
_GHOST, _LATE, _OVERFILL, _STRANGE = "order-ghost", "order-late-fill", "order-overfill", "order-word-unexpected"

MOVES: tuple[Move, ...] = (
    # ours:  from                               event                        to
    _m(_NEW, _E.CHECKS_PASSED, _S.ACCEPTED),
    _m(_NEW, _E.CHECKS_FAILED, _S.DENIED),
    _m(BEFORE_SENDING, _E.CANCELLED_UNSENT, _S.CANCELLED),
    _m(BEFORE_SENDING, _E.DENIED_UNSENT, _S.DENIED),
    _m(_S.ACCEPTED, _E.ID_RESERVED, _S.RESERVED),
    _m({_S.RESERVED, _S.SENDING}, _E.NOT_WRITTEN, _S.ACCEPTED),
    _m(_S.RESERVED, _E.COMMITTED_TO_SEND, _S.SENDING),
    _m(AT_BROKER, (_E.CANCEL_SENT, _E.MODIFY_SENT), _SAME),
    _m(AT_BROKER, _E.NOT_NAMED, _S.UNKNOWN, "order-unknown"),
    _m(_S.UNKNOWN, _E.RESOLVED_CANCELLED, _S.CANCELLED),
    _m(_S.UNKNOWN, _E.RESOLVED_NEVER_ARRIVED, _S.DENIED),
    # statuses of an order that IB may have; a lower rank (sending < sent < held, working) never overwrites a higher one
    _m({_S.SENDING, _S.UNKNOWN}, (_E.PENDING_SUBMIT, _E.PENDING_CANCEL), _S.SENT),
    _m({_S.SENDING, _S.UNKNOWN}, _E.OTHER_STATUS, _S.SENT, _STRANGE),
    _m(AT_BROKER, (_E.PENDING_SUBMIT, _E.PENDING_CANCEL), _SAME),
    _m(AT_BROKER, _E.OTHER_STATUS, _SAME, _STRANGE),
    _m(AT_BROKER, _E.PRE_SUBMITTED, _S.HELD),
    _m(AT_BROKER, _E.SUBMITTED, _S.WORKING),
    _m(AT_BROKER, _E.INACTIVE, _S.INACTIVE),
    _m(AT_BROKER, _E.NAMED_SENT, _S.SENT),
    _m(AT_BROKER, _E.NAMED_HELD, _S.HELD),
    _m(AT_BROKER, _E.NAMED_WORKING, _S.WORKING),
    _m(AT_BROKER, _E.STATUS_FILLED, _SAME),
    _m(AT_BROKER, _E.STATUS_CANCELLED, _S.CANCELLED),
    _m(AT_BROKER, _E.STATUS_EXPIRED, _S.EXPIRED),
    _m(AT_BROKER, _E.TWIN_ENDED, _SAME),
    # codes
    _m({_S.SENDING, _S.SENT, _S.INACTIVE, _S.UNKNOWN}, _E.REFUSED, _S.REJECTED),
    _m(_S.CANCELLED, _E.REFUSED, _S.REJECTED),
    _m(_S.SENDING, _E.REFUSED_ONCE, _S.ACCEPTED),
    _m(AT_BROKER, _E.REFUSED_LATER, _SAME),
    _m(AT_BROKER, _E.REJECTED, _S.REJECTED),
    _m(AT_BROKER, (_E.REQUEST_REFUSED, _E.NOTICE), _SAME),
    _m(AT_BROKER, _E.UNCERTAIN, _S.UNKNOWN, "order-unknown"),
    # fills
    _m({_S.SENDING, _S.SENT}, _E.FILLED_IN_PART, _S.WORKING),
    _m(AT_BROKER, (_E.FILLED_IN_PART, _E.CORRECTED, _E.REPEATED_FILL), _SAME),
    _m(AT_BROKER, _E.FILLED_WHOLE, _S.FILLED),
    _m(AT_BROKER, _E.OVERFILLED, _S.FILLED, _OVERFILL),
    _m(_ENDED, _E.FILLED_IN_PART, _SAME, _LATE),
    _m(_ENDED, _E.FILLED_WHOLE, _S.FILLED, _LATE),
    _m(_ENDED, _E.OVERFILLED, _S.FILLED, _OVERFILL),
    _m(_S.FILLED, _E.OVERFILLED, _SAME, _OVERFILL),
    # IB has what we say it has not
    _m(_NEVER_THERE, (_E.PENDING_SUBMIT, _E.NAMED_SENT), _S.SENT, _GHOST),
    _m(_NEVER_THERE, (_E.PRE_SUBMITTED, _E.NAMED_HELD), _S.HELD, _GHOST),
    _m(_NEVER_THERE, (_E.SUBMITTED, _E.NAMED_WORKING, _E.FILLED_IN_PART), _S.WORKING, _GHOST),
    _m(_NEVER_THERE, _E.FILLED_WHOLE, _S.FILLED, _GHOST),
    _m(_NEVER_THERE, _E.OVERFILLED, _S.FILLED, _OVERFILL),
    _m(_ENDED | {_S.FILLED}, _E.NAMED_SENT, _S.SENT, _GHOST),
    _m(_ENDED | {_S.FILLED}, _E.NAMED_HELD, _S.HELD, _GHOST),
    _m(_ENDED | {_S.FILLED}, _E.NAMED_WORKING, _S.WORKING, _GHOST),
    _m(BEFORE_SENDING, (_E.PENDING_CANCEL, _E.OTHER_STATUS), _S.SENT, _GHOST),
    _m(BEFORE_SENDING, _E.INACTIVE, _S.INACTIVE, _GHOST),
    _m(BEFORE_SENDING, _E.STATUS_FILLED, _S.UNKNOWN, _GHOST),
    _m(BEFORE_SENDING, _E.STATUS_CANCELLED, _S.CANCELLED, _GHOST),
    _m(BEFORE_SENDING, _E.STATUS_EXPIRED, _S.EXPIRED, _GHOST),
    _m(BEFORE_SENDING, _E.REJECTED, _S.REJECTED, _GHOST),
    # over: any other word of IB is logged
    _m(OVER, WORDS_OF_IB, _SAME),
)
"""Who may move an order from which state to which. The first line that has the state and the event counts."""


def _table(moves: Iterable[Move]) -> Mapping[tuple[OrderState | None, Event], Move]:
    found: dict[tuple[OrderState | None, Event], Move] = {}
    for move in moves:
        for before in move.before:
            for event in move.events:
                found.setdefault((before, event), move)
    return found


TABLE = _table(MOVES)


class ImpossibleMove(RuntimeError):
    """A step of ours that the table does not have: a bug, never a caller's mistake."""


def after(before: OrderState | None, event: Event) -> OrderState:
    """The state after a step of ours. before: None for a new order. ImpossibleMove where the table has no such line."""
    move = TABLE.get((before, event))
    state = (move.to or before) if move else None
    if state is None:
        raise ImpossibleMove(f"an order that is {before or 'new'} cannot be {event}")
    return state


def before(event: Event) -> list[str]:
    """The states in which a step of ours is possible: for a WHERE clause."""
    return [state.value for state in OrderState if (state, event) in TABLE]
