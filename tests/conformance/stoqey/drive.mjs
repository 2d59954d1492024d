// Drives the simulator with @stoqey/ib: `node drive.mjs <folder of its node_modules> <port>`; a JSON line per request.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { resolve } from "node:path";

const { IBApi, PriceCondition } = createRequire(resolve(process.argv[2]) + "/")("@stoqey/ib");
const END = "20260302 15:00:00 UTC";
const STOCK = { symbol: "AAPL", secType: "STK", exchange: "SMART", currency: "USD" };
const ib = new IBApi({ host: "127.0.0.1", port: Number(process.argv[3]), clientId: 13 });

let came = []; // [event, arguments]
let changed = () => {};
ib.on("all", (event, args) => {
  came.push([event, args]);
  changed();
});

// The arguments of the first event of that name which is wanted; it is used up.
async function wait(name, wanted = () => true) {
  const end = Date.now() + 10_000;
  for (;;) {
    const at = came.findIndex(([event, args]) => event === name && wanted(...args));
    if (at >= 0) return came.splice(at, 1)[0][1];
    const left = end - Date.now();
    const last = came.slice(-4).map(([event, args]) => `${event} ${String(args)}`.slice(0, 60));
    if (left <= 0) throw new Error(`${name} did not come; last were ${last.join(" | ")}`);
    await new Promise((go) => {
      const timer = setTimeout(go, left);
      changed = () => (clearTimeout(timer), go());
    });
  }
}

const all = (name) => came.filter(([event]) => event === name).map(([, args]) => args);
let conId, orderId;

async function bars(id, { end = END, length = "1800 S", size = "1 min", format = 2 } = {}) {
  ib.reqHistoricalData(id, STOCK, end, length, size, "TRADES", 1, format, false);
  await wait("historicalData", (request, date) => request === id && date.startsWith("finished"));
  return all("historicalData").filter(([request]) => request === id);
}

async function ticks(id, what, event) {
  ib.reqHistoricalTicks(id, STOCK, "", END, 10, what, 1, false);
  const [, found] = await wait(event);
  assert(found.length >= 10);
  return found.at(-1);
}

async function tickByTick(id, kind, event) {
  ib.reqTickByTickData(id, STOCK, kind, 0, false);
  const tick = await wait(event);
  ib.cancelTickByTickData(id);
  return tick;
}

const order = (orderType, totalQuantity, other = {}) => ({
  action: "BUY", orderType, totalQuantity, tif: "DAY", transmit: true, account: "SIM7", ...other,
});

