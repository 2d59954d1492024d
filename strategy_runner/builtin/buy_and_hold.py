"""Buys once, after the first bar, and holds: what any other strategy is compared with."""

from decimal import Decimal
from typing import Any

from strategy_runner.strategy import Strategy


class BuyAndHold(Strategy):
    description = __doc__ or ""

    def decide(self, bar: Any) -> Decimal:
        return self.trade_size
