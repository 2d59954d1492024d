"""One series of a live stream, as the confirming loop has it: plain state, without a clock and without a socket."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from nautilus.clock import NS_PER_S
from nautilus.coverage.states import Note
from nautilus.live import confirmation
from nautilus.live.subscriptions import StreamKey
from nautilus.market.calendar import Calendar
from nautilus.market.closing import BarCloseDelay, BarClosing
from nautilus.market.instrument import Instrument
from nautilus.market.timeframes import Timeframe, timeframe
from nautilus.spans import Span, Spans

_HOLES_NS = 15 * NS_PER_S
"""A hole may be filled by another's answer: so often coverage is looked at, and at most so often for closed bars of seconds."""
_LONGEST_LEAVE_NS = 600 * NS_PER_S


@dataclass(eq=False)
class Followed:
    """Times are market time in ns. since: bars from here on are to be whole. poll: no stream brings its bars."""

    key: StreamKey
    since: int
    poll: bool = False
    kept: bool = False
    """It is on the watch list."""
    instrument: Instrument | None = None
    calendar: Calendar | None = None
    series_id: int = 0
    holes: Spans = Spans()  # noqa: RUF009  immutable
    refused: dict[Span, str] = field(default_factory=dict)
    """The holes of which listeners know why history does not close them."""
    needs: Spans = Spans()  # noqa: RUF009  immutable
    """What longer bars are still to learn of the time before the stream."""
    covered: Spans = Spans()  # noqa: RUF009  immutable
    """What listeners know to be covered."""
    partial: bool = False
    """A bar of it is known in part only."""
    closed: int = 0
    """How far its bars were closed when it was looked at last."""
    again: bool = True
    """It is to be looked at though no bar has closed since."""
    inspected_at: int = 0
    not_before: int = 0
    attempts: int = 0
    requested_at: int = 0
    requested: Span = (0, 0)
    """What the last answer was judged on."""
    repeats: int = 0
    """How many answers in turn have left the same unconfirmed."""
    rest_until: int = 0
    calendar_at: int = 0
    """When the calendar was requested."""
    left_at: int | None = None
    """When it was left; None: it goes on. What had closed by then is confirmed first."""
    busy: bool = False

    @property
    def frame(self) -> Timeframe:
        return timeframe(self.key.kind.partition(":")[2])

    def closed_until(self, delay: BarCloseDelay, now: int) -> int | None:
        """The end of what is closed, as far as sessions are known; None where none are."""
        if self.instrument is None or self.calendar is None:
            return None
        at = min(now, self.calendar.known[1])
        return BarClosing.of(self.calendar, self.frame, self.instrument, delay=delay, now=at).closed_until(at)

    def wants_inspection(self, closed: int, now: int) -> bool:
        """True when it may be due: something closed, `again` was set, or a hole may be filled meanwhile."""
        if self.busy or now < self.not_before:
            return False
        rested = self.rest_until and now >= self.rest_until
        looked = now >= self.inspected_at + _HOLES_NS
        # Bars of seconds are confirmed by the half hour: what is missing need not be read again with each of them.
        closes = closed > self.closed and (looked or not self.frame.small)
        return self.again or closes or bool(rested or ((self.holes or self.needs) and looked))

    def is_over(self, closed: int, now: int) -> bool:
        """True when it was left, and nothing that had closed by then is to come any more."""
        return self.left_at is not None and (closed > self.left_at or now > self.left_at + _LONGEST_LEAVE_NS)

    def answered(self, span: Span) -> None:
        """An answer to a request for `span` was stored."""
        self.repeats = self.repeats + 1 if self.requested[1] == span[1] else 0
        self.requested = span

    def rests(self, missing: Spans, now: int) -> bool:
        """True while only what the last answer left unconfirmed is missing, and it is too early to ask again for that alone."""
        if not missing or self.partial:
            return False
        start, end = confirmation.hull(missing)
        if not self.requested[0] <= start < end <= self.requested[1]:
            self.rest_until = 0
            return False
        self.rest_until = self.requested_at + min(
            confirmation.RECENT_NS, confirmation.MINUTE_NS << min(self.repeats, 10)
        )
        return now < self.rest_until

    def take_filled(self, covered: Spans) -> Spans:
        """The holes that coverage proves to be filled; they are holes no more."""
        if self.calendar is None:
            return Spans()
        left = Spans(hole for hole in self.holes if self._lacking(hole, covered))
        filled, self.holes = self.holes - left, left
        return filled

    def take_refused(self, refusals: Sequence[Note], covered: Spans) -> tuple[tuple[Span, str], ...]:
        """The holes of which listeners do not know yet that history refuses all that they lack, and why."""
        known, self.refused = self.refused, {}
        for hole in self.holes:
            lacking = self._lacking(hole, covered)
            met = [note for note in refusals if lacking & Spans.of(*note.span)]
            if met and not lacking - Spans(note.span for note in met):
                self.refused[hole] = met[-1].reason
        return tuple((hole, reason) for hole, reason in self.refused.items() if known.get(hole) != reason)

    def _lacking(self, hole: Span, covered: Spans) -> Spans:
        return self.calendar.open_time(self.frame, hole) - covered if self.calendar is not None else Spans.of(*hole)

    def take_needed(self, covered: Spans) -> Spans:
        """What coverage has of the time that longer bars are to learn; they need it no more."""
        found, self.needs = self.needs & covered, self.needs - covered
        return found

    def due(self, missing: Spans, *, now: int, series: int) -> bool:
        """True when what is missing is to be requested now; `series`: how many are confirmed in all."""
        waited = now >= self.requested_at + confirmation.hole_wait_ns(series)
        if self.frame.small and waited and self._is_hole_over(missing):
            return True
        return self._is_due(missing, now, series)

    def _is_hole_over(self, missing: Spans) -> bool:
        """True when all of a hole has closed, and a part of it is missing."""
        closed = confirmation.hull(missing)[1] if missing else 0
        return any(end <= closed and missing & Spans.of(start, end) for start, end in self.holes)

    def _is_due(self, missing: Spans, now: int, series: int) -> bool:
        assert self.calendar is not None  # noqa: S101  for the type checker: it was looked at
        return confirmation.is_due(
            missing,
            self.calendar,
            now=now,
            period=confirmation.period_ns(self.frame, series),
            partial=self.partial or self.poll or self.left_at is not None,
        )

    def rank(self) -> tuple[bool, int]:
        """Who goes first: parts of bars, then who waited longest. What has no stream is due each minute, and takes its turn as
        all do: else some of it would leave the others without any."""
        return not self.partial, self.requested_at
