"""Routes of strategies of the web front end that there was before. Its family `/strategy/...` never had a server: 404."""

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any
from uuid import UUID, uuid4

from fastapi import APIRouter, Header, Path, Query, Response
from fastapi.concurrency import run_in_threadpool

from nautilus.auth.principal import Principal
from nautilus.db.bridge.status import market_now
from nautilus.errors import Conflict, InvalidInput
from nautilus.http.dependencies import CallerDep, ServicesDep
from nautilus.http.page_routes import account_of
from nautilus.http.problems import PROBLEMS
from nautilus.http.routes import StrictRoute
from nautilus.http.services import Services
from nautilus.http.snapshots import fresh
from nautilus.live.naming import Naming
from nautilus.live.schemas import NamedInstrument
from nautilus.market.instrument import Instrument
from nautilus.strategies import front_end, page_words
from nautilus.strategies.config_desk import ConfigDesk, NewConfig
from nautilus.strategies.correlations import correlations
from nautilus.strategies.desk import ALL_MODES, FLATTEN, PAUSE, RESUME, STOP, StrategyDesk
from nautilus.strategies.front_end import BACKTEST_NS, Strategy, StrategyPages, is_over
from nautilus.strategies.front_end_schemas import (
    PageComparison,
    PageConfig,
    PageConfigChange,
    PageControl,
    PageDeployment,
    PageValidation,
)
from nautilus.strategies.requesting import Requesting
from nautilus.strategies.schemas import BacktestRequest, ConfigChange, RunRequest
from nautilus.strategies.states import Mode

router = APIRouter(tags=["old front end"], responses=PROBLEMS, route_class=StrictRoute)
_STRATEGIES = "/api/v1/strategies"
_FRESH = {"Cache-Control": "no-store"}


class PageServices:
    """What the routes share."""

    def __init__(self, services: Services) -> None:
        self.pages = StrategyPages(services.db)
        self.desk = StrategyDesk(services.db)
        self.configs = ConfigDesk(services.db)
        self.requesting = Requesting(services.db, services.settings)
        self.naming = Naming(services.db, services.queue, wait_s=services.settings.search_wait_s)


def _shared(services: Services) -> PageServices:
    return services.kept(PageServices, lambda: PageServices(services))


Id = Annotated[str, Path(min_length=1, max_length=100, description="of a configuration, or of a run")]
Seen = Annotated[str | None, Header(max_length=100, description="the ETag of the answer before")]


def _unless_seen(answer: Mapping[str, Any], seen: str | None) -> Response:
    """304 where the page has this answer already: it asks every two seconds."""
    body = json.dumps(answer, separators=(",", ":"))
    tag = f'"{hashlib.sha256(body.encode()).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if seen is not None and tag in seen:
        return Response(status_code=304, headers=headers)
    return Response(body, media_type="application/json", headers=headers)


# ---- templates and configurations ------------------------------------------------------------------------------------


@router.get(f"{_STRATEGIES}/configurations", summary="Strategies, as a bare list")
def configurations(services: ServicesDep, caller: CallerDep, response: Response) -> list[dict[str, Any]]:
    response.headers.update(_FRESH)
    return _shared(services).pages.configurations(caller)


Text = Annotated[str, Query(max_length=100)]


@router.get(f"{_STRATEGIES}/templates", summary="Templates that can be used")
def template_list(
    services: ServicesDep,
    caller: CallerDep,
    response: Response,
    category: Text = "",
    search: Text = "",
    tags: Text = "",
) -> dict[str, Any]:
    response.headers.update(_FRESH)
    return _shared(services).pages.templates(category=category, search=search, tags=tags)


@router.get(f"{_STRATEGIES}/templates/{{template_id}}", summary="One template")
def template(
    template_id: Annotated[str, Path(max_length=100)], services: ServicesDep, caller: CallerDep, response: Response
) -> dict[str, Any]:
    response.headers.update(_FRESH)
    return _shared(services).pages.template(template_id)


async def _of_the_form(
    services: Services, parameters: Mapping[str, Any], caller: Principal
) -> tuple[dict[str, Any], list[Instrument], str | None]:
    """A strategy's own parameters, and the instrument and timeframe that the page's form has beside them."""
    own = dict(parameters)
    name, frame = own.pop(page_words.INSTRUMENT, None), own.pop(page_words.TIMEFRAME, None)
    for field, value in ((page_words.INSTRUMENT, name), (page_words.TIMEFRAME, frame)):
        if value is not None and not isinstance(value, str):
            raise InvalidInput.field(f"parameters.{field}", "must be text")
    if not name:
        return own, [], frame
    given = NamedInstrument(instrument_id=name)
    found = await _shared(services).naming.identities([("parameters", given)], caller)
    return own, [one.instrument for one in found], frame


