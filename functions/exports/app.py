"""Exports: bars as files. Begin one, watch it, stop it, and read what was written."""

import nautilus.http.cold_start  # noqa: F401, I001  first: it says why

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Header, Path, Query, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse, StreamingResponse

from nautilus.exports import downloads
from nautilus.exports.desk import ExportDesk
from nautilus.exports.downloads import NoSuchRange, Range
from nautilus.exports.report import PATH
from nautilus.exports.schemas import ExportRequest
from nautilus.exports.targets import Allowed
from nautilus.http.dependencies import CallerDep, ServicesDep
from nautilus.http.json_values import MAX_NUMBER
from nautilus.http.lambda_entry import lambda_handler
from nautilus.http.problems import PROBLEMS, problem
from nautilus.http.routes import StrictRoute
from nautilus.http.services import Services

router = APIRouter(tags=["exports"], responses=PROBLEMS, route_class=StrictRoute)
_NO_STORE = {"Cache-Control": "no-store"}


def _desk(services: Services) -> ExportDesk:
    return services.kept(ExportDesk, lambda: ExportDesk(services.db, _allowed(services)))


def _allowed(services: Services) -> Allowed:
    one = services.settings
    return Allowed(one.export_dir, one.export_roots, one.export_bucket, one.export_buckets, one.deployed)


@router.post(PATH, status_code=202, summary="Write bars to files; or, with dry_run, say what that would come to")
def begin(
    request: ExportRequest,
    services: ServicesDep,
    caller: CallerDep,
    idempotency_key: Annotated[str | None, Header(max_length=200)] = None,
) -> Response:
    begun = _desk(services).begin(request, caller, key=idempotency_key or "")
    if begun.export_id is None:
        return JSONResponse(begun.answer, 200, _NO_STORE)
    headers = {"Location": f"{PATH}/{begun.export_id}", "Retry-After": "1", **_NO_STORE}
    return JSONResponse({**begun.answer, "deduplicated": begun.again}, 202, headers)


@router.get(PATH, summary="Exports, the newest first")
def listed(
    services: ServicesDep,
    caller: CallerDep,
    response: Response,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    before: Annotated[UUID | None, Query(description="the last export of the page before")] = None,
) -> dict[str, Any]:
    response.headers.update(_NO_STORE)
    return dict(_desk(services).listed(caller, limit=limit, before=before))


@router.get(f"{PATH}/{{export_id}}", summary="One export: how far it is, and what went wrong")
def one(export_id: UUID, services: ServicesDep, caller: CallerDep, response: Response) -> dict[str, Any]:
    response.headers.update(_NO_STORE)
    return dict(_desk(services).one(export_id, caller))


@router.post(f"{PATH}/{{export_id}}/stop", summary="Stop an export; what is written stays until it is removed")
def stop(export_id: UUID, services: ServicesDep, caller: CallerDep, response: Response) -> dict[str, Any]:
    response.headers.update(_NO_STORE)
    return dict(_desk(services).stop(export_id, caller))


@router.delete(f"{PATH}/{{export_id}}", status_code=204, summary="Remove the files of an export that is over")
def remove(export_id: UUID, services: ServicesDep, caller: CallerDep) -> None:
    _desk(services).remove(export_id, caller)


@router.get(f"{PATH}/{{export_id}}/files", summary="The files of an export, with their hashes and gaps")
def files(
    export_id: UUID,
    services: ServicesDep,
    caller: CallerDep,
    response: Response,
    after: Annotated[int, Query(ge=-1, le=MAX_NUMBER, description="n of the last file of the page before")] = -1,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
) -> dict[str, Any]:
    response.headers.update(_NO_STORE)
    return dict(_desk(services).files(export_id, caller, after=after, limit=limit))


@router.get(
    f"{PATH}/{{export_id}}/files/{{path:path}}",
    summary="A file, whole or in ranges; deployed, a redirect to S3",
    response_class=Response,
    responses={
        200: {"content": {"application/octet-stream": {}}},
        206: {"description": "the range that was wanted"},
        302: {"description": "deployed: the file in S3, for a quarter of an hour"},
        416: {"description": "the range lies outside the file"},
    },
)
def file(
    export_id: UUID,
    path: Annotated[str, Path(min_length=1, max_length=600, description="path of a file of this export")],
    request: Request,
    services: ServicesDep,
    caller: CallerDep,
) -> Response:
    found = _desk(services).file(export_id, path, caller)
    settings = services.settings
    if found.target["kind"] == "s3":
        address = downloads.link(found, endpoint=settings.export_endpoint, region=settings.export_region)
        return RedirectResponse(address, 302, _NO_STORE)
    headers = {"ETag": f'"{found.sha256}"', "Accept-Ranges": "bytes", "Cache-Control": "private, no-cache"}
    if f'"{found.sha256}"' in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    try:
        wanted = downloads.range_of(request.headers.get("range", ""), request.headers.get("if-range", ""), found)
    except NoSuchRange:
        outside = {"Content-Range": f"bytes */{found.size}", **headers}
        return problem(416, f"the file has {found.size} bytes", code="range-not-satisfiable", headers=outside)
    descriptor = downloads.open_file(found)
    part = wanted or Range(0, found.size)
    headers["Content-Length"] = str(part.end - part.start)
    if wanted is not None:
        headers["Content-Range"] = f"bytes {part.start}-{part.end - 1}/{found.size}"
    body = downloads.pieces(descriptor, part)
    return StreamingResponse(body, 206 if wanted else 200, headers, media_type="application/octet-stream")


handler = lambda_handler("exports", router)
