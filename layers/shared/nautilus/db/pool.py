"""Who may have how many of a pool's connections at once."""

import threading
from collections import Counter

from nautilus.infra.executors import share


class PoolPlaces:
    """The permits of a pool of connections. One caller gets three quarters of them, where there are four or more."""

    def __init__(self, size: int) -> None:
        self._free = size
        self._share = share(size) if size >= 4 else size
        self._taken: Counter[str] = Counter()
        self._changed = threading.Condition()

    def take(self, who: str, timeout_s: float) -> bool:
        """Wait for a permit, at most so many seconds; False when there was none."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._open_to(who), timeout_s):
                return False
            self._free -= 1
            if who:
                self._taken[who] += 1
            return True

    def _open_to(self, who: str) -> bool:
        return self._free > 0 and self._taken.get(who, 0) < self._share

    def give_back(self, who: str) -> None:
        with self._changed:
            self._free += 1
            if who:
                self._taken[who] -= 1
                if not self._taken[who]:
                    del self._taken[who]
            self._changed.notify_all()
