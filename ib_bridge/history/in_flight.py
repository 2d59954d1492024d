"""What the worker has in flight: the leased chunks, each with the task that works on it."""

import asyncio
from collections.abc import Callable, Coroutine

from nautilus.db.ledger.chunks import Lease


class InFlight:
    """The chunks that are worked on, and which of them have a request open at IB; the others' answers are being stored.

    changed: called when a request has its answer, and when the work on a chunk has ended.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._tasks: dict[int, tuple[Lease, asyncio.Task[None]]] = {}
        self._asking: set[Lease] = set()

    @property
    def asking(self) -> int:
        """How many requests are open at IB."""
        return len(self._asking)

    @property
    def leases(self) -> list[Lease]:
        """The leases of all chunks in flight."""
        return [lease for lease, _ in self._tasks.values()]

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """The tasks of all chunks in flight."""
        return [task for _, task in self._tasks.values()]

    def has_room(self, allowed: int) -> bool:
        """True when one more request may be sent, with `allowed` open at IB at once.

        While an answer is being stored, the next request may be open at IB; as many again may wait for the database.
        """
        return len(self._asking) < allowed and len(self._tasks) < 2 * allowed

    def start(self, lease: Lease, work: Coroutine[None, None, None]) -> None:
        """Begin the work on a leased chunk."""

        def over(_: asyncio.Task[None]) -> None:
            mine = self._tasks.get(lease.chunk_id)
            if mine is not None and mine[0].token == lease.token:
                del self._tasks[lease.chunk_id]
            self.answered(lease)

        task = asyncio.create_task(work)
        self._tasks[lease.chunk_id] = (lease, task)
        self._asking.add(lease)
        task.add_done_callback(over)

    def answered(self, lease: Lease) -> None:
        """The chunk's request is not open at IB any more."""
        self._asking.discard(lease)
        self._changed()

    def cancel(self, chunk_id: int) -> None:
        """Cancel the work on a chunk, if it is still in flight."""
        if chunk_id in self._tasks:
            self._tasks[chunk_id][1].cancel()
