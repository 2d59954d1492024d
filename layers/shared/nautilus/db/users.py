"""People who may sign in."""

from collections.abc import Sequence
from typing import Any

from nautilus.db.connection import Cursor

_COLUMNS = "id, username, email, password_hash, scopes, is_active, created_at, last_login"


def create(cursor: Cursor, username: str, password_hash: str, scopes: Sequence[str], email: str | None = None) -> int:
    """A new user, or, when the name exists, the same user with a new password and scopes."""
    cursor.execute(
        "INSERT INTO users (username, email, password_hash, scopes) VALUES (%s, %s, %s, %s)"
        " ON CONFLICT (lower(username)) DO UPDATE SET password_hash = excluded.password_hash, scopes = excluded.scopes,"
        " is_active = true RETURNING id",
        (username, email, password_hash, list(scopes)),
    )
    return int(cursor.fetchone().id)


def by_login(cursor: Cursor, name: str) -> Any | None:
    """The user with this name or e-mail address."""
    cursor.execute(
        f"SELECT {_COLUMNS} FROM users WHERE lower(username) = lower(%(name)s) OR lower(email) = lower(%(name)s)",
        {"name": name},
    )
    return cursor.fetchone()


def by_id(cursor: Cursor, user_id: int) -> Any | None:
    cursor.execute(f"SELECT {_COLUMNS} FROM users WHERE id = %s", (user_id,))
    return cursor.fetchone()


def signed_in(cursor: Cursor, user_id: int) -> None:
    cursor.execute("UPDATE users SET last_login = clock_timestamp() WHERE id = %s", (user_id,))
