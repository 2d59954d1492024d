"""Names of channels on the bus and on sockets: NautilusTrader's topics where it has one, so that its readers understand them.

    data.bars.AAPL.NASDAQ-1-MINUTE-LAST-EXTERNAL    bars; the session may follow: ...-EXTERNAL@all
    data.quotes.NASDAQ.AAPL                         the newest quote: the venue stands first
    data.trades.NASDAQ.AAPL                         ticks: each trade
    data.quote_ticks.NASDAQ.AAPL                    each change of bid and ask
    data.midpoint_ticks.NASDAQ.AAPL                 each midpoint
    events.session.<bridge>  events.series.<number>
    events.orders.<account>  events.fills.<account>

The topics are those of NautilusTrader's message bus (nautilus_trader/common, `switchboard`); it has none for the last two,
as each of its quotes is a tick. EXTERNAL means that the bars are
the source's own. The bus tells a new epoch on `events.epoch`, which is no channel for listeners.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from nautilus.auth.scopes import ACCOUNT_NAME
from nautilus.errors import InvalidInput
from nautilus.market.instrument import SESSION_KINDS
from nautilus.market.timeframes import NAMES, timeframe

ORDERS, FILLS = "events.orders", "events.fills"
TICKS: Mapping[str, str] = {
    "TRADES": "data.trades",
    "BID_ASK": "data.quote_ticks",
    "MIDPOINT": "data.midpoint_ticks",
}
"""Of what the ticks are -> the kind of their channel."""
_OF_TICKS = {kind: price for price, kind in TICKS.items()}
KINDS: tuple[str, ...] = (
    *("data.bars", "data.quotes", *TICKS.values()),
    *("events.session", "events.series", ORDERS, FILLS),
)
_AGGREGATIONS = {"s": "SECOND", "m": "MINUTE", "h": "HOUR", "d": "DAY", "w": "WEEK", "M": "MONTH"}
_UNITS = {word: unit for unit, word in _AGGREGATIONS.items()}
_PRICES = {"TRADES": "LAST", "AGGTRADES": "LAST", "MIDPOINT": "MID", "BID": "BID", "ASK": "ASK"}
PRICES: tuple[str, ...] = ("LAST", "MID", "BID", "ASK")
_LONGEST = 200
_MOST_KNOWN = 10_000
_SERIES_NUMBER = re.compile(r"[1-9][0-9]{0,9}", re.ASCII)


class Channel(NamedTuple):
    """What a channel is about. kind: one of KINDS.

    Of bars, quotes and ticks: instrument_id `SYMBOL.VENUE`; of bars: timeframe, price (one of PRICES) and session (`rth`,
    `all`, or empty: the usual one of the asset class). subject: of events, what they are about.
    """

    kind: str
    instrument_id: str = ""
    timeframe: str = ""
    price: str = ""
    session: str = ""
    subject: str = ""

    @property
    def name(self) -> str:
        """The channel's name, as it is written."""
        if self.subject:
            return f"{self.kind}.{self.subject}"
        if not self.timeframe:
            symbol, _, venue = self.instrument_id.rpartition(".")
            return f"{self.kind}.{venue}.{symbol}"
        step, unit = self.timeframe[:-1], self.timeframe[-1]
        bar_type = f"{self.instrument_id}-{step}-{_AGGREGATIONS[unit]}-{self.price}-EXTERNAL"
        return f"{self.kind}.{bar_type}" + (f"@{self.session}" if self.session else "")

    @property
    def account(self) -> str:
        """The account whose orders or fills it tells; empty for all other channels."""
        return self.subject if self.kind in (ORDERS, FILLS) else ""

    @property
    def tick_price(self) -> str:
        """Of what it has the ticks: `TRADES`, `BID_ASK` or `MIDPOINT`; empty for all other channels."""
        return _OF_TICKS.get(self.kind, "")

    def names(self, session: str) -> tuple[str, ...]:
        """All names of the channel: its own, and the one that names the trading hours of its bars. session: those hours;
        empty for a channel without bars."""
        return tuple(dict.fromkeys((self.name, self._replace(session=session).name)))

    def price_kind(self, asset_class: str) -> str:
        """The price kind of the series: what a price of bars is called for an asset class."""
        if self.price == "LAST":
            return "AGGTRADES" if asset_class == "CRYPTO" else "TRADES"
        return {"MID": "MIDPOINT"}.get(self.price, self.price)


