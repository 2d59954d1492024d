"""Who listens to what: messages of the bus in, each to the sockets that have its channel.

Everything here runs in the event loop. A message is serialized by its publisher; all sockets share its text. Sockets to
which nothing is to be sent cost nothing: a beat visits those alone for which something waits. Quotes wait here for the beat;
then each socket gets those of all its channels in one step.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, Protocol

from nautilus.clock import NS_PER_S, SAME_TIME, MarketTime
from nautilus.live.envelope import Entry
from nautilus.live.hearing import Hearing
from nautilus.log import Log
from stream.frames import BusMessage, Frames

_AT_ONCE = 200
"""After so many sockets others get a turn."""
_LAG_READS = 64
_MOST_CHANNELS = 10_000
"""Of so many channels the newest message is remembered; those that were quiet for longest are forgotten first."""
_SESSION = "events.session."


class Listener(Protocol):
    """A socket or an event stream, as the hub knows it."""

    @property
    def quotes(self) -> frozenset[str]:
        """Its channels of quotes."""

    def receive(self, message: BusMessage) -> None:
        """A message of a channel that it has."""

    def receive_quotes(self, newest: Mapping[str, BusMessage]) -> None:
        """The newest quotes of its channels, by channel, as far as there are new ones."""

    def begin_epoch(self, epoch: str) -> None:
        """Numbers begin anew; something may have been lost."""

    def heal(self, channel: str) -> None:
        """Messages of this channel were lost on the bus."""

    def beat(self) -> None:
        """The time to send what waits."""


class ChannelState(NamedTuple):
    """What is known of a channel: number of its newest message, when it came (monotonic s), and its stream's state."""

    number: int
    at_s: float
    stream: Mapping[str, str]


