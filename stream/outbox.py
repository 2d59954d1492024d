"""What waits for one socket: closed bars and answers in order and all of them, of quotes and forming bars the newest.

No socket and no clock: messages go in, the texts of the next frame come out. A message of the bus is one object for all
sockets; what waits are references to it.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

FRAME_BYTES = 262_144
"""About so much goes into one frame; the rest follows in the next one at once."""


@dataclass(frozen=True, slots=True)
class BusMessage:
    """A message of the bus that counts. text: its body, JSON of one object, as clients get it."""

    kind: str
    channel: str
    number: int
    text: str
    fields: Mapping[str, Any]

    @property
    def replaceable(self) -> bool:
        """The next one of its channel says all that it says."""
        return self.kind == "quote" or (self.kind == "bar" and self.fields.get("state") == "forming")

    @property
    def version(self) -> int:
        """The version of the series that it tells of; 0: none."""
        found = self.fields.get("version")
        return found if isinstance(found, int) else 0


class Begin(NamedTuple):
    """What a client knows of a channel once it has a snapshot: messages up to a number, the series up to a version."""

    channel: str
    number: int
    version: int = 0


class Outgoing(NamedTuple):
    """A text that is to be sent. message: of the bus; None: it was made for this socket. begin: it is a snapshot."""

    text: str
    message: BusMessage | None = None
    begin: Begin | None = None


class Outbox:
    """What waits for one socket. skipped: messages that were replaced by newer ones since the last `take_skipped`."""

    def __init__(self) -> None:
        self._queue: deque[Outgoing] = deque()
        self._newest: dict[str, BusMessage] = {}
        self._heartbeat = ""
        self._sent: dict[str, int] = {}
        self._versions: dict[str, int] = {}
        self.skipped = 0

    @property
    def waiting(self) -> int:
        """How many texts must not be dropped."""
        return len(self._queue)

    @property
    def empty(self) -> bool:
        return not (self._queue or self._newest or self._heartbeat)

    def begin_epoch(self) -> None:
        """Numbers begin anew."""
        self._sent.clear()

    def leave(self, channel: str) -> None:
        """Forget a channel; what waits in order is still sent."""
        self._newest.pop(channel, None)
        self._sent.pop(channel, None)
        self._versions.pop(channel, None)

    def put(self, text: str, *, begin: Begin | None = None) -> None:
        """A text of this socket's own, in order. begin: it is a snapshot."""
        if begin is not None:
            self._newest.pop(begin.channel, None)
        self._queue.append(Outgoing(text, None, begin))

    def put_first(self, text: str) -> None:
        """A text that goes before all that waits."""
        self._queue.appendleft(Outgoing(text))

    def put_heartbeat(self, text: str) -> None:
        """A heartbeat; it replaces one that still waits."""
        self._heartbeat = text

    def add(self, message: BusMessage) -> None:
        """A message of the bus. Order within its channel is kept."""
        earlier = self._newest.pop(message.channel, None)
        if message.replaceable:
            self.skipped += earlier is not None
            self._newest[message.channel] = message
            return
        if earlier is not None:
            if _makes_needless(message, earlier):
                self.skipped += 1
            else:
                self._queue.append(Outgoing(earlier.text, earlier))
        self._queue.append(Outgoing(message.text, message))

    def take(self, *, newest: bool) -> list[Outgoing]:
        """What goes into the next frame; empty when nothing does. newest: quotes and forming bars too."""
        taken: list[Outgoing] = []
        size = 0
        while self._queue and size < FRAME_BYTES:
            taken.append(self._numbered(self._queue.popleft()))
            size += len(taken[-1].text)
        if newest and not self._queue:
            taken += [self._numbered(Outgoing(message.text, message)) for message in self._newest.values()]
            self._newest.clear()
            if self._heartbeat:
                taken.append(Outgoing(self._heartbeat))
                self._heartbeat = ""
        return taken

    def take_skipped(self) -> int:
        """How many messages were replaced since the last call."""
        skipped, self.skipped = self.skipped, 0
        return skipped

    def number(self, channel: str) -> int:
        """The number of the message of a channel that was sent last."""
        return self._sent.get(channel, 0)

    def version(self, channel: str) -> int | None:
        """Up to which version a series was sent without a gap; None: its snapshot was not sent yet."""
        return self._versions.get(channel)

    def _numbered(self, outgoing: Outgoing) -> Outgoing:
        """The same with `skip`, where messages of its channel were replaced since the one before."""
        message = outgoing.message
        if outgoing.begin is not None:
            self._sent[outgoing.begin.channel] = outgoing.begin.number
            self._versions[outgoing.begin.channel] = outgoing.begin.version
        if message is None:
            return outgoing
        if message.channel in self._versions:
            self._versions[message.channel] = max(self._versions[message.channel], message.version)
        before = self._sent.get(message.channel)
        self._sent[message.channel] = message.number
        skip = message.number - before - 1 if before is not None else 0
        if skip <= 0:
            return outgoing
        return Outgoing(f'{outgoing.text[:-1]},"skip":{skip}}}', message)


def _makes_needless(message: BusMessage, earlier: BusMessage) -> bool:
    """A forming bar needs not be sent before the same bar, closed."""
    return message.kind == "bar" and message.fields.get("ts") == earlier.fields.get("ts")
