"""The account as clients see it: values and summary, positions, profit and loss; sent again when they change."""

import asyncio
from collections.abc import Callable

from ib_gateway_sim import wire
from ib_gateway_sim.client import Client
from ib_gateway_sim.contracts import Contract
from ib_gateway_sim.limits import Violation
from ib_gateway_sim.portfolio import CURRENCY, Position, Totals
from ib_gateway_sim.reference import text_date
from ib_gateway_sim.streams import beats

UPDATES, UPDATES_MULTI, SUMMARY = "account updates", "account updates multi", "account summary"
POSITIONS, POSITIONS_MULTI, PNL, PNL_SINGLE = "positions", "positions multi", "pnl", "pnl single"
_REFRESH_S = 180.0  # IB repeats account values every three minutes
_PNL_S = 1.0
_SUMMARIES = 2  # subscriptions at a time
_WHOLE = 0  # the request id of subscriptions that have none

Values = dict[str, tuple[str, str]]  # tag -> (value, currency)


def values(client: Client) -> Values:
    totals = client.gateway.totals()
    money = {
        "NetLiquidation": totals.net,
        "TotalCashValue": totals.cash,
        "SettledCash": totals.cash,
        "AvailableFunds": totals.available,
        "BuyingPower": max(0.0, totals.available * 4),
        "EquityWithLoanValue": totals.net,
        "ExcessLiquidity": totals.available,
        "FullInitMarginReq": totals.margin,
        "FullMaintMarginReq": totals.margin,
        "InitMarginReq": totals.margin,
        "MaintMarginReq": totals.margin,
        "FullAvailableFunds": totals.available,
        "GrossPositionValue": totals.positions,
    }
    cushion = totals.available / totals.net if totals.net else 0.0
    return {
        "AccountType": ("INDIVIDUAL", ""),
        "Cushion": (f"{cushion:.6f}", ""),
        **{tag: (f"{amount:.2f}", CURRENCY) for tag, amount in money.items()},
        **ledger(totals),
    }


def ledger(totals: Totals) -> Values:
    """What is kept by currency; the account has one."""
    money = {
        "CashBalance": totals.cash,
        "TotalCashBalance": totals.cash,
        "NetLiquidationByCurrency": totals.net,
        "UnrealizedPnL": totals.unrealized,
        "RealizedPnL": totals.realized,
    }
    return {
        "Currency": (CURRENCY, CURRENCY),
        "ExchangeRate": ("1.00", CURRENCY),
        **{tag: (f"{amount:.2f}", CURRENCY) for tag, amount in money.items()},
    }


# ---- account updates -------------------------------------------------------------------------------------------------
def req_account_updates(client: Client, request: wire.Request) -> None:
    client.stop(UPDATES, _WHOLE)
    if not request.flag("subscribe"):
        return
    account = client.gateway.market.account
    if request.text("account") not in ("", account):
        client.error(
            -1, 321, f"Error validating request.-'bA' : cause - Invalid account code '{request.text('account')}'."
        )
        return
    client.account_told.clear()
    send_updates(client)
    client.send(54, 1, account)
    client.start(UPDATES, _WHOLE, _repeat(client, lambda: send_updates(client)))


def send_updates(client: Client) -> None:
    """What has changed since the client was last told, and the time."""
    account = client.gateway.market.account
    for tag, pair in _changed(client.account_told, values(client)).items():
        client.send(6, 2, tag, *pair, account)
    for position in client.gateway.portfolio.positions.values():
        send_portfolio(client, position)
    now = text_date(client.gateway.clock.now_s(), client.gateway.settings.login_zone)
    client.send(8, 1, now.strftime("%H:%M"))


def _changed(told: Values, now: Values) -> Values:
    """The values that are new, which count as told from now on."""
    new = {tag: pair for tag, pair in now.items() if told.get(tag) != pair}
    told.update(new)
    return new


def send_portfolio(client: Client, position: Position) -> None:
    contract = position.contract
    mark = client.gateway.mark(contract)
    client.send(
        7,
        8,
        *_head(contract),
        contract.primary_exchange or contract.exchange,
        contract.currency,
        contract.local_symbol,
        contract.trading_class,
        position.quantity,
        mark,
        round(position.value(mark), 2),
        round(position.average_cost, 8),
        round(position.unrealized(mark), 2),
        round(position.realized, 2),
        client.gateway.market.account,
    )


def _head(contract: Contract) -> tuple[wire.Value, ...]:
    right = contract.right or "0"
    return (
        contract.con_id,
        contract.symbol,
        contract.sec_type,
        contract.last_trade_date,
        contract.strike,
        right,
        contract.multiplier,
    )


async def _repeat(client: Client, send: Callable[[], None]) -> None:
    while True:
        await client.gateway.clock.sleep(_REFRESH_S)
        send()


def req_account_updates_multi(client: Client, request: wire.Request) -> None:
    request_id, model = request.request_id, request.text("modelCode")
    only_ledger = request.flag("ledgerAndNLV")
    told: Values = {}

    def send() -> None:
        now = ledger(client.gateway.totals()) if only_ledger else values(client)
        for tag, pair in _changed(told, now).items():
            client.send(73, 1, request_id, client.gateway.market.account, model, tag, *pair)

    send()
    client.send(74, 1, request_id)
    client.start(UPDATES_MULTI, request_id, _repeat(client, send))


def cancel_account_updates_multi(client: Client, request: wire.Request) -> None:
    client.stop(UPDATES_MULTI, request.request_id)


