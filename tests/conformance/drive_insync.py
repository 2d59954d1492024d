"""Drives the simulator with ib_insync or ib_async: `drive_insync.py <library> <port>`; a JSON line per request.

Runs in the environment of its library and imports nothing else.
"""

import asyncio
import importlib
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

END = "20260302 15:00:00 UTC"


class Checks:
    """One method per row of the table; the returned text is what came, and an empty one a failure."""

    def __init__(self, library: Any, ib: Any) -> None:
        self.lib = library
        self.ib = ib
        self.contract: Any = None
        self.errors: list[int] = []
        ib.errorEvent += lambda request_id, code, *_: self.errors.append(code)

    async def until(self, ready: Callable[[], Any]) -> Any:
        async with asyncio.timeout(10):
            while not (seen := ready()):
                await asyncio.sleep(0.01)
            return seen

    async def bars(self, **other: Any) -> Any:
        requested = {
            "endDateTime": END,
            "durationStr": "1800 S",
            "barSizeSetting": "1 min",
            "whatToShow": "TRADES",
            "useRTH": True,
            "formatDate": 2,
        } | other
        return await self.ib.reqHistoricalDataAsync(self.contract, **requested)

    async def current_time(self) -> str:
        return str(await self.ib.reqCurrentTimeAsync())

    async def contract_details(self) -> str:
        (details,) = await self.ib.reqContractDetailsAsync(self.lib.Stock("AAPL", "SMART", "USD"))
        self.contract = details.contract
        assert details.longName
        assert details.timeZoneId == "US/Eastern"
        assert details.liquidHours.startswith("20260302:0930-20260302:1600;")
        assert details.minTick == 0.01
        return str(details.contract)

    async def unknown_contract(self) -> str:
        assert not await self.ib.reqContractDetailsAsync(self.lib.Stock("NOSUCH", "SMART", "USD"))
        assert 200 in self.errors
        return "200"

    async def matching_symbols(self) -> str:
        found = await self.ib.reqMatchingSymbolsAsync("AAPL")
        return str(found[0].contract.symbol == "AAPL" and found)

    async def option_chain(self) -> str:
        chains = await self.ib.reqSecDefOptParamsAsync("AAPL", "", "STK", self.contract.conId)
        return str([(chain.exchange, len(chain.strikes), len(chain.expirations)) for chain in chains])

    async def market_rule(self) -> str:
        return str(await self.ib.reqMarketRuleAsync(26))

    async def depth_exchanges(self) -> str:
        found = await self.ib.reqMktDepthExchangesAsync()
        assert {one.exchange for one in found} >= {"ISLAND", "CME"}
        return str(found)

    async def head_timestamp(self) -> str:
        at = await self.ib.reqHeadTimeStampAsync(self.contract, "TRADES", True, 2)
        assert at.year == 2004
        return str(at)

    async def historical_bars(self) -> str:
        bars = await self.bars()
        assert len(bars) == 30
        assert bars[0].volume > 0
        assert bars[0].low <= bars[0].open <= bars[0].high
        assert bars[0].date.timestamp() == 1_772_461_800
        return str(bars[0])

    async def text_dates(self) -> str:
        bars = await self.bars(formatDate=1)
        assert bars[0].date.strftime("%Y%m%d %H:%M") == "20260302 09:30"
        return str(bars[0].date)

    async def daily_bars(self) -> str:
        bars = await self.bars(barSizeSetting="1 day", durationStr="3 D")
        assert [str(bar.date) for bar in bars] == ["2026-02-26", "2026-02-27", "2026-03-02"]
        return str(bars[-1])

    async def schedule(self) -> str:
        schedule = await self.ib.reqHistoricalScheduleAsync(self.contract, 2, END, True)
        assert [each.refDate for each in schedule.sessions] == ["20260227", "20260302"]
        return str(schedule)

    async def live_bars(self) -> str:
        bars = await self.bars(endDateTime="", keepUpToDate=True)
        before = len(bars), bars[-1].volume
        await self.until(lambda: (len(bars), bars[-1].volume) != before)
        self.ib.cancelHistoricalData(bars)
        return str(bars[-1])

    async def finished_live_bar(self) -> str:
        """A minute that came live, all of it, is the minute of history."""
        bars = await self.bars(endDateTime="", keepUpToDate=True)
        begun = len(bars)
        await self.until(lambda: len(bars) > begun + 1)
        live = bars[begun]
        self.ib.cancelHistoricalData(bars)
        stored = {bar.date: bar for bar in await self.bars(endDateTime="")}
        assert stored[live.date] == live
        return str(live)

    async def ticks(self, what: str) -> str:
        ticks = await self.ib.reqHistoricalTicksAsync(self.contract, "", END, 10, what, True)
        assert len(ticks) >= 10
        assert ticks[-1].time.timestamp() <= 1_772_463_600
        return str(ticks[-1])

    async def ticks_of_trades(self) -> str:
        return await self.ticks("TRADES")

    async def ticks_of_quotes(self) -> str:
        return await self.ticks("BID_ASK")

    async def ticks_of_midpoints(self) -> str:
        return await self.ticks("MIDPOINT")

    async def histogram(self) -> str:
        return str(await self.ib.reqHistogramDataAsync(self.contract, True, "3 days"))

    async def market_data(self) -> str:
        ticker = self.ib.reqMktData(self.contract, "233")
        await self.until(lambda: ticker.bid > 0 and ticker.askSize > 0 and ticker.volume > 0 and ticker.rtVolume > 0)
        assert ticker.bid <= ticker.ask
        assert ticker.close > 0
        self.ib.cancelMktData(self.contract)
        return str(ticker.bid)

    async def snapshot(self) -> str:
        (ticker,) = await self.ib.reqTickersAsync(self.contract)
        assert ticker.bid <= ticker.ask
        return str(ticker.ask)

    async def delayed_data(self) -> str:
        (contract,) = await self.ib.qualifyContractsAsync(self.lib.Stock("NOPERM", "SMART", "USD"))
        self.ib.reqMarketDataType(3)
        ticker = self.ib.reqMktData(contract)
        await self.until(lambda: ticker.marketDataType == 3 and ticker.bid > 0 and 10167 in self.errors)
        self.ib.cancelMktData(contract)
        self.ib.reqMarketDataType(1)
        return str(ticker.bid)

    async def tick_by_tick(self, kind: str) -> str:
        ticker = self.ib.reqTickByTickData(self.contract, kind)
        await self.until(lambda: ticker.tickByTicks)
        tick = ticker.tickByTicks[-1]
        self.ib.cancelTickByTickData(self.contract, kind)
        return str(tick)

    async def each_last(self) -> str:
        return await self.tick_by_tick("Last")

    async def each_trade(self) -> str:
        return await self.tick_by_tick("AllLast")

    async def each_quote(self) -> str:
        return await self.tick_by_tick("BidAsk")

    async def each_midpoint(self) -> str:
        return await self.tick_by_tick("MidPoint")

    async def real_time_bars(self) -> str:
        bars = self.ib.reqRealTimeBars(self.contract, 5, "TRADES", True)
        await self.until(lambda: len(bars) > 1)
        self.ib.cancelRealTimeBars(bars)
        first, second = bars[:2]
        assert first.time.timestamp() % 5 == 0
        assert (second.time - first.time).total_seconds() == 5
        assert first.low <= min(first.open_, first.close) <= max(first.open_, first.close) <= first.high
        return str(bars[-1])

    async def market_depth(self) -> str:
        ticker = self.ib.reqMktDepth(self.contract, 5, True)
        await self.until(lambda: len(ticker.domBids) == 5 and len(ticker.domAsks) == 5)
        assert ticker.domBids[0].price > ticker.domBids[-1].price
        best = ticker.domBids[0]
        self.ib.cancelMktDepth(self.contract, True)
        return str(best)

    async def account_updates(self) -> str:
        values = {value.tag: value.value for value in self.ib.accountValues()}
        return str(values["NetLiquidation"])

    async def account_updates_multi(self) -> str:
        await self.ib.reqAccountUpdatesMultiAsync("SIM7")
        return str(len(self.ib.accountValues("SIM7")))

    async def account_summary(self) -> str:
        summary = {value.tag: value.value for value in await self.ib.accountSummaryAsync()}
        return str(summary["NetLiquidation"])

    async def place_order(self) -> str:
        trade = self.ib.placeOrder(self.contract, self.lib.LimitOrder("BUY", 10, 100.0))
        await self.until(lambda: trade.orderStatus.status == "Submitted")
        trade.order.lmtPrice = 101.0
        self.ib.placeOrder(self.contract, trade.order)
        await self.until(lambda: trade.orderStatus.status == "Submitted" and len(trade.log) > 2)
        assert trade.order.permId
        return str(trade.orderStatus)

    async def open_orders(self) -> str:
        orders = await self.ib.reqOpenOrdersAsync()
        assert len(await self.ib.reqAllOpenOrdersAsync()) == 1
        return str(orders[0].order.lmtPrice == 101.0 and orders)

    async def cancel_order(self) -> str:
        (trade,) = self.ib.openTrades()
        self.ib.cancelOrder(trade.order)
        await self.until(lambda: trade.orderStatus.status == "Cancelled" and 202 in self.errors)
        return "202"

    async def refused_order(self) -> str:
        trade = self.ib.placeOrder(self.contract, self.lib.MarketOrder("BUY", 1_000_000))
        await self.until(lambda: trade.orderStatus.status == "Inactive" and 201 in self.errors)
        return "201"

    async def conditional_order(self) -> str:
        order = self.lib.MarketOrder("BUY", 10)
        condition = self.lib.PriceCondition(isMore=True, price=5000.0, conId=self.contract.conId, exch="SMART")
        order.conditions = [condition]
        trade = self.ib.placeOrder(self.contract, order)
        await self.until(lambda: trade.orderStatus.status == "PreSubmitted")
        (open_order,) = await self.ib.reqOpenOrdersAsync()
        (echoed,) = open_order.order.conditions
        assert (echoed.price, echoed.conId) == (5000.0, self.contract.conId)
        self.ib.cancelOrder(trade.order)
        await self.until(lambda: trade.orderStatus.status == "Cancelled")
        return str(echoed)

    async def fill(self) -> str:
        trade = self.ib.placeOrder(self.contract, self.lib.MarketOrder("BUY", 10))
        await self.until(lambda: trade.orderStatus.status == "Filled" and trade.fills)
        await self.until(lambda: trade.fills[0].commissionReport.commission > 0)
        assert trade.fills[0].execution.shares == 10
        return str(trade.fills[0])

    async def what_if(self) -> str:
        state = await self.ib.whatIfOrderAsync(self.contract, self.lib.MarketOrder("BUY", 100))
        assert float(state.initMarginChange) > 0
        return str(state.commission)

    async def bracket(self) -> str:
        trades = [
            self.ib.placeOrder(self.contract, order) for order in self.ib.bracketOrder("BUY", 10, 1000.0, 2000.0, 1.0)
        ]
        await self.until(lambda: trades[0].orderStatus.status == "Filled")
        await self.until(lambda: trades[1].orderStatus.status == "Submitted")
        self.ib.reqGlobalCancel()
        await self.until(lambda: all(trade.isDone() for trade in trades))
        return str([trade.orderStatus.status for trade in trades])

    async def executions(self) -> str:
        fills = await self.ib.reqExecutionsAsync()
        assert len(fills) == 2
        return str(fills[0].execution.time)

    async def completed_orders(self) -> str:
        trades = await self.ib.reqCompletedOrdersAsync(False)
        return str([trade.orderStatus.status for trade in trades])

    async def positions(self) -> str:
        (position,) = await self.ib.reqPositionsAsync()
        assert position.position == 20
        return str(position)

    async def portfolio(self) -> str:
        (item,) = await self.until(lambda: [each for each in self.ib.portfolio() if each.position == 20])
        return str(item)

    async def profit_and_loss(self) -> str:
        pnl = self.ib.reqPnL("SIM7")
        await self.until(lambda: pnl.unrealizedPnL == pnl.unrealizedPnL)
        self.ib.cancelPnL("SIM7")
        return str(pnl)

    async def profit_and_loss_of_one(self) -> str:
        pnl = self.ib.reqPnLSingle("SIM7", "", self.contract.conId)
        await self.until(lambda: pnl.position == 20)
        self.ib.cancelPnLSingle("SIM7", "", self.contract.conId)
        return str(pnl)

    async def user_info(self) -> str:
        return f"[{await self.ib.reqUserInfoAsync()}]"


def checks(made: Checks) -> list[tuple[str, Callable[[], Awaitable[str]]]]:
    """Rows in the order in which they have to run: the contract first, orders before what tells of them."""
    rows = [name for name in vars(Checks) if not name.startswith("_") and name not in ("until", "bars", "ticks")]
    return [(name.replace("_", " "), getattr(made, name)) for name in rows if name != "tick_by_tick"]


async def main(name: str, port: int) -> None:
    asyncio.set_event_loop(asyncio.get_running_loop())
    library = importlib.import_module(name)
    ib = library.IB()
    await ib.connectAsync("127.0.0.1", port, clientId=11, timeout=10)
    for row, check in checks(Checks(library, ib)):
        try:
            async with asyncio.timeout(15):
                saw = await check()
            ok = bool(saw) and saw not in ("[]", "False", "None")
        except Exception as problem:
            ok, saw = False, repr(problem)
        print(json.dumps({"request": row, "ok": ok, "saw": saw[:200]}), flush=True)
    ib.disconnect()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
