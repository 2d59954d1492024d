"""Bytes to frames: the greeting of a connection, then frames of a 4-byte big-endian length and a payload."""

import re
from dataclasses import dataclass

VERSION_FLOOR = 157  # below it ib_insync, ib_async and the simulator do not go
VERSION_CEILING = 178  # the newest layout here; 201 and later carry protobuf
MAX_FRAME_BYTES = 1 << 20  # the largest request seen from a real client is a few kilobytes
MAX_GREETING_BYTES = 1024


class Refused(Exception):
    """These bytes are not the protocol: the connection has to end."""


class FrameReader:
    """Collects bytes until frames are whole; what is incomplete waits for the next call."""

    def __init__(self, limit: int = MAX_FRAME_BYTES) -> None:
        self._buffer = bytearray()
        self._limit = limit

    def feed(self, data: bytes) -> list[bytes]:
        """The payloads completed by `data`. Raises Refused for a length of zero or above the limit."""
        self._buffer += data
        payloads: list[bytes] = []
        at = 0
        while len(self._buffer) - at >= 4:
            size = int.from_bytes(self._buffer[at : at + 4], "big")
            if not 0 < size <= self._limit:
                raise Refused(f"frame length {size}: allowed are 1 to {self._limit}")
            if len(self._buffer) - at - 4 < size:
                break
            payloads.append(bytes(self._buffer[at + 4 : at + 4 + size]))
            at += 4 + size
        del self._buffer[:at]
        return payloads

    @property
    def waiting(self) -> int:
        """Bytes of the frame that has begun and is not whole."""
        return len(self._buffer)


@dataclass(frozen=True)
class Greeting:
    """What a client offers in its first bytes: `v157..176 +PACEAPI`."""

    lowest: int
    highest: int
    options: str = ""

    def version(self, ceiling: int = VERSION_CEILING) -> int | None:
        """The version to speak, as the gateway chooses it; None when there is none in common."""
        chosen = min(self.highest, ceiling)
        return chosen if chosen >= max(self.lowest, VERSION_FLOOR) else None


_GREETING = re.compile(r"v([0-9]{1,6})\.\.([0-9]{1,6})(?: (.*))?\Z", re.DOTALL)


class GreetingReader:
    """Reads the first bytes of a connection: `API` NUL, a length, the versions."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> tuple[Greeting, bytes] | None:
        """The greeting and the bytes behind it, or None until it is whole. Raises Refused."""
        self._buffer += data
        head = bytes(self._buffer[:4])
        if not b"API\0".startswith(head):
            raise Refused("a connection begins with API and NUL")
        if len(self._buffer) < 8:
            return None
        size = int.from_bytes(self._buffer[4:8], "big")
        if not 0 < size <= MAX_GREETING_BYTES:
            raise Refused(f"greeting length {size}: allowed are 1 to {MAX_GREETING_BYTES}")
        if len(self._buffer) < 8 + size:
            return None
        match = _GREETING.match(self._buffer[8 : 8 + size].decode("ascii", "replace"))
        if match is None:
            raise Refused("the greeting names versions as v157..178")
        rest = bytes(self._buffer[8 + size :])
        self._buffer.clear()
        return Greeting(int(match[1]), int(match[2]), match[3] or ""), rest
