"""Reading bars: what is stored, what is missing and why, and asking for it once."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from fastapi.concurrency import run_in_threadpool

from nautilus.auth import Principal
from nautilus.backfill import READ_PRIORITY, ask
from nautilus.calendars import Calendar, weekdays
from nautilus.clock import NS_PER_S, rfc3339
from nautilus.coverage import Missing, State, missing
from nautilus.db import bars, calendars, commands, instruments, series, sessions
from nautilus.db.bars import Page
from nautilus.db.connection import Cursor, Database
from nautilus.db.jobs import Item
from nautilus.errors import Conflict, InvalidInput, NotFound, Unavailable, Upstream
from nautilus.instruments import Instrument, Selector, choose
from nautilus.log import correlation
from nautilus.planner import CHUNK_SPANS_S, by_rules, plan
from nautilus.queue import Queue
from nautilus.schemas.messages import CommandHint, JobHint
from nautilus.spans import Span, Spans
from nautilus.timeframes import Timeframe
from nautilus.windows import back_from, reach

_POLL_S = 0.05
_SETTLE_INTRADAY_NS = 15 * NS_PER_S
_SETTLE_DAILY_NS = 900 * NS_PER_S


@dataclass(frozen=True, slots=True)
class Window:
    """What of a series is read: [start, end) on its axis; None: as far as the default goes."""

    start: int | None
    end: int | None
    limit: int | None


@dataclass(frozen=True, slots=True)
class View:
    """One consistent look at a series: candles, version, coverage and calendar from the same snapshot."""

    instrument: Instrument
    timeframe: Timeframe
    price: str
    session: str
    span: Span
    page: Page
    data_version: int
    missing: Sequence[Missing]
    source: str
    requests: int = 0
    """How many requests to IB would fill what was never asked for."""
    not_asked: Spans = field(default_factory=Spans)

    @property
    def complete(self) -> bool:
        return not any(m.state is not State.NOT_CLOSED_YET for m in self.missing)

    @property
    def pending(self) -> bool:
        """True while something of the window is under way."""
        return any(m.state is State.QUEUED for m in self.missing)


class MarketData:
    """The reads of one process. Without IB, without queue, they answer from what is stored."""

    def __init__(self, database: Database, queue: Queue, *, search_wait_s: float, plan_limit: int) -> None:
        self._db = database
        self._queue = queue
        self._search_wait_s = search_wait_s
        self._plan_limit = plan_limit

    # ---- instruments -------------------------------------------------------------------------------------------------

    async def instrument(self, selector: Selector, caller: Principal) -> Instrument:
        """The one instrument that a selector means, asking IB through the bridge when it is unknown.

        NotFound with IB's words, Conflict with candidates, Unavailable when nobody could say in time.
        """
        found = await run_in_threadpool(self._known, selector)
        if found is not None:
            return found
        number = await run_in_threadpool(self._ask_to_resolve, selector, caller)
        deadline = asyncio.get_running_loop().time() + self._search_wait_s
        while asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(_POLL_S)
            row = await run_in_threadpool(self._command, number)
            if row is not None and row.state in ("done", "failed"):
                found = await run_in_threadpool(self._known, selector)
                if found is not None:
                    return found
                raise Unavailable(
                    f"{selector.words} could not be looked up at IB: {(row.error or {}).get('detail', 'no answer')}",
                    code="instrument-not-resolved",
                )
        raise Unavailable(
            f"{selector.words} is not known yet and IB has not answered in time; ask again",
            code="instrument-not-resolved",
        )

    def _known(self, selector: Selector) -> Instrument | None:
        with self._db.transaction(snapshot=True) as cursor:
            return known_instrument(cursor, selector)

    def _ask_to_resolve(self, selector: Selector, caller: Principal) -> UUID:
        with self._db.transaction() as cursor:
            number = commands.request(
                cursor,
                "resolve",
                selector.as_dict(),
                by=caller.id,
                correlation_id=correlation.get(),
                expires_s=self._search_wait_s + 30,
            )
        self._queue.send(CommandHint(command_id=number, correlation_id=correlation.get()))
        return number

    def _command(self, number: UUID) -> Any:
        with self._db.transaction(snapshot=True) as cursor:
            return commands.outcome(cursor, number)

    # ---- bars --------------------------------------------------------------------------------------------------------

    async def read(
        self,
        instrument: Instrument,
        frame: Timeframe,
        price: str,
        session: str,
        window: Window,
        *,
        caller: Principal,
        fields: Sequence[str],
        wait_s: float | None,
        default_wait_s: float,
    ) -> tuple[View, UUID | None]:
        """The bars of a window; what is missing is asked for, once, when the caller may and the plan is small.

        wait_s: how long to hold the answer for what is under way; None: `default_wait_s` when nothing is there at all.
        The wait holds no thread, connection or transaction.
        """
        view = await run_in_threadpool(self._look, instrument, frame, price, session, window, fields)
        job_id: UUID | None = None
        if view.not_asked and caller.may("backfill:write") and view.requests <= self._plan_limit:
            job_id = await run_in_threadpool(self._fill, view, caller)
            view = await run_in_threadpool(self._look, instrument, frame, price, session, window, fields)
        if wait_s is None:
            wait_s = 0.0 if view.page.count else default_wait_s
        deadline = asyncio.get_running_loop().time() + wait_s
        version = view.data_version
        while (view.pending or (job_id and view.not_asked)) and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(_POLL_S)
            if job_id is not None and await run_in_threadpool(self._over, job_id):
                view = await run_in_threadpool(self._look, instrument, frame, price, session, window, fields)
                break
            if await run_in_threadpool(self._version, instrument, frame, price, session) != version:
                view = await run_in_threadpool(self._look, instrument, frame, price, session, window, fields)
                version = view.data_version
        return view, job_id

    def _look(
        self, instrument: Instrument, frame: Timeframe, price: str, session: str, window: Window, fields: Sequence[str]
    ) -> View:
        with self._db.transaction(snapshot=True) as cursor:
            return look(cursor, instrument, frame, price, session, window, fields)

    def _version(self, instrument: Instrument, frame: Timeframe, price: str, session: str) -> int:
        with self._db.transaction(snapshot=True) as cursor:
            row = series.find(cursor, instrument.con_id, frame, price, session)
        return row.data_version if row else 0

    def _over(self, job_id: UUID) -> bool:
        from nautilus.db import jobs
        from nautilus.ledger import LIVE_JOBS

        with self._db.transaction(snapshot=True) as cursor:
            row = jobs.summary(cursor, job_id)
        return row is None or row.state not in LIVE_JOBS

    def _fill(self, view: View, caller: Principal) -> UUID | None:
        spans = list(view.not_asked)
        item = Item(
            Selector("", "", con_id=view.instrument.con_id),
            view.timeframe.name,
            view.price,
            view.session,
            spans[0][0],
            spans[-1][1],
            None,
        )
        wish = {
            "instrument_id": view.instrument.instrument_id,
            "timeframe": view.timeframe.name,
            "start": rfc3339(spans[0][0]),
            "end": rfc3339(spans[-1][1]),
        }
        asked = ask(self._db, caller, [item], wish=wish, priority=READ_PRIORITY, mode="missing", origin="read")
        if asked.job_id is not None:
            self._queue.send(JobHint(job_id=asked.job_id, correlation_id=correlation.get()))
        return asked.job_id


def known_instrument(cursor: Cursor, selector: Selector) -> Instrument | None:
    """The instrument a selector means, from what is stored; None when IB was never asked.

    NotFound with IB's words when IB said so within the hour; Conflict with candidates when several fit.
    """
    found = instruments.look_up(cursor, selector)
    if found is None:
        return None
    if not found.candidates:
        raise NotFound(
            f"{selector.words} is not known to Interactive Brokers",
            code="unknown-instrument",
            upstream=Upstream(found.ib_code or 200, found.ib_text or ""),
        )
    return choose(selector, found.candidates)


def look(
    cursor: Cursor,
    instrument: Instrument,
    frame: Timeframe,
    price: str,
    session: str,
    window: Window,
    fields: Sequence[str],
) -> View:
    """One consistent look at a series, in the caller's snapshot."""
    now = sessions.market_now(cursor)
    store = sessions.store(cursor)
    row = series.find(cursor, instrument.con_id, frame, price, session)
    since = min(window.start or now, now) - reach(frame, None if window.start else window.limit)
    calendar = calendars.load(cursor, instrument.calendar, session, (since, now))
    until = closed_until(calendar, frame, instrument, now)
    end = min(window.end, until) if window.end is not None else until
    if window.start is not None:
        start = window.start
        if start >= now:
            raise InvalidInput.field(
                "start",
                f"{rfc3339(start)} lies in the future; market time is {rfc3339(now)}",
                [f"before {rfc3339(now)}"],
            )
    else:
        start = back_from(end, frame, window.limit, calendar)[0]
    first = calendar.slot(frame, start)[0] if calendar else frame.floor(start)
    span = (first, max(first, window.end if window.end is not None else until))
    limit = window.limit or DEFAULT_LIMIT
    page, covered, version, notes, live = Page("", 0, None, None), Spans(), 0, [], Spans()
    head = None
    if row is not None:
        page = bars.page(
            cursor,
            row.id,
            frame,
            start=span[0],
            end=span[1],
            limit=limit,
            newest=window.start is None,
            fields=fields,
        )
        covered, version, head = row.covered, row.data_version, row.head_ts
        notes = [n for n in series.notes(cursor, row.id, span) if n.expires_at is None or n.expires_at > now]
        live = Spans(chunk for _, chunk in series.live(cursor, row.id, span))
    (_, _), cut = by_rules(span, frame, now=now, until=until, head=head, calendar=calendar)
    gaps = missing(
        span, frame, calendar, covered=covered, notes=notes, live=live, until=until, impossible=cut.impossible
    )
    not_asked = Spans(m.span for m in gaps if m.state is State.NOT_ASKED)
    requests = _requests(not_asked, frame, calendar or weekdays(span[0], span[1], instrument.time_zone), now, until)
    return View(
        instrument,
        frame,
        price,
        session,
        span,
        page,
        version,
        gaps,
        store.source or "unknown",
        requests,
        not_asked,
    )


def closed_until(calendar: Calendar | None, frame: Timeframe, instrument: Instrument, now: int) -> int:
    """The end of what is closed at market time `now`, on the series' axis."""
    known = calendar or weekdays(now - 14 * 86_400 * NS_PER_S, now, instrument.time_zone)
    return known.closed_until(
        frame,
        now,
        settle_ns=_SETTLE_INTRADAY_NS if frame.intraday else _SETTLE_DAILY_NS,
        late_settlement=instrument.asset_class == "FUT",
    )


def _requests(gaps: Spans, frame: Timeframe, calendar: Calendar, now: int, until: int) -> int:
    return sum(
        len(
            plan(
                gap,
                frame,
                calendar,
                now=now,
                until=until,
                head=None,
                covered=Spans(),
                noted=Spans(),
                live=Spans(),
                span_s=CHUNK_SPANS_S[frame.name],
            ).chunks
        )
        for gap in gaps
    )


DEFAULT_LIMIT = 1_000
MAX_LIMIT = 50_000

__all__ = ["DEFAULT_LIMIT", "MAX_LIMIT", "Conflict", "MarketData", "View", "Window", "known_instrument", "look"]
