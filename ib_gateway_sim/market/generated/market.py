"""One market behind everything: prices, volumes, quotes and ticks as a pure function of seed, contract and time.

All times are epoch seconds UTC. Nothing here knows a socket, a client or the clock: `now_s` is handed in, and nothing
after it is ever shown.
"""

from __future__ import annotations

from collections.abc import Sequence

from ib_gateway_sim.market import calendars
from ib_gateway_sim.market.bars import Bar
from ib_gateway_sim.market.calendars import Session
from ib_gateway_sim.market.contracts import Contract, ContractQuery
from ib_gateway_sim.market.generated.bars import GeneratedBars
from ib_gateway_sim.market.generated.contract_search import ContractSearch
from ib_gateway_sim.market.generated.prices import Prices
from ib_gateway_sim.market.generated.quotes import GeneratedQuotes
from ib_gateway_sim.market.instruments.market_rules import MARKET_RULES
from ib_gateway_sim.market.source import OptionParams, Quote, Side, Tick


class Market:
    """The generated market of one seed; see MarketSource for its methods."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._prices = Prices(seed)
        self._contracts = ContractSearch(self._prices)
        self._bars = GeneratedBars(self._prices)
        self._quotes = GeneratedQuotes(self._prices, self._bars)

    @property
    def account(self) -> str:
        return f"SIM{self.seed}"

    def find(self, query: ContractQuery, now_s: float) -> list[Contract]:
        return self._contracts.find(query, now_s)

    def search(self, pattern: str, now_s: float) -> list[Contract]:
        return self._contracts.search(pattern, now_s)

    def derivatives(self, contract: Contract) -> tuple[str, ...]:
        return self._contracts.derivatives(contract)

    def option_params(self, contract: Contract, now_s: float) -> list[OptionParams]:
        return self._contracts.option_params(contract, now_s)

    def market_rule(self, rule_id: int) -> Sequence[tuple[float, float]]:
        return MARKET_RULES[rule_id]

    def sessions(self, contract: Contract, start_s: float, end_s: float, *, rth: bool) -> list[Session]:
        return calendars.sessions(contract.calendar, start_s, end_s, rth=rth)

    def trading_hours(self, contract: Contract, now_s: float, *, liquid: bool, days: int = 7) -> str:
        name = contract.calendar
        return calendars.hours_text(
            calendars.zone(name), lambda day: calendars.known_sessions(name, day, rth=liquid), now_s, days
        )

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
        return self._bars.bars(contract, size, what, rth=rth, start_s=start_s, end_s=end_s, now_s=now_s)

    def head_s(self, contract: Contract, what: str, *, rth: bool) -> int | None:
        return self._bars.head_s(contract, what, rth=rth)

    def quote(self, contract: Contract, t_s: float) -> Quote:
        return self._quotes.quote(contract, t_s)

    def calm_until(
        self, contract: Contract, side: Side, within: tuple[float, float], start_s: float, end_s: float
    ) -> float:
        return self._quotes.calm_until(contract, side, within, start_s, end_s)

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
        return self._quotes.ticks(contract, kind, start_s, end_s, limit, rth=rth, from_end=from_end)

    def split(self, contract: Contract, ratio: int, at_s: float) -> int:
        if contract.sec_type != "STK" or ratio < 2:
            raise ValueError(f"only a stock splits, into 2 or more: {contract.sec_type} {contract.symbol} {ratio}")
        for session in calendars.sessions(contract.calendar, at_s, at_s + 14 * 86400, rth=False):
            if session.open_s >= at_s:
                self._prices.walk(self._prices.instrument(contract)).split(session.trade_date, ratio)
                return session.open_s
        raise ValueError("no session opens within two weeks of the split")
