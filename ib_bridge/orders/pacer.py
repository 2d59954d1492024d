"""How fast the order process may send: IB takes 50 messages in a second of a connection and hangs up on who goes on."""

import asyncio
import time
from collections import deque
from collections.abc import Callable

_SECOND_S = 1.05
"""A little more than a second, as the gateway counts by its own clock what the network brings closer together."""


class Pacer:
    """Counts the messages of one connection, in machine time. Orders and changes of orders leave `kept` of each second to
    what is urgent: cancels, and the questions by which we know what lives."""

    def __init__(self, per_s: int, kept: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s = per_s
        self._kept = kept
        self._clock = clock
        self._sent: deque[float] = deque()
        self._turn = asyncio.Lock()

    def wait_s(self, messages: int = 1, *, urgent: bool = False) -> float:
        """Seconds until so many messages may be sent at once; 0: now."""
        now = self._clock()
        while self._sent and now - self._sent[0] >= _SECOND_S:
            self._sent.popleft()
        most = self._per_s if urgent else self._per_s - self._kept
        too_many = len(self._sent) + min(messages, most) - most
        return max(0.0, self._sent[too_many - 1] + _SECOND_S - now) if too_many > 0 else 0.0

    def count(self, messages: int = 1) -> None:
        """So many messages are sent now."""
        self._sent.extend([self._clock()] * messages)

    async def passed(self, messages: int = 1, *, urgent: bool = False) -> float:
        """Wait until so many messages may be sent, and count them; returns when that was, for `written`. What is urgent waits
        behind nothing else."""
        if urgent:
            return await self._pass(messages, urgent=True)
        async with self._turn:
            return await self._pass(messages, urgent=False)

    async def _pass(self, messages: int, *, urgent: bool) -> float:
        while (wait_s := self.wait_s(messages, urgent=urgent)) > 0:
            await asyncio.sleep(wait_s)
        self.count(messages)
        return self._sent[-1]

    def written(self, counted: float, messages: int = 1) -> None:
        """Messages that were counted at that time leave only now: a commit lay between, and it may have been slow."""
        for _ in range(min(messages, self._sent.count(counted))):
            self._sent.remove(counted)
            self.count()

    def forget(self) -> None:
        """A new connection: the gateway begins to count anew."""
        self._sent.clear()
