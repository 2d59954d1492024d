"""What makes a waiting order live: stops and orders if touched. A trailing stop follows the market."""

from ib_gateway_sim.market.source import Quote
from ib_gateway_sim.orders.order import Order

STOPS = ("STP", "STP LMT", "TRAIL")
IF_TOUCHED = ("MIT", "LIT")


def triggered(order: Order, quote: Quote) -> bool:
    """Touched by the last trade, of currencies and CFDs by bid or ask."""
    if order.triggered or order.kind not in (*STOPS, *IF_TOUCHED):
        return True
    traded = quote.has_last and order.contract.kinds[0] == "TRADES"
    touch = quote.last if traded else quote.ask if order.buys else quote.bid
    at = _trail(order, touch) if order.kind == "TRAIL" else order.request.number("auxPrice")
    rising = order.buys == (order.kind in STOPS)  # a buy stop waits above the market, a buy if touched below it
    order.triggered = touch >= at if rising else touch <= at
    return order.triggered


def _trail(order: Order, touch: float) -> float:
    percent = order.request.optional("trailingPercent")
    distance = abs(touch) * percent / 100 if percent else order.request.number("auxPrice")
    follows = round(touch + distance if order.buys else touch - distance, 8)
    if order.stop is None:
        order.stop = order.request.optional("trailStopPrice") or follows
    order.stop = min(order.stop, follows) if order.buys else max(order.stop, follows)
    return order.stop
