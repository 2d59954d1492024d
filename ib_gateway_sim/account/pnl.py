"""Profit and loss, of the account and of one position, once a second."""

from ib_gateway_sim.market.contracts import Contract
from ib_gateway_sim.rules.errors import Violation
from ib_gateway_sim.session.gateway import Client, Gateway
from ib_gateway_sim.times import text_date
from ib_gateway_sim.wire import codec
from ib_gateway_sim.wire.request import Request

PNL = "pnl"
PNL_SINGLE = "pnl single"
_PNL_S = 1.0


def req_pnl(client: Client, request: Request) -> None:
    if _pnl_allowed(client, request, PNL):
        client.jobs.start(PNL, request.request_id, _pnl(client, request))


def _pnl_allowed(client: Client, request: Request, family: str) -> bool:
    problem = None
    if client.jobs.has(family, request.request_id):
        problem = Violation(322, "Error processing request.-'bP' : cause - Duplicate ticker ID")
    elif client.gateway.account_named(request.text("account")) is None:
        problem = Violation(321, "Error validating request.-'bP' : cause - Invalid account code")
    if problem is not None:
        client.refuse(request.request_id, problem)
    return problem is None


async def _pnl(client: Client, request: Request) -> None:
    """Once a second; the day's profit is the sum of that of all contracts."""
    gateway, account = client.gateway, client.gateway.account_named(request.text("account")) or ""
    while True:
        totals, positions = gateway.totals(account), gateway.portfolios[account].positions.values()
        daily = sum(
            _daily(gateway, account, each.contract) * gateway.dollars(each.contract.currency) for each in positions
        )
        client.send(94, request.request_id, round(daily, 2), round(totals.unrealized, 2), round(totals.realized, 2))
        await anext(gateway.clock.beats(_PNL_S))


def _daily(gateway: Gateway, account: str, contract: Contract) -> float:
    """Since the day of the login's zone began, and of what was held then since the close before it."""
    now_s = gateway.clock.now_s()
    midnight = text_date(now_s, gateway.settings.login_zone).replace(hour=0, minute=0, second=0, microsecond=0)
    mark, close = gateway.mark(contract), gateway.quote(contract, now_s).close
    return gateway.portfolios[account].daily(contract, midnight.timestamp(), close if close != -1 else mark, mark)


def cancel_pnl(client: Client, request: Request) -> None:
    client.jobs.stop(PNL, request.request_id)


def req_pnl_single(client: Client, request: Request) -> None:
    if _pnl_allowed(client, request, PNL_SINGLE):
        client.jobs.start(PNL_SINGLE, request.request_id, _pnl_single(client, request))


async def _pnl_single(client: Client, request: Request) -> None:
    account = client.gateway.account_named(request.text("account")) or ""
    while True:
        position = client.gateway.portfolios[account].positions.get(request.integer("conId"))
        if position is not None:
            mark = client.gateway.mark(position.contract)
            gain, realized = position.unrealized(mark), position.realized
            daily = _daily(client.gateway, account, position.contract)
            money = [round(amount, 2) for amount in (daily, gain, realized, position.value(mark))]
            client.send(95, request.request_id, position.quantity, *money)
        else:
            client.send(95, request.request_id, 0, 0.0, codec.UNSET_DOUBLE, codec.UNSET_DOUBLE, 0.0)
        await anext(client.gateway.clock.beats(_PNL_S))


def cancel_pnl_single(client: Client, request: Request) -> None:
    client.jobs.stop(PNL_SINGLE, request.request_id)
