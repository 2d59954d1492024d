"""Faults of orders: words that are late, lost or doubled, orders that vanish, are refused or held, ids that are given anew."""

from typing import Any

from ib_gateway_sim.control.command import commands
from ib_gateway_sim.control.context import Context
from ib_gateway_sim.control.values import Answer, Wrong, choice, count, number, whole
from ib_gateway_sim.faults.orders import Rejection

_FOREVER_S = 1e9


# ---- words about orders ----------------------------------------------------------------------------------------------
def ack_delay(control: Context, seconds: Any) -> None:
    """words about orders come so many seconds later; 0 is normal"""
    control.gateway.faults.orders.delay_s = number("seconds", seconds, 0, 1e6)


def ack_lose(control: Context, n: Any = 1) -> None:
    """the next n orders are placed, and nothing that this makes IB say is sent; they live"""
    control.gateway.faults.orders.mute = count("n", n)


def status_duplicate(control: Context, n: Any = 1, seconds: Any = 0) -> None:
    """the next n orderStatus messages come twice, the second time so many seconds later, whatever came meanwhile"""
    faults = control.gateway.faults.orders
    faults.duplicate, faults.duplicate_s = count("n", n), number("seconds", seconds, 0, 1e6)


def status_skip(control: Context, n: Any = 1) -> None:
    """the next n orderStatus messages never come"""
    control.gateway.faults.orders.skip = count("n", n)


def shuffle(control: Context, n: Any = 1) -> None:
    """the messages of the next n events about orders come in another order, drawn from the seed"""
    control.gateway.faults.orders.shuffle = count("n", n)


def master(control: Context, client_id: Any) -> None:
    """the master client, which receives the messages about everybody's orders; off: none"""
    off = client_id == "off"
    control.gateway.settings.master_client = -1 if off else whole("client_id", client_id, 0, 2**31)


# ---- what becomes of orders ------------------------------------------------------------------------------------------
def eat_order(control: Context, n: Any = 1) -> None:
    """the next n orders are read and forgotten: they never existed, and their ids are not used"""
    control.gateway.faults.orders.eat = count("n", n)


def reject_order(control: Context, code: Any, text: str, how: str = "error") -> None:
    """the next order is refused with words of your choice: error alone, or with the status inactive or cancelled"""
    entry = Rejection(count("code", code), text, choice("how", how, ["error", "inactive", "cancelled"]))
    control.gateway.faults.orders.rejections.append(entry)


def what_if_lose(control: Context, n: Any = 1) -> None:
    """the next n what-if orders get no answer"""
    control.gateway.faults.orders.silent_what_ifs = count("n", n)


def what_if_refuse(control: Context, code: Any, text: str) -> None:
    """the next what-if order is refused with words of your choice"""
    control.gateway.faults.orders.what_if_refusals.append(Rejection(count("code", code), text, "error"))


def margin(control: Context, factor: Any) -> None:
    """orders need so many times the margin; 1 is normal"""
    control.gateway.faults.orders.margin_factor = number("factor", factor, 0, 1e6)


def locate(control: Context, seconds: Any) -> None:
    """the next short sale waits so long for its shares: 404, and Inactive with whyHeld locate"""
    control.gateway.faults.orders.locates.append(number("seconds", seconds, 0, 1e6))


def halt(control: Context, symbol: str, seconds: Any = _FOREVER_S) -> None:
    """an instrument is halted for so long (tick 49): nothing fills, orders are refused (154) or held; 0 ends it"""
    found = [contract.symbol for contract in control.gateway.market.search(symbol, control.gateway.clock.now_s())]
    if symbol not in found:
        raise Wrong(f"symbol {symbol!r}; allowed: an instrument of this market, as AAPL")
    wait_s = number("seconds", seconds, 0, _FOREVER_S)
    now_s = control.gateway.clock.now_s()
    control.gateway.faults.orders.halts[symbol] = (now_s, now_s + wait_s)


def precaution(control: Context, n: Any = 1) -> None:
    """the next n orders wait in the gateway, without a word, for somebody to click a warning away"""
    control.gateway.faults.orders.precautions = count("n", n)


def preset(control: Context, field: str, value: str) -> None:
    """the gateway's order preset: every order gets this tif, which it says with 10349; off: none"""
    choice("field", field, ["tif"])
    presets = control.gateway.faults.orders.presets
    presets.pop(field, None)
    if choice("value", value, ["DAY", "GTC", "IOC", "off"]) != "off":
        presets[field] = value


def read_only(control: Context, on: str = "on") -> None:
    """the gateway's box Read-Only API is ticked (on) or not (off)"""
    control.gateway.settings.read_only = choice("on", on, ["on", "off"]) == "on"


# ---- ids -------------------------------------------------------------------------------------------------------------
def ids_rollback(control: Context, n: Any) -> Answer:
    """the next order ids of all clients are so many lower, as after a restart that lost orders"""
    control.gateway.orders.roll_back(count("n", n))
    control.gateway.unsaved = True
    return _next_ids(control)


def ids_reset(control: Context) -> Answer:
    """the sequence of order ids starts anew for all clients; open orders keep theirs"""
    control.gateway.orders.read_ids.clear()
    control.gateway.orders.known_ids.clear()
    control.gateway.unsaved = True
    return _next_ids(control)


def _next_ids(control: Context) -> Answer:
    book = control.gateway.orders
    known = sorted({*book.read_ids, *control.gateway.clients})
    return {"next_ids": {str(client_id): book.next_id(client_id) for client_id in known}}


COMMANDS = commands(
    ack_delay,
    ack_lose,
    status_duplicate,
    status_skip,
    shuffle,
    master,
    eat_order,
    reject_order,
    what_if_lose,
    what_if_refuse,
    margin,
    locate,
    halt,
    precaution,
    preset,
    read_only,
    ids_rollback,
    ids_reset,
)