// One per row of the table, in the order in which they have to run.
const CHECKS = {
  async current_time() {
    ib.reqCurrentTime();
    return wait("currentTime", (at) => at > 1_772_000_000);
  },
  async contract_details() {
    ib.reqContractDetails(1, STOCK);
    const [, details] = await wait("contractDetails");
    await wait("contractDetailsEnd");
    assert.equal(details.timeZoneId, "US/Eastern");
    assert.equal(details.minTick, 0.01);
    assert(details.liquidHours.startsWith("20260302:0930-20260302:1600;"));
    conId = details.contract.conId;
    return details.longName;
  },
  async unknown_contract() {
    ib.reqContractDetails(2, { ...STOCK, symbol: "NOSUCH" });
    return wait("error", (_, code) => code === 200);
  },
  async matching_symbols() {
    ib.reqMatchingSymbols(3, "AAPL");
    const [, found] = await wait("symbolSamples");
    assert.equal(found[0].contract.symbol, "AAPL");
    return found;
  },
  async option_chain() {
    ib.reqSecDefOptParams(4, "AAPL", "", "STK", conId);
    const chain = await wait("securityDefinitionOptionParameter");
    await wait("securityDefinitionOptionParameterEnd");
    return chain;
  },
  async market_rule() {
    ib.reqMarketRule(26);
    return wait("marketRule");
  },
  async depth_exchanges() {
    ib.reqMktDepthExchanges();
    return wait("mktDepthExchanges");
  },
  async head_timestamp() {
    ib.reqHeadTimestamp(5, STOCK, "TRADES", true, 1);
    const [, at] = await wait("headTimestamp");
    assert.equal(at, "20040102-14:30:00");
    return at;
  },
  async historical_bars() {
    const found = await bars(6);
    assert.equal(found.length, 30);
    const [, date, open, high, low, , volume] = found[0];
    assert.equal(String(date), "1772461800");
    assert(low <= open && open <= high && volume > 0);
    return date;
  },
  async text_dates() {
    const [[, date]] = await bars(7, { format: 1 });
    assert.equal(date, "20260302 09:30:00 US/Eastern");
    return date;
  },
  async daily_bars() {
    const dates = (await bars(8, { size: "1 day", length: "3 D" })).map(([, date]) => date);
    assert.deepEqual(dates, ["20260226", "20260227", "20260302"]);
    return dates;
  },
  async schedule() {
    ib.reqHistoricalData(9, STOCK, END, "2 D", "1 day", "SCHEDULE", 1, 1, false);
    return wait("historicalSchedule");
  },
  async live_bars() {
    ib.reqHistoricalData(10, STOCK, "", "1800 S", "1 min", "TRADES", 1, 2, true);
    const update = await wait("historicalDataUpdate");
    ib.cancelHistoricalData(10);
    await wait("error", (_, code) => code === 162);
    return update;
  },
  async finished_live_bar() {
    // A minute that came live, all of it, is the minute of history.
    ib.reqHistoricalData(70, STOCK, "", "1800 S", "1 min", "TRADES", 1, 2, true);
    const [, first] = await wait("historicalDataUpdate", (id) => id === 70);
    const [, begun] = await wait("historicalDataUpdate", (id, date) => id === 70 && date > first);
    await wait("historicalDataUpdate", (id, date) => id === 70 && date > begun);
    const live = all("historicalDataUpdate").filter(([id, date]) => id === 70 && date === begun).at(-1);
    ib.cancelHistoricalData(70);
    const stored = (await bars(71, { end: "" })).find(([, date]) => String(date) === String(begun));
    assert.deepEqual(live.slice(2, 7), stored.slice(2, 7)); // open, high, low, close, volume
    return begun;
  },
  ticks_of_trades: () => ticks(11, "TRADES", "historicalTicksLast"),
  ticks_of_quotes: () => ticks(12, "BID_ASK", "historicalTicksBidAsk"),
  ticks_of_midpoints: () => ticks(13, "MIDPOINT", "historicalTicks"),
  async histogram() {
    ib.reqHistogramData(14, STOCK, true, 3, "DAY");
    return wait("histogramData", (_, found) => found.length > 0);
  },
  async market_data() {
    ib.reqMktData(15, STOCK, "233", false, false);
    await wait("tickReqParams");
    const quote = await wait("tickPrice", (_, kind) => kind === 1);
    await wait("tickSize", (_, kind) => kind === 8);
    await wait("tickString", (_, kind) => kind === 48);
    ib.cancelMktData(15);
    return quote;
  },
  async snapshot() {
    ib.reqMktData(16, STOCK, "", true, false);
    return wait("tickSnapshotEnd");
  },
  async delayed_data() {
    ib.reqMarketDataType(3);
    ib.reqMktData(60, { ...STOCK, symbol: "NOPERM" }, "", false, false);
    await wait("marketDataType", (id, type) => id === 60 && type === 3);
    const [, , price] = await wait("tickPrice", (id, kind) => id === 60 && kind === 66);
    ib.cancelMktData(60);
    ib.reqMarketDataType(1);
    return price;
  },
  each_last: () => tickByTick(17, "Last", "tickByTickAllLast"),
  each_trade: () => tickByTick(18, "AllLast", "tickByTickAllLast"),
  each_quote: () => tickByTick(19, "BidAsk", "tickByTickBidAsk"),
  each_midpoint: () => tickByTick(20, "MidPoint", "tickByTickMidPoint"),
  async real_time_bars() {
    ib.reqRealTimeBars(21, STOCK, 5, "TRADES", true);
    const [, begun, opened, high, low, close] = await wait("realtimeBar");
    const [, next] = await wait("realtimeBar");
    ib.cancelRealTimeBars(21);
    assert.equal(begun % 5, 0);
    assert.equal(next - begun, 5);
    assert(low <= Math.min(opened, close) && Math.max(opened, close) <= high);
    return begun;
  },
  async market_depth() {
    ib.reqMktDepth(22, STOCK, 5, true);
    const row = await wait("updateMktDepthL2", (_, position) => position === 4);
    ib.cancelMktDepth(22, true);
    return row;
  },
  async account_updates() {
    ib.reqAccountUpdates(true, "SIM7");
    const value = await wait("updateAccountValue", (key) => key === "NetLiquidation");
    await wait("accountDownloadEnd");
    return value;
  },
  async account_updates_multi() {
    ib.reqAccountUpdatesMulti(23, "SIM7", "", true);
    await wait("accountUpdateMultiEnd");
    return wait("accountUpdateMulti");
  },
  async account_summary() {
    ib.reqAccountSummary(24, "All", "NetLiquidation");
    await wait("accountSummaryEnd");
    return wait("accountSummary");
  },
  async place_order() {
    ib.placeOrder(orderId, STOCK, order("LMT", 10, { lmtPrice: 100 }));
    await wait("orderStatus", (_, status) => status === "Submitted");
    ib.placeOrder(orderId, STOCK, order("LMT", 10, { lmtPrice: 101 }));
    const [, contract, made] = await wait("openOrder", (id, _, { lmtPrice }) => id === orderId && lmtPrice === 101);
    assert.equal(contract.conId, conId);
    return made.orderType;
  },
  async open_orders() {
    came = [];
    ib.reqOpenOrders();
    const opened = await wait("openOrder");
    await wait("openOrderEnd");
    return opened;
  },
  async cancel_order() {
    ib.cancelOrder(orderId);
    await wait("orderStatus", (_, status) => status === "Cancelled");
    return wait("error", (_, code) => code === 202);
  },
  async refused_order() {
    orderId += 1;
    ib.placeOrder(orderId, STOCK, order("MKT", 1_000_000));
    await wait("error", (_, code) => code === 201);
    await wait("openOrder", (id, _, __, state) => id === orderId && state.status === "Inactive");
    return wait("orderStatus", (id, status) => id === orderId && status === "Inactive");
  },
  async conditional_order() {
    orderId += 1;
    const conditions = [new PriceCondition(5000, 0, conId, "SMART", true, "a")];
    ib.placeOrder(orderId, STOCK, order("MKT", 10, { conditions }));
    await wait("orderStatus", (id, status) => id === orderId && status === "PreSubmitted");
    const [, , made] = await wait("openOrder", (id) => id === orderId);
    assert.equal(Number(made.conditions[0].price), 5000);
    ib.cancelOrder(orderId);
    await wait("orderStatus", (id, status) => id === orderId && status === "Cancelled");
    return made.conditions[0].conId;
  },
  async fill() {
    orderId += 1;
    ib.placeOrder(orderId, STOCK, order("MKT", 10));
    const [, contract, execution] = await wait("execDetails");
    assert.equal(contract.symbol, "AAPL");
    assert.equal(execution.shares, 10);
    await wait("orderStatus", (_, status) => status === "Filled");
    const [report] = await wait("commissionReport");
    assert.equal(report.execId, execution.execId);
    return execution.price;
  },
  async what_if() {
    orderId += 1;
    ib.placeOrder(orderId, STOCK, order("MKT", 100, { whatIf: true }));
    const [, , , state] = await wait("openOrder", (id) => id === orderId);
    assert(Number(state.initMarginChange) > 0);
    return state.initMarginAfter;
  },
  async bracket() {
    const [parent, take, stop] = [orderId + 1, orderId + 2, orderId + 3];
    const sell = { action: "SELL", parentId: parent };
    ib.placeOrder(parent, STOCK, order("LMT", 10, { lmtPrice: 1000, transmit: false }));
    ib.placeOrder(take, STOCK, order("LMT", 10, { ...sell, lmtPrice: 2000, transmit: false }));
    ib.placeOrder(stop, STOCK, order("STP", 10, { ...sell, auxPrice: 1 }));
    await wait("orderStatus", (id, status) => id === parent && status === "Filled");
    await wait("orderStatus", (id, status) => id === take && status === "Submitted");
    ib.reqGlobalCancel();
    return wait("orderStatus", (id, status) => id === stop && status === "Cancelled");
  },
  async executions() {
    came = [];
    ib.reqExecutions(25, {});
    await wait("execDetailsEnd");
    assert.equal(all("execDetails").length, 2);
    return all("execDetails")[0][2].time;
  },
  async completed_orders() {
    ib.reqCompletedOrders(false);
    await wait("completedOrdersEnd");
    return all("completedOrder").length;
  },
  async positions() {
    ib.reqPositions();
    const [account, contract, position, cost] = await wait("position");
    await wait("positionEnd");
    assert.deepEqual([account, contract.symbol, position], ["SIM7", "AAPL", 20]);
    return cost;
  },
  async portfolio() {
    ib.reqAccountUpdates(true, "SIM7");
    return wait("updatePortfolio", (_, position) => position === 20);
  },
  async profit_and_loss() {
    ib.reqPnL(26, "SIM7", "");
    return wait("pnl");
  },
  async profit_and_loss_of_one() {
    ib.reqPnLSingle(27, "SIM7", "", conId);
    return wait("pnlSingle", (_, position) => position === 20);
  },
  async user_info() {
    ib.reqUserInfo(28);
    return wait("userInfo");
  },
};

ib.connect();
[orderId] = await wait("nextValidId");
for (const [name, check] of Object.entries(CHECKS)) {
  let ok = true;
  let saw;
  try {
    saw = await check();
    ok = Boolean(saw);
  } catch (problem) {
    [ok, saw] = [false, problem.message];
  }
  console.log(JSON.stringify({ request: name.replaceAll("_", " "), ok, saw: String(saw).slice(0, 200) }));
}
ib.disconnect();
