"""Requests of every kind with right, odd and wrong values: the simulator answers or refuses, and never fails itself."""

import asyncio

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ib_gateway_sim.wire import layouts
from ib_gateway_sim.wire.layouts import CONTRACT, REQUESTS
from tests.support.sim_client import RawClient, gateway

CONTRACTS = [
    {"symbol": "AAPL", "secType": "STK", "exchange": "SMART", "currency": "USD"},
    {"symbol": "EUR", "secType": "CASH", "exchange": "IDEALPRO", "currency": "USD"},
    {"symbol": "ES", "secType": "FUT", "exchange": "CME", "lastTradeDateOrContractMonth": "202603"},
    {"symbol": "ES", "secType": "CONTFUT", "exchange": "CME"},
    {"symbol": "SPX", "secType": "IND", "exchange": "CBOE"},
    {"symbol": "BTC", "secType": "CRYPTO", "exchange": "PAXOS", "currency": "USD"},
    {"symbol": "AAPL", "secType": "BAG", "exchange": "SMART", "currency": "USD"},
]
# Values that get a request past the first check, by the name of their field.
LIKELY = {
    "pattern": ["AA", "\x07é", ""],
    "barSize": ["5 secs", "1 min", "1 hour", "1 day", "1W", "1M", "1 sec"],
    "duration": ["60 S", "1 D", "3 D", "1 W", "2 M", "68 Y", "9999999 D"],
    "whatToShow": ["TRADES", "MIDPOINT", "BID_ASK", "AGGTRADES", "SCHEDULE", "ADJUSTED_LAST", "FEE_RATE"],
    "endDateTime": ["", "20260302 15:00:00 UTC", "20260302-15:00:00", "18000101 00:00:00 UTC", "99991231 23:59:59 UTC"],
    "startDateTime": ["", "20260302-15:00:00", "99991231 23:59:59 Asia/Tokyo"],
    "formatDate": ["1", "2", "3", "-1"],
    "tickType": ["Last", "AllLast", "BidAsk", "MidPoint", "x"],
    "numberOfTicks": ["1", "1000", "-5"],
    "numRows": ["1", "5", "-1", "1000000"],
    "period": ["3 days", "999 months", "0 days", "week"],
    "orderType": ["MKT", "LMT", "STP", "STP LMT", "TRAIL"],
    "action": ["BUY", "SELL"],
    "totalQuantity": ["1", "1000", "0", "-1", "1e300", "0.001"],
    "lmtPrice": ["", "100", "-1", "1e300", "1e-300"],
    "auxPrice": ["", "0", "0.01", "1e300"],
    "trailingPercent": ["", "1", "-50", "1e300"],
    "trailStopPrice": ["", "0", "1e300"],
    "tif": ["DAY", "GTC", "IOC", "FOK"],
    "transmit": ["1", "0"],
    "account": ["", "SIM7", "DU1"],
    "tags": ["NetLiquidation", "$LEDGER:ALL", ""],
    "genericTickList": ["", "233", "100,x", "mdoff"],
    "time": ["", "20260302 10:00:00", "20260302-10:00:00", "rubbish"],
    "marketRuleId": ["26", "-1"],
}
OFTEN = [1, 3, 10, 20, 50, 87, 88, 96, 97] * 8  # requests with the most in them
ODD = ["", "0", "1", "-1", "2147483647", "x", "1.7976931348623157E308", "NaN", "a;b=c"]


@st.composite
def requests(draw):
    """The fields of one request; ids are few, so that they collide."""
    message_id = draw(st.sampled_from(sorted(set(REQUESTS) - {71}) + OFTEN))
    _, places = layouts.layout_of(message_id)
    fields = [str(message_id)]
    contract = draw(st.sampled_from(CONTRACTS)) if draw(st.integers(0, 9)) else None
    described = CONTRACT.replace(":i", "").replace(":f", "").split()
    for place in places:
        if place.name in ("reqId", "orderId", "parentId"):
            fields.append(draw(st.sampled_from(["1", "2", "3"])))
        elif contract is not None and place.name in described:
            fields.append(contract.get(place.name, ""))
        elif place.name in LIKELY and draw(st.integers(0, 19)):
            fields.append(draw(st.sampled_from(LIKELY[place.name])))
        elif place.kind == "i":
            fields.append(draw(st.sampled_from(["0", "0", "1", "-1"])))
        elif place.name == "strike":
            fields.append(draw(st.sampled_from(["0", "300"])))
        else:
            fields.append(draw(st.sampled_from([*[""] * 20, *ODD])))
    return fields


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(requests(), min_size=1, max_size=30), st.sampled_from([157, 176, 178]))
def test_no_request_breaks_the_simulator(several, version):
    async def work():
        async with gateway(lines=10_000) as (sim, control):
            client = await RawClient.start(sim.port, versions=f"v157..{version}")
            for fields in several:
                client.send(*fields)
            async with asyncio.timeout(30):
                await client.settle()
                await control.run("advance 3")
                await client.settle()
            failed = [entry for entry in sim.received if "simulator failed" in str(entry["fields"].get("text"))]
            assert not failed, several

    asyncio.run(work())
