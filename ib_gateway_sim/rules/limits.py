"""IB's limits as a data client meets them, each with the words and the code that IB answers.

Rules are asked with a time and answer with a `Violation` or None: no socket, no waiting. Sources: IB's pages
"Historical Data Limitations", "Historical Bar Data" and "Pacing Limitations" (interactivebrokers.github.io/tws-api and
the IBKR Campus), read in 2026. Where IB publishes no wording the comment says so.
"""

import calendar
import datetime as dt
import re
from collections import deque
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

UTC = dt.UTC
DAY_S = 86_400


@dataclass(frozen=True)
class Violation:
    code: int
    text: str


HMDS = "Historical Market Data Service error message:"


def service_error(text: str) -> Violation:
    """Error 162, under which IB's historical service reports everything."""
    return Violation(162, HMDS + text)


def invalid(what: str) -> Violation:
    """Error 321: the request itself is wrong. The letters are a code of IB's own and carry no meaning for a client."""
    return Violation(321, f"Error validating request.-'bN' : cause - {what}")


# ---- bar sizes and durations -----------------------------------------------------------------------------------------
# The gateway's own list, as its 321 text spells it, with seconds; weeks and months by the calendar.
BAR_SIZES: dict[str, int] = {
    "1 secs": 1,
    "5 secs": 5,
    "10 secs": 10,
    "15 secs": 15,
    "30 secs": 30,
    "1 min": 60,
    "2 mins": 120,
    "3 mins": 180,
    "5 mins": 300,
    "10 mins": 600,
    "15 mins": 900,
    "20 mins": 1200,
    "30 mins": 1800,
    "1 hour": 3600,
    "2 hours": 7200,
    "3 hours": 10_800,
    "4 hours": 14_400,
    "8 hours": 28_800,
    "1 day": DAY_S,
    "1W": 7 * DAY_S,
    "1M": 30 * DAY_S,
}
_SIZE_ALIASES = {"1 week": "1W", "1 month": "1M"}
SMALL_BAR_S = 30  # up to here IB counts requests and keeps six months
UNITS_S = {"S": 1, "D": DAY_S, "W": 7 * DAY_S, "M": 30 * DAY_S, "Y": 365 * DAY_S}


@dataclass(frozen=True)
class Duration:
    count: int
    unit: str  # S D W M Y

    @property
    def seconds(self) -> int:
        """Calendar seconds, a month as 30 and a year as 365 days: for rules, not for windows."""
        return self.count * UNITS_S[self.unit]


def bar_size(text: str) -> str | Violation:
    size = _SIZE_ALIASES.get(text, text)
    if size in BAR_SIZES:
        return size
    return invalid(f"Historical data bar size setting is invalid. Legal ones are: {', '.join(BAR_SIZES)}")


def duration(text: str) -> Duration | Violation:
    match = re.fullmatch(r"([0-9]{1,9}) ([SDWMY])", text)
    if match is None or int(match[1]) == 0:
        return invalid(
            "Historical data query duration string is invalid; Duration format: integer{SPACE}unit (S|D|W|M|Y)"
        )
    return Duration(int(match[1]), match[2])


# Current official tables (IBKR Campus): the smallest bar of each duration unit, and the most that a unit may count.
# The table's largest bars ("D: up to 1 hour") are not enforced: "60 D" of "1 day" is served by the real gateway.
_SMALLEST_BY_UNIT = {"S": 1, "D": 5, "W": 10, "M": 30, "Y": 60}
_MOST = {"S": DAY_S, "D": 365, "W": 52, "M": 12, "Y": 68}
_MOST_ONE_SECOND_BARS_S = 2000
# The older table: (duration up to, smallest bar, largest bar), seconds.
_OLD_STEPS = (
    (60, 1, 60),
    (120, 1, 120),
    (1800, 1, 1800),
    (3600, 5, 3600),
    (14_400, 10, 10_800),
    (28_800, 30, 28_800),
    (DAY_S, 60, DAY_S),
    (2 * DAY_S, 120, DAY_S),
    (7 * DAY_S, 180, 7 * DAY_S),
    (30 * DAY_S, 1800, 30 * DAY_S),
    (365 * DAY_S, DAY_S, 30 * DAY_S),
)


