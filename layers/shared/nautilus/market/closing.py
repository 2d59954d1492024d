"""When a bar counts as closed. This is the only place that decides it, for the bridge and for readers.

The bridge requests and stores closed bars alone; a reader takes what is not closed for no gap. Both ask `BarClosing`. The
delays are settings of the bridge, which publishes them; readers go by what it published.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple, Self

from nautilus.clock import NS_PER_DAY, NS_PER_S, day_of
from nautilus.market.bar import Bar
from nautilus.market.calendar import Calendar, weekday_from, weekdays
from nautilus.market.instrument import Instrument
from nautilus.market.timeframes import Timeframe

_LONGEST_SETTLEMENT_NS = 3 * NS_PER_DAY
"""A settlement price is published within hours, Friday's on Saturday at times (users' reports)."""
_ALL_CLOSED_NS = 14 * NS_PER_DAY
"""So far back no bar still forms: longer than any holiday, and every week and month ends within."""


class BarCloseDelay(NamedTuple):
    """How long after its close a bar is left alone before it counts as closed, in seconds of market time."""

    intraday_s: int = 15
    daily_s: int = 900


class ClosedBounds(NamedTuple):
    """How far a series' axis is decided: every bar before `closed` is closed, no bar from `undecided` on is.

    Between the two, sessions that were not requested yet may have closed bars. Where the calendar is known up to market
    time, the two are the same.
    """

    closed: int
    undecided: int


@dataclass(frozen=True, slots=True)
class BarClosing:
    """The rule for one series.

    late_settlement: for futures. Their daily close may be a settlement price that comes hours later, so that their day is
    over when the next session opens. stand_in: no calendar is known and weekdays stand in for it.
    """

    calendar: Calendar
    timeframe: Timeframe
    delay_ns: int
    late_settlement: bool
    stand_in: bool = False

    @classmethod
    def of(
        cls, calendar: Calendar | None, timeframe: Timeframe, instrument: Instrument, *, delay: BarCloseDelay, now: int
    ) -> Self:
        """The rule for a series of an instrument. now: market time; it says where weekdays stand in for no calendar."""
        delay_s = delay.intraday_s if timeframe.intraday else delay.daily_s
        known = calendar or weekdays(now - _ALL_CLOSED_NS, now, instrument.time_zone)
        return cls(known, timeframe, delay_s * NS_PER_S, instrument.asset_class == "FUT", calendar is None)

    def is_closed(self, ts: int, now: int) -> bool:
        """True when the bar with this stamp is closed at market time `now`."""
        return self.over_at(ts) + self.delay_ns <= now

    def without_forming(self, bars: Sequence[Bar], now: int) -> list[Bar]:
        """Bars in order of time without the newest ones that are not closed at market time `now`."""
        count = len(bars)
        while count and not self.is_closed(bars[count - 1].ts, now):
            count -= 1
        return list(bars[:count])

    def bounds(self, now: int) -> ClosedBounds:
        """What is closed at market time `now`, and what may be."""
        closed = self.closed_until(now)
        undecided = None if self.stand_in else self.undecided_until(now)
        return ClosedBounds(closed, max(closed, undecided or closed))

    def over_at(self, ts: int) -> int:
        """The market time at which the bar with this stamp is over, without the delay.

        A week or month is over with its last trade date. A day whose sessions are not known is over at its midnight; with
        late settlement at the first midnight after which a weekday begins.
        """
        calendar, frame = self.calendar, self.timeframe
        if frame.intraday:
            return calendar.slot_end(frame, ts)
        first, after = day_of(frame.floor(ts)), day_of(frame.next(ts))
        known = after <= calendar.unknown_from
        dates = calendar.trade_dates(first, after)
        if known and not dates and calendar.known[0] <= calendar.midnight(first):
            return calendar.midnight(first)
        end = calendar.midnight(weekday_from(after) if self.late_settlement else after)
        if not dates:
            return end
        over = self._day_over_at(dates[-1])
        return over if known or frame.label == "day" else max(over, end)

    def _day_over_at(self, trade_date: date) -> int:
        close = self.calendar.sessions_of(trade_date)[-1].close_ns
        return self._next_open(close) if self.late_settlement else close

    def _next_open(self, close: int) -> int:
        """When the next session opens after a close; where that is not known, when it does at the latest.

        Nothing opens before the end of what is known, so that a day closed before it is over by then. Where what is
        known ends with the close itself, we wait three days and never more: a contract may have traded its last.
        """
        following = self.calendar.first_from(close)
        if following is not None:
            return following.open_ns
        longest = close + _LONGEST_SETTLEMENT_NS
        return min(longest, self.calendar.known[1]) if self.calendar.known[1] > close else longest

    def closed_until(self, now: int) -> int:
        """The end, on the series' axis, of what is closed at market time `now`: no bar before it still forms."""
        at = now - self.delay_ns
        if self.timeframe.intraday:
            return self._intraday_until(at)
        today = self.calendar.date_label(at)
        label = self.timeframe.floor(today - _ALL_CLOSED_NS)
        while label <= today and self.over_at(label) <= at:
            label = self.timeframe.next(label)
        return label

    def _intraday_until(self, at: int) -> int:
        calendar = self.calendar
        start = calendar.slot(self.timeframe, at)[0]
        latest = calendar.latest_session(at)
        if latest is not None and at < latest.close_ns:
            return max(start, latest.open_ns)
        if calendar.known[0] <= at < calendar.known[1]:
            return at - at % NS_PER_S  # a closed market: nothing forms
        return max(start, latest.close_ns) if latest is not None else start

    def undecided_until(self, now: int) -> int | None:
        """The end of the last slot that may be closed at market time `now`; None where the sessions are known till then.

        Between `closed_until` and this end, a session that is not known may have closed a bar: nothing is known of it
        before the calendar has been extended. The same holds where the calendar begins so late that all sessions of the
        newest label may lie before it.
        """
        at = now - self.delay_ns
        if at <= self.calendar.known[1] and not self._may_lie_before(at):
            return None
        if self.timeframe.intraday:
            return self.calendar.slot(self.timeframe, at)[1]
        return self.timeframe.next(self.calendar.date_label(at))

    def _may_lie_before(self, at: int) -> bool:
        """True where the newest label, or the one before, has no known session and began before the calendar does."""
        calendar, frame = self.calendar, self.timeframe
        if frame.intraday:
            return at < calendar.known[0]
        newest = frame.floor(calendar.date_label(at))
        return any(
            calendar.midnight(day_of(label)) < calendar.known[0]
            and not calendar.trade_dates(day_of(label), day_of(frame.next(label)))
            for label in (newest, frame.floor(newest - NS_PER_DAY))
        )
