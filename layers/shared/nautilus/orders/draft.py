"""An order as one word of IB changes it, until the ledger writes it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal

from nautilus.orders.outcome import (
    FollowUp,
    IncidentFact,
    Known,
    Notice,
    OrderFacts,
    Outcome,
    RequestChange,
    RequestFacts,
    Terms,
)
from nautilus.orders.states import ALIVE, OVER, TABLE, Event, OrderState, Pending, RequestKind, RequestState

BROKER_RANKS: Mapping[str, int] = {
    "ApiPending": 0,
    "PendingSubmit": 1,
    "PreSubmitted": 2,
    "Submitted": 2,
    "Inactive": 2,
    "PendingCancel": 2,
    "ApiCancelled": 3,
    "Cancelled": 3,
    "Filled": 4,
}
"""IB's status words: one of a lower rank that comes later is late, and is not kept."""

_AFTER_EVENT: Mapping[Event, FollowUp] = {
    Event.STATUS_FILLED: FollowUp.ASK_EXECUTIONS,
    Event.REFUSED_LATER: FollowUp.THREE_QUESTIONS,
    Event.UNCERTAIN: FollowUp.THREE_QUESTIONS,
    Event.TWIN_ENDED: FollowUp.THREE_QUESTIONS,
    Event.NOTICE: FollowUp.REREAD,
}
_AFTER_INCIDENT: Mapping[str, FollowUp] = {
    "order-ghost": FollowUp.THREE_QUESTIONS,
    "order-overfill": FollowUp.HALT,
    "order-twin": FollowUp.HALT,
    "orders-not-allowed": FollowUp.HALT,
    "order-code-unknown": FollowUp.REDUCE,
}
UNEXPECTED = "order-word-unexpected"
_PLAIN = frozenset({OrderState.SENT, OrderState.WORKING, OrderState.FILLED})
"""States that need no reason."""
_COLUMNS: Mapping[str, str] = {"average": "avg_fill_price"}
"""Where a column of `orders` has another name than the fact."""


