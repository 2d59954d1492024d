"""How much one caller may take: requests per minute, and reads that wait. Counted in Redis, else in this process."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from nautilus.cache import Cache
from nautilus.errors import RateLimited

WINDOW_S = 60
WAITS = 4
"""How many reads of one caller may wait for bars at once; a fifth is answered at once with what is there."""
_LONGEST_WAIT_S = 30


class Rate(NamedTuple):
    """What is left in the current minute, in the words of the draft "RateLimit header fields for HTTP"."""

    limit: int
    left: int
    reset_s: int

    @property
    def headers(self) -> dict[str, str]:
        return {
            "RateLimit-Policy": f'"reads";q={self.limit};w={WINDOW_S}',
            "RateLimit": f'"reads";r={max(0, self.left)};t={self.reset_s}',
        }


class Limits:
    """The limits of one process. per_minute 0: no limit of requests."""

    def __init__(self, cache: Cache, per_minute: int, now_s: Callable[[], float] = time.time) -> None:
        self._cache = cache
        self._per_minute = per_minute
        self._now_s = now_s
        self._lock = threading.Lock()
        self._minute = 0
        self._taken: dict[str, int] = {}
        self._waiting: dict[str, int] = {}

    def take(self, caller: str) -> Rate | None:
        """Count a request. None when there is no limit. Ask `check` whether it was too many."""
        if not self._per_minute:
            return None
        now = self._now_s()
        minute, passed = divmod(now, WINDOW_S)
        taken = self._cache.count(f"nautilus:rate:{caller}:{int(minute)}", 2 * WINDOW_S)
        if taken is None:
            with self._lock:
                if minute != self._minute:
                    self._minute, self._taken = int(minute), {}
                taken = self._taken[caller] = self._taken.get(caller, 0) + 1
        return Rate(self._per_minute, self._per_minute - taken, max(1, round(WINDOW_S - passed)))

    @staticmethod
    def check(rate: Rate | None) -> None:
        """RateLimited when the minute's share was used up before this request."""
        if rate is not None and rate.left < 0:
            raise RateLimited(
                f"more than {rate.limit} requests in a minute; go on in {rate.reset_s} s", retry_after_s=rate.reset_s
            )

    @contextmanager
    def waiting(self, caller: str) -> Iterator[bool]:
        """Count a waiting read as long as the block lasts; yields False when the caller has too many already."""
        key = f"nautilus:waits:{caller}"
        shared = self._cache.count(key, _LONGEST_WAIT_S)
        with self._lock:
            own = self._waiting[caller] = self._waiting.get(caller, 0) + 1
        try:
            yield (own if shared is None else shared) <= WAITS
        finally:
            with self._lock:
                self._waiting[caller] -= 1
                if not self._waiting[caller]:
                    del self._waiting[caller]
            if shared is not None:
                self._cache.discount(key)
