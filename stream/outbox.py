"""What waits for one socket: closed bars and answers in order and all of them, of quotes and forming bars the newest.

No socket and no clock: messages go in, the next frame comes out. A message of the bus is one object for all sockets; what
waits are references to it.
"""

from collections import deque
from collections.abc import Mapping

from stream.frames import Begin, BusMessage, Frame, Frames, Outgoing, numbered

FRAME_BYTES = 262_144
"""About so much goes into one frame; the rest follows in the next one at once."""


class Outbox:
    """What waits for one socket. skipped: messages that were replaced by newer ones since the last `take_skipped`."""

    def __init__(self, frames: Frames) -> None:
        self._frames = frames
        self._queue: deque[Outgoing] = deque()
        self._newest: dict[str, BusMessage] = {}
        self._heartbeat = ""
        self._sent: dict[str, int] = {}
        self._versions: dict[str, int] = {}
        self._before: dict[str, tuple[int | None, int | None]] = {}
        """Channel -> number and version before the frame that was taken last, where that changed them."""
        self._newest_before: tuple[Mapping[str, BusMessage], tuple[int | None, ...]] = ({}, ())
        """The same of its quotes and forming bars: numbers alone."""
        self.skipped = 0

    @property
    def waiting(self) -> int:
        """How many texts must not be dropped."""
        return len(self._queue)

    def begin_epoch(self, text: str) -> None:
        """Numbers begin anew behind a text, which tells so (empty: nothing does), and behind all that waits."""
        self._queue.extend([Outgoing(message.text, message) for message in self._newest.values()])
        self._newest.clear()
        self._queue.append(Outgoing(text, new_epoch=True))

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

    def put_quotes(self, quotes: Mapping[str, BusMessage]) -> None:
        """The newest quotes of several channels at once, all of them newer than what waits."""
        if self._newest:
            self.skipped += len(quotes.keys() & self._newest.keys())
        self._newest.update(quotes)

    def add(self, message: BusMessage) -> None:
        """A message of the bus. Order within its channel is kept."""
        channel = message.channel
        if message.replaceable:
            self.skipped += channel in self._newest
            self._newest[channel] = message
            return
        earlier = self._newest.pop(channel, None)
        if earlier is not None:
            if _makes_needless(message, earlier):
                self.skipped += 1
            else:
                self._queue.append(Outgoing(earlier.text, earlier))
        self._queue.append(Outgoing(message.text, message))

    def take(self, *, newest: bool) -> Frame | None:
        """The next frame; None: there is nothing for one. newest: quotes and forming bars too."""
        self._before.clear()
        self._newest_before = ({}, ())
        taken = self._take_queue() if self._queue else []
        if newest and not self._queue:
            if self._newest:
                frame = self._take_newest()
                if not taken and not self._heartbeat:
                    return frame if frame.outgoing else None
                taken += frame.outgoing
            if self._heartbeat:
                taken.append(Outgoing(self._heartbeat))
                self._heartbeat = ""
        return Frame(taken) if taken else None

    def put_back(self, frame: Frame) -> None:
        """Let the frame that was taken last, and was not sent, wait again before all else."""
        self._queue.extendleft(reversed(frame.outgoing))
        for channel, number in zip(*self._newest_before, strict=True):
            _restore(self._sent, channel, number)
        for channel, (number, version) in self._before.items():
            _restore(self._sent, channel, number)
            _restore(self._versions, channel, version)

    def _take_queue(self) -> list[Outgoing]:
        taken: list[Outgoing] = []
        size = 0
        while self._queue and size < FRAME_BYTES:
            taken.append(self._counted(self._queue.popleft()))
            size += len(taken[-1].text)
        return taken

    def _take_newest(self) -> Frame:
        newest, self._newest = self._newest, {}
        before = tuple(map(self._sent.get, newest))
        self._newest_before = (newest, before)
        frame = self._frames.frame(tuple(newest.values()), before)
        self._sent.update(frame.numbers)
        return frame

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

    def _counted(self, outgoing: Outgoing) -> Outgoing:
        """The same with `skip`, where messages of its channel were replaced since the one before."""
        message, begin = outgoing.message, outgoing.begin
        if begin is not None:
            self._remember(begin.channel)
            self._sent[begin.channel] = begin.number
            self._versions[begin.channel] = begin.version
        elif outgoing.new_epoch:
            for channel in self._sent:
                self._remember(channel)
            self._sent.clear()
        if message is None:
            return outgoing
        self._remember(message.channel)
        if message.channel in self._versions:
            self._versions[message.channel] = max(self._versions[message.channel], message.version)
        before = self._sent.get(message.channel)
        self._sent[message.channel] = message.number
        return numbered(message, before)

    def _remember(self, channel: str) -> None:
        self._before.setdefault(channel, (self._sent.get(channel), self._versions.get(channel)))


def _restore(known: dict[str, int], channel: str, value: int | None) -> None:
    if value is None:
        known.pop(channel, None)
    else:
        known[channel] = value


def _makes_needless(message: BusMessage, earlier: BusMessage) -> bool:
    """A forming bar needs not be sent before the same bar, closed."""
    return message.kind == "bar" and message.fields.get("ts") == earlier.fields.get("ts")
