"""Positions: sent at once, and again after a fill."""

import asyncio

from ib_gateway_sim.account.portfolio import Position
from ib_gateway_sim.market.contracts import Contract
from ib_gateway_sim.session.gateway import Client
from ib_gateway_sim.wire import codec
from ib_gateway_sim.wire.request import Request

POSITIONS = "positions"
POSITIONS_MULTI = "positions multi"
ALL = "All"  # every account of the login
WHOLE = 0  # the request id of subscriptions that have none


def contract_fields(contract: Contract, right: str) -> tuple[codec.Value, ...]:
    return (
        contract.con_id,
        contract.symbol,
        contract.sec_type,
        contract.last_trade_date,
        contract.strike,
        right,
        contract.multiplier,
    )


def req_positions(client: Client, request: Request) -> None:
    client.jobs.stop(POSITIONS, WHOLE)
    for account, portfolio in client.gateway.portfolios.items():
        for position in portfolio.open_positions():
            send_position(client, position, account)
    client.send(62, 1)
    client.jobs.start(POSITIONS, WHOLE, _idle())


async def _idle() -> None:
    """A subscription that receives changes only; it lasts until it is stopped."""
    await asyncio.Event().wait()


def send_position(client: Client, position: Position, account: str) -> None:
    client.send(61, 3, account, *position_fields(position))


def position_fields(position: Position) -> tuple[codec.Value, ...]:
    contract = position.contract
    # Where it is listed, not where its orders were routed; and no right where the portfolio shows "0".
    listed = contract.primary_exchange or contract.exchange
    where = (listed, contract.currency, contract.local_symbol, contract.trading_class)
    return (*contract_fields(contract, contract.right), *where, position.quantity, round(position.average_cost, 8))


def cancel_positions(client: Client, request: Request) -> None:
    client.jobs.stop(POSITIONS, WHOLE)


def req_positions_multi(client: Client, request: Request) -> None:
    request_id = request.request_id
    wanted, model = request.text("account"), request.text("modelCode")
    wanted = wanted if wanted in (*client.gateway.portfolios, ALL) else client.gateway.market.account
    for account, portfolio in client.gateway.portfolios.items():
        for position in portfolio.open_positions() if wanted in (account, ALL) else ():
            client.send(71, 1, request_id, account, *position_fields(position), model)
    client.send(72, 1, request_id)
    client.account_subscriptions[POSITIONS_MULTI, request_id] = wanted
    client.jobs.start(POSITIONS_MULTI, request_id, _idle())


def cancel_positions_multi(client: Client, request: Request) -> None:
    client.jobs.stop(POSITIONS_MULTI, request.request_id)
