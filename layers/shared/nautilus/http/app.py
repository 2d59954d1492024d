"""The edge: one constructor for every app, problem answers, the sign-in dependency, and the way into Lambda.

`create_app(*routers)` builds each Lambda's app with one router and the local app with all of them, so local and deployed
differ in that list only.
"""

import gc
import ipaddress
import logging
import re
import threading
from collections.abc import Callable, Coroutine, Iterable, Mapping
from importlib import import_module
from string import ascii_letters, digits
from typing import Annotated, Any, TypeVar
from uuid import uuid4

from fastapi import APIRouter, Depends, FastAPI, Request, Response, Security
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from fastapi.security import APIKeyHeader, HTTPBearer
from pydantic import BaseModel, SecretStr, ValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nautilus.auth import api_keys
from nautilus.auth.authenticate import Callers
from nautilus.auth.principal import Client, Principal, anonymous
from nautilus.auth.tokens.verify import KeySet
from nautilus.db.connection import Database
from nautilus.errors import (
    BadRequest,
    Conflict,
    FieldError,
    Forbidden,
    Gone,
    InvalidInput,
    NautilusError,
    NotAcceptable,
    NotFound,
    RateLimited,
    Refused,
    Unauthorized,
    Unavailable,
    UnsupportedMediaType,
)
from nautilus.http import json_body, parameters
from nautilus.infra import executors
from nautilus.infra.queue import Queue
from nautilus.log import Measure, correlated, correlation, emit, invocation, logger
from nautilus.settings.api import ApiSettings, explain, read, snapshot_follows

PROBLEM = "application/problem+json"
ANSWER_BYTES = 6 * 1024 * 1024 - 16 * 1024
"""Most that the body of an answer may measure inside Lambda's answer: 6 MiB with headers (API Gateway: 10 KiB) and some
room. Locally too, so that no answer works here and breaks there."""

_REPLICA_LOCK_MS = 200
_HINTS_S = 1.0
"""How long a Lambda function holds its answer for hints under way: what is not sent then is frozen with the process."""
_TEXT_TYPES = ("text/", "application/json", PROBLEM, "application/x-ndjson", "application/vnd.nautilus.columns+json")
_MAX_REQUEST_ID = 64
_REQUEST_ID_LETTERS = frozenset(ascii_letters + digits + "=_-")

# Most special first: the first class that fits decides.
_STATUS: tuple[tuple[type[NautilusError], int], ...] = (
    (InvalidInput, 422),
    (BadRequest, 400),
    (UnsupportedMediaType, 415),
    (NotAcceptable, 406),
    (Unauthorized, 401),
    (Forbidden, 403),
    (NotFound, 404),
    (Conflict, 409),
    (Gone, 410),
    (Refused, 424),
    (RateLimited, 429),
    (Unavailable, 503),
    (NautilusError, 500),
)
_TITLES = {
    400: "Bad request",
    401: "Not signed in",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    406: "No such format",
    409: "Conflict",
    410: "Gone",
    413: "Too large",
    415: "Not such a body",
    422: "Not valid",
    424: "Refused by Interactive Brokers",
    429: "Too many requests",
    431: "Headers too large",
    500: "Something broke",
    503: "Not available now",
}


T = TypeVar("T")
Q = TypeVar("Q", bound=BaseModel)


