"""Drives the simulator with the official Python client, of 2020 (ibapi) or newest (nautilus-ibapi).

`drive_official.py <port>`; a JSON line per request. Both are imported as `ibapi`; their callbacks differ in count and
order of arguments, so what came is kept as it came: (callback, arguments).
"""

import importlib
import json
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

END = "20260302 15:00:00 UTC"
Came = tuple[str, tuple[Any, ...]]


def make_app() -> Any:
    """The official pattern, one class that is client and wrapper, which keeps every callback."""
    client = importlib.import_module("ibapi.client").EClient
    wrapper = importlib.import_module("ibapi.wrapper").EWrapper

    class App(client, wrapper):  # type: ignore[misc, valid-type]
        def __init__(self) -> None:
            wrapper.__init__(self)
            client.__init__(self, wrapper=self)
            self.came: list[Came] = []
            self.news = threading.Condition()

    def keeper(name: str) -> Callable[..., None]:
        def keep(self: Any, *arguments: Any, **named: Any) -> None:
            with self.news:
                self.came.append((name, (*arguments, *named.values())))
                self.news.notify_all()

        return keep

    for name in vars(wrapper):
        if not name.startswith("_") and name != "logAnswer" and callable(getattr(wrapper, name)):
            setattr(App, name, keeper(name))
    return App()


