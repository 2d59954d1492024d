"""The old front end's routes of trades, performance, executions, portfolio, risk and strategies: thin views of the same
rows as /portfolio, /backtests and /strategy-runs.

What has no real figure has no route: 404 is what the page can take.
"""

import nautilus.http.cold_start  # noqa: F401, I001  first: it says why

import json
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from nautilus.auth.principal import Principal
from nautilus.db.cursor import Cursor
from nautilus.db.portfolio import holdings
from nautilus.db.portfolio.holdings import LAST, FillFilter
from nautilus.errors import InvalidInput, NotFound
from nautilus.http import page_routes, page_strategy_routes
from nautilus.http.dependencies import CallerDep, ServicesDep
from nautilus.http.lambda_entry import lambda_handler
from nautilus.http.problems import PROBLEMS
from nautilus.http.routes import StrictRoute
from nautilus.http.snapshots import NO_STORE, fresh
from nautilus.orders.desk import accounts_of
from nautilus.portfolio import page_performance, page_trades
from nautilus.portfolio.tables import csv_text
from nautilus.strategies import front_end

router = APIRouter(tags=["old front end"], responses=PROBLEMS, route_class=StrictRoute)
router.routes.extend(page_strategy_routes.router.routes)
_TRADES, _PERFORMANCE, _EXECUTION = "/api/v1/trades", "/api/v1/performance", "/api/v1/execution"
MAX_LISTED, MAX_EXPORTED = 1_000, 5_000


class PageParameters(BaseModel):
    """The filters of the page; an empty one counts as absent."""

    account_id: str | None = Field(None, max_length=32)
    venue: str | None = Field(None, max_length=20)
    symbol: str | None = Field(None, max_length=40)
    strategy: str | None = Field(None, max_length=64)
    strategy_id: str | None = Field(None, max_length=64)
    start_date: str | None = Field(None, max_length=40, description="RFC 3339 with offset")
    end_date: str | None = Field(None, max_length=40)

    def accounts(self, cursor: Cursor, caller: Principal) -> list[str]:
        """Forbidden for an account of others."""
        if self.account_id:
            caller.require_account(self.account_id)
            return [self.account_id]
        return accounts_of(cursor, caller)

    def filter(self, cursor: Cursor, accounts: list[str]) -> FillFilter:
        since, until = (
            page_routes.page_time("start_date", self.start_date, 0),
            page_routes.page_time("end_date", self.end_date, LAST),
        )
        if since >= until:
            raise InvalidInput.field("end_date", "must be later than start_date")
        named = self.strategy or self.strategy_id or None
        tag = None if named == "all" else named
        return FillFilter(accounts, since, until, page_trades.con_ids_of(cursor, accounts, self.symbol or None), tag)

    @property
    def elsewhere(self) -> bool:
        """Another venue than Interactive Brokers: there is nothing of it here."""
        return (self.venue or page_trades.VENUE).upper() != page_trades.VENUE


class TradeParameters(PageParameters):
    limit: int = Field(100, ge=1, le=MAX_LISTED)
    offset: int = Field(0, ge=0, le=1_000_000)


class ExportParameters(PageParameters):
    limit: int = Field(MAX_EXPORTED, ge=1, le=MAX_EXPORTED)
    format: Literal["csv", "json"] = "csv"


Given = Annotated[PageParameters, Query()]


# ---- trades ----------------------------------------------------------------------------------------------------------


@router.get(f"{_TRADES}/", summary="Executions, the newest first, as a bare list")
@router.get(_TRADES, summary="Executions, the newest first, as a bare list")
def trades(
    services: ServicesDep, caller: CallerDep, response: Response, given: Annotated[TradeParameters, Query()]
) -> list[dict[str, Any]]:
    with fresh(services, response) as cursor:
        which = given.filter(cursor, given.accounts(cursor, caller))
        return [] if given.elsewhere else page_trades.trades(cursor, which, limit=given.limit, offset=given.offset)


