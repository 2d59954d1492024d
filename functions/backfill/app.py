"""Backfill: ask for bars to be fetched, watch it, stop it."""

import nautilus.http.cold_start  # noqa: F401, I001  first: it says why

from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Body, Header, Query, Request, Response
from fastapi.responses import JSONResponse

from nautilus.auth.principal import Principal
from nautilus.backfill import submit
from nautilus.backfill.estimate import dry_run
from nautilus.backfill.schemas import BackfillRequest, StopRequest
from nautilus.backfill.states import LIVE_JOBS
from nautilus.backfill.status import read_chunks, read_jobs
from nautilus.clock import rfc3339
from nautilus.db.ledger import job_list, job_stopping
from nautilus.errors import InvalidInput, NotFound
from nautilus.http import json_body
from nautilus.http.dependencies import CallerDep, ServicesDep
from nautilus.http.json_values import MAX_NUMBER
from nautilus.http.lambda_entry import lambda_handler
from nautilus.http.problems import PROBLEMS
from nautilus.http.routes import StrictRoute
from nautilus.http.services import Services
from nautilus.infra.messages import JobHint
from nautilus.log import correlation

router = APIRouter(tags=["backfill"], responses=PROBLEMS, route_class=StrictRoute)
_GIGABYTE = 1_000_000_000


@router.post("/api/v1/ib/backfill", status_code=202, summary="Fetch bars that are missing")
def ask(
    request: BackfillRequest,
    services: ServicesDep,
    caller: CallerDep,
    idempotency_key: Annotated[str | None, Header(max_length=200)] = None,
) -> Response:
    if not (request.symbol or request.symbols or request.instrument_id or request.con_id):
        raise InvalidInput.field("symbol", "is missing", ["symbol", "symbols", "instrument_id", "con_id"])
    return _ask(request, services, caller, idempotency_key or "")


@router.post(
    "/api/v1/historical/backfill/start", status_code=202, summary="Fetch the watch list, or what the body names"
)
def start(
    services: ServicesDep,
    caller: CallerDep,
    request: Annotated[BackfillRequest | None, Body()] = None,
    idempotency_key: Annotated[str | None, Header(max_length=200)] = None,
) -> Response:
    return _ask(request or BackfillRequest(), services, caller, idempotency_key or "")


def _ask(request: BackfillRequest, services: Services, caller: Principal, key: str) -> Response:
    settings = services.settings
    items = submit.items_of(
        request,
        default_symbols=settings.watch_list,
        default_frames=settings.watch_timeframes,
        default_days=settings.watch_days,
    )
    if request.instrument_id is not None:
        items = submit.by_name(services.db, request, items)
    if request.dry_run:
        submit.check_range(services.db, items)
        return JSONResponse(dry_run(services.db, items, request.mode), 200)
    submission = submit.ask(
        services.db,
        caller,
        items,
        request=_request_json(request),
        priority=request.priority,
        mode=request.mode,
        route="backfill",
        key=key,
    )
    if submission.job_id is None:
        return JSONResponse({"job_id": None, "status": "complete", "missing": [], "message": "nothing is missing"}, 200)
    if not submission.deduplicated:
        services.queue.announce(JobHint(job_id=submission.job_id, correlation_id=correlation.get()))
    location = f"/api/v1/historical/backfill/{submission.job_id}"
    job = read_jobs(services.db, None, submission.job_id)["jobs"][0]
    body = {**job, "deduplicated": submission.deduplicated, "series": len(items), "message": f"watch it at {location}"}
    return JSONResponse(body, 202, {"Location": location, "Retry-After": "1"})


def _request_json(request: BackfillRequest) -> dict[str, Any]:
    """The request as it was put, with times as text."""
    given = request.model_dump(exclude_none=True, exclude_defaults=True)
    return {name: rfc3339(value) if name in ("start", "end") else value for name, value in given.items()}


