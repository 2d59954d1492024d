"""Orders while the line to IB is gone: what rests at the exchange goes on, and its messages come when the line is back.

IB's system status page: during a reset native orders work, while execution reports and simulated orders are delayed.
"""

from ib_gateway_sim.faults.orders import OrderFaults
from ib_gateway_sim.orders import match_times
from ib_gateway_sim.orders.matching import match_order, watch, working
from ib_gateway_sim.orders.order import Order
from ib_gateway_sim.orders.triggers import IF_TOUCHED, STOPS
from ib_gateway_sim.session.gateway import Gateway


def catch_up(gateway: Gateway, faults: OrderFaults) -> None:
    """Matches in the seconds of the outage: fills have the times at which they happened. Orders that were sent or changed
    meanwhile (`lost work`) are matched from then on."""
    now_s = gateway.clock.now_s()
    at_s = faults.outage_from_s
    while faults.outage_fills == "late" and (orders := [each for each in working(gateway) if _native(each)]):
        at_s = _next_match_s(gateway, orders, at_s)
        if at_s > now_s:
            break
        for order in orders:
            if order.since_s <= at_s:
                match_order(gateway, order, at_s)
    watch(gateway)


def _next_match_s(gateway: Gateway, orders: list[Order], at_s: float) -> float:
    there = [order for order in orders if order.since_s <= at_s]
    later_s = [order.since_s for order in orders if order.since_s > at_s]
    return min([*later_s, *([at_s + match_times.wait_s(gateway, there, at_s)] if there else [])])


def _native(order: Order) -> bool:
    """Whether it rests at the exchange: stops, orders if touched and conditions are watched by IB."""
    waits = order.kind in (*STOPS, *IF_TOUCHED) and not order.triggered
    return not waits and not order.late_fill_s and (order.released or not order.request.conditions)
