"""Signing in: by name and password, by an API key, and anew after a change of the password.

Locks are taken in one order: counters of failures; then administrators by id; user; API key; family.
"""

from nautilus.auth import api_keys
from nautilus.auth.accounts.attempts import Attempt, Attempts, find_user
from nautilus.auth.accounts.refresh import DENIED_S, Issued, SignInSessions
from nautilus.auth.accounts.users import user_of
from nautilus.auth.api_keys import ApiKey
from nautilus.auth.authenticate import matching
from nautilus.auth.passwords import Passwords
from nautilus.auth.principal import Client, Principal
from nautilus.db.auth import api_keys as stored_keys
from nautilus.db.auth import audit, refresh_families, users
from nautilus.db.auth.users import User
from nautilus.db.connection import Database
from nautilus.errors import Conflict, Unauthorized


class SignIn:
    """The ways to sign in. Each takes an attempt that was admitted, so counted."""

    def __init__(self, db: Database, attempts: Attempts, sessions: SignInSessions, passwords: Passwords) -> None:
        self._db = db
        self._attempts = attempts
        self._sessions = sessions
        self._passwords = passwords

    def login(self, attempt: Attempt, name: str, password: str, client: Client) -> Issued:
        """Sign in by name or e-mail address and password.

        Unauthorized in the same words and after the same work for an unknown name, a wrong password, a disabled user.
        """
        with self._attempts.unjudged(attempt), self._db.transaction() as cursor:
            user = find_user(cursor, name)
        stored = user.password_hash if user is not None and user.is_active else None
        # In this order: without a user the same work is done.
        if not self._passwords.fits(password, stored) or user is None:
            raise self._attempts.refused("sign-in", user, client)
        renewed = self._passwords.hash(password) if self._passwords.outdated(user.password_hash) else None
        with self._attempts.unjudged(attempt):
            issued = self._open(user, renewed, client)
        if issued is None:
            raise self._attempts.refused("sign-in", user, client)
        self._attempts.forgive(attempt)
        return issued

    def _open(self, user: User, renewed: str | None, client: Client) -> Issued | None:
        """A session of a user whose password fits; None when the user was changed meanwhile. renewed: a new hash."""
        with self._db.transaction() as cursor:
            held = users.locked(cursor, user.id)
            if held is None or not held.is_active or held.password_hash != user.password_hash:
                return None
            if renewed:
                users.update(cursor, user.id, password_hash=renewed)
            issued = self._sessions.open(cursor, held, client)
            users.signed_in(cursor, user.id)
            subject = f"session:{issued.session}"
            audit.record(cursor, "sign-in", actor=f"user:{user.id}", subject=subject, client=client)
        return issued

    def login_by_key(self, attempt: Attempt, text: str, client: Client) -> Issued:
        """Sign in by an API key: a session with the key's scopes, which ends with the key."""
        key = api_keys.parse(text)
        with self._attempts.unjudged(attempt):
            issued = self._open_by_key(key, client) if key is not None else None
        if issued is None:
            error = Unauthorized("the API key is not valid", code="invalid-api-key")
            raise self._attempts.refused("sign-in", None, client, error)
        self._attempts.forgive(attempt)
        return issued

    def _open_by_key(self, key: ApiKey, client: Client) -> Issued | None:
        with self._db.transaction() as cursor:
            row = matching(stored_keys.candidates(cursor, key.prefix), key)
            user = users.locked(cursor, row.user_id) if row else None
            held = stored_keys.locked_live(cursor, row.id) if row else None
            if user is None or not user.is_active or held is None:
                return None
            issued = self._sessions.open(cursor, user, client, held)
            stored_keys.used(cursor, held.id, client.address)
            subject = f"session:{issued.session}"
            audit.record(cursor, "sign-in", actor=f"key:{held.id}", subject=subject, client=client)
        return issued

    def change_password(self, attempt: Attempt, caller: Principal, client: Client, *, current: str, new: str) -> Issued:
        """Set a new password (one that may be set), end all sessions, and open a new one for the caller."""
        with self._attempts.unjudged(attempt):
            user = user_of(self._db, caller)
        if not self._passwords.fits(current, user.password_hash):
            raise self._attempts.refused("password-change", user, client)
        hashed = self._passwords.hash(new)
        with self._attempts.unjudged(attempt), self._db.transaction() as cursor:
            held = users.locked(cursor, user.id)
            if held is None or not held.is_active or held.password_hash != user.password_hash:
                raise Conflict("the user was changed meanwhile; sign in again", code="changed-meanwhile")
            users.update(cursor, user.id, password_hash=hashed)
            refresh_families.end(cursor, "password-change", DENIED_S, user_id=user.id)
            issued = self._sessions.open(cursor, held, client)
            audit.record(cursor, "password-change", actor=caller.id, subject=caller.id, client=client)
        self._attempts.forgive(attempt)
        return issued
