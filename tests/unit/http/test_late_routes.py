"""Routes that are built when first asked for: the same to whoever asks."""

import asyncio
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Path, Query
from fastapi.routing import APIRoute

from nautilus.http.lambda_entry import lambda_handler
from nautilus.http.routes import LateRoute


def router_of(kind: type[APIRoute]) -> APIRouter:
    router = APIRouter(prefix="/api", tags=["x"], route_class=kind)

    @router.get("/things", summary="All things")
    def things(limit: Annotated[int, Query(ge=1)] = 10) -> dict[str, int]:
        return {"limit": limit}

    @router.post("/things", status_code=201)
    def make(body: dict[str, Any]) -> dict[str, Any]:
        return body

    @router.get("/things/all")
    def everything() -> str:
        return "all"

    @router.get("/things/{number}/parts/{name:path}")
    def part(number: int, name: Annotated[str, Path(min_length=2)]) -> dict[str, Any]:
        return {"number": number, "name": name}

    return router


def app_of(kind: type[APIRoute]) -> FastAPI:
    return FastAPI(routes=router_of(kind).routes)


def built(app: FastAPI | APIRouter) -> list[str]:
    return [route.path for route in app.routes if isinstance(route, APIRoute) and "dependant" in vars(route)]


ASKED = (
    *(("GET", path) for path in ("/api/things", "/api/things?limit=0", "/api/things/all", "/api/things/1/parts/a/b")),
    *(
        ("GET", path)
        for path in ("/api/things/x/parts/ab", "/api/things/1/parts/a", "/api/thing", "/api/things/1", "/")
    ),
    *(("GET", path) for path in ("/api/things/", "/api/thingsx", "/api/things/all/")),
    *((method, "/api/things") for method in ("POST", "PUT", "HEAD", "OPTIONS")),
)


def ask(app: FastAPI, method: str, path: str, root: str = "") -> httpx.Response:
    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app, root_path=root)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.request(method, root + path)

    return asyncio.run(send())


@pytest.mark.parametrize("root", ["", "/below"])
def test_they_answer_as_others_do(root: str) -> None:
    plain, late = app_of(APIRoute), app_of(LateRoute)
    seen = set()
    for method, path in ASKED:
        theirs, ours = ask(plain, method, path, root), ask(late, method, path, root)
        assert (ours.status_code, ours.text) == (theirs.status_code, theirs.text), (method, path)
        seen.add(ours.status_code)
    assert seen == {200, 307, 404, 405, 422}


def test_they_are_described_as_others_are() -> None:
    assert app_of(LateRoute).openapi() == app_of(APIRoute).openapi()


def test_a_request_builds_its_own_route_alone() -> None:
    app = app_of(LateRoute)
    assert ask(app, "GET", "/nowhere").status_code == 404
    assert built(app) == []
    assert ask(app, "GET", "/api/things/all").json() == "all"
    assert built(app) == ["/api/things/all"]
    app.openapi()
    assert len(built(app)) == 4


def test_what_no_route_has_it_has_neither() -> None:
    [route] = (route for route in app_of(LateRoute).routes if getattr(route, "path", "") == "/api/things/all")
    for _ in range(2):
        with pytest.raises(AttributeError, match="anything_else"):
            _ = route.anything_else  # type: ignore[attr-defined]


@pytest.mark.parametrize(("kind", "count"), [("on-demand", 0), ("snap-start", 4)])
def test_a_snapshot_holds_them_built(kind: str, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_LAMBDA_INITIALIZATION_TYPE", kind)
    router = router_of(LateRoute)
    lambda_handler("x", router)
    assert len(built(router)) == count
