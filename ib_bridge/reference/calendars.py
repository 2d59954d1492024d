"""When a market trades: the sessions as IB gives them, requested once and kept; weekdays where it gives none."""

from typing import Any

from ib_bridge.ib import translate
from ib_bridge.ib.clock import MarketClock
from ib_bridge.ib.codes import Reaction, meaning
from ib_bridge.ib.requests import IbError
from ib_bridge.reference import schedule_repair
from ib_bridge.reference.booked_requests import BookedRequests
from nautilus.clock import NS_PER_DAY, NS_PER_S
from nautilus.db.cursor import Cursor
from nautilus.db.market import calendars, instruments
from nautilus.db.ranges import spans_of
from nautilus.errors import Unavailable
from nautilus.market.calendar import Calendar, weekdays
from nautilus.market.instrument import Instrument
from nautilus.process.transactions import TransactionRunner
from nautilus.spans import Span

_PASSING = frozenset({Reaction.WAIT, Reaction.RETRY, Reaction.RECONNECT, Reaction.RESUBSCRIBE, Reaction.INFO})
"""Reactions after which IB may give the same schedule a little later."""
_SCHEDULE_DAYS = 364
"""IB takes no more than 365 D; a day is added so that no session is cut."""


class Calendars:
    """The calendars of instruments."""

    def __init__(self, transactions: TransactionRunner, requests: BookedRequests, clock: MarketClock, log: Any) -> None:
        self._transactions = transactions
        self._requests = requests
        self._clock = clock
        self._log = log

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
            schedule = await self._requests.schedule(instrument, session, days, end=end, correlation_id=correlation_id)
            zone = translate.time_zone(schedule.timeZone or instrument.time_zone)
            rows = translate.sessions(schedule)
        except IbError as refused:
            reaction = meaning(refused.code, refused.text).reaction
            passing = reaction in _PASSING
            if passing or not self._requests.connection.serves(instrument):
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
        corrected = await self._transactions.run(
            schedule_repair.keep,
            instrument.calendar,
            session,
            time_zone=zone,
            known=(start, ahead),
            sessions=keep,
            market_ns=self._clock.now_ns(),
        )
        if corrected:
            self._log.warning("schedule-corrected", extra={"calendar": instrument.calendar, "series": corrected})
        return True

    async def _stand_in(self, instrument: Instrument, session: str, span: Span, why: dict[str, Any]) -> None:
        """IB gives no schedule: weekdays, until it is requested again."""
        self._log.warning("schedule-refused", extra={"calendar": instrument.calendar, "session": session, **why})
        rows = [s for s in weekdays(*span, instrument.time_zone).sessions if s.close_ns <= span[1]]

        def keep(cursor: Cursor) -> None:
            name, zone = instrument.calendar, instrument.time_zone
            calendars.store(cursor, name, session, time_zone=zone, known=span, sessions=rows, stand_in=True)
            calendars.refused(cursor, name, session, self._clock.now_ns())

        await self._transactions.run(keep)

    async def relearn(self) -> None:
        """Ask again for the schedules that IB refused, as far as they are due."""
        for guess in await self._transactions.run(calendars.guesses_due, self._clock.now_ns()):
            instrument = await self._transactions.run(instruments.by_id, guess.con_id)
            if instrument is None or not self._requests.connection.serves(instrument):
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
                rows = await self._requests.details(
                    translate.contract(instrument), f"hours|{instrument.con_id}", correlation_id
                )
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