class Services:
    """What the routes of one process share. ValueError when the public keys are none.

    All of it is made at once, so that no two first requests make two: nothing here connects before it is used.
    """

    def __init__(self, settings: ApiSettings, name: str) -> None:
        self.settings = settings
        self.name = name
        self.log = logger(name, settings.log_level)
        self.keys = KeySet(settings.public_keys, issuer=settings.token_issuer, audience=settings.token_audience)
        self._kept: dict[type, Any] = {}
        self._keeping = threading.Lock()
        self.db = self._database(settings.database_url)
        self.replica = self._replica()
        """A copy of the store that may lag behind; None when there is none."""
        self.queue = Queue(settings.queue_url, endpoint=settings.queue_endpoint, region=settings.queue_region)
        self.callers = Callers(self.db, self.keys, self.log)

    def kept(self, kind: type[T], make: Callable[[], T]) -> T:
        """What one function alone needs in each of its requests; made at the first."""
        with self._keeping:
            if kind not in self._kept:
                self._kept[kind] = make()
            found: T = self._kept[kind]
            return found

    def _replica(self) -> Database | None:
        url = self.settings.replica_url
        # A lock that was replayed is held until replay goes on: where it stands still, the primary is faster.
        return self._database(url, lock_timeout_ms=_REPLICA_LOCK_MS) if url.get_secret_value() else None

    def _database(self, url: SecretStr, *, lock_timeout_ms: int | None = None) -> Database:
        return Database(
            url.get_secret_value(),
            name=f"nautilus-{self.name}",
            size=self.settings.database_pool,
            statement_timeout_ms=self.settings.statement_timeout_ms,
            lock_timeout_ms=lock_timeout_ms,
        )


def services(request: Request) -> Services:
    """The process's services, for a route."""
    found: Services = request.app.state.services
    return found


async def _services(request: Request) -> Services:
    # A coroutine: FastAPI would give a plain function a thread.
    return services(request)


ServicesDep = Annotated[Services, Depends(_services)]
_EXTRA = "nautilus.headers"


def tell(request: Request, name: str, value: str) -> None:
    """Put a header on the answer to this request, whatever it becomes: also on a problem."""
    request.scope.setdefault(_EXTRA, []).append((name.lower().encode("latin-1"), value.encode("latin-1")))


# ---- parameters -----------------------------------------------------------------------------------------------------


def _parameters(kind: type[BaseModel]) -> list[dict[str, Any]]:
    """A model's fields as the OpenAPI document tells of parameters in the address."""
    shape = kind.model_json_schema()
    return [
        {"name": name, "in": "query", "required": name in shape.get("required", ()), "schema": field}
        for name, field in shape["properties"].items()
    ]


def asked(kind: type[Q], request: Request) -> Q:
    """What the address asks for. One model read at once takes a tenth of the time of a parameter of FastAPI's for each
    field; the answer to what is wrong is the same. For the OpenAPI document the route's openapi_extra names the model:
    `{"parameters": kind}`."""
    try:
        return kind.model_validate(dict(request.query_params))
    except ValidationError as wrong:
        raise RequestValidationError([{**e, "loc": ("query", *e["loc"])} for e in wrong.errors()]) from None


# ---- sign-in ---------------------------------------------------------------------------------------------------------


# Declared for the OpenAPI document alone; who is calling is decided below.
_SCHEMES = (
    Security(APIKeyHeader(name="X-API-Key", auto_error=False, scheme_name="API key")),
    Security(HTTPBearer(auto_error=False, scheme_name="access token", bearerFormat="JWT")),
)


def client_of(request: Request) -> Client:
    """Where the request comes from.

    The address is that of API Gateway's context or of the connection. X-Forwarded-For, which anybody can write, is
    believed only as far as configured proxies have written it: its last address that is no such proxy's.
    """
    address = request.client.host if request.client else "unknown"
    if _is_proxy(address, services(request).settings.trusted_proxies):
        hops = [hop.strip() for line in request.headers.getlist("x-forwarded-for") for hop in line.split(",")]
        foreign = (hop for hop in reversed(hops) if not _is_proxy(hop, services(request).settings.trusted_proxies))
        address = next(foreign, address)
    try:
        address = str(ipaddress.ip_address(address))
    except ValueError:
        address = "unknown"
    agent = "".join(letter for letter in request.headers.get("user-agent", "")[:200] if letter.isprintable())
    return Client(address, agent, correlation.get())


def _is_proxy(address: str, networks: Iterable[str]) -> bool:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(found in ipaddress.ip_network(network) for network in networks)


