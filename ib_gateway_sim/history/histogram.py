"""Histograms: volume by price."""

import re

from ib_gateway_sim.history.families import DAY_S, HISTOGRAM
from ib_gateway_sim.market.contracts import Contract
from ib_gateway_sim.reference.lookup import one_contract
from ib_gateway_sim.rules.errors import Violation, invalid
from ib_gateway_sim.rules.kinds import no_data
from ib_gateway_sim.session.gateway import Client
from ib_gateway_sim.streams.families import offers
from ib_gateway_sim.wire.request import Request


def req_histogram(client: Client, request: Request) -> None:
    request_id = request.request_id
    contract = one_contract(client, request)
    match = re.fullmatch(r"([0-9]{1,3}) (day|week|month)s?", request.text("period"))
    if isinstance(contract, Violation):
        client.refuse(request_id, contract)
    elif match is None:
        client.refuse(request_id, invalid("Histogram period is invalid; it is <number> days, weeks or months"))
    elif not offers(contract, "TRADES"):
        client.refuse(request_id, no_data(contract.local_symbol, contract.exchange, "TRADES"))
    else:
        days = int(match[1]) * {"day": 1, "week": 7, "month": 30}[match[2]]
        client.jobs.start(HISTOGRAM, request_id, _histogram(client, request, contract, min(days, 366)))


async def _histogram(client: Client, request: Request, contract: Contract, days: int) -> None:
    """Volume by price, from bars of half an hour."""
    gateway = client.gateway
    await gateway.wait(request.kind)
    now_s = gateway.clock.now_s()
    what = "TRADES" if "TRADES" in contract.kinds else "AGGTRADES"
    start_s = int(now_s) - days * DAY_S
    rth = request.flag("useRTH")
    bars = gateway.market.bars(contract, "30m", what, rth=rth, start_s=start_s, end_s=int(now_s), now_s=now_s)
    sizes: dict[float, float] = {}
    for bar in bars:
        sizes[bar.close] = sizes.get(bar.close, 0) + bar.volume
    pairs = [value for pair in sorted(sizes.items()) for value in pair]
    client.send(89, request.request_id, len(sizes), *pairs)


def cancel_histogram(client: Client, request: Request) -> None:
    client.jobs.stop(HISTOGRAM, request.request_id)
