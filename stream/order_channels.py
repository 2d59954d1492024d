"""A channel of orders or fills on one socket: first what the account holds, or what the client missed, then what happens."""

import asyncio
from collections.abc import Callable

from nautilus.db.cursor import Cursor
from nautilus.errors import Unavailable
from nautilus.infra.loops import Backoff
from stream.frames import Begin
from stream.listener import SocketListener, Subscription
from stream.order_events import OrderEvents
from stream.order_messages import First

BACKOFF = Backoff(0.5, 10.0)


async def begin(
    listener: SocketListener,
    events: OrderEvents,
    subscription: Subscription,
    read: Callable[[Cursor], First],
    *,
    away: Callable[[Unavailable], None],
) -> None:
    """Send what `read` finds, as soon as the database gives it, and then what was held meanwhile. away: is called once when the
    database is away."""
    channel, pause_s = subscription.channel, 0.0
    while listener.subscriptions.get(channel.name) is subscription:
        try:
            found = await events.snapshot(channel.account, read)
        except Unavailable as gone:
            if not pause_s:
                away(gone)
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
    for message in (*found.messages, *held):
        listener.deliver(subscription, message)
