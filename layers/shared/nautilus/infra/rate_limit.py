"""How much one caller may take: requests per minute, and reads that wait. Counted in Redis, else in this process."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple
from uuid import uuid4

from nautilus.errors import RateLimited
from nautilus.infra.cache import Cache

PERIOD_S = 60
WAITS = 4
"""How many reads of one caller may wait for bars at once; a fifth is answered at once with what is there."""
LONGEST_WAIT_S = 30.0
"""A slot that is held for longer is free again: its process died, or could not say that the wait was over."""


class Rate(NamedTuple):
    """What is left in the current minute, in the words of the draft "RateLimit header fields for HTTP"."""

    limit: int
    left: int
    reset_s: int

    @property
    def headers(self) -> dict[str, str]:
        return {
            "RateLimit-Policy": f'"reads";q={self.limit};w={PERIOD_S}',
            "RateLimit": f'"reads";r={max(0, self.left)};t={self.reset_s}',
        }


class CallerLimits:
    """The limits of one process. per_minute 0: no limit of requests. longest_wait_s: when the slot of a wait expires."""

    def __init__(
        self,
        cache: Cache,
        per_minute: int,
        now_s: Callable[[], float] = time.time,
        longest_wait_s: float = LONGEST_WAIT_S,
    ) -> None:
        self._cache = cache
        self._per_minute = per_minute
        self._now_s = now_s
        self._longest_wait_s = longest_wait_s
        self._lock = threading.Lock()
        self._minute = 0
        self._taken: dict[str, int] = {}
        self._waiting: dict[str, dict[str, float]] = {}
        """Caller -> wait -> when its slot expires."""

    def take(self, caller: str) -> Rate | None:
        """Count a request. None when there is no limit. Ask `check` whether it was too many."""
        if not self._per_minute:
            return None
        now = self._now_s()
        minute, passed = divmod(now, PERIOD_S)
        taken = self._cache.count(f"nautilus:rate:{caller}:{int(minute)}", 2 * PERIOD_S)
        if taken is None:
            with self._lock:
                if minute != self._minute:
                    self._minute, self._taken = int(minute), {}
                taken = self._taken[caller] = self._taken.get(caller, 0) + 1
        return Rate(self._per_minute, self._per_minute - taken, max(1, round(PERIOD_S - passed)))

    @staticmethod
    def check(rate: Rate | None) -> None:
        """RateLimited when the minute's share was used up before this request."""
        if rate is not None and rate.left < 0:
            raise RateLimited(
                f"more than {rate.limit} requests in a minute; go on in {rate.reset_s} s", retry_after_s=rate.reset_s
            )

    @contextmanager
    def waiting(self, caller: str) -> Iterator[bool]:
        """Hold one of the caller's slots as long as the block lasts; yields False when all are held already."""
        key, wait = f"nautilus:waiting:{caller}", uuid4().hex
        shared = self._cache.hold(key, wait, WAITS, self._longest_wait_s)
        own = self._hold(caller, wait)
        try:
            yield own if shared is None else shared
        finally:
            self._release(caller, wait)
            if shared is not False:  # also when Redis did not answer: it may have counted all the same
                self._cache.release(key, wait)

    def _hold(self, caller: str, wait: str) -> bool:
        """The same in this process alone, for when nobody else counts."""
        now = self._now_s()
        with self._lock:
            held = {name: until for name, until in self._waiting.get(caller, {}).items() if until > now}
            granted = len(held) < WAITS
            if granted:
                held[wait] = now + self._longest_wait_s
            self._waiting[caller] = held
        return granted

    def _release(self, caller: str, wait: str) -> None:
        with self._lock:
            held = self._waiting.get(caller, {})
            held.pop(wait, None)
            if not held:
                self._waiting.pop(caller, None)
