"""What a subscriber of quotes was sent, and what is new in the next quote."""

from ib_gateway_sim.market.contracts import Contract
from ib_gateway_sim.market.source import Quote
from ib_gateway_sim.session.gateway import Client
from ib_gateway_sim.streams import greeks
from ib_gateway_sim.streams.families import shown_size
from ib_gateway_sim.streams.option_values import send_greeks, underlying_price
from ib_gateway_sim.wire import codec

# Tick types -> those of delayed data.
_DELAYED = {
    0: 69,
    1: 66,
    2: 67,
    3: 70,
    4: 68,
    5: 71,
    6: 72,
    7: 73,
    8: 74,
    9: 75,
    14: 76,
    45: 88,
    10: 80,
    11: 81,
    12: 82,
    13: 83,
}
_BID = 1
_ASK = 2
_LAST = 4
_VOLUME = 8
_LAST_TIME = 45
_REAL_TIME_VOLUME = 48
_HALTED = 49
_MARK = 37
_SIZE_OF = {_BID: 0, _ASK: 3, _LAST: 5}  # IB repeats the size of these prices in a message of its own


class QuoteBoard:
    """What a subscriber has received; `show` sends what is new. Tick types here are those of live data."""

    def __init__(
        self,
        client: Client,
        request_id: int,
        contract: Contract,
        delayed: bool,
        generic: frozenset[str],
        *,
        whole: bool,
    ) -> None:
        self._client = client
        self._request_id = request_id
        self._contract = contract
        self._delayed = delayed
        self._generic = generic
        self._whole = whole  # False: bid and ask need a subscription that the login lacks
        self._marked = bool(generic & {"221", "232"})
        self._day: tuple[float, ...] = ()  # high, low, close and open of the day as they were sent last
        self._as_is = client.version >= 163  # sizes need no change
        self._sent: dict[int, tuple[float, float]] = {}  # tick type -> (value, its size)

    def show(self, quote: Quote) -> None:
        if self._whole:
            self._price(_BID, quote.bid, quote.bid_size)
            self._price(_ASK, quote.ask, quote.ask_size)
        if quote.has_last:
            traded = self._price(_LAST, quote.last, quote.last_size)
            traded |= self._size(_VOLUME, quote.volume)
            if traded:
                self._client.send(46, 6, self._request_id, self._kind(_LAST_TIME), int(quote.last_s))
                self._real_time_volume(quote)
        day = quote.high, quote.low, quote.close, quote.open
        if day != self._day:
            self._day = day
            for kind, value in zip((6, 7, 9, 14), day, strict=True):
                if value != -1:
                    self._price(kind, value)
        if self._contract.sec_type == "OPT" and self._whole:
            self._greeks(quote)
        if not self._delayed:
            self._halted(quote)
            if self._marked and quote.has_bid and quote.has_ask:
                self._price(_MARK, round((quote.bid + quote.ask) / 2, 6))

    def _kind(self, kind: int) -> int:
        return _DELAYED[kind] if self._delayed else kind

    def _new(self, kind: int, value: float, size: float = 0.0) -> bool:
        if self._sent.get(kind) == (value, size):
            return False
        self._sent[kind] = (value, size)
        return True

    def _price(self, kind: int, price: float, size: float = 0.0) -> bool:
        """Sends a price with its size; whether it was new."""
        size = size if self._as_is else shown_size(self._client, self._contract, size)
        if not self._new(kind, price, size):
            return False
        automatic = kind in (_BID, _ASK) and size > 0  # can be executed automatically
        self._client.send(1, 6, self._request_id, self._kind(kind), price, size, automatic)
        if kind in _SIZE_OF:
            self._size(_SIZE_OF[kind], size, scaled=True)
        return True

    def _size(self, kind: int, size: float, *, scaled: bool = False) -> bool:
        size = size if scaled or self._as_is else shown_size(self._client, self._contract, size)
        if not self._new(kind, size):
            return False
        self._client.send(2, 6, self._request_id, self._kind(kind), size)
        return True

    def _halted(self, quote: Quote) -> None:
        if self._new(_HALTED, float(quote.halted)):
            self._client.send(45, 6, self._request_id, _HALTED, float(quote.halted))

    def _real_time_volume(self, quote: Quote) -> None:
        """Generic tick 233: price;size;time ms;total volume;vwap;single trade."""
        if "233" in self._generic and not self._delayed:
            middle = round((quote.high + quote.low + quote.last) / 3, 4)
            parts = (quote.last, quote.last_size, int(quote.last_s * 1000), quote.volume, middle, "true")
            text = ";".join(codec.text_of(part) for part in parts)
            self._client.send(46, 6, self._request_id, _REAL_TIME_VOLUME, text)

    def _greeks(self, quote: Quote) -> None:
        """Message 21 for bid, ask, last and model."""
        under = underlying_price(self._client, self._contract)
        if under <= 0:
            return
        years = greeks.years_left(self._contract, quote.t_s)
        middle = (quote.bid + quote.ask) / 2 if quote.bid > 0 else quote.ask
        for kind, price in ((10, quote.bid), (11, quote.ask), (12, quote.last), (13, middle)):
            if self._new(kind, price, under):
                made = greeks.at_price(self._contract, under, years, price)
                send_greeks(self._client, self._request_id, self._kind(kind), made)
