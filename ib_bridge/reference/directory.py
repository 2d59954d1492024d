"""Learning from IB what can be traded and when: instruments, calendars, heads. Everything learnt is kept."""

import asyncio
import time
from collections.abc import Awaitable, Sequence
from typing import Any, TypeVar

from ib_bridge.history.booking import Booking
from ib_bridge.ib import translate
from ib_bridge.ib.clock import MarketClock
from ib_bridge.ib.codes import UNRESOLVED, Reaction, meaning
from ib_bridge.ib.connection import IbConnection, NotConnected
from ib_bridge.ib.requests import IbError, IbRequests, NoAnswer
from ib_bridge.reference import schedule_repair
from ib_bridge.transactions import TransactionRunner
from nautilus.backfill.pacing import Request
from nautilus.backfill.plan_rules import HEAD_DAYS, PlanRules
from nautilus.clock import NS_PER_DAY, NS_PER_S
from nautilus.db.cursor import Cursor
from nautilus.db.market import calendars, instruments, series
from nautilus.db.market.series import Series
from nautilus.db.ranges import spans_of
from nautilus.errors import Conflict, NautilusError, Unavailable, Upstream
from nautilus.lookup.identity import FRONT_OLD_AFTER_S
from nautilus.lookup.resolve import known_instrument
from nautilus.market.calendar import Calendar, weekdays
from nautilus.market.instrument import Instrument
from nautilus.market.symbols import Selector, leads_back
from nautilus.spans import Span

T = TypeVar("T")
_NEGATIVE_KEEP_S = 3600
LOOKUPS_AT_ONCE = 8
"""How many lookups of one command or job are under way at IB; the pacing book keeps them within IB's messages per second."""
_RENEWED_AT_ONCE = 20
"""How many old lookups one pass renews, so that it ends soon."""
_NOT_RENEWED_AGAIN_S = 900.0
"""A lookup that could not be renewed is not tried again for so long, or it would keep the others waiting."""
_PASSING = frozenset({Reaction.WAIT, Reaction.RETRY, Reaction.RECONNECT, Reaction.RESUBSCRIBE, Reaction.INFO})
"""Reactions after which IB may give the same schedule a little later."""
_SCHEDULE_DAYS = 364
"""IB takes no more than 365 D; a day is added so that no session is cut."""
_SEARCH_PAUSE_S = 1.0
"""Between two symbol searches (TWS API, matching symbols: at least one second)."""


