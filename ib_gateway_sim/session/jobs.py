"""The open work of one client: answers that take time, and subscriptions."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

from ib_gateway_sim.market.contracts import Contract

LIVE_BARS = "live bars"  # keepUpToDate
REAL_TIME_BARS = "real-time bars"
STREAMS = frozenset({"market data", LIVE_BARS, REAL_TIME_BARS, "tick by tick", "depth"})  # families of subscriptions


class Stream(NamedTuple):
    """What a subscription is about. `series`: the same for two that IB takes for the same stream."""

    contract: Contract
    series: str = ""


class Jobs:
    """(family of requests, request id) -> the task that works on it."""

    def __init__(self, disconnected: Callable[[], None], failed: Callable[[int], None]) -> None:
        self._disconnected = disconnected  # called when the work found the socket closed
        self._failed = failed  # called with the request id when the work raised
        self._tasks: dict[tuple[str, int], asyncio.Task[None]] = {}
        self._streams: dict[tuple[str, int], Stream] = {}  # of the tasks those that are subscriptions
        self._silent: set[tuple[str, int]] = set()  # subscriptions that hold their id and never send again

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, family: str, request_id: int, work: Coroutine[Any, Any, None], of: Stream | None = None) -> None:
        """Runs an answer that takes time; `stop` with the same names ends it. `of`: what a subscription is about."""
        key = (family, request_id)
        self._silent.discard(key)
        if of is not None:
            self._streams[key] = of
        task = asyncio.get_running_loop().create_task(self._run(request_id, work))
        self._tasks[key] = task

        def finished(done: asyncio.Task[None]) -> None:
            work.close()  # a job that was stopped before its first step
            if self._tasks.get(key) is done:
                self._forget(key)

        task.add_done_callback(finished)

    def _forget(self, key: tuple[str, int]) -> asyncio.Task[None] | None:
        self._streams.pop(key, None)
        self._silent.discard(key)
        return self._tasks.pop(key, None)

    async def _run(self, request_id: int, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except ConnectionError:
            self._disconnected()
        except Exception:
            self._failed(request_id)

    def has(self, family: str, request_id: int) -> bool:
        return (family, request_id) in self._tasks

    def ids(self, family: str) -> list[int]:
        """The request ids of a family, in the order of their start."""
        return [request_id for name, request_id in self._tasks if name == family]

    def count(self, family: str) -> int:
        return sum(name == family for name, _ in self._tasks)

    def stop(self, family: str, request_id: int) -> bool:
        """Ends the work; False where there was none."""
        task = self._forget((family, request_id))
        if task is None:
            return False
        task.cancel()
        return True

    def streams(self) -> list[tuple[tuple[str, int], Stream]]:
        """All subscriptions by family and request id, in the order of their start."""
        return [(key, self._streams[key]) for key in self._tasks if key in self._streams]

    def silence(self, family: str, request_id: int) -> None:
        """A subscription sends nothing any more, without any message; it can be cancelled."""
        self._silent.add((family, request_id))

    def is_silent(self, family: str, request_id: int) -> bool:
        return (family, request_id) in self._silent

    def stop_streams(self) -> list[int]:
        """Ends all subscriptions; their request ids."""
        streams = [key for key in self._tasks if key[0] in STREAMS]
        for family, request_id in streams:
            self.stop(family, request_id)
        return [request_id for _, request_id in streams]

    def stop_all(self) -> None:
        for task in list(self._tasks.values()):
            task.cancel()
        self._tasks.clear()
        self._streams.clear()
        self._silent.clear()
