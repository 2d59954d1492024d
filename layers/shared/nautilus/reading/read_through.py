"""Read-through backfill: what a read misses is requested once, however many read it, and watched without holding anything."""

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

from nautilus.auth.principal import Principal
from nautilus.clock import rfc3339
from nautilus.coverage.availability import Availability
from nautilus.db.bars import read, requested
from nautilus.db.bars.read import SeriesKey
from nautilus.db.connection import Database
from nautilus.db.ledger import jobs
from nautilus.db.ledger.jobs import Item
from nautilus.infra.executors import Executor, shared_task
from nautilus.infra.loops import Backoff, repeat
from nautilus.infra.messages import JobHint
from nautilus.infra.queue import Queue
from nautilus.log import correlation
from nautilus.market.symbols import Selector
from nautilus.spans import Spans

_log = logging.getLogger(__name__)
POLL_S = 0.05
_BACKOFF = Backoff(first_s=0.2, longest_s=1.0)
_PRIORITY = 8


def ask(database: Database, queue: Queue, caller: Principal, availabilities: Sequence[Availability]) -> UUID | None:
    """Write one job for what these views miss, less what somebody requested within the last minute.

    One read at a time asks for a series, so that of many reads that miss the same one makes the job. Returns the job, or
    the one that somebody else's read has just made; None when that one is over already.
    """
    with database.transaction() as cursor:
        items: list[Item] = []
        theirs: UUID | None = None
        for availability in sorted(availabilities, key=lambda v: v.subject.key):
            requested.lock_asking(cursor, availability.subject.key)
            ranges = requested.requested_ranges(cursor, availability.subject.key)
            theirs = theirs or next((each.job_id for each in ranges if each.live), None)
            items += [
                _item(availability, span) for span in _hull(availability.to_ask - Spans(each.span for each in ranges))
            ]
        if not items:
            return theirs
        job_id = jobs.create(
            cursor,
            owner=caller.id,
            origin="read",
            items=items,
            priority=_PRIORITY,
            mode="missing",
            request={
                "instrument_ids": [v.subject.instrument.instrument_id for v in availabilities],
                "wish": _request_rows(items),
            },
            fingerprint=jobs.fingerprint(items, "missing"),
            correlation_id=correlation.get(),
        )
    queue.announce(JobHint(job_id=job_id, correlation_id=correlation.get()))
    return job_id


def _hull(spans: Spans) -> Iterable[tuple[int, int]]:
    """One range from the first to the last gap: the bridge leaves out what is covered."""
    ranges = list(spans)
    return [(ranges[0][0], ranges[-1][1])] if ranges else []


def _item(availability: Availability, span: tuple[int, int]) -> Item:
    subject = availability.subject
    who = Selector("", "", con_id=subject.instrument.con_id)
    return Item(who, subject.timeframe.name, subject.price, subject.session, span[0], span[1], None)


def _request_rows(items: Sequence[Item]) -> list[Mapping[str, str]]:
    return [{"timeframe": i.timeframe, "start": rfc3339(i.start or 0), "end": rfc3339(i.end or 0)} for i in items]


class _Waiter:
    """A read that waits until one of its series has another version than it saw, or one of its jobs is over."""

    def __init__(self, seen: Mapping[SeriesKey, int], job_ids: Iterable[UUID]) -> None:
        self.seen = seen
        self.job_ids = frozenset(job_ids)
        self.changed = asyncio.Event()


class Watch:
    """Wakes waiting reads. One query every 50 ms for all of a process together, none while nobody waits."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._thread = Executor("watch", 1)
        self._waiters: set[_Waiter] = set()
        self._task: asyncio.Task[None] | None = None

    async def changed(self, availabilities: Sequence[Availability], job_ids: Iterable[UUID], timeout_s: float) -> bool:
        """Wait until something of these views has changed; False when the time is over."""
        waiter = _Waiter({v.subject.key: v.data_version for v in availabilities}, job_ids)
        self._waiters.add(waiter)
        if self._task is None or self._task.done() or self._task.get_loop() is not asyncio.get_running_loop():
            polling = repeat("watch", self._poll, _log, backoff=_BACKOFF, going_on=lambda: bool(self._waiters))
            self._task = shared_task(polling)
        try:
            await asyncio.wait_for(waiter.changed.wait(), timeout_s)
        except TimeoutError:
            return False
        finally:
            self._waiters.discard(waiter)
        return True

    async def _poll(self) -> None:
        """Look once. While the database is away nobody is woken: a read says so itself when its time is over."""
        await asyncio.sleep(POLL_S)
        waiters = list(self._waiters)
        found, ended = await self._thread.run(self._states, waiters)
        for waiter in waiters:
            if waiter.job_ids & ended or any(found.get(key, 0) != seen for key, seen in waiter.seen.items()):
                waiter.changed.set()

    def _states(self, waiters: Sequence[_Waiter]) -> tuple[dict[SeriesKey, int], set[UUID]]:
        with self._db.transaction(snapshot=True) as cursor:
            keys = [key for waiter in waiters for key in waiter.seen]
            job_ids = [job_id for waiter in waiters for job_id in waiter.job_ids]
            return read.versions(cursor, keys), requested.ended(cursor, job_ids)
