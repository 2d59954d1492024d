"""Routes of what came of a run, the same for back-tests and for runs on live data: rows, files, the report, links to them."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.requests import HTTPConnection

from nautilus.auth import links
from nautilus.auth.principal import Principal
from nautilus.db.cursor import Cursor
from nautilus.db.strategies import results, runs
from nautilus.db.strategies.runs import RunRow
from nautilus.errors import NotFound
from nautilus.http.dependencies import CallerDep, CallerOrLinkDep, ServicesDep
from nautilus.http.problems import PROBLEMS
from nautilus.http.routes import StrictRoute
from nautilus.http.services import Services
from nautilus.portfolio.tables import csv_text
from nautilus.strategies import results_of_runs, run_report
from nautilus.strategies.building_reports import report_of
from nautilus.strategies.desk import BACKTESTS, ON_LIVE_DATA, changes_of, visible_run
from nautilus.strategies.query import (
    EventParameters,
    FileParameters,
    FillRowParameters,
    ReportParameters,
    RowParameters,
)
from nautilus.strategies.report_page import page
from nautilus.strategies.report_style import POLICY
from nautilus.strategies.schemas import LinkRequest

router = APIRouter(tags=["strategies"], responses=PROBLEMS, route_class=StrictRoute)
_BACKTEST, _RUN = "/api/v1/backtests/{run_id}", "/api/v1/strategy-runs/{run_id}"
_FRESH = {"Cache-Control": "no-store"}


async def _base(connection: HTTPConnection) -> str:
    path: str = connection.scope["route"].path_format
    return _BACKTEST if path.startswith(_BACKTEST) else _RUN


Base = Annotated[str, Depends(_base)]


def _modes(base: str) -> tuple[str, ...]:
    return BACKTESTS if base == _BACKTEST else ON_LIVE_DATA


def _visible(cursor: Cursor, run_id: UUID, caller: Principal | None, base: str) -> RunRow:
    """A run that the caller may read; None: by a link, whose maker could."""
    if caller is not None:
        return visible_run(cursor, run_id, caller, _modes(base))
    row = runs.read(cursor, run_id)
    if row is None:
        raise NotFound(f"there is no run {run_id}", code="run-not-found")
    return row


def _redeem(services: Services, base: str, run_id: UUID, what: str, *, secret: str | None) -> None:
    """Use up the link of a caller without credentials."""
    with services.db.transaction(brief=True) as cursor:
        links.redeem(cursor, secret or "", _path(base, run_id, what))


def _path(base: str, run_id: UUID, what: str) -> str:
    return f"{base.format(run_id=run_id)}/{what}"


def _csv(columns: Sequence[str], rows: Sequence[Mapping[str, Any]], run_id: UUID, what: str) -> Response:
    headers = {**_FRESH, "Content-Disposition": f'attachment; filename="{run_id}-{what}.csv"'}
    return Response(csv_text(columns, rows), media_type="text/csv; charset=utf-8", headers=headers)


# ---- rows ------------------------------------------------------------------------------------------------------------


@router.get(f"{_BACKTEST}/fills", summary="Fills, in their order; as JSON a page, as CSV all")
@router.get(f"{_RUN}/fills", summary="Fills, in their order; as JSON a page, as CSV all")
def fills(
    run_id: UUID,
    services: ServicesDep,
    caller: CallerOrLinkDep,
    base: Base,
    given: Annotated[FillRowParameters, Query()],
) -> Any:
    if caller is None:
        _redeem(services, base, run_id, "fills", secret=given.link)
    whole = given.format == "csv"
    after, limit = (0, results_of_runs.MOST_FILLS) if whole else (given.after, given.limit)
    with services.db.transaction(snapshot=True) as cursor:
        row = _visible(cursor, run_id, caller, base)
        rows = results_of_runs.fills(cursor, row, after=after, limit=limit)
    found = [run_report.fill_json(one, run_report.names_of(row)) for one in rows]
    if whole:
        return _csv(run_report.FILL_COLUMNS, found, run_id, "fills")
    answer = {"fills": found, "next_after": rows[-1].n if len(rows) == limit else None}
    return JSONResponse(answer, headers=_FRESH)


@router.get(f"{_BACKTEST}/equity", summary="Equity, cash and drawdown over time, at most 1,500 points")
@router.get(f"{_RUN}/equity", summary="Equity, cash and drawdown over time, at most 1,500 points")
def equity(
    run_id: UUID, services: ServicesDep, caller: CallerOrLinkDep, base: Base, given: Annotated[FileParameters, Query()]
) -> Any:
    if caller is None:
        _redeem(services, base, run_id, "equity", secret=given.link)
    with services.db.transaction(snapshot=True) as cursor:
        row = _visible(cursor, run_id, caller, base)
        found = [run_report.equity_json(one) for one in results.equity(cursor, row.id)]
    if given.format == "csv":
        return _csv(run_report.EQUITY_COLUMNS, found, run_id, "equity")
    return JSONResponse({"equity": found}, headers=_FRESH)


TRIP_COLUMNS = ("symbol", "con_id", "side", "quantity", "began", "ended", "net")


@router.get(f"{_BACKTEST}/round-trips", summary="Trades from flat to flat, in the order in which they ended")
@router.get(f"{_RUN}/round-trips", summary="Trades from flat to flat, in the order in which they ended")
def round_trips(
    run_id: UUID, services: ServicesDep, caller: CallerOrLinkDep, base: Base, given: Annotated[FileParameters, Query()]
) -> Any:
    if caller is None:
        _redeem(services, base, run_id, "round-trips", secret=given.link)
    with services.db.transaction(snapshot=True) as cursor:
        found = _trips(cursor, _visible(cursor, run_id, caller, base))
    if given.format == "csv":
        return _csv(TRIP_COLUMNS, found, run_id, "round-trips")
    return JSONResponse({"round_trips": found}, headers=_FRESH)


def _trips(cursor: Cursor, row: RunRow) -> list[dict[str, Any]]:
    names = run_report.names_of(row)
    found = results_of_runs.trips(cursor, results_of_runs.fills(cursor, row))
    return [run_report.trip_json(con_id, trip, names) for con_id, trip in found]


@router.get(f"{_BACKTEST}/orders", summary="Orders, with the bar that each follows from and what became of it")
@router.get(f"{_RUN}/orders", summary="Orders, with the bar that each follows from and what became of it")
def orders(
    run_id: UUID, services: ServicesDep, caller: CallerDep, base: Base, given: Annotated[RowParameters, Query()]
) -> Any:
    with services.db.transaction(snapshot=True) as cursor:
        row = _visible(cursor, run_id, caller, base)
        rows = results.orders(cursor, row.id, after=given.after, limit=given.limit)
    found = [run_report.order_json(one, run_report.names_of(row)) for one in rows]
    answer = {"orders": found, "next_after": rows[-1].n if len(rows) == given.limit else None}
    return JSONResponse(answer, headers=_FRESH)


@router.get(f"{_BACKTEST}/events", summary="What happened: states, signals, lines of its log, faults, denials")
@router.get(f"{_RUN}/events", summary="What happened: states, signals, lines of its log, faults, denials")
def events(
    run_id: UUID, services: ServicesDep, caller: CallerDep, base: Base, given: Annotated[EventParameters, Query()]
) -> Any:
    with services.db.transaction(snapshot=True) as cursor:
        row = _visible(cursor, run_id, caller, base)
        rows = results.events(cursor, row.id, after=given.after, kind=given.kind, limit=given.limit)
    answer = {
        "events": [run_report.event_json(one) for one in rows],
        "next_after": rows[-1].n if len(rows) == given.limit else None,
    }
    return JSONResponse(answer, headers=_FRESH)


# ---- the report ------------------------------------------------------------------------------------------------------


@router.get(f"{_BACKTEST}/report", summary="The report: a page without script, or all of it as one JSON object")
@router.get(f"{_RUN}/report", summary="The report: a page without script, or all of it as one JSON object")
def report(
    run_id: UUID,
    services: ServicesDep,
    caller: CallerOrLinkDep,
    base: Base,
    given: Annotated[ReportParameters, Query()],
) -> Response:
    if caller is None:
        _redeem(services, base, run_id, "report", secret=given.link)
    with services.db.transaction(snapshot=True) as cursor:
        row = _visible(cursor, run_id, caller, base)
        if given.format == "html":
            return HTMLResponse(page(report_of(cursor, row)), headers={**_FRESH, "Content-Security-Policy": POLICY})
        names = run_report.names_of(row)
        whole = {
            "run": run_report.run_json(row, changes_of(cursor, row)),
            "fills": [run_report.fill_json(one, names) for one in results_of_runs.fills(cursor, row)],
            "round_trips": _trips(cursor, row),
            "equity": [run_report.equity_json(one) for one in results.equity(cursor, row.id)],
        }
    headers = {**_FRESH, "Content-Disposition": f'attachment; filename="{run_id}-report.json"'}
    return JSONResponse(whole, headers=headers)


@router.post(
    f"{_BACKTEST}/links", status_code=201, summary="A link that opens the report or a file once, within a minute"
)
@router.post(f"{_RUN}/links", status_code=201, summary="A link that opens the report or a file once, within a minute")
def make_link(run_id: UUID, body: LinkRequest, services: ServicesDep, caller: CallerDep, base: Base) -> Response:
    with services.db.transaction() as cursor:
        _visible(cursor, run_id, caller, base)
        made = links.issue(cursor, caller, _path(base, run_id, body.what))
    url = made.url if body.what == "report" else f"{made.url}&format=csv"
    return JSONResponse({"url": url, "expires_in": made.expires_in}, 201, _FRESH)
