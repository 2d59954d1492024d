"""Commands that ask: what came in, who is connected, what is set."""

from typing import Any

from ib_gateway_sim.control.command import commands
from ib_gateway_sim.control.context import Context
from ib_gateway_sim.control.values import KINDS, Answer, choice, count, whole
from ib_gateway_sim.wire.messages import GREETING, MESSAGES

SENT_KINDS = sorted([*MESSAGES.values(), GREETING])


def received(control: Context, kind: str = "", last: Any = 100_000, since_ns: Any = 0, client_id: Any = None) -> Answer:
    """what clients sent, of a kind (error: errors that they received; fault: what an order met; `all`), since a time, by a
    client: kind, client_id, time_ns, fields"""
    since = whole("since_ns", since_ns, 0, 2**62)
    wanted_kind = choice("kind", kind or "all", ["all", "error", "fault", "malformed", *KINDS]).replace("all", "")
    client = _client(client_id)
    entries = [entry for entry in control.gateway.received if entry["time_ns"] >= since]
    entries = [entry for entry in entries if client in (None, entry["client_id"])]
    wanted = [entry for entry in entries if wanted_kind in ("", entry["kind"])]
    return {"received": wanted[-max(1, count("last", last)) :], "count": len(wanted)}


def sent(control: Context, kind: str = "", client_id: Any = None, last: Any = 100_000, since_ns: Any = 0) -> Answer:
    """what the gateway sent, of a kind (`all`: of every kind), to a client: kind, client_id, time_ns, fields, cut"""
    wanted = choice("kind", kind or "all", ["all", *SENT_KINDS])
    client = _client(client_id)
    since = whole("since_ns", since_ns, 0, 2**62)
    found = control.gateway.sent.entries(wanted.replace("all", ""), client, since)
    return {"sent": found[-max(1, count("last", last)) :], "count": len(found)}


def _client(client_id: Any) -> int | None:
    """-1: a connection that has not signed in, or manual orders; None: all clients."""
    return None if client_id in (None, "all") else whole("client_id", client_id, -1, 2**31)


def forget(control: Context) -> None:
    """empties the records of what was received and sent"""
    control.gateway.received.clear()
    control.gateway.sent.kinds.clear()


def clients(control: Context) -> Answer:
    """who is connected: client id, version, open work"""
    return {
        "clients": [
            {"client_id": each.client_id, "version": each.version, "open": len(each.jobs)}
            for each in control.gateway.clients.values()
        ]
    }


def weather(control: Context) -> Answer:
    """what is set"""
    faults = control.gateway.faults
    return {
        "farms": {farm.name: farm.state for farm in faults.farms.values()},
        "upstream": faults.upstream,
        "accepting": faults.accepting,
        "silent": dict(+faults.silent),
        "history_errors": list(faults.history_errors),
        "orders": dict(faults.orders.left()),
        "live": faults.live.describe(),
        "latency": control.gateway.latency.mode,
        "slow": control.gateway.latency.factor,
    }


def volume_unit(control: Context) -> Answer:
    """stocks: in which unit clients from version 175 on get historical volumes of US stocks, shares or lots"""
    return {"stocks": control.gateway.settings.volume}


COMMANDS = commands(
    received,
    sent,
    forget,
    clients,
    weather,
    volume_unit,
)
