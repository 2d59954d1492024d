"""Health and the session with IB: what works, since when not, and why."""

import nautilus.http.cold_start  # noqa: F401, I001  first: it says why

from datetime import datetime
from contextlib import suppress
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from nautilus.backfill.pacing import MARGIN_NS, PERIOD_NS, PacingLimits
from nautilus.clock import NS_PER_MS, NS_PER_S, rfc3339
from nautilus.db import timescale
from nautilus.db.bridge import commands, status
from nautilus.db.ledger import requests
from nautilus.db.cursor import Cursor
from nautilus.db.monitoring import incidents, measures
from nautilus.db.orders import process
from nautilus.db.orders.process import ProcessRow
from nautilus.errors import InvalidInput, Unavailable
from nautilus.http.json_values import MAX_NUMBER
from nautilus.http.dependencies import CallerDep, ClientDep, OptionalCallerDep, ServicesDep
from nautilus.http.lambda_entry import lambda_handler
from nautilus.http.problems import PROBLEMS
from nautilus.http.routes import StrictRoute
from nautilus.http.services import Services
from nautilus.infra.messages import CommandHint
from nautilus.log import Measure, correlation
from nautilus.monitoring import closing
from nautilus.monitoring.connection_status import connection_fields
from nautilus.monitoring.incidents import CODES, Condition


class CloseRequest(BaseModel):
    """Why an incident is over."""

    model_config = ConfigDict(extra="forbid")

    note: str = Field(min_length=1, max_length=500, description="what was found and done")


router = APIRouter(tags=["monitoring"], responses=PROBLEMS, route_class=StrictRoute)
_RECONNECT_WITHIN_S = 60.0
_SILENT_AFTER_S = 60.0
"""A bridge that says nothing for so long is an incident: it writes every five seconds. So is an order process: every two."""
_OF_THE_MOMENT = ("orders-not-ready", "orders-account-refused", "order-words-delayed")
"""Incidents that tell how an order process is; when it is gone nobody knows. Those of orders and positions stay."""
_ORDER_PROCESS = "order-process"
"""Keeper and subject of the order process's own incidents (ib_bridge/orders/incidents.py)."""


@router.get("/health", summary="ok or degraded; 503 only without the database")
def health(services: ServicesDep, caller: OptionalCallerDep) -> Response:
    health, checks = _check(services)
    body: dict[str, Any] = {"status": health}
    if caller is not None:
        body["checks"] = checks
    headers = {"Retry-After": "5"} if health == "down" else {}
    return JSONResponse(body, 503 if health == "down" else 200, headers)


@router.get("/health/ready", summary="200 only when everything works")
def ready(services: ServicesDep) -> Response:
    health, _ = _check(services)
    return JSONResponse({"status": health}, 200 if health == "ok" else 503)


def _check(services: Services) -> tuple[str, dict[str, Any]]:
    """`ok`, `degraded` (reads keep working) or `down` (no database), with what each part says."""
    try:
        with services.db.transaction(snapshot=True) as cursor:
            session = status.latest(cursor)
            store = status.store(cursor)
            storage = timescale.storage(cursor)
            orders = process.read(cursor)
    except Unavailable as gone:
        return "down", {"database": {"status": "down", "detail": gone.detail}}
    checks: dict[str, Any] = {"database": {"status": "ok", "source": store.source, "storage": storage}}
    if session is None:
        checks["ib"] = {"status": "down", "detail": "no bridge was ever heard of; start one"}
    else:
        good = session.state == "connected"
        checks["ib"] = {
            "status": "ok" if good else session.state,
            "detail": session.reason,
            "since": _text(session.since),
        }
    if orders is not None:
        checks["orders"] = _orders_check(orders)
    works = all(check["status"] in ("ok", "off") for check in checks.values())
    return ("ok" if works else "degraded"), checks


