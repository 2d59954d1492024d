"""Manual orders that are bound to client 0, so that it can change and cancel them.

IB's API documentation ("Open Orders"): client 0 binds orders placed in TWS by reqOpenOrders or reqAutoOpenOrders; they
get ids of the API, and are cancelled and sent again, which loses their position in the queue. Their ids are negative as far
as is known; ours are.
"""

from ib_gateway_sim.orders.order import Order
from ib_gateway_sim.session.gateway import Gateway

_CLIENT = 0


def bind(gateway: Gateway, order: Order) -> None:
    book = gateway.orders
    lowest = min([order_id for owner, order_id in book.orders if owner == _CLIENT], default=0)
    order.client_id = _CLIENT
    order.request.values["orderId"] = min(0, lowest) - 1
    book.others = [other for other in book.others if other is not order]
    book.orders[_CLIENT, order.order_id] = order
    gateway.unsaved = True


def bind_new(gateway: Gateway, order: Order) -> None:
    """Binds a manual order that is about to be sent, where client 0 has requested it."""
    client = gateway.clients.get(_CLIENT)
    if client is not None and client.binds_orders:
        bind(gateway, order)
