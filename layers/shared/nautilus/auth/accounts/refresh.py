"""Sign-in sessions: opened by a sign-in, renewed by a refresh token, ended by their user.

Locks are taken in one order: counters of failures; then administrators by id; user; API key; family.
"""

import base64
import hashlib
import hmac
import math
import secrets
from dataclasses import dataclass, field
from uuid import UUID

from nautilus.auth.principal import Client, Principal
from nautilus.auth.scopes import key_accounts, key_scopes, user_accounts
from nautilus.auth.tokens.sign import Access, Signer
from nautilus.auth.tokens.verify import LEEWAY_S, MAX_LIFE_S
from nautilus.clock import NS_PER_S
from nautilus.db.auth import api_keys, audit, refresh_families, users
from nautilus.db.auth.api_keys import Key
from nautilus.db.auth.refresh_families import Family, Owner
from nautilus.db.auth.users import User
from nautilus.db.bridge import status
from nautilus.db.connection import Database
from nautilus.db.cursor import Cursor
from nautilus.errors import NotFound, Unauthorized
from nautilus.log import Log
from nautilus.settings.auth import AuthSettings

DENIED_S = MAX_LIFE_S + 12 * LEEWAY_S
"""How long an ended session's access tokens are refused: longer than any lives."""
_REFRESH_BYTES = 32


@dataclass(frozen=True, slots=True)
class Issued:
    """What somebody who has signed in gets. refresh_expires_in_s: seconds until the refresh token expires."""

    access: Access
    scopes: tuple[str, ...]
    session: str
    refresh_token: str = field(repr=False)
    refresh_expires_in_s: int


@dataclass(frozen=True, slots=True)
class _Held:
    """Whose session it is; all rows are locked. key: the API key that it was opened with."""

    user: User
    key: Key | None
    family: Family


