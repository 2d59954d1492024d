"""Health and the session with IB: what works, since when not, and why."""

from typing import Annotated, Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from nautilus.auth import Principal
from nautilus.clock import rfc3339
from nautilus.db import measures, sessions
from nautilus.errors import Unavailable
from nautilus.log import Measure
from nautilus.web import Services, ServicesDep, lambda_handler, maybe, needs

router = APIRouter(tags=["monitoring"])


@router.get("/health", summary="ok or degraded; 503 only without the database")
def health(services: ServicesDep, caller: Annotated[Principal | None, maybe()]) -> Response:
    status, checks = _check(services)
    body: dict[str, Any] = {"status": status}
    if caller is not None:
        body["checks"] = checks
    headers = {"Retry-After": "5"} if status == "down" else {}
    return JSONResponse(body, 503 if status == "down" else 200, headers)


@router.get("/health/ready", summary="200 only when everything works")
def ready(services: ServicesDep) -> Response:
    status, _ = _check(services)
    return JSONResponse({"status": status}, 200 if status == "ok" else 503)


def _check(services: Services) -> tuple[str, dict[str, Any]]:
    """`ok`, `degraded` (reads keep working) or `down` (no database), with what each part says."""
    try:
        with services.db.transaction(snapshot=True) as cursor:
            session = sessions.latest(cursor)
            store = sessions.store(cursor)
    except Unavailable as gone:
        return "down", {"database": {"status": "down", "detail": gone.detail}}
    checks: dict[str, Any] = {"database": {"status": "ok", "source": store.source}}
    if session is None:
        checks["ib"] = {"status": "down", "detail": "no bridge was ever heard of; start one"}
    else:
        good = session.state == "connected"
        checks["ib"] = {
            "status": "ok" if good else session.state,
            "detail": session.reason,
            "since": _text(session.since),
        }
    return ("ok" if checks["ib"]["status"] == "ok" else "degraded"), checks


@router.get("/api/v1/ib/session", summary="The session with Interactive Brokers, as its bridge last told it")
def session(services: ServicesDep, caller: Annotated[Principal, needs("monitoring:read")]) -> dict[str, Any]:
    with services.db.transaction(snapshot=True) as cursor:
        found = sessions.latest(cursor)
        store = sessions.store(cursor)
    if found is None:
        return {
            "state": "down",
            "since": None,
            "reason": "no bridge was ever heard of; start one",
            "source": store.source,
        }
    return {
        "state": found.state,
        "since": _text(found.since),
        "reason": found.reason,
        "bridge": found.bridge,
        "account": found.account,
        "source": store.source,
        "host": found.host,
        "port": found.port,
        "client_id": found.client_id,
        "server_version": found.server_version,
        "farms": found.farms,
        "activity": found.activity,
        "heartbeat_at": _text(found.heartbeat_at),
        "market_time": rfc3339(found.market_ns // 1_000_000 * 1_000_000),
    }


def _text(moment: Any) -> str:
    return str(moment.strftime("%Y-%m-%dT%H:%M:%SZ"))


def measure(services: Services) -> list[Measure]:
    """What alarms and the dashboard watch, once a minute: a bridge that is gone cannot tell."""
    with services.db.transaction(snapshot=True) as cursor:
        session = sessions.latest(cursor)
        waiting = measures.live_jobs(cursor)
    told = [
        Measure("SessionConnected", 1 if session and session.state == "connected" else 0, "Count"),
        Measure("LiveJobs", waiting.jobs, "Count"),
        Measure("JobSilence", waiting.silent_s, "Seconds"),
    ]
    if session is not None:
        told.append(Measure("BridgeSilence", session.silent_s, "Seconds"))
    return told


handler = lambda_handler("monitoring", router, measure=measure)
