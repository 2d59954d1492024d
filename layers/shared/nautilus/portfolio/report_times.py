"""Times in reports of the broker, as nanoseconds of market time; what could mean two times is refused, never guessed.

A Flex query writes times in the zone of the report, and names that zone only where its time format has one (`10:19:55 EDT`).
So a text without a zone needs one that whoever imports the file has named. Sources: IB's reporting guide, Flex queries, date
and time formats.
"""

import re
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

from nautilus.clock import NS_PER_S, ns_of

_DATE = r"(?P<y>\d{4})(?P<s>-?)(?P<m>\d{2})(?P=s)(?P<d>\d{2})"
_TIME = r"(?P<h>\d{2})(?P<c>:?)(?P<min>\d{2})(?P=c)(?P<sec>\d{2})"
_MOMENT = re.compile(rf"(?a){_DATE}(?:[;,T ]\s?{_TIME}(?:\s+(?P<zone>[A-Za-z0-9_+/-]{{1,40}}))?)?")
_OTHER_DATE = re.compile(r"(?a)\d{1,2}[/-](?:\d{1,2}|[A-Za-z]{3})[/-]\d{2,4}.*")
# Zones that IB abbreviates. Each is one offset for good, so that the hour that comes twice in autumn is none there.
_OFFSETS = {"EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "UTC": 0, "GMT": 0}
_LONGEST = 64
_FIRST_YEAR = 1990
ADVICE = "in the Flex query choose the date format yyyy-MM-dd or yyyyMMdd, and a time format with the time zone"


def zone_of(name: str) -> ZoneInfo | None:
    """The zone with this name of the IANA list, such as `America/New_York`; None for no such zone."""
    if not re.fullmatch(r"[A-Za-z0-9_+/-]{1,64}", name):
        return None
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError):  # what ZoneInfo raises for names that are none
        return None


def time_of(text: str, zone: ZoneInfo | None) -> int:
    """Nanoseconds of a text with date and time. zone: for texts that name none. ValueError says what is wrong with it."""
    found = _matched(text)
    if found["h"] is None:
        raise ValueError(f"has no time of day; {ADVICE}")
    named = found["zone"]
    place = _place(named) if named else zone
    if place is None:
        raise ValueError(
            "names no time zone: begin the import with time_zone, the zone of the report (America/New_York, say)"
        )
    return _unique(_local(found), place)


def day_start_of(text: str, zone: ZoneInfo | None) -> int:
    """The same of a text that may be a date alone, as those of cash movements are: then the beginning of that day."""
    found = _matched(text)
    if found["h"] is not None:
        return time_of(text, zone)
    if zone is None:
        raise ValueError("is a date without a time zone: begin the import with time_zone, the zone of the report")
    return _unique(_local(found), zone)


def _matched(text: str) -> re.Match[str]:
    found = _MOMENT.fullmatch(text.strip()) if len(text) <= _LONGEST else None
    if found is None and _OTHER_DATE.fullmatch(text.strip()[:_LONGEST]):
        raise ValueError(f"has a date that can be read in two ways; {ADVICE}")
    if found is None:
        raise ValueError(f"is no date and time; {ADVICE}")
    return found


def _local(found: re.Match[str]) -> datetime:
    try:
        day = date(int(found["y"]), int(found["m"]), int(found["d"]))
        moment = datetime(
            day.year, day.month, day.day, int(found["h"] or 0), int(found["min"] or 0), int(found["sec"] or 0)
        )
    except ValueError as wrong:
        raise ValueError(f"is no date and time: {wrong}") from None
    if day.year < _FIRST_YEAR or day.year > 2200:
        raise ValueError(f"lies before {_FIRST_YEAR} or after 2200")
    return moment


def _place(name: str) -> tzinfo:
    if name in _OFFSETS:
        return timezone(timedelta(hours=_OFFSETS[name]))
    found = zone_of(name)
    if found is None or "/" not in name:
        known = ", ".join(_OFFSETS)
        raise ValueError(f"names the zone {name}, which is not known: {known} or a name such as America/New_York")
    return found


def _unique(moment: datetime, place: tzinfo) -> int:
    """The one time that a clock in a zone showed this."""
    first, second = (moment.replace(tzinfo=place, fold=fold).astimezone(UTC) for fold in (0, 1))
    if first == second:
        return ns_of(first) // NS_PER_S * NS_PER_S
    if first.astimezone(place).replace(tzinfo=None) != moment:
        raise ValueError(f"was shown by no clock in {place}: it was put forward in that hour")
    raise ValueError(f"was shown twice by the clocks in {place}, which were put back in that hour: {ADVICE}")