class Checks:
    """One method per row; what it returns is what came."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.order_id = 0
        self.con_id = 0
        self.cancel_arguments: tuple[Any, ...] = ()

    def wait(self, name: str, wanted: Callable[[tuple[Any, ...]], bool] = lambda _: True) -> tuple[Any, ...]:
        """The arguments of the first callback of that name which is wanted; it is used up."""
        end = time.monotonic() + 10
        with self.app.news:
            while True:
                for at, (came, arguments) in enumerate(self.app.came):
                    if came == name and wanted(arguments):
                        del self.app.came[at]
                        return tuple(arguments)
                if not self.app.news.wait(end - time.monotonic()):
                    seen = [came for came, _ in self.app.came[-5:]]
                    raise TimeoutError(f"{name} did not come; last were {seen}")

    def all(self, name: str) -> list[tuple[Any, ...]]:
        with self.app.news:
            return [arguments for came, arguments in self.app.came if came == name]

    def _contract(self, symbol: str = "AAPL") -> Any:
        contract = importlib.import_module("ibapi.contract").Contract()
        contract.symbol, contract.secType, contract.exchange, contract.currency = symbol, "STK", "SMART", "USD"
        return contract

    def _order(self, kind: str, quantity: int, price: float = 0.0, action: str = "BUY") -> Any:
        order = importlib.import_module("ibapi.order").Order()
        order.action, order.orderType, order.lmtPrice = action, kind, price
        order.totalQuantity = self._decimal(quantity)
        order.eTradeOnly = order.firmQuoteOnly = False
        return order

    def _decimal(self, value: int) -> Any:
        if hasattr(importlib.import_module("ibapi.common"), "Decimal"):
            return importlib.import_module("decimal").Decimal(value)
        return value

    def current_time(self) -> Any:
        self.app.reqCurrentTime()
        (at,) = self.wait("currentTime")
        assert at > 1_772_000_000
        return at

    def contract_details(self) -> Any:
        self.app.reqContractDetails(1, self._contract())
        _, details = self.wait("contractDetails")
        self.wait("contractDetailsEnd")
        assert details.timeZoneId == "US/Eastern"
        assert details.liquidHours.startswith("20260302:0930-20260302:1600;")
        assert details.minTick == 0.01
        self.con_id = details.contract.conId
        return details.longName

    def unknown_contract(self) -> Any:
        self.app.reqContractDetails(2, self._contract("NOSUCH"))
        return self.wait("error", lambda each: each[0] == 2 and 200 in each)

    def matching_symbols(self) -> Any:
        self.app.reqMatchingSymbols(3, "AAPL")
        _, found = self.wait("symbolSamples")
        assert found[0].contract.symbol == "AAPL"
        return found

    def option_chain(self) -> Any:
        self.app.reqSecDefOptParams(4, "AAPL", "", "STK", self.con_id)
        chain = self.wait("securityDefinitionOptionParameter")
        self.wait("securityDefinitionOptionParameterEnd")
        return chain[1:5]

    def market_rule(self) -> Any:
        self.app.reqMarketRule(26)
        return self.wait("marketRule")[1]

    def depth_exchanges(self) -> Any:
        self.app.reqMktDepthExchanges()
        return self.wait("mktDepthExchanges")[0]

    def head_timestamp(self) -> Any:
        self.app.reqHeadTimeStamp(5, self._contract(), "TRADES", 1, 1)
        return self.wait("headTimestamp")[1] == "20040102-14:30:00"

    def _bars(self, request_id: int, **other: Any) -> list[Any]:
        requested = {"end": END, "length": "1800 S", "size": "1 min", "format": 2} | other
        self.app.reqHistoricalData(
            *[request_id, self._contract(), requested["end"], requested["length"], requested["size"]],
            *["TRADES", 1, requested["format"], False, []],
        )
        self.wait("historicalDataEnd", lambda each: each[0] == request_id)
        return [bar for requested_id, bar in self.all("historicalData") if requested_id == request_id]

    def historical_bars(self) -> Any:
        bars = self._bars(6)
        assert len(bars) == 30
        assert bars[0].date == "1772461800"
        assert bars[0].low <= bars[0].open <= bars[0].high
        assert bars[0].volume > 0
        return bars[0].close

    def text_dates(self) -> Any:
        date = self._bars(7, format=1)[0].date
        assert date in ("20260302  09:30:00", "20260302 09:30:00 US/Eastern")
        return date

    def daily_bars(self) -> Any:
        dates = [bar.date for bar in self._bars(8, size="1 day", length="3 D")]
        assert dates == ["20260226", "20260227", "20260302"]
        return dates

    def schedule(self) -> Any:
        if self.app.serverVersion() < 165:
            return None
        self.app.reqHistoricalData(9, self._contract(), END, "2 D", "1 day", "SCHEDULE", 1, 1, False, [])
        schedule = self.wait("historicalSchedule")
        assert [each.refDate for each in schedule[4]] == ["20260227", "20260302"]
        return schedule[3]

    def live_bars(self) -> Any:
        self.app.reqHistoricalData(10, self._contract(), "", "1800 S", "1 min", "TRADES", 1, 2, True, [])
        _, bar = self.wait("historicalDataUpdate")
        assert bar.low <= bar.close <= bar.high
        self.app.cancelHistoricalData(10)
        self.wait("error", lambda each: each[0] == 10 and 162 in each)
        return bar.date

    def finished_live_bar(self) -> Any:
        """A minute that came live, all of it, is the minute of history."""
        self.app.reqHistoricalData(70, self._contract(), "", "1800 S", "1 min", "TRADES", 1, 2, True, [])
        _, first = self.wait("historicalDataUpdate", lambda each: each[0] == 70)
        _, begun = self.wait("historicalDataUpdate", lambda each: each[0] == 70 and each[1].date > first.date)
        self.wait("historicalDataUpdate", lambda each: each[0] == 70 and each[1].date > begun.date)
        updates = [bar for request_id, bar in self.all("historicalDataUpdate") if request_id == 70]
        live = [bar for bar in updates if bar.date == begun.date][-1]
        self.app.cancelHistoricalData(70)
        self.app.reqHistoricalData(71, self._contract(), "", "1800 S", "1 min", "TRADES", 1, 2, False, [])
        _, stored = self.wait("historicalData", lambda each: each[0] == 71 and each[1].date == live.date)
        for name in ("open", "high", "low", "close", "volume", "barCount"):
            assert getattr(live, name) == getattr(stored, name), name
        return live.date

    def _ticks(self, request_id: int, what: str, callback: str) -> Any:
        self.app.reqHistoricalTicks(request_id, self._contract(), "", END, 10, what, 1, False, [])
        _, ticks, done = self.wait(callback)
        assert len(ticks) >= 10
        assert done
        return ticks[-1].time

    def ticks_of_trades(self) -> Any:
        return self._ticks(11, "TRADES", "historicalTicksLast")

    def ticks_of_quotes(self) -> Any:
        return self._ticks(12, "BID_ASK", "historicalTicksBidAsk")

    def ticks_of_midpoints(self) -> Any:
        return self._ticks(13, "MIDPOINT", "historicalTicks")

    def histogram(self) -> Any:
        self.app.reqHistogramData(14, self._contract(), True, "3 days")
        return self.wait("histogramData")[1]

    def market_data(self) -> Any:
        self.app.reqMktData(15, self._contract(), "233", False, False, [])
        self.wait("tickReqParams")
        _, kind, price, *_ = self.wait("tickPrice", lambda each: each[1] == 1)
        self.wait("tickSize", lambda each: each[1] == 8)
        self.wait("tickString", lambda each: each[1] == 48)
        self.app.cancelMktData(15)
        return (kind, price)

    def snapshot(self) -> Any:
        self.app.reqMktData(16, self._contract(), "", True, False, [])
        return self.wait("tickSnapshotEnd")

    def delayed_data(self) -> Any:
        self.app.reqMarketDataType(3)
        self.app.reqMktData(60, self._contract("NOPERM"), "", False, False, [])
        self.wait("error", lambda each: each[0] == 60 and 10167 in each)
        self.wait("marketDataType", lambda each: tuple(each) == (60, 3))
        tick = self.wait("tickPrice", lambda each: each[:2] == (60, 66))
        self.app.cancelMktData(60)
        self.app.reqMarketDataType(1)
        return tick[2]

    def _tick_by_tick(self, request_id: int, kind: str, callback: str) -> Any:
        self.app.reqTickByTickData(request_id, self._contract(), kind, 0, False)
        tick = self.wait(callback)
        self.app.cancelTickByTickData(request_id)
        return str(tick)

    def each_last(self) -> Any:
        return self._tick_by_tick(17, "Last", "tickByTickAllLast")

    def each_trade(self) -> Any:
        return self._tick_by_tick(18, "AllLast", "tickByTickAllLast")

    def each_quote(self) -> Any:
        return self._tick_by_tick(19, "BidAsk", "tickByTickBidAsk")

    def each_midpoint(self) -> Any:
        return self._tick_by_tick(20, "MidPoint", "tickByTickMidPoint")

    def real_time_bars(self) -> Any:
        self.app.reqRealTimeBars(21, self._contract(), 5, "TRADES", True, [])
        first, second = self.wait("realtimeBar"), self.wait("realtimeBar")
        self.app.cancelRealTimeBars(21)
        assert first[1] % 5 == 0
        assert second[1] - first[1] == 5
        _, _, opened, high, low, close = first[:6]
        assert low <= min(opened, close) <= max(opened, close) <= high
        return first

    def market_depth(self) -> Any:
        self.app.reqMktDepth(22, self._contract(), 5, True, [])
        row = self.wait("updateMktDepthL2", lambda each: each[1] == 4)
        self.app.cancelMktDepth(22, True)
        return row

    def account_updates(self) -> Any:
        self.app.reqAccountUpdates(True, "SIM7")
        value = self.wait("updateAccountValue", lambda each: each[0] == "NetLiquidation")
        self.wait("accountDownloadEnd")
        return value

    def account_updates_multi(self) -> Any:
        self.app.reqAccountUpdatesMulti(23, "SIM7", "", True)
        self.wait("accountUpdateMultiEnd")
        return self.wait("accountUpdateMulti")

    def account_summary(self) -> Any:
        self.app.reqAccountSummary(24, "All", "NetLiquidation")
        self.wait("accountSummaryEnd")
        return self.wait("accountSummary")

    def place_order(self) -> Any:
        (self.order_id,) = self.wait("nextValidId")
        order = self._order("LMT", 10, 100.0)
        self.app.placeOrder(self.order_id, self._contract(), order)
        self.wait("orderStatus", lambda each: each[1] == "Submitted")
        order.lmtPrice = 101.0
        self.app.placeOrder(self.order_id, self._contract(), order)
        _, contract, made, state = self.wait("openOrder", lambda each: each[2].lmtPrice == 101.0)
        assert contract.conId == self.con_id
        assert (made.orderId, made.action, made.orderType) == (self.order_id, "BUY", "LMT")
        return state.status

    def open_orders(self) -> Any:
        self.app.came.clear()
        self.app.reqOpenOrders()
        order = self.wait("openOrder")
        self.wait("openOrderEnd")
        return order[2].totalQuantity

    def cancel_order(self) -> Any:
        self._cancel()
        self.wait("orderStatus", lambda each: each[1] == "Cancelled")
        return self.wait("error", lambda each: 202 in each)

    def _cancel(self) -> None:
        extra = []
        if "orderCancel" in self.app.cancelOrder.__code__.co_varnames:
            extra = [importlib.import_module("ibapi.order_cancel").OrderCancel()]
        self.app.cancelOrder(self.order_id, *extra)

    def refused_order(self) -> Any:
        self.order_id += 1
        self.app.placeOrder(self.order_id, self._contract(), self._order("MKT", 1_000_000))
        self.wait("error", lambda each: 201 in each)
        self.wait("openOrder", lambda each: each[0] == self.order_id and each[3].status == "Inactive")
        return self.wait("orderStatus", lambda each: each[:2] == (self.order_id, "Inactive"))

    def conditional_order(self) -> Any:
        self.order_id += 1
        order = self._order("MKT", 10)
        condition = importlib.import_module("ibapi.order_condition").PriceCondition(
            0, self.con_id, "SMART", True, 5000.0
        )
        condition.isConjunctionConnection = True
        order.conditions = [condition]
        self.app.placeOrder(self.order_id, self._contract(), order)
        self.wait("orderStatus", lambda each: each[:2] == (self.order_id, "PreSubmitted"))
        _, _, made, _ = self.wait("openOrder", lambda each: each[0] == self.order_id)
        (echoed,) = made.conditions
        assert (echoed.price, echoed.conId) == (5000.0, self.con_id)
        self._cancel()
        self.wait("orderStatus", lambda each: each[:2] == (self.order_id, "Cancelled"))
        return str(echoed)

    def fill(self) -> Any:
        self.order_id += 1
        self.app.placeOrder(self.order_id, self._contract(), self._order("MKT", 10))
        _, contract, execution = self.wait("execDetails")
        assert (contract.symbol, execution.side, execution.shares) == ("AAPL", "BOT", 10)
        self.wait("orderStatus", lambda each: each[1] == "Filled")
        reported = "commissionReport" if "commissionReport" in dir(self.app) else "commissionAndFeesReport"
        (report,) = self.wait(reported)
        assert report.execId == execution.execId
        return execution.price

    def what_if(self) -> Any:
        self.order_id += 1
        order = self._order("MKT", 100)
        order.whatIf = True
        self.app.placeOrder(self.order_id, self._contract(), order)
        *_, state = self.wait("openOrder", lambda each: each[0] == self.order_id)
        assert float(state.initMarginChange) > 0
        return state.initMarginAfter

    def bracket(self) -> Any:
        parent, take, stop = self.order_id + 1, self.order_id + 2, self.order_id + 3
        self.order_id += 3
        legs = [
            (parent, self._order("LMT", 10, 1000.0), 0),
            (take, self._order("LMT", 10, 2000.0, "SELL"), parent),
            (stop, self._order("STP", 10, 0.0, "SELL"), parent),
        ]
        legs[2][1].auxPrice = 1.0
        for order_id, order, parent_id in legs:
            order.parentId, order.transmit = parent_id, order_id == stop
            self.app.placeOrder(order_id, self._contract(), order)
        self.wait("orderStatus", lambda each: each[:2] == (parent, "Filled"))
        self.wait("orderStatus", lambda each: each[:2] == (take, "Submitted"))
        if "orderCancel" in self.app.reqGlobalCancel.__code__.co_varnames:
            self.app.reqGlobalCancel(importlib.import_module("ibapi.order_cancel").OrderCancel())
        else:
            self.app.reqGlobalCancel()
        return self.wait("orderStatus", lambda each: each[:2] == (stop, "Cancelled"))

    def executions(self) -> Any:
        self.app.came.clear()
        self.app.reqExecutions(25, importlib.import_module("ibapi.execution").ExecutionFilter())
        self.wait("execDetailsEnd")
        assert len(self.all("execDetails")) == 2
        return self.wait("execDetails")[2].time

    def completed_orders(self) -> Any:
        self.app.reqCompletedOrders(False)
        self.wait("completedOrdersEnd")
        return [each[2].status for each in self.all("completedOrder")]

    def positions(self) -> Any:
        self.app.reqPositions()
        account, contract, position, cost = self.wait("position")
        self.wait("positionEnd")
        assert (account, contract.symbol, position) == ("SIM7", "AAPL", 20)
        return cost

    def portfolio(self) -> Any:
        self.app.reqAccountUpdates(True, "SIM7")
        return self.wait("updatePortfolio", lambda each: each[1] == 20)[2:]

    def profit_and_loss(self) -> Any:
        self.app.reqPnL(26, "SIM7", "")
        return self.wait("pnl")

    def profit_and_loss_of_one(self) -> Any:
        self.app.reqPnLSingle(27, "SIM7", "", self.con_id)
        return self.wait("pnlSingle", lambda each: each[1] == 20)

    def user_info(self) -> Any:
        if self.app.serverVersion() < 167:
            return None
        self.app.reqUserInfo(28)
        return self.wait("userInfo")


def main(port: int) -> None:
    app = make_app()
    app.connect("127.0.0.1", port, 12)
    threading.Thread(target=app.run, daemon=True).start()
    made = Checks(app)
    made.app.reqIds(1)
    for name in [name for name in vars(Checks) if not name.startswith("_") and name not in ("wait", "all")]:
        try:
            saw = getattr(made, name)()
            ok: bool | None = None if saw is None else bool(saw)
        except Exception as problem:
            ok, saw = False, repr(problem)
        print(json.dumps({"request": name.replace("_", " "), "ok": ok, "saw": str(saw)[:200]}), flush=True)
    app.disconnect()


if __name__ == "__main__":
    main(int(sys.argv[1]))
