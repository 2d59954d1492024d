"""How words about orders reach a client: once and at once, or doubled, missing, in another order, late."""

import random

from ib_gateway_sim.session.gateway import Client, Gateway
from ib_gateway_sim.session.outbox import Message


def deliver(gateway: Gateway, client: Client, event: list[Message]) -> None:
    """The messages of one event to one client."""
    faults = gateway.weather.orders
    told = _shuffled(gateway, _counted(gateway, event))
    if faults.delay_s > 0:
        gateway.spawn(f"words {gateway.orders.next_message()}", _later(gateway, client, told, faults.delay_s))
    else:
        _send(client, told)


def _send(client: Client, told: list[Message]) -> None:
    for message in told:
        client.outbox.send(message)


async def _later(gateway: Gateway, client: Client, told: list[Message], seconds: float) -> None:
    await gateway.clock.sleep(seconds)
    _send(client, told)


def _counted(gateway: Gateway, event: list[Message]) -> list[Message]:
    """orderStatus may be missing or come twice: IB promises neither that it comes nor that it comes once."""
    faults = gateway.weather.orders
    told = []
    for message in event:
        status = message.kind == "orderStatus"
        if status and faults.take("skip"):
            continue
        told += [message] * (2 if status and faults.take("duplicate") else 1)
    return told


def _shuffled(gateway: Gateway, event: list[Message]) -> list[Message]:
    """Drawn from the account's name and the number of the event, so that a run can be repeated."""
    faults = gateway.weather.orders
    if len(event) < 2 or not faults.take("shuffle"):
        return event
    faults.shuffled += 1
    order = list(range(len(event)))
    random.Random(f"{gateway.market.account} {faults.shuffled}").shuffle(order)
    if order == sorted(order):
        order.reverse()
    return [event[at] for at in order]
