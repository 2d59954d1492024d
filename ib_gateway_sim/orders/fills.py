"""A fill: booked in the portfolio, told, and what it does to other orders."""

from ib_gateway_sim.account.changes import send_change
from ib_gateway_sim.account.portfolio import commission
from ib_gateway_sim.orders import reports
from ib_gateway_sim.orders.cancelling import cancel
from ib_gateway_sim.orders.order import Execution, Order
from ib_gateway_sim.session.gateway import Gateway
from ib_gateway_sim.times import text_date


def fill(gateway: Gateway, order: Order, shares: float, price: float, at_s: float) -> None:
    """Fills a part or all. An order that has been cancelled stays so: its fill was on the way already."""
    order.filled = round(order.filled + shares, 10)
    order.paid += shares * price
    order.last_price = price
    if order.open and order.remaining == 0:
        order.move("Filled")
        order.done_s = at_s
    elif order.status == "PreSubmitted":
        order.move("Submitted")
    execution = _execution(gateway, order, shares, price, at_s)
    order.fees = round(order.fees + execution.fee, 4)
    gateway.orders.executions.append(execution)
    reports.send_execution(gateway, execution)
    send_change(gateway, order.contract)
    _shrink_group(gateway, order, shares)


def _execution(gateway: Gateway, order: Order, shares: float, price: float, at_s: float) -> Execution:
    """Books the fill in the portfolio."""
    contract = order.contract
    fee = commission(contract, shares, price)
    signed = shares if order.buys else -shares
    rate = gateway.dollars(contract.currency)
    realized = gateway.portfolio.fill(contract, quantity=signed, price=price, fee=fee, rate=rate)
    zone = gateway.settings.login_zone
    return Execution(
        order=order,
        exec_id=f"0000e0d5.{int(at_s):08x}.{len(gateway.orders.executions) + 1:02d}.01",
        at_s=at_s,
        time=text_date(at_s, zone).strftime("%Y%m%d %H:%M:%S ") + zone,
        exchange=contract.primary_exchange or contract.exchange,
        shares=shares,
        price=price,
        cumulated=order.filled,
        average_price=order.average_price,
        fee=fee,
        realized=realized,
    )


def _shrink_group(gateway: Gateway, order: Order, shares: float) -> None:
    """A full fill ends the others of the group; a partial one may make them smaller."""
    reduces = order.request.integer("ocaType") in (2, 3) or not order.request.text("ocaGroup")
    for other in gateway.orders.group(order):
        if order.status == "Filled" or not reduces:
            cancel(gateway, other)
        else:
            other.request.values["totalQuantity"] = other.quantity - shares
            reports.send_order(gateway, other)


def outright_price(gateway: Gateway, order: Order, at_s: float) -> float:
    """The price of a fill that the market is not asked about: the order's limit, else the opposite quote, else last."""
    limit = order.request.optional("lmtPrice")
    if order.limited and limit:
        return limit
    quote = gateway.quote(order.contract, at_s)
    if quote.has_bid and quote.has_ask:
        return quote.ask if order.buys else quote.bid
    return quote.last if quote.has_last else gateway.mark(order.contract)
