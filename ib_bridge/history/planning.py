"""Turning queued jobs into chunks: resolve, learn the sessions, see what is missing, cut, write. One job at a time."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from ib_bridge.history.booking import NotYet
from ib_bridge.ib.clock import MarketClock
from ib_bridge.reference.contracts import LOOKUPS_AT_ONCE
from ib_bridge.reference.directory import Directory
from nautilus.backfill.planner import Plan, PlanInput, by_rules, plan
from nautilus.clock import NS_PER_DAY, rfc3339
from nautilus.coverage.states import CoverageState
from nautilus.db.cursor import Cursor
from nautilus.db.ledger import chunks, job_planning
from nautilus.db.ledger.job_planning import JobToPlan, OpenItem, PlanLost
from nautilus.db.market import series
from nautilus.db.market.series import Series
from nautilus.errors import NautilusError, Unavailable
from nautilus.log import correlated, fields
from nautilus.market.calendar import Calendar
from nautilus.market.closing import BarClosing
from nautilus.market.instrument import Instrument, price_kind, session_kind
from nautilus.market.symbols import Selector
from nautilus.market.timeframes import Timeframe, timeframe
from nautilus.process.transactions import TransactionRunner
from nautilus.settings.bridge import BridgeSettings
from nautilus.spans import Span, Spans

_PLAN_LEASE_S = 120


class PreparedItem(NamedTuple):
    """What the plan of an item needs besides the rows that it is made under lock of: `span` is the requested range."""

    instrument: Instrument
    series_id: int
    calendar: Calendar
    span: Span
    head: int | None


class Planning:
    """Plans jobs while the session allows; a job that cannot be planned now goes back to the queue."""

    def __init__(
        self,
        settings: BridgeSettings,
        transactions: TransactionRunner,
        directory: Directory,
        *,
        clock: MarketClock,
        log: Any,
    ) -> None:
        self._settings = settings
        self._transactions = transactions
        self._directory = directory
        self._clock = clock
        self._log = log
        self._rules = settings.plan_rules

    async def plan_next(self) -> bool:
        """Plan the next queued job; False when there is none. A job that cannot be planned now waits, others go first."""
        job = await self._transactions.run(job_planning.claim_queued, self._settings.bridge_id, _PLAN_LEASE_S)
        if job is None:
            return False
        with correlated(job.correlation_id):
            try:
                items = await self._transactions.run(job_planning.open_items, job.id)
                for n, item in enumerate(items):
                    if n % LOOKUPS_AT_ONCE == 0:
                        await self._look_up(job, items[n : n + LOOKUPS_AT_ONCE])
                    await self._plan_item(job, item)
                await self._transactions.run(job_planning.planned, job.id, self._settings.bridge_id)
                self._log.info("job-planned", extra={"job_id": str(job.id)})
            except PlanLost:
                self._log.info("plan-dropped", extra={"job_id": str(job.id)})
            except NotYet as later:
                self._log.info("job-put-off", extra={"job_id": str(job.id), "seconds": later.retry_after_s})
                await self._transactions.run(
                    job_planning.release_plan, job.id, self._settings.bridge_id, later.code, after_s=later.retry_after_s
                )
            except Unavailable as gone:
                self._log.warning("job-not-planned", extra={"job_id": str(job.id), "reason": gone.detail})
                await self._transactions.run(job_planning.release_plan, job.id, self._settings.bridge_id, gone.detail)
        return True

    async def _look_up(self, job: JobToPlan, items: Sequence[OpenItem]) -> None:
        """Have the instruments of the next items looked up together; each item then tells what became of its own."""
        selectors = {(one := Selector.of(item.selector)).key: one for item in items}
        if len(selectors) > 1:
            await self._directory.contracts.instruments(
                list(selectors.values()), job.correlation_id, anew=job.mode == "force"
            )

    async def _plan_item(self, job: JobToPlan, item: OpenItem) -> None:
        error: dict[str, Any]
        try:
            ready = await self._prepare(job, item)
            await self._transactions.run(self._write, job, item.id, ready)
        except (Unavailable, PlanLost):
            raise
        except NautilusError as wrong:
            error = {"code": wrong.code, "detail": wrong.detail, **wrong.extra}
            if wrong.upstream is not None:
                error["upstream"] = wrong.upstream.as_dict()
            self._log.warning("item-failed", extra=fields(job_id=str(job.id), **error))
        except Exception:
            # Nobody foresaw it: this item fails and says why, the others and the bridge go on.
            self._log.exception("item-broke", extra={"job_id": str(job.id), "item": item.id})
            error = {"code": "internal-error", "detail": "planning this item broke; the bridge's log says why"}
        else:
            return
        bridge = self._settings.bridge_id
        await self._transactions.run(
            job_planning.fail_item, item.id, job.id, error, bridge=bridge, lease_s=_PLAN_LEASE_S
        )

    async def _prepare(self, job: JobToPlan, item: OpenItem) -> PreparedItem:
        """Learn what planning needs: instrument, series, head, sessions, and the requested range in numbers."""
        frame = timeframe(item.timeframe)
        number = job.correlation_id
        selector = Selector.of(item.selector)
        instrument = await self._directory.contracts.instrument(selector, number, anew=job.mode == "force")
        price = price_kind(instrument.asset_class, item.price)
        session = session_kind(instrument.asset_class, item.session)
        row = await self._transactions.run(series.find_or_make, instrument.con_id, frame, price=price, session=session)
        now = self._clock.now_ns()
        end = item.wanted_end if item.wanted_end is not None else now
        start = item.wanted_start if item.wanted_start is not None else end - (item.wanted_back or NS_PER_DAY)
        head = await self._head(job, instrument, row, (start, end))
        # Sessions are requested only where bars can be: a range may begin long before the instrument did.
        (first, _), _ = by_rules((start, max(end, start + 1)), frame, now=now, until=now, head=head)
        wide = (frame.floor(first) - NS_PER_DAY, frame.ceil(end) + NS_PER_DAY)
        calendar = await self._directory.calendars.calendar(instrument, session, wide, number)
        if item.wanted_end is None:
            end = self._until(calendar, frame, instrument)
        return PreparedItem(instrument, row.id, calendar, (start, max(start, end)), head)

    async def _head(self, job: JobToPlan, instrument: Instrument, row: Series, request: Span) -> int | None:
        try:
            return await self._directory.heads.head(
                instrument, row, request[0], job.correlation_id, interactive=job.origin == "read"
            )
        except NotYet:
            if not self._rules.is_small(request[1] - request[0], row.timeframe.name):
                raise
            return row.head_ts

    def _until(self, calendar: Calendar, frame: Timeframe, instrument: Instrument) -> int:
        now = self._clock.now_ns()
        delay = self._settings.close_delay
        return BarClosing.of(calendar, frame, instrument, delay=delay, now=now).closed_until(now)

    def _write(self, cursor: Cursor, job: JobToPlan, item_id: int, ready: PreparedItem) -> None:
        """Under the series' row lock: plan against what is covered, noted and under way, and write the chunks."""
        row = series.by_id(cursor, ready.series_id, lock=True)
        calendar, span = ready.calendar, ready.span
        frame = row.timeframe
        now = self._clock.now_ns()
        wide = (calendar.slot(frame, span[0])[0], calendar.slot(frame, max(*span) - 1)[1])
        under_way = series.live(cursor, row.id, wide, lock=True)
        force = job.mode == "force"
        if force:
            chunks.force(cursor, [number for number, _ in under_way])
        # An empty re-check asks for ranges with notes: of those notes only refusals and failures still count.
        passing = (CoverageState.EMPTY_UNCONFIRMED, CoverageState.STALE) if job.origin == "confirm" else ()
        notes = [
            n
            for n in series.notes(cursor, row.id, wide)
            if n.state not in passing and (n.expires_at is None or n.expires_at > now)
        ]
        given = PlanInput(
            wanted=span,
            timeframe=frame,
            calendar=calendar,
            now=now,
            until=self._until(calendar, frame, ready.instrument),
            head=ready.head,
            covered=Spans() if force else row.covered,
            noted=Spans() if force else Spans(n.span for n in notes),
            live=Spans(chunk for _, chunk in under_way),
            span_s=self._rules.spans_s[frame.name],
            overlap=self._rules.overlap(ready.instrument.asset_class, job.mode),
        )
        made = plan(given)
        if made.closed:
            series.apply_changes(cursor, row, settled=made.closed)
        new = chunks.insert(cursor, row.id, made.chunks, mode=job.mode)
        wanted = chunks.want(cursor, job.id, [*new, *(number for number, _ in under_way)])
        noted = bool(made.already - row.covered)
        job_planning.item_planned(
            cursor,
            item_id,
            job.id,
            series_id=row.id,
            plan=_account(made, span, len(under_way)),
            chunks=wanted,
            bridge=self._settings.bridge_id,
            lease_s=_PLAN_LEASE_S,
            shortfall=bool(made.impossible or made.not_closed_yet or made.unknown) or noted,
        )


def _account(made: Plan, span: tuple[int, int], shared: int) -> dict[str, Any]:
    """What became of a requested range, for the answer about its job."""
    return {
        "start": rfc3339(span[0]),
        "end": rfc3339(span[1]),
        "requests": len(made.chunks),
        "shared_chunks": shared,
        "unavailable": [{"start": rfc3339(s[0]), "end": rfc3339(s[1]), "reason": why} for s, why in made.impossible],
        "not_closed_yet": [{"start": rfc3339(s), "end": rfc3339(e)} for s, e in made.not_closed_yet],
        "no_schedule": [{"start": rfc3339(s), "end": rfc3339(e)} for s, e in made.unknown],
    }
