"""IB's first word about what was written: waited for a few seconds of machine time, then the connection is tested.

On a half-open socket a write succeeds and nothing arrives. So the gateway is asked for its time: without an answer the
connection is dropped and made anew; with one IB is asked which orders it has.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from uuid import UUID

from ib_bridge.orders.parts import OrderParts

_STEP_S = 0.25


class Acknowledging:
    """ask: wants the three questions."""

    def __init__(self, parts: OrderParts, *, ask: Callable[[], None]) -> None:
        self._parts = parts
        self._ask = ask
        self._due: dict[UUID, float] = {}
        self.late = 0
        """How often IB was silent for too long about what was written."""

    def written(self, orders: Iterable[UUID]) -> None:
        """From now on a word about these is waited for."""
        until = time.monotonic() + self._parts.settings.orders_ack_timeout_s
        for order in orders:
            self._due[order] = until

    def acknowledged(self, order: UUID) -> None:
        """A word of IB about an order was committed."""
        self._due.pop(order, None)

    @property
    def waiting(self) -> frozenset[UUID]:
        """The orders of which IB has sent nothing since the last write."""
        return frozenset(self._due)

    async def step(self) -> None:
        """Look once, a little later."""
        await asyncio.sleep(_STEP_S)
        now = time.monotonic()
        late = [order for order, until in self._due.items() if until <= now]
        if not late:
            return
        self.late += len(late)
        for order in late:
            del self._due[order]
            self._parts.log.warning("order-not-acknowledged", extra={"order_id": str(order)})
        gateway = self._parts.gateway
        if gateway.up and not await gateway.is_alive():
            gateway.drop("IB said nothing about an order, and the gateway does not answer: connecting anew")
        self._ask()
