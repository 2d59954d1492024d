"""From where a request comes by its own word: the Host that it names, and the page that a browser sends it for.

A page of somebody else can make a browser send requests here, with the cookie, and from inside the network where this
machine stands. The browser then names that page in Origin. A page whose name was made to lead to this machine (DNS
rebinding) is of one origin with the API in the eyes of the browser; its name is in Host. So whatever changes something
takes neither, whatever credentials came along.
"""

import ipaddress
import re
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from nautilus.errors import Forbidden
from nautilus.settings.api import ApiSettings

_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_HOST = re.compile(r"(?a)(localhost|[0-9.]+|\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(\d{1,5}))?", re.IGNORECASE)
"""A Host that a browser sends: a name or an address, and perhaps a port. Anything else can be read in two ways."""
_EVERY_ADDRESS = {"0.0.0.0", "::"}
_PAGE_SCHEMES = {"ws": "http", "wss": "https"}
"""The scheme of a page by that of the socket that it opens on its own host."""


def check_origin(connection: HTTPConnection, settings: ApiSettings) -> None:
    """Forbidden for what changes something, and for a socket, from a foreign page or by a foreign Host."""
    if connection.scope.get("method", "WEBSOCKET") in _SAFE_METHODS:
        return
    if not is_own_page(connection, settings):
        raise Forbidden(
            "pages of this origin may not sign in or change anything here; NAUTILUS_CORS_ORIGINS lists those that may",
            code="foreign-origin",
        )
    host = host_of(connection)
    if host is None or not _is_ours(host[0], connection, settings):
        raise Forbidden(
            "this API does not go by that Host; NAUTILUS_ALLOWED_HOSTS lists the names by which it can be reached",
            code="foreign-host",
        )


def host_of(connection: HTTPConnection) -> tuple[str, str] | None:
    """The name in the one Host header and the whole of it, in small letters; None where there is none to be sure of.

    The framework's own `request.url` stands the server's address in for a Host that it cannot parse.
    """
    given = connection.headers.getlist("host")
    found = _HOST.fullmatch(given[0]) if len(given) == 1 else None
    if found is None or int(found[2] or 0) > 65_535:
        return None
    return found[1].strip("[]").lower(), found[0].lower()


def is_loopback(name: str) -> bool:
    """Whether the name of a Host plainly is this machine."""
    try:
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def is_own_page(connection: HTTPConnection, settings: ApiSettings) -> bool:
    """Whether no foreign page made a browser send this: its page is of the same origin or site, or one that is listed in
    NAUTILUS_CORS_ORIGINS. What is no browser names no page, and is taken too."""
    origin = connection.headers.get("origin")
    if origin is None:
        return connection.headers.get("sec-fetch-site", "none") in ("none", "same-origin", "same-site")
    if origin in settings.cors_origins:
        return True
    host = host_of(connection)
    scheme = connection.scope["scheme"]
    return host is not None and origin == f"{_PAGE_SCHEMES.get(scheme, scheme)}://{host[1]}"


def _is_ours(name: str, connection: HTTPConnection, settings: ApiSettings) -> bool:
    """Whether the API goes by this name: this machine's, a configured one, or the one that API Gateway serves it by."""
    # A browser looks no `.localhost` up in the DNS (RFC 6761), so nobody can make one lead elsewhere.
    if is_loopback(name) or name.endswith(".localhost"):
        return True
    event = connection.scope.get("aws.event") or {}
    return name in (
        *settings.allowed_hosts,
        *({settings.api_host.lower()} - _EVERY_ADDRESS),
        *(urlsplit(origin).hostname for origin in settings.cors_origins),
        str(event.get("requestContext", {}).get("domainName", "")).lower(),
    )
