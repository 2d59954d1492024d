"""Tells the host each second that the strategy is not stuck."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from strategy_runner.channel import Channel

EVERY_S = 1.0


def rss_kb() -> int:
    """Resident memory of this process, in KiB."""
    for one in Path("/proc/self/status").read_text().splitlines():
        if one.startswith("VmRSS:"):
            return int(one.split()[1])
    return 0


class Heartbeat:
    """For a process whose main thread computes, or begins. It beats while that thread waits for the host, imports what is ours,
    or gets on with the strategy's bars; a strategy that stays in one call stops it.

    waiting: nothing of a strategy runs now.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._progress: Callable[[], tuple[int, int | None]] = lambda: (0, None)
        self._seen = 0
        self._ended = threading.Event()
        self.waiting = True
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def begin(self) -> None:
        """Beat at once, and then each second until `end`."""
        self._channel.send("heartbeat", last_bar_ns=None, rss_kb=rss_kb())
        self._thread.start()

    def end(self) -> None:
        """Beat no more; may be called again."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    def follow(self, progress: Callable[[], tuple[int, int | None]]) -> None:
        """Beat for each second in which a run gets on. progress: (a number that rises with each bar, its last bar's close)."""
        self._progress = progress

    @contextmanager
    def working(self) -> Iterator[None]:
        """Code of a strategy runs within."""
        self.waiting = False
        yield
        self.waiting = True

    def _beat(self) -> None:
        while not self._ended.wait(EVERY_S):
            seen, last_bar_ns = self._progress()
            if seen != self._seen or self.waiting:
                self._seen = seen
                self._channel.send("heartbeat", last_bar_ns=last_bar_ns, rss_kb=rss_kb())
