"""The requests of live data. Streams come from the market model at the clock's time, so they agree with history."""

from collections.abc import Callable

from ib_gateway_sim.session.gateway import Client
from ib_gateway_sim.streams.depth import cancel_market_depth, req_market_depth
from ib_gateway_sim.streams.option_values import calculate, nothing_to_cancel
from ib_gateway_sim.streams.quotes import cancel_market_data, req_market_data
from ib_gateway_sim.streams.real_time_bars import cancel_real_time_bars, req_real_time_bars
from ib_gateway_sim.streams.tick_by_tick import cancel_tick_by_tick, req_tick_by_tick
from ib_gateway_sim.wire.request import Request

HANDLERS: dict[str, Callable[[Client, Request], None]] = {
    "calculateImpliedVolatility": calculate,
    "calculateOptionPrice": calculate,
    "cancelCalculateImpliedVolatility": nothing_to_cancel,
    "cancelCalculateOptionPrice": nothing_to_cancel,
    "reqMktData": req_market_data,
    "cancelMktData": cancel_market_data,
    "reqTickByTickData": req_tick_by_tick,
    "cancelTickByTickData": cancel_tick_by_tick,
    "reqRealTimeBars": req_real_time_bars,
    "cancelRealTimeBars": cancel_real_time_bars,
    "reqMktDepth": req_market_depth,
    "cancelMktDepth": cancel_market_depth,
}
