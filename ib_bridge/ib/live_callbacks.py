"""What IB sends of live data, as plain values in the order in which it came: one border between the client library and us.

The library's own handlers of these messages keep lists that grow for ever, stamp ticks with the time of this machine, drop
updates of a bar that is not the newest, and ask again by themselves after a bust (10225), past the pacing book. So for the
request ids that are named here, and for no other, its callbacks are replaced. Both libraries look a callback up on the object
that the decoder calls, at each message (decoder.py of ib_insync 0.9.86 and ib_async 2.1.0, read 2026-11). Their decoders drop a
price tick whose price is 0.
"""

import math
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from ib_bridge.ib.client import IB
from nautilus.clock import NS_PER_S


class BarValue(NamedTuple):
    """A bar as IB sent it. ts: ns, its open. volume, trades: None where IB sends -1; volume in IB's unit."""

    ts: int
    open: float
    high: float
    low: float
    close: float
    volume: float | None
    trades: int | None


class FirstBars(NamedTuple):
    """The first answer of a bar that is kept up to date: history's own bars, the last of which may still form. rows: as the
    client library parsed them, but for their dates, which are IB's texts."""

    request: int
    bars: tuple[BarValue, ...]
    rows: tuple[Any, ...]


class BarUpdate(NamedTuple):
    """The newest state of a bar that is kept up to date, or of an older one that changed after all."""

    request: int
    bar: BarValue


class FiveSecondBar(NamedTuple):
    """A bar of five seconds, which is over."""

    request: int
    bar: BarValue


class QuoteChange(NamedTuple):
    """Fields of a quote that changed, by the names of `live_quotes`. None: there is none now. IB sends them one by one: those of
    one request that come together are one change."""

    request: int
    fields: dict[str, float | int | bool | None]


class Trade(NamedTuple):
    """One trade. ts: ns, in whole seconds as IB tells it."""

    request: int
    ts: int
    price: float
    size: float
    exchange: str
    conditions: str


class QuoteTick(NamedTuple):
    """One change of bid and ask, or of a size. ts: as that of a trade. bid_past_low, ask_past_high: the bid is below the lowest
    price of the day, the ask above the highest. None: there is none."""

    request: int
    ts: int
    bid: float | None
    bid_size: float | None
    ask: float | None
    ask_size: float | None
    bid_past_low: bool
    ask_past_high: bool


class MidpointTick(NamedTuple):
    """One midpoint of bid and ask. ts: as that of a trade."""

    request: int
    ts: int
    price: float


class DataType(NamedTuple):
    """Which market data a request really gets: `live`, `frozen`, `delayed` or `delayed_frozen`."""

    request: int
    feed: str


class Problem(NamedTuple):
    """An error or a notice of IB about one request."""

    request: int
    code: int
    text: str


class SystemNotice(NamedTuple):
    """An error or a notice of IB about no request: farms, servers."""

    code: int
    text: str


Tick = Trade | QuoteTick | MidpointTick
Value = FirstBars | BarUpdate | FiveSecondBar | QuoteChange | Tick | DataType | Problem | SystemNotice
FEEDS = {1: "live", 2: "frozen", 3: "delayed", 4: "delayed_frozen"}
# Numbers of ticks (TWS API, "tick types", read 2026-11). The second of each pair is the delayed one.
_PRICES = {
    **dict.fromkeys((1, 66), ("bid", "bid_size")),
    **dict.fromkeys((2, 67), ("ask", "ask_size")),
    **dict.fromkeys((4, 68), ("last", "last_size")),
    **dict.fromkeys((6, 72), ("high", "")),
    **dict.fromkeys((7, 73), ("low", "")),
    **dict.fromkeys((9, 75), ("close", "")),
    **dict.fromkeys((14, 76), ("open", "")),
}
_SIZES = {
    0: "bid_size",
    69: "bid_size",
    3: "ask_size",
    70: "ask_size",
    5: "last_size",
    71: "last_size",
} | dict.fromkeys((8, 74), "volume")
_LAST_TIMES = (45, 88)
_HALTED = (49, 90)
_NO_PRICE = -1.0


