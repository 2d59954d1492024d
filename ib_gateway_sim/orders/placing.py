"""New and changed orders: taken into the book, sent to the exchange, or held."""

from ib_gateway_sim.market.contracts import Contract
from ib_gateway_sim.orders import hours, reports
from ib_gateway_sim.orders.matching import consider, watch
from ib_gateway_sim.orders.order import Order
from ib_gateway_sim.rules.dates import Moment
from ib_gateway_sim.session.gateway import Client, Gateway
from ib_gateway_sim.times import text_date
from ib_gateway_sim.wire import codec
from ib_gateway_sim.wire.request import Request


def place(client: Client, request: Request, contract: Contract) -> None:
    """Takes a message that passed the checks: a new order, or a change of one."""
    gateway, book = client.gateway, client.gateway.orders
    known = book.orders.get((client.client_id, request.integer("orderId")))
    if known is not None:
        _modify(client, known, request)
    else:
        order = book.add(client.client_id, request, contract, gateway.market.account, gateway.clock.now_s())
        if not request.flag("transmit"):
            return
        for each in book.bracket(order):
            if each.status == "PendingSubmit":
                each.request.values["transmit"] = True
                _submit(gateway, each)
    watch(gateway)


def _modify(client: Client, order: Order, request: Request) -> None:
    gateway = client.gateway
    if not order.open:
        code, what = (104, "a filled") if order.status == "Filled" else (201, "a cancelled")
        client.error(order.order_id, code, f"Cannot modify {what} order.")
        return
    same = request.text("action").upper() == order.request.text("action").upper()
    if not same or request.number("totalQuantity") <= order.filled:
        reports.send_error(gateway, order, 105, "Order being modified does not match original order")
        return
    order.request = request
    order.session = (0.0, 0.0)
    order.stop = None if order.kind == "TRAIL" and not order.triggered else order.stop
    if order.status == "PendingSubmit" and request.flag("transmit"):
        _submit(gateway, order)
    else:
        reports.send_order(gateway, order)
        consider(gateway, order)


def _submit(gateway: Gateway, order: Order) -> None:
    """The order goes to the exchange, or waits for its opening, its parent or its trigger."""
    now_s = gateway.clock.now_s()
    opens_s, order.expires_s = hours.session(gateway, order, now_s)
    if order.request.text("tif") == "GTD":
        until = hours.good_till(gateway, order.request)
        order.expires_s = until.at_s if isinstance(until, Moment) else order.expires_s
    held = opens_s > now_s
    waits = held or gateway.orders.waits_for_parent(order) or order.kind in ("STP", "STP LMT", "TRAIL")
    order.move("PreSubmitted" if waits else "Submitted")
    reports.send_order(gateway, order)
    if held:
        _warn_held(gateway, order, opens_s)
    consider(gateway, order)


def _warn_held(gateway: Gateway, order: Order, opens_s: float) -> None:
    zone = order.contract.time_zone
    at = text_date(opens_s, zone).strftime("%Y-%m-%d %H:%M:%S")
    what = f"{'BUY' if order.buys else 'SELL'} {codec.text_of(order.quantity)} {order.contract.local_symbol}"
    warning = f"Warning: your order will not be placed at the exchange until {at} {zone}"
    reports.send_error(gateway, order, 399, f"Order Message:\n{what}\n{warning}")
