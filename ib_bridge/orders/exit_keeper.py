"""Looking after the exits of entries that ended after a part of them had filled (`nautilus.orders.exits`)."""

import asyncio
import time
from uuid import UUID

from ib_bridge.orders.parts import OrderParts
from nautilus.db.cursor import Cursor
from nautilus.db.monitoring import incidents
from nautilus.db.orders import outgoing
from nautilus.monitoring.incidents import Condition
from nautilus.orders import exits
from nautilus.orders.applying import KEEPER
from nautilus.orders.exits import Plan

_STEP_S = 0.5
_SETTLED_S = 1.0
"""So long, in machine time, the same thing is to be done before it is: IB tells of entry and exits one after the other."""
_BACK_S = 86_400.0
"""An entry whose end was stored so long ago at most is looked at by a new life."""


class ExitKeeper:
    """Looks at a bracket whenever a word about one of its orders was committed, and then until nothing is left to be done."""

    def __init__(self, parts: OrderParts) -> None:
        self._parts = parts
        self._noted: set[UUID] = set()
        self._watched: dict[UUID, tuple[Plan, float]] = {}
        self._session: int | None = None

    def note(self, order_id: UUID) -> None:
        """A word about an order was committed."""
        self._noted.add(order_id)

    async def step(self) -> None:
        """Look once, a little later. Unavailable: no database; what was noted still is."""
        await asyncio.sleep(_STEP_S)
        run, noted = self._parts.transactions.run, set(self._noted)
        if self._session != self._parts.session:
            session = self._parts.session
            self._watch(set(await run(outgoing.entries_ended_in_part, _BACK_S)))
            self._session = session
        if noted:
            self._watch(await run(exits.entries_of, noted))
            self._noted -= noted
        for entry in list(self._watched):
            await self._mend(entry)

    def _watch(self, entries: set[UUID]) -> None:
        for entry in entries:
            self._watched.setdefault(entry, (Plan(), time.monotonic()))

    async def _mend(self, entry: UUID) -> None:
        """Do what has been to be done for long enough."""
        before, since = self._watched[entry]
        found = await self._parts.transactions.run(exits.plan, entry)
        if found.done or found.wrong:
            del self._watched[entry]
            if found.wrong:
                await self._parts.transactions.run(self._tell, entry, found.wrong)
        elif found.waits or found != before:
            self._watched[entry] = (found, time.monotonic())
        elif time.monotonic() - since >= _SETTLED_S:
            await self._carry_out(entry, found)

    async def _carry_out(self, entry: UUID, wanted: Plan) -> None:
        run, now = self._parts.transactions.run, self._parts.clock.now_ns()
        if self._parts.settings.orders_bracket_repair == "report":
            text = "its exits do not fit what it has filled, and NAUTILUS_ORDERS_BRACKET_REPAIR is report"
            await run(self._tell, entry, text)
            del self._watched[entry]
            return
        await run(lambda cursor: exits.carry_out(cursor, entry, wanted, now=now))
        self._parts.log.warning("exits-mended", extra={"entry": str(entry), "plan": repr(wanted)})

    def _tell(self, cursor: Cursor, entry: UUID, text: str) -> None:
        self._parts.log.error("exits-wrong", extra={"entry": str(entry), "reason": text})
        incidents.tell(cursor, KEEPER, [Condition("order-exits", str(entry), {"text": text})])
