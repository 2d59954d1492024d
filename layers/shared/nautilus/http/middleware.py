"""What every request passes on its way in and every answer on its way out: id and log line, headers, limits."""

import time
from string import ascii_letters, digits
from uuid import uuid4

from fastapi import Response
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from nautilus.errors import Forbidden, UnsupportedMediaType
from nautilus.http.dependencies import CALLER, EXTRA_HEADERS
from nautilus.http.origin import check_origin
from nautilus.http.problems import from_error, problem
from nautilus.http.services import Services
from nautilus.log import correlated

_MAX_REQUEST_ID = 64
_REQUEST_ID_LETTERS = frozenset(ascii_letters + digits + "=_-")
_MAX_HEADER_BYTES = 32_768
"""Of all headers together. API Gateway refuses more than 10,240 itself."""
_SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
)
# Answers are data, which no page has to run or frame. A page (dev alone) brings a policy of its own.
_DATA_POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
_HTTPS_ONLY = (b"strict-transport-security", b"max-age=31536000")


class RequestContext:
    """Gives each request and each socket an id and a line in the log, puts the security headers on its answer, and answers
    HEAD as GET."""

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self._app = app
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._serve_request(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._serve_socket(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _serve_request(self, scope: Scope, receive: Receive, send: Send) -> None:
        number = _request_id(scope)
        head = scope["method"] == "HEAD"
        # A copy: the server looks at its own to know whether a body follows.
        inner = {**scope, "method": "GET"} if head else scope
        status = 500
        began = time.monotonic()

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._add_headers(scope["path"], message.setdefault("headers", []))
                message["headers"].append((b"x-request-id", number.encode()))
                message["headers"].extend(inner.get(EXTRA_HEADERS, ()))
            elif head:
                message = {**message, "body": b""}
            await send(message)

        with correlated(number):
            try:
                await self._app(inner, receive, send_with_headers)
            finally:
                if not scope["path"].startswith("/health"):
                    line = {"method": scope["method"], "status": status, **_route_and_time(inner, began)}
                    self._services.log.info("request", extra=line)

    async def _serve_socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        number = _request_id(scope)
        began = time.monotonic()
        end = {"status": 500, "code": 1006}
        """The HTTP status of the handshake, and the code with which the socket was closed, whoever closed it."""

        async def receive_and_note() -> Message:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                end["code"] = message.get("code", 1005)
            return message

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "websocket.accept":
                end["status"] = 101
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", number.encode())]
                self._services.log.info("socket-opened", extra=_route_and_time(scope, began))
            elif message["type"] == "websocket.http.response.start":
                end["status"] = message["status"]
                self._add_headers(scope["path"], message.setdefault("headers", []))
                message["headers"].append((b"x-request-id", number.encode()))
            elif message["type"] == "websocket.close":
                end.update({"code": message.get("code", 1000)} if end["status"] == 101 else {"status": 403})
            await send(message)

        with correlated(number):
            try:
                await self._app(scope, receive_and_note, send_with_headers)
            finally:
                line = _route_and_time(scope, began)
                if end["status"] == 101:
                    self._services.log.info("socket-closed", extra={**line, "code": end["code"]})
                else:
                    self._services.log.info("socket-refused", extra={**line, "status": end["status"]})

    def _add_headers(self, path: str, headers: list[tuple[bytes, bytes]]) -> None:
        headers.extend(_SECURITY_HEADERS)
        there = {name for name, _ in headers}
        if _DATA_POLICY[0] not in there:
            headers.append(_DATA_POLICY)
        if self._services.settings.deployed:
            headers.append(_HTTPS_ONLY)
        if path.startswith(_AUTH_PATH) and b"cache-control" not in there:
            headers.append((b"cache-control", b"no-store"))


def _route_and_time(scope: Scope, began: float) -> dict[str, object]:
    """For a line of the log: the path, the template of the route that serves it (empty: none does), who called, and how
    long it took."""
    route = scope.get("route")
    return {
        "path": scope["path"],
        "route": getattr(route, "path_format", getattr(route, "path", "")),
        "caller": scope.get(CALLER, ""),
        "duration_ms": round((time.monotonic() - began) * 1000, 1),
    }


_AUTH_PATH = "/api/v1/auth/"


class _TooLarge(Exception):
    """The body that is being received is larger than allowed."""


class RequestGuard:
    """Refuses what is too large or cannot be, and turns what nobody expected into a 500 that says so."""

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self._app = app
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(scope) if scope["type"] in ("http", "websocket") else None
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        if scope["type"] != "http":
            await (self._guard_socket if scope["type"] == "websocket" else self._app)(scope, receive, send)
            return
        started = False
        left = limit = self._body_limit(scope)

        async def receive_some() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise _TooLarge
            return message

        async def send_on(message: Message) -> None:
            nonlocal started
            # What a framework makes of _TooLarge is not what we want to say.
            if started or left >= 0:
                started = True
                await send(message)

        answer: Response | None = None
        try:
            await self._app(scope, receive_some, send_on)
        except Exception:
            if started:
                raise
            if left >= 0:
                self._services.log.exception("request-broke", extra={"path": scope["path"]})
                answer = _broken()
        if left < 0 and not started:
            answer = _too_large(limit)
        if answer is not None:
            await answer(scope, receive, send)

    async def _guard_socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Ends a socket that is open with a code where a request would get an answer: 4000 and the status of that answer."""
        opened = closed = False

        async def send_code(message: Message) -> None:
            nonlocal opened, closed
            opened = opened or message["type"] == "websocket.accept"
            if opened and message["type"].startswith("websocket.http.response."):
                if closed or message["type"] != "websocket.http.response.start":
                    return
                message = {"type": "websocket.close", "code": 4000 + message["status"]}
            closed = closed or message["type"] == "websocket.close"
            await send(message)

        try:
            await self._app(scope, receive, send_code)
        except WebSocketDisconnect:
            pass  # the other side has gone, which is no fault of the route that found out
        except Exception:
            self._services.log.exception("request-broke", extra={"path": scope["path"]})
            await _broken()(scope, receive, send_code)

    def _body_limit(self, scope: Scope) -> int:
        largest = self._services.settings.max_body_bytes
        return min(largest, _MAX_AUTH_BODY_BYTES) if scope["path"].startswith(_AUTH_PATH) else largest

    def _refusal(self, scope: Scope) -> Response | None:
        headers = scope["headers"]
        if sum(len(name) + len(value) for name, value in headers) > _MAX_HEADER_BYTES:
            return problem(431, f"the headers are larger than {_MAX_HEADER_BYTES} bytes", code="headers-too-large")
        if "\x00" in scope["path"] or b"%00" in scope.get("query_string", b""):
            # No name, symbol or id holds one, and PostgreSQL takes none.
            return problem(400, "the address holds a null character", code="null-character")
        try:
            check_origin(HTTPConnection(scope), self._services.settings)
        except Forbidden as refused:
            return from_error(refused)
        packed = dict(headers).get(b"content-encoding", b"").decode("latin-1").strip().lower()
        if packed not in ("", "identity"):
            return from_error(
                UnsupportedMediaType(
                    f"the body is packed (Content-Encoding: {packed[:20]}); send it as plain JSON, without that header",
                    code="unsupported-content-encoding",
                )
            )
        length = dict(headers).get(b"content-length", b"0")
        limit = self._body_limit(scope)
        return _too_large(limit) if length.isdigit() and int(length[:20]) > limit else None


_MAX_AUTH_BODY_BYTES = 16_384


def _broken() -> Response:
    return problem(500, "something broke here; the request id leads to it in the log", code="internal-error")


def _too_large(limit: int) -> Response:
    return problem(413, f"the body is larger than {limit} bytes", code="body-too-large")


def _request_id(scope: Scope) -> str:
    """API Gateway's request id, or the caller's own when it is harmless, or a new one."""
    event = scope.get("aws.event") or {}
    given = str(event.get("requestContext", {}).get("requestId") or "")
    if not given:
        given = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
    return given if 0 < len(given) <= _MAX_REQUEST_ID and _REQUEST_ID_LETTERS.issuperset(given) else uuid4().hex
