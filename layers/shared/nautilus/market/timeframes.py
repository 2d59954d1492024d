"""The table of timeframes: how each is named here and at Interactive Brokers, and all that depends on it.

This is the only place that lists timeframes. To add one, add a line to `ALL`; docs/adding-a-timeframe.md says what follows.
"""

from datetime import date, timedelta
from typing import Literal, NamedTuple

from nautilus.clock import NS_PER_DAY, NS_PER_HOUR, NS_PER_S, day_of, label_of
from nautilus.errors import InvalidInput


class Timeframe(NamedTuple):
    """A bar size.

    name: as in the API (`1m` is a minute, `1M` a month). ib: IB's barSizeSetting (TWS API, historical bars).
    step_ns: length of an intraday bar, or of a day for bars with a date label.
    request_s: how much time one request asks for, in seconds. A setting may change it.
    shortest_request_s: a request that IB did not answer in time is halved, but never below this.
    longest_request_s: the most that a setting may choose for `request_s`.
    default_days: trading days of the window that a reader gets who names none.
    label: what the date label of a bar stands for; empty for intraday bars.
    spellings: other names that are accepted.
    """

    name: str
    ib: str
    step_ns: int
    request_s: int
    shortest_request_s: int
    longest_request_s: int
    default_days: int
    label: Literal["", "day", "week", "month"] = ""
    spellings: tuple[str, ...] = ()

    @property
    def intraday(self) -> bool:
        """True when bars are stamped with their open; False when they carry a date label (1d, 1w, 1M)."""
        return not self.label

    @property
    def small(self) -> bool:
        """Bars of 30 seconds or less: IB's hard pacing rules hold for these."""
        return self.step_ns <= 30 * NS_PER_S

    def floor(self, ns: int) -> int:
        """The start of the bar's slot on the series' axis. Labelled bars: the day, the Monday, the first of the month."""
        if self.label == "week":
            day = day_of(ns)
            return label_of(day - timedelta(days=day.weekday()))
        if self.label == "month":
            return label_of(day_of(ns).replace(day=1))
        return ns - ns % self.step_ns

    def next(self, ns: int) -> int:
        """The start of the slot after the one that holds `ns`."""
        start = self.floor(ns)
        if self.label == "week":
            return start + 7 * NS_PER_DAY
        if self.label == "month":
            first = day_of(start)
            return label_of(date(first.year + first.month // 12, first.month % 12 + 1, 1))
        return start + self.step_ns

    def ceil(self, ns: int) -> int:
        """The first slot start at or after `ns`."""
        start = self.floor(ns)
        return ns if start == ns else self.next(ns)


_MINUTE = 60 * NS_PER_S
_DAY = 86_400
_WEEK = 7 * _DAY
_YEAR = 365 * _DAY
_LONGEST = 20 * _YEAR

# Requests: IB's table of safe lengths (TWS API, historical bars; 2,000 S is its limit for 1 s bars), and what users
# measured: a week of one-minute bars takes 0.2 s, two weeks 6 s, a month 24 s. Default days: the front end asks without
# a window and expects a day of minutes, a week of quarter hours, a month of hours, a year of days.
# fmt: off
ALL: tuple[Timeframe, ...] = (
    #         name   IB's name   step              request, its shortest and its longest  default days
    Timeframe("1s",  "1 secs",   NS_PER_S,         1_800,       60,      2_000,           1),
    Timeframe("5s",  "5 secs",   5 * NS_PER_S,     7_200,       300,     _DAY,            1),
    Timeframe("10s", "10 secs",  10 * NS_PER_S,    14_400,      600,     _DAY,            1),
    Timeframe("15s", "15 secs",  15 * NS_PER_S,    14_400,      900,     _DAY,            1),
    Timeframe("30s", "30 secs",  30 * NS_PER_S,    28_800,      1_800,   _DAY,            1),
    Timeframe("1m",  "1 min",    _MINUTE,          _WEEK,       3_600,   _LONGEST,        1),
    Timeframe("2m",  "2 mins",   2 * _MINUTE,      2 * _WEEK,   3_600,   _LONGEST,        2),
    Timeframe("3m",  "3 mins",   3 * _MINUTE,      2 * _WEEK,   3_600,   _LONGEST,        2),
    Timeframe("5m",  "5 mins",   5 * _MINUTE,      4 * _WEEK,   3_600,   _LONGEST,        5),
    Timeframe("10m", "10 mins",  10 * _MINUTE,     4 * _WEEK,   3_600,   _LONGEST,        5),
    Timeframe("15m", "15 mins",  15 * _MINUTE,     8 * _WEEK,   3_600,   _LONGEST,        5),
    Timeframe("20m", "20 mins",  20 * _MINUTE,     8 * _WEEK,   3_600,   _LONGEST,        10),
    Timeframe("30m", "30 mins",  30 * _MINUTE,     12 * _WEEK,  3_600,   _LONGEST,        10),
    Timeframe("1h",  "1 hour",   NS_PER_HOUR,      26 * _WEEK,  3_600,   _LONGEST,        21),
    Timeframe("2h",  "2 hours",  2 * NS_PER_HOUR,  52 * _WEEK,  7_200,   _LONGEST,        42),
    Timeframe("3h",  "3 hours",  3 * NS_PER_HOUR,  52 * _WEEK,  10_800,  _LONGEST,        42),
    Timeframe("4h",  "4 hours",  4 * NS_PER_HOUR,  52 * _WEEK,  14_400,  _LONGEST,        63),
    Timeframe("8h",  "8 hours",  8 * NS_PER_HOUR,  52 * _WEEK,  28_800,  _LONGEST,        126),
    Timeframe("1d",  "1 day",    NS_PER_DAY,       10 * _YEAR,  _DAY,    _LONGEST,        252,    "day"),
    Timeframe("1w",  "1W",       NS_PER_DAY,       10 * _YEAR,  _DAY,    _LONGEST,        504,    "week", ("1 week", "1 W")),
    Timeframe("1M",  "1M",       NS_PER_DAY,       20 * _YEAR,  _DAY,    _LONGEST,        1_260,  "month", ("1 month",)),
)
# fmt: on

NAMES: tuple[str, ...] = tuple(t.name for t in ALL)
REQUEST_SPANS_S = {t.name: t.request_s for t in ALL}
"""Timeframe -> longest request in seconds, unless a setting says otherwise."""
_BY_NAME = {t.name: t for t in ALL}
_BY_SPELLING = {spelling: t for t in ALL for spelling in (t.ib, *t.spellings)}


def timeframe(name: str) -> Timeframe:
    """The timeframe of a name, ours or IB's (`1 min`; its documents also write `1 week`). InvalidInput names ours."""
    found = _BY_NAME.get(name) or _BY_SPELLING.get(name)
    if found is None:
        raise InvalidInput.field("timeframe", f"{name!r} is not a timeframe", NAMES)
    return found
