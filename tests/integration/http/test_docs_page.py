"""The page in the browser works without the internet: everything it loads is served here, and its policy says so."""

import asyncio
import base64
import hashlib
import re
from typing import Any

import httpx
import pytest

import dev.local_api
from dev.credentials import token_settings
from nautilus.settings.auth import AuthSettings

POLICY = "content-security-policy"


class Browser:
    """Asks one app, without a network."""

    def __init__(self, app: Any) -> None:
        self._app = app

    def get(self, path: str) -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self._app)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
                return await client.get(path)

        return asyncio.run(send())


@pytest.fixture
def client(tmp_path: Any) -> Any:
    """`client(env=...)`: a browser at the local API with these settings."""

    def made(**more: str) -> Browser:
        keys = {
            name.removeprefix("NAUTILUS_").lower(): value
            for name, value in token_settings(tmp_path, kid_prefix="test-").items()
        }
        values = {"database_url": "postgresql://nobody:of-none@127.0.0.1:1/none", **keys, **more}
        return Browser(dev.local_api.create(AuthSettings.model_validate(values)))

    return made


def test_the_page_loads_nothing_from_elsewhere(client: Any) -> None:
    browser = client()
    page = browser.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text) + re.findall(r"url: '([^']+)'", page.text)
    assert len(loaded) == 4
    assert "//" not in page.text.replace("<!-- ", "").split("<script>")[0]
    for address in loaded:
        assert address.startswith("/")
        assert browser.get(address).status_code == 200, address
    kinds = {name: browser.get(name).headers["content-type"].split(";")[0] for name in loaded}
    assert {"text/javascript", "text/css", "image/png", "application/json"} == set(kinds.values())


def test_its_policy_lets_run_what_is_on_it_and_no_more(client: Any) -> None:
    page = client().get("/docs")
    (script,) = re.findall(r"<script>(.*?)</script>", page.text, re.DOTALL)
    policy = dict(part.strip().split(" ", 1) for part in page.headers[POLICY].split(";"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy["script-src"] == f"'self' 'sha256-{digest}'"
    assert policy["default-src"] == "'none'"
    assert page.headers["x-frame-options"] == "DENY"


def test_data_have_the_policy_of_data(client: Any) -> None:
    assert client().get("/openapi.json").headers[POLICY].startswith("default-src 'none'")
    assert client().get("/api/v1/auth/me").headers.get_list(POLICY) == ["default-src 'none'; frame-ancestors 'none'"]


def test_the_viewer_reads_documents_of_our_version(client: Any) -> None:
    browser = client()
    assert browser.get("/openapi.json").json()["openapi"].startswith("3.1")
    assert "openapi-3-1" in browser.get("/docs/swagger-ui-bundle.js").text


def test_what_is_deployed_has_no_page(client: Any) -> None:
    browser = client(env="staging", database_url="postgresql://n:a-password-of-its-own@db/n?sslmode=verify-full")
    for address in ("/docs", "/docs/swagger-ui.css", "/openapi.json"):
        assert browser.get(address).status_code == 404


def test_market_data_come_first(client: Any) -> None:
    paths = client().get("/openapi.json").json()["paths"]
    tags = list(dict.fromkeys(tag for one in paths.values() for way in one.values() for tag in way["tags"]))
    assert tags[0] == "market data"
    assert tags[-1] == "sign-in"
