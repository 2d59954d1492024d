"""Modifies that IB has not answered: ended as refused when IB goes on showing the order with its old terms.

IB shows the old terms of an order for as long as a modify is on its way, and after hours, as users report, until the market
opens. So one answer proves nothing, and none counts while the market is closed. Its end proves nothing either: a modify that
IB takes afterwards is recorded as confirmed by the word that shows it (`nautilus.orders.applying`), with an incident.
"""

from collections.abc import Iterable
from typing import NamedTuple
from uuid import UUID

from ib_bridge.orders.parts import OrderParts
from ib_bridge.orders.questions import Answers
from nautilus.db.cursor import Cursor
from nautilus.db.market import instruments
from nautilus.db.orders import orders, requests
from nautilus.db.orders.events import Event
from nautilus.db.orders.orders import OrderRow
from nautilus.db.orders.requests import RequestRow
from nautilus.orders import hours
from nautilus.orders.change import refuse_modify
from nautilus.orders.states import OVER

_UNANSWERED = ("sent", "unknown")
_CLOSED = "its market is closed: IB may show the old terms of a modify that it has taken until the market opens"


class _Shown(NamedTuple):
    """How many rounds of questions over one epoch of the connection showed the order with other terms than the modify wants."""

    epoch: int
    rounds: int


class UnsureModifies:
    """Counts the rounds of questions that showed an order without its modify."""

    def __init__(self, parts: OrderParts) -> None:
        self._parts = parts
        self._shown: dict[UUID, _Shown] = {}
        self._some_are_young = False
        """At the last questions there were modifies that IB need not have answered yet."""

    def candidates(self, cursor: Cursor) -> list[RequestRow]:
        """The modifies that IB should have answered by now; read them before the questions are sent."""
        found = requests.unanswered_modifies(cursor, self._parts.settings.orders_ack_timeout_s)
        self._some_are_young = len(requests.unanswered_modifies(cursor, 0)) > len(found)
        return found

    def note(self, before: Iterable[RequestRow], answers: Answers) -> list[RequestRow]:
        """Those whose order IB showed with other terms often enough. One that IB showed as wanted is confirmed by now: `end`
        leaves it alone."""
        found = [row for row in before if "open" in answers.named[row.order_id]]
        self._shown = {row.id: self._counted(row.id, answers.epoch) for row in found}
        tries = len(self._parts.settings.orders_ask_again_s) + 1
        return [row for row in found if self._shown[row.id].rounds >= tries]

    def _counted(self, number: UUID, epoch: int) -> _Shown:
        before = self._shown.get(number)
        return _Shown(epoch, before.rounds + 1 if before is not None and before.epoch == epoch else 1)

    def pause_s(self) -> float | None:
        """How long to wait before the next question; None: nothing is unsure, or there were enough questions."""
        pauses = dict(enumerate(self._parts.settings.orders_ask_again_s, 1))
        waits = [pauses[one.rounds] for one in self._shown.values() if one.rounds in pauses]
        if self._some_are_young:
            waits.append(self._parts.settings.orders_ack_timeout_s)
        return min(waits, default=None)

    def end(self, cursor: Cursor, request: RequestRow) -> bool:
        """End a modify as refused, unless IB showed or answered it meanwhile; False where it stays open, with the reason."""
        order = orders.lock_with_book(cursor, request.order_id)
        now = requests.read(cursor, request.id)
        if order is None or now is None or now.state not in _UNANSWERED or order.state in OVER:
            return False
        rounds = self._shown[request.id].rounds if request.id in self._shown else 0
        shown = f"{rounds} rounds of the three questions showed the order with its old terms"
        if not self._is_open(cursor, order):
            why = f"{shown}, and {_CLOSED}"
            if now.why != why:
                requests.update(cursor, now, state=now.state, why=why)
            return False
        why = f"{shown}; should IB take it after all, that is recorded, and an incident says so"
        event = Event("modify-refused", "process", self._parts.clock.now_ns(), why, {"request": str(now.id)})
        return refuse_modify(cursor, order, now, why=why, event=event) is not None

    def _is_open(self, cursor: Cursor, order: OrderRow) -> bool:
        instrument = instruments.by_id(cursor, order.con_id)
        if instrument is None:
            return False
        details = instruments.details(cursor, order.con_id)
        return hours.phase(instrument, details, self._parts.clock.now_ns()) in ("regular", "extended")
