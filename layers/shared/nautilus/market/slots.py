"""Which bars there can be: the slots of a timeframe in the sessions of a calendar, listed and counted.

Alignment, one table (an assumption about IB until a real gateway confirms it):

    1s ... 1h       the exchange's clock: 14:30, 14:45, 15:00 there
    2h 3h 4h 8h     the exchange's midnight: 0, 2, 4 ... o'clock there, on the days when clocks change too
    1d              the trade date
    1w 1M           the Monday, the first of the month
    all intraday    cut at the session's open and close: New York's first 1h bar is 09:30 to 10:00
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from nautilus.clock import NS_PER_HOUR
from nautilus.market.calendar import Calendar
from nautilus.market.timeframes import Timeframe
from nautilus.spans import Span


class Slots(NamedTuple):
    """Slots side by side: `starts` are the stamps of bars on the series' axis, ascending; slot n is [opens[n], closes[n])."""

    starts: Sequence[int] = ()
    opens: Sequence[int] = ()
    closes: Sequence[int] = ()


def on_axis(calendar: Calendar, frame: Timeframe, span: Span) -> Slots:
    """The slots whose stamps lie in `span`; opens and closes are on the series' axis, as the stamps are."""
    if frame.intraday:
        rows = list(_intraday(calendar, frame, span))
    else:
        rows = [(start, frame.next(start)) for start, _ in calendar.units(frame, span)]
    starts = [row[0] for row in rows]
    return Slots(starts, starts, [row[1] for row in rows])


def in_time(calendar: Calendar, frame: Timeframe, span: Span) -> Slots:
    """The same with the times at which they really open and close: of labelled bars the first open, the last close."""
    found = on_axis(calendar, frame, span)
    if frame.intraday:
        return found
    hours = [calendar.real_time(frame, (start, end)) for start, end in zip(found.starts, found.closes, strict=True)]
    return Slots(found.starts, [h[0] for h in hours], [h[1] for h in hours])


def _intraday(calendar: Calendar, frame: Timeframe, span: Span) -> Iterator[Span]:
    for session in calendar.between(*span):
        at = max(session.open_ns, span[0])
        start, end = calendar.slot(frame, at)
        stamp = max(start, session.open_ns)
        while stamp < min(session.close_ns, span[1]):
            if stamp >= span[0]:
                yield stamp, min(end, session.close_ns)
            stamp = end
            # Clocks change by whole hours, so that slots of an hour and less keep their step.
            end = end + frame.step_ns if frame.step_ns <= NS_PER_HOUR else calendar.slot(frame, end)[1]


def count(calendar: Calendar, frame: Timeframe, span: Span, most: int) -> int:
    """How many slots have their stamps in `span`; counting ends when there are more than `most`."""
    total = 0
    for unit in calendar.units(frame, span):
        total += _in_unit(calendar, frame, unit)
        if total > most:
            break
    return total


def _in_unit(calendar: Calendar, frame: Timeframe, unit: Span) -> int:
    if not frame.intraday:
        return 1
    if frame.step_ns > NS_PER_HOUR:
        return sum(1 for _ in _intraday(calendar, frame, unit))
    first = calendar.slot(frame, unit[0])[0]
    return -((first - unit[1]) // frame.step_ns)


def cut_after(calendar: Calendar, frame: Timeframe, span: Span, number: int, *, backward: bool) -> int:
    """Where to cut `span` so that its near side has at most `number` slots: a guess for a page of so many bars.

    Near is the beginning, or, backward, the end. The far end of `span` when all of it is not more.
    """
    for unit in calendar.walk(frame, span, backward=backward):
        inside = _in_unit(calendar, frame, unit)
        if inside < number:
            number -= inside
        elif backward:
            return max(span[0], _start(calendar, frame, unit, inside - number)) if number else unit[1]
        else:
            return _start(calendar, frame, unit, number) if number < inside else unit[1]
    return span[0] if backward else span[1]


def _start(calendar: Calendar, frame: Timeframe, unit: Span, number: int) -> int:
    """The stamp of slot `number` of a unit, which has more."""
    if number == 0 or not frame.intraday:
        return unit[0]
    if frame.step_ns > NS_PER_HOUR:
        return [row[0] for row in _intraday(calendar, frame, unit)][number]
    return calendar.slot(frame, unit[0])[1] + (number - 1) * frame.step_ns
