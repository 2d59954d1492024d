"""Reading bars: one call that answers what is there, says what is missing and why, and has it asked for once."""

import asyncio
import gzip
import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from threading import BoundedSemaphore
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

from nautilus.auth.principal import Principal
from nautilus.clock import NS_PER_S, datetime_of, rfc3339
from nautilus.coverage.availability import Availability, Calendars, Subject, Window, assess, missing_rows
from nautilus.db.bars import bar_source
from nautilus.db.bars import read as reading
from nautilus.db.bars.bar_source import BarSource
from nautilus.db.bars.read import LookupSnapshot, SnapshotContext
from nautilus.db.connection import Database
from nautilus.db.cursor import Cursor
from nautilus.db.market import instruments, series
from nautilus.db.replica import Replica
from nautilus.errors import NautilusError
from nautilus.infra.cache import Cache
from nautilus.infra.executors import Executor, share
from nautilus.infra.queue import Queue
from nautilus.infra.rate_limit import CallerLimits
from nautilus.lookup.identity import Identity, identify, identify_by_name, trade_day
from nautilus.lookup.resolve import InstrumentLookup, known_identity
from nautilus.market.instrument import Instrument, kinds, price_kind, session_kind
from nautilus.market.symbols import Selector
from nautilus.market.timeframes import Timeframe, timeframe
from nautilus.reading import page_token as paging
from nautilus.reading import read_through
from nautilus.reading.formats import Format, Piece, body, compact
from nautilus.reading.page_token import PageCursor, Token
from nautilus.reading.pages import Page, SeriesReader, escaped_length
from nautilus.reading.query import DEFAULT_LIMIT, BarsQuery
from nautilus.spans import Span

MAX_BYTES = 5_900_000
"""Largest body, as the text within JSON that Lambda's answer is (its limit: 6,291,556 bytes with all else)."""
_MIN_GZIP_BYTES = 1_000
_GZIP_LEVEL = 4
_KEEP_S = 3_600
_SEALED_NS = 24 * 3_600 * NS_PER_S
"""A window that ends this long before the last closed bar is sealed: IB revises yesterday's bars, hardly older ones."""
_OF_ONE_ANSWER = ("Cache-Control", "Vary", "ETag", "Server-Timing")
"""Headers that are made anew for each answer; the others are kept with it."""
_SHAPE = "2"
"""Version of the answers' shape; part of every tag and cache key."""


class Reply(NamedTuple):
    """An answer ready to be sent."""

    status: int
    content: bytes
    headers: Mapping[str, str]


class _Part:
    """One instrument of a query: its view, what of it is still to be read, and as of which version; or why not."""

    def __init__(self, name: str | None, page_cursor: PageCursor) -> None:
        self.name = name
        self.page_cursor = page_cursor
        self.availability: Availability | None = None
        self.identity: Identity | None = None
        self.error: NautilusError | None = None
        self.key: int | None = None
        self.as_of: int | None = None

    @property
    def complete(self) -> bool:
        if self.availability is None:
            return False
        return self.page_cursor.complete if self.as_of is not None else self.availability.complete


class Snapshot(NamedTuple):
    """Everything a query needs, as of one snapshot."""

    context: SnapshotContext
    parts: Sequence[_Part]
    token: Token | None
    unknown: Sequence[Selector] = ()

    @property
    def availabilities(self) -> list[Availability]:
        return [part.availability for part in self.parts if part.availability is not None]

    @property
    def versions(self) -> dict[int, int]:
        """The series whose bars are read, and their versions now."""
        return {
            availability.row.id: availability.row.data_version
            for availability in self.availabilities
            if availability.row is not None
        }


class _Draft(NamedTuple):
    """What a snapshot has decided about an answer whose bars may come from somewhere else."""

    query: BarsQuery
    snapshot: Snapshot
    failed: Mapping[str, NautilusError]
    job_id: UUID | None
    tag: str
    headers: Mapping[str, str]

    @property
    def key(self) -> str:
        """The name of the answer in Redis."""
        return f"nautilus:bars:{self.tag}"


_Pages = tuple[list[Piece], str | None]
"""The candles of one page, and the token of the next one."""


