"""Reports for tests of their page: a run of two months with a gain, a fall, fills and trades."""

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from nautilus.clock import NS_PER_DAY, NS_PER_HOUR, NS_PER_S
from nautilus.strategies.report_values import EquityPoint, PriceBar, PriceChart, Report, ReportFill, ReportTrip

START = 1_767_362_400 * NS_PER_S  # 2026-01-02T14:00:00Z


def report(words: Callable[[str], str] = str, **changes: Any) -> Report:
    """A run of 300 hours of the open market; `words` makes each text of it."""
    times = [START + (n // 7) * NS_PER_DAY + (n % 7) * NS_PER_HOUR for n in range(300)]
    worth = [100_000 + 900 * math.sin(n / 18) + 11 * n for n in range(300)]
    prices = [280 + 6 * math.sin(n / 18) + n / 40 for n in range(300)]
    buys = range(10, 290, 20)
    fills = [
        ReportFill(
            times[n], words("AAPL.NASDAQ"), "BUY" if k % 2 == 0 else "SELL", Decimal(10), _price(prices[n]), Decimal(1)
        )
        for k, n in enumerate(buys)
    ]
    trips = [
        ReportTrip(words("AAPL.NASDAQ"), words("LONG"), a.ts, b.ts, Decimal(10), (b.price - a.price) * 10 - 2)
        for a, b in zip(fills[::2], fills[1::2], strict=True)
    ]
    bars = [PriceBar(ts, price + 0.8, price - 0.8, price) for ts, price in zip(times, prices, strict=True)]
    made = Report(
        title=words("EMA cross 10/20"),
        subtitle=words("Back-test, completed, 2026-01-02 to 2026-02-13"),
        figures=[(words("Net profit"), words("3,240.50 USD")), (words("Win rate"), words("57.1 %"))],
        facts=[(words("Engine"), words("nautilus_trader 2.0.0rc7")), (words("Parameters"), words("fast=10"))],
        notes=[words("Margin and borrowing costs are not simulated.")],
        currency=words("USD"),
        capital=Decimal(100_000),
        equity=[EquityPoint(ts, _price(value)) for ts, value in zip(times, worth, strict=True)],
        trips=trips,
        fills=fills,
        charts=[PriceChart(words("AAPL.NASDAQ"), words("1h"), bars)],
    )
    return made._replace(**changes)


def _price(value: float) -> Decimal:
    return Decimal(f"{value:.2f}")
