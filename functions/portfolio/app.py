"""Portfolio: what accounts have, hold, traded and made; differences from the broker, and what people say about them."""

import nautilus.http.cold_start  # noqa: F401, I001  first: it says why

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response

from nautilus.clock import NS_PER_DAY
from nautilus.db.bridge.status import market_now
from nautilus.db.portfolio import cash, holdings
from nautilus.errors import InvalidInput
from nautilus.http import import_routes
from nautilus.http.dependencies import CallerDep, ClientDep, ServicesDep
from nautilus.http.lambda_entry import lambda_handler
from nautilus.http.problems import PROBLEMS
from nautilus.http.routes import StrictRoute
from nautilus.http.snapshots import NO_STORE, fresh
from nautilus.portfolio import front_end, performance, reading
from nautilus.portfolio.closing import parts_of, trips_of
from nautilus.portfolio.parameters import (
    AccountParameters,
    BreakParameters,
    DayParameters,
    FillParameters,
    PnlParameters,
    PositionParameters,
    TimeParameters,
)
from nautilus.portfolio.resolving import Resolving
from nautilus.portfolio.schemas import CashRequest, PriceRequest, ResolveBreakRequest
from nautilus.portfolio.tables import csv_text

router = APIRouter(tags=["portfolio"], responses=PROBLEMS, route_class=StrictRoute)
router.routes.extend(import_routes.router.routes)
_PORTFOLIO = "/api/v1/portfolio"
_FILL_COLUMNS = (
    "time",
    "account",
    "symbol",
    "con_id",
    "side",
    "quantity",
    "price",
    "value",
    "currency",
    "commission",
    "commission_currency",
    "broker_realized",
    "exec_id",
    "order_id",
    "origin",
    "tags",
    "source",
)
_EQUITY_COLUMNS = ("trade_date", "account", "net_liquidation", "currency", "deposits", "return", "as_of", "source")


def _csv(columns: Sequence[str], rows: Sequence[Mapping[str, Any]], name: str) -> Response:
    headers = {**NO_STORE, "Content-Disposition": f'attachment; filename="{name}.csv"'}
    return Response(csv_text(columns, rows), media_type="text/csv; charset=utf-8", headers=headers)


# ---- reading ---------------------------------------------------------------------------------------------------------


@router.get(f"{_PORTFOLIO}/accounts", summary="Accounts, with the values that IB sent")
def accounts(
    services: ServicesDep, caller: CallerDep, response: Response, given: Annotated[AccountParameters, Query()]
) -> dict[str, Any]:
    with fresh(services, response) as cursor:
        return {"accounts": reading.accounts_json(cursor, given.accounts(cursor, caller))}


@router.get(f"{_PORTFOLIO}/balances", summary="Cash of each currency")
def balances(
    services: ServicesDep, caller: CallerDep, response: Response, given: Annotated[AccountParameters, Query()]
) -> dict[str, Any]:
    with fresh(services, response) as cursor:
        return {"balances": reading.balances_json(cursor, given.accounts(cursor, caller))}


@router.get(f"{_PORTFOLIO}/cash", summary="Cash that came or went without a trade")
def cash_movements(
    services: ServicesDep, caller: CallerDep, response: Response, given: Annotated[TimeParameters, Query()]
) -> dict[str, Any]:
    with fresh(services, response) as cursor:
        rows = cash.movements(cursor, given.accounts(cursor, caller), *given.span())
    return {"movements": [reading.movement_json(row) for row in rows]}


@router.get(f"{_PORTFOLIO}/positions", summary="Positions: ours and IB's, cost, value, and what they would make")
def positions(
    services: ServicesDep, caller: CallerDep, response: Response, given: Annotated[PositionParameters, Query()]
) -> dict[str, Any]:
    with fresh(services, response) as cursor:
        found = reading.positions_of(cursor, given.accounts(cursor, caller), given.con_id)
    return {"positions": [one.as_dict() for one in found]}


@router.get(f"{_PORTFOLIO}/executions", summary="Executions by their latest revision, the newest first; as JSON or CSV")
def executions(
    services: ServicesDep, caller: CallerDep, response: Response, given: Annotated[FillParameters, Query()]
) -> Any:
    which = given.filter(caller)
    with fresh(services, response) as cursor:
        rows = holdings.fills(cursor, which, limit=given.limit, after=given.position(cursor, caller))
        found = reading.fills_json(cursor, rows)
    if given.format == "csv":
        return _csv(_FILL_COLUMNS, found, "executions")
    return {"executions": found, "next_after": rows[-1].exec_id if len(rows) == given.limit else None}


