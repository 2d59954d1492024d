"""What a report of a strategy's run shows, as plain values, and what follows from its equity: drawdown, returns of months.

Money is Decimal in the currency of the run, times are market time in nanoseconds UTC.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from nautilus.clock import datetime_of

ZERO = Decimal(0)


class EquityPoint(NamedTuple):
    """ts: of a closed bar. equity: cash and the value of open positions at its close."""

    ts: int
    equity: Decimal


class DrawdownPoint(NamedTuple):
    """share: how far equity lies below its peak until then, 0 to 1."""

    ts: int
    share: Decimal


class MonthReturn(NamedTuple):
    """value: 0.01 is one percent; None where the equity before was not above zero."""

    year: int
    month: int
    value: Decimal | None


class ReportFill(NamedTuple):
    """An execution. side: BUY or SELL. quantity: positive. commission: None while it is not known."""

    ts: int
    symbol: str
    side: str
    quantity: Decimal
    price: Decimal
    commission: Decimal | None


class ReportTrip(NamedTuple):
    """From flat to flat. side: LONG or SHORT. net: after commissions; None where one is not known."""

    symbol: str
    side: str
    began: int
    ended: int
    quantity: Decimal
    net: Decimal | None


class PriceBar(NamedTuple):
    """Prices of a closed bar, for the chart. ts: its close."""

    ts: int
    high: float
    low: float
    close: float


class PriceChart(NamedTuple):
    """Bars of one instrument, in their order; its fills are drawn on them."""

    symbol: str
    timeframe: str
    bars: Sequence[PriceBar]


class Report(NamedTuple):
    """A run as its report shows it.

    figures: the headline, name and value as text. facts: what it ran on and with, name and value as text. notes: what was not
    simulated, and whatever else a reader must know. capital: equity before the first bar.
    """

    title: str
    subtitle: str
    figures: Sequence[tuple[str, str]]
    facts: Sequence[tuple[str, str]]
    notes: Sequence[str]
    currency: str
    capital: Decimal
    equity: Sequence[EquityPoint]
    trips: Sequence[ReportTrip]
    fills: Sequence[ReportFill]
    charts: Sequence[PriceChart]


def drawdowns(equity: Sequence[EquityPoint], capital: Decimal) -> list[DrawdownPoint]:
    """How far equity lies below its highest value so far, the capital included."""
    peak, found = capital, []
    for point in equity:
        peak = max(peak, point.equity)
        found.append(DrawdownPoint(point.ts, 1 - point.equity / peak if peak > ZERO else ZERO))
    return found


def month_returns(equity: Sequence[EquityPoint], capital: Decimal) -> list[MonthReturn]:
    """The return of each month (UTC) that has a point: its last equity by the last of the month before, or by the capital."""
    last: dict[tuple[int, int], Decimal] = {}
    for point in equity:
        day = datetime_of(point.ts)
        last[day.year, day.month] = point.equity
    before, found = capital, []
    for (year, month), value in last.items():
        found.append(MonthReturn(year, month, value / before - 1 if before > ZERO else None))
        before = value
    return found
