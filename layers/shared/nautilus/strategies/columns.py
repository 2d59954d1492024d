"""Bars as a run is fed them: columns, each bar with its close, cut into trade dates."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date
from itertools import groupby
from typing import Any, NamedTuple

from nautilus.clock import day_of
from nautilus.market.calendar import Calendar
from nautilus.market.timeframes import Timeframe
from nautilus.spans import Span

MOST_ROWS = 8_000
"""Bars of one message, of all series: a line has room for four times as many."""


class StoredBar(NamedTuple):
    """A bar of a series. ts: its stamp on the series' axis, ns."""

    ts: int
    open: float
    high: float
    low: float
    close: float
    volume: float | None


class FedBar(NamedTuple):
    """A bar with the time at which it is over, by which it is fed. series: index in the run's series."""

    series: int
    opened_ns: int
    closed_ns: int
    open: float
    high: float
    low: float
    close: float
    volume: float | None


class Chunk(NamedTuple):
    """Bars of one trade date, in the order in which they were over. last: whether no more of this date follow."""

    trade_date: date
    last: bool
    bars: Sequence[FedBar]


class Axis:
    """When the bars of a series open and close, by a calendar that knows all of them. series: its index in the run's."""

    def __init__(self, series: int, timeframe: Timeframe, calendar: Calendar) -> None:
        self.series = series
        self.timeframe = timeframe
        self.calendar = calendar

    def bar(self, row: StoredBar) -> FedBar:
        """The same bar with its times: a labelled one opens with the first session of its dates and closes with the last."""
        if self.timeframe.intraday:
            opened, closed = row.ts, self.calendar.slot_end(self.timeframe, row.ts)
        else:
            opened, closed = self.calendar.real_time(self.timeframe, (row.ts, self.timeframe.next(row.ts)))
        return FedBar(self.series, opened, closed, *row[1:])

    def bars(self, rows: Iterable[StoredBar]) -> list[FedBar]:
        return list(map(self.bar, rows))

    def trade_date(self, at_ns: int) -> date:
        """The trade date of a time: that of the session that ends with it or goes on, else of the last one before."""
        session = self.calendar.latest_session(at_ns - 1)
        return session.trade_date if session else day_of(at_ns)

    def cuts(self, span: Span, most: int) -> list[int]:
        """Times at which a range is cut into parts of whole trade dates with about `most` slots each; its ends included."""
        frame, cuts, slots = self.timeframe, [span[0]], 0
        before: date | None = None
        for session in self.calendar.between(*self.calendar.real_time(frame, span)):
            if before is not None and session.trade_date != before and slots >= most and session.open_ns > cuts[-1]:
                cuts.append(session.open_ns)
                slots = 0
            before = session.trade_date
            slots += -(-(session.close_ns - session.open_ns) // frame.step_ns) if frame.intraday else 1
        return [*(cut for cut in cuts if cut < span[1]), span[1]]


def in_order(bars: Sequence[FedBar]) -> list[FedBar]:
    """By the time at which they are over; of one time in the order of the series."""
    return sorted(bars, key=lambda bar: (bar.closed_ns, bar.series))


def chunks(bars: Sequence[FedBar], trade_date: Callable[[int], date], most: int = MOST_ROWS) -> Iterator[Chunk]:
    """Bars that are in order, cut by the trade date in which they are over; a date with more than `most` bars into several
    parts, none of which ends between two bars of one time."""
    for day, of_day in groupby(bars, key=lambda bar: trade_date(bar.closed_ns)):
        group = list(of_day)
        start = 0
        while start < len(group):
            end = min(start + most, len(group))
            while end < len(group) and group[end].closed_ns == group[end - 1].closed_ns:
                end += 1
            yield Chunk(day, end == len(group), group[start:end])
            start = end


def message_series(bars: Sequence[FedBar]) -> list[Mapping[str, Any]]:
    """The `series` of a message: a dict of columns for each series that has bars."""
    by_index: dict[int, list[FedBar]] = {}
    for bar in bars:
        by_index.setdefault(bar.series, []).append(bar)
    return [_columns(index, rows) for index, rows in sorted(by_index.items())]


def _columns(index: int, rows: Sequence[FedBar]) -> Mapping[str, Any]:
    return {
        "index": index,
        "opened_ns": [row.opened_ns for row in rows],
        "closed_ns": [row.closed_ns for row in rows],
        "open": [row.open for row in rows],
        "high": [row.high for row in rows],
        "low": [row.low for row in rows],
        "close": [row.close for row in rows],
        "volume": None if all(row.volume is None for row in rows) else [row.volume for row in rows],
    }