class Timing:
    """Where the time went, for Server-Timing: milliseconds by name."""

    def __init__(self) -> None:
        self.began = time.perf_counter()
        self.parts: dict[str, float] = {}
        self.cache = ""
        self.copy = False
        """True when a read replica gave the bars."""

    def add(self, name: str, since: float) -> None:
        self.parts[name] = self.parts.get(name, 0.0) + (time.perf_counter() - since) * 1000

    @property
    def header(self) -> str:
        rows = [f"{name};dur={ms:.1f}" for name, ms in self.parts.items()]
        rows += [f"cache;desc={self.cache}"] if self.cache else []
        rows += ["replica"] if self.copy else []
        return ", ".join([*rows, f"total;dur={(time.perf_counter() - self.began) * 1000:.1f}"])


class MarketData:
    """The reads of one process. Without IB, queue or Redis they answer from what is stored."""

    def __init__(
        self,
        database: Database,
        queue: Queue,
        cache: Cache,
        limits: CallerLimits,
        *,
        replica: Database | None = None,
        search_wait_s: float,
        plan_limit: int,
        read_wait_s: float,
    ) -> None:
        self._db = database
        self._queue = queue
        self._cache = cache
        self._limits = limits
        self._replica = Replica(replica)
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
        self.instrument_lookup = InstrumentLookup(
            database, queue, wait_s=search_wait_s, reads=self.threads, writes=self._writes
        )

    # ---- bars --------------------------------------------------------------------------------------------------------

    async def read(self, requested: Callable[[], BarsQuery], caller: Principal) -> Reply:
        """The answer to a query. What is missing is asked for, once, when the caller may and the plan is small.

        requested: tells the query, in the thread that answers it. Waiting holds no thread, connection or transaction.
        """
        timing = Timing()
        query, found = await self.threads.run(self._attempt, requested, caller, timing)
        if not isinstance(found, Snapshot):
            return await self._completed(found, caller, timing)
        failed: Mapping[str, NautilusError] = {}
        if found.unknown:
            failed = await self.instrument_lookup.look_up(found.unknown, caller)
            found = await self.threads.run(self._read_snapshot, query, failed)
            if found.unknown and not query.several:
                raise failed[found.unknown[0].key]
        wanted = self._to_fill(found, caller)
        job_id = await self._writes.run(read_through.ask, self._db, self._queue, caller, wanted) if wanted else None
        pending = [
            availability
            for availability in found.availabilities
            if availability.pending or (job_id and availability in wanted)
        ]
        since = time.perf_counter()
        if pending and found.token is None and query.wait_s != 0:
            await self._wait(query, pending, job_id, caller)
        timing.add("wait", since)
        answer = await self.threads.run(self._answer, query, failed, job_id, caller, timing)
        return await self._completed(answer, caller, timing)

    def _to_fill(self, snapshot: Snapshot, caller: Principal) -> list[Availability]:
        """The views that this caller may have filled: all that miss something, or, when that is too much, none."""
        wanted = [availability for availability in snapshot.availabilities if availability.to_ask]
        allowed = snapshot.token is None and caller.may("backfill:write")
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
                jobs = {availability.job_id for availability in pending if availability.job_id} | (
                    {job_id} if job_id else set()
                )
                if not await self._watch.changed(pending, jobs, deadline - clock()):
                    return
                snapshot = await self.threads.run(self._read_snapshot, query)
                pending = [availability for availability in snapshot.availabilities if availability.pending]

    def _all_empty(self, availabilities: Sequence[Availability]) -> bool:
        with self._db.transaction(snapshot=True) as cursor:
            return not any(
                v.row and bar_source.any_in(cursor, BarSource(v.row.id, v.row.timeframe), v.span)
                for v in availabilities
            )

    # ---- one snapshot ------------------------------------------------------------------------------------------------

    def _attempt(
        self, requested: Callable[[], BarsQuery], caller: Principal, timing: Timing
    ) -> tuple[BarsQuery, Reply | _Draft | Snapshot]:
        """The answer at once, when nothing has to be asked or waited for: one thread, one transaction."""
        query = requested()
        since = time.perf_counter()
        with self._db.transaction(snapshot=True) as cursor:
            snapshot = self._set(cursor, query)
            waits = (
                query.wait_s != 0
                and snapshot.token is None
                and any(availability.pending for availability in snapshot.availabilities)
            )
            if snapshot.unknown or waits or self._to_fill(snapshot, caller):
                return query, snapshot
            draft, pages = self._drafted(cursor, query, snapshot, {}, None)
        timing.add("db", since)
        return query, self._written(draft, pages, caller, timing)

    def _read_snapshot(self, query: BarsQuery, failed: Mapping[str, NautilusError] = MappingProxyType({})) -> Snapshot:
        with self._db.transaction(snapshot=True) as cursor:
            return self._set(cursor, query, failed)

    def _answer(
        self,
        query: BarsQuery,
        failed: Mapping[str, NautilusError],
        job_id: UUID | None,
        caller: Principal,
        timing: Timing,
        *,
        from_primary: bool = False,
    ) -> Reply | _Draft:
        since = time.perf_counter()
        with self._db.transaction(snapshot=True) as cursor:
            snapshot = self._set(cursor, query, failed)
            draft, pages = self._drafted(cursor, query, snapshot, failed, job_id, from_primary=from_primary)
        timing.add("db", since)
        return self._written(draft, pages, caller, timing)

    def _drafted(
        self,
        cursor: Cursor,
        query: BarsQuery,
        snapshot: Snapshot,
        failed: Mapping[str, NautilusError],
        job_id: UUID | None,
        *,
        from_primary: bool = False,
    ) -> tuple[_Draft, _Pages | None]:
        """What the answer will be, with its bars unless it needs none or somebody else may have them."""
        complete = all(part.complete for part in snapshot.parts)
        tag = _tag(query, snapshot) if complete else ""
        headers = _headers(query, snapshot, complete)
        draft = _Draft(query, snapshot, failed, job_id, tag, headers | ({"ETag": f'"{tag}"'} if tag else {}))
        if _unchanged(draft):
            return draft, None
        if from_primary or not (self._replica.configured or (tag and self._cache.there)):
            return draft, self._pages(cursor, query, snapshot)
        if (tag and self._cache.there) or not self._replica.resting or not self._fall_backs.acquire(blocking=False):
            return draft, None
        try:
            return draft, self._pages(cursor, query, snapshot)
        finally:
            self._fall_backs.release()

    # ---- from somewhere else -----------------------------------------------------------------------------------------

    async def _completed(self, found: Reply | _Draft, caller: Principal, timing: Timing) -> Reply:
        """The answer to a draft: from Redis, from the replica, from the primary; no snapshot is open while one is asked."""
        if isinstance(found, Reply):
            return found
        kept = await self._kept(found, timing)
        if kept is not None:
            return kept
        snapshot = found.snapshot
        since = time.perf_counter()
        # Everything was decided. Bars of a version are the same wherever it is known.
        pages = await self._replica.read(
            snapshot.context.store_id, snapshot.versions, lambda copy: self._pages(copy, found.query, snapshot)
        )
        timing.add("db", since)
        timing.copy = pages is not None
        if pages is not None:
            reply = await self.threads.run(self._reply, found, pages, caller, timing)
            return await self._keep(found.tag, reply)
        threads = self._fall_back if self._replica.configured else self.threads
        reply = await threads.run(self._from_primary, found, caller, timing)
        return await self._keep(reply.headers.get("ETag", "").strip('"'), reply)

    def _from_primary(self, draft: _Draft, caller: Principal, timing: Timing) -> Reply:
        """The answer in a new snapshot, as the one of the draft is over: decided anew, bars and all."""
        with self._fall_backs if self._replica.configured else nullcontext():
            reply = self._answer(draft.query, draft.failed, draft.job_id, caller, timing, from_primary=True)
        assert isinstance(reply, Reply)  # noqa: S101  for the type checker: the primary has the bars
        return reply

    async def _kept(self, draft: _Draft, timing: Timing) -> Reply | None:
        """The answer as Redis has it."""
        if not draft.tag:
            return None
        since = time.perf_counter()
        kept = await self._cache.threads.run(self._cache.get, draft.key) if self._cache.there else None
        timing.add("redis", since)
        headers, content = _kept_parts(kept or b"")
        if headers is None:
            timing.cache = "miss" if self._cache.there else "none"
            return None
        timing.cache = "hit"
        return Reply(200, content, {**draft.headers, **headers, "Server-Timing": timing.header})

    async def _keep(self, tag: str, reply: Reply) -> Reply:
        """The same answer, kept in Redis where it is one that may be."""
        if tag and reply.status == 200 and self._cache.there:
            extra = {name: text for name, text in reply.headers.items() if name not in _OF_ONE_ANSWER}
            value = json.dumps(extra).encode() + b"\n" + reply.content
            await self._cache.threads.run(self._cache.put, f"nautilus:bars:{tag}", value, _KEEP_S)
        return reply

    def _set(
        self, cursor: Cursor, query: BarsQuery, failed: Mapping[str, NautilusError] = MappingProxyType({})
    ) -> Snapshot:
        """What a query needs. failed: why the unknown could not be looked up, by the key of their lookup."""
        prices, sessions = kinds(price_kind, query.price), kinds(session_kind, query.session)
        found = reading.lookup_snapshot(
            cursor, query.selectors, query.timeframe, prices, sessions, query.instrument_name
        )
        context = found.context
        if query.page_token is not None:
            token = paging.unseal(
                query.page_token, context.store_id, query=query.digest, now_s=context.machine_ns // NS_PER_S
            )
            return Snapshot(context, self._going_on(cursor, query, found, token), token)
        parts, unknown = [], []
        for name, selector in zip(query.names, query.selectors, strict=True):
            part = _Part(name, PageCursor(0, 0, 0, "", (0, 0), False))
            parts.append(part)
            try:
                part.identity = _identity(cursor, query, found, selector)
                if part.identity is None:
                    unknown.append(selector)
                    part.error = failed.get(selector.key)
                    continue
                part.availability = self._assess_part(
                    cursor, found, _subject(query, part.identity.instrument), query.window
                )
                part.page_cursor = _page_cursor(part.availability)
            except NautilusError as wrong:
                if not query.several:
                    raise
                part.error = wrong
        return Snapshot(context, parts, None, unknown)

    def _assess_part(self, cursor: Cursor, found: LookupSnapshot, subject: Subject, window: Window) -> Availability:
        series_state = found.series_states.get(subject.instrument.con_id)
        return assess(cursor, found.context, self._calendars, subject, window, series_state)

    def _going_on(self, cursor: Cursor, query: BarsQuery, found: LookupSnapshot, token: Token) -> list[_Part]:
        """The instruments that a token still holds, as they were when its first page was read."""
        candidates = {i.con_id: i for lookup in found.lookups.values() for i in lookup.candidates}
        parts = []
        for n, page_cursor in enumerate(token.page_cursors):
            part = _Part(query.names[token.done + n], page_cursor)
            parts.append(part)
            # What a name means may have changed since; the token holds what it meant.
            instrument = candidates.get(page_cursor.con_id)
            if instrument is None and page_cursor.con_id:
                instrument = instruments.by_id(cursor, page_cursor.con_id)
            selector = query.selectors[token.done + n]
            if instrument is None:
                part.error = _why_unknown(cursor, selector)
                continue
            part.identity = Identity.of(selector, found.lookups.get(selector.key), instrument)
            availability = self._assess_part(
                cursor, found, _subject(query, instrument), Window(*page_cursor.window, query.window.limit)
            )
            finer = timeframe(page_cursor.source) if page_cursor.source else None
            row = series.find(
                cursor,
                instrument.con_id,
                finer or query.timeframe,
                availability.subject.price,
                availability.subject.session,
            )
            # What the first page saw is read again, whatever is there now.
            if page_cursor.series_id and (
                row is None or row.id != page_cursor.series_id or row.data_version < page_cursor.version
            ):
                raise paging.expired()
            now = row.data_version if row else 0
            part.availability = availability._replace(
                span=page_cursor.window, row=row if page_cursor.series_id else None, finer=finer
            )
            part.as_of = page_cursor.version if now != page_cursor.version else None
            part.key = token.key if n == 0 else None
            rest = _remaining(query, part.availability.span, part.key)
            # What retention removed has no later revision to be read from: a walk that comes to it ends, and says so.
            if row and part.as_of is not None and reading.any_removed(cursor, row.id, page_cursor.version, rest):
                raise paging.expired()
        return parts

    # ---- writing the answer ------------------------------------------------------------------------------------------

    def _written(self, draft: _Draft, pages: _Pages | None, caller: Principal, timing: Timing) -> Reply | _Draft:
        """The answer, or the draft of one whose bars are still to be had. No snapshot is open any more."""
        if _unchanged(draft):
            return Reply(304, b"", {**draft.headers, "Server-Timing": timing.header})
        if pages is None:
            return draft
        if draft.tag and not timing.cache:
            timing.cache = "none"
        return self._reply(draft, pages, caller, timing)

    def _reply(self, draft: _Draft, pages: _Pages, caller: Principal, timing: Timing) -> Reply:
        query, snapshot, (pieces, token) = draft.query, draft.snapshot, pages
        since = time.perf_counter()
        rest: dict[str, Any] = {"next_page_token": token}
        if not query.several:
            rest |= {"job_id": _text(draft.job_id or _job(snapshot)), **self._hint(query, snapshot, caller)}
        content = body(query.form, pieces, query.fields, several=query.several, rest=rest)
        extra_headers = _telling(query, snapshot, pieces, token)
        if query.gzip and len(content) >= _MIN_GZIP_BYTES:
            content = gzip.compress(content, _GZIP_LEVEL, mtime=0)
            extra_headers["Content-Encoding"] = "gzip"
        timing.add("write", since)
        return Reply(200, content, {**draft.headers, **extra_headers, "Server-Timing": timing.header})

    def _pages(self, cursor: Cursor, query: BarsQuery, snapshot: Snapshot) -> _Pages:
        """The candles that fit into one page, instrument by instrument, and the token of the next page."""
        left, room = query.window.limit or DEFAULT_LIMIT, MAX_BYTES
        pieces: list[Piece] = []
        for n, part in enumerate(snapshot.parts):
            availability, page = part.availability, Page()
            if availability is not None and availability.missing:
                room -= escaped_length(compact({"missing": missing_rows(availability.missing)}))
            if pieces and (left <= 0 or room <= 0):
                return pieces, _token(query, snapshot, n, None)
            if availability is not None and availability.row is not None:
                reader = SeriesReader(cursor, query, availability, availability.row, part.as_of)
                page = reader.page(_remaining(query, availability.span, part.key), left, room)
            pieces.append(_piece(query, snapshot, part, page))
            if page.next_key is not None:
                return pieces, _token(query, snapshot, n, page.next_key)
            left -= page.total
            room -= escaped_length(page.candles) if query.several else 0
        return pieces, None

    def _hint(self, query: BarsQuery, snapshot: Snapshot, caller: Principal) -> dict[str, Any]:
        """What to post to have the rest filled, when reading alone does not do it."""
        parts = [part for part in snapshot.parts if part.availability is not None and part.availability.to_ask]
        if not parts or self._to_fill(snapshot, caller):
            return {}
        part = parts[0]
        availability = part.availability
        assert availability is not None  # noqa: S101  for the type checker: chosen so
        one, known = availability.subject.instrument, part.identity
        # A name may be shared by then; the number of a contract never is.
        by_number = bool(query.selectors[0].con_id or (known and known.change))
        gaps = list(availability.to_ask)
        return {
            "backfill": {
                "method": "POST",
                "path": "/api/v1/ib/backfill",
                "body": {
                    **({"con_id": one.con_id} if by_number else {"instrument_id": one.instrument_id}),
                    "timeframe": query.timeframe.name,
                    "price": availability.subject.price,
                    "session": availability.subject.session,
                    "start": rfc3339(gaps[0][0]),
                    "end": rfc3339(gaps[-1][1]),
                },
            }
        }


