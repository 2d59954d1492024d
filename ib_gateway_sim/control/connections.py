"""Faults of connections: sockets that die, ports that are closed, restarts, logins that are missing."""

import datetime as dt
import re
from functools import partial
from typing import Any

from ib_gateway_sim.clock import SECOND_NS
from ib_gateway_sim.control.command import commands
from ib_gateway_sim.control.context import Context
from ib_gateway_sim.control.values import Answer, Wrong, choice, number
from ib_gateway_sim.orders.restarting import restart as restart_orders
from ib_gateway_sim.times import text_date


def drop(control: Context, client_id: Any = None) -> Answer:
    """drops the socket of a client, or all sockets, also of those that have not signed in"""
    dropped = control.connections(client_id)
    for client in dropped:
        client.abort()
    return {"dropped": len(dropped)}


def half_open(control: Context, client_id: Any = None) -> Answer:
    """a client's socket, or all (also of those that have not signed in), stays open and nothing comes or goes any more"""
    muted = control.connections(client_id)
    for client in muted:
        client.outbox.mute()
    return {"muted": len(muted)}


async def accept(control: Context, how: str) -> None:
    """new connections: yes, refuse (port closed), close (accepted, then closed), mute (accepted, no word)"""
    await control.server.accept(choice("how", how, ["yes", "refuse", "close", "mute"]))


def hold_ids(control: Context, seconds: Any) -> None:
    """a client id stays in use (326) for so long after its socket is gone"""
    control.gateway.faults.hold_ids_s = number("seconds", seconds, 0, 1e6)


async def restart(control: Context, seconds: Any = 60, how: str = "refuse") -> None:
    """the gateway restarts: all sockets drop, and for so many seconds nobody gets in (as in accept); orders that were read
    and not worked yet are lost, and so are untransmitted ones"""
    choice("how", how, ["refuse", "close", "mute"])
    wait_s = number("seconds", seconds, 0, 1e6)
    await _down(control, how)
    control.later(wait_s, partial(_restarted, control))


def restart_daily(control: Context, at: str, seconds: Any = 60, how: str = "refuse") -> Answer:
    """restarts each day at HH:MM of the login zone"""
    match = re.fullmatch(r"([01]?[0-9]|2[0-3]):([0-5][0-9])", at)
    if match is None:
        raise Wrong(f"at {at!r}; allowed: HH:MM, as 23:45")
    wait_s = number("seconds", seconds, 0, 80_000)
    choice("how", how, ["refuse", "close", "mute"])

    async def every_day() -> None:
        while True:
            await control.gateway.clock.sleep_until(_next_ns(control, int(match[1]), int(match[2])))
            await _down(control, how)
            await control.gateway.clock.sleep(wait_s)
            await _restarted(control)

    control.spawn(every_day())
    return {"next_ns": _next_ns(control, int(match[1]), int(match[2]))}


async def login_needed(control: Context, how: str = "refuse") -> None:
    """the weekly login is due: all sockets drop and nobody gets in until `login`"""
    control.login_missing = choice("how", how, ["refuse", "close", "mute"])
    await _down(control, how)


async def login(control: Context) -> None:
    """somebody has logged in"""
    control.login_missing = ""
    await _restarted(control)


def _next_ns(control: Context, hour: int, minute: int) -> int:
    now = text_date(control.gateway.clock.now_s(), control.gateway.settings.login_zone)
    at = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    while at <= now:
        at += dt.timedelta(days=1)
    return int(at.timestamp()) * SECOND_NS


async def _down(control: Context, how: str) -> None:
    await control.server.accept(how)
    for client in control.server.connected():
        client.forgotten = True
        client.abort()
    restart_orders(control.gateway)


async def _restarted(control: Context) -> None:
    """A restart is no login: where one is missing nobody gets in still."""
    await control.server.accept(control.login_missing or "yes")


COMMANDS = commands(
    drop,
    half_open,
    accept,
    hold_ids,
    restart,
    restart_daily,
    login_needed,
    login,
)
