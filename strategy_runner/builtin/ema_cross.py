"""Long while a fast average of closes is above a slow one; otherwise flat, or short where that is allowed."""

from decimal import Decimal
from typing import Any

from nautilus_trader.indicators import ExponentialMovingAverage
from pydantic import Field

from strategy_runner.strategy import Strategy, StrategyParameters


class EmaCross(Strategy):
    description = __doc__ or ""

    class Parameters(StrategyParameters):
        relations = (("fast", "<", "slow"),)

        fast: int = Field(10, ge=1, le=1_000, description="Bars of the fast average.")
        slow: int = Field(20, ge=2, le=5_000, description="Bars of the slow average.")
        short: bool = Field(False, description="Whether to be short while the fast average is below the slow one.")

    def prepare(self) -> None:
        self.fast = ExponentialMovingAverage(self.parameters.fast)
        self.slow = ExponentialMovingAverage(self.parameters.slow)
        self.above = self.trade_size
        self.below = -self.trade_size if self.parameters.short else Decimal(0)

    def learn(self, bar: Any) -> None:
        self.fast.handle_bar(bar)
        self.slow.handle_bar(bar)

    def decide(self, bar: Any) -> Decimal | None:
        if not self.slow.initialized:
            return None
        return self.above if self.fast.value > self.slow.value else self.below
