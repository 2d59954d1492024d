"""The routes of imports of fills; the function of the portfolio serves them."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from nautilus.errors import UnsupportedMediaType
from nautilus.http.dependencies import CallerDep, ServicesDep
from nautilus.http.problems import PROBLEMS, problem
from nautilus.http.routes import StrictRoute
from nautilus.http.services import Services
from nautilus.orders.desk import readable
from nautilus.portfolio.import_schemas import MAX_PARTS, ImportRequest
from nautilus.portfolio.importing import Begun, Finished, ImportDesk, import_json

router = APIRouter(tags=["portfolio"], responses=PROBLEMS, route_class=StrictRoute)
_IMPORTS = "/api/v1/portfolio/imports"
_BYTES = "application/octet-stream"
_NO_STORE = {"Cache-Control": "no-store"}
MAX_LISTED = 100


class ImportsParameters(BaseModel):
    """Which imports, and which page of them."""

    account: str | None = Field(
        None, max_length=32, description="of this account; none: of all that the caller may use"
    )
    after: UUID | None = Field(None, description="the last import of the page before")
    limit: int = Field(20, ge=1, le=MAX_LISTED, description="imports on a page")


def _desk(services: Services) -> ImportDesk:
    return services.kept(ImportDesk, lambda: ImportDesk(services.db))


@router.post(_IMPORTS, status_code=201, summary="Announce a file of fills; a file that was announced before goes on")
def begin(body: ImportRequest, services: ServicesDep, caller: CallerDep) -> Response:
    done = _desk(services).begin(body, caller)
    headers = {"Location": f"{_IMPORTS}/{done.row.id}", **_NO_STORE}
    return JSONResponse(_begun(done), 200 if done.resumed else 201, headers)


@router.put(
    f"{_IMPORTS}/{{import_id}}/parts/{{n}}",
    summary="Upload a part of the file, as plain bytes; a part of the same number is replaced",
    openapi_extra={
        "requestBody": {"required": True, "content": {_BYTES: {"schema": {"type": "string", "format": "binary"}}}}
    },
)
async def add_part(
    import_id: UUID,
    n: Annotated[int, Path(ge=1, le=MAX_PARTS, description="the first is 1")],
    request: Request,
    services: ServicesDep,
    caller: CallerDep,
) -> Response:
    _require_bytes(request)
    raw = await request.body()
    done = await run_in_threadpool(_desk(services).add_part, import_id, n, raw, caller)
    return JSONResponse(_begun(done), 200, _NO_STORE)


@router.post(f"{_IMPORTS}/{{import_id}}/finish", summary="Check the file and write its fills")
def finish(
    import_id: UUID,
    services: ServicesDep,
    caller: CallerDep,
    dry_run: Annotated[bool, Query(description="only say what would be written")] = False,
) -> Response:
    done = _desk(services).finish(import_id, caller, dry=dry_run)
    answer = _finished(done)
    if done.row.state == "refused":
        wrong = done.row.problems[0] if done.row.problems else {"field": "file", "text": "it cannot be read"}
        detail = f"the file is refused: {wrong['field']}: {wrong['text']}"
        return problem(422, detail, code="import-refused", headers=_NO_STORE, extra={"import": answer})
    return JSONResponse(answer, 202 if done.row.state == "applying" else 200, _NO_STORE)


@router.get(_IMPORTS, summary="Imports, the newest first")
def listing(
    services: ServicesDep, caller: CallerDep, response: Response, given: Annotated[ImportsParameters, Query()]
) -> dict[str, Any]:
    response.headers.update(_NO_STORE)
    accounts = readable(given.account, caller)
    rows = _desk(services).listing(accounts, given.after, given.limit, caller)
    return {
        "imports": [
            {**import_json(row), "problems": [], "problems_left_out": row.problems_left_out + len(row.problems)}
            for row in rows
        ],
        "next_after": str(rows[-1].id) if len(rows) == given.limit else None,
    }


@router.get(f"{_IMPORTS}/{{import_id}}", summary="One import: which parts have come, and what became of its rows")
def read(import_id: UUID, services: ServicesDep, caller: CallerDep, response: Response) -> dict[str, Any]:
    response.headers.update(_NO_STORE)
    return _begun(_desk(services).read(import_id, caller))


def _begun(done: Begun) -> dict[str, Any]:
    return import_json(done.row, done.parts)


def _finished(done: Finished) -> dict[str, Any]:
    found = [
        {"con_id": one.con_id, "expected": f"{one.expected:f}", "broker": f"{one.broker:f}"} for one in done.differences
    ]
    return {**import_json(done.row), "dry_run": done.dry, "position_differences": found}


def _require_bytes(request: Request) -> None:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != _BYTES:
        raise UnsupportedMediaType(f"a part is plain bytes: send Content-Type: {_BYTES}", extra={"accepted": [_BYTES]})
