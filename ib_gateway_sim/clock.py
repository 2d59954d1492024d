"""The simulator's time: machine time, a multiple of it, or a clock that stands until a command moves it.

All rules (latency, pacing windows, sessions, nightly restart) follow this clock. Times are nanoseconds since the epoch,
UTC. Sleepers wake in the order of their times, and a jump shows each of them its own time on the way.
"""

import asyncio
import heapq
import itertools
import time
from collections.abc import AsyncIterator

SECOND_NS = 1_000_000_000
_SETTLE_ROUNDS = 8  # turns of the event loop that a woken task gets to send its answer before time goes on


class Clock:
    """`rate` market seconds pass per machine second; 0 is a clock that only `advance` and `set` move."""

    def __init__(self, mode: str = "real", *, rate: float = 1.0, start_ns: int | None = None) -> None:
        if mode not in ("real", "rate", "stepped"):
            raise ValueError(f"clock: {mode!r} is unknown; allowed: real, rate, stepped")
        if mode == "rate" and not 0 < rate <= 1e6:
            raise ValueError(f"clock: rate {rate} is not allowed; allowed: above 0, at most 1000000")
        self.mode = mode
        self.rate = 0.0 if mode == "stepped" else 1.0 if mode == "real" else rate
        self._anchor_machine_ns = time.monotonic_ns()
        self._anchor_ns = time.time_ns() if start_ns is None else start_ns
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._stepping: dict[asyncio.Future[None], tuple[int, int]] = {}  # sleeper -> (its time, length of its steps)
        self._numbers = itertools.count()
        self._timer: asyncio.TimerHandle | None = None
        self._moving = asyncio.Lock()

    # ---- reading -------------------------------------------------------------------------------------------------
    def now_ns(self) -> int:
        return self._anchor_ns + int((time.monotonic_ns() - self._anchor_machine_ns) * self.rate)

    def now_s(self) -> float:
        return self.now_ns() / SECOND_NS

    def describe(self) -> dict[str, object]:
        return {"now_ns": self.now_ns(), "rate": self.rate, "mode": self.mode}

    # ---- waiting -------------------------------------------------------------------------------------------------
    async def sleep(self, seconds: float) -> None:
        await self.sleep_until(self.now_ns() + int(seconds * SECOND_NS))

    async def sleep_until(self, at_ns: int, *, step_ns: int = 0) -> None:
        """`step_ns`: sleeps as one who wakes every so often and sleeps on, so a jump (`set`) over a step wakes it."""
        if at_ns <= self.now_ns():
            await asyncio.sleep(0)
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (at_ns, next(self._numbers), waiter))
        if self._sleepers[0][2] is waiter:
            self._arm()
        if not step_ns:
            await waiter
            return
        self._stepping[waiter] = (at_ns, step_ns)
        try:
            await waiter
        finally:
            self._stepping.pop(waiter, None)

    async def beats(self, period_s: float) -> AsyncIterator[float]:
        """The times (epoch seconds) that are multiples of the period, as they come; those that are overdue are left out."""
        period_ns = int(period_s * SECOND_NS)
        while True:
            at_ns = (self.now_ns() // period_ns + 1) * period_ns
            await self.sleep_until(at_ns)
            yield at_ns / SECOND_NS

    # ---- moving --------------------------------------------------------------------------------------------------
    async def advance(self, seconds: float) -> None:
        """Moves on by so many seconds, waking every sleeper on the way at its own time."""
        if not 0 <= seconds <= 3.2e9:
            raise ValueError(f"seconds: {seconds} is not allowed; allowed: 0 and more")
        async with self._moving:
            await self._walk_to(self.now_ns() + int(seconds * SECOND_NS))

    async def set(self, at_ns: int) -> None:
        """Jumps, also backwards; sleepers whose time was passed over wake once, at the new time."""
        if not 0 < at_ns < 2**62:
            raise ValueError(f"now_ns: {at_ns} is not allowed; allowed: nanoseconds since the epoch")
        async with self._moving:
            before_ns = self.now_ns()
            self._place(at_ns)
            self._wake_due()
            self._wake_stepping(before_ns)
            await _settle()

    def set_rate(self, rate: float) -> None:
        """Goes on from the present at another rate; 0 stops the clock."""
        if not 0 <= rate <= 1e6:
            raise ValueError(f"rate: {rate} is not allowed; allowed: 0 (stands still) to 1000000")
        self._place(self.now_ns())
        self.rate = rate
        self.mode = "stepped" if rate == 0 else "rate"
        self._arm()

    async def _walk_to(self, target_ns: int) -> None:
        await _settle()  # tasks that are about to sleep are asleep
        while self._sleepers and self._sleepers[0][0] <= target_ns:
            at_ns = self._sleepers[0][0]
            if self._sleepers[0][2].done():
                heapq.heappop(self._sleepers)
                continue
            self._place(max(at_ns, self.now_ns()))
            self._wake_due()
            await _settle()
        self._place(max(target_ns, self.now_ns()))
        self._wake_due()
        await _settle()

    def _place(self, at_ns: int) -> None:
        self._anchor_ns = at_ns
        self._anchor_machine_ns = time.monotonic_ns()

    def _wake_due(self) -> None:
        now_ns = self.now_ns()
        while self._sleepers and self._sleepers[0][0] <= now_ns:
            waiter = heapq.heappop(self._sleepers)[2]
            if not waiter.done():
                waiter.set_result(None)
        self._arm()

    def hasten(self) -> None:
        """Who sleeps in steps sleeps on to its next step alone: something has happened."""
        now_ns = self.now_ns()
        for waiter, (at_ns, step_ns) in self._stepping.items():
            due_ns = _first_step_ns(at_ns, step_ns, now_ns)
            self._stepping[waiter] = (due_ns, step_ns)
            heapq.heappush(self._sleepers, (due_ns, next(self._numbers), waiter))
        self._arm()

    def _wake_stepping(self, before_ns: int) -> None:
        """Wakes those who have a step between a time before a jump and now."""
        now_ns = self.now_ns()
        for waiter, (at_ns, step_ns) in list(self._stepping.items()):
            if _first_step_ns(at_ns, step_ns, before_ns) <= now_ns and not waiter.done():
                waiter.set_result(None)

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        if self._sleepers and self.rate > 0:
            wait_s = max(0.0, (self._sleepers[0][0] - self.now_ns()) / SECOND_NS / self.rate)
            self._timer = asyncio.get_running_loop().call_later(wait_s, self._wake_due)


def _first_step_ns(at_ns: int, step_ns: int, after_ns: int) -> int:
    """The first step after a time of one that ends at `at_ns`."""
    return at_ns - (at_ns - after_ns - 1) // step_ns * step_ns


async def _settle() -> None:
    for _ in range(_SETTLE_ROUNDS):
        await asyncio.sleep(0)