@router.post(f"{_STRATEGIES}/configure", status_code=201, summary="Make a strategy of a template")
async def configure(body: PageConfig, services: ServicesDep, caller: CallerDep) -> dict[str, Any]:
    own, found, frame = await _of_the_form(services, body.parameters, caller)
    shared = _shared(services)
    new = NewConfig(body.name, body.template_id, own, found, timeframe=frame, risk=body.risk_settings)
    row = await run_in_threadpool(shared.configs.make, new, caller)
    return {
        "strategy_id": str(row.id),
        "config": page_words.config_object(row, None),
        "validation_result": {"valid": True, "errors": []},
    }


@router.get(f"{_STRATEGIES}/configure/{{strategy_id}}", summary="One strategy")
def configuration(strategy_id: Id, services: ServicesDep, caller: CallerDep, response: Response) -> dict[str, Any]:
    response.headers.update(_FRESH)
    return _shared(services).pages.configuration(strategy_id, caller)


@router.patch(f"{_STRATEGIES}/configure/{{strategy_id}}", summary="Change a strategy")
async def change(strategy_id: UUID, body: PageConfigChange, services: ServicesDep, caller: CallerDep) -> dict[str, Any]:
    shared = _shared(services)
    given = ConfigChange(name=body.name)
    found = None
    if body.parameters is not None:
        own, named, frame = await _of_the_form(services, body.parameters, caller)
        given = ConfigChange(name=body.name, parameters=own, timeframe=frame)
        found = named or None
    await run_in_threadpool(shared.configs.change, strategy_id, given, found, caller)
    return await run_in_threadpool(shared.pages.configuration, str(strategy_id), caller)


@router.delete(f"{_STRATEGIES}/configure/{{strategy_id}}", summary="Archive a strategy that does not run")
def remove(strategy_id: UUID, services: ServicesDep, caller: CallerDep) -> dict[str, Any]:
    _shared(services).configs.archive(strategy_id, caller)
    return {"message": f"the strategy {strategy_id} is archived; its runs stay"}


@router.post(f"{_STRATEGIES}/validate", summary="Whether parameters fit a template")
def validate(body: PageValidation, services: ServicesDep, caller: CallerDep) -> dict[str, Any]:
    return _shared(services).pages.validate(body.template_id, body.parameters)


@router.get("/api/v1/instruments/available", summary="Instruments with bars that strategies trade")
@router.get(f"{_STRATEGIES}/instruments/available", summary="Instruments with bars that strategies trade")
def instruments_available(services: ServicesDep, caller: CallerDep, response: Response) -> list[str]:
    response.headers.update(_FRESH)
    return _shared(services).pages.instruments()


@router.get("/api/v1/timeframes/available", summary="Timeframes of which there are series")
@router.get(f"{_STRATEGIES}/timeframes/available", summary="Timeframes of which there are series")
def timeframes_available(services: ServicesDep, caller: CallerDep, response: Response) -> list[str]:
    response.headers.update(_FRESH)
    return _shared(services).pages.timeframes()


# ---- running ---------------------------------------------------------------------------------------------------------


@router.post(f"{_STRATEGIES}/deploy", status_code=201, summary="Run a strategy: back-test, paper or live")
def deploy(body: PageDeployment, services: ServicesDep, caller: CallerDep) -> dict[str, Any]:
    shared = _shared(services)
    with services.db.transaction(snapshot=True, brief=True) as cursor:
        found, now = front_end.strategy(cursor, body.strategy_id, caller), market_now(cursor)
    if found.config is None:
        raise Conflict("a run without a configuration cannot be deployed again", code="run-over")
    if body.deployment_mode == "backtest":
        end = now if body.end is None else body.end
        start = end - BACKTEST_NS if body.start is None else body.start
        test = BacktestRequest(config_id=found.config.id, start=start, end=end)
        made = shared.requesting.backtest(test, (), caller, key=None)
    else:
        request = RunRequest(
            config_id=found.config.id, mode=body.deployment_mode, account=body.account, confirm=body.confirm
        )
        made = shared.requesting.run(request, (), caller, key=str(uuid4()))
    row = made.runs[0]
    return {"deployment_id": str(row.id), "status": page_words.state_of(row), "nautilus_strategy_id": str(row.id)}


@router.post(f"{_STRATEGIES}/{{strategy_id}}/control", summary="Start, stop, pause or resume a strategy")
@router.post(f"{_STRATEGIES}/control/{{strategy_id}}", summary="Start, stop, pause or resume a strategy")
def control(strategy_id: Id, body: PageControl, services: ServicesDep, caller: CallerDep) -> dict[str, Any]:
    shared = _shared(services)
    with services.db.transaction(snapshot=True, brief=True) as cursor:
        found = front_end.strategy(cursor, strategy_id, caller)
    if body.action == "start":
        return _started(shared, found, caller)
    if found.run is None or is_over(found.run):
        raise Conflict(f"{found.name} does not run, so that there is nothing to {body.action}", code="run-over")
    wanted = {
        "stop": FLATTEN if body.force and found.run.mode != Mode.BACKTEST else STOP,
        "pause": PAUSE,
        "resume": RESUME,
    }
    row = shared.desk.want(found.run.id, wanted[body.action], caller, ALL_MODES)
    return {"new_state": page_words.state_of(row), "message": f"{body.action} is requested of {row.name}"}


