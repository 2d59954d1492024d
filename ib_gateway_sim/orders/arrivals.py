"""Messages about orders: read, kept while they wait, worked in the order in which they came, whoever sent them.

A message is worked after its latency and never before one that came earlier. A gateway works what it has read, whether or
not its client stays; no source says so, hence the setting `gone_clients`. While the line to IB is gone nothing is worked,
and nothing is answered.
"""

from collections.abc import Callable
from typing import NamedTuple

from ib_gateway_sim.clock import SECOND_NS
from ib_gateway_sim.session.gateway import Client, Gateway
from ib_gateway_sim.wire.request import Request

Work = Callable[[Client, Request], None]
GONE = "arrivals of a client that went"  # what the names of work begin with that reads on for one
_WORKER = "arrivals"


class Arrival(NamedTuple):
    """A message that waits; `due_ns`: market time before which it is not worked."""

    client: Client
    request: Request
    work: Work
    due_ns: int


def take(client: Client, request: Request, work: Work) -> None:
    gateway = client.gateway
    places = request.kind == "placeOrder" and not request.flag("whatIf")
    if places and gateway.faults.orders.take("eat"):
        gateway.note("eat_order", client.client_id, request.integer("orderId"))
        return
    queue(client, request, work)


def queue(client: Client, request: Request, work: Work) -> None:
    """Behind what was read before."""
    gateway = client.gateway
    if request.kind == "placeOrder" and not request.flag("whatIf"):
        gateway.orders.read(client.client_id, request.integer("orderId"))
    due_ns = gateway.clock.now_ns() + int(gateway.latency.of(request.kind) * SECOND_NS)
    gateway.arrivals.append(Arrival(client, request, work, due_ns))
    worker = gateway.background.get(_WORKER)
    if worker is None or worker.done():
        gateway.spawn(_WORKER, _work_all(gateway))


def forget(gateway: Gateway) -> None:
    """What was read and not worked is lost."""
    gateway.stop(_WORKER)  # and those of GONE
    gateway.arrivals.clear()


async def _work_all(gateway: Gateway) -> None:
    while gateway.arrivals:
        arrival: Arrival = gateway.arrivals[0]
        if arrival.due_ns > gateway.clock.now_ns():
            await gateway.clock.sleep_until(arrival.due_ns)
        if not _lost(gateway):
            if gateway.faults.orders.outage != "work":
                await gateway.faults.until_upstream()
            _work(gateway, arrival)
        gateway.arrivals.popleft()


def _work(gateway: Gateway, arrival: Arrival) -> None:
    if arrival.client.gone and gateway.settings.gone_clients == "drop":
        return
    present = gateway.clients.get(arrival.client.client_id, arrival.client)
    try:
        arrival.work(present, arrival.request)
    except Exception:
        present.failed(arrival.request.request_id)
    gateway.unsaved = True
    gateway.save()


def _lost(gateway: Gateway) -> bool:
    return not gateway.faults.upstream and gateway.faults.orders.outage == "lose"
