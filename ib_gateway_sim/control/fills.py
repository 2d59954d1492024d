"""Fills by command, and what a person does in TWS: orders of its own, clicks, and one order that becomes two."""

import re
from copy import deepcopy
from typing import Any

from ib_gateway_sim.control.command import commands
from ib_gateway_sim.control.context import Context
from ib_gateway_sim.control.values import Answer, Wrong, choice, number
from ib_gateway_sim.faults.orders import NEXT, LateFill
from ib_gateway_sim.market.contracts import Contract, ContractQuery
from ib_gateway_sim.orders.binding import bind_new
from ib_gateway_sim.orders.cancelling import cancel
from ib_gateway_sim.orders.fills import fill, outright_price
from ib_gateway_sim.orders.matching import watch
from ib_gateway_sim.orders.order import MANUAL, Order
from ib_gateway_sim.orders.placing import submit, transmit
from ib_gateway_sim.wire.request import Request

_MOST = 1e9
_LAST = "last"


def find(control: Context, ref: Any) -> Order:
    """The newest order of a reference or permId (`last`: of all), an open one first. Raises Wrong, which names them."""
    known = control.gateway.orders.every()
    found = [order for order in known if str(ref) in (_LAST, order.reference, str(order.perm_id))]
    if not found:
        names = [order.reference or str(order.perm_id) for order in known]
        raise Wrong(f"ref {ref!r}; allowed: {', '.join([_LAST, *names]) if names else 'no order was placed'}")
    return max(found, key=lambda order: (order.open, order.perm_id))


def _open(control: Context, ref: Any) -> Order:
    order = find(control, ref)
    if not order.open:
        raise Wrong(f"ref {ref!r} is {order.status}; allowed: an open order")
    return order


def _transmitted(order: Order) -> Order:
    if not order.transmitted:
        raise Wrong(f"order {order.perm_id} is not transmitted; allowed: an order that IB has")
    return order


# ---- fills -----------------------------------------------------------------------------------------------------------
def fill_plan(control: Context, ref: str, plan: str) -> Answer:
    """an order (by reference, or next) fills so and not otherwise: quantity@seconds after it is sent, as 30@1,70@5"""
    steps = []
    for step in plan.split(","):
        match = re.fullmatch(r"([0-9.]+)@([0-9.]+)", step.strip())
        if match is None:
            raise Wrong(f"plan {plan!r}; allowed: quantity@seconds with commas between, as 30@1,70@5")
        steps.append((number("quantity", match[1], 1e-9, _MOST), number("seconds", match[2], 0, 1e6)))
    control.gateway.faults.orders.plans[ref] = steps
    return {"steps": len(steps)}


def fill_now(control: Context, ref: Any, quantity: Any = None, price: Any = None) -> Answer:
    """an open order fills (all that is left, at its limit or the quote), whatever the market or the line to IB is"""
    return _fill(control, _open(control, ref), quantity, price)


def fill_after_cancel(control: Context, ref: str = NEXT, how: str = "late", seconds: Any = 0) -> None:
    """the cancel of an order (or the next) meets a fill: late (Cancelled, and the fill after so many seconds) or
    overtakes (the fill comes first, the cancel is refused with 10148)"""
    entry = LateFill(choice("how", how, ["late", "overtakes"]), number("seconds", seconds, 0, 1e6))
    control.gateway.faults.orders.late_fills[ref] = entry


def _fill(control: Context, order: Order, quantity: Any, price: Any) -> Answer:
    gateway, now_s = control.gateway, control.gateway.clock.now_s()
    _transmitted(order)
    shares = order.remaining if quantity is None else number("quantity", quantity, 1e-9, order.remaining)
    at = outright_price(gateway, order, now_s) if price is None else number("price", price, -_MOST, _MOST)
    gateway.note("fill_now", order.client_id, order.order_id)
    fill(gateway, order, shares, at, now_s)
    gateway.clock.hasten()  # orders that wait for this one
    return {"perm_id": order.perm_id, "filled": order.filled, "status": order.status}


