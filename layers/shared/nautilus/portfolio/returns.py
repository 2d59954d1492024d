"""Returns of an account from its equity of each trade date: time-weighted, so that deposits are no profit.

Rules and constants are those of empyrical (252 trade dates a year, sample deviation, no risk-free rate), so that a second
library gives the same figures; ours are Decimal. Every figure is None where there are too few days, never 0.
"""

from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal
from itertools import pairwise
from typing import NamedTuple

from nautilus.portfolio.lots import ZERO

DAYS_A_YEAR = 252
FEWEST_DAYS = 20
"""Below so many daily returns a deviation says nothing: volatility and Sharpe ratio are None."""
_ONE = Decimal(1)


class EquityDay(NamedTuple):
    """An account at the end of a trade date. equity: net liquidation. deposits: what came in that day less what was taken
    out. Both in the account's base currency."""

    trade_date: date
    equity: Decimal
    deposits: Decimal = ZERO


class DayReturn(NamedTuple):
    """value: 0.01 is one percent. since: the trade date whose equity it is compared with: not always the day before."""

    trade_date: date
    since: date
    value: Decimal


class Drawdown(NamedTuple):
    """The deepest fall. share: of the peak, 0 to 1. until: None while the peak was not reached again."""

    share: Decimal
    peak: date
    trough: date
    until: date | None


def daily_returns(days: Iterable[EquityDay]) -> list[DayReturn]:
    """The return of each trade date after the first: equity without the day's deposits by the equity before.

    A day after one without equity has no return, as nothing can grow from nothing.
    """
    ordered = sorted(days)
    return [
        DayReturn(day.trade_date, before.trade_date, (day.equity - day.deposits) / before.equity - _ONE)
        for before, day in pairwise(ordered)
        if before.equity > ZERO
    ]


def total_return(returns: Iterable[DayReturn]) -> Decimal | None:
    """All returns one after the other; None without any, or where one between them is not known."""
    growth, until = _ONE, None
    for one in returns:
        if until is not None and one.since != until:
            return None
        growth, until = growth * (_ONE + one.value), one.trade_date
    return None if until is None else growth - _ONE


def annual_return(returns: Sequence[DayReturn]) -> Decimal | None:
    """The same growth for a year of 252 trade dates; None below 20 days, or where everything was lost."""
    whole = total_return(returns)
    if whole is None or len(returns) < FEWEST_DAYS or whole <= -_ONE:
        return None
    return (_ONE + whole) ** (Decimal(DAYS_A_YEAR) / len(returns)) - _ONE


def volatility(returns: Sequence[DayReturn]) -> Decimal | None:
    """The sample deviation of daily returns, for a year; None below 20 days."""
    deviation = _deviation(returns)
    return None if deviation is None else deviation * Decimal(DAYS_A_YEAR).sqrt()


def sharpe_ratio(returns: Sequence[DayReturn]) -> Decimal | None:
    """Mean daily return by its deviation, for a year; None below 20 days, or where no return differs from another."""
    deviation = _deviation(returns)
    return _mean(returns) / deviation * Decimal(DAYS_A_YEAR).sqrt() if deviation else None


def largest_drawdown(returns: Iterable[DayReturn]) -> Drawdown | None:
    """The deepest fall from a peak of the growth of 1; None without a return, without a fall, or where a return between others
    is not known."""
    growth = peak = _ONE
    peak_day: date | None = None
    until: date | None = None
    deepest: Drawdown | None = None
    for one in returns:
        if until is not None and one.since != until:
            return None
        until = one.trade_date
        peak_day = peak_day or one.since
        growth *= _ONE + one.value
        if growth >= peak:
            if deepest is not None and deepest.until is None and deepest.peak == peak_day:
                deepest = deepest._replace(until=one.trade_date)
            peak, peak_day = growth, one.trade_date
            continue
        fall = _ONE - growth / peak
        if deepest is None or fall > deepest.share:
            deepest = Drawdown(fall, peak_day, one.trade_date, None)
    return deepest


def _mean(returns: Sequence[DayReturn]) -> Decimal:
    return sum((one.value for one in returns), ZERO) / len(returns)


def _deviation(returns: Sequence[DayReturn]) -> Decimal | None:
    if len(returns) < FEWEST_DAYS:
        return None
    mean = _mean(returns)
    return (sum(((one.value - mean) ** 2 for one in returns), ZERO) / (len(returns) - 1)).sqrt()
