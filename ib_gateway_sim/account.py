"""The account as clients see it: values, summary, positions."""

from collections.abc import Callable

from ib_gateway_sim import wire
from ib_gateway_sim.client import Client
from ib_gateway_sim.reference import text_date

START_CASH_USD = 1_000_000.0
CURRENCY = "USD"


def values(client: Client) -> dict[str, tuple[str, str]]:
    """Account values: tag -> (value, currency)."""
    cash = f"{START_CASH_USD:.2f}"
    zero = "0.00"
    money = {
        "NetLiquidation": cash,
        "TotalCashValue": cash,
        "SettledCash": cash,
        "AvailableFunds": cash,
        "BuyingPower": f"{START_CASH_USD * 4:.2f}",
        "EquityWithLoanValue": cash,
        "ExcessLiquidity": cash,
        "FullInitMarginReq": zero,
        "FullMaintMarginReq": zero,
        "InitMarginReq": zero,
        "MaintMarginReq": zero,
        "GrossPositionValue": zero,
        "RealizedPnL": zero,
        "UnrealizedPnL": zero,
        "CashBalance": cash,
    }
    return {"AccountType": ("INDIVIDUAL", ""), **{tag: (text, CURRENCY) for tag, text in money.items()}}


def req_account_updates(client: Client, request: wire.Request) -> None:
    if not request.flag("subscribe"):
        return
    account = client.gateway.market.account
    for tag, (text, currency) in values(client).items():
        client.send(6, 2, tag, text, currency, account)
    now = text_date(client.gateway.clock.now_s(), client.gateway.settings.login_zone)
    client.send(8, 1, now.strftime("%H:%M"))
    client.send(54, 1, account)


def req_account_updates_multi(client: Client, request: wire.Request) -> None:
    request_id, model = request.request_id, request.text("modelCode")
    for tag, (text, currency) in values(client).items():
        client.send(73, 1, request_id, client.gateway.market.account, model, tag, text, currency)
    client.send(74, 1, request_id)


def req_account_summary(client: Client, request: wire.Request) -> None:
    wanted = [tag for tag in request.text("tags").split(",") if tag]
    for tag, (text, currency) in values(client).items():
        if tag in wanted:
            client.send(63, 1, request.request_id, client.gateway.market.account, tag, text, currency)
    client.send(64, 1, request.request_id)


def req_positions(client: Client, request: wire.Request) -> None:
    client.send(62, 1)


def req_positions_multi(client: Client, request: wire.Request) -> None:
    client.send(72, 1, request.request_id)


def req_open_orders(client: Client, request: wire.Request) -> None:
    client.send(53, 1)


def req_completed_orders(client: Client, request: wire.Request) -> None:
    client.send(102)


def req_executions(client: Client, request: wire.Request) -> None:
    client.send(55, 1, request.request_id)


def _quiet(client: Client, request: wire.Request) -> None:
    """Nothing is subscribed here that would have to stop."""


HANDLERS: dict[str, Callable[[Client, wire.Request], None]] = {
    "reqAccountUpdates": req_account_updates,
    "reqAccountUpdatesMulti": req_account_updates_multi,
    "cancelAccountUpdatesMulti": _quiet,
    "reqAccountSummary": req_account_summary,
    "cancelAccountSummary": _quiet,
    "reqPositions": req_positions,
    "cancelPositions": _quiet,
    "reqPositionsMulti": req_positions_multi,
    "cancelPositionsMulti": _quiet,
    "reqAutoOpenOrders": _quiet,
    "reqOpenOrders": req_open_orders,
    "reqAllOpenOrders": req_open_orders,
    "reqCompletedOrders": req_completed_orders,
    "reqExecutions": req_executions,
}