class Hub:
    """The channels of one process and who has them."""

    def __init__(self, log: Log, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.market = SAME_TIME
        self.frames = Frames()
        self._machine = (time.time_ns(), clock())
        self.listeners: set[Listener] = set()
        self._log = log
        self._hearing = Hearing()
        self._index: dict[str, set[Listener]] = {}
        self._states: dict[str, ChannelState] = {}
        self._newest: dict[str, BusMessage] = {}
        self._quotes: dict[str, BusMessage] = {}
        """Channel -> the newest quote since the last beat."""
        self._dirty: set[Listener] = set()
        self._lags: deque[float] = deque(maxlen=_LAG_READS)

    @property
    def epoch(self) -> str:
        """The present epoch of the bus; empty before the first message."""
        return self._hearing.epoch

    @property
    def lag_ms(self) -> float:
        """How long messages lately waited between bus and sockets, at most."""
        return round(max(self._lags, default=0.0) * 1000, 1)

    def set_clocks(self, machine_ns: int, market: MarketTime) -> None:
        """What the database's clock says now, and how market time follows from it."""
        self._machine = (machine_ns, self.clock())
        self.market = market

    def market_ns(self) -> int:
        """Market time now."""
        return self.market.at(self.machine_ns())

    def machine_ns(self) -> int:
        """Machine time now, by the database's clock; before it was read, by this machine's."""
        read_ns, read_at = self._machine
        return read_ns + round((self.clock() - read_at) * NS_PER_S)

    # ---- who listens -------------------------------------------------------------------------------------------------

    def open(self, listener: Listener) -> None:
        self.listeners.add(listener)

    def close(self, listener: Listener, channels: Iterable[str]) -> None:
        """Forget a listener and its channels."""
        for channel in channels:
            self.leave(listener, channel)
        self.listeners.discard(listener)
        self._dirty.discard(listener)

    def join(self, listener: Listener, channel: str) -> None:
        self._index.setdefault(channel, set()).add(listener)

    def leave(self, listener: Listener, channel: str) -> None:
        found = self._index.get(channel)
        if found is not None:
            found.discard(listener)
            if not found:
                del self._index[channel]

    def has(self, channel: str) -> bool:
        """Whether somebody has a channel."""
        return channel in self._index

    def mark(self, listener: Listener) -> None:
        """Something waits for a listener: the next beat visits it."""
        self._dirty.add(listener)

    # ---- what is known -----------------------------------------------------------------------------------------------

    def number(self, channel: str) -> int:
        """The number of the newest message of a channel in this epoch; 0: none."""
        known = self._states.get(channel)
        return known.number if known else 0

    def state(self, channel: str) -> ChannelState | None:
        return self._states.get(channel)

    def newest(self, channel: str) -> BusMessage | None:
        """The newest quote, or the newest state of a session, of a channel in this epoch."""
        return self._newest.get(channel)

    def sessions(self) -> list[BusMessage]:
        """The newest state of each bridge's session."""
        return [message for channel, message in self._newest.items() if channel.startswith(_SESSION)]

    # ---- what comes --------------------------------------------------------------------------------------------------

    def receive(self, entries: Iterable[Entry], read_at: float) -> None:
        """Messages as they were read from the bus, at a time of the monotonic clock."""
        now = self.clock()
        self._lags.append(max(0.0, now - read_at))
        for entry in entries:
            try:
                received = self._hearing.hear(entry)
            except (ValueError, KeyError, TypeError, AttributeError):
                self._log.warning("bus-message-unreadable", extra={"kind": entry.kind, "channel": entry.channel})
                continue
            if received is None:
                continue
            if received.new_epoch:
                self._begin_epoch()
            message = BusMessage(
                entry.kind, entry.channel, int(received.fields["seq"]), entry.body.decode(), received.fields
            )
            self._keep(message, now)
            self._pass_on(message, received.missed)

    def tell(self, message: BusMessage) -> None:
        """Pass a message on that did not come over the bus."""
        for listener in list(self._index.get(message.channel, ())):
            listener.receive(message)

    def _begin_epoch(self) -> None:
        self._log.info("bus-epoch", extra={"epoch": self.epoch, "sockets": len(self.listeners)})
        self._pass_on_quotes()
        self._newest.clear()
        self._states = {name: state._replace(number=0) for name, state in self._states.items()}
        for listener in list(self.listeners):
            listener.begin_epoch(self.epoch)

    def _keep(self, message: BusMessage, now: float) -> None:
        known = self._states.get(message.channel)
        stream: Mapping[str, str] = known.stream if known else {}
        if message.kind == "stream":
            stream = {name: str(message.fields.get(name) or "") for name in ("state", "reason", "source", "feed")}
        elif message.kind in ("quote", "session"):
            self._newest[message.channel] = message
        self._states.pop(message.channel, None)
        self._states[message.channel] = ChannelState(message.number, now, stream)
        if len(self._states) > _MOST_CHANNELS:
            oldest = next(iter(self._states))
            del self._states[oldest]
            self._newest.pop(oldest, None)

    def _pass_on(self, message: BusMessage, missed: int) -> None:
        if missed:
            self._log.warning("bus-messages-lost", extra={"channel": message.channel, "missed": missed})
        if message.kind == "quote":
            self._quotes[message.channel] = message
            return
        earlier = self._quotes.pop(message.channel, None)
        for listener in list(self._index.get(message.channel, ())):
            if missed:
                listener.heal(message.channel)
            if earlier is not None:
                listener.receive(earlier)
            listener.receive(message)

    def _pass_on_quotes(self) -> None:
        """Let all sockets have the quotes that wait. Those with the same channels share one choice of them."""
        quotes, self._quotes = self._quotes, {}
        found: set[Listener] = set()
        for channel in quotes:
            found.update(self._index.get(channel, ()))
        chosen: dict[frozenset[str], Mapping[str, BusMessage]] = {}
        for listener in found:
            wanted = listener.quotes
            newest = chosen.get(wanted)
            if newest is None:
                newest = chosen[wanted] = {channel: one for channel, one in quotes.items() if channel in wanted}
            listener.receive_quotes(newest)
        self._dirty |= found

    def heal_all(self) -> None:
        """Messages may have been lost that no later one shows."""
        for channel, found in list(self._index.items()):
            for listener in list(found):
                listener.heal(channel)

    async def beat(self) -> None:
        """Let every listener send for which something waits."""
        self.frames.clear()
        self._pass_on_quotes()
        due, self._dirty = self._dirty, set()
        for n, listener in enumerate(due, 1):
            listener.beat()
            if n % _AT_ONCE == 0:
                await asyncio.sleep(0)
