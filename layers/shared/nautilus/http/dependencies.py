"""What routes ask for beside their parameters: the services, the client, the caller and what he may do."""

import ipaddress
import re
from collections.abc import Iterable
from typing import Annotated, Any

from fastapi import Depends, Security
from fastapi.security import APIKeyHeader, HTTPBearer
from starlette.requests import HTTPConnection

from nautilus.auth import api_keys
from nautilus.auth.link_words import PARAMETER
from nautilus.auth.principal import Client, Principal, anonymous
from nautilus.auth.scopes import ROUTES, Access
from nautilus.errors import NautilusError, Unauthorized
from nautilus.http.origin import host_of, is_loopback, is_own_page
from nautilus.http.services import Services
from nautilus.infra import executors
from nautilus.log import correlation
from nautilus.settings.api import ApiSettings


def services(connection: HTTPConnection) -> Services:
    """The process's services, for a route."""
    found: Services = connection.app.state.services
    return found


async def _services(connection: HTTPConnection) -> Services:
    # A coroutine: FastAPI would give a plain function a thread.
    return services(connection)


ServicesDep = Annotated[Services, Depends(_services)]
EXTRA_HEADERS = "nautilus.headers"


def add_header(connection: HTTPConnection, name: str, value: str) -> None:
    """Put a header on the answer to this request, whatever it becomes: also on a problem."""
    connection.scope.setdefault(EXTRA_HEADERS, []).append((name.lower().encode("latin-1"), value.encode("latin-1")))


# Declared for the OpenAPI document alone; who is calling is decided below.
_SCHEMES = (
    Security(APIKeyHeader(name="X-API-Key", auto_error=False, scheme_name="API key")),
    Security(HTTPBearer(auto_error=False, scheme_name="access token", bearerFormat="JWT")),
)


def client_of(connection: HTTPConnection) -> Client:
    """Where the request comes from.

    The address is that of API Gateway's context or of the connection. X-Forwarded-For, which anybody can write, is
    believed only as far as configured proxies have written it: its last address that is no such proxy's.
    """
    address = connection.client.host if connection.client else "unknown"
    if _is_proxy(address, services(connection).settings.trusted_proxies):
        hops = [hop.strip() for line in connection.headers.getlist("x-forwarded-for") for hop in line.split(",")]
        foreign = (hop for hop in reversed(hops) if not _is_proxy(hop, services(connection).settings.trusted_proxies))
        address = next(foreign, address)
    try:
        address = str(ipaddress.ip_address(address))
    except ValueError:
        address = "unknown"
    agent = "".join(letter for letter in connection.headers.get("user-agent", "")[:200] if letter.isprintable())
    return Client(address, agent, correlation.get())


def _is_proxy(address: str, networks: Iterable[str]) -> bool:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(found in ipaddress.ip_network(network) for network in networks)


async def _client(connection: HTTPConnection) -> Client:
    # A coroutine: FastAPI would give a plain function a thread.
    return client_of(connection)


ClientDep = Annotated[Client, Depends(_client)]


async def caller_of(connection: HTTPConnection) -> Principal | None:
    """Who is calling: by API key, then by access token, then nobody in particular; None when that is not allowed.

    A bearer header that some front ends send as `null` counts as none. Only what needs the database gets a thread.
    """
    known = services(connection)
    key = connection.headers.get("x-api-key", "").strip()
    credentials = connection.headers.get("authorization", "").strip()
    scheme, _, token = credentials.partition(" ")
    token = token.strip() if scheme.lower() == "bearer" else ""
    _refuse_mixed_up(key, credentials)
    caller = None
    if key:
        caller = await known.callers.key_threads.run(known.callers.by_key, key, client_of(connection))
    elif token and token not in ("null", "undefined"):
        denied = known.callers.denied_at_hand
        if denied is not None:
            caller = known.callers.by_token(token, client_of(connection), denied)
        else:
            caller = await known.callers.token_threads.run(known.callers.by_token, token, client_of(connection))
    elif known.settings.anonymous_scopes and _is_local(connection, known.settings):
        caller = anonymous(known.settings.anonymous_scopes)
    if caller is not None:
        executors.caller.set(caller.id)
        connection.scope[CALLER] = f"{caller.id} {caller.credential}".strip()
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


def _is_local(connection: HTTPConnection, settings: ApiSettings) -> bool:
    """True for a browser or script on this computer that no foreign page sent: a localhost Host and no foreign Origin."""
    host = host_of(connection)
    return host is not None and is_loopback(host[0]) and is_own_page(connection, settings)


def access_to(connection: HTTPConnection) -> Access:
    """Who may use the route that serves this. LookupError where the table has no row for it: then nobody may."""
    return ROUTES[connection.scope.get("method", "WEBSOCKET"), connection.scope["route"].path_format]


async def _caller(connection: HTTPConnection, _key: Any = _SCHEMES[0], _token: Any = _SCHEMES[1]) -> Principal:
    access = access_to(connection)
    caller = await caller_of(connection)
    if caller is None:
        raise Unauthorized(
            "sign in first: POST /api/v1/auth/login, then send Authorization: Bearer <access_token>, or send X-API-Key"
        )
    if access.scope:
        caller.require(access.scope)
    if access.credentials == "password":
        caller.require_password_sign_in()
    return caller


async def _caller_or_link(
    connection: HTTPConnection, _key: Any = _SCHEMES[0], _token: Any = _SCHEMES[1]
) -> Principal | None:
    return None if PARAMETER in connection.query_params else await _caller(connection)


async def _optional_caller(connection: HTTPConnection) -> Principal | None:
    try:
        return await caller_of(connection)
    except NautilusError:
        return None


CallerDep = Annotated[Principal, Depends(_caller)]
"""The caller, who may use the route as `ROUTES` in nautilus/auth/scopes.py says. Every other caller is refused."""
CallerOrLinkDep = Annotated[Principal | None, Depends(_caller_or_link)]
"""The same of a route that a link of one use opens, too; None: there is one in the address, which the route redeems
(nautilus/auth/links.py)."""
OptionalCallerDep = Annotated[Principal | None, Depends(_optional_caller)]
"""The caller of a public route that tells signed-in callers more; None: nobody that we know."""
