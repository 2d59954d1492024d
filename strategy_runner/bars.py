"""From columns of bars to what the engine reads: bars stamped with their close, and the openings at which orders fill.

The engine fills a market order at the bar it has just seen, or, with a latency, at the close of the next one. So that an
order fills at the next open, each open is a trade (or a quote, where bid and ask are given) of its own.
"""

from collections.abc import Iterable
from operator import itemgetter
from typing import Any

from nautilus_trader.model import AggressorSide, Bar, Price, Quantity, QuoteTick, TradeId, TradeTick

from nautilus.strategies.not_simulated import VOLUME
from strategy_runner.engine_names import Series

LATENCY_NS = 250_000_000
"""From a decision to the market. Longer than nothing, so that no order fills at the close from which it follows."""
OPENING_DELAY_NS = 300_000_000
"""From a bar's open to the opening at which orders fill: after the latency, within the shortest bar."""


class BarFactory:
    """Makes the bars and openings of one series."""

    def __init__(self, series: Series) -> None:
        self.series = series
        self.without_volume = 0
        self._ample = Quantity(VOLUME, 0)
        self._id = TradeId("opening")

    def bar(self, prices: tuple[float, float, float, float], volume: float | None, closed_ns: int) -> Any:
        digits = self.series.traded.digits
        opened, high, low, close = prices
        if volume is None or volume < 1:
            self.without_volume += 1
            size = self._ample
        else:
            size = Quantity(float(round(volume)), 0)
        return Bar(
            self.series.bar_type,
            Price(opened, digits),
            Price(high, digits),
            Price(low, digits),
            Price(close, digits),
            size,
            closed_ns,
            closed_ns,
        )

    def bars(self, columns: dict[str, Any]) -> list[Any]:
        """All bars of the columns, in their order."""
        prices = zip(columns["open"], columns["high"], columns["low"], columns["close"], strict=True)
        volumes: Iterable[float | None] = columns["volume"] or (None for _ in columns["closed_ns"])
        rows = zip(prices, volumes, columns["closed_ns"], strict=True)
        return [self.bar(four, volume, closed) for four, volume, closed in rows]

    def opening(self, opened: float, opened_ns: int) -> Any:
        """The trade at a bar's open."""
        digits, at = self.series.traded.digits, opened_ns + OPENING_DELAY_NS
        name = self.series.traded.engine.id
        return TradeTick(name, Price(opened, digits), self._ample, AggressorSide.NO_AGGRESSOR, self._id, at, at)

    def openings(self, columns: dict[str, Any]) -> list[Any]:
        return [self.opening(price, at) for price, at in zip(columns["open"], columns["opened_ns"], strict=True)]

    def quote(self, bid: float, ask: float, opened_ns: int) -> Any:
        """The quote at the open of a bar of bids and of the bar of asks with it."""
        digits, at = self.series.traded.digits, opened_ns + OPENING_DELAY_NS
        name, size = self.series.traded.engine.id, self._ample
        return QuoteTick(name, Price(bid, digits), Price(ask, digits), size, size, at, at)


class EngineData:
    """Turns chunks of all series into one list in the order in which the market would have shown them."""

    def __init__(self, series: list[Series], *, next_open: bool) -> None:
        self._factories = {one.index: BarFactory(one) for one in series}
        self._next_open = next_open

    @property
    def without_volume(self) -> int:
        """How many bars had none, of a kind that has volumes."""
        return sum(one.without_volume for one in self._factories.values())

    def warm_up(self, chunk: list[dict[str, Any]]) -> list[Any]:
        """The bars that strategies follow, by close."""
        followed = [one for one in chunk if self._factories[one["index"]].series.followed]
        found = [bar for one in followed for bar in self._factories[one["index"]].bars(one)]
        return sorted(found, key=lambda bar: bar.ts_event)

    def data(self, chunk: list[dict[str, Any]]) -> tuple[list[Any], int]:
        """(bars and openings, number of bars). Of one time, openings come first, and bars that a strategy follows last:
        it must not act on a bid before the ask of the same minute has arrived."""
        keyed: list[tuple[tuple[int, int, int], Any]] = []
        bars = 0
        for columns in chunk:
            factory = self._factories[columns["index"]]
            rank = (2 if factory.series.followed else 1, factory.series.index)
            made = factory.bars(columns)
            bars += len(made)
            keyed += [((at, *rank), bar) for at, bar in zip(columns["closed_ns"], made, strict=True)]
        if self._next_open:
            keyed += [((one.ts_init, 0, 0), one) for one in self._openings(chunk)]
        keyed.sort(key=itemgetter(0))
        return [one for _, one in keyed], bars

    def _openings(self, chunk: list[dict[str, Any]]) -> list[Any]:
        found: list[Any] = []
        quoted: dict[int, dict[str, dict[str, Any]]] = {}
        for columns in chunk:
            factory = self._factories[columns["index"]]
            if factory.series.price in ("BID", "ASK"):
                quoted.setdefault(factory.series.traded.con_id, {})[factory.series.price] = columns
            else:
                found += factory.openings(columns)
        for sides in quoted.values():
            if len(sides) == 2:
                found += self._quotes(sides["BID"], sides["ASK"])
        return found

    def _quotes(self, bids: dict[str, Any], asks: dict[str, Any]) -> list[Any]:
        """A quote for each open that both sides have: one side alone is no market."""
        factory = self._factories[bids["index"]]
        ask_at = dict(zip(asks["opened_ns"], asks["open"], strict=True))
        pairs = zip(bids["open"], bids["opened_ns"], strict=True)
        return [factory.quote(bid, ask_at[at], at) for bid, at in pairs if at in ask_at]
