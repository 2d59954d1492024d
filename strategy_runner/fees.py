"""The broker's commissions, charged by the simulated exchange."""

from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from nautilus_trader.execution import FeeModel
from nautilus_trader.model import Money

from strategy_runner.engine_names import Traded

_CENT = Decimal("0.01")


TAG = "taken-up"
"""On orders that bring back the position of an earlier life: nothing is charged for them."""


class Commissions(FeeModel):  # type: ignore[misc]
    """Charges each order by the terms of its instrument. Of an order with several executions, each is charged what
    the order costs more by it: the minimum is paid once."""

    def __init__(self, traded: list[Traded]) -> None:
        self._terms = {one.engine.id: one.terms for one in traded}
        self._multipliers = {one.engine.id: Decimal(one.row["multiplier"] or "1") for one in traded}
        self._executed: dict[Any, tuple[Decimal, Decimal, Decimal]] = {}

    def get_commission(self, order: Any, quantity: Any, price: Any, instrument: Any) -> Any:
        """What one execution costs, as the engine's money in the instrument's currency."""
        if TAG in (order.tags or ()):
            return Money.from_decimal(Decimal(0), instrument.quote_currency)
        key = order.client_order_id
        units, value, charged = self._executed.pop(key, (Decimal(0), Decimal(0), Decimal(0)))
        units += quantity.as_decimal()
        value += quantity.as_decimal() * price.as_decimal() * self._multipliers[instrument.id]
        total = self._terms[instrument.id].charge(units, value).quantize(_CENT, ROUND_HALF_UP)
        if units < order.quantity.as_decimal():
            self._executed[key] = (units, value, total)
        return Money.from_decimal(total - charged, instrument.quote_currency)
