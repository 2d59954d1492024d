"""The requests about orders."""

from collections.abc import Callable

from ib_gateway_sim.account.commissions import order_commission
from ib_gateway_sim.account.portfolio import margin_rate, multiplier
from ib_gateway_sim.faults.orders import LateFill
from ib_gateway_sim.market.contracts import Contract
from ib_gateway_sim.orders import arrivals, fills, messages
from ib_gateway_sim.orders.cancelling import cancel, cancel_all
from ib_gateway_sim.orders.checks import READ_ONLY, problem_of
from ib_gateway_sim.orders.matching import watch
from ib_gateway_sim.orders.order import Order, Preview
from ib_gateway_sim.orders.placing import account_of, place
from ib_gateway_sim.orders.questions import (
    req_all_open_orders,
    req_auto_open_orders,
    req_completed_orders,
    req_executions,
    req_open_orders,
)
from ib_gateway_sim.orders.refusing import refuse, reject
from ib_gateway_sim.reference.lookup import one_contract
from ib_gateway_sim.rules.errors import Violation
from ib_gateway_sim.session.gateway import Client, Gateway
from ib_gateway_sim.wire.request import Request


# ---- placing ---------------------------------------------------------------------------------------------------------
def place_order(client: Client, request: Request) -> None:
    arrivals.take(client, request, _place)


def _place(client: Client, request: Request) -> None:
    gateway = client.gateway
    contract = one_contract(client, request)
    problem = contract if isinstance(contract, Violation) else problem_of(client, request, contract)
    if gateway.settings.read_only:
        problem = READ_ONLY
    if problem is not None or isinstance(contract, Violation):
        refuse(client, request, contract, problem or READ_ONLY)
    elif request.flag("whatIf"):
        _answer_what_if(client, request, contract)
    elif gateway.faults.orders.rejections and not gateway.orders.used(client.client_id, request.integer("orderId")):
        reject(client, request, contract, gateway.faults.orders.rejections.pop(0))
    else:
        place(client, request, contract)


def _answer_what_if(client: Client, request: Request, contract: Contract) -> None:
    faults, order_id = client.gateway.faults.orders, request.integer("orderId")
    if faults.take("silent_what_ifs"):
        client.gateway.note("what_if_lose", client.client_id, order_id)
    elif faults.what_if_refusals:
        client.gateway.note("what_if_refuse", client.client_id, order_id)
        refusal = faults.what_if_refusals.pop(0)
        client.refuse(order_id, Violation(refusal.code, refusal.text))
    else:
        _preview(client, request, contract)


def _preview(client: Client, request: Request, contract: Contract) -> None:
    """A what-if order: margin before and after, and no order."""
    gateway = client.gateway
    account = account_of(gateway, request)
    totals = gateway.totals(account)
    price = request.optional("lmtPrice") or gateway.mark(contract)
    quantity = request.number("totalQuantity")
    signed = quantity if request.text("action").upper() == "BUY" else -quantity
    held = gateway.portfolios[account].positions.get(contract.con_id)
    before = held.quantity if held else 0.0
    more = (abs(before + signed) - abs(before)) * abs(price) * multiplier(contract) * gateway.dollars(contract.currency)
    more *= gateway.faults.orders.margin_factor
    fee = order_commission(contract, quantity, price, gateway.dollars(contract.currency))
    order = Order(request, contract, client.client_id, 0, account, gateway.clock.now_s(), "PreSubmitted")
    margin = round(totals.margin, 2), round(totals.margin + more * margin_rate(contract), 2)
    preview = Preview(*margin, round(totals.net, 2), round(totals.net - fee, 2), fee)
    client.send_frame(messages.open_order(order, client.version, preview))


# ---- cancelling ------------------------------------------------------------------------------------------------------
def cancel_order(client: Client, request: Request) -> None:
    arrivals.take(client, request, _cancel)


def _cancel(client: Client, request: Request) -> None:
    gateway = client.gateway
    order_id = request.integer("orderId")
    order = gateway.orders.reached(client.client_id, order_id, twins=gateway.settings.twin_cancel == "next")
    if gateway.settings.read_only:
        client.refuse(order_id, READ_ONLY)
    elif order is None:
        client.error(order_id, 10147, f"OrderId {order_id} that needs to be cancelled is not found.")
    elif not order.open:
        _refuse_cancel(client, order)
    else:
        late = gateway.faults.orders.take_late_fill(order.reference) if order.transmitted else None
        if late is None:
            cancel(gateway, order)
        else:
            _cross(client, order, late)


def _refuse_cancel(client: Client, order: Order) -> None:
    text = f"OrderId {order.order_id} that needs to be cancelled cannot be cancelled, state: {order.status}."
    client.error(order.order_id, 10148, text)


def _cross(client: Client, order: Order, late: LateFill) -> None:
    """A fill and a cancel that are on the way at the same time."""
    gateway, now_s = client.gateway, client.gateway.clock.now_s()
    gateway.note("fill_after_cancel", order.client_id, order.order_id)
    if late.how == "overtakes":
        fills.fill(gateway, order, order.remaining, fills.outright_price(gateway, order, now_s), now_s)
        _refuse_cancel(client, order)
        return
    cancel(gateway, order)
    order.late_fill_s = now_s + late.seconds
    watch(gateway)


def global_cancel(client: Client, request: Request) -> None:
    arrivals.take(client, request, _cancel_all)


def _cancel_all(client: Client, request: Request) -> None:
    gateway: Gateway = client.gateway
    if gateway.settings.read_only:
        client.refuse(-1, READ_ONLY)
    else:
        cancel_all(gateway)


HANDLERS: dict[str, Callable[[Client, Request], None]] = {
    "placeOrder": place_order,
    "cancelOrder": cancel_order,
    "reqGlobalCancel": global_cancel,
    "reqOpenOrders": req_open_orders,
    "reqAllOpenOrders": req_all_open_orders,
    "reqAutoOpenOrders": req_auto_open_orders,
    "reqCompletedOrders": req_completed_orders,
    "reqExecutions": req_executions,
}
