"""The life of an order: accepted or refused, held, triggered, filled against the quotes, cancelled, remembered."""

import asyncio
import itertools
import sys
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING

from ib_gateway_sim.account.portfolio import commission, margin_rate, multiplier
from ib_gateway_sim.market.contracts import Contract
from ib_gateway_sim.market.generated import Quote
from ib_gateway_sim.orders import tickets
from ib_gateway_sim.orders.tickets import Execution, Order, Preview
from ib_gateway_sim.reference.requests import one_contract, text_date
from ib_gateway_sim.rules.limits import Moment, Violation, invalid, moment
from ib_gateway_sim.session.client import Client
from ib_gateway_sim.wire import codec

if TYPE_CHECKING:
    from ib_gateway_sim.session.server import Gateway

KINDS = ("MKT", "LMT", "STP", "STP LMT", "TRAIL")
TIMES_IN_FORCE = ("", "DAY", "GTC", "IOC", "FOK", "GTD")
_MOST_PER_SIDE = 20  # active orders of one contract and side, IB's limit
_LOOK_AHEAD_S = 12 * 86_400
_LOOK_S = 1.0  # between two looks at the market
READ_ONLY = invalid("The API interface is currently in Read-Only mode.")
_JOB_NUMBERS = itertools.count(1)