class SignInSessions:
    """The sign-in sessions of all users."""

    def __init__(self, db: Database, settings: AuthSettings, signer: Signer, log: Log) -> None:
        self._db = db
        self._settings = settings
        self._signer = signer
        self._log = log

    def open(self, cursor: Cursor, user: User, client: Client, key: Key | None = None) -> Issued:
        """A new session of the user, whose row is locked; `key`: the API key it is opened with."""
        family = refresh_families.open_family(
            cursor,
            user.id,
            key.id if key else None,
            address=client.address,
            user_agent=client.user_agent,
            days=self._settings.session_days,
            until=key.expires_at if key else None,
        )
        token = secrets.token_urlsafe(_REFRESH_BYTES)
        refresh_families.add_token(cursor, family.id, _sha256(token), self._settings.refresh_days)
        return self._issued(cursor, _Held(user, key, family), token)

    # ---- renewed -----------------------------------------------------------------------------------------------------

    def refresh(self, token: str, client: Client) -> Issued:
        """A new pair of tokens for a refresh token, which is then used up.

        A client that has lost the answer asks again. Within the grace it gets the same new refresh token, unless that one
        has been used meanwhile. Any other second use means that somebody has a copy: the whole family ends.
        """
        with self._db.transaction() as cursor:
            issued, replayed = self._refreshed(cursor, token, client)
        if replayed:
            self._log.warning("refresh-token-replayed", extra={"session": replayed, "address": client.address})
            raise Unauthorized(
                "this refresh token was used before, so its session was ended; sign in again",
                code="refresh-token-replayed",
            )
        if issued is None:
            self._log.info("refresh-refused", extra={"address": client.address})
            raise Unauthorized("the refresh token is not valid; sign in again", code="invalid-refresh-token")
        return issued

    def _refreshed(self, cursor: Cursor, token: str, client: Client) -> tuple[Issued | None, str]:
        """The new pair, or None and, when the token was replayed, the session that was ended for it."""
        owner = refresh_families.owner(cursor, _sha256(token))
        held = _held(cursor, owner) if owner is not None else None
        found = refresh_families.token(cursor, _sha256(token), self._settings.refresh_grace_s) if held else None
        if held is None or found is None:
            return None, ""
        following = self._next(cursor, held.family, token, found)
        if following is not None:
            return self._issued(cursor, held, following), ""
        if not found.used:
            return None, ""
        return None, _end_replayed(cursor, held, client)

    def _next(self, cursor: Cursor, family: Family, token: str, found: refresh_families.Token) -> str | None:
        """The refresh token that follows `token`: a new one, or within the grace the one already given; else None."""
        if found.expired:
            return None
        if found.used:
            given = found.successor_salt if found.in_grace else None
            return _successor(token, bytes(given)) if given is not None else None
        salt = secrets.token_bytes(_REFRESH_BYTES)
        refresh_families.rotate(cursor, family.id, _sha256(token), salt)
        new = _successor(token, salt)
        refresh_families.add_token(cursor, family.id, _sha256(new), self._settings.refresh_days)
        return new

    def _issued(self, cursor: Cursor, held: _Held, refresh_token: str) -> Issued:
        user, key, family = held.user, held.key, held.family
        now_s = status.machine_now(cursor) // NS_PER_S
        scopes = key_scopes(user.scopes, key.scopes) if key else frozenset(user.scopes)
        accounts = key_accounts(user_accounts(user.scopes, user.accounts), key.accounts if key else None)
        access = self._signer.sign(
            user_id=user.id,
            name=user.username,
            scopes=scopes,
            accounts=accounts,
            session=str(family.id),
            key_id=key.id if key else None,
            now_s=now_s,
            expires_s=min(now_s + self._settings.token_minutes * 60, math.ceil(family.expires_at.timestamp())),
        )
        left_s = refresh_families.seconds_left(cursor, _sha256(refresh_token))
        return Issued(access, tuple(sorted(scopes)), str(family.id), refresh_token, left_s)

    # ---- ended -------------------------------------------------------------------------------------------------------

    def logout(self, caller: Principal | None, refresh_token: str | None, client: Client) -> None:
        """End the session of the access token, and that of the refresh token, whichever there is."""
        if (caller is None or not caller.session) and not refresh_token:
            raise Unauthorized("there is no session to end: send its access token or its refresh token")
        with self._db.transaction() as cursor:
            ended: dict[str, str] = {}
            if caller is not None and caller.session:
                ended[caller.session] = caller.id
            owner = refresh_families.owner(cursor, _sha256(refresh_token)) if refresh_token else None
            if owner is not None:
                ended[str(owner.family_id)] = f"user:{owner.user_id}"
            for session in sorted(ended):
                refresh_families.end(cursor, "logout", DENIED_S, family_id=UUID(session))
                audit.record(cursor, "logout", actor=ended[session], subject=f"session:{session}", client=client)

    def logout_everywhere(self, caller: Principal, client: Client) -> int:
        """End all sessions of the caller; returns how many. API keys stay."""
        with self._db.transaction() as cursor:
            users.locked(cursor, caller.user_id)
            count = refresh_families.end(cursor, "logout-all", DENIED_S, user_id=caller.user_id)
            audit.record(
                cursor, "logout-all", actor=caller.id, subject=caller.id, client=client, detail={"sessions": count}
            )
        return count

    def of_caller(self, caller: Principal) -> list[Family]:
        """The caller's sessions that can still be refreshed, the latest used first."""
        with self._db.transaction(snapshot=True) as cursor:
            return refresh_families.live_of_user(cursor, caller.user_id)

    def end(self, caller: Principal, session: UUID, client: Client) -> None:
        """End one of the caller's own sessions."""
        with self._db.transaction() as cursor:
            count = refresh_families.end(cursor, "ended", DENIED_S, family_id=session, user_id=caller.user_id)
            if not count:
                raise NotFound("there is no such session, or it has ended", code="unknown-session")
            audit.record(cursor, "session-ended", actor=caller.id, subject=f"session:{session}", client=client)


def _held(cursor: Cursor, owner: Owner) -> _Held | None:
    """The session of a refresh token, locked; None when it, its user or its API key is no longer good."""
    user = users.locked(cursor, owner.user_id, shared=True)
    key = api_keys.locked_live(cursor, owner.api_key_id) if owner.api_key_id else None
    family = refresh_families.locked(cursor, owner.family_id)
    if user is None or not user.is_active or family is None or not family.live or (owner.api_key_id and key is None):
        return None
    return _Held(user, key, family)


def _end_replayed(cursor: Cursor, held: _Held, client: Client) -> str:
    """End a session whose refresh token came a second time; returns its id."""
    session = str(held.family.id)
    refresh_families.end(cursor, "replayed", DENIED_S, family_id=held.family.id)
    audit.record(
        cursor,
        "refresh-token-replayed",
        actor=f"user:{held.user.id}",
        subject=f"session:{session}",
        client=client,
        refused=True,
    )
    return session


def _sha256(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def _successor(token: str, salt: bytes) -> str:
    """The refresh token after `token`. Derived, not drawn: it can be given again, while nobody ever stores it."""
    made = hmac.new(salt, b"nautilus refresh token after " + token.encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(made).rstrip(b"=").decode()
