"""Faults of IB's servers: farms, the line to IB, the nightly reset, live updates, a competing session."""

from collections.abc import Callable
from typing import Any

from ib_gateway_sim.control.command import commands
from ib_gateway_sim.control.context import Context
from ib_gateway_sim.control.values import Answer, choice, number
from ib_gateway_sim.faults.farms import farm_for
from ib_gateway_sim.faults.notices import COMPETING, LIVE_LOST, LOST, RESTORED, RESTORED_EMPTY
from ib_gateway_sim.market.contracts import Contract
from ib_gateway_sim.orders.outage import catch_up
from ib_gateway_sim.session.gateway import Gateway
from ib_gateway_sim.session.jobs import LIVE_BARS


def farm_down(control: Context, farm: str) -> Answer:
    """a farm breaks, by name, or all of a kind: data hmds secdef; or all"""
    return _farm(control, farm, "broken")


def farm_up(control: Context, farm: str) -> Answer:
    """a farm is back"""
    return _farm(control, farm, "ok")


def farm_inactive(control: Context, farm: str) -> Answer:
    """a farm sleeps until a request needs it (2107, 2108)"""
    return _farm(control, farm, "inactive")


def farm_flap(control: Context, farm: str, seconds: Any = 3, streams: str = "alive") -> Answer:
    """a farm breaks and is back after so many seconds; market data farms say first that they connect (2119). Its streams:
    alive, or dead: they never speak again, without a word, and hold their ids and lines until they are cancelled"""
    wait_s = number("seconds", seconds, 0, 1e6)
    dead = choice("streams", streams, ["alive", "dead"]) == "dead"
    answer = _farm(control, farm, "broken")
    if dead:
        answer["dead"] = silence(control.gateway, lambda family, of: _farm_of(family, of) in answer["farms"])

    async def back() -> None:
        for name in answer["farms"]:
            if control.gateway.faults.farms[name].kind == "data":
                _farm(control, name, "connecting")
        _farm(control, farm, "ok")

    control.later(wait_s, back)
    return answer


def _farm_of(family: str, of: Contract) -> str:
    """The farm that a stream comes from."""
    return farm_for("hmds" if family == LIVE_BARS else "data", of.sec_type, of.currency)


def silence(gateway: Gateway, which: Callable[[str, Contract], bool]) -> int:
    """Streams of all clients, by family and contract, never speak again, without any message. How many."""
    found = [
        (client, key)
        for client in gateway.clients.values()
        for key, stream in client.jobs.streams()
        if which(key[0], stream.contract)
    ]
    for client, key in found:
        client.jobs.silence(*key)
    return len(found)


def _farm(control: Context, name: str, state: str) -> Answer:
    farms = control.gateway.faults.farms
    choice("farm", name, [*farms, "data", "hmds", "secdef", "all"])
    changed = [farm for farm in farms.values() if name in (farm.name, farm.kind, "all")]
    for farm in changed:
        farm.state = "ok" if state == "inactive" and farm.kind == "secdef" else state
        control.gateway.broadcast(*farm.notice())
    control.gateway.faults.touch()
    return {"farms": [farm.name for farm in changed]}


def lost(control: Context, orders: str = "hold", fills: str = "late") -> None:
    """the line to IB is gone: 1100, and nothing that needs IB is answered. Orders sent meanwhile: hold (worked when it is
    back), lose, work (answered as if it were there); orders at the exchange: late (they fill, messages when it is back), none"""
    faults, orders_faults = control.gateway.faults, control.gateway.faults.orders
    orders_faults.outage = choice("orders", orders, ["hold", "lose", "work"])
    orders_faults.outage_fills = choice("fills", fills, ["late", "none"])
    if faults.upstream:
        orders_faults.outage_from_s = control.gateway.clock.now_s()
    faults.upstream = False
    control.gateway.broadcast(*LOST)
    faults.touch()


def restored(control: Context, data: str = "maintained", streams: str = "alive") -> None:
    """the line is back: data maintained (1102) or lost (1101, subscriptions are dead). Streams: alive, or mute: after
    1102 they never speak again"""
    kept = choice("data", data, ["maintained", "lost"]) == "maintained"
    mute = choice("streams", streams, ["alive", "mute"]) == "mute"
    was_upstream, control.gateway.faults.upstream = control.gateway.faults.upstream, True
    if not kept:
        for client in control.gateway.clients.values():
            client.jobs.stop_streams()
    if mute:
        silence(control.gateway, lambda *_: True)
    control.gateway.broadcast(*(RESTORED if kept else RESTORED_EMPTY))
    if not was_upstream:
        catch_up(control.gateway, control.gateway.faults.orders)
    control.gateway.faults.touch()


def reset_window(control: Context, seconds: Any = 90, data: str = "maintained", streams: str = "alive") -> None:
    """IB's nightly reset: farms break, 1100, and after so many seconds all is back, as `restored` says"""
    wait_s = number("seconds", seconds, 0, 1e6)
    choice("data", data, ["maintained", "lost"])
    choice("streams", streams, ["alive", "mute"])
    _farm(control, "all", "broken")
    lost(control)

    async def back() -> None:
        restored(control, data, streams)
        _farm(control, "all", "ok")

    control.later(wait_s, back)


def live_lost(control: Context) -> Answer:
    """live updates die (10182): keepUpToDate requests and tick-by-tick streams; the socket stays"""
    return {"ended": sum(client.fail_streams(*LIVE_LOST) for client in control.gateway.clients.values())}


def competing(control: Context, on: str = "on") -> None:
    """the user is logged in elsewhere (on) or no longer (off): 10197 for market data, 162 for history"""
    control.gateway.faults.competing = choice("on", on, ["on", "off"]) == "on"
    if control.gateway.faults.competing:
        for client in control.gateway.clients.values():
            client.fail_streams(*COMPETING)


COMMANDS = commands(
    farm_down,
    farm_up,
    farm_inactive,
    farm_flap,
    lost,
    restored,
    reset_window,
    live_lost,
    competing,
)
