"""The orders of a page of the old front end: those of all accounts that its caller may use, each change as a whole order.

A page asks for its list once. So a socket that opens sends the same orders, and a page that was cut off is current again.
"""

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from nautilus.db.cursor import Cursor
from nautilus.live.channels import ORDERS, Channel
from nautilus.orders import account_events
from nautilus.orders.front_end import order_object
from stream import order_channels
from stream.frames import BusMessage
from stream.listener import SocketListener, Subscription
from stream.order_messages import First
from stream.rights import refusal

if TYPE_CHECKING:
    from stream.service import Stream


class PageOrders:
    """The channels of orders of one page."""

    def __init__(self, stream: "Stream", listener: SocketListener) -> None:
        self._stream = stream
        self._listener = listener
        self._tasks: set[asyncio.Task[None]] = set()

    def follow(self) -> None:
        """Have the channels of the accounts that the caller may use by now, and of no others."""
        named = (Channel(ORDERS, subject=account) for account in self._stream.accounts)
        wanted = {channel for channel in named if refusal(self._listener.caller, channel) is None}
        held = {one.channel for one in self._listener.subscriptions.values() if one.channel.account}
        for channel in held - wanted:
            self._listener.remove_channel(channel.name)
        for channel in wanted - held:
            self._join(channel)

    def _join(self, channel: Channel) -> None:
        subscription = Subscription(channel, None)
        self._listener.add_channel(subscription)
        task = asyncio.create_task(self._begin(subscription))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _begin(self, subscription: Subscription) -> None:
        """Send what the list has, once the database gives it, and then each change."""
        read = partial(_first, channel=subscription.channel)
        try:
            await order_channels.begin(self._listener, self._stream.orders, subscription, read, away=lambda gone: None)
        except Exception:
            self._stream.log.exception("page-orders-broke")

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()


def _first(cursor: Cursor, channel: Channel) -> First:
    """The orders that the page's list has, each as if it had just changed."""
    newest = account_events.newest(cursor, channel.account)
    rows = account_events.overview(cursor, [channel.account])
    return First(newest, newest, "", [BusMessage("order", channel.name, 0, "", {"row": row}) for row in rows])


def page_fields(message: BusMessage) -> dict[str, Any] | None:
    """The order of a message in the words of the page; None: the message is about none."""
    row = message.fields.get("row")
    return order_object(row) if row is not None else None
