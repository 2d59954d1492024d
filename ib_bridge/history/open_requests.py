"""IB's limit on historical requests that are open at once, shared by backfills, confirmations of live bars, and bars that are
kept up to date.

How many backfills may have open is learnt (`concurrency`). Confirmations share that number: they go before backfills, and after
what a person waits for.
"""

import asyncio
from collections.abc import Callable

OPEN_AT_IB = 50
"""TWS API, historical data limitations: simultaneous open requests. A bar that is kept up to date is one for as long as it
lives (erdewit/ib_insync#293)."""
_MARGIN = 2
"""Left for requests that nobody counts here: heads and schedules."""


class OpenRequests:
    """history: how many requests the worker has open. allowed: how many it has learnt that may be open. live: how many streams
    hold one, or are about to. freed: called when a confirmation has given its slot back."""

    def __init__(self) -> None:
        self.history: Callable[[], int] = lambda: 0
        self.allowed: Callable[[], int] = lambda: 1
        self.live: Callable[[], int] = lambda: 0
        self.freed: Callable[[], None] = lambda: None
        self.confirming = 0
        """How many confirmations are open."""
        self._waiting = 0
        self._changed = asyncio.Event()

    def allowed_for_history(self, wanted: int) -> int:
        """How many of the requests that the worker would have open it may have open: one at least."""
        return max(1, min(wanted, OPEN_AT_IB - _MARGIN - self.live()))

    def has_room_for_live(self, held: int) -> bool:
        """True when one stream more fits beside what is open now."""
        return held + self.history() + self.confirming < OPEN_AT_IB - _MARGIN

    def for_backfills(self, *, interactive: bool) -> int:
        """How many the worker may have open beside the confirmations. What a person waits for does not give way to those that
        wait."""
        return self._limit() - self.confirming - (0 if interactive else self._waiting)

    def changed(self) -> None:
        """A request of the worker is not open any more."""
        self._changed.set()

    async def enter(self) -> None:
        """Take a slot for a confirmation, as soon as there is one."""
        self._waiting += 1
        try:
            while self.history() + self.confirming >= self._limit():
                self._changed.clear()
                await self._changed.wait()
            self.confirming += 1
        finally:
            self._waiting -= 1

    def leave(self) -> None:
        """Give it back."""
        self.confirming -= 1
        self._changed.set()
        self.freed()

    def _limit(self) -> int:
        return self.allowed_for_history(self.allowed())
