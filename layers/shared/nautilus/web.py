"""The edge: one constructor for every app, problem answers, the sign-in dependency, and the way into Lambda.

`create_app(*routers)` builds each Lambda's app with one router and the local app with all of them, so local and deployed
differ in that list only.
"""

import ipaddress
import json
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any
from uuid import uuid4

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nautilus.auth import Principal, anonymous, verify
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
)
from nautilus.log import correlated, correlation, logger
from nautilus.queue import Queue
from nautilus.settings import ApiSettings, explain

if TYPE_CHECKING:
    from nautilus.cache import Cache
    from nautilus.limits import Limits
    from nautilus.market_data import MarketData

PROBLEM = "application/problem+json"

# Most special first: the first class that fits decides.
_STATUS: tuple[tuple[type[NautilusError], int], ...] = (
    (InvalidInput, 422),
    (BadRequest, 400),
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
    422: "Not valid",
    424: "Refused by Interactive Brokers",
    429: "Too many requests",
    500: "Something broke",
    503: "Not available now",
}


class Services:
    """What the routes of one process share, made when first used."""

    def __init__(self, settings: ApiSettings, name: str) -> None:
        self.settings = settings
        self.name = name
        self.log = logger(name, settings.log_level)

    @cached_property
    def db(self) -> Database:
        return Database(
            self.settings.database_url.get_secret_value(),
            name=f"nautilus-{self.name}",
            size=self.settings.database_pool,
            statement_timeout_ms=self.settings.statement_timeout_ms,
        )

    @cached_property
    def queue(self) -> Queue:
        return Queue(self.settings.queue_url, endpoint=self.settings.queue_endpoint, region=self.settings.queue_region)

    @cached_property
    def cache(self) -> "Cache":
        from nautilus.cache import Cache

        return Cache(self.settings.redis_url.get_secret_value())

    @cached_property
    def limits(self) -> "Limits":
        from nautilus.limits import Limits

        return Limits(self.cache, self.settings.reads_per_minute)

    @cached_property
    def market_data(self) -> "MarketData":
        # Imported when used: the functions that read no bars need not load it.
        from nautilus.market_data import MarketData

        return MarketData(
            self.db,
            self.queue,
            self.cache,
            self.limits,
            search_wait_s=self.settings.search_wait_s,
            plan_limit=self.settings.read_plan_limit,
            read_wait_s=self.settings.read_wait_s,
        )

    @cached_property
    def public_keys(self) -> Mapping[str, str]:
        keys = json.loads(self.settings.token_public_keys)
        return {str(kid): str(pem) for kid, pem in keys.items()}


def services(request: Request) -> Services:
    """The process's services, for a route."""
    found: Services = request.app.state.services
    return found


async def _services(request: Request) -> Services:
    # A coroutine: FastAPI would give a plain function a thread.
    return services(request)


ServicesDep = Annotated[Services, Depends(_services)]


_EXTRA = "answer_headers"


def tell(request: Request, name: str, value: str) -> None:
    """Put a header on the answer to this request, whatever it becomes: also on a problem."""
    extra = request.scope.setdefault("state", {}).setdefault(_EXTRA, [])
    extra.append((name.lower().encode("latin-1"), value.encode("latin-1")))


# ---- sign-in ---------------------------------------------------------------------------------------------------------


def _principal(request: Request) -> Principal | None:
    """Who is calling; None without credentials. A bearer header that some front ends send as `null` counts as none."""
    known = services(request)
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    token = token.strip()
    if scheme.lower() == "bearer" and token and token not in ("null", "undefined"):
        return verify(
            token, known.public_keys, issuer=known.settings.token_issuer, audience=known.settings.token_audience
        )
    scopes = known.settings.anonymous_scopes
    return anonymous(scopes) if scopes and _at_home(request, known.settings) else None


def _at_home(request: Request, settings: ApiSettings) -> bool:
    """True for a browser or script on this computer that no foreign page sent: a localhost Host and no foreign Origin."""
    host = (request.url.hostname or "").lower()
    try:
        local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = False
    origin = request.headers.get("origin")
    return local and (
        origin is None or origin == f"{request.url.scheme}://{request.url.netloc}" or origin in settings.cors_origins
    )


def needs(scope: str) -> Any:
    """The dependency of a route that only callers with `scope` may use; yields the `Principal`."""

    def check(request: Request) -> Principal:
        caller = _principal(request)
        if caller is None:
            raise Unauthorized("sign in first: POST /api/v1/auth/login, then send Authorization: Bearer <access_token>")
        if scope:
            caller.require(scope)
        return caller

    check.scope = scope  # type: ignore[attr-defined]
    return Depends(check)


def maybe() -> Any:
    """The dependency of a public route that tells signed-in callers more; yields the `Principal` or None."""

    def check(request: Request) -> Principal | None:
        try:
            return _principal(request)
        except NautilusError:
            return None

    return Depends(check)


# ---- problems --------------------------------------------------------------------------------------------------------


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


