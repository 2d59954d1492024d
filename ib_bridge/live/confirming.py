"""History has the last word: requests to it confirm the bars of streams, and bring what streams missed.

A loop over the series of the bar streams, and of the watch list. Each time bars have closed and settled, it asks for them, in
as few requests as `nautilus.live.confirmation` says. What a commit means for listeners goes to `report`.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ib_bridge.history.writer import Answer
from ib_bridge.live import recording
from ib_bridge.live.asking import Asking, Task, request_of
from ib_bridge.live.brought import with_brought
from ib_bridge.live.followed import Followed
from ib_bridge.live.recording import Settled
from ib_bridge.parts import BridgeParts
from nautilus.clock import NS_PER_DAY, NS_PER_S
from nautilus.db.cursor import Cursor
from nautilus.db.market import instruments, series
from nautilus.errors import Unavailable
from nautilus.infra.loops import Backoff, repeat
from nautilus.live import confirmation
from nautilus.live.confirmation import MINUTE_NS, REQUESTS_PER_MINUTE, Report
from nautilus.live.subscriptions import StreamKey
from nautilus.market.bar import Bar
from nautilus.market.instrument import Instrument
from nautilus.settings.bridge import BridgeSettings
from nautilus.spans import Span, Spans

_PAUSE_S = 0.5
_SWEEP_S = 1.0
_CALENDAR_AGAIN_NS = 60 * NS_PER_S
"""Where IB gives no sessions beyond now, they are requested so often."""


class Confirming:
    """Confirms the bars of live series. report: called in the event loop after each commit that listeners may care about.
    ready: false while no request may go to IB."""

    def __init__(self, settings: BridgeSettings, parts: BridgeParts) -> None:
        self._settings = settings
        self._transactions = parts.transactions
        self._connection = parts.connection
        self._booking = parts.booking
        self._clock = parts.clock
        self._directory = parts.directory
        self._asking = Asking(settings, parts)
        self._open_requests = parts.open_requests
        self._log = parts.log
        self._ready = parts.ready
        self.report: Callable[[Report], None] = lambda _report: None
        self._followed: dict[StreamKey, Followed] = {}
        self._streamed: set[StreamKey] = set()
        self._sent: deque[int] = deque(maxlen=REQUESTS_PER_MINUTE)
        """When the last requests were begun, market time."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()

    # ---- what is confirmed -------------------------------------------------------------------------------------------

    def follow(self, key: StreamKey, *, since: int, poll: bool = False) -> None:
        """A stream of bars lives from a market time on (ns). poll: it has no source but these requests, a minute each."""
        self._streamed.add(key)
        one = self._followed.setdefault(key, Followed(key, since))
        one.poll, one.left_at = poll, None
        self._inspect_again(one)

    def leave(self, key: StreamKey) -> None:
        """Nobody wants a stream any more. A series of the watch list goes on without it."""
        self._streamed.discard(key)
        one = self._followed.get(key)
        if one is not None:
            one.poll, one.left_at = one.kept, None if one.kept else self._clock.now_ns()
            self._inspect_again(one)

    def wake(self, key: StreamKey | None = None, *, partial: bool = False) -> None:
        """A bar has closed. partial: it is known in part only, and confirmed without waiting for others."""
        one = self._followed.get(key) if key is not None else None
        if one is not None:
            one.partial = one.partial or partial
            one.again = one.again or one.partial or not one.frame.small
        if one is None or one.again:
            self._wake.set()

    def hole(self, key: StreamKey, span: Span) -> None:
        """A stream missed bars. They are requested as all others are; `Report.filled` says when coverage proves it."""
        one = self._followed.get(key)
        if one is not None:
            one.since = min(one.since, span[0])
            one.holes |= Spans.of(*span)
            self._inspect_again(one)

    def need(self, key: StreamKey, spans: Spans, *, since: int) -> None:
        """Longer bars are to learn the minutes of this time. They are requested from `since` on; older ones are taken where
        history has them already."""
        one = self._followed.get(key)
        if one is not None:
            one.since = min(one.since, max(since, next(iter(spans))[0]))
            one.needs |= spans
            self._inspect_again(one)

    def _inspect_again(self, one: Followed) -> None:
        one.again = True
        self._wake.set()

    def activity(self) -> dict[str, Any]:
        """For the session's status."""
        return {"confirming": {"series": len(self._followed), "open_requests": self._open_requests.confirming}}

    # ---- the first answer of a bar that is kept up to date -------------------------------------------------------------

    async def begin(self, key: StreamKey) -> int:
        """Book the request of a bar that is kept up to date; its id in ib_requests. NotYet when IB's limits do not allow it."""
        one = await self._known(key)
        request = request_of(self._instrument(one), one, 0)
        return await self._booking.book(self._connection.login, "keep-up", request, series_id=one.series_id)

    async def record_answer(
        self,
        key: StreamKey,
        *,
        request_id: int,
        sent_at: int,
        duration_ns: int,
        bars: list[Bar],
        ms: int,
        connection: int,
    ) -> Report:
        """Store the first answer of a bar that is kept up to date, as history's answer that it is; reported as all are.

        bars: as IB sent them, in its unit of volume; the one that forms is left out. sent_at: market time. connection: the number
        of the connection that it came over.
        """
        one = await self._known(key)
        closed = one.closed_until(self._settings.close_delay, sent_at)
        if one.calendar is None or closed is None:
            raise Unavailable("the sessions of this market are not known yet", code="ib-unavailable")
        span = confirmation.answered_span(
            one.calendar, one.frame, sent_at=sent_at, duration_ns=duration_ns, closed_until=closed
        )
        one.since = min(one.since, span[1])  # what closed while it was on its way is confirmed next
        report = await self._asking.store(
            one, Answer(request_id, ms), span=span, bars=bars, sent_at=sent_at, connection=connection
        )
        return await self._reported(one, report)

    # ---- the loop ----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Confirm until cancelled."""
        loops = (
            repeat("confirming", self._step, self._log, backoff=Backoff(longest_s=5.0)),
            repeat("keeping", self._keep, self._log, backoff=Backoff(longest_s=5.0)),
        )
        running = [asyncio.create_task(loop) for loop in loops]
        try:
            await asyncio.gather(*running)
        finally:
            ending = [*running, *self._tasks]
            for task in ending:
                task.cancel()
            await asyncio.gather(*ending, return_exceptions=True)

    async def _step(self) -> None:
        self._wake.clear()
        if self._ready():
            now = self._clock.now_ns()
            due = [task for one in list(self._followed.values()) if (task := await self._inspect(one, now)) is not None]
            for task in sorted(due, key=lambda each: each.one.rank()):
                self._begin(task, now)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), _PAUSE_S)

    async def _keep(self) -> None:
        """The series of the watch list are followed whether a stream brings them or not."""
        kept = await self._transactions.run(recording.kept_series)
        now = self._clock.now_ns()
        for key in kept:
            one = self._followed.setdefault(key, Followed(key, now))
            if not one.kept:
                self._inspect_again(one)
            one.kept, one.left_at = True, None
            one.poll = one.poll or key not in self._streamed
        for key, one in list(self._followed.items()):
            if one.kept and key not in kept:
                one.kept = False
                if key not in self._streamed:
                    self.leave(key)
        await asyncio.sleep(_SWEEP_S)

    async def _inspect(self, one: Followed, now: int) -> Task | None:
        """What is to be requested of a series now; None: nothing."""
        if one.busy or now < one.not_before:
            return None
        try:
            await self._know(one, now)
        except Unavailable as gone:
            one.not_before = now + _CALENDAR_AGAIN_NS
            self._log.info("confirmation-deferred", extra={"reason": gone.detail})
            return None
        closed = one.closed_until(self._settings.close_delay, now)
        instrument = self._instrument(one)
        if closed is None or not one.wants_inspection(closed, now) or not self._connection.serves(instrument):
            return None
        task = await self._task(one, instrument, closed, now)
        if task is None:
            one.again = False
            if one.is_over(closed, now):
                self._followed.pop(one.key, None)
        one.closed, one.inspected_at = closed, now
        return task

    async def _task(self, one: Followed, instrument: Instrument, closed: int, now: int) -> Task | None:
        assert one.calendar is not None  # noqa: S101  for the type checker
        found = await self._transactions.run(recording.inspect, one.key, one.series_id, since=one.since, now=now)
        await self._tell(one, found)
        since = one.since
        if one.kept:
            since = min(since, confirmation.kept_since(found.row.covered, one.calendar, one.frame, now))
        missing = confirmation.lacking(
            (since, closed),
            one.calendar,
            one.frame,
            covered=found.row.covered,
            refused=Spans(note.span for note in found.refusals),
        )
        if one.rests(missing, now) or not one.due(missing, now=now, series=self._alike(one)):
            return None
        span, window = confirmation.window(missing, one.calendar, one.frame)
        if one.kept and confirmation.beyond_one_request(missing, span):
            await self._transactions.run(self._request_gaps, one, span[0], now)
        return Task(one, instrument, "poll" if one.poll else "confirm", span, window)

    @staticmethod
    def _request_gaps(cursor: Cursor, one: Followed, until: int, now: int) -> None:
        assert one.calendar is not None  # noqa: S101  for the type checker
        row = series.by_id(cursor, one.series_id, lock=True)
        recording.request_gaps(cursor, row, until, one.calendar, market_ns=now)

    def _alike(self, one: Followed) -> int:
        return sum(1 for other in self._followed.values() if other.frame.small == one.frame.small)

    def _begin(self, task: Task, now: int) -> None:
        """Begin a request, unless there were enough in the last minute: then its turn comes."""
        full = len(self._sent) == REQUESTS_PER_MINUTE
        if full and 0 <= now - self._sent[0] < MINUTE_NS:
            task.one.again = True
            return
        self._sent.append(now)
        task.one.busy, task.one.again, task.one.requested_at = True, False, now
        work = asyncio.create_task(self._work(task))
        self._tasks.add(work)
        work.add_done_callback(self._tasks.discard)

    async def _work(self, task: Task) -> None:
        one = task.one
        try:
            await self._open_requests.enter()
            try:
                report = await self._asking.ask(task)
            finally:
                self._open_requests.leave()
            if report is not None:
                one.answered(task.span)
                await self._reported(one, report)
        except Unavailable as gone:
            # Not stored: it is still missing, and requested again.
            one.again = True
            self._log.warning("answer-not-stored", extra={"series_id": one.series_id, "reason": gone.detail})
        except asyncio.CancelledError:
            raise
        except Exception:
            one.again, one.not_before = True, self._clock.now_ns() + MINUTE_NS
            self._log.exception("confirmation-broke", extra={"series_id": one.series_id})
        finally:
            one.busy = False
            self._wake.set()

    # ---- what listeners receive ----------------------------------------------------------------------------------------

    async def _reported(self, one: Followed, report: Report) -> Report:
        one.again = True  # more may be missing before it
        try:
            row = await self._transactions.run(series.by_id, one.series_id)
            found = await with_brought(self._transactions, one, report, row.covered)
            one.covered = report.covered
        except Unavailable:  # the answer is stored: listeners get it now, and what others have brought a little later
            found, one.covered = report, one.covered | report.answered
        self.report(found)
        return found

    async def _tell(self, one: Followed, settled: Settled) -> None:
        row, covered = settled.row, settled.row.covered
        report = settled.report or Report(one.key, row.id, row.data_version, covered=covered)
        found = await with_brought(self._transactions, one, report, covered)
        found = found._replace(refused=one.take_refused(settled.refusals, covered))
        if found.outcomes or found.filled or found.answered or found.refused or covered != one.covered:
            one.covered = covered
            self.report(found)

    # ---- what is known of a series -----------------------------------------------------------------------------------------

    @staticmethod
    def _instrument(one: Followed) -> Instrument:
        assert one.instrument is not None  # noqa: S101  for the type checker: `_know` comes first
        return one.instrument

    async def _known(self, key: StreamKey) -> Followed:
        one = self._followed.setdefault(key, Followed(key, self._clock.now_ns()))
        await self._know(one, self._clock.now_ns())
        return one

    async def _know(self, one: Followed, now: int) -> None:
        """Learn what a series needs: instrument, row, and the sessions up to now. Unavailable while IB does not tell."""
        if one.instrument is None:
            found = await self._transactions.run(instruments.by_id, one.key.con_id)
            if found is None:
                raise LookupError(f"a stream of an instrument that is not there: {one.key.con_id}")
            price, session = one.key.price, one.key.session
            row = await self._transactions.run(
                series.find_or_make, found.con_id, one.frame, price=price, session=session
            )
            one.instrument, one.series_id = found, row.id
        if one.calendar is None or (now >= one.calendar.known[1] and now >= one.calendar_at + _CALENDAR_AGAIN_NS):
            span = (now - 2 * NS_PER_DAY, now)
            one.calendar = await self._directory.calendars.calendar(one.instrument, one.key.session, span)
            one.calendar_at = now