async def _client(request: Request) -> Client:
    # A coroutine: FastAPI would give a plain function a thread.
    return client_of(request)


ClientDep = Annotated[Client, Depends(_client)]


async def _principal(request: Request) -> Principal | None:
    """Who is calling: by API key, then by access token, then nobody in particular; None when that is not allowed.

    A bearer header that some front ends send as `null` counts as none. Only what needs the database gets a thread.
    """
    known = services(request)
    key = request.headers.get("x-api-key", "").strip()
    credentials = request.headers.get("authorization", "").strip()
    scheme, _, token = credentials.partition(" ")
    token = token.strip() if scheme.lower() == "bearer" else ""
    _refuse_mixed_up(key, credentials)
    caller = None
    if key:
        caller = await known.callers.key_threads.run(known.callers.by_key, key, client_of(request))
    elif token and token not in ("null", "undefined"):
        denied = known.callers.denied_at_hand
        if denied is not None:
            caller = known.callers.by_token(token, client_of(request), denied)
        else:
            caller = await known.callers.token_threads.run(known.callers.by_token, token, client_of(request))
    elif known.settings.anonymous_scopes and _at_home(request, known.settings):
        caller = anonymous(known.settings.anonymous_scopes)
    if caller is not None:
        executors.caller.set(caller.id)
        request.scope[_CALLER] = f"{caller.id} {caller.credential}".strip()
    return caller


def _refuse_mixed_up(key: str, authorization: str) -> None:
    """Unauthorized when a credential came in the header of the other kind, or in other words than that header has: it may
    be good, and is not looked at."""
    if not key and _API_KEY.search(authorization):
        raise Unauthorized(
            "this is an API key, sent as an access token: send it in the header X-API-Key, not as Authorization: Bearer",
            code="invalid-token",
        )
    if key.lower().startswith("bearer ") or key.count(".") == 2:
        raise Unauthorized(
            "this is an access token, sent as an API key: send it as Authorization: Bearer, not in X-API-Key",
            code="invalid-api-key",
        )
    if _API_KEY.search(key, 1):
        raise Unauthorized(
            "the header X-API-Key holds more than the API key: send the key alone", code="invalid-api-key"
        )


_API_KEY = re.compile(rf"(?<![A-Za-z0-9_-]){api_keys.PREFIX}")
"""Where an API key begins, whatever word or quotation mark stands before it."""


_CALLER = "nautilus.caller"
"""Under this name the ASGI scope tells the log line who called."""


_HOST = re.compile(r"(?a)(localhost|[0-9.]+|\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(\d{1,5}))?", re.IGNORECASE)
"""A Host that a browser sends: a name or an address, and perhaps a port. Anything else can be read in two ways."""


def host_of(request: Request) -> tuple[str, str] | None:
    """The name in the one Host header and the whole of it, in small letters; None where there is none to be sure of.

    The framework's own `request.url` stands the server's address in for a Host that it cannot parse.
    """
    given = request.headers.getlist("host")
    found = _HOST.fullmatch(given[0]) if len(given) == 1 else None
    if found is None or int(found[2] or 0) > 65_535:
        return None
    return found[1].strip("[]").lower(), found[0].lower()


def _at_home(request: Request, settings: ApiSettings) -> bool:
    """True for a browser or script on this computer that no foreign page sent: a localhost Host and no foreign Origin."""
    host = host_of(request)
    if host is None:
        return False
    try:
        local = host[0] == "localhost" or ipaddress.ip_address(host[0]).is_loopback
    except ValueError:
        local = False
    return local and _from_own_page(request)


def _from_own_page(request: Request) -> bool:
    """False for a request that a browser sends for a foreign page. What is no browser says nothing of pages."""
    origin = request.headers.get("origin")
    if origin is None:
        return request.headers.get("sec-fetch-site", "none") in ("none", "same-origin", "same-site")
    if origin in services(request).settings.cors_origins:
        return True
    host = host_of(request)
    return host is not None and origin == f"{request.scope['scheme']}://{host[1]}"


