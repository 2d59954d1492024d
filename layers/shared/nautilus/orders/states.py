"""The states of an order, of what is pending on it, and of a request to change it."""

from enum import StrEnum


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