class OrderBook:
    """All orders of the account, whoever placed them; one task looks at the market while orders work."""

    def __init__(self, gateway: "Gateway") -> None:
        self._gateway = gateway
        self.orders: dict[tuple[int, int], Order] = {}  # (client id, order id) -> order, in the order of placing
        self.executions: list[Execution] = []
        self._perm_ids = itertools.count(1_600_000_001)
        self._watcher: asyncio.Task[None] | None = None

    def next_id(self, client_id: int) -> int:
        """Above every order id that this client has used; each client has a sequence of its own."""
        used = [order_id for owner, order_id in self.orders if owner == client_id]
        return max(used, default=self._gateway.settings.next_order_id - 1) + 1

    # ---- telling -------------------------------------------------------------------------------------------------
    def _owner(self, order: Order) -> Client | None:
        return self._gateway.clients.get(order.client_id)

    def tell(self, order: Order) -> None:
        """openOrder and orderStatus to the client that placed it."""
        client = self._owner(order)
        if client is not None:
            client.send_bytes(tickets.open_order(order, client.version))
            client.send_bytes(tickets.order_status(order))

    def error(self, order: Order, code: int, text: str) -> None:
        client = self._owner(order)
        if client is not None:
            client.error(order.order_id, code, text)

    # ---- placing -------------------------------------------------------------------------------------------------
    def place(self, client: Client, request: codec.Request, contract: Contract) -> None:
        key = (client.client_id, request.integer("orderId"))
        known = self.orders.get(key)
        if known is not None:
            self._modify(known, request)
        else:
            now_s = self._gateway.clock.now_s()
            account = self._gateway.market.account
            order = Order(request, contract, client.client_id, next(self._perm_ids), account, now_s)
            self.orders[key] = order
            if not request.flag("transmit"):
                return
            for each in self._family(order):
                if each.status == "PendingSubmit":
                    each.request.values["transmit"] = True
                    self._submit(each)
        self._watch()

    def _family(self, order: Order) -> list[Order]:
        """The order, its parent and its siblings: a transmitted child sends the whole bracket."""
        root = order.parent_id or order.order_id
        return [
            each
            for each in self.orders.values()
            if each.client_id == order.client_id and root in (each.order_id, each.parent_id)
        ]

    def _modify(self, order: Order, request: codec.Request) -> None:
        client_id = order.client_id
        if not order.open:
            code, what = (104, "a filled") if order.status == "Filled" else (201, "a cancelled")
            self._gateway.clients[client_id].error(order.order_id, code, f"Cannot modify {what} order.")
            return
        same = request.text("action").upper() == order.request.text("action").upper()
        if not same or request.number("totalQuantity") <= order.filled:
            self.error(order, 105, "Order being modified does not match original order")
            return
        order.request = request
        order.session = (0.0, 0.0)
        order.stop = None if order.kind == "TRAIL" and not order.triggered else order.stop
        if order.status == "PendingSubmit" and request.flag("transmit"):
            self._submit(order)
        else:
            self.tell(order)
            self._consider(order)

    def _submit(self, order: Order) -> None:
        """The order goes to the exchange, or waits for its opening, its parent or its trigger."""
        opens, order.expires_s = self._session(order, self._gateway.clock.now_s())
        if order.request.text("tif") == "GTD":
            until = good_till(self._gateway, order.request)
            order.expires_s = until.at_s if isinstance(until, Moment) else order.expires_s
        held = opens > self._gateway.clock.now_s()
        waits = held or self._parent_open(order) or order.kind in ("STP", "STP LMT", "TRAIL")
        order.move("PreSubmitted" if waits else "Submitted")
        self.tell(order)
        if held:
            at = text_date(opens, order.contract.time_zone).strftime("%Y-%m-%d %H:%M:%S")
            what = f"{'BUY' if order.buys else 'SELL'} {codec.text_of(order.quantity)} {order.contract.local_symbol}"
            zone = order.contract.time_zone
            self.error(
                order,
                399,
                f"Order Message:\n{what}\nWarning: your order will not be placed at the exchange until {at} {zone}",
            )
        self._consider(order)

    def _session(self, order: Order, at_s: float) -> tuple[float, float]:
        """Open and close of the session in which the order can trade at or after a time."""
        if order.session[0] <= at_s < order.session[1]:
            return order.session
        rth = order.contract.sec_type == "STK" and not order.request.flag("outsideRth")
        sessions = self._gateway.market.sessions(order.contract, at_s, at_s + _LOOK_AHEAD_S, rth=rth)
        if not sessions:
            return at_s + _LOOK_AHEAD_S, at_s + _LOOK_AHEAD_S
        order.session = (sessions[0].open_s, sessions[0].close_s)
        return order.session

    def _opens_s(self, order: Order) -> float:
        """When the order may trade: in the past, or the open of its next session."""
        return self._session(order, self._gateway.clock.now_s())[0]

    def _parent_open(self, order: Order) -> bool:
        parent = self.orders.get((order.client_id, order.parent_id)) if order.parent_id else None
        return parent is not None and parent.status != "Filled"

    # ---- working -------------------------------------------------------------------------------------------------
    def _watch(self) -> None:
        """Looks again from now on; a look that slept until some opening is given up."""
        if self._watcher is not None:
            self._watcher.cancel()
        self._watcher = asyncio.get_running_loop().create_task(self._work())

    async def _work(self) -> None:
        """Looks at the market every second while there is anything to fill."""
        while working := [order for order in self.orders.values() if order.open and order.status != "PendingSubmit"]:
            opens_s = min(self._opens_s(order) for order in working)
            now_s = self._gateway.clock.now_s()
            await self._gateway.clock.sleep(max(_LOOK_S, opens_s - now_s))
            for order in working:
                try:
                    self._expire(order)
                    self._consider(order)
                except Exception:  # a fault of the simulator must not stop the other orders
                    traceback.print_exc(file=sys.stderr)

    def close(self) -> None:
        if self._watcher is not None:
            self._watcher.cancel()

    def _expire(self, order: Order) -> None:
        """A day order ends with the session in which it could trade, a GTD order at its time."""
        if order.request.text("tif") not in ("", "DAY", "GTD") or not order.open:
            return
        if self._gateway.clock.now_s() >= order.expires_s:
            self.cancel(order, "")

    def _consider(self, order: Order) -> None:
        """Fills what the present quote allows."""
        weather = self._gateway.weather
        contract = order.contract
        if not order.open or order.status == "PendingSubmit" or self._parent_open(order) or not weather.upstream:
            return
        now_s = self._gateway.clock.now_s()
        if self._opens_s(order) > now_s:
            return
        quote = self._gateway.quote(contract, now_s)
        if not (quote.has_bid and quote.has_ask):
            return
        if not self._triggered(order, quote):
            return
        if order.status == "PreSubmitted":
            order.move("Submitted")
            self.tell(order)
        price, size = (quote.ask, quote.ask_size) if order.buys else (quote.bid, quote.bid_size)
        limit = order.request.number("lmtPrice") if order.kind in ("LMT", "STP LMT") else None
        marketable = limit is None or (price <= limit if order.buys else price >= limit)
        tif = order.request.text("tif")
        enough = size >= order.remaining or not (tif == "FOK" or order.request.flag("allOrNone"))
        if marketable and enough:
            self._fill(order, min(order.remaining, size), price)
        if order.open and tif in ("IOC", "FOK"):
            self.cancel(order, "")

    def _triggered(self, order: Order, quote: Quote) -> bool:
        """Stops are touched by the last trade, of currencies and CFDs by bid or ask; a trailing stop follows."""
        if order.kind in ("MKT", "LMT") or order.triggered:
            return True
        traded = quote.has_last and order.contract.kinds[0] == "TRADES"
        touch = quote.last if traded else quote.ask if order.buys else quote.bid
        if order.kind == "TRAIL":
            stop = self._trail(order, touch)
        else:
            stop = order.request.number("auxPrice")
        order.triggered = touch >= stop if order.buys else touch <= stop
        return order.triggered

    def _trail(self, order: Order, touch: float) -> float:
        percent = order.request.optional("trailingPercent")
        distance = abs(touch) * percent / 100 if percent else order.request.number("auxPrice")
        follows = round(touch + distance if order.buys else touch - distance, 8)
        if order.stop is None:
            order.stop = order.request.optional("trailStopPrice") or follows
        order.stop = min(order.stop, follows) if order.buys else max(order.stop, follows)
        return order.stop

    # ---- fills ---------------------------------------------------------------------------------------------------
    def _fill(self, order: Order, shares: float, price: float) -> None:
        gateway = self._gateway
        contract = order.contract
        order.filled = round(order.filled + shares, 10)
        order.paid += shares * price
        order.last_price = price
        if order.remaining == 0:
            order.move("Filled")
            order.done_s = gateway.clock.now_s()
        fee = commission(contract, shares, price)
        signed = shares if order.buys else -shares
        realized = gateway.portfolio.fill(contract, signed, price, fee, gateway.dollars(contract.currency))
        number = len(self.executions) + 1
        now_s = gateway.clock.now_s()
        zone = gateway.settings.login_zone
        time = text_date(now_s, zone).strftime("%Y%m%d %H:%M:%S ") + zone
        exchange = contract.primary_exchange or contract.exchange
        made = Execution(
            order,
            f"0000e0d5.{int(now_s):08x}.{number:02d}.01",
            now_s,
            time,
            exchange,
            shares,
            price,
            order.filled,
            order.average_price,
            fee,
            realized,
        )
        self.executions.append(made)
        client = self._owner(order)
        if client is not None:
            client.send_bytes(tickets.execution(made, -1, client.version))
            self.tell(order)
            client.send_bytes(tickets.commission_report(made))
        gateway.account_changed(contract)
        self._after_fill(order, shares)

    def _after_fill(self, order: Order, shares: float) -> None:
        """A full fill wakes the children and ends the group; a partial one may shrink the group."""
        group = self._group(order)
        reduces = order.request.integer("ocaType") in (2, 3) or not order.request.text("ocaGroup")
        for other in group:
            if order.status == "Filled" or not reduces:
                self.cancel(other, "")
            else:
                other.request.values["totalQuantity"] = other.quantity - shares
                self.tell(other)
        if order.status == "Filled":
            for child in list(self.orders.values()):
                if child.open and child.parent_id == order.order_id and child.client_id == order.client_id:
                    self._consider(child)

    def _group(self, order: Order) -> list[Order]:
        """Orders of which one cancels the others: an OCA group, or the children of one parent."""
        name = order.request.text("ocaGroup")
        return [
            other
            for other in self.orders.values()
            if other is not order
            and other.open
            and (
                (name and other.request.text("ocaGroup") == name)
                or (order.parent_id and other.parent_id == order.parent_id and other.client_id == order.client_id)
            )
        ]

    # ---- cancelling ----------------------------------------------------------------------------------------------
    def cancel(self, order: Order, reason: str) -> None:
        if not order.open:
            return
        order.move("Cancelled")
        order.done_s = self._gateway.clock.now_s()
        client = self._owner(order)
        if client is not None:
            client.send_bytes(tickets.order_status(order))
        self.error(order, 202, f"Order Canceled - reason:{reason}")
        for child in list(self.orders.values()):
            if child.open and child.parent_id == order.order_id and child.client_id == order.client_id:
                self.cancel(child, reason)

    def cancel_all(self) -> None:
        for order in list(self.orders.values()):
            self.cancel(order, "")


