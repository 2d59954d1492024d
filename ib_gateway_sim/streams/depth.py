"""Market depth: rows of the order book, changed once a second."""

import math

from ib_gateway_sim.faults.notices import COMPETING
from ib_gateway_sim.market.contracts import Contract
from ib_gateway_sim.market.source import Quote
from ib_gateway_sim.reference.lookup import one_contract
from ib_gateway_sim.rules.errors import Violation
from ib_gateway_sim.session.gateway import Client
from ib_gateway_sim.session.jobs import Stream
from ib_gateway_sim.streams.families import DEPTH, UNSUBSCRIBED, permitted, shown_size
from ib_gateway_sim.streams.pulses import pulses
from ib_gateway_sim.wire.request import Request

_VENUES = ("ARCA", "NSDQ", "BATS", "EDGX", "IEX")
_INSERT = 0
_UPDATE = 1
_DELETE = 2
Row = tuple[str, float, float]  # market maker, price, size


def req_market_depth(client: Client, request: Request) -> None:
    request_id = request.request_id
    contract = one_contract(client, request)
    problem: Violation | None = None
    most = max(3, 3 * client.gateway.settings.lines // 100)
    if client.jobs.has(DEPTH, request_id):
        problem = Violation(322, "Error processing request.-'bD' : cause - Duplicate ticker id")
    elif isinstance(contract, Violation):
        problem = contract
    elif contract.sec_type in ("IND", "OPT", "CFD", "CONTFUT"):
        problem = Violation(10092, "Deep market data is not supported for this combination of security type/exchange")
    elif not permitted(client, contract):
        problem = Violation(354, f"{UNSUBSCRIBED}")
    elif client.gateway.faults.competing:
        problem = Violation(*COMPETING)
    elif sum(each.jobs.count(DEPTH) for each in client.gateway.clients.values()) >= most:
        problem = Violation(309, f"Max number ({most}) of market depth requests has been reached")
    if problem is not None:
        client.refuse(request_id, problem)
    elif not isinstance(contract, Violation):
        client.jobs.start(DEPTH, request_id, _depth(client, request, contract), Stream(contract))


async def _depth(client: Client, request: Request, contract: Contract) -> None:
    gateway = client.gateway
    rows = min(max(request.integer("numRows"), 1), 20)
    smart = request.flag("isSmartDepth")
    sent: dict[int, list[Row]] = {0: [], 1: []}  # side (0 ask, 1 bid) -> rows

    def show(quote: Quote) -> None:
        for side in (0, 1):
            now = ladder(contract, quote, side, rows)
            for at, (operation, row) in _changes(sent[side], now):
                maker, price, size = row
                size = shown_size(client, contract, size)
                if smart:
                    client.send(13, 1, request.request_id, at, maker, operation, side, price, size, True)
                else:
                    client.send(12, 1, request.request_id, at, operation, side, price, size)
            sent[side] = now

    show(gateway.quote(contract, gateway.clock.now_s()))
    async for at_s in pulses(client, (DEPTH, request.request_id), contract, 1.0):
        if gateway.faults.farm_ok("data", contract.sec_type, contract.currency):
            show(gateway.quote(contract, at_s))


def ladder(contract: Contract, quote: Quote, side: int, rows: int) -> list[Row]:
    """The book behind the quote: each row one tick worse and deeper; its first row is the quote."""
    price, size = (quote.ask, quote.ask_size) if side == 0 else (quote.bid, quote.bid_size)
    if size <= 0:
        return []
    step = contract.min_tick if side == 0 else -contract.min_tick
    digits = max(0, -math.floor(math.log10(contract.min_tick))) + 2
    worse = [
        (_VENUES[at % len(_VENUES)], round(price + at * step, digits), size * (1 + at * 3 % 5)) for at in range(rows)
    ]
    return [row for row in worse if price < 0 or row[1] > 0]


def _changes(old: list[Row], new: list[Row]) -> list[tuple[int, tuple[int, Row]]]:
    changes = [
        (at, (_INSERT if at >= len(old) else _UPDATE, row))
        for at, row in enumerate(new)
        if at >= len(old) or old[at] != row
    ]
    gone = [(at, (_DELETE, (old[at][0], 0.0, 0.0))) for at in reversed(range(len(new), len(old)))]
    return changes + gone


def cancel_market_depth(client: Client, request: Request) -> None:
    if not client.jobs.stop(DEPTH, request.request_id):
        client.error(
            request.request_id, 310, f"Can't find the subscribed market depth with tickerId:{request.request_id}"
        )
