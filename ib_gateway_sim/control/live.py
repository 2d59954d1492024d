"""Faults of live data: bars that differ from history, and history that changes afterwards."""

from typing import Any

from ib_gateway_sim.control.command import commands
from ib_gateway_sim.control.context import Context
from ib_gateway_sim.control.farms import silence
from ib_gateway_sim.control.values import Answer, Wrong, choice, count, number, whole
from ib_gateway_sim.faults.live import EVERY, PERMISSIONS, Late, Missing, OddLots, Steps, names_of
from ib_gateway_sim.faults.notices import BUST
from ib_gateway_sim.faults.revisions import kind_of
from ib_gateway_sim.market.contracts import Contract, ContractQuery
from ib_gateway_sim.session.jobs import LIVE_BARS, REAL_TIME_BARS

STREAM_KINDS = {
    EVERY: "",
    "quotes": "market data",
    "bars": REAL_TIME_BARS,
    "keep_up_to_date": LIVE_BARS,
    "ticks": "tick by tick",
    "depth": "depth",
}


def late(control: Context, symbol: str, share: Any, seconds: Any = 0, into: str = "forming") -> None:
    """a share (0 to 1) of the trades reaches live bars so many seconds late, 0: never; history has them at their time.
    into: the bar that is forming then, or own: keepUpToDate tells the trade's own bar again. Share 0 ends it"""
    part, wait_s = number("share", share, 0, 1), number("seconds", seconds, 0, 3600)
    fault = Late(part, wait_s, choice("into", into, ["forming", "own"]), control.gateway.clock.now_s())
    _set(control, control.gateway.faults.live.late, symbol, fault, part)


def odd_lots(control: Context, symbol: str, share: Any = 0.1) -> None:
    """live volume is above history's by about this share; 0 ends it"""
    part = number("share", share, 0, 10)
    _set(control, control.gateway.faults.live.odd_lots, symbol, OddLots(part, control.gateway.clock.now_s()), part)


def step_volume(control: Context, symbol: str, on: str = "on") -> None:
    """live volume comes in steps of 30 s, which do not end with a minute (on), or with its trades (off)"""
    wanted = choice("on", on, ["on", "off"]) == "on"
    _set(control, control.gateway.faults.live.steps, symbol, Steps(control.gateway.clock.now_s()), wanted)


def missing_bars(control: Context, symbol: str, share: Any = 0.1) -> None:
    """a share (0 to 1) of the live bars never comes: bars of 5 seconds, whole bars of keepUpToDate; 0 ends it"""
    part = number("share", share, 0, 1)
    _set(control, control.gateway.faults.live.missing, symbol, Missing(part, control.gateway.clock.now_s()), part)


def revise(control: Context, symbol: str, n: Any = 1) -> Answer:
    """history changes in the last n minutes that are over; the answer tells each as it was and is. `clear` keeps it"""
    gateway = control.gateway
    contract = _contract(control, symbol)
    now_s = gateway.clock.now_s()
    wanted = max(1, whole("n", n, 1, 1440))
    starts = gateway.revisions.minutes(gateway.market, contract, now_s, wanted)
    was = [_minute(control, contract, start_s, now_s) for start_s in starts]
    gateway.revisions.add(gateway.market, contract, starts)
    now = [_minute(control, contract, start_s, now_s) for start_s in starts]
    return {"minutes": [{"t": t, "was": old, "now": new} for t, old, new in zip(starts, was, now, strict=True)]}


def bust(control: Context, symbol: str = EVERY) -> Answer:
    """bars of 5 seconds and keepUpToDate end with 10225, by symbol or all; a new one for the same contract and kind is
    refused until the old id is cancelled"""
    name = symbol if symbol == EVERY else known(control, symbol)
    ended = 0
    for client in control.gateway.clients.values():
        for (family, request_id), stream in client.jobs.streams():
            if family in (REAL_TIME_BARS, LIVE_BARS) and name in (EVERY, *names_of(stream.contract)):
                client.jobs.stop(family, request_id)
                client.dead[family, request_id] = stream.series
                client.error(request_id, *BUST)
                ended += 1
    return {"ended": ended}


def mute(control: Context, symbol: str, kind: str = EVERY) -> Answer:
    """the streams of a symbol that are open never speak again, of a kind or all, without any message; a new one does"""
    name = symbol if symbol == EVERY else known(control, symbol)
    family = STREAM_KINDS[choice("kind", kind, list(STREAM_KINDS))]
    muted = silence(
        control.gateway,
        lambda each, of: family in ("", each) and name in (EVERY, *names_of(of)),
    )
    return {"muted": muted}


def live_delay(control: Context, ms: Any, jitter: Any = 0) -> None:
    """all live data come so many milliseconds late, and up to jitter milliseconds more; 0 ends it"""
    live = control.gateway.faults.live
    live.delay_ms, live.jitter_ms = number("ms", ms, 0, 600_000), number("jitter", jitter, 0, 600_000)


def permission(control: Context, symbol: str, level: str) -> None:
    """what the login may see of a symbol from the next request on: full; none (354), api (10089) or not_enabled (10168),
    each with delayed data on request (10167); no_delayed (354, 10186); part (10090) or part_api (10091): no bid and ask"""
    name = symbol if symbol == EVERY else known(control, symbol)
    control.gateway.faults.live.permissions[name] = choice("level", level, list(PERMISSIONS))


def take_lines(control: Context, n: Any) -> None:
    """TWS itself uses so many of the market data lines; 0: none"""
    control.gateway.faults.live.taken_lines = count("n", n)


def _minute(control: Context, contract: Contract, start_s: int, now_s: float) -> dict[str, Any]:
    """A minute as history tells it now."""
    what = kind_of(contract)
    (bar,) = control.gateway.history_bars(
        contract, "1m", what, rth=False, start_s=start_s, end_s=start_s + 60, now_s=now_s
    )
    return {name: value for name, value in bar._asdict().items() if name != "t"}


def _set(control: Context, table: dict[str, Any], symbol: str, fault: Any, wanted: Any) -> None:
    """Sets a fault for an instrument, or takes it away."""
    name = symbol if symbol == EVERY else known(control, symbol)
    control.gateway.faults.live.put(table, name, fault if wanted else None)


def known(control: Context, symbol: str) -> str:
    """The name of an instrument as it is listed. Raises Wrong for one that nobody can ask for."""
    name = symbol.upper()
    if not _found(control, name):
        raise Wrong(f"symbol {symbol!r}; allowed: one of this market, as AAPL, ESH6 or EUR/USD, or {EVERY}")
    return name


def _contract(control: Context, symbol: str) -> Contract:
    """The one instrument that a name means: the front month of a future, the stock rather than its options."""
    found = _found(control, symbol.upper())
    if not found:
        raise Wrong(f"symbol {symbol!r}; allowed: one of this market, as AAPL, ESH6 or EUR/USD")
    first = found[0]
    return min(found, key=lambda one: (one.sec_type != first.sec_type, one.last_trade_date))


def _found(control: Context, name: str) -> list[Contract]:
    market, now_s = control.gateway.market, control.gateway.clock.now_s()
    pair, _, currency = name.partition("/")
    queries = (
        ContractQuery(symbol=pair, sec_type="CASH", currency=currency) if currency else ContractQuery(symbol=name),
        ContractQuery(local_symbol=name),
    )
    found = [one for query in queries for one in market.find(query, now_s)]
    return [one for one in found if name in names_of(one) and one.sec_type != "CFD"]


COMMANDS = commands(late, odd_lots, step_volume, missing_bars, revise, bust, mute, live_delay, permission, take_lines)
