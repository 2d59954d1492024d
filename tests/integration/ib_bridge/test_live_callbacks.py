"""Live data from the simulator through the real client library: plain values, IB's own times, nothing asked by itself."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from ib_bridge.ib import live_callbacks
from ib_bridge.ib.clock import MarketClock
from ib_bridge.ib.connection import IbConnection
from ib_bridge.ib.live_callbacks import (
    BarUpdate,
    DataType,
    FirstBars,
    FiveSecondBar,
    LiveCallbacks,
    MidpointTick,
    Problem,
    QuoteChange,
    QuoteTick,
    SystemNotice,
    Trade,
)
from ib_bridge.ib.live_requests import LiveRequests
from ib_bridge.ib.requests import IbRequests
from ib_bridge.ib.translate import contract, contracts, instrument
from nautilus.clock import NS_PER_S
from nautilus.log import logger
from nautilus.market.instrument import Instrument
from nautilus.market.symbols import Selector
from tests.integration.ib_bridge.test_background import ended, settings_of
from tests.support.markets import ns
from tests.support.sim_process import Simulator, simulator

NOON = ns("2026-03-02 17:00")
AAPL = Selector("STK", "AAPL", "USD")
EURUSD = Selector("CASH", "EUR", "USD")
STEPPED = ("--clock", "stepped", "--latency", "none", "--start", "2026-03-02T17:00:00Z")


class Live:
    """A connection of the bridge, and all values that came over it."""

    def __init__(self, sim: Simulator) -> None:
        self.sim = sim
        self.seen: list[Any] = []
        settings = settings_of(sim.port, control_port=sim.ready["control_port"])
        self.connection = IbConnection(settings, MarketClock(), logger("test"), lambda: None)
        self.asks = LiveRequests(self.connection)
        self._requests = IbRequests(settings, self.connection)

    async def find(self, selector: Selector) -> Instrument:
        return instrument((await self._requests.details(contracts(selector)))[0])[0]

    async def advance(self, seconds: float) -> None:
        await asyncio.to_thread(self.sim.command, f"advance {seconds}")
        await self.settle()

    async def settle(self) -> None:
        """Until all that was sent before has come."""
        await self.connection.client().reqCurrentTimeAsync()
        self.seen += self.connection.callbacks.take()

    async def first(self, kind: type, request: int) -> Any:
        async with asyncio.timeout(30):
            while not self.of(kind, request):
                await self.settle()
                await asyncio.sleep(0.02)
        return self.of(kind, request)[0]

    def of(self, kind: type, request: int | None = None) -> list[Any]:
        return [v for v in self.seen if isinstance(v, kind) and request in (None, getattr(v, "request", None))]


@asynccontextmanager
async def live(*options: str) -> AsyncIterator[Live]:
    with simulator(*(options or STEPPED)) as sim:
        made = Live(sim)
        running = asyncio.create_task(made.connection.run())
        async with asyncio.timeout(30):
            while not made.connection.up:
                await asyncio.sleep(0.02)
        try:
            yield made
        finally:
            await ended(running)


async def five_second_bars() -> list[FiveSecondBar]:
    async with live() as it:
        euro = await it.find(EURUSD)
        number = it.asks.real_time_bars(euro, "MIDPOINT", "all")
        await it.advance(30)
        return it.of(FiveSecondBar, number)


def test_bars_of_five_seconds_have_ibs_time_and_no_negative_volume() -> None:
    found = asyncio.run(five_second_bars())
    assert [one.bar.ts for one in found] == [NOON + n * 5 * NS_PER_S for n in range(6)]
    assert {(one.bar.volume, one.bar.trades) for one in found} == {(None, None)}
    assert all(one.bar.low <= one.bar.open <= one.bar.high for one in found)


def test_a_border_that_takes_minus_one_for_a_volume_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mutant."""
    monkeypatch.setattr(live_callbacks, "_known", float)
    monkeypatch.setattr(live_callbacks, "_whole", int)
    assert {(one.bar.volume, one.bar.trades) for one in asyncio.run(five_second_bars())} != {(None, None)}


