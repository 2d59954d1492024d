"""Messages about orders: read, kept while they wait, worked in the order in which they came.

A gateway works what it has read, whether or not its client stays; no source says so, hence the setting `gone_clients`.
While the line to IB is gone nothing is worked, and nothing is answered.
"""

from collections.abc import Callable

from ib_gateway_sim.session.gateway import Client, Gateway
from ib_gateway_sim.wire.request import Request

Work = Callable[[Client, Request], None]
NAME = "arrival "  # what the names of waiting work begin with


def take(client: Client, request: Request, work: Work) -> None:
    gateway = client.gateway
    places = request.kind == "placeOrder" and not request.flag("whatIf")
    if places and gateway.weather.orders.take("eat"):
        gateway.note("eat_order", client.client_id, request.integer("orderId"))
        return
    if places:
        gateway.orders.read(client.client_id, request.integer("orderId"))
    number = gateway.orders.next_message()
    gateway.spawn(f"{NAME}{number}", _work(client, request, work, number))


async def _work(client: Client, request: Request, work: Work, number: int) -> None:
    gateway = client.gateway
    with gateway.orders.arriving(number, client.client_id, request):
        await gateway.wait(request.kind)
        if _lost(gateway):
            return
        if gateway.weather.orders.outage != "work":
            await gateway.weather.until_upstream()
    if client.gone and gateway.settings.gone_clients == "drop":
        return
    present = gateway.clients.get(client.client_id, client)
    try:
        work(present, request)
    except Exception:
        present.failed(request.request_id)
    gateway.unsaved = True
    gateway.save()


def _lost(gateway: Gateway) -> bool:
    return not gateway.weather.upstream and gateway.weather.orders.outage == "lose"
