"""A WebSocket passes everything that a request passes: id, log line, limits, Origin and Host, credentials and scopes."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any
from uuid import uuid4

import pytest
from fastapi import APIRouter, WebSocket

from nautilus.auth.scopes import READ_BARS, ROUTES
from nautilus.errors import Forbidden
from nautilus.http.app import create_app
from nautilus.http.dependencies import CallerDep, ClientDep, OptionalCallerDep
from tests.support.auth_api import Api, Client, api_of, bearer, key
from tests.support.sockets import Closed, Refused, Socket, open_socket

router = APIRouter()


@router.websocket("/ws/{name}/echo")
async def echo(socket: WebSocket, name: str, caller: CallerDep, client: ClientDep) -> None:
    await socket.accept()
    await socket.send_json({"caller": caller.name, "name": name, "request_id": client.request_id})
    while True:
        word = await socket.receive_text()
        if word == "refuse":
            raise Forbidden("not that")
        if word == "break":
            raise RuntimeError("nobody expected this")
        if word == "end":
            await socket.close(4001)
            return
        await socket.send_text(word)


@router.websocket("/ws/public")
async def public(socket: WebSocket, caller: OptionalCallerDep) -> None:
    await socket.accept()
    await socket.send_json({"caller": caller.name if caller else None})
    await socket.close()


@router.websocket("/ws/forgotten")
async def forgotten(socket: WebSocket, caller: CallerDep) -> None:
    """A socket without a row in the table of scopes."""


@pytest.fixture(scope="module")
def api(server: Any, template: str) -> Iterator[Api]:
    from tests.conftest import database

    with database(server, template) as dsn, api_of(dsn, cors_origins=("https://app.example.com",)) as made:
        yield made


class Sockets:
    """An app with these sockets."""

    def __init__(self, api: Api) -> None:
        self._client: Client = api.client()
        self._app = create_app(router, services=api.services)

    def open(self, path: str, headers: Mapping[str, str]) -> AbstractContextManager[Socket]:
        return open_socket(self._client, self._app, path, headers)


@pytest.fixture
def client(api: Api, monkeypatch: pytest.MonkeyPatch) -> Sockets:
    monkeypatch.setitem(ROUTES, ("WEBSOCKET", "/ws/{name}/echo"), READ_BARS)
    return Sockets(api)


@pytest.fixture(scope="module")
def ann(api: Api) -> dict[str, str]:
    return bearer(api.login()["access_token"])


def lines(capsys: pytest.CaptureFixture[str], *names: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return [line for line in found if line["message"] in names]


def refused(client: Sockets, path: str, headers: dict[str, str]) -> tuple[int, str]:
    with pytest.raises(Refused) as answer, client.open(path, headers):
        pass
    assert answer.value.headers["x-request-id"]
    assert answer.value.headers["x-content-type-options"] == "nosniff"
    assert answer.value.headers["content-type"] == "application/problem+json"
    return answer.value.status, answer.value.json()["code"]


def test_an_open_socket_has_an_id_and_two_lines_in_the_log(
    client: Sockets, ann: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    began = time.monotonic()
    with client.open("/ws/bars/echo", {**ann, "x-request-id": "mine-1"}) as socket:
        assert socket.headers["x-request-id"] == "mine-1"
        assert json.loads(socket.receive()) == {"caller": "ann", "name": "bars", "request_id": "mine-1"}
        socket.send("hello")
        assert socket.receive() == "hello"
        socket.close(4002)
    took_ms = (time.monotonic() - began) * 1000
    opened, closed = lines(capsys, "socket-opened", "socket-closed", "socket-refused", "request-broke")
    for line in (opened, closed):
        assert (line["path"], line["route"], line["correlation_id"]) == ("/ws/bars/echo", "/ws/{name}/echo", "mine-1")
        assert line["caller"].startswith("user:")
    assert (opened["message"], closed["message"], closed["code"]) == ("socket-opened", "socket-closed", 4002)
    assert 0 <= opened["duration_ms"] <= closed["duration_ms"] <= took_ms


@pytest.mark.parametrize(("word", "code"), [("end", 4001), ("refuse", 4403), ("break", 4500)])
def test_an_open_socket_ends_with_a_code_that_says_why(
    client: Sockets, ann: dict[str, str], capsys: pytest.CaptureFixture[str], word: str, code: int
) -> None:
    with client.open("/ws/bars/echo", ann) as socket:
        json.loads(socket.receive())
        socket.send(word)
        with pytest.raises(Closed) as ended:
            socket.receive()
    assert ended.value.code == code
    found = lines(capsys, "socket-closed", "request-broke")
    assert [line["message"] for line in found] == [*(["request-broke"] if word == "break" else []), "socket-closed"]
    assert found[-1]["code"] == code


def test_a_handshake_needs_credentials_with_the_scope(api: Api, client: Sockets, ann: dict[str, str]) -> None:
    assert refused(client, "/ws/bars/echo", {}) == (401, "unauthorized")
    assert refused(client, "/ws/bars/echo", bearer("x.y.z")) == (401, "invalid-token")
    assert refused(client, "/ws/bars/echo", key("nautilus_x")) == (401, "invalid-api-key")
    now = int(time.time())
    user = api.sql("SELECT id FROM users WHERE username = 'ann'")[0].id
    other = api.signer().sign(
        user_id=user,
        name="ann",
        scopes=["monitoring:read"],
        session=str(uuid4()),
        key_id=None,
        now_s=now,
        expires_s=now + 600,
    )
    assert refused(client, "/ws/bars/echo", bearer(other.token)) == (403, "missing-scope")
    with client.open("/ws/bars/echo", key(api.new_key()["api_key"])) as socket:
        assert json.loads(socket.receive())["caller"] == "ann"


def test_a_public_socket_knows_who_has_signed_in(client: Sockets, ann: dict[str, str]) -> None:
    for headers, name in ((ann, "ann"), ({}, None), (bearer("x.y.z"), None)):
        with client.open("/ws/public", headers) as socket:
            assert json.loads(socket.receive()) == {"caller": name}


def test_a_socket_without_a_row_serves_nobody(client: Sockets, ann: dict[str, str]) -> None:
    assert refused(client, "/ws/forgotten", ann) == (500, "internal-error")


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"origin": "https://evil.example"}, 403, "foreign-origin"),
        ({"sec-fetch-site": "cross-site"}, 403, "foreign-origin"),
        ({"host": "evil.example"}, 403, "foreign-host"),
        ({"x-large": "x" * 40_000}, 431, "headers-too-large"),
    ],
)
def test_a_handshake_is_refused_whatever_its_credentials(
    client: Sockets,
    ann: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    headers: dict[str, str],
    status: int,
    code: str,
) -> None:
    assert refused(client, "/ws/bars/echo", {**ann, **headers}) == (status, code)
    [line] = lines(capsys, "socket-opened", "socket-closed", "socket-refused")
    assert (line["message"], line["status"], line["path"]) == ("socket-refused", status, "/ws/bars/echo")


def test_pages_of_ours_may_open_a_socket(client: Sockets, ann: dict[str, str]) -> None:
    for origin in ("http://testserver", "https://app.example.com"):
        with client.open("/ws/bars/echo", {**ann, "origin": origin}) as socket:
            assert json.loads(socket.receive())["caller"] == "ann"


def test_a_path_that_nobody_serves_opens_no_socket(client: Sockets, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Refused, match="403"), client.open("/ws/nothing", {}):
        pass
    [line] = lines(capsys, "socket-opened", "socket-closed", "socket-refused")
    assert (line["message"], line["status"], line["route"]) == ("socket-refused", 403, "")


def test_a_request_is_logged_with_its_route_and_how_long_it_took(
    api: Api, ann: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    began = time.monotonic()
    for method, path, route in (
        (
            "GET",
            "/api/v1/market-data/instruments/AAPL.NASDAQ?colour=red",
            "/api/v1/market-data/instruments/{instrument_id}",
        ),
        ("HEAD", "/api/v1/auth/me", "/api/v1/auth/me"),
        ("GET", "/nothing", ""),
    ):
        api.client().request(method, path, headers=ann)
        [line] = lines(capsys, "request")
        assert (line["method"], line["path"], line["route"]) == (method, path.partition("?")[0], route)
        assert 0 < line["duration_ms"] < (time.monotonic() - began) * 1000