@dataclass(slots=True)
class Draft:
    """before: the facts as they were; now: as they are to be. event: the last move that was tried, for the event row."""

    before: OrderFacts
    now: OrderFacts
    event: str = ""
    text: str = ""
    extra: dict[str, object] = field(default_factory=dict)
    requests: dict[object, RequestChange] = field(default_factory=dict)
    follow_ups: list[FollowUp] = field(default_factory=list)
    incidents: list[IncidentFact] = field(default_factory=list)

    @classmethod
    def of(cls, order: OrderFacts) -> "Draft":
        return cls(order, order)

    def move(self, event: Event, text: str) -> None:
        """What the table says of the event. Where it says nothing, the order stays and a person is alarmed."""
        self.event, self.text = event, text
        state = self.now.state
        move = TABLE.get((state, event))
        if move is None:
            self.alarm(UNEXPECTED, f"{event} while {state}: {text}")
            return
        if move.incident:
            self.alarm(move.incident, text)
        if state in ALIVE and event in _AFTER_EVENT:
            self.follow(_AFTER_EVENT[event])
        if move.to is not None and move.to is not state:
            self.now = replace(self.now, state=move.to)
            self.extra["why"] = "" if move.to in _PLAIN else text

    def follow(self, follow_up: FollowUp) -> None:
        if follow_up not in self.follow_ups:
            self.follow_ups.append(follow_up)

    def alarm(self, code: str, detail: str) -> None:
        self.incidents.append(IncidentFact(code, detail))
        if code in _AFTER_INCIDENT:
            self.follow(_AFTER_INCIDENT[code])

    def note(self, notice: Notice) -> None:
        """Keep IB's message, once."""
        if notice not in self.now.notices:
            self.now = replace(self.now, notices=(*self.now.notices, notice))

    # ---- facts -------------------------------------------------------------------------------------------------------

    def learn_perm_id(self, perm_id: int) -> bool:
        """Whether this is another permId than those that the order has: then it is two orders at IB."""
        known = self.now.perm_ids
        if perm_id == 0 or perm_id in known:
            return False
        self.now = replace(self.now, perm_ids=(*known, perm_id))
        if not known:
            return False
        self.alarm("order-twin", f"IB has this order under the permIds {', '.join(map(str, (*known, perm_id)))}")
        if self.now.state in OVER:
            for earlier in known:
                self.note(_ended(earlier))
        if self.now.state is OrderState.CANCELLED:
            self.follow(FollowUp.CANCEL_AGAIN)
        return True

    def end_perm_id(self, perm_id: int) -> bool:
        """One permId of the order is over: whether all are, so that the order is."""
        known = self.now.perm_ids
        if len(known) < 2:
            return True
        if perm_id:
            self.note(_ended(perm_id))
        return set(known) <= {notice.ended_perm_id for notice in self.now.notices}

    @property
    def others_live(self) -> bool:
        """Whether a permId of an order that is two is not known to be over."""
        known = self.now.perm_ids
        return len(known) > 1 and not set(known) <= {notice.ended_perm_id for notice in self.now.notices}

    def learn_status(self, status: str, why_held: str | None, *, certain: bool) -> None:
        """IB's own status word, unless it is late. certain: it cannot be. why_held: None where the word does not say it:
        then it is what it was, for as long as the status is."""
        if why_held is None:
            why_held = self.now.why_held if status == self.now.broker_status else ""
        if certain or BROKER_RANKS.get(status, 2) >= BROKER_RANKS.get(self.now.broker_status, -1):
            self.now = replace(self.now, broker_status=status, why_held=why_held)

    def learn_filled_by_status(self, filled: Decimal | None) -> None:
        if filled is not None and filled > (self.now.filled_by_status or -1):
            self.now = replace(self.now, filled_by_status=filled)

    def end(self, perm_id: int, known: Known, text: str) -> None:
        """IB says that what was not filled is gone. perm_id: 0 where it does not say of which order."""
        before = self.now.notices
        if not self.end_perm_id(perm_id):
            self.move(Event.TWIN_ENDED, text)
            if self.now.notices != before:
                self._cancel_the_other()
            return
        whole = len(self.now.perm_ids) > 1 and self.now.filled >= self.now.quantity
        self.move(Event.FILLED_WHOLE if whole else ended_event(self.now, known, text), text)
        if (self.now.filled_by_status or 0) > self.now.filled:
            self.follow(FollowUp.ASK_EXECUTIONS)

    def fill_one(self, perm_id: int, text: str) -> bool:
        """IB says that the order of a permId is filled. False: another one of the same reference lives, and may fill as well."""
        before = self.now.notices
        if self.end_perm_id(perm_id):
            return True
        self.event, self.text = Event.TWIN_ENDED, text
        if self.now.notices != before:
            self.move(Event.TWIN_ENDED, text)
            self._cancel_the_other()
        return False

    def _cancel_the_other(self) -> None:
        """One of the order's permIds is over by now, so that its order id may reach another one: the cancel is sent again."""
        cancel = self.now.request(RequestKind.CANCEL)
        if cancel:
            self.set_request(cancel, RequestState.WANTED, why="one of its orders at IB is over, another one is not")

    # ---- requests ----------------------------------------------------------------------------------------------------

    def set_request(
        self, request: RequestFacts, state: RequestState, *, code: int | None = None, why: str = ""
    ) -> None:
        self.requests[request.id] = RequestChange(request.id, state, code, why)
        others = tuple(one for one in self.now.requests if one.id != request.id)
        if state in (RequestState.WANTED, RequestState.UNKNOWN):
            others = (*others, replace(request, state=state, code=code if code is not None else request.code))
        self.now = replace(self.now, requests=others)

    def confirm_modify(self, request: RequestFacts) -> None:
        """IB shows what was wanted: from now on it is what the order asks for."""
        self.set_request(request, RequestState.CONFIRMED)
        for each in fields(Terms):
            value = getattr(request.wanted, each.name)
            if value is not None:
                self.extra[each.name] = value
        self.now = replace(self.now, quantity=request.wanted.quantity or self.now.quantity)

    def confirm_late(self, request: RequestFacts) -> None:
        """IB took a modify that had ended as refused because nothing was known of it."""
        self.confirm_modify(request)
        self.now = replace(self.now, unproven=None)
        self.alarm("order-modify-late", "IB took a modify that had ended as not taken")

    def _end_requests(self) -> None:
        """No request outlives its order."""
        for request in self.now.requests:
            done = (
                request.kind is RequestKind.CANCEL
                and request.state is not RequestState.WANTED
                and self.now.state is OrderState.CANCELLED
            )
            self.set_request(request, RequestState.CONFIRMED if done else RequestState.OVERTAKEN)

    # ---- the end -----------------------------------------------------------------------------------------------------

    def outcome(self) -> Outcome:
        if self.now.state in OVER:
            self._end_requests()
        sent = {one.kind for one in self.now.requests if one.state is not RequestState.WANTED}
        pending = next((p for p in (Pending.CANCEL, Pending.MODIFY) if p.value in sent), Pending.NONE)
        self.now = replace(self.now, pending=pending)
        return Outcome(
            event=self.event,
            text=self.text,
            changes={**self._differences(), **self.extra},
            requests=tuple(self.requests.values()),
            follow_ups=tuple(self.follow_ups),
            incidents=tuple(self.incidents),
        )

    def _differences(self) -> dict[str, object]:
        """Column -> new value of each fact that differs."""
        found: dict[str, object] = {}
        for each in fields(OrderFacts):
            old, new = getattr(self.before, each.name), getattr(self.now, each.name)
            if old == new or each.name in ("requests", "unproven"):
                continue
            if each.name == "confirmed":
                found |= _confirmed(old, new)
            elif each.name == "notices":
                found["notices"] = [notice.as_json() for notice in self.now.notices]
            else:
                found[_COLUMNS.get(each.name, each.name)] = new
        return found


def ended_event(order: OrderFacts, known: Known, text: str) -> Event:
    """Cancelled; or expired where IB's text says so, or the order's time is over and no cancel of ours is at IB."""
    if order.request(RequestKind.CANCEL):
        return Event.STATUS_CANCELLED
    end = {"DAY": order.day_ends, "GTD": order.good_till}.get(order.tif)
    over = end is not None and end <= known.now_ns
    return Event.STATUS_EXPIRED if over or "expire" in text.lower() else Event.STATUS_CANCELLED


def _ended(perm_id: int) -> Notice:
    return Notice(0, f"the order of permId {perm_id} is over", perm_id)


def _confirmed(old: Terms, new: Terms) -> dict[str, object]:
    columns = {
        "confirmed_quantity": (old.quantity, new.quantity),
        "confirmed_limit": (old.limit_price, new.limit_price),
        "confirmed_stop": (old.stop_price, new.stop_price),
    }
    return {column: after for column, (before, after) in columns.items() if before != after}