def needs(scope: str) -> Any:
    """The dependency of a route that only callers with `scope` may use (empty: any caller); yields the `Principal`."""
    return Depends(_checked(scope))


def needs_password() -> Any:
    """The dependency of a route that only somebody signed in by password may use; yields the `Principal`."""
    return Depends(_checked("", by_password=True))


def _checked(scope: str, *, by_password: bool = False) -> Callable[..., Coroutine[Any, Any, Principal]]:
    async def check(request: Request, _key: Any = _SCHEMES[0], _token: Any = _SCHEMES[1]) -> Principal:
        caller = await _principal(request)
        if caller is None:
            raise Unauthorized(
                "sign in first: POST /api/v1/auth/login, then send Authorization: Bearer <access_token>, or send X-API-Key"
            )
        if scope:
            caller.require(scope)
        if by_password:
            caller.require_password_sign_in()
        return caller

    return check


def from_own_page() -> Any:
    """The dependency of a route that reads or sets the cookie: no foreign page may use it."""

    async def check(request: Request) -> None:
        if not _from_own_page(request):
            raise Forbidden(
                "this origin may not sign in here; NAUTILUS_CORS_ORIGINS lists those that may", code="foreign-origin"
            )

    return Depends(check)


def maybe() -> Any:
    """The dependency of a public route that tells signed-in callers more; yields the `Principal` or None."""

    async def check(request: Request) -> Principal | None:
        try:
            return await _principal(request)
        except NautilusError:
            return None

    return Depends(check)


# ---- problems --------------------------------------------------------------------------------------------------------


# As the OpenAPI document tells of them.
_PROBLEM_ANSWER: dict[str, Any] = {
    "description": "what is wrong, as RFC 9457 has it",
    "content": {
        PROBLEM: {
            "schema": {
                "type": "object",
                "required": ["type", "title", "status", "detail", "code", "request_id"],
                "properties": {
                    "type": {"type": "string"},
                    "title": {"type": "string"},
                    "status": {"type": "integer"},
                    "detail": {"type": "string", "description": "a sentence for a person"},
                    "code": {"type": "string", "description": "stays the same; for programs"},
                    "request_id": {"type": "string"},
                    "errors": {"type": "array", "items": {"type": "object"}},
                    "upstream": {"type": "object", "description": "what Interactive Brokers said"},
                },
            }
        }
    },
}


PROBLEMS: dict[int | str, dict[str, Any]] = {"4XX": _PROBLEM_ANSWER, "503": _PROBLEM_ANSWER}
"""`responses` of every router: what each of its routes may answer too."""