# ---- requests --------------------------------------------------------------------------------------------------------
def place_order(client: Client, request: codec.Request) -> None:
    # Two messages about one order are two jobs; they are worked in turn, because all wait equally long.
    client.start("order", next(_JOB_NUMBERS), _place(client, request))


async def _place(client: Client, request: codec.Request) -> None:
    gateway = client.gateway
    await gateway.wait(request.kind)
    contract = one_contract(client, request)
    problem = contract if isinstance(contract, Violation) else _problem(client, request, contract)
    if gateway.settings.read_only:
        problem = READ_ONLY
    if problem is not None:
        client.refuse(request.integer("orderId"), problem)
    elif not isinstance(contract, Violation):
        if request.flag("whatIf"):
            _preview(client, request, contract)
        else:
            gateway.orders.place(client, request, contract)


def _problem(client: Client, request: codec.Request, contract: Contract) -> Violation | None:
    """What the gateway checks before it takes an order."""
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


def good_till(gateway: "Gateway", request: codec.Request) -> Moment | Violation:
    return moment(
        request.text("goodTillDate"),
        field_name="Good Till Date",
        login_zone=gateway.settings.login_zone,
        now_s=gateway.clock.now_s(),
    )


def _on_tick(price: float, tick: float) -> bool:
    steps = price / tick
    return abs(steps - round(steps)) < 1e-6 * max(1.0, abs(steps))