def _from_error(error: NautilusError) -> JSONResponse:
    status = next(status for kind, status in _STATUS if isinstance(error, kind))
    headers = {}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(error.retry_after_s)
    if status == 401:
        headers["WWW-Authenticate"] = f'Bearer error="{error.code}"' if error.code != "unauthorized" else "Bearer"
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


def _field_error(error: Mapping[str, Any]) -> FieldError:
    place = [str(part) for part in error["loc"] if part not in ("query", "path", "header", "cookie")]
    if error["type"] == "json_invalid":
        return FieldError("body", "is not JSON: " + str(error.get("ctx", {}).get("error", "")).strip())
    if len(place) > 1 and place[0] == "body":
        place = place[1:]
    context = error.get("ctx") or {}
    allowed = None
    if "expected" in context:
        allowed = [part.strip(" '") for part in str(context["expected"]).replace(" or ", ", ").split(",")]
    message = "is missing" if error["type"] == "missing" else str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        message = "is not a field of this request"
    return FieldError(".".join(place) or "body", message, allowed)


# ---- the app ---------------------------------------------------------------------------------------------------------


def create_app(*routers: APIRouter, services: Services) -> FastAPI:
    """An ASGI app of these routers, with errors as problem answers and a request id on every answer."""
    app = FastAPI(
        title="Nautilus",
        summary="Market data and trading over one Interactive Brokers login",
        version="1",
        docs_url=None if services.settings.deployed else "/docs",
        redoc_url=None,
        openapi_url=None if services.settings.deployed else "/openapi.json",
    )
    app.state.services = services
    for router in routers:
        app.include_router(router)

    @app.exception_handler(NautilusError)
    def _known(_: Request, error: NautilusError) -> Response:
        return _from_error(error)

    @app.exception_handler(RequestValidationError)
    def _invalid(_: Request, error: RequestValidationError) -> Response:
        return _from_validation(error)

    @app.exception_handler(HTTPException)
    def _http(request: Request, error: HTTPException) -> Response:
        detail = str(error.detail)
        if error.status_code in (404, 405):
            detail = f"{request.method} {request.url.path} does not exist"
        code = {404: "no-such-route", 405: "method-not-allowed"}.get(error.status_code, "http-error")
        return problem(error.status_code, detail, code=code, headers=error.headers)

    if services.settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(services.settings.cors_origins),
            allow_credentials=True,
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["authorization", "content-type", "x-api-key", "idempotency-key", "prefer"],
            expose_headers=[
                *(
                    "x-request-id",
                    "etag",
                    "location",
                    "retry-after",
                    "link",
                    "server-timing",
                    "ratelimit",
                    "ratelimit-policy",
                ),
                *("x-next-page-token", "x-coverage", "x-total", "x-data-version", "x-source"),
            ],
        )
    app.add_middleware(_Envelope, services=services)
    return app


class _Envelope:
    """Gives each request an id, logs it in one line, and turns what nobody expected into a 500 that says so."""

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self._app = app
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        number = _request_id(scope)
        status = 500
        started = False

        async def send_with_id(message: Message) -> None:
            nonlocal status, started
            if message["type"] == "http.response.start":
                status, started = message["status"], True
                headers = message.setdefault("headers", [])
                headers.append((b"x-request-id", number.encode()))
                headers += scope.get("state", {}).get(_EXTRA, [])
            await send(message)

        with correlated(number):
            try:
                await self._app(scope, receive, send_with_id)
            except Exception:
                self._services.log.exception("request-broke", extra={"path": scope["path"]})
                if started:
                    raise
                answer = problem(
                    500, "something broke here; the request id leads to it in the log", code="internal-error"
                )
                await answer(scope, receive, send_with_id)
            finally:
                if not scope["path"].startswith("/health"):
                    self._services.log.info(
                        "request", extra={"method": scope["method"], "path": scope["path"], "status": status}
                    )


def _request_id(scope: Scope) -> str:
    """API Gateway's request id, or the caller's own when it is harmless, or a new one."""
    event = scope.get("aws.event") or {}
    given = str(event.get("requestContext", {}).get("requestId") or "")
    if not given:
        given = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
    return given if 0 < len(given) <= 64 and given.replace("-", "").isalnum() else uuid4().hex


# ---- Lambda ----------------------------------------------------------------------------------------------------------


def lambda_handler(
    name: str,
    router: APIRouter,
    settings: Callable[[], ApiSettings] = ApiSettings,
) -> Callable[[dict[str, Any], Any], Any]:
    """The handler of a function with one router. Settings, app and adapter are made at the first event, not at import:
    importing does nothing, and Mangum touches the event loop when it is made."""
    made: list[Callable[[dict[str, Any], Any], Any]] = []

    def handler(event: dict[str, Any], context: Any) -> Any:
        if not made:
            from mangum import Mangum

            try:
                known = Services(settings(), name)
            except ValidationError as wrong:
                raise RuntimeError(explain(wrong)) from None
            app = create_app(router, services=known)
            types = [
                "text/",
                "application/json",
                PROBLEM,
                "application/x-ndjson",
                "application/vnd.nautilus.columns+json",
            ]
            made.append(Mangum(app, lifespan="off", text_mime_types=types))
        return made[0](event, context)

    return handler
