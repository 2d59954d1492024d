"""Orders: new ones, previews, changes, cancels; what became of each. The kill switch, and the limits of risk. The same for
the web front end that there was before."""

import nautilus.http.cold_start  # noqa: F401, I001  first: it says why

import re
from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Header, Path, Query, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from nautilus.auth.principal import Principal
from nautilus.db.orders import events, orders
from nautilus.db.orders.orders import LastListed, OrderRow
from nautilus.errors import InvalidInput
from nautilus.http.dependencies import CallerDep, ClientDep, ServicesDep
from nautilus.http.lambda_entry import lambda_handler
from nautilus.http.problems import PROBLEMS, problem
from nautilus.http.routes import StrictRoute
from nautilus.http.services import Services
from nautilus.infra.cache import Cache
from nautilus.lookup.identity import Identity
from nautilus.orders import front_end, report
from nautilus.orders.change import Changed
from nautilus.orders.confirming import ConfirmedInstruments
from nautilus.orders.desk import OrderDesk, visible
from nautilus.orders.front_end_schemas import FrontEndChange, FrontEndOrder, fields_of_the_page
from nautilus.orders.parameters import MAX_LISTED, OrdersParameters
from nautilus.orders.place import Placed
from nautilus.orders.preview import WAIT_S, preview_json
from nautilus.orders.risk_desk import RiskDesk
from nautilus.orders.schemas import (
    ChangeRequest,
    KillRequest,
    LimitRequest,
    OrderRequest,
    ResolveRequest,
    ResumeRequest,
)
from nautilus.orders.states import OrderState
from nautilus.orders.waiting import LONGEST_S, UNDER_WAY, UNDONE, OrderWaits

router = APIRouter(tags=["orders"], responses=PROBLEMS, route_class=StrictRoute)
_ORDERS, _PAGE = "/api/v1/orders", "/api/v1/ib/orders"
MAX_KEY = 200


class OrderServices:
    """What the routes share."""

    def __init__(self, services: Services) -> None:
        self.desk = OrderDesk(services.db, services.settings)
        self.risk = RiskDesk(services.db, services.settings.live_account)
        settings = services.settings
        cache = Cache(settings.redis_url.get_secret_value())
        self.waits = OrderWaits(services.db, cache, shared=settings.deployed)
        self.names = ConfirmedInstruments(services.db, services.queue, wait_s=services.settings.search_wait_s)


def _shared(services: Services) -> OrderServices:
    return services.kept(OrderServices, lambda: OrderServices(services))


Key = Annotated[str | None, Header(max_length=MAX_KEY, description="the same key and body: the same order")]
Wait = Annotated[
    float, Query(ge=0, le=LONGEST_S, description="seconds to wait until it is neither accepted, reserved nor sending")
]


# ---- placing ---------------------------------------------------------------------------------------------------------


@router.post(_ORDERS, status_code=202, summary="Place an order, a bracket, or one order of a group")
async def place(
    body: OrderRequest, services: ServicesDep, caller: CallerDep, idempotency_key: Key = None, wait: Wait = 0
) -> Any:
    if not idempotency_key or not idempotency_key.strip():
        raise InvalidInput.field("Idempotency-Key", "is missing: send one for each order, such as a random UUID")
    shared = _shared(services)
    found = await shared.names.identity(body, caller)
    if body.dry_run:
        return await _preview(shared, body, found, caller)
    placed = await run_in_threadpool(shared.desk.place, body, found.instrument, caller, key=idempotency_key)
    waited = await _waited(shared, placed.orders[0], wait)
    described = None if waited or placed.repeated else report.described_new(placed.orders)
    if described is None:
        described = await run_in_threadpool(_newest, services, placed)
    return _answer(placed, described, found, waited)


async def _waited(shared: OrderServices, row: OrderRow, wait_s: float) -> dict[str, bool]:
    """Whether a call waited as it wanted to; nothing where it did not want to."""
    if not wait_s:
        return {}
    return {"waited": row.state not in UNDER_WAY or await shared.waits.until_on_its_way(row.id, wait_s)}


