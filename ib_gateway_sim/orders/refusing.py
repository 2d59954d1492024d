"""Refused orders: their words, and what stays of them.

A refusal by IB (201) makes an order that is Inactive (captured: ib_insync#554); what the gateway refuses itself is
an error alone. Both use the order's id up: placed again with it, an order is a duplicate (103; seen in
ib_insync#80). Whether refused orders are among the completed ones is not established: the setting `refused`.
"""

from ib_gateway_sim.faults.orders import Rejection
from ib_gateway_sim.market.contracts import Contract
from ib_gateway_sim.orders import reports
from ib_gateway_sim.orders.cancelling import cancel
from ib_gateway_sim.orders.order import Order
from ib_gateway_sim.orders.placing import account_of
from ib_gateway_sim.rules.errors import Violation
from ib_gateway_sim.session.gateway import Client
from ib_gateway_sim.wire.request import Request


def refuse(client: Client, request: Request, contract: Contract | Violation, problem: Violation) -> None:
    """Refuses a new order, a change of one, or a what-if order."""
    order_id, book = request.integer("orderId"), client.gateway.orders
    known = book.used(client.client_id, order_id) or request.flag("whatIf")
    if known or problem.code != 201 or isinstance(contract, Violation):
        if not request.flag("whatIf"):
            book.know(client.client_id, order_id)
        client.refuse(order_id, problem)
        return
    deactivate(client, _refused(client, request, contract, problem.text), problem)


def deactivate(client: Client, order: Order, problem: Violation) -> None:
    order.move("Inactive")
    reports.send_refusal(client.gateway, order, problem.code, problem.text)


def reject(client: Client, request: Request, contract: Contract, rejection: Rejection) -> None:
    """As the control port has arranged."""
    problem = Violation(rejection.code, rejection.text)
    client.gateway.note("reject_order", client.client_id, request.integer("orderId"))
    if rejection.how == "error":
        client.gateway.orders.know(client.client_id, request.integer("orderId"))
        client.refuse(request.integer("orderId"), problem)
        return
    order = _refused(client, request, contract, rejection.text)
    if rejection.how == "inactive":
        deactivate(client, order, problem)
        return
    order.move("Cancelled")
    gateway = client.gateway
    reports.say(gateway, order, reports.status(order), reports.error(order, problem.code, problem.text))
    for child in gateway.orders.children(order):
        cancel(gateway, child)


def _refused(client: Client, request: Request, contract: Contract, text: str) -> Order:
    gateway = client.gateway
    gateway.orders.know(client.client_id, request.integer("orderId"))
    now_s = gateway.clock.now_s()
    order = gateway.orders.add(
        client.client_id,
        request,
        contract,
        account_of(gateway, request),
        now_s,
    )
    order.refusal, order.done_s = text, now_s
    return order
