"""The pipes to the strategy host. They are taken away from standard input and output before any code of a user runs.

What a strategy prints becomes messages of kind `log`, up to a limit, and cannot come between the messages.
"""

import os
import threading
from typing import Any, Self

from nautilus.strategies.pipe import FROM_RUNNER, TO_RUNNER, Lines, line

MOST_PRINTED = 64 * 1024
"""Bytes of a run's prints that are passed on. The rest is dropped, with one message about it."""
_PIECE = 64 * 1024
_HIGHEST = 65_536


class Channel:
    """Messages in both directions. `send` may be called in any thread; messages are read in one."""

    def __init__(self, incoming: int, outgoing: int) -> None:
        self.incoming = incoming
        self._outgoing = outgoing
        self._lock = threading.Lock()
        self._lines = Lines(TO_RUNNER)
        self._read: list[dict[str, Any]] = []
        self._prints = -1

    @classmethod
    def take_standard(cls) -> Self:
        """The channel over the descriptors 0 and 1, the only ones that stay open. Afterwards 0 is empty, and 1 and 2 are
        read as prints once `read_prints` is called. No thread begins here: a fence needs a process of one thread."""
        os.closerange(3, _HIGHEST)
        channel = cls(os.dup(0), os.dup(1))
        empty = os.open(os.devnull, os.O_RDONLY)
        os.dup2(empty, 0)
        os.close(empty)
        channel._prints, written = os.pipe()
        os.dup2(written, 1)
        os.dup2(written, 2)
        os.close(written)
        return channel

    def read_prints(self) -> None:
        """Pass on what is printed from now on, in a thread that ends with the process."""
        threading.Thread(target=pass_on_prints, args=(self._prints, self), name="prints", daemon=True).start()

    def send(self, kind: str, /, **body: object) -> None:
        """Write one message. The host reads all the time; when it is gone, BrokenPipeError ends this process."""
        data = memoryview(line(FROM_RUNNER, kind, **body))
        with self._lock:
            while data:
                data = data[os.write(self._outgoing, data) :]

    @property
    def has_read(self) -> bool:
        """Whether messages are here already that nobody has taken."""
        return bool(self._read)

    def received(self) -> list[dict[str, Any]]:
        """What is there now, waiting for at least a piece of it. EOFError when the host has closed the pipe."""
        if self._read:
            read, self._read = self._read, []
            return read
        data = os.read(self.incoming, _PIECE)
        if not data:
            raise EOFError
        return list(self._lines.feed(data))

    def next(self) -> dict[str, Any]:
        """The next message, however long it takes. EOFError when the host has closed the pipe."""
        while not self._read:
            self._read = self.received()
        return self._read.pop(0)


def pass_on_prints(prints: int, channel: Channel) -> None:
    """Read prints to the end, so that nobody who prints waits; pass on the first of them."""
    left = MOST_PRINTED
    while data := os.read(prints, _PIECE):
        if left > 0:
            text = data[:left].decode("utf-8", "replace").rstrip("\n")
            channel.send("log", level="info", text=text)
            if left <= len(data):
                channel.send("log", level="warning", text=f"prints beyond {MOST_PRINTED} bytes are dropped")
            left -= len(data)
