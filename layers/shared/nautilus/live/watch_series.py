"""A series of the watch list in one word: `AAPL.NASDAQ:1m`, `EUR/USD.IDEALPRO:1m:MIDPOINT`, `AAPL.NASDAQ:5m:TRADES:all`."""

from collections.abc import Sequence
from typing import NamedTuple

from nautilus.errors import InvalidInput
from nautilus.live.offered import KEPT_TIMEFRAMES, PRICES
from nautilus.market.instrument import SESSION_KINDS
from nautilus.market.symbols import name_of
from nautilus.market.timeframes import NAMES, timeframe

MAX_WATCHED = 100
"""Series of the list: as many as IB gives market data lines by default. More would wait for ever."""
_FORM = ("AAPL.NASDAQ:1m", "EUR/USD.IDEALPRO:1m:MIDPOINT", "AAPL.NASDAQ:5m:TRADES:all")


class WatchSeries(NamedTuple):
    """A series that is kept current. price, session: empty for the usual one of the asset class."""

    instrument_id: str
    timeframe: str
    price: str = ""
    session: str = ""

    @property
    def text(self) -> str:
        parts = [self.instrument_id, self.timeframe]
        if self.price or self.session:
            parts.append(self.price)
        return ":".join([*parts, self.session] if self.session else parts)


def parse(text: str) -> WatchSeries:
    """The series of one word. InvalidInput says what is wrong with it and what is allowed."""
    parts = text.strip().split(":")
    # From the end: a symbol may have a colon in it.
    at = next((n for n in range(len(parts) - 1, 0, -1) if parts[n] in NAMES), 0)
    if not at or len(parts) - at > 3:
        raise InvalidInput.field("series", f"{text!r} is not a series", _FORM)
    price, session = (*parts[at + 1 :], "", "")[:2]
    if price and price not in PRICES:
        raise InvalidInput.field("price", f"{price!r} has no live bars", PRICES)
    if session and session not in SESSION_KINDS:
        raise InvalidInput.field("session", f"{session!r} is not a session", SESSION_KINDS)
    return WatchSeries(name_of(":".join(parts[:at])).text, kept_timeframe(parts[at]), price, session)


def kept_timeframe(name: str) -> str:
    """The name of a timeframe that the list can keep current. InvalidInput for any other."""
    found = timeframe(name).name
    if found not in KEPT_TIMEFRAMES:
        raise InvalidInput.field("timeframe", f"{found} is not kept current by live data", KEPT_TIMEFRAMES)
    return found


def parse_list(words: Sequence[str]) -> tuple[WatchSeries, ...]:
    """The series of a list. InvalidInput when one is none, stands twice, or there are too many."""
    found = tuple(parse(word) for word in words)
    twice = next((one.text for one in found if found.count(one) > 1), None)
    if twice:
        raise InvalidInput.field("series", f"{twice} stands twice")
    if len(found) > MAX_WATCHED:
        raise InvalidInput.field("series", f"{len(found)} series are too many; at most {MAX_WATCHED}")
    return found
