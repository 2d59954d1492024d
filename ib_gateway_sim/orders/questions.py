"""Requests about orders: those that are open, those that are over, and executions.

A read-only gateway refuses the questions for orders, with no number (321: erdewit/ib_insync#1 and #7 for open orders, #224
for completed ones, bankroll-py/bankroll#65 for the number; reqAllOpenOrders is taken to be no other). It answers the others.
"""

from collections.abc import Callable

from ib_gateway_sim.orders import messages
from ib_gateway_sim.orders.binding import bind
from ib_gateway_sim.orders.checks import READ_ONLY
from ib_gateway_sim.orders.order import Execution, Order
from ib_gateway_sim.session.gateway import Client, Gateway
from ib_gateway_sim.times import text_date
from ib_gateway_sim.wire.request import Request


def _unless_read_only(answer: Callable[[Client, Request], None]) -> Callable[[Client, Request], None]:
    def refused_or_answered(client: Client, request: Request) -> None:
        if client.gateway.settings.read_only:
            client.refuse(-1, READ_ONLY)
        else:
            answer(client, request)

    return refused_or_answered


# ---- open orders -----------------------------------------------------------------------------------------------------
@_unless_read_only
def req_open_orders(client: Client, request: Request) -> None:
    """Those of this client; client 0 binds the orders that were placed in TWS, and gets them too."""
    if client.client_id == 0:
        for order in [each for each in client.gateway.orders.others if each.manual and each.open]:
            bind(client.gateway, order)
    _send_open(client, [order for order in _visible(client.gateway) if order.client_id == client.client_id])


@_unless_read_only
def req_all_open_orders(client: Client, request: Request) -> None:
    _send_open(client, _visible(client.gateway))


def _visible(gateway: Gateway) -> list[Order]:
    """What was not transmitted cannot be viewed (IB's API documentation)."""
    return [order for order in gateway.orders.open_orders() if order.transmitted]


def _send_open(client: Client, orders: list[Order]) -> None:
    for order in orders:
        client.send_frame(messages.open_order(order, client.version))
        client.send_frame(messages.order_status(order))
    client.send(53, 1)


@_unless_read_only
def req_auto_open_orders(client: Client, request: Request) -> None:
    """Client 0 receives manual orders from now on, which are bound as they are placed."""
    if client.client_id != 0 and request.flag("bind"):
        client.error(-1, 327, "Only API connections with clientId set to 0 can set the auto bind property.")
        return
    client.binds_orders = request.flag("bind")


# ---- orders that are over, and executions ----------------------------------------------------------------------------
@_unless_read_only
def req_completed_orders(client: Client, request: Request) -> None:
    """Those of the day of the login's zone; with apiOnly without the manual ones. Refused ones as the setting says."""
    zone = client.gateway.settings.login_zone
    for order in client.gateway.orders.every():
        if _completed(client.gateway, order) and not (request.flag("apiOnly") and order.manual):
            time = text_date(order.done_s, zone).strftime("%Y%m%d %H:%M:%S ") + zone
            client.send_frame(messages.completed_order(order, client.version, time))
    client.send(102)


def _completed(gateway: Gateway, order: Order) -> bool:
    if order.open or (order.status == "Inactive" and gateway.settings.refused != "complete"):
        return False
    return _today(gateway, order.done_s)


def _today(gateway: Gateway, at_s: float) -> bool:
    zone = gateway.settings.login_zone
    return text_date(at_s, zone).date() == text_date(gateway.clock.now_s(), zone).date()


def req_executions(client: Client, request: Request) -> None:
    """Executions of the day that fit the filter; their commissions behind them."""
    wanted = [made for made in client.gateway.orders.executions if _fits(client, request, made)]
    for made in wanted:
        client.send_frame(messages.execution(made, request.request_id, client.version))
        if made.fee_known(client.gateway.clock.now_s()):
            client.send_frame(messages.commission_report(made))
    client.send(55, 1, request.request_id)


def _fits(client: Client, request: Request, made: Execution) -> bool:
    contract = made.order.contract
    side = {"BUY": "BUY", "BOT": "BUY", "SELL": "SELL", "SLD": "SELL"}.get(request.text("side").upper(), "")
    since = request.text("time").replace("-", " ").split()
    return (
        _today(client.gateway, made.at_s)
        and request.integer("clientId") in (0, made.order.client_id)
        and request.text("account") in ("", made.owner)
        and request.text("symbol").upper() in ("", contract.symbol)
        and request.text("secType") in ("", contract.sec_type)
        and request.text("exchange") in ("", made.exchange, contract.exchange)
        and side in ("", "BUY" if made.order.buys else "SELL")
        and (not since or " ".join(made.time.split()[:2]) >= " ".join(since[:2]))
    )
