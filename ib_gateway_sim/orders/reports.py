"""What the client that placed an order is sent about it. A client that has gone is sent nothing."""

from ib_gateway_sim.orders import messages
from ib_gateway_sim.orders.order import Execution, Order
from ib_gateway_sim.session.gateway import Client, Gateway


def owner(gateway: Gateway, order: Order) -> Client | None:
    return gateway.clients.get(order.client_id)


def send_order(gateway: Gateway, order: Order) -> None:
    """openOrder and orderStatus."""
    client = owner(gateway, order)
    if client is not None:
        client.send_frame(messages.open_order(order, client.version))
        client.send_frame(messages.order_status(order))


def send_status(gateway: Gateway, order: Order) -> None:
    client = owner(gateway, order)
    if client is not None:
        client.send_frame(messages.order_status(order))


def send_execution(gateway: Gateway, execution: Execution) -> None:
    """execDetails, openOrder, orderStatus and commissionReport, in this order."""
    client = owner(gateway, execution.order)
    if client is not None:
        client.send_frame(messages.execution(execution, -1, client.version))
        send_order(gateway, execution.order)
        client.send_frame(messages.commission_report(execution))


def send_error(gateway: Gateway, order: Order, code: int, text: str) -> None:
    client = owner(gateway, order)
    if client is not None:
        client.error(order.order_id, code, text)
