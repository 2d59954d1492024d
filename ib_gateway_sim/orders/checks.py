"""What the gateway checks before it takes an order."""

from ib_gateway_sim.account.portfolio import margin_rate, multiplier
from ib_gateway_sim.market.contracts import Contract
from ib_gateway_sim.orders.hours import good_till
from ib_gateway_sim.rules.errors import Violation, invalid
from ib_gateway_sim.session.gateway import Client
from ib_gateway_sim.wire.request import Request

KINDS = ("MKT", "LMT", "STP", "STP LMT", "TRAIL")
TIMES_IN_FORCE = ("", "DAY", "GTC", "IOC", "FOK", "GTD")
_MOST_PER_SIDE = 20  # active orders of one contract and side, IB's limit
READ_ONLY = invalid("The API interface is currently in Read-Only mode.")


def problem_of(client: Client, request: Request, contract: Contract) -> Violation | None:
    """Why an order is refused; None where it is taken."""
    book = client.gateway.orders
    order_id, kind = request.integer("orderId"), request.text("orderType").upper()
    known = book.orders.get((client.client_id, order_id))
    if known is None and order_id < book.next_id(client.client_id) and not request.flag("whatIf"):
        return Violation(103, "Duplicate order id")
    if request.text("action").upper() not in ("BUY", "SELL"):
        return invalid(f"Invalid order action {request.text('action')}")
    if contract.sec_type in ("IND", "CONTFUT"):
        return Violation(203, f"The security {contract.local_symbol} is not available or allowed for this account.")
    if kind not in KINDS:
        return Violation(387, "Unsupported order type for this exchange and security type.")
    if request.text("tif") not in TIMES_IN_FORCE:
        return invalid(f"Time in force {request.text('tif')} is not supported")
    if request.number("totalQuantity") <= 0:
        return Violation(434, "The order size cannot be zero.")
    if request.text("account") not in ("", client.gateway.market.account):
        return invalid(f"Invalid account code '{request.text('account')}'.")
    if request.text("tif") == "GTD":
        until = good_till(client.gateway, request)
        if isinstance(until, Violation):
            return until
    prices = [request.optional("lmtPrice") if kind in ("LMT", "STP LMT") else None]
    prices.append(request.optional("auxPrice") if kind in ("STP", "STP LMT") else None)
    if any(price is not None and not _on_tick(price, contract.min_tick) for price in prices):
        return Violation(110, "The price does not conform to the minimum price variation for this contract.")
    return _funds(client, request, contract) or _crowd(client, request, contract)


def _on_tick(price: float, tick: float) -> bool:
    steps = price / tick
    return abs(steps - round(steps)) < 1e-6 * max(1.0, abs(steps))


def _funds(client: Client, request: Request, contract: Contract) -> Violation | None:
    gateway = client.gateway
    held = gateway.portfolio.positions.get(contract.con_id)
    before = held.quantity if held else 0.0
    signed = request.number("totalQuantity") * (1 if request.text("action").upper() == "BUY" else -1)
    more = abs(before + signed) - abs(before)
    if more <= 0:
        return None
    value = more * abs(gateway.mark(contract)) * multiplier(contract) * gateway.dollars(contract.currency)
    needed, available = value * margin_rate(contract), gateway.totals().available
    if needed <= available:
        return None
    return Violation(
        201,
        "Order rejected - reason:We are unable to accept your order. Your Available Funds are insufficient: "
        f"{available:.2f} USD are available, {needed:.2f} USD are needed",
    )


def _crowd(client: Client, request: Request, contract: Contract) -> Violation | None:
    side = request.text("action").upper() == "BUY"
    active = sum(
        order.open and order.contract.con_id == contract.con_id and order.buys == side
        for order in client.gateway.orders.orders.values()
        if order.order_id != request.integer("orderId")
    )
    if active < _MOST_PER_SIDE:
        return None
    return Violation(
        201,
        f"Order rejected - reason:The account has {_MOST_PER_SIDE} active orders on this side of the contract already",
    )