@router.get(f"{_TRADES}/summary", summary="Sums of executions; 404 where one of them is not known")
def summary(services: ServicesDep, caller: CallerDep, response: Response, given: Given) -> dict[str, Any]:
    with fresh(services, response) as cursor:
        accounts = given.accounts(cursor, caller)
        if given.elsewhere:
            raise NotFound("there is no trade of another venue than IB here", code="no-figures")
        return page_trades.summary(cursor, given.filter(cursor, accounts), accounts)


@router.get(f"{_TRADES}/symbols", summary="Symbols that were traded")
def symbols(services: ServicesDep, caller: CallerDep, response: Response) -> dict[str, Any]:
    with fresh(services, response) as cursor:
        return {"symbols": page_trades.symbols(cursor, accounts_of(cursor, caller))}


@router.get(f"{_TRADES}/strategies", summary="Tags of orders that have filled")
def strategies(services: ServicesDep, caller: CallerDep, response: Response) -> dict[str, Any]:
    with fresh(services, response) as cursor:
        return {"strategies": [{"strategy": tag} for tag in holdings.tags(cursor, accounts_of(cursor, caller))]}


@router.get(f"{_TRADES}/export", summary="Executions as a file, CSV or JSON")
def export(services: ServicesDep, caller: CallerDep, given: Annotated[ExportParameters, Query()]) -> Response:
    with services.db.transaction(snapshot=True) as cursor:
        which = given.filter(cursor, given.accounts(cursor, caller))
        rows = [] if given.elsewhere else page_trades.trades(cursor, which, limit=given.limit, offset=0)
    headers = {**NO_STORE, "Content-Disposition": f'attachment; filename="trades.{given.format}"'}
    if given.format == "json":
        return Response(json.dumps(rows), media_type="application/json", headers=headers)
    return Response(csv_text(page_trades.COLUMNS, rows), media_type="text/csv; charset=utf-8", headers=headers)


# ---- performance and executions --------------------------------------------------------------------------------------


@router.get(f"{_PERFORMANCE}/aggregate", summary="Profit, win rate, drawdown and Sharpe ratio; null what is not known")
def aggregate(services: ServicesDep, caller: CallerDep, response: Response, given: Given) -> dict[str, Any]:
    with fresh(services, response) as cursor:
        accounts = given.accounts(cursor, caller)
        if given.elsewhere:
            raise NotFound("there is no trade of another venue than IB here", code="no-figures")
        if (found := front_end.find_strategy(cursor, given.strategy_id or "", caller)) is not None:
            return front_end.performance(cursor, found)
        return page_performance.aggregate(cursor, accounts, given.filter(cursor, accounts))


@router.get(f"{_PERFORMANCE}/history", summary="What was made since the first trade date, day by day")
def history(services: ServicesDep, caller: CallerDep, response: Response, given: Given) -> dict[str, Any]:
    with fresh(services, response) as cursor:
        accounts = given.accounts(cursor, caller)
        which = given.filter(cursor, accounts)
        if (found := front_end.find_strategy(cursor, given.strategy_id or "", caller)) is not None:
            return {"snapshots": front_end.snapshots(cursor, found)}
        return {"snapshots": [] if given.elsewhere else page_performance.snapshots(cursor, accounts, which)}


@router.get(f"{_EXECUTION}/metrics", summary="How orders fared on their way, by strategy")
def metrics(services: ServicesDep, caller: CallerDep, response: Response, given: Given) -> dict[str, Any]:
    with fresh(services, response) as cursor:
        accounts = given.accounts(cursor, caller)
        which = given.filter(cursor, accounts)
        return {"metrics": [] if given.elsewhere else page_performance.execution_metrics(cursor, accounts, which)}


@router.get(f"{_EXECUTION}/trades", summary="Executions, the newest first")
def execution_trades(
    services: ServicesDep, caller: CallerDep, response: Response, given: Annotated[TradeParameters, Query()]
) -> dict[str, Any]:
    return {"trades": trades(services, caller, response, given)}


router.routes.extend(page_routes.router.routes)
handler = lambda_handler("frontend", router)