def test_a_bar_kept_up_to_date_comes_with_history_and_with_updates_of_older_bars() -> None:
    """`late ... own` tells a minute again after a newer one, which the library would drop."""

    async def work() -> None:
        async with live() as it:
            apple = await it.find(AAPL)
            it.sim.command("late AAPL 0.3 20 own")
            number = it.asks.keep_up_to_date(apple, "TRADES", "rth", "1800 S")
            first = await it.first(FirstBars, number)
            assert [bar.ts for bar in first.bars] == [NOON - (30 - n) * 60 * NS_PER_S for n in range(30)]
            assert len(first.rows) == 30
            await it.advance(180)
            stamps = [one.bar.ts for one in it.of(BarUpdate, number)]
            assert {NOON + n * 60 * NS_PER_S for n in range(3)} <= set(stamps)
            assert stamps != sorted(stamps), "an update of an older bar has come, too"
            assert not it.connection.client().wrapper.reqId2Subscriber, "the library keeps no list"

    asyncio.run(work())


def test_quotes_are_fields_with_the_time_of_the_last_trade_and_the_feed() -> None:
    async def work() -> None:
        async with live() as it:
            apple, nothing = await it.find(AAPL), await it.find(Selector("STK", "NOPERM", "USD"))
            it.asks.market_data_type("delayed")
            number, other = it.asks.market_data(apple), it.asks.market_data(nothing)
            await it.advance(2)
            quote: dict[str, Any] = {}
            for change in it.of(QuoteChange, number):
                quote |= change.fields
            assert {"bid", "ask", "bid_size", "ask_size", "last", "last_size", "volume", "high", "low", "close"} <= set(
                quote
            )
            assert quote["bid"] < quote["ask"]
            assert 0 <= NOON + 2 * NS_PER_S - quote["ts"] <= 120 * NS_PER_S, "IB's time, not that of this machine"
            assert [one.feed for one in it.of(DataType, number)] == ["live"]
            assert [one.feed for one in it.of(DataType, other)] == ["delayed"]
            delayed = set().union(*(change.fields for change in it.of(QuoteChange, other)))
            assert {"bid", "ask", "last"} <= delayed, "delayed ticks have numbers of their own"
            assert [one.code for one in it.of(Problem, other)] == [10167]

    asyncio.run(work())


def test_ticks_have_ibs_time() -> None:
    async def work() -> None:
        async with live() as it:
            number = it.asks.tick_by_tick(await it.find(AAPL), "TRADES")
            await it.advance(30)
            trades = it.of(Trade, number)
            assert trades
            assert all(NOON <= one.ts <= NOON + 30 * NS_PER_S and one.size > 0 for one in trades)

    asyncio.run(work())


def test_ticks_of_quotes_and_of_midpoints_are_plain_values_of_the_same_market() -> None:
    async def work() -> None:
        async with live() as it:
            apple = await it.find(AAPL)
            number = it.asks.tick_by_tick(apple, "BID_ASK")
            await it.advance(16)
            middle = it.asks.tick_by_tick(apple, "MIDPOINT")
            await it.advance(30)
            quotes, midpoints = it.of(QuoteTick, number), it.of(MidpointTick, middle)
            assert quotes
            assert midpoints
            assert all(NOON <= one.ts <= NOON + 46 * NS_PER_S for one in (*quotes, *midpoints))
            assert all(one.bid < one.ask and min(one.bid_size, one.ask_size) > 0 for one in quotes)
            middles = {round((one.bid + one.ask) / 2, 6) for one in quotes}
            assert {round(one.price, 6) for one in midpoints} <= middles
            assert not it.connection.client().wrapper.pendingTickers, "the library keeps none"
            assert it.of(Problem, middle) == []

    asyncio.run(work())


def test_fields_of_one_quote_that_come_together_are_one_change_in_its_place() -> None:
    callbacks = LiveCallbacks()
    callbacks.expect(7)
    callbacks.expect(8)
    callbacks._priceSizeTick(7, 1, 20.0, 3.0)
    callbacks._tickSize(7, 0, 4.0)
    callbacks._tickString(7, 45, "1772470800")
    callbacks._priceSizeTick(8, 2, 30.0, 1.0)
    callbacks._tickSize(7, 8, 500.0)
    callbacks.error(7, 10090, "a part is missing")
    callbacks._tickGeneric(7, 49, 0.0)
    assert callbacks.take() == [
        QuoteChange(7, {"bid": 20.0, "bid_size": 4.0, "ts": NOON}),
        QuoteChange(8, {"ask": 30.0, "ask_size": 1.0}),
        QuoteChange(7, {"volume": 500.0}),
        Problem(7, 10090, "a part is missing"),
        QuoteChange(7, {"halted": False}),
    ]
    callbacks._tickSize(7, 8, 501.0)
    assert callbacks.take() == [QuoteChange(7, {"volume": 501.0})], "what was taken is not changed"


