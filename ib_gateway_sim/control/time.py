"""Commands of the market clock, and of the market itself."""

from typing import Any

from ib_gateway_sim.clock import SECOND_NS
from ib_gateway_sim.control.command import commands
from ib_gateway_sim.control.context import Context
from ib_gateway_sim.control.values import Answer, Wrong, number, parse_time_ns, whole
from ib_gateway_sim.market.contracts import ContractQuery


def clock(control: Context) -> Answer:
    """the clock: now_ns, rate, mode"""
    return control.gateway.clock.describe()


async def set_clock(control: Context, time: Any) -> Answer:
    """jumps to a time (RFC 3339 with offset, or ns); what is overdue happens once, at the new time"""
    await control.gateway.clock.set(parse_time_ns(time))
    return control.gateway.clock.describe()


async def advance(control: Context, seconds: Any) -> Answer:
    """moves on; everything on the way happens at its own time"""
    await control.gateway.clock.advance(number("seconds", seconds, 0, 3.2e9))
    return control.gateway.clock.describe()


def rate(control: Context, rate: Any) -> Answer:
    """market seconds per machine second from now on; 0 stands still"""
    control.gateway.clock.set_rate(number("rate", rate, 0, 1e6))
    return control.gateway.clock.describe()


def split(control: Context, symbol: str, ratio: Any, time: Any = None) -> Answer:
    """one share becomes several from the next session on (or the first after a time); history is adjusted then"""
    at_s = control.gateway.clock.now_s() if time is None else parse_time_ns(time) / SECOND_NS
    query = ContractQuery(symbol=symbol, sec_type="STK", exchange="SMART")
    found = control.gateway.market.find(query, control.gateway.clock.now_s())
    if len(found) != 1:
        raise Wrong(f"symbol {symbol!r}; allowed: a stock of this market, as AAPL")
    opens_s = control.gateway.market.split(found[0], whole("ratio", ratio, 2, 100), at_s)
    return {"from_ns": opens_s * SECOND_NS}


COMMANDS = commands(
    clock,
    set_clock,
    advance,
    rate,
    split,
)