@router.get(
    "/api/v1/historical/backfill/status", summary="All jobs of the caller, and the numbers of the front end's card"
)
def status(
    services: ServicesDep,
    caller: CallerDep,
    job_id: Annotated[UUID | None, Query()] = None,
) -> dict[str, Any]:
    owner = None if caller.admin else caller.id
    answer = read_jobs(services.db, owner)
    if job_id is not None:
        answer["jobs"] = read_jobs(services.db, owner, job_id)["jobs"]
    live = [job for job in answer["jobs"] if job["status"] in LIVE_JOBS]
    totals = answer["totals"]
    return {
        "controller": {
            "current_mode": "ibkr",
            "is_running": bool(live),
            "available_modes": ["ibkr"],
            "current_operation": live[0]["job_id"] if live else None,
        },
        "service_status": {
            "is_running": bool(live),
            "queue_size": totals.queue_size,
            "active_requests": totals.active_requests,
            "completed_requests": totals.completed_requests,
            "failed_requests": totals.failed_requests,
            "total_bars": int(totals.total_bars),
            "unique_instruments": totals.unique_instruments,
            "unique_timeframes": totals.unique_timeframes,
            "database_size_gb": totals.database_bytes / _GIGABYTE,
        },
        "jobs": answer["jobs"],
        "timestamp": datetime.fromtimestamp(answer["now_ns"] / 1e9, UTC).isoformat(),
    }


@router.post("/api/v1/historical/backfill/stop", summary="Stop one job, or all of the caller's")
async def stop(request: Request, services: ServicesDep, caller: CallerDep) -> dict[str, Any]:
    from fastapi.concurrency import run_in_threadpool

    raw = (await request.body()).strip()
    if raw:  # the front end sends no body here, and no content type
        json_body.require_json(request.headers.get("content-type"))
    try:
        body = StopRequest.model_validate(json_body.parse(raw)) if raw else StopRequest()
        # An empty id names no job, least of all every one.
        job_id = UUID(body.job_id) if body.job_id is not None else None
    except (ValueError, InvalidInput) as wrong:
        why = f" ({wrong.detail})" if isinstance(wrong, InvalidInput) else ""
        raise InvalidInput.field(
            "job_id", f"must be the id of a job, in a JSON object{why}", ["{}", '{"job_id": "..."}']
        ) from None
    return await run_in_threadpool(_stop, services, caller, job_id)


def _stop(services: Services, caller: Principal, job_id: UUID | None) -> dict[str, Any]:
    owner = None if caller.admin else caller.id
    with services.db.transaction() as cursor:
        if job_id is not None:
            row = job_list.summary(cursor, job_id)
            if row is None or (owner is not None and row.owner != owner):
                raise NotFound(f"there is no job {job_id}", code="unknown-job")
        stopped = job_stopping.stop(cursor, job_id, owner)
    for number in stopped:
        services.queue.announce(JobHint(job_id=number, correlation_id=correlation.get()))
    wanted = [job_id] if job_id is not None else stopped
    answer = [read_jobs(services.db, None, number)["jobs"][0] for number in wanted]
    message = f"{len(stopped)} job(s) asked to stop, {len(wanted) - len(stopped)} had ended before"
    return {"message": message, "mode": "ibkr", "status": "stopped", "jobs": answer}


@router.get("/api/v1/historical/backfill/{job_id}/chunks", summary="The requests of one job, and what became of each")
def chunks(
    job_id: UUID,
    services: ServicesDep,
    caller: CallerDep,
    after: Annotated[int, Query(ge=0, le=MAX_NUMBER, description="the last chunk_id of the page before")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> dict[str, Any]:
    return read_chunks(services.db, None if caller.admin else caller.id, job_id, after=after, limit=limit)


@router.get("/api/v1/historical/backfill/{job_id}", summary="One job")
def one(job_id: UUID, services: ServicesDep, caller: CallerDep) -> dict[str, Any]:
    job: dict[str, Any] = read_jobs(services.db, None if caller.admin else caller.id, job_id)["jobs"][0]
    return job


handler = lambda_handler("backfill", router)
