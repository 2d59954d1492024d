"""What the gateway needs of a market, and what a market says: quotes, ticks, option chains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol

from ib_gateway_sim.market.bars import Bar
from ib_gateway_sim.market.calendars import Session
from ib_gateway_sim.market.contracts import Contract, ContractQuery

Side = Literal["bid", "ask", "last"]
FILE_CLASSES = ("STK", "CASH", "FUT", "IND", "CRYPTO")
"""Security types of an instrument whose bars are replayed from a file."""


class Quote(NamedTuple):
    """The top of the book and the day so far. A price of -1 whose size is 0 means there is none: prices may be negative.

    `last_s` is the time of the last trade (0: none). `open high low volume` are of the current or last regular
    session; `close` is the one before it. `halted` is IB's tick 49. While the market is shut the last values stay.
    """

    t_s: float
    bid: float
    bid_size: float
    ask: float
    ask_size: float
    last: float
    last_size: float
    last_s: float
    open: float
    high: float
    low: float
    close: float
    volume: float
    halted: bool
    is_open: bool

    @property
    def has_bid(self) -> bool:
        return self.bid_size > 0

    @property
    def has_ask(self) -> bool:
        return self.ask_size > 0

    @property
    def has_last(self) -> bool:
        return self.last_s > 0

    def price(self, side: Side) -> float | None:
        """One of its prices; None where there is none."""
        if side == "last":
            return self.last if self.has_last else None
        if side == "bid":
            return self.bid if self.has_bid else None
        return self.ask if self.has_ask else None


class Tick(NamedTuple):
    """One tick. TRADES fills price and size, MIDPOINT price, BID_ASK bid, ask and their sizes; the rest is 0 or ""."""

    t_s: float  # with milliseconds; historical ticks print whole seconds
    price: float
    size: float
    bid: float
    ask: float
    bid_size: float
    ask_size: float
    exchange: str
    conditions: str


class OptionParams(NamedTuple):
    """One secDefOptParams message: the chain of one exchange and trading class."""

    exchange: str
    under_con_id: int
    trading_class: str
    multiplier: str
    expirations: tuple[str, ...]  # yyyymmdd
    strikes: tuple[float, ...]


class MarketSource(Protocol):
    """What the server needs of a market; `Market` generates it, `Replay` (replay.py) reads it from files."""

    @property
    def account(self) -> str:
        """The managed account, which spells the source: SIM<seed> or SIMR<8 hex digits of the file's SHA-256>."""

    def find(self, query: ContractQuery, now_s: float) -> list[Contract]:
        """All contracts that answer the query, as reqContractDetails lists them; empty: error 200.

        Other requests want exactly one: several is "ambiguous", also 200.
        """

    def search(self, pattern: str, now_s: float) -> list[Contract]:
        """Contracts whose symbol starts with, or whose name contains the pattern (at most 16): matching symbols."""

    def derivatives(self, contract: Contract) -> tuple[str, ...]:
        """Security types that exist on it (OPT, CFD ...), for the answer to matching symbols."""

    def option_params(self, contract: Contract, now_s: float) -> list[OptionParams]:
        """The option chains on an underlying; empty when there are none."""

    def sessions(self, contract: Contract, start_s: float, end_s: float, *, rth: bool) -> list[Session]:
        """Sessions that overlap [start_s, end_s), whole, in order (also for the future, and before the head)."""

    def trading_hours(self, contract: Contract, now_s: float, *, liquid: bool, days: int = 7) -> str:
        """The tradingHours or liquidHours text from today on: `20221229:0400-20221229:2000;20221231:CLOSED`."""

    def bars(
        self,
        contract: Contract,
        size: str,
        what: str,
        *,
        rth: bool,
        start_s: float,
        end_s: float,
        now_s: float,
    ) -> list[Bar]:
        """Bars that start in [start_s, end_s) and before now_s, in order; the last is cut off at now_s if it forms.

        `size` is one of SIZES, `what` one of contract.kinds (ValueError otherwise; ADJUSTED_LAST with 1d 1w 1M too).
        A 1d, 1w or 1M bar starts with the first session of its day, week (Monday) or month. A CONTFUT is the front
        contract of each time, back-adjusted by ratio. Empty: "no data".
        """

    def head_s(self, contract: Contract, what: str, *, rth: bool) -> int | None:
        """Open of the oldest bar, None when the kind is not served."""

    def quote(self, contract: Contract, t_s: float) -> Quote:
        """Bid, ask, last and day values at an instant."""

    def calm_until(
        self, contract: Contract, side: Side, within: tuple[float, float], start_s: float, end_s: float
    ) -> float:
        """Until when a price surely stays strictly between two others: at every instant in [start_s, the answer).

        `side`: which price of the quote; `within`: (low, high). Never before the truth by more than a tick, and never
        after end_s; start_s where the price is outside already or where there is none.
        """

    def ticks(
        self,
        contract: Contract,
        kind: str,
        start_s: float,
        end_s: float,
        limit: int,
        *,
        rth: bool = False,
        from_end: bool = False,
    ) -> list[Tick]:
        """Ticks with start_s <= t < end_s in order, `kind` TRADES, BID_ASK or MIDPOINT (AGGTRADES as TRADES).

        The first `limit`, or with from_end the last; the second of the last one is completed, so more may come.
        """

    def split(self, contract: Contract, ratio: int, at_s: float) -> int:
        """One share becomes `ratio` from the first session opening at or after at_s; returns that opening.

        Older prices are divided and older volumes multiplied once now_s has passed it, as IB adjusts TRADES.
        ValueError when the contract is not a stock or the ratio is below 2.
        """

    def market_rule(self, rule_id: int) -> Sequence[tuple[float, float]]:
        """(low edge, increment) pairs of a price ladder; LookupError for an unknown rule."""
