"""People who may sign in."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from nautilus.db.cursor import Cursor
from nautilus.db.rows import every, one, one_or_none, scalar, scalars


class User(NamedTuple):
    """A row of `users`. accounts: those at IB that they may use; `*`: all."""

    id: int
    username: str
    email: str | None
    password_hash: str
    scopes: list[str]
    accounts: list[str]
    is_active: bool
    created_at: datetime
    last_login: datetime | None


_COLUMNS = ", ".join(User._fields)


def create(
    cursor: Cursor,
    *,
    username: str,
    email: str | None,
    password_hash: str,
    scopes: Sequence[str],
    accounts: Sequence[str] = (),
) -> User:
    """A new user; UniqueViolation when the name or the e-mail address is taken."""
    cursor.execute(
        "INSERT INTO users (username, email, password_hash, scopes, accounts) VALUES (%s, %s, %s, %s, %s)"
        f" RETURNING {_COLUMNS}",
        (username, email, password_hash, list(scopes), list(accounts)),
    )
    return one(cursor, User)


def put(
    cursor: Cursor, username: str, password_hash: str, scopes: Sequence[str], *, accounts: Sequence[str] = ()
) -> int:
    """A new user, or, when the name exists, the same user, active, with this password, these scopes and accounts."""
    cursor.execute(
        "INSERT INTO users (username, password_hash, scopes, accounts) VALUES (%s, %s, %s, %s)"
        " ON CONFLICT (lower(username)) DO UPDATE SET password_hash = excluded.password_hash, scopes = excluded.scopes,"
        " accounts = excluded.accounts, is_active = true RETURNING id",
        (username, password_hash, list(scopes), list(accounts)),
    )
    return scalar(cursor, int)


def by_login(cursor: Cursor, name: str) -> User | None:
    """The user with this name or e-mail address, given in small letters."""
    cursor.execute(
        f"SELECT {_COLUMNS} FROM users WHERE lower(username) = %(name)s OR lower(email) = %(name)s",
        {"name": name},
    )
    return one_or_none(cursor, User)


def by_id(cursor: Cursor, user_id: int) -> User | None:
    cursor.execute(f"SELECT {_COLUMNS} FROM users WHERE id = %s", (user_id,))
    return one_or_none(cursor, User)


def listed(cursor: Cursor) -> list[User]:
    cursor.execute(f"SELECT {_COLUMNS} FROM users ORDER BY id")
    return every(cursor, User)


def locked(cursor: Cursor, user_id: int, *, shared: bool = False) -> User | None:
    """The user, kept as they are until the transaction ends; `shared`: by any number of transactions together."""
    mode = "SHARE" if shared else "NO KEY UPDATE"
    cursor.execute(f"SELECT {_COLUMNS} FROM users WHERE id = %s FOR {mode}", (user_id,))
    return one_or_none(cursor, User)


def lock_active_admins(cursor: Cursor) -> list[int]:
    """Ids of the administrators who may sign in, kept so until the transaction ends."""
    cursor.execute(
        "SELECT id FROM users WHERE is_active AND 'admin' = ANY (scopes) ORDER BY id FOR NO KEY UPDATE",
    )
    return scalars(cursor, int)


def update(
    cursor: Cursor,
    user_id: int,
    *,
    email: str | None = None,
    password_hash: str | None = None,
    scopes: Sequence[str] | None = None,
    accounts: Sequence[str] | None = None,
    is_active: bool | None = None,
) -> User:
    """Change what is not None."""
    lists = [None if given is None else list(given) for given in (scopes, accounts)]
    cursor.execute(
        "UPDATE users SET email = coalesce(%s, email), password_hash = coalesce(%s, password_hash),"
        " scopes = coalesce(%s::text[], scopes), accounts = coalesce(%s::text[], accounts),"
        f" is_active = coalesce(%s, is_active) WHERE id = %s RETURNING {_COLUMNS}",
        (email, password_hash, *lists, is_active, user_id),
    )
    return one(cursor, User)


def signed_in(cursor: Cursor, user_id: int) -> None:
    cursor.execute("UPDATE users SET last_login = clock_timestamp() WHERE id = %s", (user_id,))
