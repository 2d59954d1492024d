"""Signing in and out, and what follows: sessions, passwords, API keys, users. What is between functions/auth and tables.

Locks are taken in one order: counters of failures; then administrators by id; user; API key; family.
"""

import base64
import hashlib
import hmac
import math
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from nautilus.auth import api_keys, principal
from nautilus.auth.authenticate import matching
from nautilus.auth.login_throttle import ADDRESS, NAME, PAIR, Counter, Subjects
from nautilus.auth.passwords import Passwords
from nautilus.auth.principal import Client, Principal
from nautilus.auth.tokens.sign import Access, Signer
from nautilus.auth.tokens.verify import LEEWAY_S, MAX_LIFE_S
from nautilus.clock import NS_PER_S, ns_of
from nautilus.db.auth import api_keys as stored_keys
from nautilus.db.auth import audit, login_failures, refresh_families, users
from nautilus.db.bridge import status
from nautilus.db.connection import Database, UniqueViolation
from nautilus.db.cursor import Cursor
from nautilus.errors import Conflict, InvalidInput, NautilusError, NotFound, RateLimited, Unauthorized, Unavailable
from nautilus.log import Log
from nautilus.settings.api import AuthSettings

DENIED_S = MAX_LIFE_S + 12 * LEEWAY_S
"""How long an ended session's access tokens are refused: longer than any lives."""
MAX_KEYS = 50
"""Live API keys of one user."""
_REFRESH_BYTES = 32


@dataclass(frozen=True, slots=True)
class Issued:
    """What somebody who has signed in gets. refresh_days_s: seconds until the refresh token expires."""

    access: Access
    scopes: tuple[str, ...]
    session: str
    refresh_token: str = field(repr=False)
    refresh_expires_in_s: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """An admitted attempt, already counted as failed; `pause_s`: how long to wait before it is judged.

    before, counted_at: the counters before it was counted, and when that was.
    """

    subjects: Subjects
    pause_s: float
    before: Mapping[str, login_failures.Failures]
    counted_at: datetime


