"""The end of orders that were not filled."""

from ib_gateway_sim.orders import reports
from ib_gateway_sim.orders.order import Order
from ib_gateway_sim.session.gateway import Gateway


def cancel(gateway: Gateway, order: Order, reason: str = "") -> None:
    """Cancels an open order and its children."""
    if not order.open:
        return
    order.move("Cancelled")
    order.why_held = ""
    order.done_s = gateway.clock.now_s()
    text = f"Order Canceled - reason:{reason}"
    reports.say(gateway, order, reports.status(order), reports.error(order, 202, text))
    for child in gateway.orders.children(order):
        if order.filled and gateway.settings.left_children == "stay":
            _leave(gateway, order, child)
        else:
            cancel(gateway, child, reason)


def _leave(gateway: Gateway, parent: Order, child: Order) -> None:
    """A child goes on without its parent, as one of a group."""
    if child.open:
        child.request.values |= {"parentId": 0, "ocaGroup": str(parent.perm_id), "ocaType": 2}
        reports.send_order(gateway, child)
        gateway.clock.hasten()


def cancel_all(gateway: Gateway) -> None:
    for order in gateway.orders.every():
        cancel(gateway, order)


def expire(gateway: Gateway, order: Order, at_s: float) -> None:
    """A day order ends with the session in which it could trade, a GTD order at its time."""
    if order.expires and order.open and at_s >= order.expires_s:
        cancel(gateway, order)
