"""Users: listed, made and changed by administrators and by commands."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from nautilus.auth import principal
from nautilus.auth.accounts.refresh import DENIED_S
from nautilus.auth.passwords import Passwords
from nautilus.auth.principal import Client, Principal
from nautilus.auth.scopes import ALL_ACCOUNTS, checked_accounts, checked_scopes
from nautilus.db.auth import audit, refresh_families, users
from nautilus.db.auth.users import User
from nautilus.db.connection import Database, UniqueViolation
from nautilus.db.cursor import Cursor
from nautilus.errors import Conflict, NotFound, Unauthorized


class Users:
    """All users."""

    def __init__(self, db: Database, passwords: Passwords) -> None:
        self._db = db
        self._passwords = passwords

    def listed(self) -> list[User]:
        with self._db.transaction(snapshot=True) as cursor:
            return users.listed(cursor)

    def make(
        self,
        caller: Principal,
        client: Client,
        *,
        username: str,
        email: str | None,
        password: str,
        scopes: Sequence[str],
        accounts: Sequence[str] = (),
    ) -> User:
        """A new user; Conflict when the name or the e-mail address is taken."""
        name = principal.new_username(username)
        address = principal.new_email(email) if email else None
        granted, allowed = checked_scopes("scopes", scopes), checked_accounts("accounts", accounts)
        hashed = self._passwords.hash(principal.new_password("password", password, name))
        with _taken(), self._db.transaction() as cursor:
            user = users.create(
                cursor, username=name, email=address, password_hash=hashed, scopes=granted, accounts=allowed
            )
            detail = {"username": name, "scopes": list(granted), "accounts": list(allowed)}
            audit.record(cursor, "user-made", actor=caller.id, subject=f"user:{user.id}", client=client, detail=detail)
        return user

    def change(
        self,
        caller: Principal,
        user_id: int,
        client: Client,
        *,
        email: str | None = None,
        password: str | None = None,
        scopes: Sequence[str] | None = None,
        accounts: Sequence[str] | None = None,
        is_active: bool | None = None,
    ) -> User:
        """Change what is not None. Other scopes or accounts, another password or being disabled ends the user's sessions."""
        granted = None if scopes is None else checked_scopes("scopes", scopes)
        allowed = None if accounts is None else checked_accounts("accounts", accounts)
        address = principal.new_email(email) if email else None
        with self._db.transaction(snapshot=True) as cursor:
            before = _existing(users.by_id(cursor, user_id))
        hashed = None
        if password is not None:
            hashed = self._passwords.hash(principal.new_password("password", password, before.username))
        with _taken(), self._db.transaction() as cursor:
            before = _locked(cursor, user_id, is_active, granted)
            user = users.update(
                cursor,
                user_id,
                email=address,
                password_hash=hashed,
                scopes=granted,
                accounts=allowed,
                is_active=is_active,
            )
            ended = 0
            if hashed or not user.is_active or _rights(before) != _rights(user):
                ended = refresh_families.end(cursor, "user-changed", DENIED_S, user_id=user_id)
            changes = {
                "email": address,
                "scopes": granted,
                "accounts": allowed,
                "is_active": is_active,
                "password": hashed and "changed",
            }
            detail = {name: value for name, value in changes.items() if value is not None} | {"sessions_ended": ended}
            audit.record(
                cursor, "user-changed", actor=caller.id, subject=f"user:{user_id}", client=client, detail=detail
            )
        return user


def user_of(db: Database, caller: Principal) -> User:
    """The caller's row; Unauthorized when it is gone or disabled."""
    with db.transaction(snapshot=True) as cursor:
        user = users.by_id(cursor, caller.user_id)
    if user is None or not user.is_active:
        raise Unauthorized("this user does not exist any more, or is disabled", code="invalid-token")
    return user


def put_user(
    db: Database,
    passwords: Passwords,
    *,
    username: str,
    password: str,
    scopes: Sequence[str],
    reason: str,
    accounts: Sequence[str] = (ALL_ACCOUNTS,),
) -> bool:
    """Make a user, or give the user of this name this password, these scopes and accounts, from a command; False when
    nothing had to change. A change ends the user's sessions. Whoever may run commands may use all accounts."""
    name = principal.new_username(username)
    granted, allowed = checked_scopes("scopes", scopes), checked_accounts("accounts", accounts)
    principal.new_password("password", password, name)
    with db.transaction() as cursor:
        user = users.by_login(cursor, name)
    if user is not None and user.is_active and _rights(user) == (set(granted), set(allowed)):
        stored = user.password_hash
        if passwords.fits(password, stored) and not passwords.outdated(stored):
            return False
    hashed = passwords.hash(password)
    with db.transaction() as cursor:
        user_id = users.put(cursor, name, hashed, granted, accounts=allowed)
        refresh_families.end(cursor, "user-changed", DENIED_S, user_id=user_id)
        subject = f"user:{user_id}"
        detail = {"username": name, "scopes": list(granted), "accounts": list(allowed), "reason": reason}
        audit.record(cursor, "user-put", actor="command", subject=subject, client=Client("local"), detail=detail)
    return True


def _locked(cursor: Cursor, user_id: int, is_active: bool | None, scopes: Sequence[str] | None) -> User:
    """The user before a change, locked after all administrators; Conflict when the change would leave none of these."""
    admins = users.lock_active_admins(cursor)
    user = _existing(users.locked(cursor, user_id))
    stays = is_active is not False and (scopes is None or "admin" in scopes)
    if admins == [user_id] and not stays:
        raise Conflict("this is the last administrator; make another one first", code="last-administrator")
    return user


def _rights(user: User) -> tuple[set[str], set[str]]:
    """What stands in the tokens of a user's sessions."""
    return set(user.scopes), set(user.accounts)


def _existing(user: User | None) -> User:
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
