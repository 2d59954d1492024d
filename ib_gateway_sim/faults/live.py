"""How live data differ from history, as state that the control port sets and streams ask.

Nothing here is drawn from a shared random stream: each trade, bar and time has a number of its own, a hash of the
market's name, the contract and the time. So the same seed and the same commands give the same bytes, and history, quotes
and fills are what they are without these faults.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple, TypeVar

from ib_gateway_sim.market.bars import Bar
from ib_gateway_sim.market.contracts import Contract

EVERY = "all"  # in place of a symbol
_ONE = 1 << 32
T = TypeVar("T")
PERMISSIONS = ("full", "none", "api", "not_enabled", "no_delayed", "part", "part_api")
"""What a login may see: all; delayed data (refused with 354, 10089, 10168); nothing (354, and 10186 for delayed data);
a part of the ticks (notice 10090 or 10091)."""
WHOLE = ("full", "part", "part_api")


class Late(NamedTuple):
    """A share of the trades is not there when its live bar is made."""

    share: float  # 0 to 1
    seconds: float  # after which such a trade comes; 0: it never comes, only history has it
    into: str  # forming: it counts in the bar that forms when it comes; own: the bar of its own time is sent again
    since_s: float  # trades before this came in time


class OddLots(NamedTuple):
    """Live volume counts trades that history leaves out."""

    share: float  # of a bar's volume, on average
    since_s: float


class Steps(NamedTuple):
    """Live volume comes in steps of 30 s instead of with its trades."""

    since_s: float


class Missing(NamedTuple):
    """A share of the live bars is never sent."""

    share: float
    since_s: float


@dataclass
class LiveFaults:
    """What differs, by the name of the instrument (`names_of`) or `all`."""

    late: dict[str, Late] = field(default_factory=dict)
    odd_lots: dict[str, OddLots] = field(default_factory=dict)
    steps: dict[str, Steps] = field(default_factory=dict)
    missing: dict[str, Missing] = field(default_factory=dict)
    permissions: dict[str, str] = field(default_factory=dict)  # name -> one of PERMISSIONS
    taken_lines: int = 0  # market data lines that TWS itself uses
    delay_ms: float = 0.0  # all live data come so late ...
    jitter_ms: float = 0.0  # ... and up to so much later
    parts: dict[tuple[int, str, bool], dict[int, Bar | None]] = field(default_factory=dict)
    """Bars of five seconds as they were made: contract id, kind, regular hours -> start -> the bar, None without one."""

    def put(self, table: dict[str, T], name: str, fault: T | None) -> None:
        """Sets a fault for a name, or takes it away."""
        self.parts.clear()
        if fault is None:
            table.pop(name, None)
        else:
            table[name] = fault

    def permission(self, contract: Contract) -> str:
        """What the login may see of a contract: one of PERMISSIONS."""
        return set_for(self.permissions, contract) or ("full" if contract.permitted else "none")

    def touches(self, contract: Contract) -> bool:
        """Whether live bars of a contract are made otherwise than history's."""
        tables = (self.late, self.odd_lots, self.steps)
        return any(tables) and any(set_for(table, contract) for table in tables)

    def corrected_for_s(self, contract: Contract) -> float:
        """How far back a bar that is over may still be sent again."""
        late = set_for(self.late, contract)
        return late.seconds if late is not None and late.into == "own" else 0.0

    def is_missing(self, account: str, contract: Contract, bar_s: int) -> bool:
        """Whether the live bar that begins at `bar_s` is never sent. `account` names the market."""
        missing = set_for(self.missing, contract) if self.missing else None
        if missing is None or bar_s < missing.since_s:
            return False
        return chance(account, "missing", contract.con_id, bar_s) < missing.share

    @property
    def delays(self) -> bool:
        """Whether live data come late."""
        return self.delay_ms > 0 or self.jitter_ms > 0

    def delay_ns(self, account: str, contract: Contract, at_ns: int) -> int:
        """How late a stream sends what it has at a time."""
        if not self.jitter_ms:
            return int(self.delay_ms * 1e6)
        return int((self.delay_ms + self.jitter_ms * chance(account, "delay", contract.con_id, at_ns)) * 1e6)

    def describe(self) -> dict[str, object]:
        """What is set, as JSON values."""
        tables: dict[str, Mapping[str, NamedTuple]] = {
            "late": self.late,
            "odd_lots": self.odd_lots,
            "step_volume": self.steps,
            "missing_bars": self.missing,
        }
        described: dict[str, object] = {
            name: {symbol: each._asdict() for symbol, each in table.items()} for name, table in tables.items()
        }
        return described | {
            "permissions": dict(self.permissions),
            "taken_lines": self.taken_lines,
            "delay_ms": self.delay_ms,
            "jitter_ms": self.jitter_ms,
        }


def names_of(contract: Contract) -> tuple[str, ...]:
    """What a command may call a contract: ES, ESH6, EUR/USD."""
    return contract.symbol, contract.local_symbol, f"{contract.symbol}/{contract.currency}"


def set_for(table: Mapping[str, T], contract: Contract) -> T | None:
    """What is set for a contract by one of its names, or for all."""
    return next((table[name] for name in (*names_of(contract), EVERY) if name in table), None)


def chance(*what: object) -> float:
    """A number from 0 to below 1 that belongs to these values."""
    noise = blake2b("|".join(map(str, what)).encode(), digest_size=4).digest()
    return int.from_bytes(noise, "big") / _ONE
