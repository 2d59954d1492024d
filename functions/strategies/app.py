"""Strategies: templates, configurations, back-tests with their sweeps, runs in paper and live, and what came of each."""

import nautilus.http.cold_start  # noqa: F401, I001  first: it says why

from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Header, Path, Query, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from nautilus.auth.principal import Principal
from nautilus.db.cursor import Cursor
from nautilus.db.strategies import hosts, listing, runs, templates
from nautilus.db.strategies.listing import RunFilter
from nautilus.db.strategies.runs import RunRow
from nautilus.errors import InvalidInput, NotFound
from nautilus.http import run_result_routes
from nautilus.http.dependencies import CallerDep, ServicesDep
from nautilus.http.lambda_entry import lambda_handler
from nautilus.http.problems import PROBLEMS
from nautilus.http.routes import StrictRoute
from nautilus.http.services import Services
from nautilus.live.naming import Naming
from nautilus.live.schemas import NamedInstrument
from nautilus.market.instrument import Instrument
from nautilus.strategies import hosts_up, run_report
from nautilus.strategies.config_desk import ConfigDesk, NewConfig
from nautilus.strategies.desk import (
    BACKTESTS,
    FLATTEN,
    ON_LIVE_DATA,
    PAUSE,
    RESUME,
    STOP,
    Control,
    StrategyDesk,
    changes_of,
    last_run,
    readable,
    usable_template,
    visible_run,
    visible_sweep,
)
from nautilus.strategies.parameter_check import checked
from nautilus.strategies.query import STATES, BacktestParameters, ListParameters, RunParameters
from nautilus.strategies.requesting import Requesting, Started
from nautilus.strategies.schemas import BacktestRequest, ConfigChange, ConfigRequest, RunRequest, ValidateRequest

router = APIRouter(tags=["strategies"], responses=PROBLEMS, route_class=StrictRoute)
router.routes.extend(run_result_routes.router.routes)
_TEMPLATES, _CONFIGS = "/api/v1/strategy-templates", "/api/v1/strategy-configs"
_BACKTESTS, _SWEEPS, _RUNS = "/api/v1/backtests", "/api/v1/backtest-sweeps", "/api/v1/strategy-runs"
_FRESH = {"Cache-Control": "no-store"}
MAX_KEY = 200


class StrategyServices:
    """What the routes share."""

    def __init__(self, services: Services) -> None:
        self.desk = StrategyDesk(services.db)
        self.configs = ConfigDesk(services.db)
        self.requesting = Requesting(services.db, services.settings)
        self.naming = Naming(services.db, services.queue, wait_s=services.settings.search_wait_s)


def _shared(services: Services) -> StrategyServices:
    return services.kept(StrategyServices, lambda: StrategyServices(services))


async def _instruments(services: Services, given: Sequence[NamedInstrument], caller: Principal) -> list[Instrument]:
    """The contracts that a body names."""
    named = [(f"instruments.{n}", one) for n, one in enumerate(given)]
    return [one.instrument for one in await _shared(services).naming.identities(named, caller)] if named else []


Key = Annotated[str | None, Header(max_length=MAX_KEY, description="the same key and body: the same run")]


# ---- what there is ---------------------------------------------------------------------------------------------------


@router.get("/api/v1/strategy-hosts", summary="The processes that run strategies, and why none does")
def host_list(services: ServicesDep, caller: CallerDep, response: Response) -> dict[str, Any]:
    response.headers.update(_FRESH)
    with services.db.transaction(snapshot=True, brief=True) as cursor:
        found = hosts.every_host(cursor)
    return {
        "able": bool(hosts_up.able(found)),
        "reason": hosts_up.why_none(found) or None,
        "hosts": [run_report.host_json(one) for one in found],
    }


@router.get(_TEMPLATES, summary="Templates of strategies, with the schema of their parameters")
def template_list(services: ServicesDep, caller: CallerDep, response: Response) -> dict[str, Any]:
    response.headers.update(_FRESH)
    with services.db.transaction(snapshot=True, brief=True) as cursor:
        return {"templates": [run_report.template_json(one) for one in templates.every_template(cursor)]}


@router.get(f"{_TEMPLATES}/{{template_id}}", summary="One template")
def template(
    template_id: Annotated[str, Path(max_length=100)], services: ServicesDep, caller: CallerDep, response: Response
) -> dict[str, Any]:
    response.headers.update(_FRESH)
    with services.db.transaction(snapshot=True, brief=True) as cursor:
        row = templates.read(cursor, template_id)
    if row is None:
        raise NotFound(f"there is no template {template_id}", code="template-not-found")
    return run_report.template_json(row)


# ---- configurations --------------------------------------------------------------------------------------------------


@router.post(f"{_CONFIGS}/validate", summary="Whether parameters fit a template; nothing is stored")
def validate(body: ValidateRequest, services: ServicesDep, caller: CallerDep) -> dict[str, Any]:
    with services.db.transaction(snapshot=True, brief=True) as cursor:
        known = usable_template(cursor, body.template)
    try:
        return {"valid": True, "parameters": checked(known.parameter_schema, body.parameters), "errors": []}
    except InvalidInput as wrong:
        return {"valid": False, "parameters": None, "errors": [one.as_dict() for one in wrong.errors]}


