"""Tickets by which a browser signs a socket in, as it can send no header with one: good once, for half a minute.

A ticket is 256 random bits; the database has its SHA-256. It stands in the first message or as a subprotocol, never in an
address, which would end in logs.
"""

import hashlib
import secrets
from typing import NamedTuple

from nautilus.auth.principal import Principal
from nautilus.db.cursor import Cursor
from nautilus.db.live import tickets

GOOD_FOR_S = 30
PER_MINUTE = 60
"""Tickets that one caller may have made in a minute."""
_BYTES = 32
_LONGEST = 100


class IssuedTicket(NamedTuple):
    """A ticket for a caller, who alone sees its text; expires_in: seconds."""

    ticket: str
    expires_in: int


def issue(cursor: Cursor, caller: Principal) -> IssuedTicket:
    """Make a ticket that stands for a caller, and remove those whose time is over."""
    text = secrets.token_urlsafe(_BYTES)
    scopes, accounts = sorted(caller.scopes), sorted(caller.accounts)
    stored = tickets.Ticket(caller.id, caller.name, scopes, caller.session, caller.key_id, accounts)
    tickets.expire(cursor)
    tickets.put(cursor, _hash(text), stored, GOOD_FOR_S)
    return IssuedTicket(text, GOOD_FOR_S)


def redeem(cursor: Cursor, text: str) -> Principal | None:
    """Use a ticket up: whom it stands for; None when it is none, was used, or is too old.

    Whether the sign-in behind it has ended since is not checked here: check `session` and `key_id`.
    """
    found = tickets.take(cursor, _hash(text)) if len(text) <= _LONGEST else None
    if found is None:
        return None
    scopes, accounts = frozenset(found.scopes), frozenset(found.accounts)
    return Principal(found.principal, found.name, scopes, found.session, found.key_id, accounts)


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
