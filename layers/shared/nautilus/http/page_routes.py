"""The old front end's routes of one portfolio: allocations, history, benchmarks and risk; its function serves them.

Each figure comes from rows; what has none is null with a reason, or no answer at all where the page could not draw a null.
"""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, Field

from nautilus.auth.principal import Principal
from nautilus.clock import parse_rfc3339
from nautilus.db.bridge.status import market_now
from nautilus.db.cursor import Cursor
from nautilus.errors import InvalidInput, NotFound
from nautilus.http.dependencies import CallerDep, ServicesDep
from nautilus.http.problems import PROBLEMS
from nautilus.http.routes import StrictRoute
from nautilus.http.snapshots import fresh
from nautilus.orders.desk import accounts_of
from nautilus.portfolio import benchmarks, page_performance, page_portfolio, page_risk

router = APIRouter(tags=["old front end"], responses=PROBLEMS, route_class=StrictRoute)
_PORTFOLIO, _RISK = "/api/v1/portfolio/{portfolio_id}", "/api/v1/risk"

Id = Annotated[
    str, Path(min_length=1, max_length=32, description="an account, or `default` for the first of the caller")
]
Symbol = Annotated[str, Path(pattern=r"^[A-Z0-9.]{1,20}$", description="of a stock or an index in US dollars")]


class SpanParameters(BaseModel):
    """A time; an empty parameter counts as absent."""

    start_date: str | None = Field(None, max_length=40, description="RFC 3339 with offset")
    end_date: str | None = Field(None, max_length=40)

    def labels(self, last: int) -> tuple[int, int]:
        """[since, until) in ns. last: the end without an `end_date`."""
        since, until = page_time("start_date", self.start_date, 0), page_time("end_date", self.end_date, last)
        if since >= until:
            raise InvalidInput.field("end_date", "must be later than start_date")
        return since, until


class BenchmarkParameters(BaseModel):
    """What a portfolio is compared with."""

    benchmark: str = Field(benchmarks.MARKET, pattern=r"^[A-Z0-9.]{1,20}$")


class ChartParameters(BaseModel):
    """Which chart."""

    chart_type: Literal["var_history", "correlation_matrix"] = "var_history"


def page_time(name: str, text: str | None, default: int) -> int:
    """A time of the page in ns. InvalidInput: it is none."""
    if not text:
        return default
    try:
        return max(parse_rfc3339(text), 0)
    except ValueError as wrong:
        raise InvalidInput.field(name, str(wrong)) from None


def account_of(cursor: Cursor, given: str, caller: Principal) -> str:
    """The account that a page calls a portfolio. Forbidden: it is one of others. NotFound: the caller has none."""
    if given != "default":
        caller.require_account(given)
        return given
    own = accounts_of(cursor, caller)
    if not own:
        raise NotFound("no gateway ever named an account that you may use", code="no-figures")
    return own[0]


# ---- portfolio -------------------------------------------------------------------------------------------------------


@router.get(f"{_PORTFOLIO}/asset-allocations", summary="Value by asset class")
def asset_allocations(portfolio_id: Id, services: ServicesDep, caller: CallerDep, response: Response) -> dict[str, Any]:
    with fresh(services, response) as cursor:
        account = account_of(cursor, portfolio_id, caller)
        found = page_performance.allocations(cursor, account)
    return {"status": "success", "account": account, "allocations": {"allocations": found}}


@router.get(
    f"{_PORTFOLIO}/strategy-allocations", summary="Value of open lots by the tag of the orders that opened them"
)
def strategy_allocations(
    portfolio_id: Id, services: ServicesDep, caller: CallerDep, response: Response
) -> dict[str, Any]:
    with fresh(services, response) as cursor:
        account = account_of(cursor, portfolio_id, caller)
        found = page_portfolio.strategy_allocations(cursor, account)
    return {"status": "success", "account": account, "allocations": {"strategies": found}}


@router.get(f"{_PORTFOLIO}/performance-history", summary="Equity and returns of each trade date")
def performance_history(
    portfolio_id: Id, services: ServicesDep, caller: CallerDep, response: Response
) -> dict[str, Any]:
    with fresh(services, response) as cursor:
        account = account_of(cursor, portfolio_id, caller)
        found = page_performance.performance_history(cursor, account)
    return {"status": "success", "account": account, "history": {"performance": found}}


@router.get(f"{_PORTFOLIO}/benchmark-comparison", summary="An account beside the daily closes of an instrument")
def benchmark_comparison(
    portfolio_id: Id,
    services: ServicesDep,
    caller: CallerDep,
    response: Response,
    given: Annotated[BenchmarkParameters, Query()],
) -> dict[str, Any]:
    with fresh(services, response) as cursor:
        account = account_of(cursor, portfolio_id, caller)
        found = page_portfolio.benchmark_comparison(cursor, account, given.benchmark)
    return {"status": "success", "account": account, "comparison": found}


@router.get("/api/v1/performance/benchmarks/{symbol}", summary="Return and risk of an instrument by its daily closes")
def benchmark(
    symbol: Symbol,
    services: ServicesDep,
    _caller: CallerDep,
    response: Response,
    given: Annotated[SpanParameters, Query()],
) -> dict[str, Any]:
    with fresh(services, response) as cursor:
        return benchmarks.figures(cursor, symbol, *given.labels(market_now(cursor)))


# ---- risk ------------------------------------------------------------------------------------------------------------


@router.get(f"{_RISK}/portfolio/{{portfolio_id}}", summary="Exposure, value at risk, expected shortfall and beta")
def risk(portfolio_id: Id, services: ServicesDep, caller: CallerDep, response: Response) -> dict[str, Any]:
    with fresh(services, response) as cursor:
        account = account_of(cursor, portfolio_id, caller)
        return {"portfolio_id": portfolio_id, **page_risk.portfolio(cursor, account)}


@router.get(f"{_RISK}/metrics/{{portfolio_id}}", summary="Losses by horizon and confidence, and ratios")
def metrics(portfolio_id: Id, services: ServicesDep, caller: CallerDep, response: Response) -> dict[str, Any]:
    with fresh(services, response) as cursor:
        account = account_of(cursor, portfolio_id, caller)
        return {"portfolio_id": portfolio_id, **page_risk.metrics(cursor, account)}


@router.get(f"{_RISK}/exposure/{{portfolio_id}}", summary="Exposure by instrument, currency and asset class")
def exposure(portfolio_id: Id, services: ServicesDep, caller: CallerDep, response: Response) -> dict[str, Any]:
    with fresh(services, response) as cursor:
        account = account_of(cursor, portfolio_id, caller)
        return {"portfolio_id": portfolio_id, **page_risk.exposure(cursor, account)}


@router.get(
    f"{_RISK}/charts/{{portfolio_id}}", summary="Value at risk of each trade date, or correlations of positions"
)
def charts(
    portfolio_id: Id,
    services: ServicesDep,
    caller: CallerDep,
    response: Response,
    given: Annotated[ChartParameters, Query()],
) -> dict[str, Any]:
    with fresh(services, response) as cursor:
        account = account_of(cursor, portfolio_id, caller)
        make = page_risk.var_history if given.chart_type == "var_history" else page_risk.correlations
        return {
            "portfolio_id": portfolio_id,
            "account": account,
            "chart_type": given.chart_type,
            "data": make(cursor, account),
        }
