"""API keys: made, listed and revoked by their user."""

from collections.abc import Sequence
from datetime import datetime

from nautilus.auth import api_keys
from nautilus.auth.accounts.refresh import DENIED_S
from nautilus.auth.principal import Client, Principal
from nautilus.auth.scopes import checked_accounts, checked_scopes
from nautilus.clock import ns_of
from nautilus.db.auth import api_keys as stored_keys
from nautilus.db.auth import audit, refresh_families, users
from nautilus.db.auth.api_keys import Key
from nautilus.db.bridge import status
from nautilus.db.connection import Database
from nautilus.errors import Conflict, InvalidInput, NotFound, Unauthorized

MAX_KEYS = 50
"""Live API keys of one user."""


class ApiKeys:
    """The API keys of all users."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def make(
        self,
        caller: Principal,
        client: Client,
        *,
        name: str,
        scopes: Sequence[str] | None,
        expires_at: datetime | None,
        accounts: Sequence[str] | None = None,
    ) -> tuple[Key, str]:
        """A new API key: its row, and its text, which exists only here. Its scopes and accounts are some of the caller's;
        accounts: None: those that its user has at each time."""
        wanted = checked_scopes("scopes", caller.scopes if scopes is None else scopes)
        for scope in wanted:
            caller.require(scope)
        named = None if accounts is None else checked_accounts("accounts", accounts)
        for account in named or ():
            caller.require_account(account)
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
                accounts=named,
                expires_at=expires_at,
            )
            detail = {"name": name, "scopes": list(wanted), "accounts": None if named is None else list(named)}
            audit.record(cursor, "key-made", actor=caller.id, subject=f"key:{row.id}", client=client, detail=detail)
        return row, key.text

    def of_caller(self, caller: Principal) -> list[Key]:
        """All keys of the caller, also those that ended."""
        with self._db.transaction(snapshot=True) as cursor:
            return stored_keys.of_user(cursor, caller.user_id)

    def revoke(self, caller: Principal, key_id: int, client: Client) -> None:
        """Revoke a key, one's own or, as administrator, anybody's, and end the sessions opened with it.

        A key may revoke itself, as a thief wins nothing by that. Forbidden for any other without a sign-in by password.
        """
        if caller.key_id != key_id:
            caller.require_password_sign_in()
        with self._db.transaction() as cursor:
            row = stored_keys.revoke(cursor, key_id, None if caller.admin else caller.user_id)
            if row is None:
                raise NotFound("there is no such API key", code="unknown-key")
            refresh_families.end(cursor, "key-revoked", DENIED_S, api_key_id=key_id)
            audit.record(cursor, "key-revoked", actor=caller.id, subject=f"key:{key_id}", client=client)
