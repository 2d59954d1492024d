"""One socket or event stream: its channels, what waits for it, and the one task that sends.

A message of the bus is passed on once the channel's snapshot was read; until then it is held, so that nothing is missing
between the snapshot and what follows. Sending is one task per socket: while it waits, the outbox keeps the newest quotes
and every closed bar, and nobody else waits.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from nautilus.auth.principal import Principal
from nautilus.live.channels import Channel
from nautilus.live.envelope import TICKS
from nautilus.market.instrument import Instrument
from nautilus.settings.stream import StreamLimits
from stream import messages
from stream.frames import BusMessage, Frame
from stream.hub import Hub
from stream.outbox import Outbox

LAGGED_S = 1.0
"""If a write takes longer than this, the client gets a message that says so and what was skipped meanwhile."""


class End(NamedTuple):
    """Why a socket is closed."""

    code: int
    reason: str


@dataclass(slots=True)
class Subscription:
    """A channel of one socket. version: the newest of its series that was sent. held: what waits for the snapshot; None:
    messages pass. stream: how the stream behind it stood when it was joined."""

    channel: Channel
    instrument: Instrument | None
    forming: bool = True
    version: int = 0
    held: list[BusMessage] | None = field(default_factory=list)
    stream: Mapping[str, str] = field(default_factory=dict)


Write = Callable[[Frame], Awaitable[None]]


class SocketListener:
    """The sending side of one socket.

    write: sends one frame; it returns once the frame is on its way. stuck_since: when the write under way began.
    """

    def __init__(self, hub: Hub, limits: StreamLimits, caller: Principal, write: Write) -> None:
        self.hub = hub
        self.limits = limits
        self.caller = caller
        self.outbox = Outbox(hub.frames)
        self.subscriptions: dict[str, Subscription] = {}
        self.ended: asyncio.Future[End] = asyncio.get_running_loop().create_future()
        self.stuck_since: float | None = None
        self.rate_hz = 1000 / limits.stream_beat_ms
        self.signed_in_at = hub.clock()
        self._quotes: frozenset[str] | None = None
        self._write = write
        self._ready = asyncio.Event()
        self._due = False
        self._newest_at = float("-inf")
        self._heartbeat_at = hub.clock() + limits.stream_heartbeat_s

    # ---- its channels --------------------------------------------------------------------------------------------------

    @property
    def quotes(self) -> frozenset[str]:
        """Its channels of quotes."""
        if self._quotes is None:
            found = (name for name, one in self.subscriptions.items() if one.channel.kind == "data.quotes")
            self._quotes = frozenset(found)
        return self._quotes

    def add_channel(self, subscription: Subscription) -> None:
        """Get the messages of a channel from now on."""
        name = subscription.channel.name
        self.subscriptions[name] = subscription
        self._quotes = None
        self.hub.join(self, name)

    def remove_channel(self, name: str) -> Subscription | None:
        """Get them no longer; None: it is no channel of this socket."""
        subscription = self.subscriptions.pop(name, None)
        if subscription is not None:
            self._quotes = None
            self.hub.leave(self, name)
            self.outbox.leave(name)
        return subscription

    def become(self, caller: Principal) -> None:
        """Go on as this caller."""
        self.caller = caller

    # ---- what comes from the hub ---------------------------------------------------------------------------------------

    def receive(self, message: BusMessage) -> None:
        subscription = self.subscriptions.get(message.channel)
        if subscription is None:
            return
        if subscription.held is not None:
            _hold(subscription.held, message)
        else:
            self.deliver(subscription, message)

    def receive_quotes(self, newest: Mapping[str, BusMessage]) -> None:
        self.outbox.put_quotes(newest)

    def deliver(self, subscription: Subscription, message: BusMessage) -> None:
        """Let a message of a channel wait to be sent. Of orders and fills what the socket has already is passed over: the
        same event may be read for the snapshot, and then for all sockets."""
        if subscription.channel.account and 0 < message.version <= subscription.version:
            return
        if message.replaceable and message.kind == "bar" and not subscription.forming:
            return
        if message.version > subscription.version:
            subscription.version = message.version
        self.outbox.add(message)
        if message.replaceable or message.kind in TICKS:
            self.hub.mark(self)
        else:
            self._ready.set()

    def begin_epoch(self, epoch: str) -> None:
        """What waits of the bus's channels is of the epoch before; orders and fills do not come over the bus."""
        self.outbox.begin_epoch(messages.text("reset", {"e": epoch}))
        for subscription in self.subscriptions.values():
            if subscription.held is not None and not subscription.channel.account:
                subscription.held.clear()
        self.wake()

    def heal(self, channel: str) -> None:
        """Messages were lost; who can read them from the database does so."""

    def beat(self) -> None:
        if self.hub.clock() - self._newest_at < 1 / self.rate_hz - self.limits.stream_beat_ms / 2000:
            self.hub.mark(self)
            return
        self._due = True
        self._ready.set()

    def tick(self, now: float) -> None:
        """About once a second: close what is stuck, and send a heartbeat where one is due."""
        if self.ended.done():
            return
        stuck = self.stuck_since is not None and now - self.stuck_since >= self.limits.stream_stuck_s
        if stuck or self.outbox.waiting > self.limits.stream_queue:
            self.end(4008, "too slow: it has not taken what was sent")
        elif now - self.signed_in_at >= self.limits.stream_sign_in_again_s:
            self.end(4401, "a sign-in of a socket is good for a while alone: sign in anew")
        elif now >= self._heartbeat_at:
            self._heartbeat_at = now + self.limits.stream_heartbeat_s
            self.outbox.put_heartbeat(self.heartbeat())
            self.hub.mark(self)

    def heartbeat(self) -> str:
        raise NotImplementedError

    # ---- what this socket is sent ------------------------------------------------------------------------------------

    def say(self, text: str) -> None:
        """Send a text of this socket's own, in order and at once."""
        self.outbox.put(text)
        self.wake()

    def wake(self) -> None:
        """Send what waits in order, at once."""
        self._ready.set()

    def end(self, code: int, reason: str) -> None:
        """Close the socket; the first reason counts."""
        if not self.ended.done():
            self.ended.set_result(End(code, reason))

    def close(self) -> None:
        """Forget it."""
        self.hub.close(self, list(self.subscriptions))
        self.subscriptions.clear()

    async def send_all(self) -> None:
        """Send what waits, for as long as the socket is open."""
        while True:
            await self._ready.wait()
            self._ready.clear()
            await self.flush()

    async def flush(self) -> None:
        """Send what is due now."""
        due, self._due = self._due, False
        while frame := self.outbox.take(newest=due):
            began = self.hub.clock()
            if due:
                self._newest_at = began
            await self._send(frame, began)

    async def _send(self, frame: Frame, began: float) -> None:
        self.outbox.skipped = 0
        self.stuck_since = began
        try:
            await self._write(frame)
        except asyncio.CancelledError:
            self.outbox.put_back(frame)  # the server waited for room, and has taken nothing of it
            raise
        self.stuck_since = None
        took = self.hub.clock() - began
        if took >= LAGGED_S:
            self.outbox.put_first(self.lagged(took))

    def lagged(self, took_s: float) -> str:
        """What was not sent because the socket took nothing for a while."""
        since = messages.time_of(self.hub.machine_ns() - round(took_s * 1e9))
        return messages.text("lagged", {"skipped": self.outbox.take_skipped(), "since": since})


def _hold(held: list[BusMessage], message: BusMessage) -> None:
    """Keep a message; of quotes, and of one forming bar, the newest."""
    last = held[-1] if held else None
    if (
        last is not None
        and last.replaceable
        and message.replaceable
        and (message.kind == "quote" or message.fields.get("ts") == last.fields.get("ts"))
    ):
        held[-1] = message
    else:
        held.append(message)
