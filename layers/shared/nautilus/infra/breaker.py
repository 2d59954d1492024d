"""A circuit breaker: a neighbour that failed is left alone for a while, then one call finds out whether it is well."""

import threading
import time
from collections.abc import Callable


class Breaker:
    """The breaker before one neighbour; safe to share between threads.

    rest_s: how long the neighbour is left alone after a failure, in seconds of machine time; twice as long after each
    further failure, `longest_rest_s` at most (default: always `rest_s`). clock: seconds that never go back.

    Ask `admits` before a call and note the clock then; afterwards say `failed` or `succeeded` with that reading.
    """

    def __init__(
        self, rest_s: float, longest_rest_s: float | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.clock = clock
        self.rest_s = 0.0
        """The current rest; 0 while the neighbour is well."""
        self._first_rest_s = rest_s
        self._longest_rest_s = max(rest_s, longest_rest_s if longest_rest_s is not None else rest_s)
        self._lock = threading.Lock()
        self._failed_at = float("-inf")
        self._rests_until = float("-inf")

    @property
    def resting(self) -> bool:
        """True while no call would be admitted. Admits nothing itself."""
        return bool(self.rest_s) and self.clock() < self._rests_until

    def admits(self) -> bool:
        """Whether a call may be made now. After a rest one call is admitted; the others wait for its outcome."""
        if not self.rest_s:
            return True
        with self._lock:
            now = self.clock()
            if self.rest_s and now < self._rests_until:
                return False
            # A probe that never comes back is followed by another one after the same rest.
            self._rests_until = now + self.rest_s
            return True

    def failed(self, began: float) -> bool:
        """A call that was made at `began` failed. False when the same failure was reported before."""
        with self._lock:
            if began < self._failed_at:
                return False
            self._failed_at = self.clock()
            self.rest_s = min(self._longest_rest_s, max(self._first_rest_s, 2 * self.rest_s))
            self._rests_until = self._failed_at + self.rest_s
            return True

    def succeeded(self, began: float) -> bool:
        """A call that was made at `began` succeeded. True when the neighbour had been ill until then."""
        if not self.rest_s:
            return False
        with self._lock:
            if not self.rest_s or began < self._failed_at:
                return False
            self.rest_s = 0.0
            return True
