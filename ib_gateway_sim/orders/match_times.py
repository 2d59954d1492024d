"""When open orders are matched with the market: every second, but for seconds in which surely nothing happens.

What keeps an order from being filled (a halt, a parent's part) needs no word here: it is matched more often than
needed. What makes one act although its price stands still does: such an order is matched every second (`_acts_at_s`).
What acts upon one from outside, as a fill by command, calls `Clock.hasten`.
"""

from collections.abc import Sequence
from math import ceil

from ib_gateway_sim.market.source import Side
from ib_gateway_sim.orders import hours
from ib_gateway_sim.orders.order import AT_CLOSE, AT_OPEN, LOCATE, Order
from ib_gateway_sim.orders.triggers import IF_TOUCHED, STOPS
from ib_gateway_sim.session.gateway import Gateway

_STEP_S = 1.0  # between two matchings
_AHEAD_S = 86_400.0  # so far ahead the paths of prices are searched at once
_ANY = float("inf")


def wait_s(gateway: Gateway, orders: Sequence[Order], at_s: float) -> float:
    """Seconds from one matching to the next: as many whole ones as surely change no order; where all wait for a time, such
    as an opening, until then."""
    next_s = min(hours.next_match_s(gateway, order, at_s) for order in orders)
    if next_s > at_s + _STEP_S:
        return next_s - at_s
    until_s = at_s + _AHEAD_S
    for order in orders:
        until_s = min(until_s, _acts_at_s(gateway, order, at_s, until_s))
        if until_s <= at_s + _STEP_S:
            return _STEP_S
    # A microsecond less: seconds as floats are not exact, and a matching too early changes nothing.
    return float(max(1, ceil(until_s - at_s - 1e-6)))


def _acts_at_s(gateway: Gateway, order: Order, at_s: float, until_s: float) -> float:
    """The first instant until then at which a matching may change the order: it fills, is triggered, follows, ends, or its
    session begins or ends."""
    if order.late_fill_s:
        return order.late_fill_s
    if order.expires or order.kind in AT_CLOSE:
        until_s = min(until_s, order.expires_s)
    if order.why_held == LOCATE:
        return min(until_s, order.held_until_s)
    if order.plan is not None:
        return min([until_s, *(due_s for due_s, _ in order.plan)])
    opens_s, closes_s = hours.session(gateway, order, at_s)
    begins_s = max(opens_s, order.not_before_s)
    if begins_s > at_s:
        return min(until_s, begins_s)
    until_s = min(until_s, closes_s)
    if waits_for_parent(gateway, order):
        return until_s
    awaited = _awaited(order)
    if awaited is None or until_s <= at_s:
        return at_s
    return gateway.market.calm_until(order.contract, *awaited, at_s, until_s)


def waits_for_parent(gateway: Gateway, order: Order) -> bool:
    return gateway.orders.waits_for_parent(order, partly=gateway.settings.children == "partial")


def _awaited(order: Order) -> tuple[Side, tuple[float, float]] | None:
    """The price of the quote that the order waits for, and the two prices between which it goes on waiting; None for an
    order that waits for no price, or not for its own alone."""
    request = order.request
    if order.request.text("tif") == AT_OPEN or (request.conditions and not order.released):
        return None
    if order.triggered or order.kind not in (*STOPS, *IF_TOUCHED):
        if not order.limited or order.status != "Submitted" or request.text("tif") in ("IOC", "FOK"):
            return None
        limit = request.number("lmtPrice")
        return ("ask", (limit, _ANY)) if order.buys else ("bid", (-_ANY, limit))
    side: Side = "last" if order.contract.kinds[0] == "TRADES" else "ask" if order.buys else "bid"
    if order.kind == "TRAIL":
        return None if order.stop is None else (side, _trailed(order))
    at, rising = request.number("auxPrice"), order.buys == (order.kind in STOPS)
    return (side, (-_ANY, at)) if rising else (side, (at, _ANY))


def _trailed(order: Order) -> tuple[float, float]:
    """Between its stop and the price at which the stop follows; that a hair further, less than any step of prices, so
    that a price which it has followed already does not count."""
    stop, percent = order.stop or 0.0, order.request.optional("trailingPercent")
    part = (percent or 0.0) / 100 * (1 if order.buys else -1)
    follows = stop / (1 + part) if percent and part > -1 else stop - order.request.number("auxPrice")
    if not percent and not order.buys:
        follows = stop + order.request.number("auxPrice")
    hair = 1e-8 * max(1.0, abs(follows))
    return (follows - hair, stop) if order.buys else (stop, follows + hair)
