"""The way of messages to one client: every message that is sent passes `Outbox.send`."""

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from ib_gateway_sim.session.sent import KEPT_BYTES, SentLog
from ib_gateway_sim.wire import codec
from ib_gateway_sim.wire.messages import kind_of

_OFFICIAL_READ_BYTES = 4096


class Message(NamedTuple):
    """One outgoing message."""

    kind: str  # as in wire/messages.py
    data: bytes  # a whole frame

    @classmethod
    def of(cls, frame: bytes) -> "Message":
        return cls(kind_of(frame), frame)


class Outbox:
    def __init__(
        self,
        writer: asyncio.StreamWriter,
        slow_reader_bytes: int,
        drop: Callable[[], None],
        *,
        log: SentLog,
        now_ns: Callable[[], int],
        may_leave: Callable[[], bool],
    ) -> None:
        self.client_id = -1  # whose messages they are, for the log
        self.filler = b""  # a harmless message; needed only where the official client would lose a burst
        self.muted = False  # a half-open socket: nothing is sent any more
        self._writer = writer
        self._slow_reader_bytes = slow_reader_bytes
        self._log = log
        self._now_ns = now_ns
        self._turn_ns = 0  # market time of what leaves together
        self._turn_number = 0  # below those of its messages in the log
        self._drop = (
            drop  # called when the client lets too many bytes pile up, or may not receive what is about to be sent
        )
        self._may_leave = may_leave  # called before anything leaves: False where what has happened is not saved
        self._waiting = bytearray()
        self._flush_due = False

    def send(self, kind: str, frame: bytes) -> None:
        """The one place that all messages to a client pass, but for the filler of `flush`: faults of delivery act here.

        Messages leave together at the end of this turn of the event loop. `kind`: as in wire/messages.py.
        """
        if self.muted or not (self._flush_due or self._begin_turn()):
            return
        self._waiting += frame
        log = self._log
        kept = frame if len(frame) <= KEPT_BYTES else frame[:KEPT_BYTES]
        log.kinds[kind].append((next(log.numbers), self.client_id, self._turn_ns, kept))

    def _begin_turn(self) -> bool:
        """Before the first message of a turn; False where the socket is closed, and nothing is sent."""
        if self._writer.is_closing():
            return False
        self._flush_due = True
        self._turn_ns = self._now_ns()
        self._turn_number = next(self._log.numbers)
        asyncio.get_running_loop().call_soon(self.flush)
        return True

    def flush(self) -> None:
        self._flush_due = False
        if not self._waiting or self._writer.is_closing():
            self._discard()
            return
        if not self._may_leave():
            self._discard()
            self._drop()
            return
        if len(self._waiting) % _OFFICIAL_READ_BYTES == 0:
            # The official Python client reads on until it gets less than 4096 bytes, and loses a burst that ends there.
            self._waiting += self.filler
        self._writer.write(bytes(self._waiting))
        self._waiting.clear()
        if self._writer.transport.get_write_buffer_size() > self._slow_reader_bytes:
            self._drop()

    def _discard(self) -> None:
        """What waits is not sent, and the log forgets it."""
        if self._waiting:
            self._waiting.clear()
            self._log.take_back(self.client_id, self._turn_number)

    async def drain(self) -> None:
        """Waits while the client is slow to read."""
        self.flush()
        await self._writer.drain()

    def mute(self) -> None:
        self.muted = True
        self._discard()

    def close(self) -> None:
        """Ends the socket after what is queued."""
        self.flush()
        self._writer.close()

    def cut(self, data: bytes) -> None:
        """Sends the first half of a frame, then the socket dies."""
        self.flush()
        if self._writer.is_closing():
            return
        self._writer.write(data[: max(1, len(data) // 2)])
        self._writer.close()

    def abort(self) -> None:
        """Drops the socket at once, with what is queued."""
        self._flush_due = False
        self._discard()
        self._writer.transport.abort()


def error_frame(request_id: int, code: int, text: str, version: int) -> bytes:
    """Message 4; from version 166 on it ends with a field for JSON."""
    json = ("",) if version >= 166 else ()
    return codec.frame(4, 2, request_id, code, text, *json)
