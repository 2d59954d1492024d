"""Option values by Black and Scholes, without interest and dividends: what IB's option ticks and calculators tell."""

import datetime as dt
import math
from typing import NamedTuple

from ib_gateway_sim.market.contracts import Contract

_YEAR_S = 365 * 86_400.0
_EXPIRES_UTC = dt.time(20, 0)  # about the close in New York
_VOLATILITIES = (1e-4, 10.0)  # between which an implied one is looked for


class Greeks(NamedTuple):
    """`vega` for one per cent of volatility, `theta` for one day; None where there is no solution."""

    volatility: float | None
    delta: float | None
    price: float | None
    gamma: float | None
    vega: float | None
    theta: float | None
    under: float


def years_left(contract: Contract, now_s: float) -> float:
    day = dt.datetime.strptime(contract.last_trade_date, "%Y%m%d")
    expires = dt.datetime.combine(day, _EXPIRES_UTC, dt.UTC).timestamp()
    return max(expires - now_s, 60.0) / _YEAR_S


def _normal(x: float) -> float:
    return (1 + math.erf(x / math.sqrt(2))) / 2


def value(contract: Contract, under: float, years: float, volatility: float) -> float:
    """What the option is worth per unit of its underlying."""
    spread = volatility * math.sqrt(years)
    d1 = math.log(under / contract.strike) / spread + spread / 2
    call = under * _normal(d1) - contract.strike * _normal(d1 - spread)
    return call if contract.right == "C" else call - under + contract.strike


def implied(contract: Contract, under: float, years: float, price: float) -> float | None:
    """The volatility at which the option is worth its price; None where there is none."""
    low, high = _VOLATILITIES
    if not value(contract, under, years, low) < price < value(contract, under, years, high):
        return None
    for _ in range(60):
        middle = (low + high) / 2
        if value(contract, under, years, middle) < price:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def at_volatility(contract: Contract, under: float, years: float, volatility: float) -> Greeks:
    spread = volatility * math.sqrt(years)
    d1 = math.log(under / contract.strike) / spread + spread / 2
    density = math.exp(-d1 * d1 / 2) / math.sqrt(2 * math.pi)
    delta = _normal(d1) - (contract.right != "C")
    theta = -under * density * volatility / (2 * math.sqrt(years)) / 365
    vega = under * density * math.sqrt(years) / 100
    price = value(contract, under, years, volatility)
    return Greeks(volatility, delta, price, density / (under * spread), vega, theta, under)


def at_price(contract: Contract, under: float, years: float, price: float) -> Greeks:
    volatility = implied(contract, under, years, price) if price > 0 and under > 0 else None
    if volatility is None:
        return Greeks(None, None, price if price > 0 else None, None, None, None, under)
    return at_volatility(contract, under, years, volatility)
