"""Open orders against the quotes: triggers, fills, and what a fill does to other orders."""

import asyncio
import sys
import traceback

from ib_gateway_sim.account.changes import send_change
from ib_gateway_sim.account.portfolio import commission
from ib_gateway_sim.market.source import Quote
from ib_gateway_sim.orders import hours, reports
from ib_gateway_sim.orders.cancelling import cancel, expire
from ib_gateway_sim.orders.order import Execution, Order
from ib_gateway_sim.session.gateway import Gateway
from ib_gateway_sim.times import text_date

_LOOK_S = 1.0  # between two looks at the market
_BACKGROUND = "orders"


# ---- looking at the market -------------------------------------------------------------------------------------------
def watch(gateway: Gateway) -> None:
    """Looks again from now on; a look that slept until some opening is given up."""
    watcher = gateway.background.get(_BACKGROUND)
    if watcher is not None:
        watcher.cancel()
    gateway.background[_BACKGROUND] = asyncio.get_running_loop().create_task(_work(gateway))


async def _work(gateway: Gateway) -> None:
    """Looks at the market every second while there is anything to fill."""
    while working := [order for order in gateway.orders.open_orders() if order.status != "PendingSubmit"]:
        opens_s = min(hours.opens_s(gateway, order) for order in working)
        await gateway.clock.sleep(max(_LOOK_S, opens_s - gateway.clock.now_s()))
        for order in working:
            try:
                expire(gateway, order)
                consider(gateway, order)
            except Exception:  # a fault of the simulator must not stop the other orders
                traceback.print_exc(file=sys.stderr)


def consider(gateway: Gateway, order: Order) -> None:
    """Fills what the present quote allows."""
    if not _can_trade(gateway, order):
        return
    quote = gateway.quote(order.contract, gateway.clock.now_s())
    if not (quote.has_bid and quote.has_ask) or not _triggered(order, quote):
        return
    if order.status == "PreSubmitted":
        order.move("Submitted")
        reports.send_order(gateway, order)
    price, size = (quote.ask, quote.ask_size) if order.buys else (quote.bid, quote.bid_size)
    tif = order.request.text("tif")
    enough = size >= order.remaining or not (tif == "FOK" or order.request.flag("allOrNone"))
    if _marketable(order, price) and enough:
        _fill(gateway, order, min(order.remaining, size), price)
    if order.open and tif in ("IOC", "FOK"):
        cancel(gateway, order)


def _can_trade(gateway: Gateway, order: Order) -> bool:
    if not order.open or order.status == "PendingSubmit" or gateway.orders.waits_for_parent(order):
        return False
    return gateway.weather.upstream and hours.opens_s(gateway, order) <= gateway.clock.now_s()


def _marketable(order: Order, price: float) -> bool:
    """Whether the opposite quote is within the order's limit."""
    if order.kind not in ("LMT", "STP LMT"):
        return True
    limit = order.request.number("lmtPrice")
    return price <= limit if order.buys else price >= limit


# ---- stops -----------------------------------------------------------------------------------------------------------
def _triggered(order: Order, quote: Quote) -> bool:
    """Stops are touched by the last trade, of currencies and CFDs by bid or ask; a trailing stop follows."""
    if order.kind in ("MKT", "LMT") or order.triggered:
        return True
    traded = quote.has_last and order.contract.kinds[0] == "TRADES"
    touch = quote.last if traded else quote.ask if order.buys else quote.bid
    stop = _trail(order, touch) if order.kind == "TRAIL" else order.request.number("auxPrice")
    order.triggered = touch >= stop if order.buys else touch <= stop
    return order.triggered


def _trail(order: Order, touch: float) -> float:
    percent = order.request.optional("trailingPercent")
    distance = abs(touch) * percent / 100 if percent else order.request.number("auxPrice")
    follows = round(touch + distance if order.buys else touch - distance, 8)
    if order.stop is None:
        order.stop = order.request.optional("trailStopPrice") or follows
    order.stop = min(order.stop, follows) if order.buys else max(order.stop, follows)
    return order.stop


# ---- fills -----------------------------------------------------------------------------------------------------------
def _fill(gateway: Gateway, order: Order, shares: float, price: float) -> None:
    order.filled = round(order.filled + shares, 10)
    order.paid += shares * price
    order.last_price = price
    if order.remaining == 0:
        order.move("Filled")
        order.done_s = gateway.clock.now_s()
    execution = _execution(gateway, order, shares, price)
    gateway.orders.executions.append(execution)
    reports.send_execution(gateway, execution)
    send_change(gateway, order.contract)
    _after_fill(gateway, order, shares)


def _execution(gateway: Gateway, order: Order, shares: float, price: float) -> Execution:
    """Books the fill in the portfolio."""
    contract = order.contract
    fee = commission(contract, shares, price)
    signed = shares if order.buys else -shares
    rate = gateway.dollars(contract.currency)
    realized = gateway.portfolio.fill(contract, quantity=signed, price=price, fee=fee, rate=rate)
    now_s = gateway.clock.now_s()
    zone = gateway.settings.login_zone
    return Execution(
        order=order,
        exec_id=f"0000e0d5.{int(now_s):08x}.{len(gateway.orders.executions) + 1:02d}.01",
        at_s=now_s,
        time=text_date(now_s, zone).strftime("%Y%m%d %H:%M:%S ") + zone,
        exchange=contract.primary_exchange or contract.exchange,
        shares=shares,
        price=price,
        cumulated=order.filled,
        average_price=order.average_price,
        fee=fee,
        realized=realized,
    )


def _after_fill(gateway: Gateway, order: Order, shares: float) -> None:
    """A full fill wakes the children and ends the group; a partial one may shrink the group."""
    reduces = order.request.integer("ocaType") in (2, 3) or not order.request.text("ocaGroup")
    for other in gateway.orders.group(order):
        if order.status == "Filled" or not reduces:
            cancel(gateway, other)
        else:
            other.request.values["totalQuantity"] = other.quantity - shares
            reports.send_order(gateway, other)
    if order.status == "Filled":
        for child in gateway.orders.children(order):
            consider(gateway, child)