# ---- summary ---------------------------------------------------------------------------------------------------------
def req_account_summary(client: Client, request: wire.Request) -> None:
    request_id = request.request_id
    if client.has(SUMMARY, request_id):
        client.error(request_id, 322, "Error processing request.-'bS' : cause - Duplicate ticker ID")
        return
    if sum(each.count(SUMMARY) for each in client.gateway.clients.values()) >= _SUMMARIES:
        text = "Error processing request.-'bS' : cause - Maximum number of account summary requests exceeded"
        client.error(request_id, 322, text)
        return
    tags = [tag for tag in request.text("tags").split(",") if tag]

    def send() -> None:
        for tag, (text, currency) in _summary(client, tags).items():
            client.send(63, 1, request_id, client.gateway.market.account, tag, text, currency)

    send()
    client.send(64, 1, request_id)
    client.start(SUMMARY, request_id, _repeat(client, send))


def _summary(client: Client, tags: list[str]) -> Values:
    wanted = {tag: pair for tag, pair in values(client).items() if tag in tags}
    return wanted | ledger(client.gateway.totals()) if any(tag.startswith("$LEDGER") for tag in tags) else wanted


def cancel_account_summary(client: Client, request: wire.Request) -> None:
    client.stop(SUMMARY, request.request_id)


# ---- positions -------------------------------------------------------------------------------------------------------
def req_positions(client: Client, request: wire.Request) -> None:
    client.stop(POSITIONS, _WHOLE)
    for position in client.gateway.portfolio.open_positions():
        send_position(client, position)
    client.send(62, 1)
    client.start(POSITIONS, _WHOLE, _idle())


async def _idle() -> None:
    """A subscription that is told of changes only; it lasts until it is stopped."""
    await asyncio.Event().wait()


def send_position(client: Client, position: Position) -> None:
    client.send(61, 3, client.gateway.market.account, *_position(position))


def _position(position: Position) -> tuple[wire.Value, ...]:
    contract = position.contract
    where = (contract.exchange, contract.currency, contract.local_symbol, contract.trading_class)
    return (*_head(contract), *where, position.quantity, round(position.average_cost, 8))


def cancel_positions(client: Client, request: wire.Request) -> None:
    client.stop(POSITIONS, _WHOLE)


def req_positions_multi(client: Client, request: wire.Request) -> None:
    request_id = request.request_id
    account, model = client.gateway.market.account, request.text("modelCode")
    for position in client.gateway.portfolio.open_positions():
        client.send(71, 1, request_id, account, *_position(position), model)
    client.send(72, 1, request_id)
    client.start(POSITIONS_MULTI, request_id, _idle())


def cancel_positions_multi(client: Client, request: wire.Request) -> None:
    client.stop(POSITIONS_MULTI, request.request_id)


def tell_change(client: Client, contract: Contract) -> None:
    """After a fill: positions and account values to those who subscribed."""
    position = client.gateway.portfolio.positions[contract.con_id]
    if client.has(POSITIONS, _WHOLE):
        send_position(client, position)
    for family, request_id in list(client.jobs):
        if family == POSITIONS_MULTI:
            client.send(71, 1, request_id, client.gateway.market.account, *_position(position), "")
    if client.has(UPDATES, _WHOLE):
        send_updates(client)


# ---- profit and loss -------------------------------------------------------------------------------------------------
def req_pnl(client: Client, request: wire.Request) -> None:
    if _pnl_allowed(client, request, PNL):
        client.start(PNL, request.request_id, _pnl(client, request.request_id))


def _pnl_allowed(client: Client, request: wire.Request, family: str) -> bool:
    problem = None
    if client.has(family, request.request_id):
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
        await anext(beats(client, _PNL_S))


def cancel_pnl(client: Client, request: wire.Request) -> None:
    client.stop(PNL, request.request_id)


def req_pnl_single(client: Client, request: wire.Request) -> None:
    if _pnl_allowed(client, request, PNL_SINGLE):
        client.start(PNL_SINGLE, request.request_id, _pnl_single(client, request))


async def _pnl_single(client: Client, request: wire.Request) -> None:
    while True:
        position = client.gateway.portfolio.positions.get(request.integer("conId"))
        if position is not None:
            mark = client.gateway.mark(position.contract)
            gain, realized = position.unrealized(mark), position.realized
            money = [round(amount, 2) for amount in (gain + realized, gain, realized, position.value(mark))]
            client.send(95, request.request_id, position.quantity, *money)
        else:
            client.send(95, request.request_id, 0, 0.0, wire.UNSET_DOUBLE, wire.UNSET_DOUBLE, 0.0)
        await anext(beats(client, _PNL_S))


def cancel_pnl_single(client: Client, request: wire.Request) -> None:
    client.stop(PNL_SINGLE, request.request_id)


HANDLERS: dict[str, Callable[[Client, wire.Request], None]] = {
    "reqAccountUpdates": req_account_updates,
    "reqAccountUpdatesMulti": req_account_updates_multi,
    "cancelAccountUpdatesMulti": cancel_account_updates_multi,
    "reqAccountSummary": req_account_summary,
    "cancelAccountSummary": cancel_account_summary,
    "reqPositions": req_positions,
    "cancelPositions": cancel_positions,
    "reqPositionsMulti": req_positions_multi,
    "cancelPositionsMulti": cancel_positions_multi,
    "reqPnL": req_pnl,
    "cancelPnL": cancel_pnl,
    "reqPnLSingle": req_pnl_single,
    "cancelPnLSingle": cancel_pnl_single,
}
