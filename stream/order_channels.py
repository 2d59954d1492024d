"""A channel of orders or fills on one socket: its snapshot, or what the client missed, and then what happens."""

import asyncio
from functools import partial

from nautilus.errors import Unavailable
from nautilus.infra.loops import Backoff
from stream import messages
from stream.frames import Begin
from stream.listener import SocketListener, Subscription
from stream.order_events import OrderEvents
from stream.order_messages import First, first

BACKOFF = Backoff(0.5, 10.0)


async def begin(
    listener: SocketListener, events: OrderEvents, subscription: Subscription, *, since: int, most: int
) -> None:
    """Send what a channel of an account holds, or what was missed since an event, as soon as the database gives it; then what
    was held meanwhile. since: id of the last event that the client has; 0: none. most: of so many missed events."""
    channel, pause_s = subscription.channel, 0.0
    read = partial(first, channel=channel, since=since, most=most)
    while listener.subscriptions.get(channel.name) is subscription:
        try:
            found = await events.snapshot(channel.account, read)
        except Unavailable as away:
            if not pause_s:
                away.extra = {"channel": channel.name}
                listener.say(messages.error(away))
            pause_s = BACKOFF.after(pause_s)
            await asyncio.sleep(pause_s)
            continue
        if listener.subscriptions.get(channel.name) is subscription:
            _release(listener, subscription, found)
        return


def _release(listener: SocketListener, subscription: Subscription, found: First) -> None:
    held, subscription.held = subscription.held or [], None
    subscription.version = found.version
    listener.outbox.put(found.text, begin=Begin(subscription.channel.name, 0, found.version))
    listener.wake()
    for message in found.missed:
        listener.deliver(subscription, message)
    for message in held:
        if not message.version or message.version > found.newest:
            listener.deliver(subscription, message)
