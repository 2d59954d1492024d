"""Tells the host each second that the strategy is not stuck."""

import threading
from collections.abc import Callable
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
    """For a process whose main thread computes. It beats while that thread gets on, or waits for the host.

    turns: a number that rises with each bar. last_bar_ns: the close of the last bar.
    """

    def __init__(self, channel: Channel, turns: Callable[[], int], last_bar_ns: Callable[[], int | None]) -> None:
        self._channel, self._turns, self._last_bar_ns = channel, turns, last_bar_ns
        self._seen = -1
        self._ended = threading.Event()
        self.waiting = True
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> "Heartbeat":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._ended.wait(EVERY_S):
            turns = self._turns()
            if turns != self._seen or self.waiting:
                self._seen = turns
                self._channel.send("heartbeat", last_bar_ns=self._last_bar_ns(), rss_kb=rss_kb())
