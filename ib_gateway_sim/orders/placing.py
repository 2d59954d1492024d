"""New and changed orders: taken into the book, sent to the exchange, or held."""

from ib_gateway_sim.market.contracts import Contract
from ib_gateway_sim.orders import conditions, hours, reports
from ib_gateway_sim.orders.matching import consider, watch
from ib_gateway_sim.orders.order import AT_OPEN, LOCATE, Order
from ib_gateway_sim.orders.triggers import IF_TOUCHED, STOPS
from ib_gateway_sim.rules.dates import Moment
from ib_gateway_sim.session.gateway import Client, Gateway
from ib_gateway_sim.times import text_date
from ib_gateway_sim.wire import codec
from ib_gateway_sim.wire.request import Request

_LOCATING = (
    404,
    "Shares for this order are not immediately available for short sale. The order will be held while we attempt to "
    "locate the shares.",
)


def place(client: Client, request: Request, contract: Contract) -> None:
    """Takes a message that passed the checks: a new order, or a change of one."""
    gateway, book = client.gateway, client.gateway.orders
    known = book.orders.get((client.client_id, request.integer("orderId")))
    if known is not None and (known.open or book.used(client.client_id, known.order_id)):
        _modify(client, known, request)
    else:
        book.know(client.client_id, request.integer("orderId"))
        order = book.add(client.client_id, request, contract, account_of(gateway, request), gateway.clock.now_s())
        _place(gateway, order)
    watch(gateway)


def account_of(gateway: Gateway, request: Request) -> str:
    """The account of an order; the only one, or the advisor's, where it names none."""
    return gateway.account_named(request.text("account")) or gateway.market.account


def _place(gateway: Gateway, order: Order) -> None:
    faults = gateway.faults.orders
    order.silent = faults.take("mute")
    _apply_presets(gateway, order)
    order.clicked = not faults.take("precautions")
    for fault, met in (("ack_lose", order.silent), ("precaution", not order.clicked)):
        if met:
            gateway.note(fault, order.client_id, order.order_id)
    if order.clicked and order.request.flag("transmit"):
        transmit(gateway, order)
    order.silent = False


def transmit(gateway: Gateway, order: Order) -> None:
    """Sends an order, and with it what waits of its bracket."""
    order.clicked = True
    order.request.values["transmit"] = True
    for each in gateway.orders.bracket(order):
        if not each.transmitted and each.clicked:
            each.request.values["transmit"] = True
            submit(gateway, each)


def _apply_presets(gateway: Gateway, order: Order) -> None:
    """The gateway's order presets change the client's order, and say so (10349)."""
    wanted = gateway.faults.orders.presets.get("tif")
    if wanted is not None and order.request.text("tif") != wanted:
        order.request.values["tif"] = wanted
        gateway.note("preset", order.client_id, order.order_id)
        reports.send_error(gateway, order, 10349, f"Order TIF was set to {wanted} based on order preset.")


def _modify(client: Client, order: Order, request: Request) -> None:
    gateway = client.gateway
    if not order.open:
        client.error(order.order_id, *_not_open(gateway, order))
        return
    same = request.text("action").upper() == order.request.text("action").upper()
    if not same or request.number("totalQuantity") <= order.filled:
        reports.send_error(gateway, order, 105, "Order being modified does not match original order")
        return
    order.request = request
    order.session = (0.0, 0.0)
    order.stop = None if order.kind == "TRAIL" and not order.triggered else order.stop
    if not order.transmitted and order.clicked and request.flag("transmit"):
        submit(gateway, order)
    elif order.transmitted:
        _set_times(gateway, order)
        reports.send_order(gateway, order)
        consider(gateway, order)


def _not_open(gateway: Gateway, order: Order) -> tuple[int, str]:
    if order.status == "Filled":
        return 104, "Cannot modify a filled order."
    if order.status == "Inactive":
        return 103, "Duplicate order id"
    return gateway.settings.modify_cancelled, "Cannot modify a cancelled order."


# ---- to the exchange -------------------------------------------------------------------------------------------------
def submit(gateway: Gateway, order: Order) -> None:
    """The order goes to the exchange, or waits for its opening, its parent, its conditions or its trigger."""
    now_s, faults = gateway.clock.now_s(), gateway.faults.orders
    opens_s = _set_times(gateway, order)
    plan = faults.take_plan(order.reference)
    if plan is not None:
        gateway.note("fill_plan", order.client_id, order.order_id)
        order.plan = sorted((now_s + seconds, quantity) for quantity, seconds in plan)
    if faults.locates and _goes_short(gateway, order):
        _hold_for_shares(gateway, order, now_s + faults.locates.pop(0))
        return
    order.move("PreSubmitted" if opens_s > now_s or _waits(gateway, order, now_s) else "Submitted")
    reports.send_order(gateway, order)
    if opens_s > now_s:
        _warn_held(gateway, order, opens_s)
    consider(gateway, order)


def _set_times(gateway: Gateway, order: Order) -> float:
    """When it ends, and when it may begin to trade, which is returned. From now on the exchange has it so."""
    order.since_s = gateway.clock.now_s()
    opens_s, order.expires_s = hours.session(gateway, order, gateway.clock.now_s())
    request = order.request
    order.not_before_s = 0.0
    if request.text("goodAfterTime"):
        after = hours.good_after(gateway, request)
        order.not_before_s = after.at_s if isinstance(after, Moment) else 0.0
        if order.not_before_s > order.expires_s:
            opens_s, order.expires_s = hours.session(gateway, order, order.not_before_s)
    if request.text("tif") == AT_OPEN:
        if opens_s <= gateway.clock.now_s():  # the next opening, not one that is over
            opens_s, order.expires_s = hours.session(gateway, order, order.expires_s)
        order.not_before_s = opens_s
    if request.text("tif") == "GTD":
        until = hours.good_till(gateway, request)
        order.expires_s = until.at_s if isinstance(until, Moment) else order.expires_s
    return max(opens_s, order.not_before_s)


def _waits(gateway: Gateway, order: Order, now_s: float) -> bool:
    """Market orders begin as PreSubmitted too: so it was captured."""
    if order.auctioned or order.kind in ("MKT", *STOPS, *IF_TOUCHED) or gateway.orders.waits_for_parent(order):
        return True
    return not conditions.met(gateway, order, now_s) or gateway.quote(order.contract, now_s).halted


def _goes_short(gateway: Gateway, order: Order) -> bool:
    held = gateway.portfolios[order.account].positions.get(order.contract.con_id)
    return not order.buys and (held.quantity if held else 0.0) < order.quantity


def _hold_for_shares(gateway: Gateway, order: Order, until_s: float) -> None:
    """Inactive and alive: whyHeld alone distinguishes it from a refusal."""
    gateway.note("locate", order.client_id, order.order_id)
    order.why_held, order.held_until_s = LOCATE, until_s
    order.move("Inactive")
    reports.send_refusal(gateway, order, *_LOCATING)


def _warn_held(gateway: Gateway, order: Order, opens_s: float) -> None:
    zone = order.contract.time_zone
    at = text_date(opens_s, zone).strftime("%Y-%m-%d %H:%M:%S")
    what = f"{'BUY' if order.buys else 'SELL'} {codec.text_of(order.quantity)} {order.contract.local_symbol}"
    warning = f"Warning: your order will not be placed at the exchange until {at} {zone}"
    reports.send_error(gateway, order, 399, f"Order Message:\n{what}\n{warning}")
