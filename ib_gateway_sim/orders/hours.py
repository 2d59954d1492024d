"""When an order can trade, and until when it is good."""

from ib_gateway_sim.orders.order import Order
from ib_gateway_sim.rules.dates import Moment, moment
from ib_gateway_sim.rules.errors import Violation
from ib_gateway_sim.session.gateway import Gateway
from ib_gateway_sim.wire.request import Request

_LOOK_AHEAD_S = 12 * 86_400


def session(gateway: Gateway, order: Order, at_s: float) -> tuple[float, float]:
    """Open and close of the session in which the order can trade at or after a time."""
    if order.session[0] <= at_s < order.session[1]:
        return order.session
    rth = order.contract.sec_type == "STK" and not order.request.flag("outsideRth")
    sessions = gateway.market.sessions(order.contract, at_s, at_s + _LOOK_AHEAD_S, rth=rth)
    if not sessions:
        return at_s + _LOOK_AHEAD_S, at_s + _LOOK_AHEAD_S
    order.session = (sessions[0].open_s, sessions[0].close_s)
    return order.session


def opens_s(gateway: Gateway, order: Order) -> float:
    """When the order may trade: in the past, or the open of its next session."""
    return session(gateway, order, gateway.clock.now_s())[0]


def good_till(gateway: Gateway, request: Request) -> Moment | Violation:
    return moment(
        request.text("goodTillDate"),
        field_name="Good Till Date",
        login_zone=gateway.settings.login_zone,
        now_s=gateway.clock.now_s(),
    )