@router.post(_CONFIGS, status_code=201, summary="Keep a template with parameters under a name")
async def make_config(body: ConfigRequest, services: ServicesDep, caller: CallerDep) -> Response:
    found = await _instruments(services, body.instruments, caller)
    shared = _shared(services)
    row = await run_in_threadpool(shared.configs.make, NewConfig.of(body, found), caller)
    answer = await run_in_threadpool(shared.configs.read, row.id, caller)
    return JSONResponse(answer, 201, {"Location": f"{_CONFIGS}/{row.id}", **_FRESH})


@router.get(_CONFIGS, summary="Configurations of the caller, the newest first")
def config_list(
    services: ServicesDep, caller: CallerDep, response: Response, given: Annotated[ListParameters, Query()]
) -> dict[str, Any]:
    response.headers.update(_FRESH)
    found = _shared(services).configs.listed(caller, given.after, given.limit)
    return {"configs": found, "next_after": found[-1]["id"] if len(found) == given.limit else None}


@router.get(f"{_CONFIGS}/{{config_id}}", summary="One configuration")
def config(config_id: UUID, services: ServicesDep, caller: CallerDep, response: Response) -> dict[str, Any]:
    response.headers.update(_FRESH)
    return _shared(services).configs.read(config_id, caller)


@router.patch(f"{_CONFIGS}/{{config_id}}", summary="Change a configuration; runs that there are keep what they have")
async def change_config(
    config_id: UUID, body: ConfigChange, services: ServicesDep, caller: CallerDep
) -> dict[str, Any]:
    shared = _shared(services)
    found = None if body.instruments is None else await _instruments(services, body.instruments, caller)
    row = await run_in_threadpool(shared.configs.change, config_id, body, found, caller)
    return await run_in_threadpool(shared.configs.read, row.id, caller)


@router.delete(f"{_CONFIGS}/{{config_id}}", status_code=204, summary="Archive a configuration; its runs stay")
def archive_config(config_id: UUID, services: ServicesDep, caller: CallerDep) -> None:
    _shared(services).configs.archive(config_id, caller)


# ---- back-tests ------------------------------------------------------------------------------------------------------


@router.post(_BACKTESTS, status_code=202, summary="Back-test a strategy; with a grid, once for each combination")
async def start_backtest(
    body: BacktestRequest, services: ServicesDep, caller: CallerDep, idempotency_key: Key = None
) -> Response:
    found = await _instruments(services, body.instruments, caller)
    requesting = _shared(services).requesting
    return _started(await run_in_threadpool(requesting.backtest, body, found, caller, key=idempotency_key), _BACKTESTS)


def _started(done: Started, path: str) -> Response:
    if done.sweep is not None:
        answer = run_report.sweep_json(done.sweep, done.runs)
        location = f"{_SWEEPS}/{done.sweep.id}"
    else:
        answer = run_report.run_json(done.runs[0])
        location = f"{path}/{done.runs[0].id}"
    headers = {"Location": location, "Retry-After": "1", **_FRESH}
    return JSONResponse({**answer, "repeated": done.repeated, "message": f"watch it at {location}"}, 202, headers)


@router.get(_BACKTESTS, summary="Back-tests of the caller, the newest first")
def backtest_list(
    services: ServicesDep, caller: CallerDep, response: Response, given: Annotated[BacktestParameters, Query()]
) -> dict[str, Any]:
    response.headers.update(_FRESH)
    which = RunFilter(readable(caller), BACKTESTS, _state(given.state), given.config_id, given.sweep_id)
    with services.db.transaction(snapshot=True) as cursor:
        rows = listing.runs(cursor, which, last_run(cursor, given.after, caller, BACKTESTS), given.limit)
    return {"backtests": [run_report.run_json(row) for row in rows], "next_after": _next(rows, given.limit)}


def _next(rows: Sequence[RunRow], limit: int) -> str | None:
    return str(rows[-1].id) if len(rows) == limit else None


def _state(given: str | None) -> str | None:
    if given is not None and given not in STATES:
        raise InvalidInput.field("state", f"{given!r} is not a state", STATES)
    return given


@router.get(f"{_BACKTESTS}/{{run_id}}", summary="One back-test: progress, figures, and whether its data have changed")
def backtest(run_id: UUID, services: ServicesDep, caller: CallerDep, response: Response) -> dict[str, Any]:
    response.headers.update(_FRESH)
    with services.db.transaction(snapshot=True) as cursor:
        row = visible_run(cursor, run_id, caller, BACKTESTS)
        return run_report.run_json(row, changes_of(cursor, row))


@router.delete(f"{_BACKTESTS}/{{run_id}}", status_code=202, summary="Cancel a back-test; what it has done stays")
def cancel_backtest(run_id: UUID, services: ServicesDep, caller: CallerDep) -> Response:
    return _wanted(services, run_id, STOP, caller, modes=BACKTESTS)


