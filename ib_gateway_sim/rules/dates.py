"""Dates and times as clients send them."""

import calendar
import datetime as dt
import re
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from ib_gateway_sim.rules.errors import Violation

UTC = dt.UTC
_DATE = re.compile(r"(?a)(?:(\d{8})(-|\s+))?(\d{2}:\d{2}:\d{2})(?:\s+(\S.*))?")
_ZONES_WITHOUT_SLASH = frozenset({"UTC", "GB-Eire", "MET"})
"""IB takes zones of the form Region/City (also US/Eastern), UTC, and those that contract details spell without a slash.
GMT, EST, EDT and the like it refuses (users' reports of 10314, read 2026-11)."""
NO_ZONE = Violation(
    2174,
    "Warning: You submitted request with date-time attributes without explicit time zone. Please switch to use "
    "yyyymmdd-hh:mm:ss in UTC or use instrument time zone, like US/Eastern. Implied time zone functionality will be "
    "removed in the next API release",
)


@dataclass(frozen=True)
class Moment:
    at_s: int
    zone_missing: bool = False  # answered, with warning 2174


def moment(text: str, *, field_name: str, login_zone: str, now_s: float) -> Moment | Violation:
    """A date-time as clients send it: `yyyymmdd hh:mm:ss Region/City`, `yyyymmdd-hh:mm:ss` (UTC), or zone-less.

    Without a date it is today, in the zone of the text.
    """
    match = _DATE.fullmatch(text.strip())
    if match is None or (match[2] == "-" and match[4]) or (match[4] and not _is_zone(match[4])):
        return _bad_date(field_name)
    zone_name = "UTC" if match[2] == "-" else match[4] or login_zone
    try:
        zone = ZoneInfo(zone_name)
        day = match[1] or f"{dt.datetime.fromtimestamp(now_s, zone):%Y%m%d}"
        at = dt.datetime.strptime(f"{day} {match[3]}", "%Y%m%d %H:%M:%S").replace(tzinfo=zone)
        if not 1950 <= at.year <= 2200:
            return _bad_date(field_name)
        return Moment(int(at.timestamp()), zone_missing=match[2] != "-" and not match[4])
    except (ValueError, OSError, LookupError, OverflowError):
        return _bad_date(field_name)


def _is_zone(name: str) -> bool:
    return "/" in name or name in _ZONES_WITHOUT_SLASH


def _bad_date(field_name: str) -> Violation:
    return Violation(
        10314,
        f"{field_name}: The date, time, or time-zone entered is invalid. The correct format is yyyymmdd hh:mm:ss "
        "xx/xxxx where yyyymmdd and xx/xxxx are optional. E.g.: 20031126 15:59:00 US/Eastern  Note that there is a "
        "space between the date and time, and between the time and time-zone.  If no date is specified, current date "
        "is assumed. If no time-zone is specified, local time-zone is assumed(deprecated).  You can also provide "
        "yyyymmddd-hh:mm:ss time is in UTC. Note that there is a dash between the date and time in UTC notation.",
    )


def months_before(day: dt.date, months: int) -> dt.date:
    """The same day some months earlier, the last of the month where that month is shorter."""
    month = day.year * 12 + day.month - 1 - months
    year, month = max(1, month // 12), month % 12 + 1
    return dt.date(year, month, min(day.day, calendar.monthrange(year, month)[1]))


def small_bars_from_s(now_s: float) -> int:
    """Bars of 30 seconds and less older than six months are not kept."""
    now = dt.datetime.fromtimestamp(now_s, UTC)
    day = months_before(now.date(), 6)
    return int(dt.datetime.combine(day, now.time(), UTC).timestamp())
