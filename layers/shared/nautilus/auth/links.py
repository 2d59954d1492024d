"""Links of one use: a browser opens a report or a file with one, as it can send no header with an address.

A link is good once, for a minute, and for one address. Its secret has 256 random bits; the database has the SHA-256 of it. So
a link that ends in a log is worth nothing.
"""

import hashlib
import secrets
from typing import NamedTuple

from nautilus.auth.link_words import GOOD_FOR_S, MAX_SECRET, PARAMETER
from nautilus.auth.principal import Principal
from nautilus.db.auth import links
from nautilus.db.cursor import Cursor
from nautilus.errors import Unauthorized

_BYTES = 32


class IssuedLink(NamedTuple):
    """url: an address without a host. expires_in: seconds."""

    url: str
    expires_in: int


def issue(cursor: Cursor, caller: Principal, path: str) -> IssuedLink:
    """Make a link to a path that the caller may read, which the caller of this has checked; remove those whose time is over."""
    secret = secrets.token_urlsafe(_BYTES)
    links.expire(cursor)
    links.put(cursor, _hash(secret), path=path, principal=caller.id, seconds=GOOD_FOR_S)
    return IssuedLink(f"{path}?{PARAMETER}={secret}", GOOD_FOR_S)


def redeem(cursor: Cursor, secret: str, path: str) -> str:
    """Use a link up: who made it. Unauthorized: it is none, was used, is too old, or leads elsewhere."""
    maker = links.take(cursor, _hash(secret), path) if len(secret) <= MAX_SECRET else None
    if maker is None:
        raise Unauthorized(
            f"this link was used, or is older than {GOOD_FOR_S} s, or leads elsewhere: make another one",
            code="invalid-link",
        )
    return maker


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
