"""The account as clients see it: values and summary, positions, profit and loss; sent again when they change."""

import asyncio
from collections.abc import Callable

from ib_gateway_sim.account.portfolio import CURRENCY, START_CASH, Position, Totals
from ib_gateway_sim.market.contracts import Contract
from ib_gateway_sim.reference.requests import text_date
from ib_gateway_sim.rules.limits import Violation
from ib_gateway_sim.session.client import Client
from ib_gateway_sim.streams.requests import beats
from ib_gateway_sim.wire import codec

UPDATES, UPDATES_MULTI, SUMMARY = "account updates", "account updates multi", "account summary"
POSITIONS, POSITIONS_MULTI, PNL, PNL_SINGLE = "positions", "positions multi", "pnl", "pnl single"
_REFRESH_S = 180.0  # IB repeats account values every three minutes
_PNL_S = 1.0
_SUMMARIES = 2  # subscriptions at a time
_WHOLE = 0  # the request id of subscriptions that have none

BASE = "BASE"  # what all currencies come to, in the account's own
Values = dict[tuple[str, str], str]  # (tag, currency) -> value, as IB lists them: by tag, then by currency

# Money that this account never has, in the account's currency and by currency.
_NOTHING = (
    *("AccruedDividend", "Billable", "Guarantee", "IndianStockHaircut", "NetLiquidationUncertainty", "PASharesValue"),
    *("PhysicalCertificateValue", "PostExpirationExcess", "PostExpirationMargin", "TotalDebitCardPendingCharges"),
)
_NOTHING_BY_CURRENCY = (
    *("AccruedCash", "CorporateBondValue", "FundValue", "FutureOptionValue", "IssuerOptionValue"),
    *("MoneyMarketFundValue", "MutualFundValue", "NetDividend", "TBillValue", "TBondValue", "WarrantValue"),
)
_MARKET_VALUES = {  # tag of the ledger -> security types whose positions it sums
    "StockMarketValue": ("STK",),
    "OptionMarketValue": ("OPT",),
    "FxCashBalance": ("CASH",),
    "Cryptocurrency": ("CRYPTO",),
}


def values(client: Client) -> Values:
    """All account values, as account updates tell them."""
    totals = client.gateway.totals()
    words = {
        "AccountCode": client.gateway.market.account,
        "AccountReady": "true",
        "AccountType": "INDIVIDUAL",
        "Cushion": f"{totals.available / totals.net if totals.net else 0.0:.6f}",
        "DayTradesRemaining": "-1",  # no pattern day trading rule for accounts of this size
        "HighestSeverity": "0",
        "Leverage": _leverage(totals),
        "Leverage-S": _leverage(totals),
        "LookAheadNextChange": "0",
        "NLVAndMarginInReview": "false",
        "SegmentTitle-S": "US Securities",
        "TradingType-S": "STKNOPT",
    }
    money = {**dict.fromkeys(_NOTHING, 0.0), **_money(totals)}
    found = {(tag, ""): text for tag, text in words.items()}
    found |= {(tag, CURRENCY): f"{amount:.2f}" for tag, amount in money.items()}
    return dict(sorted((found | ledger(client)).items()))


def _money(totals: Totals) -> dict[str, float]:
    available = dict.fromkeys(
        ("AvailableFunds", "ExcessLiquidity", "FullAvailableFunds", "FullExcessLiquidity", "LookAheadAvailableFunds"),
        totals.available,
    )
    margins = ("InitMarginReq", "MaintMarginReq", "FullInitMarginReq", "FullMaintMarginReq", "LookAheadInitMarginReq")
    return {
        **available,
        **dict.fromkeys((*margins, "LookAheadMaintMarginReq", "RegTMargin"), totals.margin),
        "LookAheadExcessLiquidity": totals.available,
        "NetLiquidation": totals.net,
        "EquityWithLoanValue": totals.net,
        "PreviousDayEquityWithLoanValue": START_CASH,
        "RegTEquity": totals.net,
        "SMA": totals.available,
        "TotalCashValue": totals.cash,
        "SettledCash": totals.cash,
        "BuyingPower": max(0.0, totals.available * 4),
        "GrossPositionValue": totals.positions,
    }


def _leverage(totals: Totals) -> str:
    return f"{abs(totals.positions) / totals.net if totals.net else 0.0:.2f}"


def ledger(client: Client) -> Values:
    """What is kept by currency: each row once for the account's one currency and once as the sum of all."""
    totals = client.gateway.totals()
    money = {
        **dict.fromkeys(_NOTHING_BY_CURRENCY, 0.0),
        **_market_values(client),
        "CashBalance": totals.cash,
        "TotalCashBalance": totals.cash,
        "NetLiquidationByCurrency": totals.net,
        "UnrealizedPnL": totals.unrealized,
        "RealizedPnL": totals.realized,
    }
    found: Values = {}
    for currency in (BASE, CURRENCY):
        found |= {(tag, currency): f"{amount:.2f}" for tag, amount in money.items()}
        found |= {
            ("AccountOrGroup", currency): client.gateway.market.account,
            ("Currency", currency): currency,
            ("ExchangeRate", currency): "1.00",
            ("RealCurrency", currency): CURRENCY,
        }
    return dict(sorted(found.items()))


def _market_values(client: Client) -> dict[str, float]:
    """The market values of positions by kind, in the account's currency, and the profit of open futures."""
    gateway = client.gateway
    found = {**dict.fromkeys(_MARKET_VALUES, 0.0), "FuturesPNL": 0.0}
    for position in gateway.portfolio.open_positions():
        mark, rate = gateway.mark(position.contract), gateway.dollars(position.contract.currency)
        kind = position.contract.sec_type
        for tag, kinds in _MARKET_VALUES.items():
            if kind in kinds:
                found[tag] += position.value(mark) * rate
        if kind == "FUT":
            found["FuturesPNL"] += position.unrealized(mark) * rate
    return found


