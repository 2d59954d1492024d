"""When a market is open: sessions as IB's SCHEDULE tells them, and what follows for bars.

A calendar knows a range of time; outside of it nothing is said. Days carry their trade date: an overnight futures
session that opens on Sunday evening belongs to Monday.
"""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import cached_property
from zoneinfo import ZoneInfo

from nautilus.clock import NS_PER_DAY, NS_PER_S, datetime_of, day_of, label_of, ns_of
from nautilus.spans import Span, Spans
from nautilus.timeframes import Timeframe


@dataclass(frozen=True, slots=True, order=True)
class Session:
    """One stretch of trading, half-open, in ns UTC; a trade date may have several."""

    open_ns: int
    close_ns: int
    trade_date: date


@dataclass(frozen=True)
class Calendar:
    """The sessions of one market (`rth` or `all`), sorted, and the range of time they are known for."""

    sessions: tuple[Session, ...]
    known: Span
    time_zone: str

    @classmethod
    def of(cls, sessions: Iterable[Session], known: Span, time_zone: str) -> "Calendar":
        return cls(tuple(sorted(sessions)), known, time_zone)

    @cached_property
    def _opens(self) -> list[int]:
        return [s.open_ns for s in self.sessions]

    @cached_property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.time_zone)

    def between(self, start: int, end: int) -> list[Session]:
        """The sessions that overlap [start, end)."""
        first = max(0, bisect_right(self._opens, start) - 1)
        return [s for s in self.sessions[first:] if s.open_ns < end and s.close_ns > start] if start < end else []

    def session_at(self, ns: int) -> Session | None:
        """The session that holds a moment."""
        at = bisect_right(self._opens, ns) - 1
        return self.sessions[at] if at >= 0 and ns < self.sessions[at].close_ns else None

    def trade_dates(self, start: date, end: date) -> list[date]:
        """The trade dates in [start, end), ascending."""
        return sorted({s.trade_date for s in self.sessions if start <= s.trade_date < end})

    # ---- bars ----------------------------------------------------------------------------------------------------

    def units(self, timeframe: Timeframe, span: Span) -> list[Span]:
        """The stretches of the series' axis in `span` that can hold bars, one per session.

        Intraday: each session, cut to the span. Labelled bars: each day, week or month that has a trade date.
        Outside the range this calendar knows, nothing.
        """
        if timeframe.intraday:
            return [(max(s.open_ns, span[0]), min(s.close_ns, span[1])) for s in self.between(span[0], span[1])]
        found: list[Span] = []
        for day in self.trade_dates(day_of(timeframe.floor(span[0])), day_of(span[1] + 31 * NS_PER_DAY)):
            start = timeframe.floor(label_of(day))
            end = timeframe.next(start)
            if start < span[1] and end > span[0] and (not found or found[-1][0] != start):
                found.append((max(start, span[0]), min(end, span[1])))
        return found

    def open_time(self, timeframe: Timeframe, span: Span) -> Spans:
        """Where in `span` bars can be at all."""
        return Spans(self.units(timeframe, span))

    def slot_end(self, timeframe: Timeframe, ts: int) -> int:
        """When the intraday bar that opens at `ts` is over: at its slot's end or at the session's close."""
        local = datetime_of(ts).astimezone(self.zone)
        midnight = ns_of(datetime.combine(local.date(), time(), tzinfo=self.zone))
        # IB aligns bars to the clock of the exchange: counted from its midnight (assumption until a gateway confirms).
        boundary = midnight + ((ts - midnight) // timeframe.step_ns + 1) * timeframe.step_ns
        session = self.session_at(ts)
        return min(boundary, session.close_ns) if session else boundary

    def closed_by(self, timeframe: Timeframe, ts: int, *, late_settlement: bool) -> int:
        """The market time at which the bar with this stamp is over, without the settle time.

        late_settlement: futures, whose daily close may be a settlement price that comes hours later; their day is over
        when the next session opens.
        """
        if timeframe.intraday:
            return self.slot_end(timeframe, ts)
        start, end = day_of(timeframe.floor(ts)), day_of(timeframe.next(ts))
        if timeframe.name != "1d":
            return ns_of(datetime.combine(end, time(), tzinfo=self.zone))
        own = [s.close_ns for s in self.sessions if s.trade_date == start]
        if not own:
            return ns_of(datetime.combine(end, time(), tzinfo=self.zone))
        if late_settlement:
            later = [s.open_ns for s in self.sessions if s.open_ns >= max(own)]
            return min(later) if later else max(own) + 3 * NS_PER_DAY
        return max(own)

    def closed_until(self, timeframe: Timeframe, now: int, *, settle_ns: int, late_settlement: bool) -> int:
        """The end, on the series' axis, of what can be asked for at market time `now`: no bar before it still forms."""
        at = now - settle_ns
        if timeframe.intraday:
            local = datetime_of(at).astimezone(self.zone)
            midnight = ns_of(datetime.combine(local.date(), time(), tzinfo=self.zone))
            boundary = midnight + (at - midnight) // timeframe.step_ns * timeframe.step_ns
            session = self.session_at(boundary)
            if session is None or session.close_ns > at:
                return boundary
            return at - at % NS_PER_S  # the session is over: its last, short bar too
        today = datetime_of(at).astimezone(self.zone).date()
        if timeframe.name != "1d":
            return timeframe.floor(label_of(today))
        recent = self.trade_dates(today - timedelta(days=14), today + timedelta(days=1))
        for day in recent:
            if self.closed_by(timeframe, label_of(day), late_settlement=late_settlement) > at:
                return label_of(day)
        return label_of(today) + (NS_PER_DAY if today in recent else 0)


def weekdays(start: int, end: int, time_zone: str) -> Calendar:
    """A stand-in where IB gives no schedule: Monday to Friday, midnight to midnight, in the exchange's zone."""
    zone = ZoneInfo(time_zone)
    day, last = datetime_of(start).astimezone(zone).date(), datetime_of(end).astimezone(zone).date()
    sessions = []
    while day <= last:
        if day.weekday() < 5:
            opens = ns_of(datetime.combine(day, time(), tzinfo=zone))
            sessions.append(Session(opens, ns_of(datetime.combine(day + timedelta(days=1), time(), tzinfo=zone)), day))
        day += timedelta(days=1)
    return Calendar.of(sessions, (start, end), time_zone)
