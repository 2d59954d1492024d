"""Options on a few stocks: which exist, what they are called, and what they are worth.

An option's contract id spells it (underlying, expiry, strike, right), so that any of them is found without a list.
Prices follow Black and Scholes at a constant volatility; options trade in regular hours and have no daily bars.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from functools import cache
from math import erf, exp, log, sqrt

from ib_gateway_sim.market import calendars
from ib_gateway_sim.market.contracts import Contract, ContractQuery
from ib_gateway_sim.market.instruments.instrument import TRADED, Instrument
from ib_gateway_sim.market.instruments.listing import by_symbol

UNDERLYINGS = ("AAPL", "SPY")
EXCHANGES = ("SMART", "CBOE", "AMEX", "ISE", "PHLX")
CALENDAR = "us_index"
WEEKS, MONTHS = 4, 8  # how many expiries are listed ahead
RATE = 0.04
_FIRST_ID = (
    1_000_000_000  # then, from the top: underlying, days since 2004 (14 bits), half points of strike (12), right
)
_TRADING_DAYS = 252


@cache
def underlying(symbol: str) -> Instrument:
    """The stock that options of a symbol are on."""
    return next(one for one in by_symbol()[symbol] if one.contract.sec_type == "STK")


@cache
def expirations(today: date) -> tuple[date, ...]:
    """The next Fridays and the third Fridays of the months to come (the trading day before, where one is a holiday)."""
    fridays = [today + timedelta(days=(4 - today.weekday()) % 7 + 7 * n) for n in range(40)]
    chosen = fridays[:WEEKS] + [one for one in fridays if 15 <= one.day <= 21][:MONTHS]
    dates = {_trading_day(one) for one in chosen if one <= calendars.LAST}
    return tuple(sorted(one for one in dates if one >= today))


def strikes(spot: float) -> tuple[float, ...]:
    """Strikes within 30 per cent of the price of the underlying."""
    step = next(step for limit, step in ((50, 1.0), (150, 2.5), (1e9, 5.0)) if spot < limit)
    return tuple(step * n for n in range(int(spot * 0.7 / step) + 1, int(spot * 1.3 / step) + 1))


def matching(query: ContractQuery, spot: float, today: date) -> Iterator[Instrument]:
    """The options of a query's symbol that may answer it; a strike off the list is taken when the query names it."""
    symbol = (query.symbol or query.local_symbol[:6]).strip().upper()
    spelled = query.local_symbol[13:] if len(query.local_symbol) == 21 else ""
    given = int(spelled) / 1000 if re.fullmatch("[0-9]+", spelled) else query.strike
    chosen = strikes(spot) if not given else (given,) if _encodable(given) and 0.2 < given / spot < 5 else ()
    for end in expirations(today):
        if f"{end:%Y%m%d}".startswith(query.last_trade_date):
            yield from (option(symbol, end, strike, right) for strike in chosen for right in "CP")


def by_con_id(con_id: int) -> Instrument | None:
    """The option that a contract id spells."""
    code = con_id - _FIRST_ID
    number, days = code >> 27, code >> 13 & 0x3FFF
    if code < 0 or number >= len(UNDERLYINGS):
        return None
    end = calendars.FIRST + timedelta(days=days)
    if end > calendars.LAST:
        return None
    return option(UNDERLYINGS[number], end, (code >> 1 & 0xFFF) / 2, "CP"[code & 1])


def option(symbol: str, end: date, strike: float, right: str) -> Instrument:
    """One option as an instrument."""
    under = underlying(symbol)
    days = (end - calendars.FIRST).days
    number = UNDERLYINGS.index(symbol) << 27 | days << 13 | int(strike * 2) << 1 | "CP".index(right)
    contract = Contract(
        con_id=_FIRST_ID + number,
        symbol=symbol,
        sec_type="OPT",
        exchange="SMART",
        currency="USD",
        local_symbol=f"{symbol:<6}{end:%y%m%d}{right}{int(strike * 1000):08}",
        long_name=under.contract.long_name,
        calendar=CALENDAR,
        time_zone=calendars.zone_name(CALENDAR),
        min_tick=0.01,
        kinds=TRADED,
        last_trade_date=f"{end:%Y%m%d}",
        strike=strike,
        right=right,
        multiplier="100",
        trading_class=symbol,
        market_name=symbol,
        contract_month=f"{end:%Y%m}",
        valid_exchanges=EXCHANGES,
        market_rule_ids=(110,) * len(EXCHANGES),
        under_con_id=under.contract.con_id,
        under_symbol=symbol,
        under_sec_type="STK",
        real_expiration_date=f"{end:%Y%m%d}",
        agg_group=2,
    )
    return replace(
        under,
        contract=contract,
        under=under,
        vol_day=0.08,
        rate_regular=4.0,
        rate_extended=0.0,
        trade_size=5.0,
        spread_regular=3,
        spread_extended=3,
        head=end - timedelta(days=300),
        splits=(),
        yield_year=0.0,
    )


def value(one: Instrument, spot: float, years: float) -> float:
    """What an option is worth, at least a cent."""
    strike = one.contract.strike
    under = one.under or one
    deviation = under.vol_day * sqrt(_TRADING_DAYS * max(years, 1e-6))
    d1 = log(spot / strike) / deviation + deviation / 2
    discounted = strike * exp(-RATE * max(years, 0.0))
    call = spot * _normal(d1) - discounted * _normal(d1 - deviation)
    return max(call if one.contract.right == "C" else call - spot + discounted, 0.01)


def _normal(x: float) -> float:
    return (1 + erf(x / sqrt(2))) / 2


def _encodable(strike: float) -> bool:
    return strike * 2 == int(strike * 2) and 0 < strike < 2048


def _trading_day(day: date) -> date:
    while not calendars.day_sessions(CALENDAR, day, rth=True):
        day -= timedelta(days=1)
    return day
