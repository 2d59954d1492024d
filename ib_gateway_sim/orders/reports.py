"""What clients receive about an order without a request, and which. A client that has gone receives nothing.

The order of the messages is that of a real gateway's captured answers: wboayue/rust-ibapi (tests of orders, a market
order and a cancel), the research tests of nautilus_trader's adapter (a market and a limit order), ib_insync#554 (a
refusal), read 2026-11.
"""

from collections.abc import Callable

from ib_gateway_sim.clock import SECOND_NS
from ib_gateway_sim.orders import messages
from ib_gateway_sim.orders.delivery import deliver
from ib_gateway_sim.orders.order import Execution, Order
from ib_gateway_sim.session.gateway import Client, Gateway
from ib_gateway_sim.session.outbox import Message, error_frame

Word = Callable[[Client], bytes | None]
"""A message for the version of a client; None: not for this client."""


def listeners(gateway: Gateway, order: Order) -> list[Client]:
    """Who placed it, the master client, and client 0 where it receives others' orders."""
    settings, zero = gateway.settings, gateway.clients.get(0)
    ids = [order.client_id, settings.master_client]
    if zero is not None and (settings.client_zero == "all" or (order.manual and zero.binds_orders)):
        ids.append(0)
    return [gateway.clients[client_id] for client_id in dict.fromkeys(ids) if client_id in gateway.clients]


def say(gateway: Gateway, order: Order, *words: Word) -> None:
    """One event about an order, to all who listen."""
    gateway.unsaved = True
    if order.silent:
        return
    for client in listeners(gateway, order):
        frames = [word(client) for word in words]
        deliver(gateway, client, order.order_id, [Message.of(frame) for frame in frames if frame is not None])


# ---- words -----------------------------------------------------------------------------------------------------------
def opened(order: Order, *, fees: bool = False) -> Word:
    return lambda client: messages.open_order(order, client.version, fees=fees)


def status(order: Order) -> Word:
    return lambda _: messages.order_status(order)


def error(order: Order, code: int, text: str) -> Word:
    """Errors are for the client that placed the order alone."""

    def word(client: Client) -> bytes | None:
        if client.client_id != order.client_id:
            return None
        client.gateway.log("error", client, {"reqId": order.order_id, "code": code, "text": text})
        return error_frame(order.order_id, code, text, client.version)

    return word


# ---- events ----------------------------------------------------------------------------------------------------------
def send_order(gateway: Gateway, order: Order) -> None:
    """openOrder and orderStatus."""
    say(gateway, order, opened(order), status(order))


def send_execution(gateway: Gateway, execution: Execution, *, fees: bool = True) -> None:
    """execDetails, openOrder, orderStatus; for a full fill openOrder again, with its commission; commissionReport.

    `fees`: whether it has a commission of its own; that of an advisor's order comes with its shares.
    A fill of an order that is cancelled already makes no word about the order.
    """
    order, faults = execution.order, gateway.faults.orders
    execution.fee_known_s = fee_known_s(gateway, execution.at_s) if fees else float("inf")
    known = not execution.fee_known_s
    about: list[Word] = [] if order.status == "Cancelled" else [opened(order), status(order)]
    if order.status == "Filled":
        about.append(opened(order, fees=known))
    about.insert(0, lambda client: messages.execution(execution, -1, client.version))
    if known and faults.take("fee_first"):
        gateway.note("commission_first", order.client_id, order.order_id)
        about.insert(0, commission(execution))
    elif known:
        about.append(commission(execution))
    say(gateway, order, *about)
    if fees and not known:
        _delay_commission(gateway, execution)


def fee_known_s(gateway: Gateway, at_s: float) -> float:
    """When the commission of an execution becomes known; 0: with it."""
    delay_s = gateway.faults.orders.fee_delay_s
    return at_s + delay_s if delay_s else 0.0


def _delay_commission(gateway: Gateway, execution: Execution) -> None:
    gateway.note("commission_delay", execution.order.client_id, execution.order.order_id)
    send_commission_later(gateway, execution)


def commission(execution: Execution) -> Word:
    return lambda _: messages.commission_report(execution)


def send_commission_later(gateway: Gateway, execution: Execution) -> None:
    """At its time; at once where that is over, never where it has none."""
    if execution.fee_known_s < float("inf"):
        gateway.spawn(f"commission {execution.exec_id}", _send_commission(gateway, execution))


async def _send_commission(gateway: Gateway, execution: Execution) -> None:
    await gateway.clock.sleep_until(int(execution.fee_known_s * SECOND_NS))
    say(gateway, execution.order, commission(execution))


def send_fill_alone(gateway: Gateway, execution: Execution) -> None:
    """execDetails and commissionReport: a share of an advisor's order, which follows the order's own (LEAN's brokerage for
    IB), and a correction, which is an execDetails whose execId differs after the last dot alone (IB's API documentation)."""
    known = execution.fee_known(gateway.clock.now_s())
    words: list[Word] = [lambda client: messages.execution(execution, -1, client.version)]
    say(gateway, execution.order, *words, *([commission(execution)] if known else []))
    if not known:
        _delay_commission(gateway, execution)


def send_refusal(gateway: Gateway, order: Order, code: int, text: str) -> None:
    """The error first, then openOrder and orderStatus (Inactive)."""
    say(gateway, order, error(order, code, text), opened(order), status(order))


def send_error(gateway: Gateway, order: Order, code: int, text: str) -> None:
    say(gateway, order, error(order, code, text))
