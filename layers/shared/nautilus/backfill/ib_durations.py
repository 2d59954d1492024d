"""How long a request for bars says it is, and where it ends, in IB's words."""

from nautilus.clock import NS_PER_S, datetime_of
from nautilus.market.calendar import Calendar
from nautilus.market.timeframes import Timeframe
from nautilus.spans import Span

_DAY_S = 86_400


def duration(window: Span, timeframe: Timeframe, calendar: Calendar) -> str:
    """IB's durationStr for a window of a chunk, counted back from `end_text`: never shorter than the window.

    Seconds are seconds. `D` counts trade dates, as users see it, the one in progress being the first; the documents can
    be read as calendar days; a week is five of the one or seven of the other. The answer holds the window in either
    reading, so it may hold more. Which unit goes with which bar size follows IB's table "valid duration string units"
    (TWS API); bars of a week and a month, which it leaves out, go with years as in the older table.
    """
    first, last = calendar.real_time(timeframe, window)
    seconds = -((min(first, window[0]) - last) // NS_PER_S)
    days = -(-seconds // _DAY_S)
    dates = len({session.trade_date for session in calendar.between(first, last)})
    step_s = timeframe.step_ns // NS_PER_S
    if step_s <= 60 and seconds <= _DAY_S:
        return f"{max(seconds, 30)} S"
    weeks = max(-(-days // 7), -(-dates // 5))
    months = max(-(-days // 28), -(-dates // 20))
    if timeframe.intraday and days <= 364:
        if step_s > 14_400 and months <= 12:
            return f"{months} M"
        # A week is requested as seven days, n days as n trade dates, about seven calendar days for five.
        if 10 <= step_s <= 14_400 and weeks <= 52 and (step_s > 3_600 or weeks * 5 <= days):
            return f"{weeks} W"
        if step_s <= 3_600:
            return f"{max(days, dates)} D"
    return f"{-(-days // 365)} Y"


def end_text(window: Span, timeframe: Timeframe, calendar: Calendar) -> str:
    """IB's endDateTime, in its UTC form `yyyymmdd-hh:mm:ss` (immune to the gateway's zone settings).

    Labelled bars end with the close of their last trade date: at the label's midnight the next day may have begun.
    """
    return datetime_of(calendar.real_time(timeframe, window)[1]).strftime("%Y%m%d-%H:%M:%S")