def _orders_check(row: ProcessRow) -> dict[str, str]:
    """The order process: `ok` when orders are sent, `off` when none are wanted, else its state and why."""
    state, reason = row.standing
    if row.mode == "off" and state != "silent":
        return {"status": "off", "detail": reason}
    return {"status": "ok" if state == "ready" else state, "detail": reason}


@router.get("/api/v1/ib/session", summary="The session with Interactive Brokers, as its bridge last told it")
def session(services: ServicesDep, caller: CallerDep) -> dict[str, Any]:
    with services.db.transaction(snapshot=True) as cursor:
        found = status.latest(cursor)
        store = status.store(cursor)
    if found is None:
        return {
            "state": "down",
            "since": None,
            "reason": "no bridge was ever heard of; start one",
            "source": store.source,
            "volume_unit": "unknown",
            "volume_unit_evidence": "none",
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
        "volume_unit": found.activity.get("volume_unit", "unknown"),
        "volume_unit_evidence": found.activity.get("volume_unit_evidence", "none"),
        "activity": found.activity,
        "heartbeat_at": _text(found.heartbeat_at),
        "market_time": _market(found.market_ns),
    }


@router.post(
    "/api/v1/ib/session/reconnect", status_code=202, summary="Let go of the connection to IB and make a new one"
)
def reconnect(services: ServicesDep, caller: CallerDep) -> dict[str, Any]:
    with services.db.transaction() as cursor:
        number = commands.request(
            cursor, "reconnect", {}, by=caller.id, correlation_id=correlation.get(), expires_s=_RECONNECT_WITHIN_S
        )
    services.queue.announce(CommandHint(command_id=number, correlation_id=correlation.get()))
    return {"command_id": str(number), "message": "watch /api/v1/ib/session"}


@router.get("/api/v1/ib/budget", summary="What IB's limits leave of the login's requests")
def budget(services: ServicesDep, caller: CallerDep) -> dict[str, Any]:
    limits = PacingLimits()
    with services.db.transaction(snapshot=True) as cursor:
        found = status.latest(cursor)
        if found is None:
            raise Unavailable("no bridge was ever heard of; start one", code="no-bridge")
        now = found.market_ns
        book = [r for r in requests.book(cursor, found.login, now) if r.small]
        rows = requests.recent(cursor, found.login, now - PERIOD_NS)
    used = sum(r.weight for r in book)
    next_free = max(now, min((r.at for r in book), default=now - PERIOD_NS) + PERIOD_NS + MARGIN_NS)
    return {
        "login": found.login,
        "market_time": _market(now),
        "small_bars": {
            "what": "bars of 30 s or less, head timestamps and ticks; BID_ASK counts twice",
            "window_s": PERIOD_NS // NS_PER_S,
            "limit": limits.period_weight,
            "reserved_for_reads": limits.reserve,
            "used": used,
            "remaining": max(0, limits.period_weight - limits.reserve - used),
            "remaining_for_reads": max(0, limits.period_weight - used),
            "next_leaves_window_at": _market(next_free) if book else None,
        },
        "open_requests": found.activity.get("open_requests"),
        "allowed_open_requests": found.activity.get("allowed_requests"),
        "blocked_on": found.activity.get("blocked_on"),
        "pacing_violations": found.activity.get("pacing_violations"),
        "last_ten_minutes": [
            {"kind": r.kind, "outcome": r.outcome, "requests": r.requests, "weight": r.weight} for r in rows
        ],
    }


@router.get("/api/v1/ib/connection/status", summary="The session in the words of the web front end")
def connection_status(services: ServicesDep, caller: CallerDep) -> dict[str, Any]:
    with services.db.transaction(snapshot=True) as cursor:
        found = status.latest(cursor)
    if found is None:
        return {
            "connected": False,
            "gateway_type": "IB Gateway",
            "error_message": "no bridge was ever heard of; start one",
        }
    return connection_fields(found)


