"""Working the ledger: pick a chunk, wait for its turn under IB's rules, lease it, ask, and commit what came."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from ib_bridge.history import writer
from ib_bridge.history.concurrency import Concurrency
from ib_bridge.history.in_flight import InFlight
from ib_bridge.history.lease_renewal import LeaseRenewal
from ib_bridge.history.picking import Picker, Task
from ib_bridge.history.settling import Revised
from ib_bridge.history.writer import Answer
from ib_bridge.ib import translate
from ib_bridge.ib.client import BarsRequest
from ib_bridge.ib.codes import UNRESOLVED, Reaction, meaning
from ib_bridge.ib.connection import NotConnected
from ib_bridge.ib.requests import IbError, NoAnswer
from ib_bridge.parts import BridgeParts
from nautilus.backfill.ib_durations import duration, end_text
from nautilus.backfill.planner import halves
from nautilus.clock import NS_PER_S
from nautilus.db.ledger import chunks
from nautilus.db.ledger.chunks import LeaseLost
from nautilus.db.market.series import Series
from nautilus.errors import Unavailable
from nautilus.infra.loops import Backoff, repeat
from nautilus.log import correlated, fields
from nautilus.market.closing import BarClosing
from nautilus.settings.bridge import BridgeSettings

_BACKOFF = Backoff(longest_s=5.0)
"""Both loops go on well within a lease's 60 s."""
_ATTEMPTS = 8
"""So often a request is sent that IB leaves without an answer, or ends for a reason that may pass."""
_ATTEMPTS_BEFORE_SPLIT = 3
"""So often IB may say that a request timed out at its side before fewer requests are open at once."""
_PASSING = frozenset({Reaction.RETRY, Reaction.RESUBSCRIBE, Reaction.INFO})
"""Reactions after which the same request may succeed; a notice that the client library took for the end is one of them."""
_ATTEMPTS_IN_ALL = 60
"""A request that IB's pacing or a lost connection held up is sent more often than that; but one on which IB hangs up each
time must end some day."""
_PACING_WAIT_NS = 60 * NS_PER_S
"""After a pacing violation IB wants quiet; users report 10 s to 10 min."""
_RETRY_NS = 10 * NS_PER_S


