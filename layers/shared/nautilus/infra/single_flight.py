"""One call for all who need its result at the same time, so that nobody queues for a neighbour that hangs."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

T = TypeVar("T")


class _Flight(Generic[T]):
    """One call under way or just over. began and ended: seconds of the clock; ended is None until it is over."""

    def __init__(self, began: float) -> None:
        self.began = began
        self.ended: float | None = None
        self.outcome: Future[T] = Future()


class SingleFlight(Generic[T]):
    """Runs `call` for one thread at a time; whoever comes meanwhile shares its outcome, success or error.

    An error is shared for `failure_s` seconds more: calls are not repeated against a neighbour that just failed. max_age_s:
    nobody is given a result of a call that began longer than this before they came. clock: seconds that never go back.
    """

    def __init__(
        self,
        call: Callable[[], T],
        *,
        max_age_s: float,
        failure_s: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._call = call
        self._max_age_s = max_age_s
        self._failure_s = failure_s
        self._clock = clock
        self._lock = threading.Lock()
        self._last: _Flight[T] | None = None

    def result(self) -> T:
        """The call's result, or its error raised. No lock is held while the call runs."""
        came = self._clock()
        while True:
            flight, own = self._joined()
            if own:
                self._run(flight)
                return flight.outcome.result()
            error = flight.outcome.exception()  # waits for the end
            if error is not None or flight.began >= came - self._max_age_s:
                return flight.outcome.result()

    def _joined(self) -> tuple[_Flight[T], bool]:
        """The flight to share, and whether this thread has to run it."""
        with self._lock:
            last = self._last
            if last is not None and (last.ended is None or self._just_failed(last)):
                return last, False
            self._last = _Flight(self._clock())
            return self._last, True

    def _just_failed(self, flight: _Flight[T]) -> bool:
        over = flight.ended is not None and flight.outcome.exception() is not None
        return over and self._clock() - (flight.ended or 0.0) < self._failure_s

    def _run(self, flight: _Flight[T]) -> None:
        try:
            found = self._call()
        except BaseException as error:
            flight.outcome.set_exception(error)
        else:
            flight.outcome.set_result(found)
        flight.ended = self._clock()
