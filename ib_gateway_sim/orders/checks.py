"""What the gateway checks before it takes an order. Codes and words are IB's where a comment does not say otherwise."""

from collections.abc import Callable

from ib_gateway_sim.account.portfolio import margin_rate, multiplier
from ib_gateway_sim.market.contracts import Contract
from ib_gateway_sim.orders import conditions
from ib_gateway_sim.orders.hours import good_after, good_till
from ib_gateway_sim.orders.order import AT_CLOSE, AT_OPEN, LIMITED
from ib_gateway_sim.orders.triggers import IF_TOUCHED, STOPS
from ib_gateway_sim.rules.dates import Moment
from ib_gateway_sim.rules.errors import Violation, invalid
from ib_gateway_sim.session.gateway import Client, Gateway
from ib_gateway_sim.wire.request import Request

KINDS = ("MKT", "LMT", *STOPS, *AT_CLOSE, *IF_TOUCHED)
TIMES_IN_FORCE = ("", "DAY", "GTC", "IOC", "FOK", "GTD", AT_OPEN)
_NO_AUCTIONS = ("CASH", "CRYPTO", "CFD")
ALGOS = (  # accepted, and worked like the order without one
    *(
        "Adaptive",
        "ArrivalPx",
        "DarkIce",
        "AD",
        "ClosePx",
        "PctVol",
        "PctVolPx",
        "PctVolSz",
        "PctVolTm",
        "Twap",
        "Vwap",
    ),
    *("BalanceImpactRisk", "MinImpact"),
)
_MOST_PER_SIDE = 20  # active orders of one contract and side, IB's limit
READ_ONLY = invalid("The API interface is currently in Read-Only mode.")
_OFF_TICK = Violation(110, "The price does not conform to the minimum price variation for this contract.")
_NEGATIVE_PRICES = ("FUT", "BAG", "OPT", "FOP")

Check = Callable[[Client, Request, Contract], Violation | None]


def problem_of(client: Client, request: Request, contract: Contract) -> Violation | None:
    """Why an order is refused; None where it is taken."""
    for check in _CHECKS:
        problem = check(client, request, contract)
        if problem is not None:
            return problem
    return None


# ---- the message -----------------------------------------------------------------------------------------------------
def _id(client: Client, request: Request, _: Contract) -> Violation | None:
    book, order_id = client.gateway.orders, request.integer("orderId")
    if request.flag("whatIf"):
        flagged = request.flag("transmit")
        return None if flagged else Violation(413, "What-if order should have the transmit flag set to true.")
    if (client.client_id, order_id) not in book.orders and book.used(client.client_id, order_id):
        return Violation(103, "Duplicate order id")
    return None


def _side(client: Client, request: Request, contract: Contract) -> Violation | None:
    if request.text("action").upper() not in ("BUY", "SELL"):
        return invalid(f"Invalid order action {request.text('action')}")
    if not request.text("exchange"):
        return invalid("Missing order exchange.")
    if contract.sec_type in ("IND", "CONTFUT"):
        return Violation(203, f"The security {contract.local_symbol} is not available or allowed for this account.")
    return _account(client.gateway, request)


def _account(gateway: Gateway, request: Request) -> Violation | None:
    """Of several accounts one must be named, but for the orders of an advisor, which are shared out."""
    if gateway.account_named(request.text("account")) is None:
        return invalid(f"Invalid account code '{request.text('account')}'.")
    if not request.text("account") and len(gateway.portfolios) > 1 and not gateway.settings.fa:
        return Violation(435, "You must specify an account.")
    return None


def _kind(client: Client, request: Request, contract: Contract) -> Violation | None:
    kind, tif = _kind_of(request), request.text("tif")
    auctioned = kind in AT_CLOSE or tif == AT_OPEN
    if kind not in KINDS or (auctioned and contract.sec_type in _NO_AUCTIONS):
        return Violation(387, "Unsupported order type for this exchange and security type.")
    if tif not in TIMES_IN_FORCE:
        return invalid(f"Time in force {tif} is not supported")
    if (kind in AT_CLOSE and tif not in ("", "DAY")) or (tif == AT_OPEN and kind not in ("MKT", "LMT")):
        return Violation(111, f"The TIF ({tif}) and the order type are incompatible.")
    if request.text("algoStrategy") not in ("", *ALGOS):
        return Violation(439, "Order processing failed. Algorithm definition not found.")
    return None


def _kind_of(request: Request) -> str:
    return request.text("orderType").upper()


def _quantity(client: Client, request: Request, contract: Contract) -> Violation | None:
    quantity = request.number("totalQuantity")
    if quantity <= 0:
        return Violation(434, "The order size cannot be zero.")
    if quantity.is_integer() or contract.sec_type in ("CASH", "CRYPTO"):
        return None
    if contract.sec_type == "STK":
        return Violation(
            10243, "Fractional-sized order cannot be placed via API. Please use desktop version to place this order."
        )
    return Violation(355, "Order size does not conform to market rule.")


