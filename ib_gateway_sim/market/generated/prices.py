"""The prices of all instruments: one walk each, made from seed and trend."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from datetime import date
from functools import lru_cache
from math import exp

from ib_gateway_sim.market.contracts import Contract
from ib_gateway_sim.market.generated.dates import LAST_S, new_york_date, opens_by
from ib_gateway_sim.market.generated.node_bars import View
from ib_gateway_sim.market.generated.walks import Noise, Walk
from ib_gateway_sim.market.instruments import options
from ib_gateway_sim.market.instruments.futures import front, root_of
from ib_gateway_sim.market.instruments.instrument import Instrument, expiry
from ib_gateway_sim.market.instruments.listing import by_con_id

_2025_S = 1_735_689_600
ADJUSTED_GRID = 10_000  # prices that are divided by splits or less dividends are printed with four decimals
EX_DATES = tuple(date(year, month, 10) for year in range(2004, 2031) for month in (2, 5, 8, 11))


class Prices:
    """The walks of all instruments of one seed, and how each trade date of them is shown."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._noises: dict[str, Noise] = {}
        self._walks: dict[int, Walk] = {}

    def instrument(self, contract: Contract) -> Instrument:
        one = by_con_id().get(contract.con_id) or options.by_con_id(contract.con_id)
        if one is None:
            raise LookupError(f"no instrument has the contract id {contract.con_id}")
        return one

    def walk(self, one: Instrument) -> Walk:
        walk = self._walks.get(one.contract.con_id)
        if walk is None:
            walk = self._walks[one.contract.con_id] = Walk(self.seed, one, self._level(one))
        return walk

    def spot(self, symbol: str, t_s: float) -> float:
        """About what a stock costs at an instant."""
        return self.walk(options.underlying(symbol)).level(t_s)

    def _level(self, one: Instrument) -> Callable[[float], float]:
        """The price in today's shares as a function of time."""
        end = expiry(one.contract)
        end_years = (end - date(2025, 1, 1)).days / 365.25 if end else 0.0
        if one.under:
            spot = self.walk(one.under).level
            return lambda t_s: options.value(one, spot(t_s), end_years - (t_s - _2025_S) / (365.25 * 86400))
        noise = self._noises.setdefault(one.walk, Noise(f"{self.seed}/{one.walk}/".encode()))

        @lru_cache(maxsize=5000)
        def level(t_s: float) -> float:
            years = (t_s - _2025_S) / (365.25 * 86400)
            ahead = one.carry * max(end_years - years, 0.0) if end else 0.0
            return exp(one.trend(years) + one.vol_day * noise.at(t_s) + ahead)

        return level

    def view(self, one: Instrument, day: date, what: str, now_s: float) -> View:
        if one.roll:
            return self._continuous_view(one, day, what, now_s)
        walk = self.walk(one)
        divisor = 1
        for at, ratio in walk.splits:
            if day < at and opens_by(one.contract.calendar, at, now_s):
                divisor *= ratio
        factor = self._dividends(one, day, now_s) if what == "ADJUSTED_LAST" else 1.0
        grid = ADJUSTED_GRID if divisor * factor != 1 else 0
        return View(walk, one.per_unit * divisor, factor, grid, divisor)

    def _continuous_view(self, one: Instrument, day: date, what: str, now_s: float) -> View:
        """The front month of the day, back-adjusted by the ratio at each roll (its carry over the days between)."""
        root = root_of(one.contract.symbol)
        if root is None:
            raise LookupError(f"no futures product {one.contract.symbol}")
        then, last = front(root, day), front(root, new_york_date(min(now_s, LAST_S)))
        ahead = ((expiry(last.contract) or day) - (expiry(then.contract) or day)).days
        factor = exp(root.carry * max(ahead, 0) / 365.25)
        grid = one.per_unit * (2 if what == "MIDPOINT" else 1) if factor != 1.0 else 0
        return View(self.walk(then), one.per_unit, factor, grid, 1)

    def _dividends(self, one: Instrument, day: date, now_s: float) -> float:
        """What ADJUSTED_LAST takes off: a quarter of the yearly yield at each ex-date after the day and until now."""
        if not one.yield_year:
            return 1.0
        past = bisect_right(EX_DATES, new_york_date(min(now_s, LAST_S)))
        if past and not opens_by(one.contract.calendar, EX_DATES[past - 1], now_s):
            past -= 1
        return (1 - one.yield_year / 4) ** max(past - bisect_right(EX_DATES, day), 0)
