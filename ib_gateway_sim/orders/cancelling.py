"""The end of orders that were not filled."""

from ib_gateway_sim.orders import reports
from ib_gateway_sim.orders.order import Order
from ib_gateway_sim.session.gateway import Gateway


def cancel(gateway: Gateway, order: Order, reason: str = "") -> None:
    """Cancels an open order and its children."""
    if not order.open:
        return
    order.move("Cancelled")
    order.done_s = gateway.clock.now_s()
    reports.send_status(gateway, order)
    reports.send_error(gateway, order, 202, f"Order Canceled - reason:{reason}")
    for child in gateway.orders.children(order):
        cancel(gateway, child, reason)


def cancel_all(gateway: Gateway) -> None:
    for order in list(gateway.orders.orders.values()):
        cancel(gateway, order)


def expire(gateway: Gateway, order: Order) -> None:
    """A day order ends with the session in which it could trade, a GTD order at its time."""
    if order.request.text("tif") in ("", "DAY", "GTD") and order.open and gateway.clock.now_s() >= order.expires_s:
        cancel(gateway, order)
