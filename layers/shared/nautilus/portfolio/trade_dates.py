"""Trade dates of accounts: the days for which their worth is kept.

A day ends at 17:00 in New York, when the US markets have settled and futures pause; Saturday and Sunday belong to Monday. An
account has contracts of many exchanges, so that its days follow no exchange's holidays.
"""

from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from nautilus.clock import datetime_of, ns_of
from nautilus.spans import Span

_ZONE = ZoneInfo("America/New_York")
_ENDS = time(17, 0)
_DAY = timedelta(days=1)
_FRIDAY = 4


def trade_date(market_ns: int) -> date:
    """The trade date of an account at a market time."""
    local = datetime_of(market_ns).astimezone(_ZONE)
    day = local.date() if local.time() < _ENDS else local.date() + _DAY
    while day.weekday() > _FRIDAY:
        day += _DAY
    return day


def before(day: date) -> date:
    """The trade date before this one."""
    day -= _DAY
    while day.weekday() > _FRIDAY:
        day -= _DAY
    return day


def span_of(day: date) -> Span:
    """When a trade date begins and ends, market time in ns."""
    return _end(before(day)), _end(day)


def _end(day: date) -> int:
    return ns_of(datetime.combine(day, _ENDS, _ZONE))