def problem(
    status: int,
    detail: str,
    *,
    code: str,
    errors: list[dict[str, Any]] | None = None,
    headers: Mapping[str, str] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> JSONResponse:
    """An RFC 9457 answer. `detail` is always a sentence: front ends show it as it is."""
    body: dict[str, Any] = {
        "type": f"urn:nautilus:problem:{code}",
        "title": _TITLES.get(status, "Error"),
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": correlation.get(),
        **(extra or {}),
    }
    if errors:
        body["errors"] = errors
    return JSONResponse(body, status, dict(headers or {}), media_type=PROBLEM)


_BAD_TOKEN = {"invalid-token", "expired-token", "session-ended"}


def _from_error(error: NautilusError) -> JSONResponse:
    status = next(status for kind, status in _STATUS if isinstance(error, kind))
    headers = {}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(error.retry_after_s)
    if status == 401:
        # RFC 6750: the error is named only where a token was sent.
        bad = error.code in _BAD_TOKEN
        headers["WWW-Authenticate"] = 'Bearer realm="nautilus"' + (', error="invalid_token"' if bad else "")
    if error.code == "missing-scope":
        scope = error.extra.get("scope", "")
        headers["WWW-Authenticate"] = f'Bearer realm="nautilus", error="insufficient_scope", scope="{scope}"'
    extra = dict(error.extra)
    if error.upstream is not None:
        extra["upstream"] = error.upstream.as_dict()
    return problem(
        status,
        error.detail,
        code=error.code,
        errors=[e.as_dict() for e in error.errors],
        headers=headers,
        extra=extra,
    )


def _from_validation(wrong: RequestValidationError) -> JSONResponse:
    errors = [_field_error(e) for e in wrong.errors()]
    detail = "; ".join(f"{e.field}: {e.detail}" for e in errors)
    return problem(422, detail, code="validation-error", errors=[e.as_dict() for e in errors])


_WORDS: Mapping[str, str] = {
    "missing": "is missing",
    "extra_forbidden": "is not a field of this request",
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "must be a whole number"),
    "int_parsing_size": "must be a whole number with fewer digits",
    **dict.fromkeys(("float_type", "float_parsing"), "must be a number"),
    "finite_number": "must be a number, and neither NaN nor infinite",
    **dict.fromkeys(("bool_type", "bool_parsing"), "must be true or false"),
    "string_type": "must be text",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "list_type": "must be a list",
    "too_short": "must have at least {min_length} entries",
    "too_long": "must have at most {max_length} entries",
    **dict.fromkeys(("uuid_type", "uuid_parsing"), "must be an id such as 9e107d9d-3721-4bd2-a5cb-5f1d9b0c7e11"),
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be more than {gt}",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be less than {lt}",
    **dict.fromkeys(("model_type", "model_attributes_type", "dict_type"), "must be a JSON object"),
}
"""What is said of an error that pydantic finds. Of others its own sentence is left."""


def _field_error(error: Mapping[str, Any]) -> FieldError:
    place = [str(part) for part in error["loc"] if part not in ("query", "path", "header", "cookie")]
    if len(place) > 1 and place[0] == "body":
        place = place[1:]
    context = error.get("ctx") or {}
    allowed = None
    if "expected" in context:
        allowed = [part.strip(" '") for part in str(context["expected"]).replace(" or ", ", ").split(",")]
    words = _WORDS.get(error["type"])
    if (
        context.get("field_type") == "Value"
    ):  # text that is kept secret or checked on its way: its length is in characters
        words = _WORDS.get(error["type"].replace("too_", "string_too_"), words)
    message = words.format_map(context) if words else str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "literal_error":
        message = f"must be one of {', '.join(allowed or ())}"
    return FieldError(".".join(place) or "body", message, allowed)


# ---- the app ---------------------------------------------------------------------------------------------------------


# What pages of other origins may send and see. Deployed, API Gateway answers for us: the template has the same lists.
CORS_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
CORS_HEADERS = ("authorization", "content-type", "x-api-key", "idempotency-key", "prefer", "if-none-match")
CORS_EXPOSED = (
    *("x-request-id", "etag", "location", "link", "retry-after", "server-timing", "ratelimit", "ratelimit-policy"),
    *("x-next-page-token", "x-coverage", "x-total", "x-data-version", "x-source", "x-errors", "x-instrument-changed"),
)


_UNCHECKED = "/health"
"""Below it any parameter is taken: load balancers and monitors add what they like."""


