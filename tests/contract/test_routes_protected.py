"""Every route of every function is in the list of public ones, or refuses who shows no credentials."""

import asyncio
import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

import dev.local_api
from dev.credentials import token_settings
from nautilus.auth import scopes
from nautilus.auth.scopes import BY_REFRESH_TOKEN, ROUTES
from nautilus.settings.auth import AuthSettings

# Each with the reason why nobody needs to sign in for it.
PUBLIC = {
    ("GET", "/health"): "a load balancer asks; anonymous callers see one word",
    ("GET", "/health/ready"): "the same",
    ("POST", "/api/v1/auth/login"): "the way in",
    ("GET", "/api/v1/auth/jwks.json"): "public keys",
}
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The app of all functions; its database is never reached."""
    keys = {n.removeprefix("NAUTILUS_").lower(): v for n, v in token_settings(tmp_path_factory.mktemp("keys")).items()}
    values: dict[str, Any] = {"database_url": SecretStr("postgresql://nobody:x@127.0.0.1:1/none"), **keys}
    return dev.local_api.create(AuthSettings(**values))


def routes(app: Any) -> list[tuple[str, str]]:
    return sorted((method.upper(), path) for path, item in app.openapi()["paths"].items() for method in item)


def ask(app: Any, method: str, path: str, **headers: str) -> httpx.Response:
    """One request with something for each parameter of the path, and a body that is none of the route's."""
    filled = path.replace("{job_id}", "9e107d9d-0000-0000-0000-000000000000")
    filled = filled.replace("{session_id}", "9e107d9d-0000-0000-0000-000000000000")
    while "{" in filled:
        filled = filled[: filled.index("{")] + "1" + filled[filled.index("}") + 1 :]

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            content = json.dumps({}).encode() if method in ("POST", "PUT", "PATCH") else None
            return await client.request(
                method, filled, content=content, headers={"content-type": "application/json", **headers}
            )

    return asyncio.run(send())


def test_every_route_of_every_function_is_in_the_document(app: Any) -> None:
    """A function left out of the app, or a route hidden from the document, would escape this test."""
    for path in (ROOT / "functions").glob("*/app.py"):
        router = importlib.import_module(f"functions.{path.parent.name}.app").router
        # The document leaves out what a path parameter may hold: {query:path} is {query} there.
        own = {(method, re.sub(r":\w+}", "}", route.path)) for route in router.routes for method in route.methods}
        assert own, path
        assert own <= set(routes(app)), path


def test_parameters_that_a_route_reads_as_one_model_are_in_the_document(app: Any) -> None:
    body = app.openapi()["paths"]["/api/v1/market-data/historical/bars"]["get"]["parameters"]
    assert {"symbol", "timeframe", "start", "page_token", "fields", "wait"} <= {one["name"] for one in body}
    assert all(one["in"] == "query" and one["schema"]["description"] for one in body)


def test_the_public_routes_exist_and_are_public(app: Any) -> None:
    assert set(PUBLIC) == {route for route, access in ROUTES.items() if access == scopes.PUBLIC}
    for method, path in PUBLIC:
        assert ask(app, method, path).status_code != 401, path


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer null"}, {"authorization": "Basic YTpi"}])
def test_everything_else_refuses_without_credentials(app: Any, headers: dict[str, str]) -> None:
    for method, path in routes(app):
        if (method, path) in PUBLIC:
            continue
        answer = ask(app, method, path, **headers)
        assert answer.status_code == 401, f"{method} {path}: {answer.status_code} {answer.text}"
        assert answer.headers["www-authenticate"].startswith("Bearer"), path
        assert answer.json()["code"] == "unauthorized"


def test_what_asks_for_credentials_says_so_in_the_document(app: Any) -> None:
    # A refresh token is what no scheme of OpenAPI describes.
    by_refresh_token = {route for route, access in ROUTES.items() if access == BY_REFRESH_TOKEN}
    for method, path in routes(app):
        declared = app.openapi()["paths"][path][method.lower()].get("security")
        if (method, path) not in PUBLIC and (method, path) not in by_refresh_token:
            assert declared, f"{method} {path}"


def test_only_sign_in_loads_what_checks_passwords_and_signs() -> None:
    others = [p.parent.name for p in (ROOT / "functions").glob("*/app.py") if p.parent.name != "auth"]
    script = "import sys\n" + "".join(f"import functions.{name}.app\n" for name in others)
    script += "print(*sorted(m for m in sys.modules if m.startswith(('argon2', 'nautilus.'))))"
    environment = {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'layers' / 'shared'}"}
    loaded = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert "nautilus.auth.authenticate" in loaded.stdout.split()
    assert not {
        "argon2",
        "nautilus.auth.passwords",
        "nautilus.auth.accounts.sign_in",
        "nautilus.auth.accounts.refresh",
    } & set(loaded.stdout.split())
