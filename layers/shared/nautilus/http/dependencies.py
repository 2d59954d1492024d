"""What routes ask for beside their parameters: the services, the client, the caller and what he may do."""

import ipaddress
import re
from collections.abc import Callable, Coroutine, Iterable
from typing import Annotated, Any

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader, HTTPBearer

from nautilus.auth import api_keys
from nautilus.auth.principal import Client, Principal, anonymous
from nautilus.errors import Forbidden, NautilusError, Unauthorized
from nautilus.http.services import Services
from nautilus.infra import executors
from nautilus.log import correlation
from nautilus.settings.api import ApiSettings


def services(request: Request) -> Services:
    """The process's services, for a route."""
    found: Services = request.app.state.services
    return found


async def _services(request: Request) -> Services:
    # A coroutine: FastAPI would give a plain function a thread.
    return services(request)


ServicesDep = Annotated[Services, Depends(_services)]
EXTRA_HEADERS = "nautilus.headers"


def tell(request: Request, name: str, value: str) -> None:
    """Put a header on the answer to this request, whatever it becomes: also on a problem."""
    request.scope.setdefault(EXTRA_HEADERS, []).append((name.lower().encode("latin-1"), value.encode("latin-1")))


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
        request.scope[CALLER] = f"{caller.id} {caller.credential}".strip()
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
CALLER = "nautilus.caller"
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
