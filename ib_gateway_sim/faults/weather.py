"""What can go wrong at IB, as state that the control port sets and the handlers ask.

Farms are the servers behind the gateway: market data ("data"), history ("hmds"), contract lookups ("secdef"). The
names are those a real gateway reports.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass, field

from ib_gateway_sim.faults.live import LiveFaults
from ib_gateway_sim.faults.orders import OrderFaults

_NOTICES = {  # (kind, state) -> code and words; the farm's name follows
    ("data", "ok"): (2104, "Market data farm connection is OK:"),
    ("data", "broken"): (2103, "Market data farm connection is broken:"),
    ("data", "inactive"): (2108, "Market data farm connection is inactive but should be available upon demand."),
    ("data", "connecting"): (2119, "Market data farm is connecting:"),
    ("hmds", "ok"): (2106, "HMDS data farm connection is OK:"),
    ("hmds", "broken"): (2105, "HMDS data farm connection is broken:"),
    ("hmds", "inactive"): (2107, "HMDS data farm connection is inactive but should be available upon demand."),
    ("secdef", "ok"): (2158, "Sec-def data farm connection is OK:"),
    ("secdef", "broken"): (2157, "Sec-def data farm connection is broken:"),
}

LOST = (1100, "Connectivity between IB and Trader Workstation has been lost.")
RESTORED_EMPTY = (
    1101,
    "Connectivity between IB and Trader Workstation has been restored - data lost. Please re-submit requests.",
)
RESTORED = (1102, "Connectivity between IB and Trader Workstation has been restored - data maintained.")
COMPETING = (10197, "No market data during competing live session")
BUST = (
    10225,
    "Bust event occurred, current subscription is deactivated. Please resubscribe real-time bars immediately.",
)
LIVE_LOST = (10182, "Failed to request live updates (disconnected).")

# The tails of error 162 that a client must tell apart; {symbol}, {sec_type}, {exchange} and {id} are filled in.
HISTORY_ERRORS = {
    "pacing": "Historical data request pacing violation",
    "no_data": "HMDS query returned no data: {symbol}@{exchange} Trades",
    "no_permission": "No market data permissions for {exchange} {sec_type}",
    "cancelled": "API historical data query cancelled: {id}",
    "unknown_contract": "Unknown contract",
    "query_failed": "Query failed",
    "invalid_step": "invalid step: 1 min over 1 D",
    "other_address": "Trading TWS session is connected from a different IP address",
    "no_history": "No historical market data for {symbol}/{sec_type}@{exchange} Last 1m",
    "exited": "TWS exited during processing of HMDS query",
    "timed_out": "Request Timed Out",
    "unavailable": "HMDS connection attempt failed.  Connection will be re-attempted...",
    "not_supported": "BEST queries are not supported for this contract",
    "too_long": "Time length exceed max.",
    "no_head": "No head time stamp",
}


@dataclass
class Farm:
    name: str
    kind: str  # data hmds secdef
    state: str = "ok"

    def notice(self) -> tuple[int, str]:
        code, words = _NOTICES[self.kind, self.state]
        return code, words + self.name


def _farms() -> dict[str, Farm]:
    names = {
        "data": ("usfarm", "usfarm.nj", "usfuture", "cashfarm", "eufarm", "jfarm"),
        "hmds": ("ushmds", "euhmds", "cashhmds"),
        "secdef": ("secdefil",),
    }
    return {name: Farm(name, kind) for kind, several in names.items() for name in several}


def farm_for(kind: str, sec_type: str, currency: str) -> str:
    """The farm that serves an instrument; ours, in the manner of the real names."""
    if kind == "secdef":
        return "secdefil"
    if sec_type in ("CASH", "CMDTY"):
        return "cashfarm" if kind == "data" else "cashhmds"
    if currency in ("EUR", "GBP", "CHF", "SEK"):
        return "eufarm" if kind == "data" else "euhmds"
    if kind == "data" and currency in ("JPY", "HKD", "AUD"):
        return "jfarm"
    if kind == "data" and sec_type in ("FUT", "CONTFUT"):
        return "usfuture"
    return "usfarm" if kind == "data" else "ushmds"


@dataclass
class Weather:
    """Nothing set is fair weather. Counts go down with each request that they hit."""

    farms: dict[str, Farm] = field(default_factory=_farms)
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
        """Fair weather again; the farms are put right without a notice."""
        changed = self.changed
        vars(self).update(vars(Weather()))
        changed.set()