class Worker:
    """Keeps up to `max_open_requests` historical requests in flight, each for a chunk of the ledger. revised: called with what an
    answer has changed of bars that may be had live."""

    def __init__(
        self, settings: BridgeSettings, parts: BridgeParts, revised: Callable[[Series, Revised], None]
    ) -> None:
        self._revised = revised
        self._settings = settings
        self._transactions = parts.transactions
        self._connection = parts.connection
        self._requests = parts.requests
        self._ready = parts.ready
        self._booking = parts.booking
        self._clock = parts.clock
        self._log = parts.log
        self._wake = asyncio.Event()
        self._in_flight = InFlight(self._has_changed)
        self.leases = LeaseRenewal(parts.transactions, self._in_flight)
        self._picker = Picker(settings.bridge_id, parts.connection, parts.booking, parts.clock)
        self._concurrency = Concurrency(settings.max_open_requests)
        self._volumes = parts.volumes
        self._open_requests = parts.open_requests
        self._open_requests.history = lambda: self._in_flight.asking
        self._open_requests.allowed = lambda: self._concurrency.allowed
        self._open_requests.freed = self.wake
        self.blocked_on: str | None = None
        self.violations = 0

    def wake(self) -> None:
        """Something changed: look for work now."""
        self._wake.set()

    def _has_changed(self) -> None:
        self._open_requests.changed()
        self.wake()

    def activity(self) -> dict[str, Any]:
        """What the worker is doing, for whoever asks."""
        return {
            "open_requests": self._in_flight.asking,
            "allowed_requests": self._open_requests.allowed_for_history(self._concurrency.allowed),
            "blocked_on": self.blocked_on,
            "pacing_violations": self.violations,
            "quiet_until": self._picker.quiet_until or None,
        }

    # ---- picking -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Dispatch until cancelled."""
        loops = (
            repeat("dispatch", self._dispatch, self._log, delayed="store-unavailable", backoff=_BACKOFF),
            repeat("renewal", self.leases.renew, self._log, delayed="leases-not-renewed", backoff=_BACKOFF),
        )
        tasks = [asyncio.create_task(loop) for loop in loops]
        try:
            await asyncio.gather(*tasks)
        finally:
            running = [*tasks, *self._in_flight.tasks]
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _dispatch(self) -> None:
        self._wake.clear()
        pause_s = await self._step()
        if pause_s > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), pause_s)

    async def _step(self) -> float:
        """Start at most one request; returns how long to wait before looking again (0: at once)."""
        if not self._ready():
            self.blocked_on = "ib_session"
            return 1.0
        if not self._has_room(interactive=True):
            self.blocked_on = None
            return 1.0
        now = self._clock.now_ns()
        found = await self._transactions.run(self._picker.candidates, self._connection.login, now)
        if not found:
            self.blocked_on = "ib_session" if self._picker.away else None
            return 1.0
        candidate, request, at = min(found, key=lambda row: max(row[2], now))
        if at > now:
            self.blocked_on = "pacing"
            return min(1.0, self._clock.machine_s(at - now))
        self.blocked_on = None
        if not self._has_room(interactive=candidate.interactive):
            return 1.0  # a confirmation of live bars goes first; it wakes us
        login, concurrency = self._connection.login, self._concurrency
        task = await self._transactions.run(self._picker.take, candidate, request, login=login, concurrency=concurrency)
        if task is not None:
            self._in_flight.start(task.held, self._work(task))
        return 0.0

    def _has_room(self, *, interactive: bool) -> bool:
        return self._in_flight.has_room(self._open_requests.for_backfills(interactive=interactive))

    # ---- asking ------------------------------------------------------------------------------------------------------

    async def _work(self, task: Task) -> None:
        with correlated(task.correlation_id):
            try:
                await self._fetch(task)
            except Unavailable as gone:
                # The lease runs out by itself; then the request is sent again.
                self._log.warning("answer-not-stored", extra={"chunk_id": task.held.chunk_id, "reason": gone.detail})
            except asyncio.CancelledError:
                raise
            except Exception:
                # Nobody foresaw it: this chunk fails and says so, the others go on.
                self._log.exception("chunk-broke", extra={"chunk_id": task.held.chunk_id})
                await self._give_up(task, "internal_error")

    async def _fetch(self, task: Task) -> None:
        began = time.monotonic()
        connection = self._connection.number

        def answer(code: int | None = None, text: str | None = None) -> Answer:
            return Answer(task.request_id, round((time.monotonic() - began) * 1000), code, text)

        try:
            rows = await self._history(task)
        except IbError as refused:
            ended = answer(refused.code, refused.text)
            await self._stored(task, ended, "error", storing=self._refused(task, ended))
        except NoAnswer:
            ended = answer()
            await self._stored(task, ended, "timeout", storing=self._too_slow(task, ended))
        except NotConnected:
            ended = answer()
            await self._stored(task, ended, "lost", storing=self._cut_off(task, ended))
        except asyncio.CancelledError:
            ended = answer()
            await asyncio.shield(self._stored(task, ended, "cancelled", storing=self._drop(task, ended)))
            raise
        else:
            ended = answer()
            storing = self._store_bars(task, ended, rows, connection)
            await self._stored(task, ended, "ok" if rows else "empty", storing=storing, bars=len(rows))

    async def _stored(
        self, task: Task, answer: Answer, outcome: str, *, storing: Awaitable[None], bars: int | None = None
    ) -> None:
        """Store what came. When somebody else has the chunk meanwhile, nothing is but how our request ended."""
        try:
            await storing
        except LeaseLost:
            self._log.warning("lease-lost", extra={"chunk_id": task.held.chunk_id})
            await self._transactions.run(writer.close, answer, outcome, bars)

    async def _cut_off(self, task: Task, answer: Answer) -> None:
        """The connection went away while we waited."""
        if task.held.attempts >= _ATTEMPTS_IN_ALL:
            now = self._clock.now_ns()
            await self._transactions.run(
                writer.failed, task.held, answer, reason="connection_lost", market_ns=now, outcome="lost"
            )
        else:
            await self._again(task, answer, "lost", reason="ib_session", not_before=self._clock.now_ns())

    async def _history(self, task: Task) -> list[Any]:
        window, frame = task.held.window, task.row.timeframe
        await self._booking.leaving(task.request_id, task.sent_at)
        request = BarsRequest(
            translate.contract(task.instrument),
            end=end_text(window, frame, task.calendar),
            duration=duration(window, frame, task.calendar),
            size=frame.ib,
            price=task.row.price,
            rth=task.row.session == "rth",
        )
        rows = await self._requests.history(request, self._settings.request_timeout_s)
        # After bars the next request may be sent at once; a refusal first has its consequences.
        self._in_flight.answered(task.held)
        return rows

    async def _store_bars(self, task: Task, answer: Answer, rows: list[Any], connection: int) -> None:
        taken = await self._volumes.taken(task.instrument, task.row.price, connection)
        unit = taken.unit.unit if taken else "shares"
        found = translate.bars(rows, task.row.timeframe, task.row.price, volume_unit=unit)
        delay, frame = self._settings.close_delay, task.row.timeframe
        closing = BarClosing.of(task.calendar, frame, task.instrument, delay=delay, now=task.sent_at)
        closed = closing.without_forming(found, task.sent_at)  # IB sends those that form with no flag
        self._concurrency.answered(task.epoch, task.row.timeframe.name, len(rows), answer.ms * self._clock.reading.rate)
        now = self._clock.now_ns()
        stored = await self._transactions.run(
            writer.bars, task.held, answer, calendar=task.calendar, rows=closed, market_ns=now, taken=taken
        )
        if stored.revised is not None:
            self._revised(task.row, stored.revised)
        for ratio in stored.splits:
            # A person may want to know: older bars are on another scale until they are fetched again.
            self._log.warning("split-found", extra={"series_id": task.row.id, "ratio": ratio})
        about = fields(chunk_id=task.held.chunk_id, series_id=task.row.id, bars=len(closed), ms=answer.ms)
        self._log.info("chunk-done", extra=about | fields(new=stored.written.new, revised=stored.written.revised))

    async def _refused(self, task: Task, answer: Answer) -> None:
        """IB answered with a code: the table says what to do."""
        ended = meaning(answer.ib_code or 0, answer.ib_text or "")
        now = self._clock.now_ns()
        self._log.info(
            "chunk-refused",
            extra=fields(
                chunk_id=task.held.chunk_id, ib_code=answer.ib_code, ib_text=answer.ib_text, reason=ended.reason
            ),
        )
        if ended.reaction is Reaction.EMPTY and self._connection.serves(task.instrument):
            await self._transactions.run(writer.bars, task.held, answer, calendar=task.calendar, rows=[], market_ns=now)
        elif ended.reaction is Reaction.EMPTY or (ended.reason in UNRESOLVED and not self._connection.can_resolve):
            # This came while a farm was away: neither "nothing" nor "unknown" can be believed then.
            await self._again(task, answer, "error", reason="ib_session", not_before=now + _RETRY_NS)
        elif ended.reaction is Reaction.PERMANENT:
            await self._transactions.run(writer.refused, task.held, answer, reason=ended.reason, market_ns=now)
        elif task.held.attempts >= _ATTEMPTS_IN_ALL:
            await self._transactions.run(writer.failed, task.held, answer, reason=ended.reason, market_ns=now)
        elif ended.reaction is Reaction.WAIT:
            if ended.reason == "pacing":
                self.violations += 1
                self._concurrency.troubled(task.epoch)
                self._picker.quiet_until = now + _PACING_WAIT_NS
                self._log.error("pacing-violation", extra={"chunk_id": task.held.chunk_id, "ib_text": answer.ib_text})
            await self._again(task, answer, "error", reason=ended.reason, not_before=now + _PACING_WAIT_NS)
        elif ended.reaction is Reaction.RECONNECT:
            await self._again(task, answer, "error", reason=ended.reason, not_before=now)
        elif ended.reason == "timed_out" and task.held.attempts >= _ATTEMPTS_BEFORE_SPLIT:
            await self._too_slow(task, answer)
        elif ended.reaction in _PASSING and task.held.attempts < _ATTEMPTS:
            await self._again(
                task, answer, "error", reason=ended.reason, not_before=now + task.held.attempts * _RETRY_NS
            )
        else:
            await self._transactions.run(writer.failed, task.held, answer, reason=ended.reason, market_ns=now)

    async def _too_slow(self, task: Task, answer: Answer) -> None:
        """No answer in time: ask for less at once, until the request is as small as it gets."""
        if not self._connection.serves(task.instrument):
            # The farm went away meanwhile: the size of the request is not what was wrong.
            await self._again(task, answer, "timeout", reason="ib_session", not_before=self._clock.now_ns())
            return
        self._concurrency.troubled(task.epoch)
        parts = halves(task.held.span, task.row.timeframe, task.calendar)
        if parts:
            self._log.warning("chunk-split", extra={"chunk_id": task.held.chunk_id, "parts": len(parts)})
            await self._transactions.run(writer.split, task.held, answer, parts)
        elif task.held.attempts < _ATTEMPTS:
            await self._again(task, answer, "timeout", reason="no_answer", not_before=self._clock.now_ns() + _RETRY_NS)
        else:
            await self._transactions.run(
                writer.failed, task.held, answer, reason="no_answer", market_ns=self._clock.now_ns()
            )

    async def _again(self, task: Task, answer: Answer, outcome: str, *, reason: str, not_before: int) -> None:
        await self._transactions.run(
            writer.again, task.held, answer, outcome=outcome, reason=reason, not_before=not_before
        )

    async def _drop(self, task: Task, answer: Answer) -> None:
        """We have to stop working on it: cancelled when nobody wants it, else back to the ledger at once."""
        unwanted = await self._transactions.run(chunks.unwanted, [task.held])
        if unwanted:
            await self._transactions.run(writer.cancelled, task.held, answer)
        else:
            await self._again(task, answer, "cancelled", reason="bridge_stopped", not_before=0)

    async def _give_up(self, task: Task, reason: str) -> None:
        answer = Answer(task.request_id, 0)
        failing = self._transactions.run(
            writer.failed, task.held, answer, reason=reason, market_ns=self._clock.now_ns(), outcome="error"
        )
        try:
            await self._stored(task, answer, "error", storing=failing)
        except Exception as failed:
            # Whatever it is, the lease runs out by itself.
            self._log.warning("chunk-left-to-expire", extra={"chunk_id": task.held.chunk_id, "reason": str(failed)})
