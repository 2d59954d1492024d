"""What a restart of the gateway does to orders.

Orders of API clients keep their ids. What was read and not worked yet is lost, and its ids are given again (seen in
2026 for a gateway's nightly restart: QuantConnect Lean.Brokerages.InteractiveBrokers#242). Orders that were not
transmitted exist in the gateway alone (IB's API documentation), so they vanish.
"""

from ib_gateway_sim.orders import arrivals
from ib_gateway_sim.session.gateway import Gateway


def restart(gateway: Gateway) -> None:
    arrivals.forget(gateway)
    gateway.stop("words ")
    for order in gateway.orders.every():
        if order.open and not order.transmitted:
            gateway.orders.forget(order)
    gateway.orders.forget_ids()