@router.get("/api/v1/incidents", summary="What is wrong and what was, the newest first")
def incident_list(
    services: ServicesDep,
    caller: CallerDep,
    open: Annotated[bool, Query(description="only those that last")] = False,
    code: Annotated[
        str | None, Query(description="only those with this code", json_schema_extra={"enum": [*CODES]})
    ] = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    before: Annotated[
        int | None, Query(ge=1, le=MAX_NUMBER, description="id of the last one of the page before")
    ] = None,
) -> dict[str, Any]:
    if code is not None and code not in CODES:
        raise InvalidInput.field("code", f"{code!r} is not the code of an incident", tuple(CODES))
    with services.db.transaction() as cursor:
        _keep_silence(cursor)
        rows = incidents.listed(cursor, only_open=open, code=code, limit=limit, before=before)
    return {"incidents": [_incident(row) for row in rows], "next_before": rows[-1].id if len(rows) == limit else None}


@router.post("/api/v1/incidents/{incident_id}/close", summary="End an incident of something that happened once")
def close_incident(
    incident_id: Annotated[int, Path(ge=1, le=MAX_NUMBER)],
    body: CloseRequest,
    services: ServicesDep,
    caller: CallerDep,
    client: ClientDep,
) -> dict[str, Any]:
    with services.db.transaction() as cursor:
        return _incident(closing.close(cursor, incident_id, note=body.note, by=caller.id, client=client))


def _keep_silence(cursor: Cursor) -> None:
    """A bridge or an order process that is gone cannot tell: who asks does, and the schedule once a minute.

    What a silent bridge had open is over with it: nobody looks after it any more. So are incidents that tell how
    an order process is.
    """
    silent = status.silent(cursor, _SILENT_AFTER_S)
    found = [Condition("bridge-silent", one.bridge, {"heard_at": _text(one.since)}) for one in silent if one.alone]
    orders = process.read(cursor)
    if orders is not None and orders.mode != "off" and orders.age_s > _SILENT_AFTER_S:
        found.append(Condition("orders-silent", _ORDER_PROCESS, {"heard_at": _text(orders.heartbeat)}))
        incidents.end(cursor, _ORDER_PROCESS, _ORDER_PROCESS, _OF_THE_MOMENT)
    incidents.keep(cursor, "monitoring", found)
    for one in silent:
        incidents.keep(cursor, f"bridge:{one.bridge}", [])


def _incident(row: incidents.Incident) -> dict[str, Any]:
    until = _text(row.until) if row.until is not None else None
    return row._asdict() | {"since": _text(row.since), "until": until}


def _market(ns: int) -> str:
    return rfc3339(ns // NS_PER_MS * NS_PER_MS)


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def measure(services: Services) -> list[Measure]:
    """What alarms and the dashboard watch, once a minute: a bridge that is gone cannot tell."""
    # Of no use to who asks for health: its cold start does without.
    from nautilus.coverage.availability import Calendars
    from nautilus.live import freshness, stream_report

    with suppress(Unavailable), services.db.transaction() as cursor:
        _keep_silence(cursor)  # apart: the numbers come even where nothing can be written
    with services.db.transaction(snapshot=True) as cursor:
        session = status.latest(cursor)
        waiting = measures.live_jobs(cursor)
        lasting = incidents.open_incidents(cursor)
        kept = freshness.watched(
            cursor, services.settings.watched, stream_report.read(cursor), services.kept(Calendars, Calendars)
        )
    metrics = [
        Measure("SessionConnected", 1 if session and session.state == "connected" else 0, "Count"),
        Measure("LiveJobs", waiting.jobs, "Count"),
        Measure("JobSilence", waiting.silent_s, "Seconds"),
        Measure("OpenIncidents", lasting.incidents, "Count"),
        Measure("CriticalIncidents", lasting.critical, "Count"),
        Measure("WatchedSeries", kept.wanted, "Count"),
        Measure("StaleSeries", kept.stale, "Count"),
    ]
    if session is not None:
        metrics.append(Measure("BridgeSilence", session.silent_s, "Seconds"))
    return metrics


handler = lambda_handler("monitoring", router, measure=measure)