def _funds(client: Client, request: codec.Request, contract: Contract) -> Violation | None:
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


def _crowd(client: Client, request: codec.Request, contract: Contract) -> Violation | None:
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


def _preview(client: Client, request: codec.Request, contract: Contract) -> None:
    """A what-if order: margin before and after, and no order."""
    gateway = client.gateway
    totals = gateway.totals()
    price = request.optional("lmtPrice") or gateway.mark(contract)
    quantity = request.number("totalQuantity")
    signed = quantity if request.text("action").upper() == "BUY" else -quantity
    held = gateway.portfolio.positions.get(contract.con_id)
    before = held.quantity if held else 0.0
    more = (abs(before + signed) - abs(before)) * abs(price) * multiplier(contract) * gateway.dollars(contract.currency)
    fee = commission(contract, quantity, price)
    order = Order(request, contract, client.client_id, 0, gateway.market.account, gateway.clock.now_s(), "PreSubmitted")
    margin = round(totals.margin, 2), round(totals.margin + more * margin_rate(contract), 2)
    preview = Preview(*margin, round(totals.net, 2), round(totals.net - fee, 2), fee)
    client.send_bytes(tickets.open_order(order, client.version, preview))


def cancel_order(client: Client, request: codec.Request) -> None:
    client.start("order", next(_JOB_NUMBERS), _cancel(client, request))


