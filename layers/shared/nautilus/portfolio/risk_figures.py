"""How much an account may lose, from what it did lose: quantiles of its daily returns, and how it moves with something else.

Nothing is assumed about how returns are distributed. A loss that comes once in twenty days needs twenty days to be seen at all,
one that comes once in a hundred needs a hundred: below that a figure is None.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from itertools import pairwise

from nautilus.portfolio.lots import ZERO
from nautilus.portfolio.returns import FEWEST_DAYS, DayReturn
from nautilus.portfolio.trade_dates import before

_ONE = Decimal(1)


def of_single_days(returns: Iterable[DayReturn]) -> list[DayReturn]:
    """Those of one trade date alone: a return over a gap is that of several."""
    return [one for one in returns if one.since == before(one.trade_date)]


def windows(returns: Sequence[DayReturn], days: int) -> list[Decimal]:
    """Returns of so many trade dates that follow each other, from the newest back; no date counts twice, and what a gap cuts
    off is left out. The newest is last."""
    found: list[Decimal] = []
    held: list[DayReturn] = []
    for one in reversed(returns):
        if held and held[-1].since != one.trade_date:
            held = []
        held.append(one)
        if len(held) == days:
            growth = _ONE
            for part in held:
                growth *= _ONE + part.value
            found.append(growth - _ONE)
            held = []
    return found[::-1]


def value_at_risk(returns: Sequence[Decimal], share: Decimal) -> Decimal | None:
    """The loss, as a share of equity, that returns exceed in `share` of all cases; 0 where even those gain. None below 1 / share
    returns."""
    if not returns or len(returns) * share < _ONE:
        return None
    return max(-_quantile(returns, share), ZERO)


def expected_shortfall(returns: Sequence[Decimal], share: Decimal) -> Decimal | None:
    """The mean loss of the worst `share` of returns; 0 where they gain. None below 1 / share returns."""
    if not returns or len(returns) * share < _ONE:
        return None
    worst = sorted(returns)[: int((len(returns) - 1) * share) + 1]
    return max(-sum(worst, ZERO) / len(worst), ZERO)


def _quantile(values: Sequence[Decimal], share: Decimal) -> Decimal:
    """By the line between the two nearest values."""
    ordered = sorted(values)
    place = (len(ordered) - 1) * share
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


# ---- together with something else ------------------------------------------------------------------------------------


def returns_of_closes(closes: Mapping[date, Decimal]) -> list[DayReturn]:
    """Of the closes of an instrument, date by date; without dividends."""
    ordered = sorted(closes.items())
    return [
        DayReturn(day, since, close / earlier - _ONE)
        for (since, earlier), (day, close) in pairwise(ordered)
        if earlier > ZERO
    ]


def paired(own: Iterable[DayReturn], other: Iterable[DayReturn]) -> list[tuple[Decimal, Decimal]]:
    """The returns of both over the same dates, from the same one to the same one."""
    others = {(one.since, one.trade_date): one.value for one in other}
    return [(one.value, others[key]) for one in own if (key := (one.since, one.trade_date)) in others]


def beta(pairs: Sequence[tuple[Decimal, Decimal]]) -> Decimal | None:
    """How many times the second's moves the first makes; None below 20 pairs, or where the second never moved."""
    products = _products(pairs)
    return None if products is None or not products[2] else products[0] / products[2]


def correlation(pairs: Sequence[tuple[Decimal, Decimal]]) -> Decimal | None:
    """From -1 to 1; None below 20 pairs, or where one of both never moved."""
    products = _products(pairs)
    if products is None or not products[1] or not products[2]:
        return None
    return products[0] / (products[1] * products[2]).sqrt()


def _products(pairs: Sequence[tuple[Decimal, Decimal]]) -> tuple[Decimal, Decimal, Decimal] | None:
    """Sums of products of deviations: of both, of the first, of the second."""
    if len(pairs) < FEWEST_DAYS:
        return None
    mean, other = (sum((pair[n] for pair in pairs), ZERO) / len(pairs) for n in (0, 1))
    apart = [(one - mean, two - other) for one, two in pairs]
    return (
        sum((one * two for one, two in apart), ZERO),
        sum((one * one for one, _ in apart), ZERO),
        sum((two * two for _, two in apart), ZERO),
    )