class LiveCallbacks:
    """The values that came and nobody took yet. `arrived` is called, in the event loop, when there is one after there was none.

    Requests are known by the ids of the present connection: `attach` forgets those of the one before, and what came over it.
    """

    def __init__(self) -> None:
        self.arrived: Callable[[], None] = lambda: None
        self._values: deque[Value] = deque()
        self._requests: set[int] = set()
        self._first: dict[int, list[Any]] = {}

    def attach(self, ib: IB) -> None:
        """Take the callbacks of a new connection."""
        self._values.clear()
        self._requests.clear()
        self._first.clear()
        for name in _CALLBACKS:
            setattr(ib.wrapper, name, self._instead(getattr(ib.wrapper, name), getattr(self, f"_{name}")))

    def expect(self, request: int) -> None:
        """From now on the messages of this request are ours. Say it before the request is sent."""
        self._requests.add(request)

    def forget(self, request: int) -> None:
        """What still comes for a request that is over is nobody's."""
        self._requests.discard(request)
        self._first.pop(request, None)

    def take(self) -> list[Value]:
        """All values that came since the last call."""
        taken = list(self._values)
        self._values.clear()
        return taken

    def error(self, request: int, code: int, text: str) -> None:
        """IB sent an error or a notice."""
        if request in self._requests:
            self._put(Problem(request, code, text))
        elif request < 0:
            self._put(SystemNotice(code, text))

    def _instead(self, theirs: Callable[..., None], ours: Callable[..., None]) -> Callable[..., None]:
        requests = self._requests

        def callback(request: int, *values: Any) -> None:
            (ours if request in requests else theirs)(request, *values)

        return callback

    def _put(self, value: Value) -> None:
        self._values.append(value)
        if len(self._values) == 1:
            self.arrived()

    def _put_fields(self, request: int, fields: dict[str, float | int | bool | None]) -> None:
        newest = self._values[-1] if self._values else None
        if isinstance(newest, QuoteChange) and newest.request == request:
            newest.fields.update(fields)
        else:
            self._put(QuoteChange(request, fields))

    # ---- the library's callbacks, with its arguments -----------------------------------------------------------------

    def _historicalData(self, request: int, bar: Any) -> None:
        self._first.setdefault(request, []).append(bar)

    def _historicalDataEnd(self, request: int, _start: str, _end: str) -> None:
        rows = self._first.pop(request, [])
        self._put(FirstBars(request, tuple(_bar(row) for row in rows), tuple(rows)))

    def _historicalDataUpdate(self, request: int, bar: Any) -> None:
        self._put(BarUpdate(request, _bar(bar)))

    def _realtimeBar(self, request: int, time_s: int, *values: float) -> None:
        opened, high, low, close, volume, _vwap, count = values
        known = _known(volume), _whole(int(count))
        self._put(FiveSecondBar(request, BarValue(time_s * NS_PER_S, opened, high, low, close, *known)))

    def _priceSizeTick(self, request: int, kind: int, price: float, size: float) -> None:
        if kind not in _PRICES:
            return
        name, size_name = _PRICES[kind]
        known, known_size = _side(price, size)
        fields: dict[str, float | int | bool | None] = {name: known}
        if size_name:
            fields[size_name] = known_size
        self._put_fields(request, fields)

    def _tickSize(self, request: int, kind: int, size: float) -> None:
        if kind in _SIZES:
            self._put_fields(request, {_SIZES[kind]: _known(size)})

    def _tickString(self, request: int, kind: int, value: str) -> None:
        if kind in _LAST_TIMES and value.isdigit():
            self._put_fields(request, {"ts": int(value) * NS_PER_S})

    def _tickGeneric(self, request: int, kind: int, value: float) -> None:
        if kind in _HALTED:
            self._put_fields(request, {"halted": None if value < 0 else value > 0})

    def _tickByTickAllLast(self, request: int, _kind: int, time_s: int, *values: Any) -> None:
        price, size, _attributes, exchange, conditions = values
        self._put(Trade(request, time_s * NS_PER_S, price, size, exchange, conditions))

    def _tickByTickBidAsk(self, request: int, time_s: int, *values: Any) -> None:
        bid, ask, bid_size, ask_size, flags = values
        sides = (*_side(bid, bid_size), *_side(ask, ask_size))
        self._put(QuoteTick(request, time_s * NS_PER_S, *sides, flags.bidPastLow, flags.askPastHigh))

    def _tickByTickMidPoint(self, request: int, time_s: int, price: float) -> None:
        self._put(MidpointTick(request, time_s * NS_PER_S, price))

    def _marketDataType(self, request: int, kind: int) -> None:
        if kind in FEEDS:
            self._put(DataType(request, FEEDS[kind]))


_CALLBACKS = (
    "historicalData",
    "historicalDataEnd",
    "historicalDataUpdate",
    "realtimeBar",
    "priceSizeTick",
    "tickSize",
    "tickString",
    "tickGeneric",
    "tickByTickAllLast",
    "tickByTickBidAsk",
    "tickByTickMidPoint",
    "marketDataType",
)


def _bar(row: Any) -> BarValue:
    """A bar of the library. Its date is a text of seconds since the epoch, as the request says (formatDate 2)."""
    known = _known(row.volume), _whole(row.barCount)
    return BarValue(int(row.date) * NS_PER_S, row.open, row.high, row.low, row.close, *known)


def _side(price: float, size: float) -> tuple[float | None, float | None]:
    """A price and its size; both None where IB says that there is no price now."""
    there = not (price == _NO_PRICE and size <= 0) and math.isfinite(price)
    return (price, _known(size)) if there else (None, None)


def _known(size: float) -> float | None:
    return size if size >= 0 and math.isfinite(size) else None


def _whole(count: int) -> int | None:
    return count if count >= 0 else None
