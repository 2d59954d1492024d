"""The requests of historical data. A request gets one answer or one error."""

from collections.abc import Callable

from ib_gateway_sim.history.bars import cancel_historical_data, req_historical_data
from ib_gateway_sim.history.head import cancel_head_timestamp, req_head_timestamp
from ib_gateway_sim.history.histogram import cancel_histogram, req_histogram
from ib_gateway_sim.history.ticks import req_historical_ticks
from ib_gateway_sim.session.gateway import Client
from ib_gateway_sim.wire.request import Request

HANDLERS: dict[str, Callable[[Client, Request], None]] = {
    "reqHistoricalData": req_historical_data,
    "cancelHistoricalData": cancel_historical_data,
    "reqHeadTimestamp": req_head_timestamp,
    "cancelHeadTimestamp": cancel_head_timestamp,
    "reqHistoricalTicks": req_historical_ticks,
    "reqHistogramData": req_histogram,
    "cancelHistogramData": cancel_histogram,
}
