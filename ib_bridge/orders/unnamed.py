"""Orders that IB should have and does not name: requested again, and then `unknown`, with what is known of them in a sentence.

So are orders that IB lists as completed and that are alive by their executions: a fill was taken back without a word, or is of
another day. Nobody concludes from silence that an order is gone: IB's answers lack orders now and then, and the order would be
sent twice.
"""

from collections.abc import Collection, Mapping
from datetime import UTC
from uuid import UUID

from ib_bridge.orders.parts import OrderParts
from ib_bridge.orders.questions import Answers
from nautilus.clock import datetime_of
from nautilus.db.bridge import status
from nautilus.db.cursor import Cursor
from nautilus.db.monitoring import incidents
from nautilus.db.orders import executions, orders, requests
from nautilus.db.orders.events import Event
from nautilus.db.orders.orders import OrderRow
from nautilus.monitoring.incidents import Condition
from nautilus.orders.applying import KEEPER
from nautilus.orders.states import REQUESTS_AT_BROKER, OrderState, Pending, RequestState

_SURE = frozenset({OrderState.SENDING, OrderState.SENT, OrderState.HELD, OrderState.WORKING, OrderState.INACTIVE})
"""States from which an order becomes `unknown`."""


class UnnamedOrders:
    """Counts the rounds of questions that did not name an order. `asked_before`: its row must be older than the questions."""

    def __init__(self, parts: OrderParts) -> None:
        self._parts = parts
        self._missed: dict[UUID, int] = {}
        self._unfilled: dict[UUID, int] = {}
        """Order that is alive by what we know -> rounds that named it among the completed ones alone."""
        self._where: dict[UUID, tuple[str, int]] = {}
        self._named_meanwhile: set[UUID] = set()

    @property
    def count(self) -> int:
        return len(self._missed)

    def doubtful(self, account: str, con_id: int) -> bool:
        """True while an order of this contract is looked for: no other one is sent there meanwhile."""
        return (account, con_id) in self._where.values()

    def candidates(self, cursor: Cursor) -> list[OrderRow]:
        """The orders that IB should name now; read them before the questions go out."""
        self._named_meanwhile = set()
        accounts = self._parts.gateway.accounts
        return [row for row in orders.in_state(cursor, sorted(_SURE)) if row.account in accounts]

    def note(self, before: Collection[OrderRow], answers: Answers) -> list[OrderRow]:
        """Compare the candidates of before the questions with whom they named; returns those that were missed too often.

        An order about which a message of IB came meanwhile is not missed: it was on its way while the question was answered.
        """
        known: dict[UUID, OrderRow] = {row.id: row for row in before if row.id not in self._named_meanwhile}
        missed = {number: row for number, row in known.items() if not answers.named[number] & {"open", "completed"}}
        self._missed = {number: self._missed.get(number, 0) + 1 for number in missed}
        self._where = {number: (row.account, row.con_id) for number, row in missed.items()}
        unfilled = {row.id: row for row in before if answers.named[row.id] & {"open", "completed"} == {"completed"}}
        self._unfilled = {number: self._unfilled.get(number, 0) + 1 for number in unfilled}
        tries = len(self._parts.settings.orders_ask_again_s) + 1
        return [
            *(row for number, row in missed.items() if self._missed[number] >= tries),
            *(row for number, row in unfilled.items() if self._unfilled[number] >= tries),
        ]

    def pause_s(self) -> float | None:
        """How long to wait before IB is asked again for what it did not name; None: nothing is missed."""
        pauses: Mapping[int, float] = dict(enumerate(self._parts.settings.orders_ask_again_s, 1))
        counts = (*self._missed.values(), *self._unfilled.values())
        waits = [pauses[count] for count in counts if count in pauses]
        return min(waits, default=None)

    def forget(self, numbers: Collection[UUID]) -> bool:
        """They were named after all, or are unknown now. True when one of them kept other orders back."""
        self._named_meanwhile |= set(numbers)
        found = [self._where.pop(number, None) for number in numbers]
        for number in numbers:
            self._missed.pop(number, None)
        return any(found)

    # ---- unknown -----------------------------------------------------------------------------------------------------

    def mark(self, cursor: Cursor, row: OrderRow, seen: int) -> bool:
        """Make an order unknown, unless IB named it meanwhile. It keeps its reservation, and is never sent again by itself."""
        now = orders.lock_with_book(cursor, row.id)
        if now is None or now.state not in _SURE or now.version != row.version:
            return False
        why = self._why(cursor, now, seen)
        self._end_requests(cursor, now)
        event = Event("unknown", "process", self._parts.clock.now_ns(), why)
        orders.update(cursor, now, {"state": OrderState.UNKNOWN, "why": why, "pending": Pending.NONE}, event)
        detail = {"account": now.account, "symbol": now.symbol, "why": why}
        incidents.tell(cursor, KEEPER, [Condition("order-unknown", str(now.id), detail)])
        return True

    def _end_requests(self, cursor: Cursor, row: OrderRow) -> None:
        """What was sent to change it may have arrived."""
        for request in requests.open_of(cursor, row.id):
            if request.state in REQUESTS_AT_BROKER:
                requests.update(cursor, request, state=RequestState.UNKNOWN, why="IB does not name its order any more")

    def _why(self, cursor: Cursor, row: OrderRow, seen: int) -> str:
        """The evidence: when it was written, what was requested, IB's next id and ours."""
        gateway, until = self._parts.gateway, datetime_of(status.machine_now(cursor))
        filled = executions.sum_of(cursor, row.id).filled
        at = row.sent_at.astimezone(UTC) if row.sent_at else None
        written = (
            f"announced for writing at {at:%Y-%m-%dT%H:%M:%SZ} as order id {row.order_id}" if at else "adopted from IB"
        )
        known = "IB confirmed it before" if row.acknowledged_at else "IB never said a word about it"
        if row.id in self._unfilled:
            return (
                f"It was {written}; IB lists it as completed ({row.broker_status}), and {seen} rounds of the three questions"
                f" until {until:%Y-%m-%dT%H:%M:%SZ} brought executions of {filled:f} of {row.quantity:f}: a fill may have been"
                " taken back, or be of another day."
            )
        fills = f" {filled:f} of {row.quantity:f} had filled;" if filled else ""
        return (
            f"It was {written}; {known};{fills} {seen} rounds of the three questions (open orders, completed orders, executions"
            f" since midnight) until {until:%Y-%m-%dT%H:%M:%SZ} did not name it. IB's next order id is"
            f" {gateway.next_order_id}, ours is {self._parts.floor()}: a hint, nothing more. It may exist."
        )
