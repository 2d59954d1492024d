"""Reading the bus: one thread for each way by which messages come. The threads hand all messages to the event loop in order."""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

from nautilus.errors import Unavailable
from nautilus.log import Log

_PAUSE_S = 0.5
_SAYS_AGAIN_S = 60.0
"""A way that does not work is logged once in so long."""
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Reader(Protocol[T_co]):
    """One way to read. Unavailable: it does not work now."""

    def read(self) -> Sequence[T_co]:
        """What came since the last call, waiting a while for the first."""

    def close(self) -> None:
        """Let go of what it holds."""


class BusThread(Generic[T]):
    """Reads one way for as long as the process lives. works: the last read succeeded. tried: there was a first read."""

    def __init__(self, name: str, reader: Reader[T], log: Log) -> None:
        self.name = name
        self.works = False
        self.tried = asyncio.Event()
        self._reader = reader
        self._log = log
        self._stopped = threading.Event()
        self._logged_at = float("-inf")
        self._thread: threading.Thread | None = None

    def start(
        self,
        loop: asyncio.AbstractEventLoop,
        receive: Callable[[Sequence[T], float], None],
        connected: Callable[[], None],
    ) -> None:
        """Begin to read. In the event loop `receive` is called with what comes and the time of the monotonic clock at which
        it was read, and `connected` when reading works (again)."""
        self._thread = threading.Thread(
            target=self._run, args=(loop, receive, connected), name=f"bus-{self.name}", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop reading; the thread ends with the read that is under way."""
        self._stopped.set()

    def join(self, within_s: float) -> None:
        if self._thread is not None:
            self._thread.join(within_s)

    def _run(
        self,
        loop: asyncio.AbstractEventLoop,
        receive: Callable[[Sequence[T], float], None],
        connected: Callable[[], None],
    ) -> None:
        while not self._stopped.is_set():
            try:
                entries = self._reader.read()
                if not self.works:
                    self.works = True
                    loop.call_soon_threadsafe(self.tried.set)
                    loop.call_soon_threadsafe(connected)
                if entries:
                    loop.call_soon_threadsafe(receive, entries, time.monotonic())
            except Exception as failed:
                self.works = False
                if self._stopped.is_set() or loop.is_closed():
                    break
                loop.call_soon_threadsafe(self.tried.set)
                self._report(failed)
                self._stopped.wait(_PAUSE_S)
        self._reader.close()

    def _report(self, failed: Exception) -> None:
        if time.monotonic() - self._logged_at < _SAYS_AGAIN_S:
            return
        self._logged_at = time.monotonic()
        if isinstance(failed, Unavailable):
            self._log.warning("bus-away", extra={"way": self.name, "reason": failed.detail})
        else:
            self._log.exception("bus-broke", extra={"way": self.name})
