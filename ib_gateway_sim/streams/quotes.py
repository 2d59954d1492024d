"""Market data: the quotes of a contract, as ticks that are sent when they change."""

import math
import re
from collections.abc import AsyncIterator

from ib_gateway_sim.clock import SECOND_NS
from ib_gateway_sim.faults.notices import COMPETING
from ib_gateway_sim.market.contracts import Contract
from ib_gateway_sim.market.source import Quote
from ib_gateway_sim.reference.lookup import one_contract
from ib_gateway_sim.rules.bar_sizes import DAY_S
from ib_gateway_sim.rules.errors import Violation, invalid
from ib_gateway_sim.session.gateway import Client
from ib_gateway_sim.session.jobs import Stream
from ib_gateway_sim.streams.board import QuoteBoard
from ib_gateway_sim.streams.families import NO_LINE, QUOTES, no_line, permitted, shown_size
from ib_gateway_sim.streams.permissions import notice, refusal
from ib_gateway_sim.streams.pulses import pulses
from ib_gateway_sim.wire.request import Request

DELAY_S = 900  # delayed data lag by 15 minutes
_PAIR_S = 0.005
_MANY = 10_000


def req_market_data(client: Client, request: Request) -> None:
    problem: Violation | None = None
    contract = one_contract(client, request)
    generic = {tick for tick in request.text("genericTickList").replace(" ", "").split(",") if tick}
    if client.jobs.has(QUOTES, request.request_id):
        problem = Violation(102, "Duplicate ticker id")
    elif isinstance(contract, Violation):
        problem = contract
    elif generic and request.flag("snapshot"):
        problem = Violation(414, "Snapshot market data subscription is not applicable to generic ticks")
    elif not all(re.fullmatch("[0-9]+", tick.split(":")[0]) or tick.startswith("mdoff") for tick in generic):
        problem = invalid("Incorrect generic tick list of " + request.text("genericTickList"))
    elif client.gateway.faults.competing:
        problem = Violation(*COMPETING)
    elif no_line(client, contract):
        problem = NO_LINE
    else:
        problem = refusal(client, contract)
    if problem is not None:
        client.refuse(request.request_id, problem)
    elif not isinstance(contract, Violation):
        client.jobs.start(
            QUOTES, request.request_id, _quotes(client, request, contract, frozenset(generic)), Stream(contract)
        )


async def _quotes(client: Client, request: Request, contract: Contract, generic: frozenset[str]) -> None:
    gateway = client.gateway
    request_id = request.request_id
    delayed = not permitted(client, contract)
    requested_type = client.market_data_type
    warning = notice(client, contract)
    if warning is not None:
        client.refuse(request_id, warning)
    client.send(81, request_id, contract.min_tick, "9c0001" if contract.exchange == "SMART" else "", 3)
    quote = gateway.quote(contract, gateway.clock.now_s() - (DELAY_S if delayed else 0))
    data_type = _data_type(requested_type, quote, delayed)
    client.send(58, 1, request_id, data_type)
    sent = QuoteBoard(client, request_id, contract, delayed, generic, whole=warning is None or delayed)
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
    async for at_s in _sample_times(client, request_id, contract):
        if not gateway.faults.farm_ok("data", contract.sec_type, contract.currency):
            continue
        quote = gateway.quote(contract, at_s - (DELAY_S if delayed else 0))
        if _data_type(requested_type, quote, delayed) != data_type:
            data_type = _data_type(requested_type, quote, delayed)
            client.send(58, 1, request_id, data_type)
        sent.show(quote)


def _data_type(requested_type: int, quote: Quote, delayed: bool) -> int:
    """What really comes: 1 live, 2 frozen, 3 delayed, 4 delayed and frozen; frozen while the market is shut, if requested."""
    return (3 if delayed else 1) + (requested_type in (2, 4) and not quote.is_open)


def _sample_times(client: Client, request_id: int, contract: Contract) -> AsyncIterator[float]:
    """When quotes are sampled.

    IB's page of top market data: each 250 ms for stocks, futures and others, 100 ms for US options, 5 ms for currency
    pairs; by setting live_cadence, otherwise all alike.
    """
    gateway = client.gateway
    by_class = gateway.settings.live_cadence == "class"
    period_s = 0.1 if by_class and contract.sec_type == "OPT" else gateway.settings.quote_s
    times = pulses(client, (QUOTES, request_id), contract, period_s)
    return _pair_times(client, contract, times, period_s) if by_class and contract.sec_type == "CASH" else times


async def _pair_times(
    client: Client, contract: Contract, times: AsyncIterator[float], period_s: float
) -> AsyncIterator[float]:
    """These times, and between them the multiples of 5 ms at which something changes."""
    gateway = client.gateway
    async for at_s in times:
        yield at_s
        for tick in gateway.market.ticks(contract, "BID_ASK", at_s, at_s + period_s, _MANY):
            sample_s = math.ceil(tick.t_s / _PAIR_S) * _PAIR_S
            late_ns = gateway.faults.live.delay_ns(gateway.market.account, contract, int(at_s * SECOND_NS))
            await gateway.clock.sleep_until(int(sample_s * SECOND_NS) + late_ns)
            yield sample_s


def _statistics(client: Client, request_id: int, contract: Contract) -> None:
    """Generic tick 165: lows and highs of 13, 26 and 52 weeks, and the average volume of 90 days."""
    market, now_s = client.gateway.market, client.gateway.clock.now_s()
    what = next((kind for kind in ("TRADES", "AGGTRADES", "MIDPOINT") if kind in contract.kinds), "")
    start_s = int(now_s) - 364 * DAY_S
    days = market.bars(contract, "1d", what, rth=True, start_s=start_s, end_s=int(now_s), now_s=now_s) if what else []
    for weeks, low_kind, high_kind in ((13, 15, 16), (26, 17, 18), (52, 19, 20)):
        part = [bar for bar in days if bar.t > now_s - weeks * 7 * DAY_S]
        if part:
            client.send(1, 6, request_id, low_kind, min(bar.low for bar in part), 0.0, 0)
            client.send(1, 6, request_id, high_kind, max(bar.high for bar in part), 0.0, 0)
    volumes = [bar.volume for bar in days if bar.t > now_s - 90 * DAY_S and bar.volume >= 0]
    if volumes:
        client.send(2, 6, request_id, 21, shown_size(client, contract, round(sum(volumes) / len(volumes))))


def cancel_market_data(client: Client, request: Request) -> None:
    if not client.jobs.stop(QUOTES, request.request_id):
        client.error(request.request_id, 300, f"Can't find EId with tickerId:{request.request_id}")