class LateRoute(APIRoute):
    """A route that refuses parameters it does not know and reads JSON strictly, without a word in its own code.

    FastAPI builds it (its parameters, its models, the shape of its answer) when it is first asked for, by a request or by
    the API's description. That takes 2 ms each; a function has up to sixteen, and a process is asked for few.
    """

    known_parameters: parameters.Known

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        self.path = path
        self.endpoint = endpoint
        self._options = options

    def build(self) -> None:
        """Have it built, if it is not."""
        options = vars(self).pop("_options", None)
        if options is not None:
            super().__init__(self.path, self.endpoint, **options)
            extra = (self.openapi_extra or {}).get("parameters")
            self.known_parameters = parameters.declared(self.dependant, extra if isinstance(extra, type) else None)
            if not self.path.startswith(_UNCHECKED):
                parameters.guard(self.dependant)

    def get_route_handler(self) -> json_body.Handler:
        handle = super().get_route_handler()
        return json_body.strictly_read(handle) if self.body_field is not None else handle

    def __getattr__(self, name: str) -> Any:
        # Python comes here for what is not there yet: whatever else a route has, building makes it.
        if "_options" not in vars(self):
            raise AttributeError(f"a route has no {name}")
        self.build()
        return getattr(self, name)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        # The regular expression of the path is not there yet either, and not needed when its beginning says no.
        begins, parameter, _ = self.path.partition("{")
        path = scope.get("path", "")
        if not scope.get("root_path") and not (path.startswith(begins) if parameter else path == begins):
            return Match.NONE, {}
        return super().matches(scope)


class _App(FastAPI):
    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document. Models that routes read with `asked` are described here: deployed, nobody asks for it."""
        for route in self.routes:
            extra = getattr(route, "openapi_extra", None) or {}
            if isinstance(extra.get("parameters"), type):
                extra["parameters"] = _parameters(extra["parameters"])
        return super().openapi()


def create_app(*routers: APIRouter, services: Services) -> FastAPI:
    """An ASGI app of these routers, with errors as problem answers and a request id on every answer."""
    app = _App(
        title="Nautilus",
        summary="Market data and trading over one Interactive Brokers login",
        version="1",
        docs_url=None,  # its page loads scripts from the internet; dev/pages.py has one that does not
        redoc_url=None,
        openapi_url=None if services.settings.deployed else "/openapi.json",
        # A redirect would lead to whatever Host the caller sent, and to http behind a proxy that ends TLS.
        redirect_slashes=False,
        # Not by include_router: it would build each route a second time, at the first request.
        routes=[route for router in routers for route in router.routes],
    )
    app.state.services = services

    @app.exception_handler(NautilusError)
    async def _known(_: Request, error: NautilusError) -> Response:
        return _from_error(error)

    @app.exception_handler(RequestValidationError)
    async def _invalid(_: Request, error: RequestValidationError) -> Response:
        return _from_validation(error)

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        return _from_http(request, error)

    # The last one added is the first to see a request.
    app.add_middleware(_Guard, services=services)
    if services.settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(services.settings.cors_origins),
            allow_credentials=True,
            allow_methods=CORS_METHODS,
            allow_headers=CORS_HEADERS,
            expose_headers=CORS_EXPOSED,
        )
    app.add_middleware(_Limit)
    app.add_middleware(_Envelope, services=services)
    return app


def _from_http(request: Request, error: HTTPException) -> Response:
    """What the framework refuses by itself: a path that nobody serves, a method that a path has not."""
    path = request.scope["path"]
    detail, headers = str(error.detail), dict(error.headers or {})
    if error.status_code == 404:
        detail = f"{request.method} {path} does not exist"
        if path.endswith("/") and _methods_of(request, path.rstrip("/")):
            detail += f"; {path.rstrip('/')} does: leave out the slash at the end"
    elif error.status_code == 405:
        allowed = ", ".join(_methods_of(request, path))
        detail = f"{request.method} {path} does not exist; {path} takes {allowed}"
        headers["Allow"] = allowed
    code = {404: "no-such-route", 405: "method-not-allowed"}.get(error.status_code, "http-error")
    return problem(error.status_code, detail, code=code, headers=headers)


def _methods_of(request: Request, path: str) -> list[str]:
    """The methods of all routes that serve a path; HEAD wherever GET is."""
    found: set[str] = set()
    scope = {**request.scope, "path": path, "method": "GET"}
    for route in request.app.routes:
        if route.matches(scope)[0] is not Match.NONE:
            found |= set(getattr(route, "methods", None) or ())
    return sorted(found | ({"HEAD"} if "GET" in found else set()))


def lambda_bytes(body: bytes, *, text: bool) -> int:
    """How much a body measures inside Lambda's answer: text as a JSON string, anything else (gzip too) as base64."""
    if not text:
        return (len(body) + 2) // 3 * 4
    return 2 * len(body) - len(body.translate(None, b'"\\\n\r\t'))


