"""The bar sizes that exist, and how each is spelled here and at Interactive Brokers."""

from datetime import date, timedelta
from typing import NamedTuple

from nautilus.clock import NS_PER_DAY, NS_PER_S, day_of, label_of
from nautilus.errors import InvalidInput


class Timeframe(NamedTuple):
    """A bar size.

    name: as in the API (`1m` is a minute, `1M` a month); ib: IB's barSizeSetting (TWS API, historical bars);
    step_ns: length of an intraday bar, or of the shortest unit (a day) for labelled ones.
    """

    name: str
    ib: str
    step_ns: int

    @property
    def intraday(self) -> bool:
        """True when bars are stamped with their open; False when they carry a date label (1d, 1w, 1M)."""
        return self.step_ns < NS_PER_DAY

    @property
    def small(self) -> bool:
        """Bars of 30 seconds or less: IB's hard pacing rules hold for these."""
        return self.step_ns <= 30 * NS_PER_S

    def floor(self, ns: int) -> int:
        """The start of the bar's slot on the series' axis. Labelled bars: the day, the Monday, the first of the month."""
        if self.name == "1w":
            day = day_of(ns)
            return label_of(day - timedelta(days=day.weekday()))
        if self.name == "1M":
            return label_of(day_of(ns).replace(day=1))
        return ns - ns % self.step_ns

    def next(self, ns: int) -> int:
        """The start of the slot after the one that holds `ns`."""
        start = self.floor(ns)
        if self.name == "1w":
            return start + 7 * NS_PER_DAY
        if self.name == "1M":
            first = day_of(start)
            return label_of(date(first.year + first.month // 12, first.month % 12 + 1, 1))
        return start + self.step_ns

    def ceil(self, ns: int) -> int:
        """The first slot start at or after `ns`."""
        start = self.floor(ns)
        return ns if start == ns else self.next(ns)


def _intraday(name: str, ib: str, seconds: int) -> Timeframe:
    return Timeframe(name, ib, seconds * NS_PER_S)


ALL: tuple[Timeframe, ...] = (
    _intraday("1s", "1 secs", 1),
    _intraday("5s", "5 secs", 5),
    _intraday("10s", "10 secs", 10),
    _intraday("15s", "15 secs", 15),
    _intraday("30s", "30 secs", 30),
    _intraday("1m", "1 min", 60),
    _intraday("2m", "2 mins", 120),
    _intraday("3m", "3 mins", 180),
    _intraday("5m", "5 mins", 300),
    _intraday("10m", "10 mins", 600),
    _intraday("15m", "15 mins", 900),
    _intraday("20m", "20 mins", 1200),
    _intraday("30m", "30 mins", 1800),
    _intraday("1h", "1 hour", 3600),
    _intraday("2h", "2 hours", 7200),
    _intraday("3h", "3 hours", 10800),
    _intraday("4h", "4 hours", 14400),
    _intraday("8h", "8 hours", 28800),
    Timeframe("1d", "1 day", NS_PER_DAY),
    Timeframe("1w", "1W", NS_PER_DAY),
    Timeframe("1M", "1M", NS_PER_DAY),
)

NAMES: tuple[str, ...] = tuple(t.name for t in ALL)
_BY_NAME = {t.name: t for t in ALL}
# IB's own spellings are accepted at the border ("1 min"; the documents also write "1 week" and "1 month").
_BY_IB = {t.ib: t for t in ALL} | {"1 week": _BY_NAME["1w"], "1 month": _BY_NAME["1M"], "1 W": _BY_NAME["1w"]}


def timeframe(name: str) -> Timeframe:
    """The timeframe of a name, ours or IB's. InvalidInput names the allowed ones."""
    found = _BY_NAME.get(name) or _BY_IB.get(name)
    if found is None:
        raise InvalidInput.field("timeframe", f"{name!r} is not a timeframe", NAMES)
    return found