def _identity(cursor: Cursor, query: BarsQuery, found: LookupSnapshot, selector: Selector) -> Identity | None:
    """The contract that a selector of the query means; None when only IB can tell."""
    today, lookup = trade_day(found.context.market_ns), found.lookups.get(selector.key)
    if query.instrument_name is not None:
        by_name = identify_by_name(query.instrument_name, found.named, selector, lookup, today)
        if by_name is not None:
            return by_name
    return identify(selector, lookup, today, partial(instruments.alike, cursor, selector)) if lookup else None


def _why_unknown(cursor: Cursor, selector: Selector) -> NautilusError | None:
    try:
        known_identity(cursor, selector)
    except NautilusError as wrong:
        return wrong
    return None


def _subject(query: BarsQuery, instrument: Instrument) -> Subject:
    kind = instrument.asset_class
    return Subject(instrument, query.timeframe, price_kind(kind, query.price), session_kind(kind, query.session))


def _page_cursor(availability: Availability) -> PageCursor:
    return PageCursor(
        availability.subject.instrument.con_id,
        availability.row.id if availability.row else 0,
        availability.data_version,
        availability.finer.name if availability.finer else "",
        availability.span,
        availability.complete,
    )


def _remaining(query: BarsQuery, span: Span, key: int | None) -> Span:
    """What of a span is still to be read, from `key` on or up to it."""
    if key is None:
        return span
    return (span[0], key) if query.backward else (key, span[1])


