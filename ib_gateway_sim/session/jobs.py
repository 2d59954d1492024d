"""The open work of one client: answers that take time, and subscriptions."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

STREAMS = frozenset(
    {"market data", "live bars", "real-time bars", "tick by tick", "depth"}
)  # families of subscriptions


class Jobs:
    """(family of requests, request id) -> the task that works on it."""

    def __init__(self, disconnected: Callable[[], None], failed: Callable[[int], None]) -> None:
        self._disconnected = disconnected  # called when the work found the socket closed
        self._failed = failed  # called with the request id when the work raised
        self._tasks: dict[tuple[str, int], asyncio.Task[None]] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, family: str, request_id: int, work: Coroutine[Any, Any, None]) -> None:
        """Runs an answer that takes time; `stop` with the same names ends it."""
        key = (family, request_id)
        task = asyncio.get_running_loop().create_task(self._run(request_id, work))
        self._tasks[key] = task

        def finished(done: asyncio.Task[None]) -> None:
            work.close()  # a job that was stopped before its first step
            if self._tasks.get(key) is done:
                del self._tasks[key]

        task.add_done_callback(finished)

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
        task = self._tasks.pop((family, request_id), None)
        if task is None:
            return False
        task.cancel()
        return True

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
