"""The requests about orders."""

from collections.abc import Callable

from ib_gateway_sim.account.portfolio import commission, margin_rate, multiplier
from ib_gateway_sim.market.contracts import Contract
from ib_gateway_sim.orders import messages
from ib_gateway_sim.orders.cancelling import cancel, cancel_all
from ib_gateway_sim.orders.checks import READ_ONLY, problem_of
from ib_gateway_sim.orders.order import Execution, Order, Preview
from ib_gateway_sim.orders.placing import place
from ib_gateway_sim.reference.lookup import one_contract
from ib_gateway_sim.rules.errors import Violation
from ib_gateway_sim.session.gateway import Client
from ib_gateway_sim.times import text_date
from ib_gateway_sim.wire.request import Request


def place_order(client: Client, request: Request) -> None:
    # Two messages about one order are two jobs; they are worked in turn, because all wait equally long.
    number = client.gateway.orders.next_message()
    client.jobs.start("order", number, _place(client, request, number))


async def _place(client: Client, request: Request, number: int) -> None:
    gateway = client.gateway
    with gateway.orders.arriving(number, client.client_id, request):
        await gateway.wait(request.kind)
    contract = one_contract(client, request)
    problem = contract if isinstance(contract, Violation) else problem_of(client, request, contract)
    if gateway.settings.read_only:
        problem = READ_ONLY
    if problem is not None:
        client.refuse(request.integer("orderId"), problem)
    elif not isinstance(contract, Violation):
        if request.flag("whatIf"):
            _preview(client, request, contract)
        else:
            place(client, request, contract)


def _preview(client: Client, request: Request, contract: Contract) -> None:
    """A what-if order: margin before and after, and no order."""
    gateway = client.gateway
    totals = gateway.totals()
    price = request.optional("lmtPrice") or gateway.mark(contract)
    quantity = request.number("totalQuantity")
    signed = quantity if request.text("action").upper() == "BUY" else -quantity
    held = gateway.portfolio.positions.get(contract.con_id)
    before = held.quantity if held else 0.0
    more = (abs(before + signed) - abs(before)) * abs(price) * multiplier(contract) * gateway.dollars(contract.currency)
    fee = commission(contract, quantity, price)
    order = Order(request, contract, client.client_id, 0, gateway.market.account, gateway.clock.now_s(), "PreSubmitted")
    margin = round(totals.margin, 2), round(totals.margin + more * margin_rate(contract), 2)
    preview = Preview(*margin, round(totals.net, 2), round(totals.net - fee, 2), fee)
    client.send_frame(messages.open_order(order, client.version, preview))


def cancel_order(client: Client, request: Request) -> None:
    number = client.gateway.orders.next_message()
    client.jobs.start("order", number, _cancel(client, request, number))


async def _cancel(client: Client, request: Request, number: int) -> None:
    gateway = client.gateway
    with gateway.orders.arriving(number, client.client_id, request):
        await gateway.wait(request.kind)
    order_id = request.integer("orderId")
    order = gateway.orders.orders.get((client.client_id, order_id))
    if gateway.settings.read_only:
        client.refuse(order_id, READ_ONLY)
    elif order is None:
        client.error(order_id, 10147, f"OrderId {order_id} that needs to be cancelled is not found.")
    elif not order.open:
        text = f"OrderId {order_id} that needs to be cancelled cannot be cancelled, state: {order.status}."
        client.error(order_id, 10148, text)
    else:
        cancel(gateway, order)


def global_cancel(client: Client, request: Request) -> None:
    if client.gateway.settings.read_only:
        client.refuse(-1, READ_ONLY)
    else:
        cancel_all(client.gateway)


def req_open_orders(client: Client, request: Request) -> None:
    _send_open(client, [order for order in client.gateway.orders.open_orders() if order.client_id == client.client_id])


def req_all_open_orders(client: Client, request: Request) -> None:
    _send_open(client, client.gateway.orders.open_orders())


def _send_open(client: Client, orders: list[Order]) -> None:
    for order in orders:
        client.send_frame(messages.open_order(order, client.version))
        client.send_frame(messages.order_status(order))
    client.send(53, 1)


def req_auto_open_orders(client: Client, request: Request) -> None:
    if client.client_id != 0 and request.flag("bind"):
        client.error(-1, 327, "Only API connections with clientId set to 0 can set the auto bind property.")


def req_completed_orders(client: Client, request: Request) -> None:
    zone = client.gateway.settings.login_zone
    for order in client.gateway.orders.orders.values():
        if not order.open:
            time = text_date(order.done_s, zone).strftime("%Y%m%d %H:%M:%S ") + zone
            client.send_frame(messages.completed_order(order, client.version, time))
    client.send(102)


def req_executions(client: Client, request: Request) -> None:
    """Executions of the day that fit the filter; their commissions behind them."""
    wanted = [made for made in client.gateway.orders.executions if _fits(client, request, made)]
    for made in wanted:
        client.send_frame(messages.execution(made, request.request_id, client.version))
        client.send_frame(messages.commission_report(made))
    client.send(55, 1, request.request_id)


def _fits(client: Client, request: Request, made: Execution) -> bool:
    zone = client.gateway.settings.login_zone
    today = text_date(client.gateway.clock.now_s(), zone).date()
    contract = made.order.contract
    side = {"BUY": "BUY", "BOT": "BUY", "SELL": "SELL", "SLD": "SELL"}.get(request.text("side").upper(), "")
    since = request.text("time").replace("-", " ").split()
    return (
        text_date(made.at_s, zone).date() == today
        and request.integer("clientId") in (0, made.order.client_id)
        and request.text("account") in ("", made.order.account)
        and request.text("symbol").upper() in ("", contract.symbol)
        and request.text("secType") in ("", contract.sec_type)
        and request.text("exchange") in ("", made.exchange, contract.exchange)
        and side in ("", "BUY" if made.order.buys else "SELL")
        and (not since or " ".join(made.time.split()[:2]) >= " ".join(since[:2]))
    )


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
