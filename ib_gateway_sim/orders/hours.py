"""When an order can trade, and until when it is good."""

from ib_gateway_sim.orders.order import LOCATE, Order
from ib_gateway_sim.rules.dates import Moment, moment
from ib_gateway_sim.rules.errors import Violation
from ib_gateway_sim.session.gateway import Gateway
from ib_gateway_sim.wire.request import Request

_HORIZON_S = 12 * 86_400


def session(gateway: Gateway, order: Order, at_s: float) -> tuple[float, float]:
    """Open and close of the session in which the order can trade at or after a time."""
    if order.session[0] <= at_s < order.session[1]:
        return order.session
    regular = order.auctioned or not order.request.flag("outsideRth")
    rth = order.contract.sec_type == "STK" and regular
    sessions = gateway.market.sessions(order.contract, at_s, at_s + _HORIZON_S, rth=rth)
    if not sessions:
        return at_s + _HORIZON_S, at_s + _HORIZON_S
    order.session = (sessions[0].open_s, sessions[0].close_s)
    return order.session


def next_match_s(gateway: Gateway, order: Order, at_s: float) -> float:
    """When the order has to be matched again, at the earliest; in the past: at once."""
    if order.late_fill_s:
        return order.late_fill_s
    if order.why_held == LOCATE:
        due_s = order.held_until_s
    elif order.plan:
        due_s = order.plan[0][0]
    else:
        due_s = max(session(gateway, order, at_s)[0], order.not_before_s)
    return min(due_s, order.expires_s) if order.expires else due_s


def good_till(gateway: Gateway, request: Request) -> Moment | Violation:
    return _moment(gateway, request, "goodTillDate", "Good Till Date")


def good_after(gateway: Gateway, request: Request) -> Moment | Violation:
    return _moment(gateway, request, "goodAfterTime", "Good After Time")


def _moment(gateway: Gateway, request: Request, field: str, name: str) -> Moment | Violation:
    return moment(
        request.text(field),
        field_name=name,
        login_zone=gateway.settings.login_zone,
        now_s=gateway.clock.now_s(),
    )
