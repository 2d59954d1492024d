"""What the rules of order states ask for after a word is committed: questions, a higher order id, the cancel of a group."""

import asyncio
from uuid import UUID

from ib_bridge.orders.parts import OrderParts
from ib_bridge.orders.reconciling import Reconciling
from nautilus.db.cursor import Cursor
from nautilus.db.orders import orders, sessions
from nautilus.orders import change
from nautilus.orders.exits import BY
from nautilus.orders.outcome import FollowUp
from nautilus.orders.placing_rows import Caller
from nautilus.orders.states import ALIVE

_LEAP = 10
"""By how much the floor of order ids rises after IB called one a duplicate: which ids it knows, it does not say."""


class FollowUps:
    """Takes them in the event loop; what needs the database is done by `step`, a loop's."""

    def __init__(self, parts: OrderParts, reconciling: Reconciling) -> None:
        self._parts = parts
        self._reconciling = reconciling
        self._groups: set[UUID] = set()
        self._again: set[UUID] = set()
        self._raise = False
        self._wanted = asyncio.Event()

    def take(self, follow_up: FollowUp, order_id: UUID | None) -> None:
        """Trading states are tightened where the word is recorded; the rest is here."""
        if follow_up is FollowUp.THREE_QUESTIONS:
            self._parts.gateway.distrust() if order_id is None else self._reconciling.want()
        elif follow_up is FollowUp.ASK_EXECUTIONS:
            self._reconciling.want_executions()
        elif follow_up is FollowUp.REREAD:
            self._reconciling.want_open()
        elif follow_up is FollowUp.RAISE_ORDER_ID:
            self._raise = True
        elif follow_up is FollowUp.CANCEL_GROUP and order_id is not None:
            self._groups.add(order_id)
        elif follow_up is FollowUp.CANCEL_AGAIN and order_id is not None:
            self._again.add(order_id)
        self._wanted.set()

    async def step(self) -> None:
        """Wait for something, and do it. Unavailable: no database; it is done later."""
        await self._wanted.wait()
        if self._raise:
            await self._parts.transactions.run(self._raise_floor)
            self._raise = False
        for order_id in list(self._groups):
            await self._parts.transactions.run(self._cancel_group, order_id)
            self._groups.discard(order_id)
        for order_id in list(self._again):
            await self._parts.transactions.run(self._cancel_again, order_id)
            self._again.discard(order_id)
        self._wanted.clear()
        if self._raise or self._groups or self._again:
            self._wanted.set()  # came while the others were done

    def _raise_floor(self, cursor: Cursor) -> None:
        parts = self._parts
        parts.next_order_id = sessions.raise_floor(cursor, parts.client_id, parts.floor() + _LEAP)

    def _cancel_again(self, cursor: Cursor, order_id: UUID) -> None:
        """Somebody wanted the end of an order, IB called it cancelled, and then shows another one of it."""
        found = orders.read(cursor, order_id)
        if found is not None and found.state in ALIVE:
            change.cancel(cursor, order_id, Caller(BY), now=self._parts.clock.now_ns(), source="process")

    def _cancel_group(self, cursor: Cursor, order_id: UUID) -> None:
        """A leg of a bracket is gone for good: its entry must not stay alone, if nothing of it is filled.

        The exits of an entry that has filled stay: they are what protects the position.
        """
        refused = orders.read(cursor, order_id)
        if refused is None or refused.group_id is None or refused.group_kind != "bracket":
            return
        if self._parts.settings.orders_bracket_repair == "report":
            return
        group = orders.of_group(cursor, refused.group_id)
        if any(row.filled > 0 for row in group if row.parent_id is None):
            return
        for row in group:
            if row.id != order_id and row.state in ALIVE:
                change.cancel(cursor, row.id, Caller(BY), now=self._parts.clock.now_ns(), source="process")
