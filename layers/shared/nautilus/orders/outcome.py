"""What the rules of order states are given, and what they answer. Values alone: the ledger writes what they say."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Literal
from uuid import UUID

from nautilus.orders.states import AT_BROKER, OrderState, Pending, RequestKind, RequestState

# ---- given -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Notice:
    """A message of IB about an order that did not end it. code: IB's; 0: no error, but a fact of ours.

    ended_perm_id: the permId that is over, where one order has several; else 0.
    """

    code: int
    text: str
    ended_perm_id: int = 0

    def as_json(self) -> dict[str, object]:
        """As the column `notices` holds it."""
        row: dict[str, object] = {"code": self.code, "text": self.text}
        return row | {"ended_perm_id": self.ended_perm_id} if self.ended_perm_id else row


@dataclass(frozen=True, slots=True)
class Terms:
    """What an order asks for; None: the order has no such value (or, of a request, leaves it as it is).

    stop_price: of a trailing order, the stop price from which it starts.
    """

    quantity: Decimal | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail_amount: Decimal | None = None
    trail_percent: Decimal | None = None
    tif: str | None = None


@dataclass(frozen=True, slots=True)
class RequestFacts:
    """An open request to change an order. wanted: of a modify alone; code: IB's last refusal of it."""

    id: UUID
    kind: RequestKind
    state: RequestState
    wanted: Terms = field(default_factory=Terms)
    code: int | None = None


@dataclass(frozen=True, slots=True)
class OrderFacts:
    """What an order's row says, as far as the rules need it.

    quantity: what we want in all; filled: the sum of its executions, latest revisions; filled_by_status: what IB's
    statuses say, None before the first. confirmed: the terms that IB last showed. requests: the open ones. unproven: a modify
    that ended as refused because IB kept silent about it, where IB may have taken it after all. Times are
    market time in ns: good_till ends a GTD order, day_ends the session of a DAY order; None: not known or not such an order.
    """

    id: UUID
    state: OrderState
    quantity: Decimal
    pending: Pending = Pending.NONE
    filled: Decimal = Decimal(0)
    average: Decimal | None = None
    filled_by_status: Decimal | None = None
    perm_ids: tuple[int, ...] = ()
    broker_status: str = ""
    why_held: str = ""
    type: str = ""
    tif: str = "DAY"
    good_till: int | None = None
    day_ends: int | None = None
    confirmed: Terms = field(default_factory=Terms)
    notices: tuple[Notice, ...] = ()
    requests: tuple[RequestFacts, ...] = ()
    unproven: RequestFacts | None = None

    def request(self, kind: RequestKind) -> RequestFacts | None:
        """The open request of a kind that IB may have, and may answer."""
        found = (one for one in self.requests if one.kind is kind and one.state is not RequestState.WANTED)
        return next(found, None)

    @property
    def at_broker(self) -> bool:
        return self.state in AT_BROKER


Question = Literal["open", "completed", "executions"]
"""The three questions of a reconcile, in this order."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known beside the order and the word.

    now_ns: market time. answer: the question that this word answers; None: IB sent it by itself. filled, average: of an
    execution, the sum over the latest revisions with this one in it, and its average price. contracts_known: False while
    IB's contract database is away. id_used_before: whether another order of ours was ever sent with this order id; as
    long as nobody knows, it was.
    """

    now_ns: int
    answer: Question | None = None
    filled: Decimal | None = None
    average: Decimal | None = None
    contracts_known: bool = True
    id_used_before: bool = True


# ---- answered --------------------------------------------------------------------------------------------------------


class FollowUp(StrEnum):
    """What is to be done after the commit."""

    THREE_QUESTIONS = "three_questions"
    ASK_EXECUTIONS = "ask_executions"
    REREAD = "reread"
    """Ask for the open orders: IB changed a field, or a refused modify shows wrong values."""
    RAISE_ORDER_ID = "raise_order_id"
    """The floor of order ids is too low."""
    CANCEL_GROUP = "cancel_group"
    """A leg of a group was refused for good: cancel what is not filled of the others."""
    CANCEL_AGAIN = "cancel_again"
    """An order that is cancelled turned out to be two at IB: the other one is to end, too."""
    HALT = "halt"
    """The trading state of the account becomes `halted`."""
    REDUCE = "reduce"
    """The trading state of the account becomes `reducing`, unless it is stricter."""


@dataclass(frozen=True, slots=True)
class RequestChange:
    """What becomes of a request."""

    id: UUID
    state: RequestState
    code: int | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class IncidentFact:
    """Something that a person should see. code: one of `monitoring.incidents.CODES`; its subject is the order's id."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a word changes. event, text: kind and text of the event row.

    changes: column of `orders` -> new value, only where it differs; `notices` is the whole list, as JSON.
    """

    event: str
    text: str = ""
    changes: Mapping[str, object] = field(default_factory=dict)
    requests: tuple[RequestChange, ...] = ()
    follow_ups: tuple[FollowUp, ...] = ()
    incidents: tuple[IncidentFact, ...] = ()

    @property
    def state(self) -> OrderState | None:
        """The new state; None: it stays."""
        new = self.changes.get("state")
        return new if isinstance(new, OrderState) else None
