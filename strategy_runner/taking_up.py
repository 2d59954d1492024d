"""What a paper run had when its process was lost: its position, at its average price and free of charge, then its open orders.

The engine's simulated exchange begins empty. An order of ours fills at a trade of ours, so that the strategy holds what it held;
none of this is written down as a fill or an order.
"""

import asyncio
import time
from decimal import Decimal
from typing import Any

from nautilus_trader.model import ClientOrderId, OrderSide, OrderType, Price, Quantity

from strategy_runner.data_client import PipeData
from strategy_runner.engine_names import Series, SetupError
from strategy_runner.fees import TAG
from strategy_runner.run import ORDER_TYPES
from strategy_runner.setup import Prepared

_PATIENCE_S = 20.0
_TYPES = {word: kind for kind, word in ORDER_TYPES.items()}


async def take_up(
    ready: Prepared, data: PipeData, positions: list[dict[str, Any]], orders: list[dict[str, Any]]
) -> None:
    """Before the first bar. SetupError: the engine does not take the position."""
    strategy = ready.strategy
    wanted = {row["con_id"]: Decimal(row["quantity"]) for row in positions}
    for row in positions:
        series = _of_contract(ready, row["con_id"])
        strategy.take_up(_all_at_once(strategy, series[0], wanted[row["con_id"]]), brings_back=True)
        for one in series:
            data.show(one.index, float(row["average_price"]))
    deadline = time.monotonic() + _PATIENCE_S
    while any(strategy.position(ready.traded[con_id].engine) != quantity for con_id, quantity in wanted.items()):
        if strategy.failed or time.monotonic() > deadline:
            raise SetupError("the simulated account does not take up the position that the run held: begin a new run")
        await asyncio.sleep(0.01)
    for row in orders:
        strategy.take_up(_once_more(strategy, _of_contract(ready, row["con_id"])[0], row), brings_back=False)


def _of_contract(ready: Prepared, con_id: int) -> list[Series]:
    return [one for one in ready.series if one.traded.con_id == con_id]


def _all_at_once(strategy: Any, series: Series, quantity: Decimal) -> Any:
    engine = series.traded.engine
    side = OrderSide.BUY if quantity > 0 else OrderSide.SELL
    size = Quantity.from_decimal_dp(abs(quantity), engine.size_precision)
    return strategy.order_factory.market(engine.id, side, size, tags=[TAG])


def _once_more(strategy: Any, series: Series, row: dict[str, Any]) -> Any:
    """What is open of an order, under its own name."""
    engine, digits, make = series.traded.engine, series.traded.digits, strategy.order_factory
    side = OrderSide.BUY if row["side"] == "BUY" else OrderSide.SELL
    size = Quantity.from_decimal_dp(Decimal(row["quantity"]) - Decimal(row["filled"]), engine.size_precision)
    price, trigger = (
        None if row[name] is None else Price.from_decimal_dp(Decimal(row[name]), digits)
        for name in ("price", "trigger_price")
    )
    named = {"client_order_id": ClientOrderId(row["client_order_id"])}
    match _TYPES[row["order_type"]]:
        case OrderType.LIMIT:
            return make.limit(engine.id, side, size, price, **named)
        case OrderType.STOP_MARKET:
            return make.stop_market(engine.id, side, size, trigger, **named)
        case OrderType.STOP_LIMIT:
            return make.stop_limit(engine.id, side, size, price, trigger, **named)
    return make.market(engine.id, side, size, **named)