class _Limit:
    """Turns an answer that Lambda could not carry into a problem that says so. Routes with pages make shorter pages
    before; this is the net below. Answers are held back until they are whole, as Mangum does."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start: Message = {}
        parts: list[bytes] = []
        size = 0

        async def hold(message: Message) -> None:
            nonlocal start, size
            if message["type"] == "http.response.start":
                start = message
                return
            part = message.get("body", b"")
            size += len(part)
            if size <= ANSWER_BYTES:
                parts.append(part)
            if message.get("more_body"):
                return
            if size <= ANSWER_BYTES < 2 * size:  # counting takes time, and no coding doubles a body
                size = sum(lambda_bytes(part, text=_is_text(start)) for part in parts)
            if size > ANSWER_BYTES:
                too_large = problem(
                    413,
                    "this answer would be larger than 6 MB; ask for less (limit, fields, a shorter range) or for gzip",
                    code="answer-too-large",
                )
                await too_large(scope, receive, send)
                return
            await send(start)
            await send({"type": "http.response.body", "body": b"".join(parts)})

        await self._app(scope, receive, hold)


def _is_text(start: Message) -> bool:
    """Whether Mangum hands this answer on as text."""
    headers = {bytes(name).lower(): bytes(value) for name, value in start.get("headers", [])}
    kind = headers.get(b"content-type", b"").decode("latin-1")
    return b"content-encoding" not in headers and any(known in kind for known in _TEXT_TYPES)


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


class _Envelope:
    """Gives each request an id, logs it in one line, puts the security headers on its answer, and answers HEAD as GET."""

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self._app = app
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        number = _request_id(scope)
        head = scope["method"] == "HEAD"
        # A copy: the server looks at its own to know whether a body follows.
        inner = {**scope, "method": "GET"} if head else scope
        status = 500

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._add_headers(scope["path"], message.setdefault("headers", []))
                message["headers"].append((b"x-request-id", number.encode()))
                message["headers"].extend(inner.get(_EXTRA, ()))
            elif head:
                message = {**message, "body": b""}
            await send(message)

        with correlated(number):
            try:
                await self._app(inner, receive, send_with_headers)
            finally:
                if not scope["path"].startswith("/health"):
                    self._log(scope, status, inner.get(_CALLER, ""))

    def _log(self, scope: Scope, status: int, caller: str) -> None:
        told = {"method": scope["method"], "path": scope["path"], "status": status, "caller": caller}
        self._services.log.info("request", extra=told)

    def _add_headers(self, path: str, headers: list[tuple[bytes, bytes]]) -> None:
        headers.extend(_SECURITY_HEADERS)
        there = {name for name, _ in headers}
        if _DATA_POLICY[0] not in there:
            headers.append(_DATA_POLICY)
        if self._services.settings.deployed:
            headers.append(_HTTPS_ONLY)
        if path.startswith(_AUTH_PATH) and b"cache-control" not in there:
            headers.append((b"cache-control", b"no-store"))


_AUTH_PATH = "/api/v1/auth/"


class _TooLarge(Exception):
    """The body that is being received is larger than allowed."""


class _Guard:
    """Refuses what is too large or cannot be, and turns what nobody expected into a 500 that says so."""

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self._app = app
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, send)
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
                answer = problem(
                    500, "something broke here; the request id leads to it in the log", code="internal-error"
                )
        if left < 0 and not started:
            answer = _too_large(limit)
        if answer is not None:
            await answer(scope, receive, send)

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
        packed = dict(headers).get(b"content-encoding", b"").decode("latin-1").strip().lower()
        if packed not in ("", "identity"):
            return _from_error(
                UnsupportedMediaType(
                    f"the body is packed (Content-Encoding: {packed[:20]}); send it as plain JSON, without that header",
                    code="unsupported-content-encoding",
                )
            )
        length = dict(headers).get(b"content-length", b"0")
        limit = self._body_limit(scope)
        return _too_large(limit) if length.isdigit() and int(length[:20]) > limit else None


_MAX_AUTH_BODY_BYTES = 16_384


def _too_large(limit: int) -> Response:
    return problem(413, f"the body is larger than {limit} bytes", code="body-too-large")


def _request_id(scope: Scope) -> str:
    """API Gateway's request id, or the caller's own when it is harmless, or a new one."""
    event = scope.get("aws.event") or {}
    given = str(event.get("requestContext", {}).get("requestId") or "")
    if not given:
        given = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
    return given if 0 < len(given) <= _MAX_REQUEST_ID and _REQUEST_ID_LETTERS.issuperset(given) else uuid4().hex


# ---- Lambda ----------------------------------------------------------------------------------------------------------


Command = Callable[[Services, dict[str, Any]], dict[str, Any]]

# What is imported when first needed, and what a snapshot had better hold already; so with routes.
_LATE = ("mangum", "boto3", "argon2")


def lambda_handler(
    name: str,
    router: APIRouter,
    settings: type[ApiSettings] = ApiSettings,
    *,
    prepare: Callable[[Services], None] = lambda services: None,
    measure: Callable[[Services], Iterable[Measure]] | None = None,
    commands: Mapping[str, Command] | None = None,
) -> Callable[[dict[str, Any], Any], Any]:
    """The handler of a function with one router. Settings, app and adapter are made at the first event, not at import:
    importing does nothing, Mangum touches the event loop when it is made, and secrets can be read during events only.

    prepare: called once before anything is served; what it raises stops the function. measure: what the event
    {"task": "measure"} of a schedule emits as metrics. commands: other tasks, which answer their event; who may send
    one is IAM's to say, and no HTTP request becomes one, as API Gateway always adds its requestContext.

    A function's module switches the garbage collector off in its first line and calls this in its last, which switches it
    on again and tells it to leave alone what is there by now: looking at it takes a tenth of a cold start.
    """
    made: list[tuple[Services, Callable[[dict[str, Any], Any], Any]]] = []
    if snapshot_follows():
        for late in _LATE:
            import_module(late)
        for route in router.routes:
            if isinstance(route, LateRoute):
                route.build()
    gc.freeze()
    gc.enable()

    def handler(event: dict[str, Any], context: Any) -> Any:
        if not made:
            made.append(_make(name, router, settings, prepare))
        known, answer = made[0]
        invocation.set(getattr(context, "aws_request_id", ""))
        if "requestContext" in event:
            try:
                return answer(event, context)
            finally:
                known.queue.flush(_HINTS_S)
        task = str(event.get("task"))
        if task == "measure" and measure is not None:
            emit(name, measure(known))
            return None
        if commands is not None and task in commands:
            return commands[task](known, event)
        raise ValueError(f"function {name} has no use for an event with {', '.join(sorted(event)) or 'nothing'} in it")

    return handler


def _make(
    name: str, router: APIRouter, settings: type[ApiSettings], prepare: Callable[[Services], None]
) -> tuple[Services, Callable[[dict[str, Any], Any], Any]]:
    from mangum import Mangum

    try:
        known = Services(read(settings), name)
    except ValidationError as wrong:
        raise RuntimeError(explain(wrong)) from None
    prepare(known)
    app = create_app(router, services=known)
    # It would log each request, as we do, and API Gateway.
    logging.getLogger("mangum.http").setLevel(logging.WARNING)
    return known, Mangum(app, lifespan="off", text_mime_types=list(_TEXT_TYPES))
