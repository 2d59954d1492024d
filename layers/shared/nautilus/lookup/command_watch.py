"""Waiting for commands that the bridge executes: one query for all waiters of a process together, however many commands."""

import asyncio
import logging
from collections.abc import Collection, Mapping
from uuid import UUID

from nautilus.db.bridge import commands
from nautilus.db.bridge.commands import EndedCommand
from nautilus.db.connection import Database
from nautilus.errors import Unavailable
from nautilus.infra.executors import Executor, shared_task

_POLL_S = 0.05
_LATER_POLL_S = 0.25
_OFTEN = 20
"""So many polls are made soon after each other; what takes longer than a second is looked at less often."""
_log = logging.getLogger(__name__)


class _Waiter:
    """Somebody who waits until all of some commands have ended."""

    def __init__(self, numbers: Collection[UUID]) -> None:
        self.open = set(numbers)
        self.ended: dict[UUID, EndedCommand] = {}
        self.all_ended = asyncio.Event()
        self.polls = 0


class CommandWatch:
    """Tells when commands have ended. It asks the database only while somebody waits."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._thread = Executor("commands", 1)
        self._waiters: set[_Waiter] = set()
        self._task: asyncio.Task[None] | None = None

    async def ended(self, numbers: Collection[UUID], timeout_s: float) -> Mapping[UUID, EndedCommand]:
        """The rows (state, result, error) of those commands that have ended: all, or after `timeout_s` as many as have."""
        waiter = _Waiter(numbers)
        if not waiter.open:
            return {}
        self._waiters.add(waiter)
        if self._task is None or self._task.done() or self._task.get_loop() is not asyncio.get_running_loop():
            self._task = shared_task(self._poll())
        try:
            await asyncio.wait_for(waiter.all_ended.wait(), timeout_s)
        except TimeoutError:
            pass
        finally:
            self._waiters.discard(waiter)
        return waiter.ended

    async def _poll(self) -> None:
        while self._waiters:
            soon = any(waiter.polls < _OFTEN for waiter in self._waiters)
            await asyncio.sleep(_POLL_S if soon else _LATER_POLL_S)
            waiters = list(self._waiters)
            try:
                rows = await self._thread.run(self._read_rows, {number for waiter in waiters for number in waiter.open})
            except Unavailable:
                rows = {}  # who waits says so when the time is over
            except Exception:
                # What nobody foresaw must not end the watch: its waiters would get no answer any more.
                _log.exception("command-watch-broke")
                rows = {}
            for waiter in waiters:
                waiter.polls += 1
                waiter.ended |= {number: rows[number] for number in waiter.open & rows.keys()}
                waiter.open -= rows.keys()
                if not waiter.open:
                    waiter.all_ended.set()

    def _read_rows(self, numbers: Collection[UUID]) -> dict[UUID, EndedCommand]:
        with self._db.transaction(snapshot=True) as cursor:
            return {row.id: row for row in commands.ended(cursor, numbers)}
