"""One message of a client: read, logged, met by the faults that are set, handed to the handler of its kind."""

import asyncio
from functools import partial

from ib_gateway_sim.faults.notices import COMPETING, LOST
from ib_gateway_sim.history.families import FAMILY as HISTORY
from ib_gateway_sim.history.families import HEADS, HISTOGRAM, LIVE, TICKS
from ib_gateway_sim.market.contracts import Contract
from ib_gateway_sim.orders import arrivals
from ib_gateway_sim.reference.lookup import one_contract
from ib_gateway_sim.server.handlers import HANDLERS
from ib_gateway_sim.session.gateway import Client
from ib_gateway_sim.session.jobs import STREAMS, Stream
from ib_gateway_sim.streams.families import BARS, BY_TICK, DEPTH, QUOTES
from ib_gateway_sim.wire.decoding import read_request
from ib_gateway_sim.wire.request import Malformed, Request

_NO_ID = -1
_ORDERS = ("placeOrder", "cancelOrder", "reqGlobalCancel")
_FAMILIES = {
    "reqHistoricalData": (HISTORY, LIVE),
    "reqHeadTimestamp": (HEADS,),
    "reqHistoricalTicks": (TICKS,),
    "reqHistogramData": (HISTOGRAM,),
    "reqMktData": (QUOTES,),
    "reqRealTimeBars": (BARS,),
    "reqTickByTickData": (BY_TICK,),
    "reqMktDepth": (DEPTH,),
}
"""Kind of request -> the families of the client's open work in which its id counts; the first is that of the request."""


def receive(client: Client, payload: bytes) -> bool:
    """Works one message. True: it was startApi, and the client has signed in by it."""
    gateway = client.gateway
    if client.outbox.muted:
        return False
    try:
        request = read_request(payload, client.version)
    except Malformed as problem:
        gateway.log("malformed", client, {"reason": problem.reason})
        client.error(problem.request_id, 320, f"Error reading request. {problem.reason}")
        return False
    gateway.log(request.kind, client, dict(request.values))
    if request.kind == "startApi":
        return _sign_in(client, request.integer("clientId"))
    if not client.started:
        client.close()
    elif not _is_open(client, request) and gateway.faults.take_silent(request.kind):
        _leave_open(client, request)
    else:
        _handle(client, request)
    return False


def _is_open(client: Client, request: Request) -> bool:
    """Whether the id of a request is in use by another of its family, so that it is refused as ever."""
    if request.request_id == _NO_ID:
        return False
    families = _FAMILIES.get(request.kind, (request.kind,))
    return any(client.jobs.has(family, request.request_id) for family in families)


def _leave_open(client: Client, request: Request) -> None:
    """A request that is never answered: it holds its id, its slot or its market data line, and can be cancelled. One without
    an id, such as that for the time, holds nothing."""
    if request.request_id == _NO_ID:
        return
    family = _FAMILIES.get(request.kind, (request.kind,))[0]
    contract = one_contract(client, request) if family in STREAMS else None
    stream = Stream(contract) if isinstance(contract, Contract) else None
    if family == HEADS:
        client.open_heads.add(request.request_id)
    client.jobs.start(family, request.request_id, _never(), stream)


def receive_order(client: Client, payload: bytes) -> None:
    """Works a message of a client that has gone, if it is about an order. No message names mistakes in it."""
    try:
        request = read_request(payload, client.version)
    except Malformed:
        return
    if request.kind in _ORDERS:
        client.gateway.log(request.kind, client, dict(request.values))
        _handle(client, request)


def _handle(client: Client, request: Request) -> None:
    rejection = client.gateway.faults.take_reject(request.kind)
    if rejection is not None and request.kind in _ORDERS:
        arrivals.queue(client, request, partial(_reject_order, rejection))
        return
    if rejection is not None:
        client.error(request.request_id, *rejection)
        return
    handler = HANDLERS.get(request.kind)
    if handler is None:
        client.error(request.request_id, 320, f"Error reading request. {request.kind} is not simulated")
        return
    try:
        handler(client, request)
    except Exception:
        client.failed(request.request_id)


def _sign_in(client: Client, client_id: int) -> bool:
    gateway = client.gateway
    if client.started:
        client.error(-1, 501, "Already connected.")
        return False
    held = gateway.held_ids.get(client_id, 0) > gateway.clock.now_ns()
    if client_id in gateway.clients or held:
        client.error(-1, 326, "Unable to connect as the client id is already in use. Retry with a unique client id.")
        client.close()
        return False
    client.client_id = client.outbox.client_id = client_id
    client.started = True
    gateway.clients[client_id] = client
    client.send(15, 1, ",".join(gateway.portfolios))
    client.send(9, 1, gateway.orders.next_id(client_id))
    for farm in gateway.faults.farms.values():
        client.error(-1, *farm.notice())
    if gateway.faults.competing:
        client.error(-1, *COMPETING)
    if not gateway.faults.upstream:
        client.error(-1, *LOST)
    return True


def _reject_order(rejection: tuple[int, str], client: Client, request: Request) -> None:
    """In its turn, as other messages about orders."""
    if request.kind == "placeOrder":  # refused orders use their ids up
        client.gateway.orders.know(client.client_id, request.integer("orderId"))
    client.error(request.request_id, *rejection)


async def _never() -> None:
    await asyncio.Event().wait()
