"""Times in and out: nanoseconds since the epoch, UTC. A time that could mean two things is refused."""

import datetime as dt
import re
from typing import Any

from nautilus_client.errors import BadTime

NS_PER_S = 1_000_000_000
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_TEXT = re.compile(r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?\s*(Z|z|[+-]\d\d:\d\d)")
_LAST = re.compile(r"(\d{1,6})\s*([smhdwMy])")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800, "M": 30 * 86_400, "y": 365 * 86_400}
_LEAST_NS = 10**17
"""March 1973. A smaller whole number is meant in seconds or milliseconds."""

Time = int | str | dt.date
"""What a caller may give: ns, RFC 3339 text, a date, a datetime with a zone; a pandas.Timestamp is one, too."""


def is_date(value: Any) -> bool:
    """True for a date without a time of day."""
    if isinstance(value, str):
        return bool(_DATE.fullmatch(value.strip()))
    return isinstance(value, dt.date) and not isinstance(value, dt.datetime)


def to_ns(value: Time, zone: dt.tzinfo | None = None, *, field: str = "time") -> int:
    """The time in ns. zone: in which a date begins; BadTime for a date without one, and for a time without an offset."""
    if isinstance(value, bool):
        raise BadTime(f"{field}: {value} is no time")
    if isinstance(value, int):
        return _whole(value, field)
    if is_date(value):
        return _midnight(value, zone, field)
    if isinstance(value, str):
        return _from_text(value.strip(), field)
    if isinstance(value, dt.datetime):
        return _from_datetime(value, field)
    raise BadTime(f"{field}: {value!r} is no time; give text such as 2026-03-02T14:30:00Z, a date, or a datetime")


def _whole(value: int, field: str) -> int:
    if not _LEAST_NS <= value < 2**63:
        raise BadTime(f"{field}: {value} is no number of nanoseconds since 1970; those have 18 or 19 digits")
    return value


def _midnight(value: Any, zone: dt.tzinfo | None, field: str) -> int:
    if zone is None:
        raise BadTime(
            f"{field}: {value} is a date, and it is not known in which zone it begins; write a time, such as"
            f" {value}T14:30:00Z"
        )
    try:
        day = dt.date.fromisoformat(value.strip()) if isinstance(value, str) else value
    except ValueError as wrong:
        raise BadTime(f"{field}: {value!r}: {wrong}") from None
    return _from_datetime(dt.datetime.combine(day, dt.time(), tzinfo=zone), field)


def _from_text(value: str, field: str) -> int:
    found = _TEXT.fullmatch(value)
    if found is None:
        raise BadTime(
            f"{field}: {value!r} is no date and no time with an offset; write 2026-03-02, 2026-03-02T14:30:00Z or"
            " 2026-03-02T09:30:00-05:00"
        )
    seconds, fraction, offset = found.groups()
    try:
        whole = dt.datetime.fromisoformat(seconds.replace(" ", "T") + ("+00:00" if offset in "Zz" else offset))
    except ValueError as wrong:
        raise BadTime(f"{field}: {value!r}: {wrong}") from None
    return _from_datetime(whole, field) + int((fraction or "0").ljust(9, "0"))


def _from_datetime(value: dt.datetime, field: str) -> int:
    if value.tzinfo is None or value.utcoffset() is None:
        raise BadTime(f"{field}: {value} has no time zone; give one, such as tzinfo=datetime.UTC")
    exact = getattr(value, "value", None)  # of a pandas.Timestamp, which has nanoseconds
    if isinstance(exact, int) and hasattr(value, "nanosecond"):
        return exact
    return (value - _EPOCH) // dt.timedelta(microseconds=1) * 1_000


def span_ns(text: str) -> int:
    """The length of `30d`, `12h`, `2w` and so on, in ns; M is 30 days and y 365. BadTime when it is none."""
    found = _LAST.fullmatch(text.strip())
    if found is None or int(found[1]) == 0:
        raise BadTime(f"last: {text!r} is no length of time; write a number and one of {', '.join(_SECONDS)}, as 30d")
    return int(found[1]) * _SECONDS[found[2]] * NS_PER_S


def text(ns: int) -> str:
    """RFC 3339 in UTC, with as many digits as needed."""
    seconds, rest = divmod(ns, NS_PER_S)
    whole = _EPOCH + dt.timedelta(seconds=seconds)
    fraction = f".{rest:09d}".rstrip("0") if rest else ""
    return whole.strftime("%Y-%m-%dT%H:%M:%S") + fraction + "Z"


def at(ns: int, zone: dt.tzinfo = dt.UTC) -> dt.datetime:
    """The time as a datetime, which knows microseconds."""
    return (_EPOCH + dt.timedelta(microseconds=ns // 1_000)).astimezone(zone)


def zone_of(name: str) -> dt.tzinfo:
    """The zone of an IANA name. BadTime when there is none."""
    from zoneinfo import ZoneInfo

    if name == "UTC":
        return dt.UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise BadTime(f"there is no time zone {name!r} on this machine") from None


def months(start: int, end: int) -> list[tuple[int, int]]:
    """[start, end) cut at the first of each month, UTC."""
    cuts, when = [start], at(start)
    while True:
        when = dt.datetime(when.year + when.month // 12, when.month % 12 + 1, 1, tzinfo=dt.UTC)
        cut = to_ns(when)
        if cut >= end:
            break
        cuts.append(cut)
    return list(zip(cuts, [*cuts[1:], end], strict=True))