def _dates(client: Client, request: Request, _: Contract) -> Violation | None:
    """GTD in the past: IB's answer is not established, hence the setting `past_gtd`; the words are ours."""
    gateway = client.gateway
    after = good_after(gateway, request) if request.text("goodAfterTime") else None
    if isinstance(after, Violation):
        return after
    until = good_till(gateway, request) if request.text("tif") == "GTD" else None
    if isinstance(until, Moment) and until.at_s <= gateway.clock.now_s() and gateway.settings.past_gtd == "refuse":
        return Violation(201, "Order rejected - reason:The good till date of the order is in the past.")
    return until if isinstance(until, Violation) else conditions.problem_with(gateway, request)


def _parent(client: Client, request: Request, _: Contract) -> Violation | None:
    parent_id = request.integer("parentId")
    if parent_id and (client.client_id, parent_id) not in client.gateway.orders.orders:
        return Violation(10006, "Missing parent order.")
    return None


# ---- prices ----------------------------------------------------------------------------------------------------------
def _prices(client: Client, request: Request, contract: Contract) -> Violation | None:
    """A limit that is missing: code and words are ours, in IB's manner."""
    kind, limit, aux = _kind_of(request), request.optional("lmtPrice"), request.optional("auxPrice")
    positive = contract.sec_type not in _NEGATIVE_PRICES
    if kind in LIMITED and (limit is None or (positive and limit == 0)):
        return invalid("The limit price of the order is missing.")
    if kind in ("STP", "STP LMT", *IF_TOUCHED) and (aux is None or (positive and aux <= 0)):
        return Violation(403, "Invalid stop price.")
    prices = [limit if kind in LIMITED else None, aux if kind in ("STP", "STP LMT", *IF_TOUCHED) else None]
    for price in prices:
        if price is not None and (not _on_tick(price, contract.min_tick) or (positive and price < 0)):
            return _OFF_TICK
    return _far_off(client.gateway, request, contract)


def _on_tick(price: float, tick: float) -> bool:
    steps = price / tick
    return abs(steps - round(steps)) < 1e-6 * max(1.0, abs(steps))


def _far_off(gateway: Gateway, request: Request, contract: Contract) -> Violation | None:
    """The percentage that a gateway has in its order defaults; ours is wide (setting `price_range`), and not for options,
    whose prices are a few steps."""
    if contract.sec_type in ("OPT", "FOP"):
        return None
    limit, mark = request.optional("lmtPrice"), gateway.mark(contract)
    if _kind_of(request) not in LIMITED or limit is None or mark <= 0 or gateway.settings.price_range <= 0:
        return None
    if 100 * abs(limit - mark) / mark < gateway.settings.price_range:
        return None
    return Violation(
        109,
        "Price is out of the range defined by the Percentage setting at order defaults frame. "
        "The order will not be transmitted.",
    )


def _halted(client: Client, request: Request, contract: Contract) -> Violation | None:
    gateway = client.gateway
    if gateway.settings.halted == "hold" or not gateway.quote(contract, gateway.clock.now_s()).halted:
        return None
    return Violation(154, "Orders cannot be transmitted for a halted security.")


# ---- the account -----------------------------------------------------------------------------------------------------
def _funds(client: Client, request: Request, contract: Contract) -> Violation | None:
    gateway = client.gateway
    account = gateway.account_named(request.text("account")) or gateway.market.account
    held = gateway.portfolios[account].positions.get(contract.con_id)
    before = held.quantity if held else 0.0
    signed = request.number("totalQuantity") * (1 if request.text("action").upper() == "BUY" else -1)
    more = abs(before + signed) - abs(before)
    if more <= 0:
        return None
    value = more * abs(gateway.mark(contract)) * multiplier(contract) * gateway.dollars(contract.currency)
    factor = gateway.faults.orders.margin_factor
    needed, available = value * margin_rate(contract) * factor, gateway.totals(account).available
    if needed <= available:
        return None
    return Violation(
        201,
        "Order rejected - reason:We are unable to accept your order. Your Available Funds are insufficient: "
        f"{available:.2f} USD are available, {needed:.2f} USD are needed",
    )


def _active_orders(client: Client, request: Request, contract: Contract) -> Violation | None:
    side = request.text("action").upper() == "BUY"
    active = sum(
        order.open and order.contract.con_id == contract.con_id and order.buys == side
        for order in client.gateway.orders.every()
        if (order.client_id, order.order_id) != (client.client_id, request.integer("orderId"))
    )
    if active < _MOST_PER_SIDE:
        return None
    return Violation(
        201,
        f"Order rejected - reason:The account has {_MOST_PER_SIDE} active orders on this side of the contract already",
    )


_CHECKS: tuple[Check, ...] = (_id, _side, _kind, _quantity, _dates, _parent, _prices, _halted, _funds, _active_orders)