def _wanted(
    services: Services, run_id: UUID, control: Control, caller: Principal, *, modes: tuple[str, ...]
) -> Response:
    row = _shared(services).desk.want(run_id, control, caller, modes)
    return JSONResponse(run_report.run_json(row), 202, _FRESH)


# ---- sweeps ----------------------------------------------------------------------------------------------------------


@router.get(_SWEEPS, summary="Sweeps of the caller, the newest first, each with its table of results")
def sweep_list(
    services: ServicesDep,
    caller: CallerDep,
    response: Response,
    limit: Annotated[int, Query(ge=1, le=50)] = 20,
) -> dict[str, Any]:
    response.headers.update(_FRESH)
    with services.db.transaction(snapshot=True) as cursor:
        rows = listing.sweeps(cursor, None if caller.admin else caller.id, limit)
        return {"sweeps": [run_report.sweep_json(row, runs.of_sweep(cursor, row.id)) for row in rows]}


@router.get(f"{_SWEEPS}/{{sweep_id}}", summary="One sweep: its combinations with state and figures")
def sweep(sweep_id: UUID, services: ServicesDep, caller: CallerDep, response: Response) -> dict[str, Any]:
    response.headers.update(_FRESH)
    with services.db.transaction(snapshot=True) as cursor:
        row = visible_sweep(cursor, sweep_id, caller)
        return run_report.sweep_json(row, runs.of_sweep(cursor, sweep_id))


@router.delete(f"{_SWEEPS}/{{sweep_id}}", status_code=202, summary="Cancel all of a sweep that is not over")
def cancel_sweep(sweep_id: UUID, services: ServicesDep, caller: CallerDep) -> Response:
    row, made = _shared(services).desk.cancel_sweep(sweep_id, caller)
    return JSONResponse(run_report.sweep_json(row, made), 202, _FRESH)


# ---- paper and live --------------------------------------------------------------------------------------------------


@router.post(_RUNS, status_code=202, summary="Run a strategy on live data, in paper or live")
async def start_run(
    body: RunRequest, services: ServicesDep, caller: CallerDep, idempotency_key: Key = None
) -> Response:
    if not idempotency_key or not idempotency_key.strip():
        raise InvalidInput.field("Idempotency-Key", "is missing: send one for each run, such as a random UUID")
    found = await _instruments(services, body.instruments, caller)
    requesting = _shared(services).requesting
    return _started(await run_in_threadpool(requesting.run, body, found, caller, key=idempotency_key), _RUNS)


@router.get(_RUNS, summary="Runs in paper and live, the newest first")
def run_list(
    services: ServicesDep, caller: CallerDep, response: Response, given: Annotated[RunParameters, Query()]
) -> dict[str, Any]:
    response.headers.update(_FRESH)
    modes = ON_LIVE_DATA if given.mode is None else (given.mode,)
    which = RunFilter(readable(caller), modes, _state(given.state), given.config_id)
    with services.db.transaction(snapshot=True) as cursor:
        rows = listing.runs(cursor, which, last_run(cursor, given.after, caller, ON_LIVE_DATA), given.limit)
    return {"runs": [run_report.run_json(row) for row in rows], "next_after": _next(rows, given.limit)}


@router.get(f"{_RUNS}/{{run_id}}", summary="One run in paper or live")
def run(run_id: UUID, services: ServicesDep, caller: CallerDep, response: Response) -> dict[str, Any]:
    response.headers.update(_FRESH)
    with services.db.transaction(snapshot=True, brief=True) as cursor:
        return _run(cursor, run_id, caller)


def _run(cursor: Cursor, run_id: UUID, caller: Principal) -> dict[str, Any]:
    return run_report.run_json(visible_run(cursor, run_id, caller, ON_LIVE_DATA))


@router.post(f"{_RUNS}/{{run_id}}/stop", status_code=202, summary="Cancel its orders and end it; its position stays")
def stop(run_id: UUID, services: ServicesDep, caller: CallerDep) -> Response:
    return _wanted(services, run_id, STOP, caller, modes=ON_LIVE_DATA)


@router.post(f"{_RUNS}/{{run_id}}/pause", status_code=202, summary="Enter nothing new; exits are allowed")
def pause(run_id: UUID, services: ServicesDep, caller: CallerDep) -> Response:
    return _wanted(services, run_id, PAUSE, caller, modes=ON_LIVE_DATA)


@router.post(f"{_RUNS}/{{run_id}}/resume", status_code=202, summary="Enter again after a pause")
def resume(run_id: UUID, services: ServicesDep, caller: CallerDep) -> Response:
    return _wanted(services, run_id, RESUME, caller, modes=ON_LIVE_DATA)


@router.post(f"{_RUNS}/{{run_id}}/flatten", status_code=202, summary="Cancel its orders, close its position, end it")
def flatten(run_id: UUID, services: ServicesDep, caller: CallerDep) -> Response:
    return _wanted(services, run_id, FLATTEN, caller, modes=ON_LIVE_DATA)


handler = lambda_handler("strategies", router)
