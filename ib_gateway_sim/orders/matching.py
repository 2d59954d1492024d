"""Open orders matched with the quotes, in seconds of market time: triggers, fills, ends."""

import sys
import traceback

from ib_gateway_sim.clock import SECOND_NS
from ib_gateway_sim.market.source import Quote
from ib_gateway_sim.orders import auctions, conditions, fills, hours, match_times, reports
from ib_gateway_sim.orders.cancelling import cancel, expire
from ib_gateway_sim.orders.order import LOCATE, Order
from ib_gateway_sim.orders.triggers import triggered
from ib_gateway_sim.session.gateway import Gateway

_BACKGROUND = "orders"


# ---- when orders are matched --------------------------------------------------------------------------------------------
def watch(gateway: Gateway) -> None:
    """Matches again from now on; a matching that slept until something could happen is given up."""
    gateway.spawn(_BACKGROUND, _work(gateway))


def working(gateway: Gateway) -> list[Order]:
    return [order for order in gateway.orders.every() if order.working]


async def _work(gateway: Gateway) -> None:
    """Matches while there is anything to fill. While the line is gone IB tells nothing."""
    while orders := working(gateway):
        wait_s = match_times.wait_s(gateway, orders, gateway.clock.now_s())
        await gateway.clock.sleep_until(gateway.clock.now_ns() + int(wait_s * SECOND_NS), step_ns=SECOND_NS)
        await gateway.faults.until_upstream()
        for order in orders:
            try:
                match_order(gateway, order, gateway.clock.now_s())
            except Exception:  # a fault of the simulator must not stop the other orders
                traceback.print_exc(file=sys.stderr)
        gateway.save()


def match_order(gateway: Gateway, order: Order, at_s: float) -> None:
    if order.late_fill_s:
        _fill_late(gateway, order, at_s)
        return
    _find_shares(gateway, order, at_s)
    if order.auctioned and _can_trade(gateway, order, auctions.deals_s(order) - 1):
        auctions.deal(gateway, order, at_s)
    expire(gateway, order, at_s)
    consider(gateway, order, at_s)


def consider(gateway: Gateway, order: Order, at_s: float | None = None) -> None:
    """Fills what the quote of a time (now) allows, and the children that it wakes."""
    at_s = gateway.clock.now_s() if at_s is None else at_s
    before, waited = order.filled, _waits_for(order)
    if at_s < min(order.since_s, gateway.clock.now_s()):  # a time of an outage before it was sent
        return
    if order.plan is not None:
        _follow_plan(gateway, order, at_s)
    elif _can_trade(gateway, order, at_s):
        _trade(gateway, order, at_s)
    gateway.unsaved |= _waits_for(order) != waited
    if order.filled > before:
        for child in gateway.orders.children(order):
            consider(gateway, child, at_s)


def _waits_for(order: Order) -> tuple[bool, bool, float | None]:
    """What a matching may change without a word."""
    return order.triggered, order.released, order.stop


def _can_trade(gateway: Gateway, order: Order, at_s: float) -> bool:
    if not order.open or not order.transmitted or order.why_held or not gateway.faults.upstream:
        return False
    if match_times.waits_for_parent(gateway, order) or at_s < order.not_before_s:
        return False
    return hours.session(gateway, order, at_s)[0] <= at_s


def _trade(gateway: Gateway, order: Order, at_s: float) -> None:
    quote = gateway.quote(order.contract, at_s)
    if quote.halted or not conditions.met(gateway, order, at_s):
        return
    if order.request.conditions and order.request.flag("conditionsCancelOrder"):
        cancel(gateway, order)
        return
    if order.auctioned or not (quote.has_bid and quote.has_ask) or not triggered(order, quote):
        return
    if order.status == "PreSubmitted" and order.kind != "MKT":
        order.move("Submitted")
        reports.send_order(gateway, order)
    _take_quote(gateway, order, quote, at_s)


def _take_quote(gateway: Gateway, order: Order, quote: Quote, at_s: float) -> None:
    """Fills at the opposite quote, at most its size; what may not wait is cancelled."""
    price, size = (quote.ask, quote.ask_size) if order.buys else (quote.bid, quote.bid_size)
    tif, wanted = order.request.text("tif"), _wanted(gateway, order)
    enough = size >= wanted or not (tif == "FOK" or order.request.flag("allOrNone"))
    if wanted > 0 and order.takes(price) and enough:
        fills.fill(gateway, order, min(wanted, size), price, at_s)
    if order.open and tif in ("IOC", "FOK"):
        cancel(gateway, order)


def _wanted(gateway: Gateway, order: Order) -> float:
    """What is left of it; of a child no more than is filled of its parent."""
    parent = gateway.orders.parent(order)
    if parent is None or parent.status == "Filled":
        return order.remaining
    return min(order.remaining, max(0.0, round(parent.filled - order.filled, 10)))


# ---- fills and waits that the control port has arranged --------------------------------------------------------------
def _follow_plan(gateway: Gateway, order: Order, at_s: float) -> None:
    held = not order.transmitted or order.why_held or not gateway.faults.upstream
    while not held and order.open and order.plan and order.plan[0][0] <= at_s:
        due_s, quantity = order.plan.pop(0)
        shares = min(quantity, order.remaining)
        fills.fill(gateway, order, shares, fills.outright_price(gateway, order, due_s), due_s)


def _fill_late(gateway: Gateway, order: Order, at_s: float) -> None:
    if at_s < order.late_fill_s or order.remaining <= 0:
        return
    due_s, order.late_fill_s = order.late_fill_s, 0.0
    fills.fill(gateway, order, order.remaining, fills.outright_price(gateway, order, due_s), due_s)


def _find_shares(gateway: Gateway, order: Order, at_s: float) -> None:
    """The shares to sell short have been found."""
    if order.why_held == LOCATE and at_s >= order.held_until_s:
        order.move("Submitted")
        order.why_held = ""
        reports.send_order(gateway, order)