async def _cancel(client: Client, request: codec.Request) -> None:
    gateway = client.gateway
    await gateway.wait(request.kind)
    order_id = request.integer("orderId")
    order = gateway.orders.orders.get((client.client_id, order_id))
    if gateway.settings.read_only:
        client.refuse(order_id, READ_ONLY)
    elif order is None:
        client.error(order_id, 10147, f"OrderId {order_id} that needs to be cancelled is not found.")
    elif not order.open:
        text = f"OrderId {order_id} that needs to be cancelled cannot be cancelled, state: {order.status}."
        client.error(order_id, 10148, text)
    else:
        gateway.orders.cancel(order, "")


def global_cancel(client: Client, request: codec.Request) -> None:
    if client.gateway.settings.read_only:
        client.refuse(-1, READ_ONLY)
    else:
        client.gateway.orders.cancel_all()


def req_open_orders(client: Client, request: codec.Request) -> None:
    _send_open(client, [order for order in _all(client) if order.client_id == client.client_id])


def req_all_open_orders(client: Client, request: codec.Request) -> None:
    _send_open(client, _all(client))


def _all(client: Client) -> list[Order]:
    return [order for order in client.gateway.orders.orders.values() if order.open]


def _send_open(client: Client, orders: list[Order]) -> None:
    for order in orders:
        client.send_bytes(tickets.open_order(order, client.version))
        client.send_bytes(tickets.order_status(order))
    client.send(53, 1)


def req_auto_open_orders(client: Client, request: codec.Request) -> None:
    if client.client_id != 0 and request.flag("bind"):
        client.error(-1, 327, "Only API connections with clientId set to 0 can set the auto bind property.")


def req_completed_orders(client: Client, request: codec.Request) -> None:
    zone = client.gateway.settings.login_zone
    for order in client.gateway.orders.orders.values():
        if not order.open:
            time = text_date(order.done_s, zone).strftime("%Y%m%d %H:%M:%S ") + zone
            client.send_bytes(tickets.completed_order(order, client.version, time))
    client.send(102)


def req_executions(client: Client, request: codec.Request) -> None:
    """Executions of the day that fit the filter; their commissions behind them."""
    wanted = [made for made in client.gateway.orders.executions if _fits(client, request, made)]
    for made in wanted:
        client.send_bytes(tickets.execution(made, request.request_id, client.version))
        client.send_bytes(tickets.commission_report(made))
    client.send(55, 1, request.request_id)


def _fits(client: Client, request: codec.Request, made: Execution) -> bool:
    zone = client.gateway.settings.login_zone
    today = text_date(client.gateway.clock.now_s(), zone).date()
    contract = made.order.contract
    side = {"BUY": "BUY", "BOT": "BUY", "SELL": "SELL", "SLD": "SELL"}.get(request.text("side").upper(), "")
    since = request.text("time").replace("-", " ").split()
    return (
        text_date(made.at_s, zone).date() == today
        and request.integer("clientId") in (0, made.order.client_id)
        and request.text("account") in ("", made.order.account)
        and request.text("symbol").upper() in ("", contract.symbol)
        and request.text("secType") in ("", contract.sec_type)
        and request.text("exchange") in ("", made.exchange, contract.exchange)
        and side in ("", "BUY" if made.order.buys else "SELL")
        and (not since or " ".join(made.time.split()[:2]) >= " ".join(since[:2]))
    )


HANDLERS: dict[str, Callable[[Client, codec.Request], None]] = {
    "placeOrder": place_order,
    "cancelOrder": cancel_order,
    "reqGlobalCancel": global_cancel,
    "reqOpenOrders": req_open_orders,
    "reqAllOpenOrders": req_all_open_orders,
    "reqAutoOpenOrders": req_auto_open_orders,
    "reqCompletedOrders": req_completed_orders,
    "reqExecutions": req_executions,
}
