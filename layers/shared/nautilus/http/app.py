"""One constructor, many apps: each function's app has one router, that of one machine has all of them."""

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from starlette.exceptions import HTTPException
from starlette.routing import Match

from nautilus.errors import NautilusError
from nautilus.http.middleware import RequestContext, RequestGuard
from nautilus.http.problems import from_error, from_validation, problem
from nautilus.http.response_size import ResponseSizeLimit
from nautilus.http.services import Services

# What pages of other origins may send and see. Deployed, API Gateway answers for us: the template has the same lists.
CORS_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
CORS_HEADERS = ("authorization", "content-type", "x-api-key", "idempotency-key", "prefer", "if-none-match")
CORS_EXPOSED = (
    *("x-request-id", "etag", "location", "link", "retry-after", "server-timing", "ratelimit", "ratelimit-policy"),
    *("x-next-page-token", "x-coverage", "x-total", "x-data-version", "x-source", "x-errors", "x-instrument-changed"),
)


def create_app(*routers: APIRouter, services: Services) -> FastAPI:
    """An ASGI app of these routers, with errors as problem answers and a request id on every answer."""
    app = FastAPI(
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
        return from_error(error)

    @app.exception_handler(RequestValidationError)
    async def _invalid(_: Request, error: RequestValidationError) -> Response:
        return from_validation(error)

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        return _from_http(request, error)

    # The last one added is the first to see a request.
    app.add_middleware(RequestGuard, services=services)
    if services.settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(services.settings.cors_origins),
            allow_credentials=True,
            allow_methods=CORS_METHODS,
            allow_headers=CORS_HEADERS,
            expose_headers=CORS_EXPOSED,
        )
    app.add_middleware(ResponseSizeLimit)
    app.add_middleware(RequestContext, services=services)
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