class SignIn:
    """Everything that the sign-in routes do."""

    def __init__(self, db: Database, settings: AuthSettings, signer: Signer, passwords: Passwords, log: Log) -> None:
        self._db = db
        self._settings = settings
        self._signer = signer
        self._passwords = passwords
        self._log = log

    # ---- in ----------------------------------------------------------------------------------------------------------

    def admit(self, name: str, client: Client) -> Attempt:
        """Let an attempt with this name through, or RateLimited."""
        subjects = Subjects.of(name, client.address)
        with self._db.transaction() as cursor:
            rows = login_failures.locked(cursor, (subjects.pair, subjects.address, subjects.name))
            counters = {subject: Counter(row.failures, row.idle_s) for subject, row in rows.items()}
            wait_s = max(
                counters[subjects.pair].wait_s(PAIR),
                self._address_wait_s(cursor, counters[subjects.address], name, client),
            )
            if not wait_s:
                counted = {subject: counter.now + 1 for subject, counter in counters.items()}
                counted_at = login_failures.count(cursor, counted)
        if wait_s:
            self._log.info("sign-in-throttled", extra={"address": client.address})
            seconds = math.ceil(wait_s)
            raise RateLimited(f"too many failed attempts; try again in {seconds} s", retry_after_s=seconds)
        return Attempt(subjects, NAME.delay_s(counters[subjects.name].now), rows, counted_at)

    def give_back(self, attempt: Attempt) -> None:
        """Take back that an attempt was counted: it was never judged."""
        with self._db.transaction() as cursor:
            login_failures.uncount(cursor, attempt.before, attempt.counted_at)

    @contextmanager
    def _unjudged(self, attempt: Attempt) -> Iterator[None]:
        """What goes wrong in this block is no failure of who signs in."""
        try:
            yield
        except Unavailable:
            with suppress(Unavailable):  # the same that went wrong: then it stays counted
                self.give_back(attempt)
            raise

    def _address_wait_s(self, cursor: Cursor, counter: Counter, name: str, client: Client) -> float:
        """An address from which this very user has signed in before is not closed to them by what others do there."""
        wait_s = counter.wait_s(ADDRESS)
        if wait_s:
            user = self._user(cursor, name)
            if user is not None and refresh_families.seen_from(cursor, user.id, client.address):
                return 0.0
        return wait_s

    def login(self, attempt: Attempt, name: str, password: str, client: Client) -> Issued:
        """Sign in by name or e-mail address and password.

        Unauthorized in the same words and after the same work for an unknown name, a wrong password, a disabled user.
        """
        with self._unjudged(attempt), self._db.transaction() as cursor:
            user = self._user(cursor, name)
        stored = user.password_hash if user is not None and user.is_active else None
        # In this order: without a user the same work is done.
        if not self._passwords.fits(password, stored) or user is None:
            raise self._refused("sign-in", user, client)
        renewed = self._passwords.hash(password) if self._passwords.outdated(user.password_hash) else None
        with self._unjudged(attempt), self._db.transaction() as cursor:
            held = users.locked(cursor, user.id)
            good = held is not None and held.is_active and held.password_hash == user.password_hash
            if good:
                if renewed:
                    users.update(cursor, user.id, password_hash=renewed)
                issued = self._open(cursor, held, client)
                users.signed_in(cursor, user.id)
                audit.record(
                    cursor, "sign-in", actor=f"user:{user.id}", subject=f"session:{issued.session}", client=client
                )
        if not good:
            raise self._refused("sign-in", user, client)
        self._forgive(attempt)
        return issued

    def login_by_key(self, attempt: Attempt, text: str, client: Client) -> Issued:
        """Sign in by an API key: a session with the key's scopes, which ends with the key."""
        key = api_keys.parse(text)
        issued = None
        if key is not None:
            with self._unjudged(attempt), self._db.transaction() as cursor:
                row = matching(stored_keys.candidates(cursor, key.prefix), key)
                user = users.locked(cursor, row.user_id) if row else None
                held = stored_keys.locked_live(cursor, row.id) if row else None
                if user is not None and user.is_active and held is not None:
                    issued = self._open(cursor, user, client, held)
                    stored_keys.used(cursor, held.id, client.address)
                    subject = f"session:{issued.session}"
                    audit.record(cursor, "sign-in", actor=f"key:{held.id}", subject=subject, client=client)
        if issued is None:
            raise self._refused(
                "sign-in", None, client, Unauthorized("the API key is not valid", code="invalid-api-key")
            )
        self._forgive(attempt)
        return issued

    def refresh(self, token: str, client: Client) -> Issued:
        """A new pair of tokens for a refresh token, which is then used up.

        Asked again with the same token within the grace, as a client does that has lost the answer, the same new
        refresh token is given again, unless it has been used meanwhile. Any other second use means that somebody has a
        copy: the whole family ends.
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
        if owner is None:
            return None, ""
        user = users.locked(cursor, owner.user_id, shared=True)
        key = stored_keys.locked_live(cursor, owner.api_key_id) if owner.api_key_id else None
        family = refresh_families.locked(cursor, owner.family_id)
        if (
            user is None
            or not user.is_active
            or family is None
            or not family.live
            or (owner.api_key_id and key is None)
        ):
            return None, ""
        found = refresh_families.token(cursor, _sha256(token), self._settings.refresh_grace_s)
        following = self._next(cursor, family, token, found)
        if following is not None:
            return self._pair(cursor, user, key, family, following), ""
        if not found.used:
            return None, ""
        session = str(family.id)
        refresh_families.end(cursor, "replayed", DENIED_S, family_id=family.id)
        audit.record(
            cursor,
            "refresh-token-replayed",
            actor=f"user:{user.id}",
            subject=f"session:{session}",
            client=client,
            refused=True,
        )
        return None, session

    def _next(self, cursor: Cursor, family: Any, token: str, found: Any) -> str | None:
        """The refresh token that follows `token`: a new one, or within the grace the one already given; else None."""
        if found.expired:
            return None
        if found.used:
            again = found.in_grace and found.successor_salt is not None
            return _successor(token, bytes(found.successor_salt)) if again else None
        salt = secrets.token_bytes(_REFRESH_BYTES)
        refresh_families.rotate(cursor, family.id, _sha256(token), salt)
        new = _successor(token, salt)
        refresh_families.add_token(cursor, family.id, _sha256(new), self._settings.refresh_days)
        return new

    # ---- out ---------------------------------------------------------------------------------------------------------

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

    def sessions(self, caller: Principal) -> list[Any]:
        with self._db.transaction(snapshot=True) as cursor:
            return refresh_families.live_of_user(cursor, caller.user_id)

    def end_session(self, caller: Principal, session: UUID, client: Client) -> None:
        """End one of the caller's own sessions."""
        with self._db.transaction() as cursor:
            count = refresh_families.end(cursor, "ended", DENIED_S, family_id=session, user_id=caller.user_id)
            if not count:
                raise NotFound("there is no such session, or it has ended", code="unknown-session")
            audit.record(cursor, "session-ended", actor=caller.id, subject=f"session:{session}", client=client)

    # ---- one's own ---------------------------------------------------------------------------------------------------

    def user(self, caller: Principal) -> Any:
        """The caller's row; Unauthorized when it is gone or disabled."""
        with self._db.transaction(snapshot=True) as cursor:
            user = users.by_id(cursor, caller.user_id)
        if user is None or not user.is_active:
            raise Unauthorized("this user does not exist any more, or is disabled", code="invalid-token")
        return user

    def change_password(self, attempt: Attempt, caller: Principal, current: str, new: str, client: Client) -> Issued:
        """Set a new password (one that may be set), end all sessions, and open a new one for the caller."""
        with self._unjudged(attempt):
            user = self.user(caller)
        if not self._passwords.fits(current, user.password_hash):
            raise self._refused("password-change", user, client)
        hashed = self._passwords.hash(new)
        with self._unjudged(attempt), self._db.transaction() as cursor:
            held = users.locked(cursor, user.id)
            if held is None or not held.is_active or held.password_hash != user.password_hash:
                raise Conflict("the user was changed meanwhile; sign in again", code="changed-meanwhile")
            users.update(cursor, user.id, password_hash=hashed)
            refresh_families.end(cursor, "password-change", DENIED_S, user_id=user.id)
            issued = self._open(cursor, held, client)
            audit.record(cursor, "password-change", actor=caller.id, subject=caller.id, client=client)
        self._forgive(attempt)
        return issued

    def make_key(
        self, caller: Principal, name: str, scopes: Sequence[str] | None, expires_at: datetime | None, client: Client
    ) -> tuple[Any, str]:
        """A new API key: its row, and its text, which exists only here. Its scopes are some of the caller's."""
        wanted = principal.checked_scopes("scopes", caller.scopes if scopes is None else scopes)
        for scope in wanted:
            caller.require(scope)
        key = api_keys.new_key()
        with self._db.transaction() as cursor:
            # By the clock that will end it.
            if expires_at is not None and ns_of(expires_at) <= status.machine_now(cursor):
                raise InvalidInput.field("expires_at", "must be in the future")
            user = users.locked(cursor, caller.user_id)
            if user is None or not user.is_active:
                raise Unauthorized("this user does not exist any more, or is disabled", code="invalid-token")
            if stored_keys.count_live(cursor, user.id) >= MAX_KEYS:
                raise Conflict(f"there are {MAX_KEYS} keys already; revoke one", code="too-many-keys")
            row = stored_keys.create(
                cursor,
                user_id=user.id,
                name=name,
                prefix=key.prefix,
                secret_hash=key.hash,
                scopes=wanted,
                expires_at=expires_at,
            )
            audit.record(
                cursor,
                "key-made",
                actor=caller.id,
                subject=f"key:{row.id}",
                client=client,
                detail={"name": name, "scopes": list(wanted)},
            )
        return row, key.text

    def keys(self, caller: Principal) -> list[Any]:
        with self._db.transaction(snapshot=True) as cursor:
            return stored_keys.of_user(cursor, caller.user_id)

    def revoke_key(self, caller: Principal, key_id: int, client: Client) -> None:
        """Revoke a key, one's own or, as administrator, anybody's, and end the sessions opened with it."""
        with self._db.transaction() as cursor:
            row = stored_keys.revoke(cursor, key_id, None if caller.admin else caller.user_id)
            if row is None:
                raise NotFound("there is no such API key", code="unknown-key")
            refresh_families.end(cursor, "key-revoked", DENIED_S, api_key_id=key_id)
            audit.record(cursor, "key-revoked", actor=caller.id, subject=f"key:{key_id}", client=client)

    # ---- administration ----------------------------------------------------------------------------------------------

    def users(self) -> list[Any]:
        with self._db.transaction(snapshot=True) as cursor:
            return users.listed(cursor)

    def make_user(
        self, caller: Principal, username: str, email: str | None, password: str, scopes: Sequence[str], client: Client
    ) -> Any:
        name = principal.new_username(username)
        address = principal.new_email(email) if email else None
        granted = principal.checked_scopes("scopes", scopes)
        hashed = self._passwords.hash(principal.new_password("password", password, name))
        with _taken(), self._db.transaction() as cursor:
            user = users.create(cursor, username=name, email=address, password_hash=hashed, scopes=granted)
            audit.record(
                cursor,
                "user-made",
                actor=caller.id,
                subject=f"user:{user.id}",
                client=client,
                detail={"username": name, "scopes": list(granted)},
            )
        return user

    def change_user(
        self,
        caller: Principal,
        user_id: int,
        client: Client,
        *,
        email: str | None = None,
        password: str | None = None,
        scopes: Sequence[str] | None = None,
        is_active: bool | None = None,
    ) -> Any:
        """Change what is not None. Other scopes, another password or being disabled ends the user's sessions."""
        granted = None if scopes is None else principal.checked_scopes("scopes", scopes)
        address = principal.new_email(email) if email else None
        with self._db.transaction(snapshot=True) as cursor:
            before = _there(users.by_id(cursor, user_id))
        hashed = None
        if password is not None:
            hashed = self._passwords.hash(principal.new_password("password", password, before.username))
        with _taken(), self._db.transaction() as cursor:
            admins = users.lock_active_admins(cursor)
            before = _there(users.locked(cursor, user_id))
            stays = is_active is not False and (granted is None or "admin" in granted)
            if admins == [user_id] and not stays:
                raise Conflict("this is the last administrator; make another one first", code="last-administrator")
            user = users.update(
                cursor, user_id, email=address, password_hash=hashed, scopes=granted, is_active=is_active
            )
            ended = 0
            if hashed or not user.is_active or set(before.scopes) != set(user.scopes):
                ended = refresh_families.end(cursor, "user-changed", DENIED_S, user_id=user_id)
            told = {"email": address, "scopes": granted, "is_active": is_active, "password": hashed and "changed"}
            detail = {name: value for name, value in told.items() if value is not None} | {"sessions_ended": ended}
            subject = f"user:{user_id}"
            audit.record(cursor, "user-changed", actor=caller.id, subject=subject, client=client, detail=detail)
        return user

    # ---- inner -------------------------------------------------------------------------------------------------------

    @staticmethod
    def _user(cursor: Cursor, name: str) -> Any | None:
        """The user of a name as typed. A name that nobody can have is looked up too: the same work."""
        return users.by_login(cursor, principal.login_name(name) or "")

    def _open(self, cursor: Cursor, user: Any, client: Client, key: Any = None) -> Issued:
        """A new session of the user, whose row is locked; `key`: the API key it was opened with."""
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
        return self._pair(cursor, user, key, family, token)

    def _pair(self, cursor: Cursor, user: Any, key: Any, family: Any, refresh_token: str) -> Issued:
        now_s = status.machine_now(cursor) // NS_PER_S
        scopes = principal.key_scopes(user.scopes, key.scopes) if key else frozenset(user.scopes)
        access = self._signer.sign(
            user_id=user.id,
            name=user.username,
            scopes=scopes,
            session=str(family.id),
            key_id=key.id if key else None,
            now_s=now_s,
            expires_s=min(now_s + self._settings.token_minutes * 60, math.ceil(family.expires_at.timestamp())),
        )
        left_s = refresh_families.seconds_left(cursor, _sha256(refresh_token))
        return Issued(access, tuple(sorted(scopes)), str(family.id), refresh_token, left_s)

    def _forgive(self, attempt: Attempt) -> None:
        """After a success: the attempt was no failure. And the time to forget what is old, for everybody."""
        subjects = attempt.subjects
        with self._db.transaction() as cursor:
            login_failures.forgive(cursor, subjects.pair, (subjects.address, subjects.name))
            login_failures.forget_old(cursor)
            refresh_families.forget_old(cursor)

    def _refused(self, action: str, user: Any, client: Client, error: NautilusError | None = None) -> NautilusError:
        """The error to raise, after the refusal has been noted. What was typed is not: it may be a password."""
        actor = f"user:{user.id}" if user is not None else "unknown"
        with self._db.transaction() as cursor:
            audit.record(cursor, action, actor=actor, client=client, refused=True)
        self._log.info("sign-in-refused", extra={"action": action, "actor": actor, "address": client.address})
        return error or Unauthorized("the name or the password is wrong", code="invalid-credentials")


