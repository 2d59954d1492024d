"""Buys below the lower Bollinger band and is flat again at the middle; the same on the short side where that is allowed."""

from decimal import Decimal
from typing import Any

from nautilus_trader.indicators import BollingerBands
from pydantic import Field

from strategy_runner.strategy import Strategy, StrategyParameters


class BollingerReversion(Strategy):
    description = __doc__ or ""

    class Parameters(StrategyParameters):
        period: int = Field(20, ge=2, le=1_000, description="Bars of the average and of the deviation.")
        width: float = Field(2.0, gt=0, le=10, description="Standard deviations from the middle to a band.")
        short: bool = Field(False, description="Whether to sell short above the upper band.")

    def prepare(self) -> None:
        self.bands = BollingerBands(self.parameters.period, self.parameters.width)

    def learn(self, bar: Any) -> None:
        self.bands.handle_bar(bar)

    def decide(self, bar: Any) -> Decimal | None:
        if not self.bands.initialized:
            return None
        close, wanted = bar.close.as_double(), self.wanted()
        if close < self.bands.lower:
            return self.trade_size
        if close > self.bands.upper and self.parameters.short:
            return -self.trade_size
        over = close >= self.bands.middle if wanted > 0 else close <= self.bands.middle
        return Decimal(0) if wanted and over else None
