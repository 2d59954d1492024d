"""Orders for the opening and the closing of the regular session: the whole order at its first or last price, or nothing.

IB's API documentation ("Basic Orders"): MOC and LOC, and MKT and LMT with the time in force OPG. What auctions are
about, the order's own size, does not move their price here.
"""

from ib_gateway_sim.orders import conditions, fills
from ib_gateway_sim.orders.cancelling import cancel
from ib_gateway_sim.orders.order import AT_OPEN, Order
from ib_gateway_sim.session.gateway import Gateway

AFTER_OPEN_S = 1.0  # the session's first price is known


def deals_s(order: Order) -> float:
    """When it is settled: with the close, or when the first price of the session it waits for is known."""
    at_open = order.request.text("tif") == AT_OPEN
    return order.not_before_s + AFTER_OPEN_S if at_open else order.expires_s


def deal(gateway: Gateway, order: Order, at_s: float) -> None:
    """Fills the order within its limit once its time has come; what is not filled at the open is cancelled."""
    due_s = deals_s(order)
    if at_s < due_s:
        return
    at_open = order.request.text("tif") == AT_OPEN
    quote = gateway.quote(order.contract, due_s)
    price, traded = (quote.open, quote.volume > 0) if at_open else (quote.last, quote.has_last)
    if traded and not quote.halted and order.takes(price) and conditions.met(gateway, order, due_s):
        fills.fill(gateway, order, order.remaining, price, due_s)
    if at_open:
        cancel(gateway, order)