def steps(size: str, length: Duration, table: str) -> Violation | None:
    """Whether this bar size is served over this duration. `table`: current | old."""
    size_s = BAR_SIZES[size]
    if length.count > _MOST[length.unit]:
        if length.unit == "S":
            return invalid("Historical data requests for durations longer than 86400 seconds must be made in days.")
        if length.unit == "Y":
            return invalid("Historical data requests for durations longer than 68 years are not supported.")
        most = {"D": "365 days", "W": "52 weeks", "M": "12 months"}[length.unit]
        return invalid(f"Historical data requests for durations longer than {most} must be made in years.")
    if table == "old":
        return _old_steps(size, size_s, length)
    if size_s < _SMALLEST_BY_UNIT[length.unit] or (
        size_s == 1 and (length.unit != "S" or length.count > _MOST_ONE_SECOND_BARS_S)
    ):
        return _invalid_step(size, length)
    return None


def _old_steps(size: str, size_s: int, length: Duration) -> Violation | None:
    for up_to_s, smallest_s, largest_s in _OLD_STEPS:
        if length.seconds <= up_to_s:
            return None if smallest_s <= size_s <= largest_s else _invalid_step(size, length)
    return None if size_s >= DAY_S else _invalid_step(size, length)


def _invalid_step(size: str, length: Duration) -> Violation:
    return service_error(f"Time length exceed max. invalid step: {size} over {length.count} {length.unit}")


# ---- what to show ----------------------------------------------------------------------------------------------------
_QUOTES = frozenset({"MIDPOINT", "BID", "ASK", "BID_ASK"})
_VOLATILITY = frozenset({"HISTORICAL_VOLATILITY", "OPTION_IMPLIED_VOLATILITY"})
KINDS = (
    _QUOTES
    | _VOLATILITY
    | {"TRADES", "ADJUSTED_LAST", "AGGTRADES", "SCHEDULE", "FEE_RATE"}
    | {"YIELD_BID", "YIELD_ASK", "YIELD_BID_ASK", "YIELD_LAST"}
)
# IB's matrix "available data per product". Volatility and fee rates exist there too; the simulator has none and
# answers "no data" for them.
_OFFERED: dict[str, frozenset[str]] = {
    "STK": _QUOTES | {"TRADES", "ADJUSTED_LAST", "SCHEDULE"},
    "IND": frozenset({"TRADES", "SCHEDULE"}),
    "FUT": _QUOTES | {"TRADES", "SCHEDULE"},
    "CONTFUT": _QUOTES | {"TRADES", "SCHEDULE"},
    "OPT": _QUOTES | {"TRADES"},
    "FOP": _QUOTES | {"TRADES"},
    "CASH": _QUOTES | {"SCHEDULE"},
    "CFD": _QUOTES | {"SCHEDULE"},
    "CMDTY": _QUOTES | {"SCHEDULE"},
    "CRYPTO": _QUOTES | {"AGGTRADES", "SCHEDULE"},
}
LIVE_KINDS = frozenset({"TRADES", "MIDPOINT", "BID", "ASK"})  # keepUpToDate and real-time bars
_WORDS = {"TRADES": "Trades", "MIDPOINT": "Midpoint", "BID": "Bid", "ASK": "Ask", "BID_ASK": "Bid_Ask"}


def no_data(symbol: str, exchange: str, what: str) -> Violation:
    """The window holds no bar. IB appends what was asked for: `AAPL@SMART Trades`."""
    word = _WORDS.get(what, what.title())
    return service_error(f"HMDS query returned no data: {symbol}@{exchange} {word}")


def bar_kinds(sec_type: str) -> frozenset[str]:
    """The whatToShow values that IB has bars of for such a product."""
    return _OFFERED.get(sec_type, frozenset()) - {"SCHEDULE"}


def what_to_show(what: str, sec_type: str, symbol: str, exchange: str) -> Violation | None:
    if what not in KINDS:
        return invalid(f"What to show field is missing or incorrect. Legal ones are: {', '.join(sorted(KINDS))}")
    if what in _OFFERED.get(sec_type, frozenset()):
        return None
    if sec_type == "CRYPTO" and what == "TRADES":
        return Violation(10299, "Expected what to show is AGGTRADES, please use that instead of TRADES.")
    if what == "AGGTRADES":
        return Violation(10299, "Expected what to show is TRADES, please use that instead of AGGTRADES.")
    if sec_type == "IND" and what in _QUOTES:
        return service_error(f"No historical market data for {symbol}/{sec_type}@{exchange} {_WORDS[what]}")
    return no_data(symbol, exchange, what)


