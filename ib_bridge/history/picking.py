"""The next request to IB: the best chunk of the ledger that IB's rules allow, leased and booked before it is sent."""

from dataclasses import dataclass

from ib_bridge.history.booking import Booking, NotYet
from ib_bridge.history.concurrency import Concurrency
from ib_bridge.ib.clock import MarketClock
from ib_bridge.ib.connection import IbConnection
from nautilus.backfill.pacing import PacingLimits, Request, next_allowed
from nautilus.clock import NS_PER_DAY
from nautilus.db.cursor import Cursor
from nautilus.db.ledger import chunks, job_counts, job_planning, job_waits, requests
from nautilus.db.ledger.chunks import Candidate, Lease
from nautilus.db.market import calendars, instruments, series
from nautilus.db.market.series import Series
from nautilus.market.calendar import Calendar
from nautilus.market.instrument import Instrument
from nautilus.market.timeframes import timeframe


@dataclass(frozen=True, slots=True)
class Task:
    """A leased chunk with all that is needed to ask for it."""

    held: Lease
    row: Series
    instrument: Instrument
    calendar: Calendar
    request_id: int
    sent_at: int
    correlation_id: str
    epoch: int
    """Of the concurrency, when it was sent."""


def request_of(candidate: Candidate, instrument: Instrument) -> Request:
    """A chunk's request as the pacer sees it.

    Two of a series that end at the same time count as identical: how far back they reach is rounded up on the wire.
    """
    frame = timeframe(candidate.timeframe)
    series_and_end = (instrument.con_id, frame.name, candidate.price, candidate.session, candidate.window[1])
    return Request(
        identity="|".join(map(str, series_and_end)),
        contract=f"{instrument.con_id}|{instrument.exchange}|{candidate.price}",
        small=frame.small,
        weight=2 if candidate.price == "BID_ASK" else 1,
        interactive=candidate.interactive,
    )


class Picker:
    """Finds the next chunk, and leases it. Both methods run in a transaction of the caller."""

    def __init__(self, bridge_id: str, connection: IbConnection, booking: Booking, clock: MarketClock) -> None:
        self._bridge_id = bridge_id
        self._connection = connection
        self._booking = booking
        self._clock = clock
        self._instruments: dict[int, Instrument] = {}
        self.quiet_until = 0
        """Market time before which no small request leaves: IB complained about the pace."""
        self.away = False
        """True when the last search found a chunk that the connection cannot serve."""

    def candidates(self, cursor: Cursor, login: str, now: int) -> list[tuple[Candidate, Request, int]]:
        """The candidates that the session can serve now, with the time each may be sent; best first, up to the first that
        may be sent at once."""
        rows = []
        book = None
        limits = self._booking.limits
        self.away = False
        heaviest_waiting = 0
        for candidate in chunks.candidates(cursor, now):
            instrument = self._instrument(cursor, candidate.con_id)
            if not self._connection.serves(instrument):
                self.away = True
                continue
            if book is None:
                book = requests.book(cursor, login, now)
                limits = self._limits(cursor)
            request = request_of(candidate, instrument)
            if request.small and request.weight < heaviest_waiting:
                continue  # or a request that weighs two would never find two slots free at once
            at = next_allowed(request, book, now, limits)
            if request.small:
                at = max(at, self.quiet_until)
                heaviest_waiting = max(heaviest_waiting, request.weight if at > now else 0)
            rows.append((candidate, request, at))
            if at <= now:
                break
        return rows

    def _limits(self, cursor: Cursor) -> PacingLimits:
        """IB's limits; a head that a job cannot be planned without has the next slot among the small requests."""
        limits = self._booking.limits
        return (
            limits._replace(reserve=limits.reserve + 1) if job_planning.planning_waits(cursor, NotYet.code) else limits
        )

    def _instrument(self, cursor: Cursor, con_id: int) -> Instrument:
        if con_id not in self._instruments:
            found = instruments.by_id(cursor, con_id)
            if found is None:
                raise LookupError(f"series of an instrument that is not there: {con_id}")
            self._instruments[con_id] = found
        return self._instruments[con_id]

    def take(
        self, cursor: Cursor, candidate: Candidate, request: Request, *, login: str, concurrency: Concurrency
    ) -> Task | None:
        """In one short transaction under the login's lock: check again, lease, and book before anything is sent."""
        requests.lock(cursor, login)
        now = self._clock.now_ns()
        if next_allowed(request, requests.book(cursor, login, now), now, self._booking.limits) > now:
            return None
        row = series.by_id(cursor, candidate.series_id)
        held = chunks.lease(cursor, candidate.chunk_id, self._bridge_id)
        if held is None:
            return None
        if not held.force and row.covered.covers(held.span):
            chunks.done(cursor, held, outcome="covered", good=True, bars=0)
            return None
        instrument = self._instrument(cursor, candidate.con_id)
        around = (held.span[0] - 7 * NS_PER_DAY, held.span[1] + 7 * NS_PER_DAY)
        calendar = calendars.load(cursor, instrument.calendar, row.session, around)
        if calendar is None:
            raise LookupError(f"a chunk without a calendar: {instrument.calendar}")
        correlation_id = job_waits.correlation_of(cursor, held.chunk_id)
        now = self._clock.now_ns()  # again: what is booked is when it leaves
        number = requests.insert(
            cursor,
            login,
            self._bridge_id,
            kind="bars",
            request=request,
            sent_at=now,
            series_id=row.id,
            chunk_id=held.chunk_id,
            correlation_id=correlation_id,
        )
        job_counts.served(cursor, held.chunk_id)
        return Task(held, row, instrument, calendar, number, now, correlation_id, concurrency.epoch)
