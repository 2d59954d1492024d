"""When a market is open: sessions as IB's SCHEDULE tells them, and what follows for bars.

A calendar knows a range of time; outside of it nothing is known. Days carry their trade date: an overnight futures
session that opens on Sunday evening belongs to Monday.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from typing import NamedTuple
from zoneinfo import ZoneInfo

from nautilus.clock import NS_PER_DAY, NS_PER_HOUR, NS_PER_S, datetime_of, day_of, label_of, ns_of
from nautilus.market.timeframes import Timeframe
from nautilus.spans import Span, Spans

_NS_PER_MINUTE = 60 * NS_PER_S
_QUARTER_NS = 15 * _NS_PER_MINUTE
"""Since 1972 all clocks of the world differ by whole quarters of an hour: no zone is needed for what divides one."""
_WEEK_NS = 7 * NS_PER_DAY
_PATTERN = 60
"""So many of the last sessions tell on which days and at which hours a market opens."""


class Session(NamedTuple):
    """One range of trading, half-open, in ns UTC; a trade date may have several."""

    open_ns: int
    close_ns: int
    trade_date: date


class Calendar:
    """The sessions of one market (`rth` or `all`), sorted, and the range of time they are known for."""

    def __init__(self, sessions: tuple[Session, ...], known: Span, time_zone: str) -> None:
        self.sessions = sessions
        self.known = known
        self.time_zone = time_zone

    @classmethod
    def of(cls, sessions: Iterable[Session], known: Span, time_zone: str) -> "Calendar":
        return cls(tuple(sorted(sessions)), known, time_zone)

    @cached_property
    def _opens(self) -> list[int]:
        return [s.open_ns for s in self.sessions]

    @cached_property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.time_zone)

    @cached_property
    def _by_date(self) -> dict[date, list[Session]]:
        found: dict[date, list[Session]] = {}
        for session in self.sessions:
            found.setdefault(session.trade_date, []).append(session)
        return found

    @cached_property
    def _dates(self) -> list[date]:
        return sorted(self._by_date)

    def between(self, start: int, end: int) -> list[Session]:
        """The sessions that overlap [start, end)."""
        first = max(0, bisect_right(self._opens, start) - 1)
        return [s for s in self.sessions[first : bisect_left(self._opens, end)] if s.close_ns > start and start < end]

    def latest_session(self, ns: int) -> Session | None:
        """The last session that opens at `ns` or before."""
        at = bisect_right(self._opens, ns) - 1
        return self.sessions[at] if at >= 0 else None

    def first_from(self, ns: int) -> Session | None:
        """The first session that opens at `ns` or later."""
        at = bisect_left(self._opens, ns)
        return self.sessions[at] if at < len(self.sessions) else None

    def session_at(self, ns: int) -> Session | None:
        """The session that holds the time `ns`."""
        latest = self.latest_session(ns)
        return latest if latest is not None and ns < latest.close_ns else None

    def sessions_of(self, trade_date: date) -> list[Session]:
        """The sessions of a trade date, ascending."""
        return self._by_date.get(trade_date, [])

    def trade_dates(self, start: date, end: date) -> list[date]:
        """The trade dates in [start, end), ascending."""
        return self._dates[bisect_left(self._dates, start) : bisect_left(self._dates, end)]

    # ---- bars ----------------------------------------------------------------------------------------------------

    def slot(self, timeframe: Timeframe, ns: int) -> Span:
        """The slot of the bar grid that holds `ns`, on the series' axis.

        IB aligns intraday bars to the clock of the exchange (assumption until a gateway confirms): 4h bars begin at
        0, 4, 8 ... o'clock there, on the days when clocks change too, when one slot is an hour shorter or longer.
        """
        step = timeframe.step_ns
        if not timeframe.intraday:
            return timeframe.floor(ns), timeframe.next(ns)
        if _QUARTER_NS % step == 0:
            return ns - ns % step, ns - ns % step + step
        local = datetime_of(ns).astimezone(self.zone)
        if step <= NS_PER_HOUR:  # clocks change by whole hours: the offset alone tells the grid
            offset = ns_of(local.replace(tzinfo=UTC)) - ns_of(local)
            start = ns - (ns + offset) % step
            return start, start + step
        marks = [self._local(local.date(), hour) for hour in range(0, 24, step // NS_PER_HOUR)]
        marks.append(self.midnight(local.date() + timedelta(days=1)))
        at = bisect_right(marks, ns)
        return marks[at - 1], marks[at]

    def midnight(self, day: date) -> int:
        """When a date begins at the exchange."""
        return self._local(day, 0)

    def _local(self, day: date, hour: int) -> int:
        return ns_of(datetime.combine(day, time(hour), tzinfo=self.zone))

    def slot_end(self, timeframe: Timeframe, ts: int) -> int:
        """When the intraday bar that opens at `ts` is over: at its slot's end or at the session's close."""
        end = self.slot(timeframe, ts)[1]
        session = self.session_at(ts)
        return min(end, session.close_ns) if session else end

    def units(self, timeframe: Timeframe, span: Span) -> list[Span]:
        """The ranges of the series' axis in `span` that can hold bars, one per session.

        Intraday: each session, cut to the span. Labelled bars: each day, week or month that has a trade date and whose
        label lies in the span. Outside the range this calendar knows, nothing.
        """
        if timeframe.intraday:
            return [(max(s.open_ns, span[0]), min(s.close_ns, span[1])) for s in self.between(span[0], span[1])]
        labels = {timeframe.floor(label_of(day)) for day in self.trade_dates(day_of(span[0]), _beyond(span[1]))}
        return [(label, min(timeframe.next(label), span[1])) for label in sorted(labels) if span[0] <= label < span[1]]

    def walk(self, timeframe: Timeframe, span: Span, *, backward: bool) -> Iterator[Span]:
        """The same ranges one by one, from the end when `backward`: for those who need the near ones alone."""
        if not timeframe.intraday:
            units = self.units(timeframe, span)
            yield from reversed(units) if backward else units
            return
        first = max(0, bisect_right(self._opens, span[0]) - 1)
        numbers = range(first, bisect_left(self._opens, span[1]))
        for n in reversed(numbers) if backward else numbers:
            session = self.sessions[n]
            if session.close_ns > span[0] and span[0] < span[1]:
                yield max(session.open_ns, span[0]), min(session.close_ns, span[1])

    def open_time(self, timeframe: Timeframe, span: Span) -> Spans:
        """Where in `span` bars can be at all."""
        return Spans(self.units(timeframe, span))

    def back(self, timeframe: Timeframe, ns: int, bars: int) -> int:
        """The start of the slot from which about `bars` bars lead up to `ns`; as far as this calendar knows."""
        units = self.units(timeframe, (self.known[0], ns))
        for start, end in reversed(units):
            slots = -(-(end - start) // timeframe.step_ns) if timeframe.intraday else 1
            if slots >= bars:
                at = max(start, end - bars * timeframe.step_ns) if timeframe.intraday else start
                return max(start, self.slot(timeframe, at)[0])
            bars -= slots
        return units[0][0] if units else ns

    def ahead(self, timeframe: Timeframe, ns: int, bars: int) -> int:
        """The end of the slot up to which about `bars` bars follow `ns`; as far as this calendar knows."""
        units = self.units(timeframe, (ns, self.known[1]))
        for start, end in units:
            slots = -(-(end - start) // timeframe.step_ns) if timeframe.intraday else 1
            if slots >= bars:
                at = min(end, start + bars * timeframe.step_ns) if timeframe.intraday else end
                return min(end, self.slot(timeframe, at - 1)[1])
            bars -= slots
        return units[-1][1] if units else ns

    def known_axis(self, timeframe: Timeframe) -> Spans:
        """The known range on the series' axis: for labelled bars, the slots of which every session is known.

        A label's slot lasts from midnight to midnight of the exchange. A day of which IB sent one session is known, as
        IB sends the sessions of a day together; of a week or month each day must be known.
        """
        start, end = self.known
        if timeframe.intraday:
            return Spans.of(start, end)
        first = timeframe.floor(self.date_label(start))
        if self.midnight(day_of(first)) < start:
            first = timeframe.next(first)
        return Spans.of(first, max(first, timeframe.floor(label_of(self.unknown_from))))

    @cached_property
    def unknown_from(self) -> date:
        """The first date of which not every session is known.

        IB sends the sessions of a date together. What opens later than the known range ends has a later date where none
        of the market's sessions opens so late on its own date: over a weekend a future's next open is Monday's.
        """
        local = datetime_of(self.known[1]).astimezone(self.zone)
        day = local.date()
        opens = [(s.trade_date, datetime_of(s.open_ns).astimezone(self.zone)) for s in self.sessions[-_PATTERN:]]
        none_later = bool(opens) and not any(o.date() == d and o.time() >= local.time() for d, o in opens)
        if day in self._by_date or none_later:
            day += timedelta(days=1)
        return day if self._trades_at_weekends else weekday_from(day)

    @cached_property
    def _trades_at_weekends(self) -> bool:
        """True when a Saturday or Sunday was a trade date, or too little is known to say that none was."""
        if self.known[1] - self.known[0] < _WEEK_NS or not self.sessions:
            return True
        return any(s.trade_date.weekday() > 4 for s in self.sessions[-_PATTERN:])

    def date_label(self, ns: int) -> int:
        """The label of the exchange's date at a time."""
        return label_of(datetime_of(ns).astimezone(self.zone).date())

    def real_time(self, timeframe: Timeframe, span: Span) -> Span:
        """From the first open to the last close of the bars in a range of the axis; intraday, the range itself.

        The label of a day says little about its hours: a future's day begins the evening before, a US stock's day with
        extended hours ends at 01:00Z of the next.
        """
        if timeframe.intraday:
            return span
        dates = self.trade_dates(day_of(span[0]), day_of(span[1]))
        if not dates:
            return span
        return self._by_date[dates[0]][0].open_ns, self._by_date[dates[-1]][-1].close_ns


def extended(calendar: Calendar, span: Span) -> Calendar:
    """The calendar with weekdays for what it does not know of a range: for estimates, which send nothing to IB."""
    start, end = min(span[0], calendar.known[0]), max(span[1], calendar.known[1])
    guess = weekdays(start, end, calendar.time_zone).sessions
    known_dates = {s.trade_date for s in calendar.sessions}
    outside = [s for s in guess if s.open_ns >= calendar.known[1] or s.close_ns <= calendar.known[0]]
    edges = [s for s in guess if s.open_ns < calendar.known[1] < s.close_ns and s.trade_date not in known_dates]
    return Calendar.of([*calendar.sessions, *outside, *edges], (start, end), calendar.time_zone)


def weekday_from(day: date) -> date:
    """The first day from Monday to Friday, not before `day`."""
    return day + timedelta(days=max(0, 7 - day.weekday()) if day.weekday() > 4 else 0)


def _beyond(label: int) -> date:
    """A date by which every day, week or month that begins before `label` has begun to trade."""
    return day_of(label + 31 * NS_PER_DAY)


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
