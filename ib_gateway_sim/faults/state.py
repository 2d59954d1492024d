"""What is broken at IB right now, as state that the control port sets and the handlers ask."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field

from ib_gateway_sim.faults.farms import Farm, all_farms, farm_for
from ib_gateway_sim.faults.live import LiveFaults
from ib_gateway_sim.faults.orders import OrderFaults


@dataclass
class Faults:
    """With nothing set, all is well. Counts go down with each request that they hit."""

    farms: dict[str, Farm] = field(default_factory=all_farms)
    upstream: bool = True  # between gateway and IB: 1100 when it goes
    accepting: str = "yes"  # see Gateway.accept
    hold_ids_s: float = 0.0  # the id of a client that went stays in use for so long
    competing: bool = False  # 10197: the user is live elsewhere
    hidden_open: int = 0  # beyond so many open history requests answers crawl; 0: no such limit
    hidden_factor: float = 10.0
    silent: Counter[str] = field(default_factory=Counter)  # request kind -> so many are never answered
    history_errors: list[str] = field(default_factory=list)  # keys of HISTORY_ERRORS, one per request to come
    rejects: list[tuple[str, int, str]] = field(default_factory=list)  # (request kind, code, words), one per request
    short: int = 0  # so many history answers lack every other session
    duplicate: int = 0  # so many history answers come twice
    cut: int = 0  # so many answers break off in mid-frame, and the socket with them
    orders: OrderFaults = field(default_factory=OrderFaults)
    live: LiveFaults = field(default_factory=LiveFaults)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def farm_ok(self, kind: str, sec_type: str, currency: str) -> bool:
        return self.upstream and self.farms[farm_for(kind, sec_type, currency)].state in ("ok", "inactive")

    async def until_farm_ok(self, kind: str, sec_type: str, currency: str) -> None:
        """Requests to a farm that is away wait for it."""
        while not self.farm_ok(kind, sec_type, currency):
            await self.changed.wait()

    async def until_upstream(self) -> None:
        while not self.upstream:
            await self.changed.wait()

    def touch(self) -> None:
        """Wakes whoever waits for a farm or for the line to IB; call after changing them."""
        self.changed.set()
        self.changed = asyncio.Event()

    def take_silent(self, kind: str) -> bool:
        """Whether this request is never answered."""
        if self.silent[kind] <= 0:
            return False
        self.silent[kind] -= 1
        return True

    def take_reject(self, kind: str) -> tuple[int, str] | None:
        for at, (wanted, code, words) in enumerate(self.rejects):
            if wanted == kind:
                del self.rejects[at]
                return code, words
        return None

    def take(self, name: str) -> bool:
        """Uses one of `short`, `duplicate` or `cut` up."""
        left: int = getattr(self, name)
        if left <= 0:
            return False
        setattr(self, name, left - 1)
        return True

    def clear(self) -> None:
        """Takes every fault back; the farms are put right without a notice."""
        changed = self.changed
        vars(self).update(vars(Faults()))
        changed.set()