def test_a_side_of_a_quote_that_is_not_there_is_none_and_the_flags_are_ibs() -> None:
    callbacks = LiveCallbacks()
    callbacks.expect(7)
    callbacks._tickByTickBidAsk(
        7, 1_772_470_800, -1.0, 20.5, 0.0, 3.0, SimpleNamespace(bidPastLow=True, askPastHigh=False)
    )
    (tick,) = callbacks.take()
    assert tick == QuoteTick(7, NOON, None, None, 20.5, 3.0, True, False)


async def requests_after_a_bust(subscribe: Callable[[Live, Instrument], Any]) -> list[str]:
    """What the simulator received in the minute after a bust."""
    async with live() as it:
        apple = await it.find(AAPL)
        await subscribe(it, apple)
        await it.advance(10)
        it.sim.command("forget")
        assert it.sim.command("bust AAPL")["ended"] == 1
        await it.advance(60)
        it.seen += it.connection.callbacks.take()
        kinds = ("reqRealTimeBars", "cancelRealTimeBars", "reqHistoricalData", "cancelHistoricalData")
        return [kind for kind in kinds for _ in it.sim.command(f"received {kind}")["received"]]


def test_after_a_bust_nothing_is_asked_that_we_did_not_ask() -> None:
    async def bars(it: Live, apple: Instrument) -> None:
        it.asks.real_time_bars(apple, "TRADES", "rth")

    async def kept(it: Live, apple: Instrument) -> None:
        await it.first(FirstBars, it.asks.keep_up_to_date(apple, "TRADES", "rth", "1800 S"))

    for subscribe in (bars, kept):
        assert asyncio.run(requests_after_a_bust(subscribe)) == []


def test_the_librarys_own_subscription_would_have_been_asked_for_by_itself() -> None:
    """The mutant: what the test above must see."""

    async def bars(it: Live, apple: Instrument) -> None:
        ib = it.connection.client()
        ib.reqRealTimeBars(contract(apple), 5, "TRADES", True)

    assert "reqRealTimeBars" in asyncio.run(requests_after_a_bust(bars))


def test_errors_belong_to_their_request_and_notices_to_none() -> None:
    async def work() -> None:
        async with live() as it:
            nothing = await it.find(Selector("STK", "NOPERM", "USD"))
            number = it.asks.market_data(nothing)
            gone = it.asks.market_data(await it.find(AAPL))
            await it.first(Problem, number)
            it.asks.cancel_market_data(gone)
            it.sim.command(f"notice 300 nothing {gone}")
            it.sim.command("farm_flap usfarm 3")
            await it.advance(5)
            assert [(one.request, one.code) for one in it.of(Problem)] == [(number, 354)]
            assert [one.code for one in it.of(SystemNotice)][-3:] == [2103, 2119, 2104]

    asyncio.run(work())


def test_a_new_connection_knows_nothing_of_the_requests_of_the_old_one() -> None:
    async def work() -> None:
        async with live() as it:
            number = it.asks.real_time_bars(await it.find(AAPL), "TRADES", "rth")
            await it.advance(10)
            assert it.of(FiveSecondBar, number)
            before = it.connection.number
            it.connection.drop()
            async with asyncio.timeout(30):
                while it.connection.number == before or not it.connection.up:
                    await asyncio.sleep(0.02)
            it.connection.callbacks.take()
            it.connection.callbacks.error(
                number, 354, "of another request: the new connection may use the number again"
            )
            assert it.connection.callbacks.take() == []

    asyncio.run(work())


def test_who_waits_is_called_once_for_all_that_has_come() -> None:
    calls: list[int] = []
    callbacks = LiveCallbacks()
    callbacks.arrived = lambda: calls.append(1)
    callbacks.error(-1, 2104, "one")
    callbacks.error(-1, 2106, "two")
    assert (len(calls), len(callbacks.take())) == (1, 2)
    callbacks.error(-1, 2104, "three")
    assert len(calls) == 2
