"""A fill: its booking in the portfolio, its messages, and what it does to other orders."""

from dataclasses import replace

from ib_gateway_sim.account.changes import send_change
from ib_gateway_sim.account.commissions import fill_commission, order_commission
from ib_gateway_sim.orders import reports
from ib_gateway_sim.orders.cancelling import cancel
from ib_gateway_sim.orders.order import Execution, Order
from ib_gateway_sim.session.gateway import Gateway
from ib_gateway_sim.times import text_date


def fill(gateway: Gateway, order: Order, shares: float, price: float, at_s: float) -> None:
    """Fills a part or all. An order that has been cancelled stays so: its fill was on the way already.

    Raises ValueError for an order that IB does not have, and then nothing has changed.
    """
    _move(order, shares, at_s)
    before = (order.filled, order.average_price)
    order.filled = round(order.filled + shares, 10)
    order.paid += shares * price
    order.last_price = price
    execution = _execution(gateway, order, shares, price, at_s)
    rate = gateway.dollars(order.contract.currency)
    execution.fee = fill_commission(order.contract, before, shares, price, rate)
    order.fees = round(order.fees + execution.fee, 4)
    gateway.orders.executions.append(execution)
    shared = _shares_of(gateway, order, shares)
    if not shared:
        _book(gateway, execution)
    reports.send_execution(gateway, execution, fees=not shared)
    for account, part in shared.items():
        _allocate(gateway, execution, account, part)
    for account in shared or (order.account,):
        send_change(gateway, order.contract, account)
    _shrink_group(gateway, order, shares)


def _move(order: Order, shares: float, at_s: float) -> None:
    """The status that a fill makes. One that waits for shares may fill too (reported in erdewit/ib_insync#363)."""
    if not order.transmitted:
        raise ValueError(f"order {order.order_id}: {order.status} cannot fill")
    if order.open and order.remaining <= shares:
        order.move("Filled")
        order.done_s = at_s
    elif order.status in ("PreSubmitted", "Inactive"):
        order.move("Submitted")
    order.why_held = ""


def _execution(gateway: Gateway, order: Order, shares: float, price: float, at_s: float) -> Execution:
    contract, zone = order.contract, gateway.settings.login_zone
    return Execution(
        order=order,
        exec_id=gateway.orders.next_exec_id(at_s),
        at_s=at_s,
        time=text_date(at_s, zone).strftime("%Y%m%d %H:%M:%S ") + zone,
        exchange=contract.primary_exchange or contract.exchange,
        shares=shares,
        price=price,
        cumulated=order.filled,
        average_price=order.average_price,
        fee=0.0,
        realized=None,
    )


def _book(gateway: Gateway, made: Execution) -> None:
    signed = made.shares if made.order.buys else -made.shares
    portfolio = gateway.portfolios[made.owner]
    made.realized = portfolio.fill(made.order.contract, signed, made.price, made.fee, made.key, made.at_s)


# ---- an advisor's orders ---------------------------------------------------------------------------------------------
def _shares_of(gateway: Gateway, order: Order, shares: float) -> dict[str, float]:
    """Account -> its share of a fill: whole units in equal parts, the rest to the first ones; empty for other orders."""
    clients = list(gateway.portfolios)[1:]
    if not gateway.settings.fa or not clients or order.account != gateway.market.account:
        return {}
    part, rest = divmod(shares, len(clients))
    every = {account: part + min(1.0, max(0.0, rest - at)) for at, account in enumerate(clients)}
    return {account: quantity for account, quantity in every.items() if quantity}


def _allocate(gateway: Gateway, whole: Execution, account: str, shares: float) -> None:
    made = _execution(gateway, whole.order, shares, whole.price, whole.at_s)
    made.account, made.fee = account, round(whole.fee * shares / whole.shares, 4)
    made.fee_known_s = reports.fee_known_s(gateway, made.at_s)
    gateway.orders.executions.append(made)
    _book(gateway, made)
    reports.send_fill_alone(gateway, made)


# ---- corrections -----------------------------------------------------------------------------------------------------
def correct(gateway: Gateway, made: Execution, shares: float, price: float, *, reported: bool = True) -> Execution:
    """The exchange corrects an execution: its next revision replaces it, in the order and in the account. With 0 shares
    it is taken back; `reported`: whether clients get an execDetails of it, or see the position alone."""
    order = made.order
    revision = int(made.exec_id.rpartition(".")[2]) + 1
    order.filled = round(order.filled + shares - made.shares, 10)
    order.paid += shares * price - made.shares * made.price
    fee = order_commission(order.contract, shares, price, gateway.dollars(order.contract.currency)) if shares else 0.0
    new = replace(
        made, exec_id=f"{made.key}.{revision:02d}", shares=shares, price=price, fee=fee, corrects=made.exec_id
    )
    new.cumulated, new.average_price, new.realized = order.filled, order.average_price, None
    new.fee_known_s = max(made.fee_known_s, reports.fee_known_s(gateway, gateway.clock.now_s()))
    order.fees = round(order.fees + fee - made.fee, 4)
    portfolio = gateway.portfolios[made.owner]
    portfolio.correct(made.key, shares if order.buys else -shares, price, fee)
    if reported:
        gateway.orders.executions.append(new)
        reports.send_fill_alone(gateway, new)
    else:
        gateway.orders.drop_execution(made.key)
    send_change(gateway, order.contract, made.owner)
    if order.open and order.remaining == 0:
        _move(order, 0.0, gateway.clock.now_s())
        reports.send_order(gateway, order)
        _shrink_group(gateway, order, 0.0)
    return new


def _shrink_group(gateway: Gateway, order: Order, shares: float) -> None:
    """A full fill ends the others of the group; a partial one may make them smaller, or ends those that have no more left."""
    reduces = order.request.integer("ocaType") in (2, 3) or not order.request.text("ocaGroup")
    for other in gateway.orders.group(order):
        if order.status == "Filled" or not reduces or other.remaining <= shares:
            cancel(gateway, other)
        else:
            other.request.values["totalQuantity"] = round(other.quantity - shares, 10)
            reports.send_order(gateway, other)


def outright_price(gateway: Gateway, order: Order, at_s: float) -> float:
    """The price of a fill that does not depend on the market: the order's limit, else the opposite quote, else last."""
    limit = order.request.optional("lmtPrice")
    if order.limited and limit:
        return limit
    quote = gateway.quote(order.contract, at_s)
    if quote.has_bid and quote.has_ask:
        return quote.ask if order.buys else quote.bid
    return quote.last if quote.has_last else gateway.mark(order.contract)
