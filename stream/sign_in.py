"""Who opens a socket: a credential of the handshake, or a ticket; and whether that still holds.

A socket lives as long as the sign-in session or the API key that opened it, not as long as the access token. It must show a
fresh ticket or token every twelve hours.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl

from starlette.requests import HTTPConnection

from nautilus.auth.authenticate import Callers
from nautilus.auth.principal import Client, Principal
from nautilus.auth.scopes import key_accounts, key_scopes, user_accounts
from nautilus.db.auth import api_keys, refresh_families
from nautilus.db.connection import Database
from nautilus.errors import BadRequest, InvalidInput, Unauthorized
from nautilus.infra.executors import Executor
from nautilus.live import tickets

PROTOCOL = "nautilus.v1"
_TICKET = "ticket."
_SECRETS = ("token", "ticket", "access_token", "api_key", "apikey", "key", "authorization", "x-api-key")


def check_address(connection: HTTPConnection, known: Collection[str] = ()) -> None:
    """BadRequest for a credential in the address, which ends in logs; InvalidInput for parameters that do not exist."""
    query = connection.scope.get("query_string", b"").decode("latin-1")
    for name, _ in parse_qsl(query, keep_blank_values=True):
        if name.lower() in _SECRETS:
            raise BadRequest(
                "credentials do not belong into the address, which ends in logs: send a ticket as the first message or as"
                " subprotocol, or a header of the handshake",
                code="credential-in-address",
            )
        if name not in known:
            raise InvalidInput.field(name[:40], "is not a parameter of this address", tuple(known))


def offered_ticket(connection: HTTPConnection) -> tuple[str, str]:
    """The subprotocol to answer with, and the ticket that was offered beside it; each may be empty."""
    offered = list(connection.scope.get("subprotocols", ()))
    ticket = next((one.removeprefix(_TICKET) for one in offered if one.startswith(_TICKET)), "")
    return PROTOCOL if PROTOCOL in offered else "", ticket


class SignIns(NamedTuple):
    """How sign-ins stand now. ended: sessions that are over. keys: API keys that are good, with their scopes and accounts."""

    ended: Collection[str]
    keys: Mapping[int, tuple[frozenset[str], frozenset[str]]]

    def now(self, caller: Principal) -> Principal | None:
        """The caller as they are now; None: their sign-in has ended. A session ends with any change of its user's rights;
        those of a key change under it."""
        if caller.session in self.ended or (caller.key_id is not None and caller.key_id not in self.keys):
            return None
        if caller.session or caller.key_id is None:
            return caller
        scopes, accounts = self.keys[caller.key_id]
        return caller._replace(scopes=scopes, accounts=accounts)


class SignIn:
    """Signs callers in by ticket or by access token, and says how sign-ins stand."""

    def __init__(self, database: Database, callers: Callers) -> None:
        self._db = database
        self._callers = callers
        self._threads = Executor("tickets", 2)
        self._watching = Executor("ended-sign-ins", 1)

    async def by_ticket(self, ticket: str) -> Principal:
        """The caller with this ticket, which is used up. Unauthorized: it is none, was used, or is too old."""
        return await self._threads.run(self._by_ticket, ticket)

    def _by_ticket(self, ticket: str) -> Principal:
        with self._db.transaction(brief=True) as cursor:
            found = tickets.redeem(cursor, ticket)
            denied = refresh_families.denied(cursor)
        if found is None:
            raise _bad_ticket()
        if found.session and found.session in denied:
            raise Unauthorized("the session has ended; sign in again", code="session-ended")
        return found

    async def by_token(self, token: str, client: Client) -> Principal:
        """The caller with this access token. Unauthorized says why not."""
        return await self._threads.run(self._callers.by_token, token, client)

    async def standing(self, callers: Iterable[Principal]) -> SignIns:
        """How these sign-ins stand. Unavailable: the database is away."""
        held = list(callers)
        sessions = {caller.session for caller in held if caller.session}
        keys = {caller.key_id for caller in held if caller.key_id is not None}
        if not sessions and not keys:
            return SignIns((), {})
        return await self._watching.run(self._standing, sessions, keys)

    def _standing(self, sessions: Collection[str], keys: Collection[int]) -> SignIns:
        with self._db.transaction(snapshot=True, brief=True) as cursor:
            denied = refresh_families.denied(cursor)
            usable = api_keys.usable(cursor, keys) if keys else []
        return SignIns(
            frozenset(sessions) & frozenset(denied),
            {
                key.id: (
                    key_scopes(key.user_scopes, key.scopes),
                    key_accounts(user_accounts(key.user_scopes, key.user_accounts), key.accounts),
                )
                for key in usable
            },
        )

    def close(self) -> None:
        self._threads.close()
        self._watching.close()


def _bad_ticket() -> Unauthorized:
    return Unauthorized("the ticket is not good: unknown, used, or older than 30 s", code="invalid-ticket")
