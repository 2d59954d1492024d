"""How words about orders reach a client: once and at once, or doubled, missing, in another order, late."""

import random

from ib_gateway_sim.session.gateway import Client, Gateway
from ib_gateway_sim.session.outbox import Message


def deliver(gateway: Gateway, client: Client, order_id: int, event: list[Message]) -> None:
    """The messages of one event about an order to one client; faults that they meet are recorded."""
    faults = gateway.faults.orders
    counted = _counted(gateway, event)
    told = _shuffled(gateway, counted)
    late = {"ack_delay"} if faults.delay_s > 0 else set()
    for fault in sorted({*_met(event, counted), *({"shuffle"} if told != counted else set()), *late}):
        gateway.note(fault, client.client_id, order_id)
    if late:
        gateway.spawn(f"words {next(gateway.numbers)}", _later(gateway, client, told, faults.delay_s))
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
    faults = gateway.faults.orders
    told = []
    for message in event:
        status = message.kind == "orderStatus"
        if status and faults.take("skip"):
            continue
        told += [message] * (2 if status and faults.take("duplicate") else 1)
    return told


def _met(event: list[Message], counted: list[Message]) -> set[str]:
    """Whether orderStatus was left out or doubled."""
    before, after = (sum(each.kind == "orderStatus" for each in messages) for messages in (event, counted))
    return {"status_skip"} if after < before else {"status_duplicate"} if after > before else set()


def _shuffled(gateway: Gateway, event: list[Message]) -> list[Message]:
    """Drawn from the account's name and the number of the event, so that a run can be repeated."""
    faults = gateway.faults.orders
    if len(event) < 2 or not faults.take("shuffle"):
        return event
    faults.shuffled += 1
    order = list(range(len(event)))
    random.Random(f"{gateway.market.account} {faults.shuffled}").shuffle(order)
    if order == sorted(order):
        order.reverse()
    return [event[at] for at in order]