@router.get(f"{_PORTFOLIO}/round-trips", summary="Trades from flat to flat, with their statistics")
def round_trips(
    services: ServicesDep, caller: CallerDep, response: Response, given: Annotated[TimeParameters, Query()]
) -> dict[str, Any]:
    since, until = given.span()
    with fresh(services, response) as cursor:
        which = holdings.FillFilter(given.accounts(cursor, caller), 0, until)
        parts = parts_of(cursor, which)
    found = trips_of(parts.parts, since)
    return {
        "round_trips": [performance.trip_json(one) for one in found],
        "statistics": performance.statistics_json(found),
        "complete": parts.complete,
    }


@router.get(f"{_PORTFOLIO}/pnl", summary="Profit of a time by our lots and by IB, and what open positions would make")
def pnl(
    services: ServicesDep, caller: CallerDep, response: Response, given: Annotated[PnlParameters, Query()]
) -> dict[str, Any]:
    since, until = given.span()
    with fresh(services, response) as cursor:
        names = given.accounts(cursor, caller)
        found = performance.pnl_json(cursor, names, since, until)
        if given.minutes:
            end = min(until, market_now(cursor) + 1)
            if end - since > NS_PER_DAY:
                raise InvalidInput.field("since", "with minutes=true the time may be a day at most")
            found["minutes"] = performance.minutes_json(cursor, names, since, end)
    return found


@router.get(f"{_PORTFOLIO}/performance", summary="Returns, drawdown, ratios, round trips; whether the books add up")
def performance_of(
    services: ServicesDep, caller: CallerDep, response: Response, given: Annotated[DayParameters, Query()]
) -> Any:
    caller.require_account(given.account)
    first, last = given.days()
    with fresh(services, response) as cursor:
        if given.format == "csv":
            rows = performance.equity_json(performance.history_of(cursor, given.account, first, last))
            return _csv(_EQUITY_COLUMNS, rows, "equity")
        found = performance.performance_json(cursor, given.account, first, last)
        return {
            **found,
            "equity_days": performance.equity_json(performance.history_of(cursor, given.account, first, last)),
        }


@router.get(f"{_PORTFOLIO}/breaks", summary="Differences between our positions and IB's, the newest first")
def breaks(
    services: ServicesDep, caller: CallerDep, response: Response, given: Annotated[BreakParameters, Query()]
) -> dict[str, Any]:
    with fresh(services, response) as cursor:
        names = given.accounts(cursor, caller)
        return {"breaks": reading.breaks_json(cursor, names, open_only=given.open, limit=given.limit)}


# ---- what people say -------------------------------------------------------------------------------------------------


Id = Annotated[int, Path(ge=1, le=2**53 - 1)]


@router.post(f"{_PORTFOLIO}/breaks/{{break_id}}/resolve", summary="Say why our position and IB's differ")
def resolve(
    break_id: Id, body: ResolveBreakRequest, services: ServicesDep, caller: CallerDep, client: ClientDep
) -> dict[str, Any]:
    return Resolving(services.db).resolve(break_id, body, caller, client)


@router.post(
    f"{_PORTFOLIO}/adjustments/{{adjustment_id}}/price",
    summary="Say at which price an adjustment was made, and what it has cost",
)
def price(
    adjustment_id: Id, body: PriceRequest, services: ServicesDep, caller: CallerDep, client: ClientDep
) -> dict[str, Any]:
    return Resolving(services.db).price(adjustment_id, body, caller, client)


@router.post(f"{_PORTFOLIO}/cash", status_code=201, summary="Enter cash that came or went without a trade")
def enter_cash(body: CashRequest, services: ServicesDep, caller: CallerDep, client: ClientDep) -> dict[str, Any]:
    caller.require_account(body.account)
    return {"id": Resolving(services.db).cash(body, caller, client)}


# ---- the web front end that there was before -------------------------------------------------------------------------


@router.get("/api/v1/ib/account", summary="The values of the account, in the words of the web front end")
def page_account(services: ServicesDep, caller: CallerDep, response: Response) -> dict[str, Any]:
    with fresh(services, response, brief=True) as cursor:
        return front_end.account(cursor, AccountParameters(account=None).accounts(cursor, caller))


@router.get("/api/v1/ib/positions", summary="Positions, in the words of the web front end")
def page_positions(services: ServicesDep, caller: CallerDep, response: Response) -> dict[str, Any]:
    with fresh(services, response) as cursor:
        return {"positions": front_end.positions(cursor, AccountParameters(account=None).accounts(cursor, caller))}


handler = lambda_handler("portfolio", router)
