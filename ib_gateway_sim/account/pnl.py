"""Profit and loss, of the account and of one position, once a second."""

from ib_gateway_sim.rules.errors import Violation
from ib_gateway_sim.session.gateway import Client
from ib_gateway_sim.wire import codec
from ib_gateway_sim.wire.request import Request

PNL = "pnl"
PNL_SINGLE = "pnl single"
_PNL_S = 1.0


def req_pnl(client: Client, request: Request) -> None:
    if _pnl_allowed(client, request, PNL):
        client.jobs.start(PNL, request.request_id, _pnl(client, request.request_id))


def _pnl_allowed(client: Client, request: Request, family: str) -> bool:
    problem = None
    if client.jobs.has(family, request.request_id):
        problem = Violation(322, "Error processing request.-'bP' : cause - Duplicate ticker ID")
    elif request.text("account") not in ("", client.gateway.market.account):
        problem = Violation(321, "Error validating request.-'bP' : cause - Invalid account code")
    if problem is not None:
        client.refuse(request.request_id, problem)
    return problem is None


async def _pnl(client: Client, request_id: int) -> None:
    """Once a second. The day's profit is that since the simulator began: it keeps no closing values of the account."""
    while True:
        totals = client.gateway.totals()
        daily = totals.unrealized + totals.realized
        client.send(94, request_id, round(daily, 2), round(totals.unrealized, 2), round(totals.realized, 2))
        await anext(client.gateway.clock.beats(_PNL_S))


def cancel_pnl(client: Client, request: Request) -> None:
    client.jobs.stop(PNL, request.request_id)


def req_pnl_single(client: Client, request: Request) -> None:
    if _pnl_allowed(client, request, PNL_SINGLE):
        client.jobs.start(PNL_SINGLE, request.request_id, _pnl_single(client, request))


async def _pnl_single(client: Client, request: Request) -> None:
    while True:
        position = client.gateway.portfolio.positions.get(request.integer("conId"))
        if position is not None:
            mark = client.gateway.mark(position.contract)
            gain, realized = position.unrealized(mark), position.realized
            money = [round(amount, 2) for amount in (gain + realized, gain, realized, position.value(mark))]
            client.send(95, request.request_id, position.quantity, *money)
        else:
            client.send(95, request.request_id, 0, 0.0, codec.UNSET_DOUBLE, codec.UNSET_DOUBLE, 0.0)
        await anext(client.gateway.clock.beats(_PNL_S))


def cancel_pnl_single(client: Client, request: Request) -> None:
    client.jobs.stop(PNL_SINGLE, request.request_id)