def bars(instrument_id: str, frame: str, price: str, session: str = "") -> Channel:
    """The channel of a series. price: a price kind (`TRADES`). InvalidInput for one that has no channel (BID_ASK)."""
    if price not in _PRICES:
        raise InvalidInput.field("price", f"{price!r} has no live bars", tuple(_PRICES))
    return Channel("data.bars", instrument_id, frame, _PRICES[price], session)


def quotes(instrument_id: str) -> Channel:
    """The channel of an instrument's quotes."""
    return Channel("data.quotes", instrument_id)


def ticks(instrument_id: str, price: str) -> Channel:
    """The channel of an instrument's ticks. price: one of TICKS."""
    return Channel(TICKS[price], instrument_id)


def price_word(price: str) -> str:
    """What the name of a channel calls a price kind: `LAST` for `TRADES`."""
    return _PRICES[price]


@lru_cache(maxsize=_MOST_KNOWN)
def parse(name: str) -> Channel:
    """The channel of a name, one object for all who have it. InvalidInput says what is wrong with it and what is allowed."""
    if len(name) > _LONGEST:
        raise InvalidInput.field("channel", f"{len(name)} characters are too long; at most {_LONGEST}")
    for kind in KINDS:
        if name.startswith(kind + "."):
            rest = name[len(kind) + 1 :]
            if not rest or rest != rest.strip():
                break
            return _bars(name, rest) if kind == "data.bars" else _other(kind, name, rest)
    raise InvalidInput.field("channel", f"{name!r} is no channel", tuple(f"{kind}.…" for kind in KINDS))


def _other(kind: str, name: str, rest: str) -> Channel:
    if kind == "events.series" and not _SERIES_NUMBER.fullmatch(rest):
        raise InvalidInput.field("channel", f"{name!r} names no series", (f"{kind}.<number of a series>",))
    if kind in (ORDERS, FILLS) and not ACCOUNT_NAME.fullmatch(rest):
        raise InvalidInput.field("channel", f"{name!r} names no account", (f"{kind}.<account>",))
    if kind.startswith("events."):
        return Channel(kind, subject=rest)
    venue, _, symbol = rest.partition(".")
    if not venue or not symbol:
        raise InvalidInput.field("channel", f"{name!r} names no instrument", (f"{kind}.<VENUE>.<SYMBOL>",))
    return Channel(kind, f"{symbol}.{venue}")


def _bars(name: str, rest: str) -> Channel:
    bar_type, at, session = rest.partition("@")
    if at and session not in SESSION_KINDS:
        raise InvalidInput.field("channel", f"{name!r}: {session!r} is not a session", SESSION_KINDS)
    words = bar_type.rsplit("-", 4)
    form = ("data.bars.<SYMBOL>.<VENUE>-<step>-<MINUTE>-<LAST>-EXTERNAL",)
    if len(words) != 5 or words[4] != "EXTERNAL" or not all(words[0].rpartition(".")):
        raise InvalidInput.field("channel", f"{name!r} is no channel of bars", form)
    instrument_id, step, aggregation, price, _ = words
    if aggregation not in _UNITS or (frame := step + _UNITS[aggregation]) not in NAMES:
        offered = tuple(f"{n[:-1]}-{_AGGREGATIONS[n[-1]]}" for n in NAMES)
        raise InvalidInput.field("channel", f"{name!r}: {step}-{aggregation} is not a timeframe", offered)
    if price not in PRICES:
        raise InvalidInput.field("channel", f"{name!r}: {price!r} is not a price", PRICES)
    return Channel("data.bars", instrument_id, timeframe(frame).name, price, session)
