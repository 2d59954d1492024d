"""Live data: quotes, tick-by-tick, market depth, five-second bars and the updates of a history kept up to date.

Everything comes from the market model at the clock's time, so streams agree with the bars and ticks of history. Each
subscription is a job of its client; `client.STREAMS` names their families.
"""

import math
import re
from collections import deque
from collections.abc import AsyncIterator, Callable

from ib_gateway_sim.clock import SECOND_NS
from ib_gateway_sim.faults.weather import COMPETING
from ib_gateway_sim.market.contracts import Contract, ContractQuery
from ib_gateway_sim.market.generated import Bar, Quote, Tick
from ib_gateway_sim.reference.requests import one_contract
from ib_gateway_sim.rules import limits
from ib_gateway_sim.rules.limits import Violation
from ib_gateway_sim.session.client import Client
from ib_gateway_sim.streams import greeks
from ib_gateway_sim.streams.greeks import Greeks
from ib_gateway_sim.wire import codec

QUOTES, BY_TICK, DEPTH, BARS = "market data", "tick by tick", "depth", "real-time bars"
DELAY_S = 900  # delayed data lag by 15 minutes
_UNSUBSCRIBED = "Requested market data is not subscribed."

Values = tuple[codec.Value, ...]


async def beats(client: Client, period_s: float) -> AsyncIterator[float]:
    """The times of the market clock that are multiples of the period, as they come; late ones are left out."""
    clock = client.gateway.clock
    period_ns = int(period_s * SECOND_NS)
    while True:
        at_ns = (clock.now_ns() // period_ns + 1) * period_ns
        await clock.sleep_until(at_ns)
        yield at_ns / SECOND_NS


def shown_size(client: Client, contract: Contract, size: float) -> float:
    """Shares since 159, lots of 100 before; whole numbers before 163."""
    if size > 0 and client.version < 159 and contract.sec_type == "STK" and contract.currency == "USD":
        size = size // 100
    return int(size) if client.version < 163 else size


# ---- quotes ----------------------------------------------------------------------------------------------------------
def req_market_data(client: Client, request: codec.Request) -> None:
    problem: Violation | None = None
    contract = one_contract(client, request)
    generic = {tick for tick in request.text("genericTickList").replace(" ", "").split(",") if tick}
    if client.has(QUOTES, request.request_id):
        problem = Violation(102, "Duplicate ticker id")
    elif isinstance(contract, Violation):
        problem = contract
    elif generic and request.flag("snapshot"):
        problem = Violation(414, "Snapshot market data subscription is not applicable to generic ticks")
    elif not all(re.fullmatch("[0-9]+", tick.split(":")[0]) or tick.startswith("mdoff") for tick in generic):
        problem = limits.invalid("Incorrect generic tick list of " + request.text("genericTickList"))
    elif client.gateway.weather.competing:
        problem = Violation(*COMPETING)
    elif no_line(client):
        problem = NO_LINE
    elif not contract.permitted and client.market_data_type < 3:
        problem = Violation(354, f"{_UNSUBSCRIBED} Delayed market data is available.")
    if problem is not None:
        client.refuse(request.request_id, problem)
    elif not isinstance(contract, Violation):
        client.start(QUOTES, request.request_id, _quotes(client, request, contract, frozenset(generic)))


NO_LINE = Violation(101, "Max number of tickers has been reached")


def no_line(client: Client) -> bool:
    """Quotes and real-time bars of all clients share the account's market data lines."""
    gateway = client.gateway
    used = sum(each.count(QUOTES) + each.count(BARS) for each in gateway.clients.values())
    return used >= gateway.settings.lines


async def _quotes(client: Client, request: codec.Request, contract: Contract, generic: frozenset[str]) -> None:
    gateway = client.gateway
    request_id = request.request_id
    delayed = not contract.permitted
    if delayed:
        client.error(request_id, 10167, f"{_UNSUBSCRIBED} Displaying delayed market data.")
    client.send(81, request_id, contract.min_tick, "9c0001" if contract.exchange == "SMART" else "", 3)
    quote = gateway.quote(contract, gateway.clock.now_s() - (DELAY_S if delayed else 0))
    frozen = client.market_data_type in (2, 4) and not quote.is_open
    client.send(58, 1, request_id, (3 if delayed else 1) + frozen)
    sent = _Board(client, request_id, contract, delayed, generic)
    sent.show(quote)
    if "165" in generic and not delayed:
        _statistics(client, request_id, contract)
    if "236" in generic and contract.sec_type == "STK":
        client.send(45, 6, request_id, 46, 3.0)  # shortable: above 2.5 means at least 1000 shares
        client.send(2, 6, request_id, 89, 10_000_000)
    if request.flag("snapshot"):
        await gateway.wait(request.kind)
        client.send(57, 1, request_id)
        return
    async for at_s in beats(client, gateway.settings.quote_s):
        if gateway.weather.farm_ok("data", contract.sec_type, contract.currency):
            sent.show(gateway.quote(contract, at_s - (DELAY_S if delayed else 0)))


def _statistics(client: Client, request_id: int, contract: Contract) -> None:
    """Generic tick 165: lows and highs of 13, 26 and 52 weeks, and the average volume of 90 days."""
    market, now_s = client.gateway.market, client.gateway.clock.now_s()
    what = next((kind for kind in ("TRADES", "AGGTRADES", "MIDPOINT") if kind in contract.kinds), "")
    start_s = int(now_s) - 364 * limits.DAY_S
    days = market.bars(contract, "1d", what, rth=True, start_s=start_s, end_s=int(now_s), now_s=now_s) if what else []
    for weeks, low_kind, high_kind in ((13, 15, 16), (26, 17, 18), (52, 19, 20)):
        part = [bar for bar in days if bar.t > now_s - weeks * 7 * limits.DAY_S]
        if part:
            client.send(1, 6, request_id, low_kind, min(bar.low for bar in part), 0.0, 0)
            client.send(1, 6, request_id, high_kind, max(bar.high for bar in part), 0.0, 0)
    volumes = [bar.volume for bar in days if bar.t > now_s - 90 * limits.DAY_S and bar.volume >= 0]
    if volumes:
        client.send(2, 6, request_id, 21, shown_size(client, contract, round(sum(volumes) / len(volumes))))


# Tick types -> those of delayed data.
_DELAYED = {0: 69, 1: 66, 2: 67, 3: 70, 4: 68, 5: 71, 6: 72, 7: 73, 8: 74, 9: 75, 14: 76, 45: 88}
_DELAYED |= {10: 80, 11: 81, 12: 82, 13: 83}
_BID, _ASK, _LAST, _VOLUME, _LAST_TIME, _REAL_TIME_VOLUME, _HALTED, _MARK = 1, 2, 4, 8, 45, 48, 49, 37
_SIZE_OF = {_BID: 0, _ASK: 3, _LAST: 5}  # IB repeats the size of these prices in a message of its own


class _Board:
    """What a subscriber has been told; `show` sends what is new. Tick types here are those of live data."""

    def __init__(
        self, client: Client, request_id: int, contract: Contract, delayed: bool, generic: frozenset[str]
    ) -> None:
        self._client = client
        self._request_id = request_id
        self._contract = contract
        self._delayed = delayed
        self._generic = generic
        self._told: dict[int, tuple[float, float]] = {}  # tick type -> (value, its size)

    def show(self, quote: Quote) -> None:
        self._price(_BID, quote.bid, quote.bid_size)
        self._price(_ASK, quote.ask, quote.ask_size)
        if quote.has_last:
            traded = self._price(_LAST, quote.last, quote.last_size)
            traded |= self._size(_VOLUME, quote.volume)
            if traded:
                self._client.send(46, 6, self._request_id, self._kind(_LAST_TIME), int(quote.last_s))
                self._real_time_volume(quote)
        for kind, value in ((6, quote.high), (7, quote.low), (9, quote.close), (14, quote.open)):
            if value != -1:
                self._price(kind, value)
        if self._contract.sec_type == "OPT":
            self._greeks(quote)
        if not self._delayed:
            self._halted(quote)
            if self._generic & {"221", "232"} and quote.has_bid and quote.has_ask:
                self._price(_MARK, round((quote.bid + quote.ask) / 2, 6))

    def _kind(self, kind: int) -> int:
        return _DELAYED[kind] if self._delayed else kind

    def _new(self, kind: int, value: float, size: float = 0.0) -> bool:
        if self._told.get(kind) == (value, size):
            return False
        self._told[kind] = (value, size)
        return True

    def _price(self, kind: int, price: float, size: float = 0.0) -> bool:
        """Sends a price with its size; whether it was new."""
        size = shown_size(self._client, self._contract, size)
        if not self._new(kind, price, size):
            return False
        automatic = kind in (_BID, _ASK) and size > 0  # can be executed automatically
        self._client.send(1, 6, self._request_id, self._kind(kind), price, size, automatic)
        if kind in _SIZE_OF:
            self._size(_SIZE_OF[kind], size, scaled=True)
        return True

    def _size(self, kind: int, size: float, *, scaled: bool = False) -> bool:
        size = size if scaled else shown_size(self._client, self._contract, size)
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
        under = _underlying(self._client, self._contract)
        if under <= 0:
            return
        years = greeks.years_left(self._contract, quote.t_s)
        middle = (quote.bid + quote.ask) / 2 if quote.bid > 0 else quote.ask
        for kind, price in ((10, quote.bid), (11, quote.ask), (12, quote.last), (13, middle)):
            if self._new(kind, price, under):
                made = greeks.at_price(self._contract, under, years, price)
                send_greeks(self._client, self._request_id, self._kind(kind), made)


def _underlying(client: Client, contract: Contract) -> float:
    """The price of an option's underlying, 0 when there is none."""
    gateway = client.gateway
    found = gateway.market.find(ContractQuery(con_id=contract.under_con_id), gateway.clock.now_s())
    return gateway.mark(found[0]) if found else 0.0


def send_greeks(client: Client, request_id: int, kind: int, made: Greeks) -> None:
    """Message 21; what is not computed is -1 for volatility and price, -2 for the greeks."""

    def told(number: float | None, absent: float) -> float:
        return absent if number is None else round(number, 10)

    rest = [told(each, -2.0) for each in (made.gamma, made.vega, made.theta)]
    head = [told(made.volatility, -1.0), told(made.delta, -2.0), told(made.price, -1.0)]
    client.send(21, request_id, kind, 0, *head, 0.0, *rest, made.under)


_CUSTOM = 53  # tick type of what a calculator was asked for


def calculate(client: Client, request: codec.Request) -> None:
    """The option calculators: volatility from a price, price from a volatility."""
    contract = one_contract(client, request)
    under = request.number("underPrice")
    if isinstance(contract, Violation):
        client.refuse(request.request_id, contract)
    elif (
        contract.sec_type != "OPT"
        or under <= 0
        or max(request.number("volatility"), request.number("optionPrice")) <= 0
    ):
        client.refuse(
            request.request_id, limits.invalid("Calculations need an option and prices or volatility above 0")
        )
    else:
        years = greeks.years_left(contract, client.gateway.clock.now_s())
        if request.kind == "calculateOptionPrice":
            made = greeks.at_volatility(contract, under, years, min(request.number("volatility"), 10.0))
        else:
            made = greeks.at_price(contract, under, years, request.number("optionPrice"))
        send_greeks(client, request.request_id, _CUSTOM, made)


def _nothing_to_cancel(client: Client, request: codec.Request) -> None:
    """Calculations are answered at once."""


def cancel_market_data(client: Client, request: codec.Request) -> None:
    if not client.stop(QUOTES, request.request_id):
        client.error(request.request_id, 300, f"Can't find EId with tickerId:{request.request_id}")


# ---- tick by tick ----------------------------------------------------------------------------------------------------
_TICK_KINDS = {"Last": 1, "AllLast": 2, "BidAsk": 3, "MidPoint": 4}
_TICK_WHAT = {"Last": "TRADES", "AllLast": "TRADES", "BidAsk": "BID_ASK", "MidPoint": "MIDPOINT"}


def req_tick_by_tick(client: Client, request: codec.Request) -> None:
    request_id = request.request_id
    kind = request.text("tickType")
    contract = one_contract(client, request)
    problem: Violation | None = None
    running = sum(each.count(BY_TICK) for each in client.gateway.clients.values())
    if client.has(BY_TICK, request_id):
        problem = Violation(322, "Error processing request.-'bQ' : cause - Duplicate ticker ID")
    elif kind not in _TICK_KINDS:
        problem = limits.invalid(f"Tick-by-tick type is incorrect. Legal ones are: {', '.join(_TICK_KINDS)}")
    elif isinstance(contract, Violation):
        problem = contract
    elif client.gateway.weather.competing:
        problem = Violation(*COMPETING)
    elif running >= max(1, client.gateway.settings.lines // 20):
        problem = Violation(10190, "Max number of tick-by-tick requests has been reached.")
    elif not contract.permitted:
        problem = Violation(
            10189,
            "Failed to request tick-by-tick data.No market data permissions for "
            f"{contract.exchange} {contract.sec_type}",
        )
    elif not offers(contract, _TICK_WHAT[kind]):
        problem = Violation(10189, f"Failed to request tick-by-tick data.{kind} is not offered for {contract.sec_type}")
    if problem is not None:
        client.refuse(request_id, problem)
    elif not isinstance(contract, Violation):
        client.start(BY_TICK, request_id, _tick_by_tick(client, request, contract, kind))


def offers(contract: Contract, what: str) -> bool:
    return what in contract.kinds or (what == "TRADES" and "AGGTRADES" in contract.kinds)


async def _tick_by_tick(client: Client, request: codec.Request, contract: Contract, kind: str) -> None:
    gateway = client.gateway
    what = _TICK_WHAT[kind]
    since_s = gateway.clock.now_s()
    wanted = min(request.integer("numberOfTicks"), 1000)
    if wanted > 0:
        past = gateway.market.ticks(contract, what, since_s - 86_400, since_s, wanted, from_end=True)
        send_ticks(client, request.request_id, contract, what, past)
    sizes_matter = not request.flag("ignoreSize")
    before: tuple[float, float] | None = None
    async for at_s in beats(client, gateway.settings.quote_s):
        if gateway.weather.farm_ok("data", contract.sec_type, contract.currency):
            for tick in gateway.market.ticks(contract, what, since_s, at_s, 10_000):
                if sizes_matter or kind != "BidAsk" or before != (tick.bid, tick.ask):
                    client.send(99, request.request_id, *_tick_fields(client, contract, kind, tick))
                before = (tick.bid, tick.ask)
        since_s = at_s


def _tick_fields(client: Client, contract: Contract, kind: str, tick: Tick) -> Values:
    head: Values = (_TICK_KINDS[kind], int(tick.t_s))
    if kind == "BidAsk":
        return (
            *head,
            tick.bid,
            tick.ask,
            shown_size(client, contract, tick.bid_size),
            shown_size(client, contract, tick.ask_size),
            0,
        )
    if kind == "MidPoint":
        return (*head, tick.price)
    return (*head, tick.price, shown_size(client, contract, tick.size), 0, tick.exchange, tick.conditions)


def send_ticks(client: Client, request_id: int, contract: Contract, what: str, ticks: list[Tick]) -> None:
    """Messages 96 (MIDPOINT), 97 (BID_ASK) or 98 (TRADES), all ticks in one."""
    number = {"MIDPOINT": 96, "BID_ASK": 97}.get(what, 98)
    fields: list[codec.Value] = [number, request_id, len(ticks)]
    for tick in ticks:
        at_s = int(tick.t_s)
        if number == 96:
            fields += [at_s, 0, tick.price, 0]
        elif number == 97:
            sizes = (shown_size(client, contract, tick.bid_size), shown_size(client, contract, tick.ask_size))
            fields += [at_s, 0, tick.bid, tick.ask, *sizes]
        else:
            fields += [at_s, 0, tick.price, shown_size(client, contract, tick.size), tick.exchange, tick.conditions]
    client.send(*fields, True)


def cancel_tick_by_tick(client: Client, request: codec.Request) -> None:
    if not client.stop(BY_TICK, request.request_id):
        client.error(request.request_id, 300, f"Can't find EId with tickerId:{request.request_id}")


# ---- five-second bars ------------------------------------------------------------------------------------------------
_BARS_PER_WINDOW, _BARS_WINDOW_S = 60, 600.0


def req_real_time_bars(client: Client, request: codec.Request) -> None:
    request_id = request.request_id
    what = request.text("whatToShow").upper()
    contract = one_contract(client, request)
    problem: Violation | None = None
    if client.has(BARS, request_id):
        problem = Violation(102, "Duplicate ticker id")
    elif isinstance(contract, Violation):
        problem = contract
    elif what not in limits.LIVE_KINDS or what not in contract.kinds:
        problem = Violation(420, f"Invalid Real-time Query:What to show {what} is not offered for {contract.sec_type}")
    elif not contract.permitted:
        problem = Violation(
            420, f"Invalid Real-time Query:No market data permissions for {contract.exchange} {contract.sec_type}"
        )
    elif client.gateway.weather.competing:
        problem = Violation(*COMPETING)
    elif no_line(client):
        problem = NO_LINE
    elif not _within_pace(client.gateway.bars_asked, client.gateway.clock.now_s()):
        problem = Violation(420, "Invalid Real-time Query:Historical data request pacing violation")
    if problem is not None:
        client.refuse(request_id, problem)
    elif not isinstance(contract, Violation):
        client.start(BARS, request_id, _real_time_bars(client, request, contract, what))


def _within_pace(asked: deque[float], now_s: float) -> bool:
    while asked and asked[0] <= now_s - _BARS_WINDOW_S:
        asked.popleft()
    if len(asked) >= _BARS_PER_WINDOW:
        return False
    asked.append(now_s)
    return True


async def _real_time_bars(client: Client, request: codec.Request, contract: Contract, what: str) -> None:
    gateway = client.gateway
    rth = request.flag("useRTH")
    before: Bar | None = None
    async for at_s in beats(client, 5.0):
        start_s = int(at_s) - 5
        if not gateway.weather.farm_ok("data", contract.sec_type, contract.currency):
            continue
        found = gateway.market.bars(contract, "5s", what, rth=rth, start_s=start_s, end_s=start_s + 5, now_s=at_s)
        bar = found[0] if found else None
        if bar is None and before is not None and gateway.market.sessions(contract, start_s, start_s + 5, rth=rth):
            # Nothing was traded: IB sends the last price again, with no volume.
            flat = before.close
            bar = Bar(start_s, flat, flat, flat, flat, min(before.volume, 0), flat, min(before.count, 0))
        if bar is not None:
            client.send(
                50,
                3,
                request.request_id,
                bar.t,
                bar.open,
                bar.high,
                bar.low,
                bar.close,
                shown_size(client, contract, bar.volume),
                bar.wap,
                bar.count,
            )
            before = bar


def cancel_real_time_bars(client: Client, request: codec.Request) -> None:
    if not client.stop(BARS, request.request_id):
        client.error(request.request_id, 300, f"Can't find EId with tickerId:{request.request_id}")


# ---- market depth ----------------------------------------------------------------------------------------------------
_VENUES = ("ARCA", "NSDQ", "BATS", "EDGX", "IEX")
_INSERT, _UPDATE, _DELETE = 0, 1, 2
Row = tuple[str, float, float]  # market maker, price, size


def req_market_depth(client: Client, request: codec.Request) -> None:
    request_id = request.request_id
    contract = one_contract(client, request)
    problem: Violation | None = None
    most = max(3, 3 * client.gateway.settings.lines // 100)
    if client.has(DEPTH, request_id):
        problem = Violation(322, "Error processing request.-'bD' : cause - Duplicate ticker id")
    elif isinstance(contract, Violation):
        problem = contract
    elif contract.sec_type in ("IND", "OPT", "CFD", "CONTFUT"):
        problem = Violation(10092, "Deep market data is not supported for this combination of security type/exchange")
    elif not contract.permitted:
        problem = Violation(354, f"{_UNSUBSCRIBED}")
    elif client.gateway.weather.competing:
        problem = Violation(*COMPETING)
    elif sum(each.count(DEPTH) for each in client.gateway.clients.values()) >= most:
        problem = Violation(309, f"Max number ({most}) of market depth requests has been reached")
    if problem is not None:
        client.refuse(request_id, problem)
    elif not isinstance(contract, Violation):
        client.start(DEPTH, request_id, _depth(client, request, contract))


async def _depth(client: Client, request: codec.Request, contract: Contract) -> None:
    gateway = client.gateway
    rows = min(max(request.integer("numRows"), 1), 20)
    smart = request.flag("isSmartDepth")
    told: dict[int, list[Row]] = {0: [], 1: []}  # side (0 ask, 1 bid) -> rows

    def show(quote: Quote) -> None:
        for side in (0, 1):
            now = ladder(contract, quote, side, rows)
            for at, (operation, row) in _changes(told[side], now):
                maker, price, size = row
                size = shown_size(client, contract, size)
                if smart:
                    client.send(13, 1, request.request_id, at, maker, operation, side, price, size, True)
                else:
                    client.send(12, 1, request.request_id, at, operation, side, price, size)
            told[side] = now

    show(gateway.quote(contract, gateway.clock.now_s()))
    async for at_s in beats(client, 1.0):
        if gateway.weather.farm_ok("data", contract.sec_type, contract.currency):
            show(gateway.quote(contract, at_s))


def ladder(contract: Contract, quote: Quote, side: int, rows: int) -> list[Row]:
    """The book behind the quote: each row one tick worse and deeper; its first row is the quote."""
    price, size = (quote.ask, quote.ask_size) if side == 0 else (quote.bid, quote.bid_size)
    if size <= 0:
        return []
    step = contract.min_tick if side == 0 else -contract.min_tick
    digits = max(0, -math.floor(math.log10(contract.min_tick))) + 2
    worse = [
        (_VENUES[at % len(_VENUES)], round(price + at * step, digits), size * (1 + at * 3 % 5)) for at in range(rows)
    ]
    return [row for row in worse if price < 0 or row[1] > 0]


def _changes(old: list[Row], new: list[Row]) -> list[tuple[int, tuple[int, Row]]]:
    changes = [
        (at, (_INSERT if at >= len(old) else _UPDATE, row))
        for at, row in enumerate(new)
        if at >= len(old) or old[at] != row
    ]
    gone = [(at, (_DELETE, (old[at][0], 0.0, 0.0))) for at in reversed(range(len(new), len(old)))]
    return changes + gone


def cancel_market_depth(client: Client, request: codec.Request) -> None:
    if not client.stop(DEPTH, request.request_id):
        client.error(
            request.request_id, 310, f"Can't find the subscribed market depth with tickerId:{request.request_id}"
        )


HANDLERS: dict[str, Callable[[Client, codec.Request], None]] = {
    "calculateImpliedVolatility": calculate,
    "calculateOptionPrice": calculate,
    "cancelCalculateImpliedVolatility": _nothing_to_cancel,
    "cancelCalculateOptionPrice": _nothing_to_cancel,
    "reqMktData": req_market_data,
    "cancelMktData": cancel_market_data,
    "reqTickByTickData": req_tick_by_tick,
    "cancelTickByTickData": cancel_tick_by_tick,
    "reqRealTimeBars": req_real_time_bars,
    "cancelRealTimeBars": cancel_real_time_bars,
    "reqMktDepth": req_market_depth,
    "cancelMktDepth": cancel_market_depth,
}