def _started(shared: PageServices, found: Strategy, caller: Principal) -> dict[str, Any]:
    """Resume a paused run, or run once more in paper what ran there before: every other mode needs more than an id."""
    run = found.run
    if run is not None and not is_over(run):
        row = shared.desk.want(run.id, RESUME, caller, ALL_MODES)
        return {"new_state": page_words.state_of(row), "message": f"{row.name} goes on"}
    if found.config is None or run is None or run.mode != Mode.PAPER:
        raise Conflict(f"{found.name} must be deployed first, which says in which mode it runs", code="run-over")
    made = shared.requesting.run(RunRequest(config_id=found.config.id, mode="paper"), (), caller, key=str(uuid4()))
    return {"new_state": page_words.state_of(made.runs[0]), "message": f"{found.name} starts in paper"}


@router.get(f"{_STRATEGIES}/status/{{strategy_id}}", summary="How a strategy stands")
def status(strategy_id: Id, services: ServicesDep, caller: CallerDep, response: Response) -> dict[str, Any]:
    response.headers.update(_FRESH)
    return _shared(services).pages.status(strategy_id, caller)


@router.get(f"{_STRATEGIES}/active", summary="Runs that are not over")
def active(services: ServicesDep, caller: CallerDep, response: Response) -> dict[str, Any]:
    response.headers.update(_FRESH)
    return _shared(services).pages.active(caller)


@router.get(f"{_STRATEGIES}/monitoring", summary="Runs in paper and live that are not over, with their figures")
def monitoring(services: ServicesDep, caller: CallerDep, if_none_match: Seen = None) -> Response:
    return _unless_seen(_shared(services).pages.monitoring(caller), if_none_match)


@router.get(f"{_STRATEGIES}/signals/recent", summary="The newest signals of strategies")
def signals(
    services: ServicesDep,
    caller: CallerDep,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    if_none_match: Seen = None,
) -> Response:
    return _unless_seen(_shared(services).pages.signals(caller, limit), if_none_match)


@router.get(f"{_STRATEGIES}/positions/active", summary="What open runs hold")
def positions(services: ServicesDep, caller: CallerDep, if_none_match: Seen = None) -> Response:
    return _unless_seen(_shared(services).pages.positions(caller), if_none_match)


# ---- figures ---------------------------------------------------------------------------------------------------------


Unused = Annotated[str | None, Query(max_length=40, description="counts for nothing: figures are those of whole runs")]


@router.get(f"{_STRATEGIES}/{{strategy_id}}/performance", summary="Figures of a strategy's newest run")
def performance(
    strategy_id: Id,
    services: ServicesDep,
    caller: CallerDep,
    response: Response,
    start_date: Unused = None,
    end_date: Unused = None,
) -> dict[str, Any]:
    response.headers.update(_FRESH)
    return _shared(services).pages.performance(strategy_id, caller)


@router.get("/api/v1/performance/compare", summary="Strategies side by side")
def compare(
    services: ServicesDep,
    caller: CallerDep,
    response: Response,
    strategy_ids: Annotated[str, Query(max_length=4000, description="comma-separated; none: all of the caller")] = "",
    start_date: Unused = None,
    end_date: Unused = None,
    benchmark: Unused = None,
) -> dict[str, Any]:
    response.headers.update(_FRESH)
    return _shared(services).pages.compare([one for one in strategy_ids.split(",") if one], caller)


@router.post("/api/v1/performance/compare", summary="Strategies side by side")
def compare_posted(body: PageComparison, services: ServicesDep, caller: CallerDep) -> dict[str, Any]:
    return _shared(services).pages.compare(body.strategy_ids, caller)


@router.get(
    "/api/v1/portfolio/{portfolio_id}/strategy-correlations",
    summary="How alike strategies of an account move, day by day",
)
def strategy_correlations(
    portfolio_id: Annotated[str, Path(min_length=1, max_length=32)],
    services: ServicesDep,
    caller: CallerDep,
    response: Response,
) -> dict[str, Any]:
    with fresh(services, response) as cursor:
        account = account_of(cursor, portfolio_id, caller)
        found = correlations(cursor, account)
    return {"status": "success", "account": account, "correlations": found}


@router.get("/api/v1/nautilus/engine/status", summary="Whether a strategy host runs")
def engine(services: ServicesDep, caller: CallerDep, response: Response) -> dict[str, Any]:
    response.headers.update(_FRESH)
    return _shared(services).pages.engine()
