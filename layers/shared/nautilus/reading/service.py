"""Reading bars: one call that answers what is there, says what is missing and why, and requests it once."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from threading import BoundedSemaphore
from types import MappingProxyType
from typing import NamedTuple
from uuid import UUID

from nautilus.auth.principal import Principal
from nautilus.coverage.availability import Availability, Calendars
from nautilus.db.bars import bar_source
from nautilus.db.bars.bar_source import BarSource
from nautilus.db.connection import Database
from nautilus.db.cursor import Cursor
from nautilus.db.replica import Replica
from nautilus.errors import NautilusError
from nautilus.infra.cache import Cache
from nautilus.infra.executors import Executor, share
from nautilus.infra.queue import Queue
from nautilus.infra.rate_limit import CallerLimits
from nautilus.lookup.lookup_commands import LookupCommands
from nautilus.lookup.resolve import InstrumentLookup
from nautilus.lookup.search import InstrumentSearch
from nautilus.reading import answer, pages, read_through, snapshot
from nautilus.reading.answer import Draft, Reply
from nautilus.reading.answer_cache import AnswerCache
from nautilus.reading.headers import Timing
from nautilus.reading.pages import Page
from nautilus.reading.query import BarsQuery
from nautilus.reading.snapshot import Snapshot


class _Read(NamedTuple):
    """One query of one caller, and where its time went."""

    query: BarsQuery
    caller: Principal
    timing: Timing


class _Filling(NamedTuple):
    """What a read has done about what it misses: why instruments could not be looked up, and the job it has made."""

    failed: Mapping[str, NautilusError] = MappingProxyType({})
    job_id: UUID | None = None


_NOTHING_DONE = _Filling()


class MarketData:
    """The reads of one process. Without IB, queue or Redis they answer from what is stored."""

    def __init__(
        self,
        database: Database,
        queue: Queue,
        cache: Cache,
        limits: CallerLimits,
        *,
        replica: Replica,
        search_wait_s: float,
        plan_limit: int,
        read_wait_s: float,
    ) -> None:
        self._db = database
        self._queue = queue
        self._cache = cache
        self._answers = AnswerCache(cache)
        self._limits = limits
        self._replica = replica
        self._plan_limit = plan_limit
        self._read_wait_s = read_wait_s
        self._calendars = Calendars()
        # Of the connections, reads leave a quarter to who needs the database for something else; where a replica gives
        # the bars, its failure takes half of them at most.
        reads = share(database.size)
        self.threads = Executor("reads", reads, per_caller=share(reads))
        self._fall_back = Executor("fall-back", max(1, database.size // 2))
        self._fall_backs = BoundedSemaphore(max(1, database.size // 2))
        self._writes = Executor("read-through", max(1, database.size // 4))
        self._watch = read_through.Watch(database)
        questions = LookupCommands(database, queue, wait_s=search_wait_s, writes=self._writes)
        self.instrument_lookup = InstrumentLookup(database, questions, reads=self.threads)
        self.instrument_search = InstrumentSearch(database, questions, reads=self.threads)

    async def read(self, query: BarsQuery, caller: Principal) -> Reply:
        """The answer to a query. What is missing is requested, once, when the caller may and the plan is small.

        Waiting holds no thread, connection or transaction.
        """
        read = _Read(query, caller, Timing())
        found = await self.threads.run(self._attempt, read)
        if isinstance(found, Snapshot):
            filling = await self._fill(read, found)
            found = await self.threads.run(self._answer, read, filling)
        return await self._completed(read, found)

    # ---- what is missing ---------------------------------------------------------------------------------------------

    async def _fill(self, read: _Read, found: Snapshot) -> _Filling:
        """Look up what is unknown, ask for what is missing, and wait for it."""
        query, caller = read.query, read.caller
        failed: Mapping[str, NautilusError] = {}
        if found.unknown:
            failed = await self.instrument_lookup.look_up(found.unknown, caller)
            found = await self.threads.run(self._snapshot, query, failed)
            if found.unknown and not query.several:
                raise failed[found.unknown[0].key]
        wanted = self._to_fill(read, found)
        job_id = await self._writes.run(read_through.ask, self._db, self._queue, caller, wanted) if wanted else None
        pending = [each for each in found.availabilities if each.pending or (job_id and each in wanted)]
        since = time.perf_counter()
        if pending and found.token is None and query.wait_s != 0:
            await self._wait(query, pending, job_id, caller)
        read.timing.add("wait", since)
        return _Filling(failed, job_id)

    def _to_fill(self, read: _Read, found: Snapshot) -> list[Availability]:
        """The views that this read may have filled: all that miss something, or, when that is too much, none."""
        wanted = [availability for availability in found.availabilities if availability.to_ask]
        allowed = read.query.backfill and found.token is None and read.caller.may("backfill:write")
        return wanted if allowed and sum(availability.requests for availability in wanted) <= self._plan_limit else []

    async def _wait(
        self, query: BarsQuery, pending: list[Availability], job_id: UUID | None, caller: Principal
    ) -> None:
        """Hold the read until nothing of its window is under way any more, or its time is over."""
        wait_s = query.wait_s
        if wait_s is None:
            if not await self.threads.run(self._all_empty, pending):
                return
            wait_s = self._read_wait_s
        clock = asyncio.get_running_loop().time
        deadline = clock() + wait_s
        # Redis counts the waits: not in the event loop.
        async with self._cache.threads.within(self._limits.waiting(caller.id)) as granted:
            while granted and pending and clock() < deadline:
                jobs = {each.job_id for each in pending if each.job_id} | ({job_id} if job_id else set())
                if not await self._watch.changed(pending, jobs, deadline - clock()):
                    return
                found = await self.threads.run(self._snapshot, query)
                pending = [availability for availability in found.availabilities if availability.pending]

    def _all_empty(self, availabilities: Sequence[Availability]) -> bool:
        with self._db.transaction(snapshot=True) as cursor:
            return not any(
                v.row and bar_source.any_in(cursor, BarSource(v.row.id, v.row.timeframe), v.span)
                for v in availabilities
            )

    # ---- one snapshot ------------------------------------------------------------------------------------------------

    def _attempt(self, read: _Read) -> Reply | Draft | Snapshot:
        """The answer at once, when nothing has to be requested or waited for: one thread, one transaction."""
        query, since = read.query, time.perf_counter()
        with self._db.transaction(snapshot=True) as cursor:
            found = snapshot.take(cursor, query, self._calendars)
            waits = query.wait_s != 0 and found.token is None and found.pending
            if found.unknown or waits or self._to_fill(read, found):
                return found
            draft, page = self._drafted(cursor, query, found, _NOTHING_DONE)
        read.timing.add("db", since)
        return self._written(read, draft, page)

    def _snapshot(self, query: BarsQuery, failed: Mapping[str, NautilusError] = _NOTHING_DONE.failed) -> Snapshot:
        with self._db.transaction(snapshot=True) as cursor:
            return snapshot.take(cursor, query, self._calendars, failed)

    def _answer(self, read: _Read, filling: _Filling, *, from_primary: bool = False) -> Reply | Draft:
        since = time.perf_counter()
        with self._db.transaction(snapshot=True) as cursor:
            found = snapshot.take(cursor, read.query, self._calendars, filling.failed)
            draft, page = self._drafted(cursor, read.query, found, filling, from_primary=from_primary)
        read.timing.add("db", since)
        return self._written(read, draft, page)

    def _drafted(
        self, cursor: Cursor, query: BarsQuery, found: Snapshot, filling: _Filling, *, from_primary: bool = False
    ) -> tuple[Draft, Page | None]:
        """What the answer will be, with its bars unless it needs none or somebody else may have them."""
        draft = Draft.of(query, found, filling.failed, filling.job_id)
        if draft.unchanged:
            return draft, None
        held = self._answers.may_hold(draft.tag)
        if from_primary or query.live or not (self._replica.configured or held):
            return draft, pages.read_page(cursor, query, found)
        if held or not self._replica.resting or not self._fall_backs.acquire(blocking=False):
            return draft, None
        try:
            return draft, pages.read_page(cursor, query, found)
        finally:
            self._fall_backs.release()

    def _written(self, read: _Read, draft: Draft, page: Page | None) -> Reply | Draft:
        """The answer, or the draft of one whose bars are still to be had. No snapshot is open any more."""
        if draft.unchanged:
            return answer.not_modified(draft, read.timing)
        if page is None:
            return draft
        if draft.tag and not read.timing.cache:
            read.timing.cache = "none"
        return self._reply(read, draft, page)

    def _reply(self, read: _Read, draft: Draft, page: Page) -> Reply:
        return answer.write(draft, page, read.timing, fills=bool(self._to_fill(read, draft.snapshot)))

    # ---- from somewhere else -----------------------------------------------------------------------------------------

    async def _completed(self, read: _Read, found: Reply | Draft) -> Reply:
        """The answer to a draft: from Redis, from the replica, from the primary; no snapshot is open meanwhile."""
        if isinstance(found, Reply):
            return found
        kept = await self._answers.get(found, read.timing)
        if kept is not None:
            return kept
        context, since = found.snapshot.context, time.perf_counter()
        # Everything was decided. Bars of a version are the same wherever it is known.
        page = await self._replica.read(
            context.store_id,
            found.snapshot.versions,
            lambda cursor: pages.read_page(cursor, found.query, found.snapshot),
        )
        read.timing.add("db", since)
        read.timing.replica = page is not None
        if page is not None:
            reply, tag = await self.threads.run(self._reply, read, found, page), found.tag
        else:
            threads = self._fall_back if self._replica.configured else self.threads
            reply = await threads.run(self._from_primary, read, found)
            tag = reply.headers.get("ETag", "").strip('"')
        await self._answers.put(tag, reply)
        return reply

    def _from_primary(self, read: _Read, draft: Draft) -> Reply:
        """The answer in a new snapshot, as the one of the draft is over: decided anew, bars and all."""
        with self._fall_backs if self._replica.configured else nullcontext():
            reply = self._answer(read, _Filling(draft.failed, draft.job_id), from_primary=True)
        assert isinstance(reply, Reply)  # noqa: S101  for the type checker: the primary has the bars
        return reply
