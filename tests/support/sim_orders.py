"""Orders as a client of bare fields sends them, and what it is told of them."""

import asyncio
from typing import Any

from tests.support.sim_client import AAPL, RawClient, gateway

MORE_ARGUMENTS: dict[str, Any] = {
    "tif": "DAY",
    "ref": "ref",
    "transmit": 1,
    "parent": 0,
    "oca": "",
    "oca_type": 0,
    "rth": 0,
    "trail": "",
    "percent": "",
    "good_till": "",
    "good_after": "",
    "algo": (),
    "what_if": 0,
    "account": "",
    "conditions": (),
    "ignore_rth": 0,
    "cancels": 0,
}


def order(client, order_id, action="BUY", quantity=100, kind="MKT", limit="", aux="", contract=AAPL, **other):
    """Sends placeOrder as a client of version 178 does. conditions: (kind, conjunction, fields...) each."""
    assert client.version == 178
    assert set(other) <= set(MORE_ARGUMENTS)
    named = MORE_ARGUMENTS | other
    conditions = [len(named["conditions"]), *[field for each in named["conditions"] for field in each]]
    if named["conditions"]:
        conditions += [named["ignore_rth"], named["cancels"]]
    client.send(
        *[3, order_id, *contract, "", "", action, quantity, kind, limit, aux, named["tif"], named["oca"]],
        *[named["account"], "", 0, named["ref"], named["transmit"], named["parent"], 0, 0, 0, 0, named["rth"], 0],
        *["", 0, named["good_after"], named["good_till"], "", "", ""],  # shares allocation to faPercentage
        *["", 0, "", -1, named["oca_type"], "", "", 0, "", "", 0, 0, "", 0, *[""] * 5, 0, "", "", "", ""],
        *[0, "", named["trail"], named["percent"], "", "", "", "", "", "", "", 0, "", "", 0, 0],
        *(named["algo"] or [""]),  # the strategy, and with one the number of its parameters and each
        *["", named["what_if"], "", 0, 0, 0, *conditions, "", *[""] * 18],
    )


async def statuses(client, count):
    """(order id, status, filled) of the next orderStatus messages."""
    seen = []
    for _ in range(count):
        fields = await client.message(3)
        seen.append((int(fields[1]), fields[2], float(fields[3])))
    return seen


def word(fields):
    """A message about orders in short: its kind, and what it says of the state."""
    kind = fields[0]
    if kind == "3":
        return f"orderStatus {fields[2]}"
    if kind == "4":
        return f"error {fields[3]}"
    if kind == "5":
        (status,) = [each for each in fields if each in STATUSES]
        return f"openOrder {status}"
    return {"11": "execDetails", "59": "commissionReport"}.get(kind, kind)


STATUSES = ("PendingSubmit", "PreSubmitted", "Submitted", "Filled", "Cancelled", "Inactive")


async def words(client):
    """All messages so far, in short."""
    return [word(fields) for fields in await messages(client)]


async def messages(client):
    """All messages so far: an answer to reqCurrentTime ends them, the second one, as orders are worked beside it."""
    seen = []
    for _ in range(2):
        client.send(49, 1)
        while (fields := await client.read())[0] != "49":
            seen.append(fields)
    return seen


def played(**options):
    """Runs a test with a started client, its simulator and its control port."""

    def wrap(work):
        def run():
            async def whole():
                async with gateway(**options) as (sim, control):
                    await work(await RawClient.start(sim.port), sim, control)

            asyncio.run(whole())

        run.__name__ = work.__name__
        run.__doc__ = work.__doc__
        return run

    return wrap


# ---- two ways to know what has become of an order --------------------------------------------------------------------
class Believer:
    """A client that takes every word for the truth, and silence for an order that is not: what each fault finds wrong."""

    def __init__(self, client):
        self.client = client
        self.status = {}  # order id -> the last word
        self.filled = 0.0  # by its count of executions
        self.errors = []  # (order id, code)

    async def listen(self):
        for fields in await messages(self.client):
            if fields[0] == "3":
                self.status[int(fields[1])] = fields[2]
            if fields[0] == "11":
                self.filled += float(fields[19])
            if fields[0] == "4" and fields[2] != "-1":
                self.errors.append((int(fields[2]), int(fields[3])))
        return self


async def reported_orders(client):
    """What the gateway answers when it is asked: (reference, permId) -> open, completed; and shares filled by reference."""
    await messages(client)
    client.send(16, 1)
    client.send(99, 0)
    client.send(7, 3, 900, 0, "", "", "", "", "", "")
    found: dict[tuple[str, int], str] = {}
    filled: dict[str, float] = {}
    while (fields := await client.read())[0] != "55":
        if fields[0] == "5":
            found[fields[23], int(fields[25])] = word(fields).split()[1]
        if fields[0] == "101":
            (found[fields[22], int(fields[23])],) = [each for each in fields if each in STATUSES]
        if fields[0] == "11":
            filled[fields[26]] = filled.get(fields[26], 0.0) + float(fields[19])
    return found, filled
