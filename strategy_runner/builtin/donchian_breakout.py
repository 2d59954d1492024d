"""Buys a close above the highest high of the bars before it, and leaves at a close below a shorter channel's lowest low."""

from decimal import Decimal
from typing import Any

from nautilus_trader.indicators import DonchianChannel
from pydantic import Field

from strategy_runner.strategy import Strategy, StrategyParameters


class DonchianBreakout(Strategy):
    description = __doc__ or ""

    class Parameters(StrategyParameters):
        relations = (("leave", "<=", "entry"),)

        entry: int = Field(20, ge=2, le=1_000, description="Bars of the channel whose break enters.")
        leave: int = Field(10, ge=1, le=1_000, description="Bars of the channel whose break leaves.")
        short: bool = Field(False, description="Whether to sell short below the channel.")

    def prepare(self) -> None:
        self.wide, self.narrow = DonchianChannel(self.parameters.entry), DonchianChannel(self.parameters.leave)
        self.before: tuple[float, float, float, float] | None = None

    def learn(self, bar: Any) -> None:
        # A bar is compared with the channel of those before it: no close is above its own high.
        wide, narrow = self.wide, self.narrow
        self.before = (wide.upper, wide.lower, narrow.upper, narrow.lower) if wide.initialized else None
        wide.handle_bar(bar)
        narrow.handle_bar(bar)

    def decide(self, bar: Any) -> Decimal | None:
        if self.before is None:
            return None
        upper, lower, leave_short, leave_long = self.before
        close, wanted = bar.close.as_double(), self.wanted()
        if close > upper:
            return self.trade_size
        if close < lower and self.parameters.short:
            return -self.trade_size
        over = close < leave_long if wanted > 0 else close > leave_short
        return Decimal(0) if wanted and over else None