def _token(query: BarsQuery, snapshot: Snapshot, done: int, key: int | None) -> str:
    """The token of a page that goes on with part `done` of this scene, from `key` or from its beginning."""
    before = snapshot.token.done if snapshot.token else 0
    part = snapshot.parts[done]
    if key is None:
        key = part.page_cursor.window[1] if query.backward else part.page_cursor.window[0]
    token = Token(
        query.digest,
        tuple(p.page_cursor for p in snapshot.parts[done:]),
        key,
        before + done,
        snapshot.token.expires_s if snapshot.token else paging.expiry(snapshot.context.machine_ns // NS_PER_S),
    )
    return token.seal(snapshot.context.store_id)


def _label(availability: Availability) -> str:
    return availability.subject.instrument.display_symbol


def _piece(query: BarsQuery, snapshot: Snapshot, part: _Part, page: Page) -> Piece:
    if part.availability is None:
        error = part.error or NautilusError("it is not known yet, and IB has not answered in time", code="unavailable")
        problem = {"code": error.code, "detail": error.detail, **error.extra}
        upstream = {"upstream": error.upstream.as_dict()} if error.upstream else {}
        return Piece({"symbol": part.name}, page.candles, {"total": 0, "error": problem | upstream})
    availability, subject = part.availability, part.availability.subject
    tail: dict[str, Any] = {
        "total": page.total,
        "start_date": _date(subject.timeframe, page.first_ts),
        "end_date": _date(subject.timeframe, page.last_ts),
        "source": f"derived from {availability.finer.name}" if availability.finer else snapshot.context.source,
        "store": snapshot.context.source,
        "instrument_id": subject.instrument.instrument_id,
        "price": subject.price,
        "session": subject.session,
        "data_version": part.page_cursor.version,
        "window": {"start": rfc3339(availability.span[0]), "end": rfc3339(availability.span[1])},
        "coverage": {"complete": part.complete, "missing": missing_rows(availability.missing)},
        **(part.identity.as_dict() if part.identity else {}),
    }
    if part.as_of is not None:
        # The gaps are those of now, the candles those of the first page.
        tail["coverage"]["newer_version"] = availability.row.data_version if availability.row else 0
    return Piece({"symbol": part.name or _label(availability), "timeframe": subject.timeframe.name}, page.candles, tail)


def _date(frame: Timeframe, ts: int | None) -> str | None:
    """A time as the front end's chart reads it: `20240105  14:30:00Z`, or `20240105` for days and longer."""
    if ts is None:
        return None
    return datetime_of(ts).strftime("%Y%m%d  %H:%M:%SZ" if frame.intraday else "%Y%m%d")


def _job(snapshot: Snapshot) -> UUID | None:
    return next((availability.job_id for availability in snapshot.availabilities if availability.job_id), None)


def _text(job_id: UUID | None) -> str | None:
    return str(job_id) if job_id else None


def _tag(query: BarsQuery, snapshot: Snapshot) -> str:
    """What makes two complete answers the same: the store, the query as resolved, the form, and every series' version."""
    parts = [
        (
            (
                p.name,
                p.page_cursor.con_id,
                p.page_cursor.series_id,
                p.page_cursor.version,
                p.page_cursor.source,
                p.page_cursor.window,
            ),
            (p.as_of is None, p.identity.as_dict() if p.identity else None),
        )
        for p in snapshot.parts
    ]
    gaps = [missing_rows(availability.missing) for availability in snapshot.availabilities]
    key = snapshot.token.key if snapshot.token else None
    # A tag promises the same bytes, and the token of the next page holds its expiry.
    form = [
        query.form.label,
        query.fields,
        query.gzip,
        query.several,
        paging.expiry(snapshot.context.machine_ns // NS_PER_S),
    ]
    return paging.digest(
        _SHAPE,
        snapshot.context.store_id,
        query.digest,
        query.window.limit,
        key,
        form,
        parts,
        gaps,
        snapshot.context.source,
    )


def _unchanged(draft: _Draft) -> bool:
    """True when the caller has the answer already."""
    return bool(draft.tag) and _matches(draft.query.if_none_match, draft.tag)


def _matches(header: str, tag: str) -> bool:
    """True when If-None-Match names the tag (RFC 9110, 13.1.2: weakly compared)."""
    names = [part.strip().removeprefix("W/").strip('"') for part in header.split(",")]
    return tag in names or names == ["*"]


def _headers(query: BarsQuery, snapshot: Snapshot, complete: bool) -> dict[str, str]:
    window = query.window
    sealed = (
        complete
        and window.start is not None
        and window.end is not None
        and all(window.end <= availability.until - _SEALED_NS for availability in snapshot.availabilities)
    )
    control = "private, max-age=86400" if sealed else "private, no-cache" if complete else "no-store"
    return {"Cache-Control": control, "Vary": "Accept, Accept-Encoding, Authorization, X-API-Key"}


def _telling(query: BarsQuery, snapshot: Snapshot, pieces: Sequence[Piece], token: str | None) -> dict[str, str]:
    """Headers that tell what forms without an envelope have no place for."""
    headers = {"Content-Type": query.form.media_type + ("; charset=utf-8" if query.form is Format.CSV else "")}
    if token is not None:
        headers["X-Next-Page-Token"] = token
    if not query.form.enveloped:
        headers["X-Source"] = str(pieces[0].tail.get("source", "")) if pieces else ""
        headers["X-Total"] = str(sum(piece.tail["total"] for piece in pieces))
        headers["X-Data-Version"] = ",".join(str(part.page_cursor.version) for part in snapshot.parts)
        gaps = [gap for availability in snapshot.availabilities for gap in missing_rows(availability.missing)]
        headers["X-Coverage"] = json.dumps(
            {"complete": all(part.complete for part in snapshot.parts), "gaps": len(gaps), "missing": gaps[:10]},
            separators=(",", ":"),
        )
        changes = [part.identity.change.as_dict() for part in snapshot.parts if part.identity and part.identity.change]
        if changes:
            headers["X-Instrument-Changed"] = json.dumps(changes, separators=(",", ":"))
        errors = [piece.head["symbol"] for piece in pieces if "error" in piece.tail]
        if errors:
            headers["X-Errors"] = json.dumps(errors)
    return headers


def _kept_parts(kept: bytes) -> tuple[dict[str, str] | None, bytes]:
    """The headers and the body of an answer as Redis has it; None instead of headers for what is none of ours."""
    extra, _, content = kept.partition(b"\n")
    try:
        headers = json.loads(extra)
    except ValueError:
        return None, b""
    ours = isinstance(headers, dict) and all(isinstance(value, str) for value in headers.values())
    return (headers, content) if ours else (None, b"")
