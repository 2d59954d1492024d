"""How a market stands now: in regular hours, before or after them, or closed. As IB's contract details tell it.

Contract details name the hours of about a week from the day on which they were requested; a calendar of history ends
with the last request for it. An order is sent for a contract that IB described in this trade date, so its hours are known.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from nautilus.clock import datetime_of
from nautilus.market.instrument import Instrument

SessionPhase = Literal["regular", "extended", "closed"]
ALL_HOURS, REGULAR_HOURS = "trading_hours", "liquid_hours"
"""In an instrument's details: IB's tradingHours and liquidHours."""
_HAS_EXTENDED = frozenset({"STK", "CFD"})
"""Classes whose orders wait outside regular hours unless they say otherwise (`outside_rth`)."""
_LONGEST_TEXT = 10_000
_RANGE = re.compile(r"(?a)(\d{8}):(\d{4})-(?:(\d{8}):)?(\d{4})")


def phase(instrument: Instrument, details: Mapping[str, object], now: int) -> SessionPhase | None:
    """How the market of an instrument stands at market time `now` (ns); None where its hours that day are not known."""
    local = datetime_of(now).astimezone(ZoneInfo(instrument.time_zone)).replace(tzinfo=None)
    is_open = _open_at(_text(details, ALL_HOURS), local)
    if is_open is None:
        return None
    if not is_open:
        return "closed"
    if instrument.asset_class not in _HAS_EXTENDED:
        return "regular"
    regular = _open_at(_text(details, REGULAR_HOURS), local)
    if regular is None:
        return None
    return "regular" if regular else "extended"


def are_known(instrument: Instrument, details: Mapping[str, object], now: int) -> bool:
    """Whether `phase` has an answer at market time `now`, or IB names no hours of this instrument at all."""
    return not _text(details, ALL_HOURS) or phase(instrument, details, now) is not None


def _text(details: Mapping[str, object], name: str) -> str:
    value = details.get(name)
    return value[:_LONGEST_TEXT] if isinstance(value, str) else ""


def _open_at(hours: str, local: datetime) -> bool | None:
    """Whether a session holds a time of the exchange's clock; None where the text does not tell of that day."""
    days = sorted(re.findall(r"(?a)(\d{8}):", hours))
    if any(start <= local < end for start, end in _ranges(hours)):
        return True
    return False if days and days[0] <= local.strftime("%Y%m%d") <= days[-1] else None


def _ranges(hours: str) -> Iterator[tuple[datetime, datetime]]:
    """The sessions of a text such as `20240105:0930-20240105:1600;20240106:CLOSED`, or of the older form
    `20240105:0930-1600`, in which a session that ends before it begins ends on the next day."""
    for day, opens, last_day, closes in _RANGE.findall(hours):
        try:
            start = datetime.strptime(day + opens, "%Y%m%d%H%M")
            end = datetime.strptime((last_day or day) + closes, "%Y%m%d%H%M")
        except ValueError:
            continue
        if end <= start and not last_day:
            end += timedelta(days=1)
        yield start, end