class Directory:
    """What IB knows about contracts, asked at most once."""

    def __init__(
        self,
        *,
        transactions: TransactionRunner,
        connection: IbConnection,
        requests: IbRequests,
        clock: MarketClock,
        booking: Booking,
        log: Any,
    ) -> None:
        self._transactions = transactions
        self._connection = connection
        self._requests = requests
        self._clock = clock
        self._booking = booking
        self._log = log
        self._searching = asyncio.Lock()
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._not_renewed: dict[str, float] = {}
        self._searched = 0.0

    # ---- instruments -------------------------------------------------------------------------------------------------

    async def instrument(self, selector: Selector, correlation_id: str = "", *, anew: bool = False) -> Instrument:
        """The one instrument a selector means. NotFound, Conflict, or Unavailable when IB could not say.

        anew: IB is asked again unless it was on this day. What was known before is the answer when IB cannot be asked.
        """
        if await self._transactions.run(self._is_old, selector, anew):
            try:
                await self._candidates(selector, correlation_id)
            except Unavailable as gone:
                self._log.info("lookup-not-renewed", extra={"lookup": selector.key, "reason": gone.detail})
        found = await self._transactions.run(known_instrument, selector)
        if found is not None:
            return found
        await self._candidates(selector, correlation_id)
        found = await self._transactions.run(known_instrument, selector)
        if found is None:
            raise Unavailable(f"IB tells no contract of {selector.words} that still trades", code="ib-unavailable")
        return found

    @staticmethod
    def _is_old(cursor: Cursor, selector: Selector, anew: bool) -> bool:
        """True when what is known about a selector should be asked again before it is planned with."""
        known = instruments.look_up(cursor, selector)
        if selector.con_id or known is None or not known.candidates:
            return False
        if selector.front and not instruments.checked_within(cursor, selector.key, FRONT_OLD_AFTER_S):
            return True
        return anew and not instruments.checked_today(cursor, selector.key)

    async def renew(self) -> None:
        """Ask again for lookups that have grown old, the oldest first. No reader waits for this."""
        if not self._connection.can_resolve:
            return
        now = time.monotonic()
        self._not_renewed = {key: until for key, until in self._not_renewed.items() if until > now}
        for key in await self._transactions.run(instruments.due, _RENEWED_AT_ONCE, without=list(self._not_renewed)):
            try:
                await self._candidates(Selector.of_key(key), "")
            except NautilusError as gone:
                self._not_renewed[key] = now + _NOT_RENEWED_AGAIN_S
                self._log.info("lookup-not-renewed", extra={"lookup": key, "reason": gone.detail})

    async def instruments(
        self, selectors: Sequence[Selector], correlation_id: str = "", *, anew: bool = False
    ) -> dict[str, Instrument | NautilusError]:
        """What each selector means, or why not, by its key. IB is asked about several at a time."""
        room = asyncio.Semaphore(LOOKUPS_AT_ONCE)

        async def one(selector: Selector) -> Instrument | NautilusError:
            async with room:
                try:
                    return await self.instrument(selector, correlation_id, anew=anew)
                except NautilusError as wrong:
                    return wrong

        found = await asyncio.gather(*map(one, selectors))
        return {selector.key: answer for selector, answer in zip(selectors, found, strict=True)}

    async def _candidates(self, selector: Selector, correlation_id: str) -> None:
        """Ask IB what a selector means and keep the answer; who asks the same meanwhile waits for that answer.

        Unavailable when IB could not say.
        """
        key = selector.key
        if key not in self._asking:
            self._asking[key] = asyncio.create_task(self._ask(selector, correlation_id))
            self._asking[key].add_done_callback(lambda _: self._asking.pop(key, None))
        await asyncio.shield(self._asking[key])

    async def _ask(self, selector: Selector, correlation_id: str) -> None:
        if not self._connection.can_resolve:
            raise Unavailable("IB's contract database cannot be reached now", code="ib-unavailable")
        query = translate.contracts(selector)
        try:
            rows = await self._details(query, selector.key, correlation_id)
        except IbError as refused:
            reason = meaning(refused.code, refused.text).reason
            if reason not in UNRESOLVED or not self._connection.can_resolve:
                raise Unavailable(
                    f"IB could not look up {selector.words}",
                    code="ib-unavailable",
                    upstream=Upstream(refused.code, refused.text),
                ) from None
            if reason == "ambiguous_contract":
                raise Conflict(
                    f"{selector.words} means several contracts at IB; say more, such as exchange, currency or expiry",
                    code="ambiguous-instrument",
                    upstream=Upstream(refused.code, refused.text),
                ) from None
            await self._transactions.run(
                instruments.remember,
                selector.key,
                [],
                ib_code=refused.code,
                ib_text=refused.text,
                keep_s=_NEGATIVE_KEEP_S,
            )
            return
        found = translate.listed_once([translate.instrument(row) for row in rows])
        chosen = [one for one, _ in found]
        if selector.front:
            chosen = await self._front(chosen, correlation_id)

        def keep(cursor: Cursor) -> instruments.Renewal | None:
            instruments.store_all(cursor, found)
            numbers = [one.con_id for one in chosen]
            return instruments.remember(cursor, selector.key, numbers, keep_s=_NEGATIVE_KEEP_S)

        renewal = await self._transactions.run(keep)
        if renewal is not None:
            changed = {"from_con_ids": list(renewal.before), "to_con_ids": list(renewal.now)}
            self._log.warning("instrument-changed", extra={"lookup": selector.key, "instrument_changed": changed})

    async def matches(self, pattern: str, correlation_id: str = "") -> list[dict[str, Any]]:
        """What IB's symbol search finds. IB takes one such question per second and login."""
        if not self._connection.can_resolve:
            raise Unavailable("IB's contract database cannot be reached now", code="ib-unavailable")
        request = Request(f"matches|{pattern}", f"matches|{pattern}", small=False, historical=False)
        async with self._searching:
            await asyncio.sleep(max(0.0, self._searched + _SEARCH_PAUSE_S - time.monotonic()))
            self._searched = time.monotonic()
            number = await self._booking.book(self._connection.login, "matches", request, correlation_id=correlation_id)
            try:
                found = await self._answer(number, self._requests.matches(pattern))
            except IbError as refused:
                raise Unavailable(
                    f"IB could not search for {pattern}",
                    code="ib-unavailable",
                    upstream=Upstream(refused.code, refused.text),
                ) from None
        rows = [translate.match(one) for one in found]
        return await self._named([row for row in rows if row["con_id"]], correlation_id)

    async def _named(self, rows: list[dict[str, Any]], correlation_id: str) -> list[dict[str, Any]]:
        """Matches under names that lead back to them. IB's search tells no venue of many; contract details do.

        What IB does not describe has no name and is left out. Unavailable when IB could not say.
        """
        unclear = [row for row in rows if not leads_back(row["instrument_id"], row["asset_class"], row["symbol"])]
        described = await self.instruments([Selector("", "", con_id=row["con_id"]) for row in unclear], correlation_id)
        named = []
        for row in rows:
            found = described.get(f"conId={row['con_id']}")
            if isinstance(found, Unavailable):
                raise found
            if isinstance(found, Instrument):
                row = row | {name: getattr(found, name) for name in ("instrument_id", "exchange", "primary_exchange")}
            if not isinstance(found, NautilusError):
                named.append(row)
        return named

    async def _front(self, months: list[Instrument], correlation_id: str) -> list[Instrument]:
        """Of all months of a future the front one, as IB's continuous future says; else the nearest expiry."""
        months = sorted(months, key=lambda m: m.expiry)
        if len(months) < 2:
            return months
        first = months[0]
        query = translate.continuous(first.symbol, first.exchange, first.currency)
        try:
            rows = await self._details(query, f"CONTFUT|{first.symbol}|{first.exchange}", correlation_id)
        except IbError:
            rows = []
        for row in rows:
            known = [m for m in months if m.con_id == row.contract.conId or m.local_symbol == row.contract.localSymbol]
            if known:
                return known[:1]
        return months[:1]

    async def _details(self, query: Any, key: str, correlation_id: str) -> list[Any]:
        request = Request(f"details|{key}", f"details|{key}", small=False, historical=False)
        number = await self._booking.book(self._connection.login, "details", request, correlation_id=correlation_id)
        return await self._answer(number, self._requests.details(query))

    async def _answer(self, number: int, answer: Awaitable[T]) -> T:
        """Await an answer and write down how its request ended. NoAnswer and NotConnected become Unavailable."""
        began = time.monotonic()
        try:
            result = await answer
        except IbError as refused:
            await self._booking.close(number, "error", began, ib_code=refused.code, ib_text=refused.text)
            raise
        except (NoAnswer, NotConnected) as gone:
            await self._booking.close(number, "timeout" if isinstance(gone, NoAnswer) else "lost", began)
            raise Unavailable("IB did not answer in time", code="ib-unavailable") from None
        await self._booking.close(number, "ok", began)
        return result

    # ---- calendars ---------------------------------------------------------------------------------------------------

    async def calendar(self, instrument: Instrument, session: str, span: Span, correlation_id: str = "") -> Calendar:
        """The trading sessions of `span`, up to now, asking IB for what is not known yet."""
        now = self._clock.now_ns()
        need = (min(span[0], now) - 7 * NS_PER_DAY, min(span[1], now))
        known = await self._transactions.run(calendars.known, instrument.calendar, session)
        if known is None:
            latest = (max(need[0], now - _SCHEDULE_DAYS * NS_PER_DAY), now)
            await self._fetch(instrument, session, latest, correlation_id)
            known = latest
        # Always next to what is known, so that it stays one range: a hole would look like closed time.
        at = known[0]
        while at > need[0]:
            start = max(need[0], at - _SCHEDULE_DAYS * NS_PER_DAY)
            await self._fetch(instrument, session, (start, at), correlation_id)
            at = start
        at = known[1]
        while at < need[1]:
            end = min(now, at + _SCHEDULE_DAYS * NS_PER_DAY)
            await self._fetch(instrument, session, (at - 3 * NS_PER_DAY, end), correlation_id)
            at = end
        around = (need[0], max(now, span[1]) + 14 * NS_PER_DAY)
        found = await self._transactions.run(calendars.load, instrument.calendar, session, around)
        assert found is not None  # noqa: S101  for the type checker: fetched above
        return found

    async def _fetch(self, instrument: Instrument, session: str, span: Span, correlation_id: str) -> bool:
        """Ask for the schedule of at most a year or so, and keep the answer; where IB has none, weekdays stand in: False."""
        days = -(-(span[1] - span[0]) // NS_PER_DAY) + 1
        start = span[1] - days * NS_PER_DAY
        latest = span[1] >= self._clock.now_ns() - 60 * NS_PER_S
        end = "" if latest else translate.moment(span[1])
        upto = span[1]
        try:
            schedule = await self._schedule(instrument, session, days, end, correlation_id)
            zone = translate.time_zone(schedule.timeZone or instrument.time_zone)
            rows = translate.sessions(schedule)
        except IbError as refused:
            reaction = meaning(refused.code, refused.text).reaction
            passing = reaction in _PASSING
            if passing or not self._connection.serves(instrument):
                raise Unavailable("IB gives no schedule now", code="ib-unavailable") from None
            why = {"ib_code": refused.code, "ib_text": refused.text}
            await self._stand_in(instrument, session, (start, upto), why)
            return False
        except translate.UnknownZone as unknown:
            await self._stand_in(instrument, session, (start, upto), {"time_zone": str(unknown)})
            return False
        upto = max([upto, *(s.close_ns for s in rows)]) if latest else upto
        keep = [s for s in rows if s.close_ns > start and s.open_ns < upto]
        ahead = await self._closed_until(instrument, session, upto, correlation_id) if latest else upto
        about = (instrument.calendar, session, zone, (start, ahead), keep, self._clock.now_ns())
        if corrected := await self._transactions.run(schedule_repair.keep, *about):
            self._log.warning("schedule-corrected", extra={"calendar": instrument.calendar, "series": corrected})
        return True

    async def _stand_in(self, instrument: Instrument, session: str, span: Span, why: dict[str, Any]) -> None:
        """IB gives no schedule: weekdays, until it is asked again."""
        self._log.warning("schedule-refused", extra={"calendar": instrument.calendar, "session": session, **why})
        rows = [s for s in weekdays(*span, instrument.time_zone).sessions if s.close_ns <= span[1]]

        def keep(cursor: Cursor) -> None:
            about = (instrument.calendar, session)
            calendars.store(cursor, *about, instrument.time_zone, span, rows, stand_in=True)
            calendars.refused(cursor, *about, self._clock.now_ns())

        await self._transactions.run(keep)

    async def relearn(self) -> None:
        """Ask again for the schedules that IB refused, as far as they are due."""
        for guess in await self._transactions.run(calendars.guesses_due, self._clock.now_ns()):
            instrument = await self._transactions.run(instruments.by_id, guess.con_id)
            if instrument is None or not self._connection.serves(instrument):
                continue
            for start, end in spans_of(guess.guessed):
                while start < end:
                    first = max(start, end - _SCHEDULE_DAYS * NS_PER_DAY)
                    if not await self._fetch(instrument, guess.session, (first, end), ""):
                        break
                    end = first

    async def _closed_until(self, instrument: Instrument, session: str, upto: int, correlation_id: str) -> int:
        """How far from `upto`, where the schedule ends, the market stays closed: to the next open that contract details
        tell of. So a weekend is known to be closed while it lasts, and nobody asks IB about it."""
        hours = await self._hours(instrument, session)
        if translate.last_day(hours, instrument.time_zone) <= self._clock.now_ns():
            try:
                rows = await self._details(translate.contract(instrument), f"hours|{instrument.con_id}", correlation_id)
            except (IbError, Unavailable):
                return upto
            await self._transactions.run(
                instruments.store_all, translate.listed_once([translate.instrument(row) for row in rows])
            )
            hours = await self._hours(instrument, session)
        later = [moment for moment in translate.opens(hours, instrument.time_zone) if moment >= upto]
        return max(upto, min([translate.last_day(hours, instrument.time_zone), *later]))

    async def _hours(self, instrument: Instrument, session: str) -> str:
        details = await self._transactions.run(instruments.details, instrument.con_id)
        return str(details.get("liquid_hours" if session == "rth" else "trading_hours") or "")

    async def _schedule(self, instrument: Instrument, session: str, days: int, end: str, correlation_id: str) -> Any:
        key = f"{instrument.con_id}|SCHEDULE|{session}|{days}|{end}"
        request = Request(key, f"{instrument.con_id}|SCHEDULE", small=False)
        number = await self._booking.book(self._connection.login, "schedule", request, correlation_id=correlation_id)
        query = self._requests.schedule(translate.contract(instrument), days, end, rth=session == "rth")
        return await self._answer(number, query)

    # ---- heads -------------------------------------------------------------------------------------------------------

    async def head(
        self, instrument: Instrument, row: Series, start: int, correlation_id: str = "", *, interactive: bool = False
    ) -> int | None:
        """The oldest bar IB has of a series, on its axis, when the wish reaches back far enough to matter.

        NotYet when IB's limits allow the question only later.
        """
        if not PlanRules.asks_head(start, self._clock.now_ns()):
            return row.head_ts
        if await self._transactions.run(series.head_is_fresh, row.id, HEAD_DAYS):
            return row.head_ts
        if await self._transactions.run(series.share_head, row, HEAD_DAYS):
            return (await self._transactions.run(series.by_id, row.id)).head_ts
        key = f"{instrument.con_id}|HEAD|{row.price}|{row.session}"
        request = Request(
            key, f"{instrument.con_id}|{instrument.exchange}|{row.price}", small=True, interactive=interactive
        )
        number = await self._booking.book(self._connection.login, "head", request, correlation_id=correlation_id)
        try:
            query = self._requests.head(translate.contract(instrument), row.price, rth=row.session == "rth")
            head = translate.head(await self._answer(number, query))
        except IbError:
            return row.head_ts
        if head is not None:
            await self._transactions.run(series.set_head, row.id, head)
        return head
