"""Time: integer nanoseconds since the epoch, UTC, and the two clocks of the system.

*Machine time* is what the database's clock says: leases, tokens, waits, logs. *Market time* is what IB's clock says:
pacing, closed bars, sessions. In production they differ by a small offset; against a simulator market time may start
anywhere and run at another rate.
"""

import re
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000
NS_PER_HOUR = 3_600 * NS_PER_S
NS_PER_DAY = 24 * NS_PER_HOUR
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RFC3339 = r"(?a)(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?(Z|z|[+-]\d{2}:\d{2})?"
_LONGEST = 64
"""Characters of the longest text that is looked at, and shown in a sentence; a time has 35."""
_AS_TEXT = "RFC 3339 text such as 2024-01-05T14:30:00Z"
_LOST_PLUS = ": in an address + stands for a blank; write it as %2B, such as 2024-01-05T14:30:00%2B01:00"
_LEAST_NS = 10**17
_MAX_NS = 2**63 - 1
"""What PostgreSQL's bigint holds: the year 2262."""


class MarketTime(NamedTuple):
    """How to read market time off machine time: at `machine_ns` it was `market_ns`, and it runs at `rate`."""

    machine_ns: int
    market_ns: int
    rate: float = 1.0

    def at(self, machine_ns: int) -> int:
        """Market time at a machine time, both in nanoseconds."""
        passed = machine_ns - self.machine_ns
        # Only the difference of the rates goes through a float: 2**53 ns are 104 days, the epoch is farther away.
        return self.market_ns + passed + round(passed * (self.rate - 1.0))


SAME_TIME = MarketTime(0, 0)
"""Market time when nothing better is known: the machine's own."""


def ns_of(moment: datetime) -> int:
    """Nanoseconds of an aware datetime. A naive one raises ValueError: its zone would be a guess."""
    if moment.tzinfo is None:
        raise ValueError("a time without a zone cannot be placed; add an offset, such as Z or +00:00")
    delta = moment - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * NS_PER_S + delta.microseconds * 1_000


def datetime_of(ns: int) -> datetime:
    """The aware UTC datetime of a time in nanoseconds, cut to microseconds."""
    return _EPOCH + timedelta(microseconds=ns // 1_000)


def label_of(day: date) -> int:
    """The label of a trade date: its midnight UTC, in nanoseconds."""
    return (day - _EPOCH.date()).days * NS_PER_DAY


def day_of(ns: int) -> date:
    """The UTC date of a time in nanoseconds; of a label, its trade date."""
    return _EPOCH.date() + timedelta(days=ns // NS_PER_DAY)


def rfc3339(ns: int) -> str:
    """RFC 3339 text of a time in nanoseconds, with as many decimals as it needs: `2024-01-05T14:30:00Z`."""
    text = datetime_of(ns).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = ns % NS_PER_S
    if fraction:
        text += f".{fraction:09d}".rstrip("0")
    return text + "Z"


def microseconds_text(moment: datetime) -> str:
    """RFC 3339 text of an aware datetime with six decimals, as machine times stand in answers: `2024-01-05T14:30:00.250000Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_rfc3339(text: str) -> int:
    """Nanoseconds of an RFC 3339 text with offset, up to nine decimals; ValueError for anything else.

    A naive time is refused, and one that nanoseconds in 64 bits cannot hold (before 1677 or after 2262).
    """
    match = re.fullmatch(_RFC3339, text.strip()) if len(text) <= _LONGEST else None
    try:
        if match is None:
            raise ValueError
        day, seconds, fraction, offset = match.groups()
        moment = datetime.fromisoformat(f"{day}T{seconds}{(offset or '').upper().replace('Z', '+00:00')}")
    except ValueError:
        why = _LOST_PLUS if re.search(r"(?a)\d \d{2}:?\d{2}$", text.strip()[:_LONGEST]) else ""
        raise ValueError(f"{_shown(text)} is not an RFC 3339 time such as 2024-01-05T14:30:00Z{why}") from None
    ns = ns_of(moment) + int((fraction or "").ljust(9, "0"))
    if not -_MAX_NS <= ns <= _MAX_NS:
        raise ValueError(f"{_shown(text)} is out of range: times lie between 1677-09-22 and 2262-04-11")
    return ns


def nanoseconds(value: Any) -> int | None:
    """Epoch nanoseconds as they are, RFC 3339 text as nanoseconds, None as None: a time as JSON has it.

    ValueError for everything else: naive times, other units, true and false, numbers with a decimal point, numbers in
    quotes. A whole number before 1973 would be seconds or milliseconds by mistake; such times are given as text.
    """
    if value is None:
        return None
    if isinstance(value, str):
        if re.fullmatch(r"\s*[+-]?\d+\s*", value):
            raise ValueError(f"{_shown(value)} is a number in quotes: leave them out, or write {_AS_TEXT}")
        return parse_rfc3339(value)
    if type(value) is not int:  # True is an int too
        raise ValueError(f"{_shown(value)} is no time: it is a whole number of nanoseconds since 1970, or {_AS_TEXT}")
    if not _LEAST_NS <= value <= _MAX_NS:
        raise ValueError(
            f"{_shown(value)} is not a time in nanoseconds since 1970; RFC 3339 text such as 2024-01-05T14:30:00Z is clearer"
        )
    return value


def time_in_address(text: str | None) -> int | None:
    """The same of a time in an address, where a number has no quotes: digits are nanoseconds, anything else is text."""
    if text is None:
        return None
    if not re.fullmatch(r"(?a)-?\d{9,}", text.strip()):
        return parse_rfc3339(text)
    # No time has more digits than _MAX_NS; converting thousands of them takes long, and Python refuses.
    return nanoseconds(int(text.strip()[:_LONGEST]))


def _shown(value: Any) -> str:
    """A value that a caller sent, for a sentence that names it."""
    text = {True: "true", False: "false"}[value] if isinstance(value, bool) else repr(value)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "..."