def _newest(services: Services, placed: Placed) -> list[dict[str, Any]]:
    with services.db.transaction(snapshot=True, brief=True) as cursor:
        now = {row.id: row for row in orders.several(cursor, [row.id for row in placed.orders])}
        return report.described(cursor, [now.get(row.id, row) for row in placed.orders])


def _answer(placed: Placed, described: Sequence[dict[str, Any]], found: Identity, waited: dict[str, bool]) -> Response:
    first = placed.orders[0]
    answer = {**described[0], "legs": described[1:], "notices": list(placed.notices), **waited, **_changed_hands(found)}
    headers = {"Location": f"{_ORDERS}/{first.id}", "ETag": _tag(described[0]["version"]), "Cache-Control": "no-store"}
    if first.state == OrderState.DENIED:
        checks = first.checks
        detail = f"the order is denied: {first.why}"
        return problem(422, detail, code="order-denied", headers=headers, extra={"checks": checks, "order": answer})
    return JSONResponse(answer, 202, headers)


@router.post(
    f"{_ORDERS}/preview",
    summary="What the checks, and IB by a what-if order, say about an order now; no order is stored or sent",
)
async def preview(body: OrderRequest, services: ServicesDep, caller: CallerDep) -> dict[str, Any]:
    shared = _shared(services)
    return await _preview(shared, body, await shared.names.identity(body, caller), caller)


async def _preview(shared: OrderServices, body: OrderRequest, found: Identity, caller: Principal) -> dict[str, Any]:
    seen = await run_in_threadpool(shared.desk.preview, body, found.instrument, caller)
    if seen.waits_for is not None:
        waited = await shared.waits.until_answered(seen.waits_for, WAIT_S)
        seen = await run_in_threadpool(shared.desk.preview, body, found.instrument, caller, what_if_id=seen.waits_for)
        if not waited:
            seen = seen._replace(why_not="too many calls wait already: ask once more")
    return {**preview_json(seen), **_changed_hands(found)}


def _changed_hands(found: Identity) -> dict[str, Any]:
    """That the words meant another contract before, where they did."""
    return {name: value for name, value in found.as_dict().items() if name == "instrument_changed"}


# ---- reading ---------------------------------------------------------------------------------------------------------


@router.get(_ORDERS, summary="Orders, the newest first")
def listing(
    services: ServicesDep, caller: CallerDep, response: Response, given: Annotated[OrdersParameters, Query()]
) -> dict[str, Any]:
    response.headers["Cache-Control"] = "no-store"
    which = given.filter(caller)
    with services.db.transaction(snapshot=True) as cursor:
        last = visible(cursor, given.after, caller) if given.after is not None else None
        rows = orders.listed(cursor, which, LastListed(last.accepted_at, last.id) if last else None, given.limit)
        described = report.described(cursor, rows)
    return {"orders": described, "next_after": str(rows[-1].id) if len(rows) == given.limit else None}


@router.get(f"{_ORDERS}/risk", summary="Trading state, limits, what is reserved and used, and the order process")
def risk(services: ServicesDep, caller: CallerDep, response: Response) -> dict[str, Any]:
    response.headers["Cache-Control"] = "no-store"
    return _shared(services).risk.report(caller)


@router.get(f"{_ORDERS}/{{order_id}}", summary="One order, with its fills and open requests")
async def order(
    order_id: UUID, services: ServicesDep, caller: CallerDep, response: Response, wait: Wait = 0
) -> dict[str, Any]:
    response.headers["Cache-Control"] = "no-store"
    row, described = await run_in_threadpool(_order, services, order_id, caller)
    waited = await _waited(_shared(services), row, wait)
    if waited.get("waited") and row.state in UNDER_WAY:
        row, described = await run_in_threadpool(_order, services, order_id, caller)
    response.headers["ETag"] = _tag(row.version)
    return {**described, **waited}