# ---- dates -----------------------------------------------------------------------------------------------------------
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


EXPIRED_FUTURES_S = 2 * 365 * DAY_S  # expired futures are known for two years
CONTINUOUS_END = Violation(10339, "Setting end date/time for continuous future security type is not allowed.")
ADJUSTED_END = invalid("End Date/Time must be empty for ADJUSTED_LAST.")  # the code is IB's, the wording ours
SCHEDULE_SIZE = Violation(10295, "Only daily resolution is supported for Schedule requests.")
DUPLICATE_HISTORY = Violation(386, "Duplicate ticker ID for API historical data query")
UNKNOWN_HISTORY = "No historical data query found for ticker id:{}"
OPEN_HISTORY_REQUESTS = 50
# IB names the limit of 50 and no answer for the 51st; the code and words here are ours, in IB's manner.
TOO_MANY_OPEN = Violation(322, "Error processing request.-'bT' : cause - Max number of open historical requests is 50")
PACING = service_error("Historical data request pacing violation")
NOT_FOUND = Violation(200, "No security definition has been found for the request")


def ambiguous(symbol: str) -> Violation:
    return Violation(200, f"The contract description specified for {symbol} is ambiguous.")


def cancelled(request_id: int) -> Violation:
    return service_error(f"API historical data query cancelled: {request_id}")


# ---- pacing ----------------------------------------------------------------------------------------------------------
@dataclass
class PacingBook:
    """IB's count of requests for bars of 30 seconds and less, head timestamps and ticks, over all clients of a login.

    Violations: the same request within 15 s; six for one contract, exchange and kind within 2 s; more than 60 in ten
    minutes. BID_ASK counts twice. A refused request is not counted: IB does not say whether it is.
    """

    window_s: float = 600.0
    limit: int = 60
    burst_s: float = 2.0
    burst: int = 6
    identical_s: float = 15.0
    _asked: deque[tuple[float, int, str, str]] = field(default_factory=deque)  # (time, weight, series, whole request)

    def ask(self, now_s: float, series: str, whole: str, weight: int = 1) -> bool:
        """Books the request and answers True, or False where it breaks a rule."""
        while self._asked and self._asked[0][0] <= now_s - self.window_s:
            self._asked.popleft()
        if sum(entry[1] for entry in self._asked) + weight > self.limit:
            return False
        recent = [entry for entry in self._asked if entry[0] > now_s - self.identical_s]
        if any(entry[3] == whole for entry in recent):
            return False
        burst = sum(entry[1] for entry in recent if entry[2] == series and entry[0] > now_s - self.burst_s)
        if burst + weight >= self.burst:
            return False
        self._asked.append((now_s, weight, series, whole))
        return True

    def count(self, now_s: float) -> int:
        return sum(entry[1] for entry in self._asked if entry[0] > now_s - self.window_s)


@dataclass
class MessageRate:
    """Messages of one client: lines / 2 a second. What is above waits, or is rejected and the third time ends all."""

    per_second: int = 50
    _times: deque[float] = field(default_factory=deque)
    violations: int = 0

    def wait_s(self, now_s: float) -> float:
        """Books a message; the seconds until its turn."""
        at = now_s
        if len(self._times) >= self.per_second:
            at = max(now_s, self._times[-self.per_second] + 1.0)
        self._times.append(at)
        while len(self._times) > self.per_second:
            self._times.popleft()
        return at - now_s

    def allowed(self, now_s: float) -> bool:
        """Books a message; False (and one violation more) where it is one too many within a second."""
        if len(self._times) >= self.per_second and self._times[-self.per_second] > now_s - 1.0:
            self.violations += 1
            return False
        self._times.append(now_s)
        while len(self._times) > self.per_second:
            self._times.popleft()
        return True


RATE_EXCEEDED = Violation(100, "Max rate of messages per second has been exceeded")
RATE_STRIKES = 3
