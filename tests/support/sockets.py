"""A WebSocket to an app in this process, as a server would hold it (ASGI), for tests that are not coroutines."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from starlette.types import ASGIApp, Message

from tests.support.auth_api import Client

PATIENCE_S = 30


class Refused(Exception):
    """The handshake was answered as a request is; `status` 403 and no body when it was only closed."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        super().__init__(f"{status} {body!r}")
        self.status = status
        self.headers = headers
        self.body = body

    def json(self) -> Any:
        return json.loads(self.body)


class Closed(Exception):
    """The app has closed the socket."""

    def __init__(self, code: int) -> None:
        super().__init__(str(code))
        self.code = code


class Socket:
    """A socket that is open. `headers`: of the answer to its handshake."""

    def __init__(self, client: Client, app: ASGIApp, path: str, headers: Mapping[str, str]) -> None:
        self._client = client
        given = {"host": "testserver", **headers}
        self._scope = {
            "type": "websocket",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "scheme": "ws",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(name.encode(), value.encode()) for name, value in given.items()],
            "client": ("198.51.100.7", 50_000),
            "server": ("testserver", 80),
            "subprotocols": [],
            "state": {},
            "extensions": {"websocket.http.response": {}},
        }
        first = client.run(self._start(app))
        if first["type"] == "websocket.close":
            raise Refused(403, {}, b"")
        self.headers = {name.decode(): value.decode() for name, value in first.get("headers", ())}
        if first["type"] == "websocket.http.response.start":
            body = client.run(self._next())
            client.run(self._ended())
            raise Refused(first["status"], self.headers, body["body"])

    def send(self, text: str) -> None:
        self._client.run(self._in.put({"type": "websocket.receive", "text": text}))

    def receive(self) -> str:
        """What the app sends next; Closed when that is the end."""
        message = self._client.run(self._next())
        if message["type"] == "websocket.close":
            raise Closed(message["code"])
        return str(message["text"])

    def close(self, code: int = 1000) -> None:
        """Go, and wait until the app has noticed."""
        self._client.run(self._in.put({"type": "websocket.disconnect", "code": code}))
        self._client.run(self._ended())

    async def _start(self, app: ASGIApp) -> Message:
        self._in: asyncio.Queue[Message] = asyncio.Queue()
        self._out: asyncio.Queue[Message] = asyncio.Queue()
        self._task = asyncio.ensure_future(app(self._scope, self._in.get, self._out.put))
        await self._in.put({"type": "websocket.connect"})
        return await self._next()

    async def _next(self) -> Message:
        return await asyncio.wait_for(self._out.get(), PATIENCE_S)

    async def _ended(self) -> None:
        await asyncio.wait_for(self._task, PATIENCE_S)


@contextmanager
def open_socket(client: Client, app: ASGIApp, path: str, headers: Mapping[str, str]) -> Iterator[Socket]:
    """A socket for as long as the block lasts. Refused when the app does not open it."""
    socket = Socket(client, app, path, headers)
    try:
        yield socket
    finally:
        socket.close()
