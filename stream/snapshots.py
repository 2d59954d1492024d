"""What a channel of bars holds, read from the database: bars that history confirmed, what is provisional, and the version.

Whoever asks while one transaction runs is served by the next one, which reads each different question once: so a thousand
sockets that resume together cost one read of each channel, and no snapshot is older than its question.
"""

import asyncio
from collections.abc import Iterable, Mapping

from nautilus.coverage.availability import Calendars
from nautilus.db.bars import read
from nautilus.db.bars.read import SnapshotContext
from nautilus.db.connection import Database
from nautilus.db.cursor import Cursor
from nautilus.infra.executors import Executor, shared_task
from stream.series_snapshot import CalendarUnknown, SeriesSnapshot, SnapshotQuery, read_series

_AT_ONCE = 40
"""Questions in one transaction."""


class Snapshots:
    """Reads snapshots for all sockets of a process, one transaction at a time."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._calendars = Calendars()
        self._threads = Executor("snapshots", 1)
        self._waiting: dict[SnapshotQuery, asyncio.Future[SeriesSnapshot]] = {}
        self._working: asyncio.Task[None] | None = None

    async def read(self, query: SnapshotQuery) -> SeriesSnapshot:
        """The snapshot of a channel, begun after this call. Unavailable: the database is away, or the calendar is unknown."""
        found = self._waiting.get(query)
        if found is None:
            found = self._waiting[query] = asyncio.get_running_loop().create_future()
            # Who asks may be gone before the answer comes.
            found.add_done_callback(lambda done: done.cancelled() or done.exception())
        if self._working is None:
            self._working = shared_task(self._work())
        return await asyncio.shield(found)

    async def _work(self) -> None:
        try:
            while self._waiting:
                batch = dict(list(self._waiting.items())[:_AT_ONCE])
                for query in batch:
                    del self._waiting[query]
                await self._serve(batch)
        finally:
            self._working = None

    async def _serve(self, batch: Mapping[SnapshotQuery, "asyncio.Future[SeriesSnapshot]"]) -> None:
        try:
            answers = await self._threads.run(self._read, list(batch))
        except Exception as failed:
            for waiting in batch.values():
                waiting.set_exception(failed)
        else:
            for query, waiting in batch.items():
                answer = answers[query]
                if isinstance(answer, CalendarUnknown):
                    waiting.set_exception(answer)
                else:
                    waiting.set_result(answer)

    def _read(self, queries: Iterable[SnapshotQuery]) -> dict[SnapshotQuery, SeriesSnapshot | CalendarUnknown]:
        with self._db.transaction(snapshot=True) as cursor:
            context = read.snapshot_context(cursor)
            return {query: self._read_one(cursor, context, query) for query in queries}

    def _read_one(
        self, cursor: Cursor, context: SnapshotContext, query: SnapshotQuery
    ) -> SeriesSnapshot | CalendarUnknown:
        try:
            return read_series(cursor, self._calendars, context, query)
        except CalendarUnknown as unknown:
            return unknown

    def close(self) -> None:
        self._threads.close()