def _order(services: Services, order_id: UUID, caller: Principal) -> tuple[OrderRow, dict[str, Any]]:
    with services.db.transaction(snapshot=True, brief=True) as cursor:
        row = visible(cursor, order_id, caller)
        return row, report.described(cursor, [row])[0]


@router.get(f"{_ORDERS}/{{order_id}}/events", summary="What happened to an order, with the words of the broker")
def history(
    order_id: UUID,
    services: ServicesDep,
    caller: CallerDep,
    response: Response,
    after: Annotated[int, Query(ge=0, le=2**53 - 1, description="the last event of the page before")] = 0,
    limit: Annotated[int, Query(ge=1, le=MAX_LISTED)] = 100,
) -> dict[str, Any]:
    response.headers["Cache-Control"] = "no-store"
    with services.db.transaction(snapshot=True, brief=True) as cursor:
        visible(cursor, order_id, caller)
        rows = events.of_order(cursor, order_id, after, limit)
    return {
        "events": [report.event_json(row) for row in rows],
        "next_after": rows[-1].id if len(rows) == limit else None,
    }


# ---- changing --------------------------------------------------------------------------------------------------------


@router.patch(f"{_ORDERS}/{{order_id}}", status_code=202, summary="Ask for another quantity or other prices")
def modify(
    order_id: UUID,
    body: ChangeRequest,
    services: ServicesDep,
    caller: CallerDep,
    if_match: Annotated[str | None, Header(max_length=40, description="the version of the order, as its ETag")] = None,
    idempotency_key: Key = None,
) -> Response:
    version = _version(if_match)
    done = _shared(services).desk.modify(order_id, body, caller, version=version, key=idempotency_key)
    return _accepted(services, [done])


@router.delete(f"{_ORDERS}/{{order_id}}", status_code=202, summary="Cancel an order")
def cancel(order_id: UUID, services: ServicesDep, caller: CallerDep) -> Response:
    return _accepted(services, [_shared(services).desk.cancel(order_id, caller)])


@router.delete(_ORDERS, status_code=202, summary="Cancel all open orders of an account that were placed here")
def cancel_all(
    services: ServicesDep,
    caller: CallerDep,
    account: Annotated[str, Query(min_length=1, max_length=32, description="of which account")],
) -> Response:
    done = _shared(services).desk.cancel_all(account, caller)
    return JSONResponse({"cancelled": [str(one.order.id) for one in done]}, 202)


@router.post(f"{_ORDERS}/{{order_id}}/resolve", summary="Say what became of an order that is unknown")
def resolve(order_id: UUID, body: ResolveRequest, services: ServicesDep, caller: CallerDep) -> dict[str, Any]:
    row = _shared(services).desk.resolve(order_id, body.outcome, by=caller, note=body.note)
    with services.db.transaction(snapshot=True, brief=True) as cursor:
        return report.described(cursor, [orders.read(cursor, row.id) or row])[0]


def _accepted(services: Services, done: Sequence[Changed]) -> Response:
    with services.db.transaction(snapshot=True, brief=True) as cursor:
        row = orders.read(cursor, done[0].order.id) or done[0].order
        answer = report.described(cursor, [row])[0]
    return JSONResponse(
        answer, 202, {"ETag": _tag(row.version), "Location": f"{_ORDERS}/{row.id}", "Cache-Control": "no-store"}
    )


def _tag(version: int) -> str:
    return f'"{version}"'


def _version(given: str | None) -> int:
    found = re.fullmatch(r'(?a)\s*(?:W/)?"?(\d{1,18})"?\s*', given or "")
    if found is None:
        raise InvalidInput.field("If-Match", 'must be the version of the order that you saw, such as "3": its ETag')
    return int(found[1])


# ---- risk ------------------------------------------------------------------------------------------------------------


@router.post(f"{_ORDERS}/kill", status_code=202, summary="Halt trading and cancel orders")
def kill(body: KillRequest, services: ServicesDep, caller: CallerDep, client: ClientDep) -> dict[str, Any]:
    return _shared(services).risk.kill(body, caller, client)


