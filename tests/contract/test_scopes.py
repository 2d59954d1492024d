"""Every route has a row in the table of nautilus/auth/scopes.py, and asks of its caller what that row says."""

import importlib
import re
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from fastapi import APIRouter
from starlette.routing import BaseRoute

import stream.app
from nautilus.auth.scopes import ADMIN, BY_PASSWORD, PUBLIC, ROUTES, SCOPES, SIGNED_IN, Access
from nautilus.http.app import create_app
from nautilus.http.dependencies import CallerDep
from nautilus.http.routes import StrictRoute
from tests.support.auth_api import Api, Client, api_of, bearer

ROOT = Path(__file__).parents[2]
FUNCTIONS = sorted(path.parent.name for path in (ROOT / "functions").glob("*/app.py"))
# For people who develop, never deployed: FastAPI's own and those of dev/pages.py.
PAGES = re.compile(r"/|/docs(/.*)?|/openapi\.json|/static.*")


def served(routes: Iterable[BaseRoute]) -> set[tuple[str, str]]:
    """(method, path) of each route; of a socket the method is WEBSOCKET."""
    return {
        (method, str(getattr(route, "path_format", getattr(route, "path", ""))))
        for route in routes
        for method in (getattr(route, "methods", None) or {"WEBSOCKET"}) - {"HEAD", "OPTIONS"}
    }


@pytest.fixture(scope="module")
def api(server: Any, template: str) -> Iterator[Api]:
    from tests.conftest import database

    with database(server, template) as dsn, api_of(dsn) as made:
        yield made


@pytest.fixture(scope="module")
def client(api: Api) -> Client:
    return api.client()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_route_of_a_function_has_a_row(name: str) -> None:
    router = importlib.import_module(f"functions.{name}.app").router
    lines = "\n".join(f"    {key!r}: ...," for key in sorted(served(router.routes) - set(ROUTES)))
    assert not lines, f"add to ROUTES in nautilus/auth/scopes.py:\n{lines}"


def test_every_row_is_a_route_and_the_app_of_one_machine_has_no_others(api: Api) -> None:
    of_functions = [importlib.import_module(f"functions.{name}.app").router for name in FUNCTIONS] + [stream.app.router]
    assert set(ROUTES) == {key for router in of_functions for key in served(router.routes)}
    assert set(ROUTES) == {key for key in served(api.app.routes) if not PAGES.fullmatch(key[1])}


def test_every_scope_of_a_row_exists() -> None:
    assert {access.scope for access in ROUTES.values()} - {""} <= set(SCOPES)


def token(api: Api, *scopes: str, key_id: int | None = None) -> dict[str, str]:
    """The headers of a user who may do exactly this; `key_id`: signed in by that API key instead of a password."""
    now = int(time.time())
    user = api.sql("SELECT id, username FROM users WHERE username = 'ann'")[0]
    access = api.signer().sign(
        user_id=user.id,
        name=user.username,
        scopes=scopes,
        session=str(uuid4()),
        key_id=key_id,
        now_s=now,
        expires_s=now + 600,
    )
    return bearer(access.token)


def ask(client: Client, route: tuple[str, str], headers: dict[str, str]) -> httpx.Response:
    """A request that every route refuses for a parameter it does not know, once it has let the caller in."""
    path = re.sub(r"\{\w+\}", "1", re.sub(r"\{(job|session|run|sweep|config)_id\}", str(uuid4()), route[1]))
    return client.request(route[0], f"{path}?colour=red", headers=headers)


def rows(*kinds: Access) -> list[tuple[str, str]]:
    return [route for route, access in ROUTES.items() if access in kinds]


@pytest.mark.parametrize("route", [route for route, access in ROUTES.items() if access.scope], ids=" ".join)
def test_a_route_lets_in_who_has_its_scope_and_nobody_else(api: Api, client: Client, route: tuple[str, str]) -> None:
    scope = ROUTES[route].scope
    others = [other for other in SCOPES if other not in (scope, "admin")]
    refused = ask(client, route, token(api, *others))
    assert (refused.status_code, refused.json()["code"], refused.json()["scope"]) == (403, "missing-scope", scope)
    for good in (scope, "admin"):
        assert ask(client, route, token(api, good)).json()["code"] == "unknown-parameter"


@pytest.mark.parametrize("route", rows(BY_PASSWORD), ids=" ".join)
def test_a_route_by_password_takes_no_sign_in_by_key(api: Api, client: Client, route: tuple[str, str]) -> None:
    assert ask(client, route, token(api, "admin", key_id=1)).json()["code"] == "password-sign-in-needed"
    assert ask(client, route, token(api)).json()["code"] == "unknown-parameter"


@pytest.mark.parametrize("route", rows(SIGNED_IN), ids=" ".join)
def test_a_route_for_everybody_signed_in_asks_for_no_scope(api: Api, client: Client, route: tuple[str, str]) -> None:
    assert ask(client, route, token(api)).json()["code"] == "unknown-parameter"
    assert ask(client, route, {}).status_code == 401


@pytest.mark.parametrize("route", rows(PUBLIC), ids=" ".join)
def test_a_public_route_asks_for_nothing(client: Client, route: tuple[str, str]) -> None:
    assert ask(client, route, {}).status_code in (200, 422, 503)


def test_a_route_without_a_row_serves_nobody(api: Api) -> None:
    router = APIRouter(route_class=StrictRoute)

    @router.get("/api/v1/forgotten")
    def forgotten(caller: CallerDep) -> str:
        return caller.name

    app = create_app(router, services=api.services)
    answer = api.client(app=app).get("/api/v1/forgotten", headers=token(api, "admin"))
    assert (answer.status_code, answer.json()["code"]) == (500, "internal-error")


@pytest.mark.parametrize("route", [route for route in ROUTES if route[0] not in ("GET", "WEBSOCKET")], ids=" ".join)
def test_what_changes_something_takes_no_foreign_page_whatever_its_credentials(
    api: Api, client: Client, route: tuple[str, str]
) -> None:
    for header in ({"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}):
        assert ask(client, route, {**token(api, "admin"), **header}).json()["code"] == "foreign-origin"
    assert ask(client, route, {**token(api, "admin"), "host": "evil.example"}).json()["code"] == "foreign-host"


def test_the_table_names_routes_of_every_kind() -> None:
    assert len(rows(ADMIN)) >= 3
    assert len(rows(PUBLIC)) == 4
