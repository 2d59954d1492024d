"""An instrument: a contract, and the numbers that its prices are made from."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from math import log
from zlib import crc32

from ib_gateway_sim.market import calendars
from ib_gateway_sim.market.contracts import Contract

QUOTES = ("MIDPOINT", "BID", "ASK", "BID_ASK")
TRADED = ("TRADES", *QUOTES)
STOCK_KINDS = (*TRADED, "ADJUSTED_LAST")


@dataclass(frozen=True)
class Instrument:
    """A contract and the numbers that its prices are made from."""

    contract: Contract
    per_unit: int  # ticks in 1.0 of price
    price_2005: float  # level in early 2005 and 2025, at today's share count; between and after: steady growth
    price_2025: float
    vol_day: float  # standard deviation of a day's log return
    rate_regular: float  # ticks (trades, or quotes where nothing trades) a minute
    rate_extended: float
    trade_size: float  # mean volume of a trade
    spread_regular: int  # ticks between bid and ask
    spread_extended: int
    path: str = ""  # instruments with the same text walk together; default: their own con_id
    carry: float = 0.0  # a future's yearly premium over its underlying
    head: date = calendars.FIRST
    splits: tuple[tuple[date, int], ...] = ()
    front_days: int = 0  # a future is busy from so many days before its end, 0: always
    yield_year: float = 0.0  # dividends of a year, part of the price
    halted: frozenset[date] = frozenset()
    volume_unit: int = 1  # volume is served in parts of it: 10_000 for crypto
    under: Instrument | None = field(default=None, repr=False)  # of an option
    roll: tuple[Instrument, ...] = field(default=(), repr=False)  # of a continuous future: its months

    @property
    def walk(self) -> str:
        """The name of its level's noise."""
        return self.path or str(self.contract.con_id)

    def trend(self, years: float) -> float:
        """The steady part of its log price; years since 2025-01-01."""
        return log(self.price_2025) + years * log(self.price_2025 / self.price_2005) / 20


def con_id(*names: str) -> int:
    """A stable contract id of nine digits."""
    return 100_000_000 + crc32("/".join(names).encode()) % 800_000_000


def expiry(contract: Contract) -> date | None:
    """The last trade date of a contract, None where there is none."""
    text = contract.last_trade_date
    return date(int(text[:4]), int(text[4:6]), int(text[6:])) if text else None