@router.post(f"{_ORDERS}/resume", summary="Trade again after a kill or a trigger")
def resume(body: ResumeRequest, services: ServicesDep, caller: CallerDep, client: ClientDep) -> dict[str, Any]:
    return _shared(services).risk.resume(body, caller, client)


@router.put(f"{_ORDERS}/risk/limits", summary="Set a limit of an account, or of all")
def set_limit(body: LimitRequest, services: ServicesDep, caller: CallerDep, client: ClientDep) -> dict[str, Any]:
    return _shared(services).risk.set_limit(body, caller, client)


@router.delete(f"{_ORDERS}/risk/limits/{{name}}", summary="Return a limit of an account, or of all, to its default")
def unset_limit(
    name: Annotated[str, Path(max_length=64)],
    services: ServicesDep,
    caller: CallerDep,
    client: ClientDep,
    account: Annotated[str, Query(min_length=1, max_length=32, description="of which account; *: of all")] = "*",
) -> dict[str, Any]:
    return _shared(services).risk.unset_limit(account, name, caller, client)


# ---- the web front end that there was before -------------------------------------------------------------------------


@router.get(_PAGE, summary="Orders, in the words of the web front end: all open ones, and the newest that are over")
def page_orders(services: ServicesDep, caller: CallerDep, response: Response) -> dict[str, Any]:
    response.headers["Cache-Control"] = "no-store"
    return {"orders": [front_end.order_object(row) for row in _shared(services).desk.overview(caller)]}


@router.post(f"{_PAGE}/place", summary="Place an order, in the words of the web front end; a double click is one order")
async def place_from_page(body: FrontEndOrder, services: ServicesDep, caller: CallerDep) -> dict[str, Any]:
    shared = _shared(services)
    with fields_of_the_page():
        order = body.order()
        found = await shared.names.identity(order, caller)
        placed = await run_in_threadpool(shared.desk.place_once, order, found.instrument, caller)
    await _waited(shared, placed.orders[0], front_end.WAIT_S)
    newest = await run_in_threadpool(shared.desk.newest, placed.orders[0])
    return front_end.placed(newest, repeated=placed.repeated)


@router.put(
    f"{_PAGE}/{{order_id}}/modify", summary="Request other terms of an order, in the words of the web front end"
)
async def modify_from_page(
    order_id: UUID, body: FrontEndChange, services: ServicesDep, caller: CallerDep
) -> dict[str, Any]:
    shared = _shared(services)
    done = await run_in_threadpool(shared.desk.modify, order_id, body.change(), caller, version=None, key=None)
    return await _changed(shared, done)


@router.post(f"{_PAGE}/{{order_id}}/cancel", summary="Cancel an order, in the words of the web front end")
@router.delete(f"{_PAGE}/{{order_id}}/cancel", summary="Cancel an order, in the words of the web front end")
async def cancel_from_page(order_id: UUID, services: ServicesDep, caller: CallerDep) -> dict[str, Any]:
    shared = _shared(services)
    return await _changed(shared, await run_in_threadpool(shared.desk.cancel, order_id, caller))


async def _changed(shared: OrderServices, done: Changed) -> dict[str, Any]:
    """What became of a request, as far as that is known soon."""
    if done.request is not None and done.request.state in UNDONE and front_end.WAIT_S:
        await shared.waits.until_done(done.request.id, front_end.WAIT_S)
    return front_end.changed(await run_in_threadpool(shared.desk.newest_change, done))


@router.post(f"{_PAGE}/refresh", summary="Whether orders come by themselves, in the words of the web front end")
@router.post("/api/v1/ib/positions/refresh", summary="The same of positions")
@router.post("/api/v1/ib/account/refresh", summary="The same of the values of accounts")
def refresh(services: ServicesDep, caller: CallerDep) -> dict[str, Any]:
    return front_end.refreshed(_shared(services).risk.process())


handler = lambda_handler("orders", router)
