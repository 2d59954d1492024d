"""The codec reads what real clients sent, whole, byte by byte, and with rubbish behind."""

from pathlib import Path

import pytest

from ib_gateway_sim.wire.decoding import read_request
from ib_gateway_sim.wire.framing import FrameReader, Greeting, GreetingReader, Refused
from ib_gateway_sim.wire.request import Request

DATA = Path(__file__).resolve().parents[2] / "data" / "tws"
OFFERS = {
    "ib_insync-0.9.86": (157, 176),
    "ib_async-2.1.0": (157, 178),
    "ibapi-9.81.1": (100, 157),
    "nautilus-ibapi-10.46.1": (100, 225),
    "stoqey-ib-1.6.10": (100, 193),
}
# Of the requests in REQUESTS, those that every client sends in its conformance run.
REQUESTED = {
    "startApi",
    "reqCurrentTime",
    "reqContractDetails",
    "reqMatchingSymbols",
    "reqSecDefOptParams",
    "reqMarketRule",
    "reqHeadTimestamp",
    "reqHistoricalData",
    "cancelHistoricalData",
    "reqHistoricalTicks",
    "reqHistogramData",
    "reqMktData",
    "cancelMktData",
    "reqTickByTickData",
    "cancelTickByTickData",
    "reqRealTimeBars",
    "cancelRealTimeBars",
    "reqMktDepth",
    "cancelMktDepth",
    "reqAccountUpdates",
    "reqAccountUpdatesMulti",
    "reqAccountSummary",
    "reqPositions",
    "reqPnL",
    "reqPnLSingle",
    "placeOrder",
    "cancelOrder",
    "reqGlobalCancel",
    "reqOpenOrders",
    "reqCompletedOrders",
    "reqExecutions",
}


def read(data: bytes, piece: int) -> tuple[Greeting, list[Request]]:
    greeting, version, requests = None, 0, []
    opening, frames = GreetingReader(), FrameReader()
    for at in range(0, len(data), piece):
        part = data[at : at + piece]
        if greeting is None:
            done = opening.feed(part)
            if done is None:
                continue
            greeting, part = done
            version = greeting.version() or 0
        requests += [read_request(payload, version) for payload in frames.feed(part)]
    assert greeting is not None
    assert frames.waiting == 0
    return greeting, requests


@pytest.fixture(params=OFFERS)
def recorded(request):
    return request.param, (DATA / f"{request.param}.bin").read_bytes()


def test_every_message_is_read(recorded):
    client, data = recorded
    greeting, requests = read(data, len(data))
    assert (greeting.lowest, greeting.highest) == OFFERS[client]
    assert {request.kind for request in requests} >= REQUESTED


def test_the_fields_are_where_they_are_looked_for(recorded):
    _, data = recorded
    _, requests = read(data, len(data))
    bars = next(each for each in requests if each.kind == "reqHistoricalData")
    assert (bars.text("barSize"), bars.text("duration"), bars.text("whatToShow")) == ("1 min", "1800 S", "TRADES")
    assert (bars.integer("formatDate"), bars.flag("useRTH"), bars.flag("keepUpToDate")) == (2, True, False)
    ticks = next(each for each in requests if each.kind == "reqHistoricalTicks")
    assert (ticks.text("startDateTime"), ticks.integer("numberOfTicks")) == ("", 10)
    assert ticks.text("whatToShow") == "TRADES"
    orders = [each for each in requests if each.kind == "placeOrder"]
    assert [each.number("lmtPrice") for each in orders[:2]] == [100, 101]
    assert [each.flag("whatIf") for each in orders] == [False, False, False, True, False, False, False]
    assert [each.flag("transmit") for each in orders[-3:]] == [False, False, True]
    assert orders[-1].integer("parentId") == orders[-3].integer("orderId")
    assert (orders[-1].text("orderType"), orders[-1].number("auxPrice")) == ("STP", 1)


def test_pieces_of_a_byte_are_as_good_as_the_whole(recorded):
    _, data = recorded
    assert read(data, 1) == read(data, len(data))


def test_rubbish_behind_is_refused_and_what_came_before_is_not_lost(recorded):
    _, data = recorded
    _, requests = read(data, len(data))
    opening, frames = GreetingReader(), FrameReader()
    done = opening.feed(data)
    assert done is not None
    assert len(frames.feed(done[1])) == len(requests)
    with pytest.raises(Refused):
        frames.feed(b"\xff" * 8)