def put_user(
    db: Database, passwords: Passwords, username: str, password: str, scopes: Sequence[str], *, reason: str
) -> bool:
    """Make a user, or give the user of this name this password and these scopes, from a command; False when nothing
    had to change. A change ends the user's sessions."""
    name = principal.new_username(username)
    granted = principal.checked_scopes("scopes", scopes)
    principal.new_password("password", password, name)
    with db.transaction() as cursor:
        user = users.by_login(cursor, name)
    if user is not None and user.is_active and set(user.scopes) == set(granted):
        stored = user.password_hash
        if passwords.fits(password, stored) and not passwords.outdated(stored):
            return False
    hashed = passwords.hash(password)
    with db.transaction() as cursor:
        user_id = users.put(cursor, name, hashed, granted)
        refresh_families.end(cursor, "user-changed", DENIED_S, user_id=user_id)
        subject = f"user:{user_id}"
        detail = {"username": name, "scopes": list(granted), "reason": reason}
        audit.record(cursor, "user-put", actor="command", subject=subject, client=Client("local"), detail=detail)
    return True


def _there(user: Any) -> Any:
    if user is None:
        raise NotFound("there is no such user", code="unknown-user")
    return user


@contextmanager
def _taken() -> Iterator[None]:
    """A name or e-mail address that another user has becomes a Conflict."""
    try:
        yield
    except UniqueViolation as taken:
        what = "e-mail address" if "email" in str(taken.diag.constraint_name) else "name"
        raise Conflict(f"another user has this {what}", code="user-exists") from None


def _sha256(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def _successor(token: str, salt: bytes) -> str:
    """The refresh token after `token`. Derived, not drawn: it can be given again, while nobody ever stores it."""
    made = hmac.new(salt, b"nautilus refresh token after " + token.encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(made).rstrip(b"=").decode()