# ---- a person in TWS -------------------------------------------------------------------------------------------------
def click(control: Context, ref: Any = None) -> Answer:
    """somebody clicks the warning of `precaution` away: the order (or all that wait) is sent"""
    wanted = None if ref is None else find(control, ref)
    held = [order for order in control.gateway.orders.every() if order.open and not order.clicked]
    waiting = [order for order in held if wanted is None or order is wanted]
    for order in waiting:
        transmit(control.gateway, order)
    watch(control.gateway)
    return {"clicked": [order.perm_id for order in waiting]}


def manual_order(
    control: Context, action: str, quantity: Any, symbol: str, limit: Any = None, sec_type: str = "STK"
) -> Answer:
    """an order placed in TWS by hand (MKT, or LMT with a limit): orderId 0, no reference; found by its permId"""
    request = Request(
        "placeOrder", 3, {"orderId": 0, "transmit": True, "tif": "DAY", "orderRef": "", "exchange": "SMART"}
    )
    request.values["action"] = choice("action", action, ["BUY", "SELL"])
    request.values["totalQuantity"] = number("quantity", quantity, 1e-9, _MOST)
    request.values["orderType"] = "MKT" if limit is None else "LMT"
    request.values["lmtPrice"] = None if limit is None else number("limit", limit, -_MOST, _MOST)
    gateway, now_s = control.gateway, control.gateway.clock.now_s()
    contract = _contract(control, symbol, sec_type)
    order = gateway.orders.add_other(MANUAL, request, contract, gateway.market.account, now_s)
    bind_new(gateway, order)
    submit(gateway, order)
    watch(gateway)
    return {"perm_id": order.perm_id, "status": order.status}


def manual_fill(control: Context, perm_id: Any, quantity: Any = None, price: Any = None) -> Answer:
    """a manual order fills, in part or all"""
    return _fill(control, _manual(control, perm_id), quantity, price)


def manual_cancel(control: Context, perm_id: Any) -> None:
    """a person cancels an order in TWS, a manual one or one of a client"""
    cancel(control.gateway, _open(control, perm_id))


def _manual(control: Context, perm_id: Any) -> Order:
    """An open order of manual_order, by its permId, or the newest. Raises Wrong."""
    if perm_id == _LAST:
        manual = [order for order in control.gateway.orders.every() if order.open and _is_manual(order)]
        if not manual:
            raise Wrong(f"perm_id {perm_id!r}; allowed: an open order of manual_order, and there is none")
        return max(manual, key=lambda each: each.perm_id)
    order = _open(control, perm_id)
    if not _is_manual(order):
        raise Wrong(f"perm_id {perm_id!r} is of a client; allowed: an order of manual_order")
    return order


def _is_manual(order: Order) -> bool:
    return order.order_id <= 0 and not order.reference


def _contract(control: Context, symbol: str, sec_type: str) -> Contract:
    choice("sec_type", sec_type, ["STK", "CASH"])
    base, _, quoted = symbol.partition(".")
    exchange = "SMART" if sec_type == "STK" else "IDEALPRO"
    query = ContractQuery(symbol=base, sec_type=sec_type, exchange=exchange, currency=quoted or "USD")
    found = control.gateway.market.find(query, control.gateway.clock.now_s())
    if len(found) != 1:
        raise Wrong(f"symbol {symbol!r}; allowed: a stock of this market, as AAPL, or with CASH a pair, as EUR.USD")
    return found[0]


def twin(control: Context, ref: Any) -> Answer:
    """one order becomes two live ones with a permId each, as a change during an outage made of one (reported 2026-07 in
    nautechsystems/nautilus_trader#4564); its id reaches the first alone"""
    gateway, order = control.gateway, _transmitted(_open(control, ref))
    made = gateway.orders.add_other(
        order.client_id, deepcopy(order.request), order.contract, order.account, gateway.clock.now_s()
    )
    gateway.note("twin", order.client_id, order.order_id)
    made.silent = gateway.faults.orders.take("mute")
    submit(gateway, made)
    made.silent = False
    watch(gateway)
    return {"perm_ids": [order.perm_id, made.perm_id]}


COMMANDS = commands(
    fill_plan,
    fill_now,
    fill_after_cancel,
    click,
    manual_order,
    manual_fill,
    manual_cancel,
    twin,
)