# ---- account updates -------------------------------------------------------------------------------------------------
def req_account_updates(client: Client, request: codec.Request) -> None:
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
    for (tag, currency), value in _changed(client.account_told, values(client)).items():
        client.send(6, 2, tag, value, currency, account)
    for position in client.gateway.portfolio.positions.values():
        send_portfolio(client, position)
    now = text_date(client.gateway.clock.now_s(), client.gateway.settings.login_zone)
    client.send(8, 1, now.strftime("%H:%M"))


def _changed(told: Values, now: Values) -> Values:
    """The values that are new, which count as told from now on."""
    new = {row: value for row, value in now.items() if told.get(row) != value}
    told.update(new)
    return new


def send_portfolio(client: Client, position: Position) -> None:
    contract = position.contract
    mark = client.gateway.mark(contract)
    client.send(
        7,
        8,
        *_head(contract, contract.right or "0"),
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


def _head(contract: Contract, right: str) -> tuple[codec.Value, ...]:
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


def req_account_updates_multi(client: Client, request: codec.Request) -> None:
    request_id, model = request.request_id, request.text("modelCode")
    only_ledger = request.flag("ledgerAndNLV")
    told: Values = {}

    def send() -> None:
        now = values(client)
        if only_ledger:
            now = {row: now[row] for row in sorted([*ledger(client), ("NetLiquidation", CURRENCY)])}
        for (tag, currency), value in _changed(told, now).items():
            client.send(73, 1, request_id, client.gateway.market.account, model, tag, value, currency)

    send()
    client.send(74, 1, request_id)
    client.start(UPDATES_MULTI, request_id, _repeat(client, send))


def cancel_account_updates_multi(client: Client, request: codec.Request) -> None:
    client.stop(UPDATES_MULTI, request.request_id)


# ---- summary ---------------------------------------------------------------------------------------------------------
def req_account_summary(client: Client, request: codec.Request) -> None:
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
        for (tag, currency), value in _summary(client, tags).items():
            client.send(63, 1, request_id, client.gateway.market.account, tag, value, currency)

    send()
    client.send(64, 1, request_id)
    client.start(SUMMARY, request_id, _repeat(client, send))


def _summary(client: Client, tags: list[str]) -> Values:
    """The tags that are wanted, in the order of the request, and the ledger: `$LEDGER` of the sum of all currencies,
    `$LEDGER:USD` of one, `$LEDGER:ALL` of each and the sum."""
    now, book = values(client), ledger(client)
    found: Values = {}
    for tag in tags:
        name, _, wanted = tag.partition(":")
        if name == "$LEDGER":
            found |= {row: value for row, value in book.items() if wanted == "ALL" or row[1] == (wanted or BASE)}
        else:
            found |= {row: value for row, value in now.items() if row[0] == tag and row[1] != BASE}
    return found


def cancel_account_summary(client: Client, request: codec.Request) -> None:
    client.stop(SUMMARY, request.request_id)


# ---- positions -------------------------------------------------------------------------------------------------------
def req_positions(client: Client, request: codec.Request) -> None:
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


def _position(position: Position) -> tuple[codec.Value, ...]:
    contract = position.contract
    # Where it is listed, not where its orders were routed; and no right where the portfolio shows "0".
    listed = contract.primary_exchange or contract.exchange
    where = (listed, contract.currency, contract.local_symbol, contract.trading_class)
    return (*_head(contract, contract.right), *where, position.quantity, round(position.average_cost, 8))


def cancel_positions(client: Client, request: codec.Request) -> None:
    client.stop(POSITIONS, _WHOLE)


def req_positions_multi(client: Client, request: codec.Request) -> None:
    request_id = request.request_id
    account, model = client.gateway.market.account, request.text("modelCode")
    for position in client.gateway.portfolio.open_positions():
        client.send(71, 1, request_id, account, *_position(position), model)
    client.send(72, 1, request_id)
    client.start(POSITIONS_MULTI, request_id, _idle())


def cancel_positions_multi(client: Client, request: codec.Request) -> None:
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
def req_pnl(client: Client, request: codec.Request) -> None:
    if _pnl_allowed(client, request, PNL):
        client.start(PNL, request.request_id, _pnl(client, request.request_id))


def _pnl_allowed(client: Client, request: codec.Request, family: str) -> bool:
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


def cancel_pnl(client: Client, request: codec.Request) -> None:
    client.stop(PNL, request.request_id)


def req_pnl_single(client: Client, request: codec.Request) -> None:
    if _pnl_allowed(client, request, PNL_SINGLE):
        client.start(PNL_SINGLE, request.request_id, _pnl_single(client, request))


async def _pnl_single(client: Client, request: codec.Request) -> None:
    while True:
        position = client.gateway.portfolio.positions.get(request.integer("conId"))
        if position is not None:
            mark = client.gateway.mark(position.contract)
            gain, realized = position.unrealized(mark), position.realized
            money = [round(amount, 2) for amount in (gain + realized, gain, realized, position.value(mark))]
            client.send(95, request.request_id, position.quantity, *money)
        else:
            client.send(95, request.request_id, 0, 0.0, codec.UNSET_DOUBLE, codec.UNSET_DOUBLE, 0.0)
        await anext(beats(client, _PNL_S))


def cancel_pnl_single(client: Client, request: codec.Request) -> None:
    client.stop(PNL_SINGLE, request.request_id)


HANDLERS: dict[str, Callable[[Client, codec.Request], None]] = {
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
