"""How messages about orders reach a client: once and at once, or doubled, missing, in another order, late."""

from ib_gateway_sim.clock import SECOND_NS
from ib_gateway_sim.session.gateway import Client, Gateway
from ib_gateway_sim.session.outbox import Message


def deliver(gateway: Gateway, client: Client, order_id: int, event: list[Message]) -> None:
    """The messages of one event about an order to one client; faults that they meet are recorded."""
    faults = gateway.faults.orders
    counted, again = _counted(gateway, event)
    messages = _shuffled(gateway, counted)
    late = {"ack_delay"} if faults.delay_s > 0 else set()
    for fault in sorted({*_met(event, [*counted, *again]), *({"shuffle"} if messages != counted else set()), *late}):
        gateway.note(fault, client.client_id, order_id)
    if late:
        _defer(gateway, client, messages)
    else:  # what was deferred before leaves first
        waiting, client.late_words = [words for _, words in client.late_words], []
        for words in (*waiting, messages):
            _send(client, words)
    if again:
        due_ns = gateway.clock.now_ns() + int(faults.duplicate_s * SECOND_NS)
        gateway.spawn(f"words {next(gateway.numbers)}", _send_again(gateway, client, due_ns, again))


async def _send_again(gateway: Gateway, client: Client, due_ns: int, messages: list[Message]) -> None:
    """Whatever was sent since: a late duplicate says what was true when it was made."""
    await gateway.clock.sleep_until(due_ns)
    _send(client, messages)


def _send(client: Client, messages: list[Message]) -> None:
    for message in messages:
        client.outbox.send(*message)


def _defer(gateway: Gateway, client: Client, messages: list[Message]) -> None:
    """They come later, and never before those that were deferred for longer."""
    before_ns = client.late_words[-1][0] if client.late_words else 0
    due_ns = max(gateway.clock.now_ns() + int(gateway.faults.orders.delay_s * SECOND_NS), before_ns)
    client.late_words.append((due_ns, messages))
    gateway.spawn(f"words {next(gateway.numbers)}", _send_later(gateway, client, due_ns))


async def _send_later(gateway: Gateway, client: Client, due_ns: int) -> None:
    await gateway.clock.sleep_until(due_ns)
    while client.late_words and client.late_words[0][0] <= due_ns:
        _send(client, client.late_words.pop(0)[1])


def _counted(gateway: Gateway, event: list[Message]) -> tuple[list[Message], list[Message]]:
    """orderStatus may be missing or come twice: IB promises neither that it comes nor that it comes once. The messages of now,
    and those that come a second time later."""
    faults = gateway.faults.orders
    messages, again = list[Message](), list[Message]()
    for message in event:
        status = message.kind == "orderStatus"
        if status and faults.take("skip"):
            continue
        messages.append(message)
        if status and faults.take("duplicate"):
            (again if faults.duplicate_s > 0 else messages).append(message)
    return messages, again


def _met(event: list[Message], counted: list[Message]) -> set[str]:
    """Whether orderStatus was left out or doubled."""
    before, after = (sum(each.kind == "orderStatus" for each in messages) for messages in (event, counted))
    return {"status_skip"} if after < before else {"status_duplicate"} if after > before else set()


def _shuffled(gateway: Gateway, event: list[Message]) -> list[Message]:
    """Drawn from the account's name and the number of the event, so that a run can be repeated."""
    faults = gateway.faults.orders
    if len(event) < 2 or not faults.take("shuffle"):
        return event
    import random  # here, as few who run a simulator shuffle: it takes 300 KiB

    faults.shuffled += 1
    order = list(range(len(event)))
    random.Random(f"{gateway.market.account} {faults.shuffled}").shuffle(order)
    if order == sorted(order):
        order.reverse()
    return [event[at] for at in order]
