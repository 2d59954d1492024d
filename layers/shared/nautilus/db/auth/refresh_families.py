"""Sign-ins that last: a family of refresh tokens, of which the newest is good, and the deny list of those that ended."""

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from nautilus.db.cursor import Cursor
from nautilus.db.rows import every, one, one_or_none, scalar, scalars

_LIVE = "ended_at IS NULL AND expires_at > clock_timestamp()"
_KEPT_DAYS = 30
"""How long an ended family is remembered: a token of it that comes back is then known as replayed."""


class Family(NamedTuple):
    """A row of `refresh_families`: one sign-in; `live`: neither ended nor expired."""

    id: UUID
    user_id: int
    api_key_id: int | None
    address: str
    user_agent: str
    created_at: datetime
    used_at: datetime
    expires_at: datetime
    live: bool


_COLUMNS = ", ".join(Family._fields[:-1]) + f", {_LIVE} AS live"


class Owner(NamedTuple):
    """Whose a refresh token is."""

    family_id: UUID
    user_id: int
    api_key_id: int | None


class Token(NamedTuple):
    """A refresh token; `in_grace`: it was used within the grace, so that its successor may be given again."""

    successor_salt: memoryview | None
    used: bool
    expired: bool
    in_grace: bool


def open_family(
    cursor: Cursor,
    user_id: int,
    api_key_id: int | None,
    *,
    address: str,
    user_agent: str,
    days: int,
    until: datetime | None,
) -> Family:
    """A new family that ends after `days`, or at `until` when that is earlier."""
    cursor.execute(
        "INSERT INTO refresh_families (user_id, api_key_id, address, user_agent, expires_at) VALUES"
        " (%s, %s, %s, %s, least(clock_timestamp() + make_interval(days => %s), %s::timestamptz))"
        f" RETURNING {_COLUMNS}",
        (user_id, api_key_id, address, user_agent, days, until),
    )
    return one(cursor, Family)


def owner(cursor: Cursor, token_hash: bytes) -> Owner | None:
    """Whose a refresh token is; None when nobody has it."""
    cursor.execute(
        "SELECT t.family_id, f.user_id, f.api_key_id FROM refresh_tokens t JOIN refresh_families f ON f.id = t.family_id"
        " WHERE t.token_hash = %s",
        (token_hash,),
    )
    return one_or_none(cursor, Owner)


def locked(cursor: Cursor, family_id: UUID) -> Family | None:
    """The family, locked until the transaction ends."""
    cursor.execute(f"SELECT {_COLUMNS} FROM refresh_families WHERE id = %s FOR UPDATE", (family_id,))
    return one_or_none(cursor, Family)


def token(cursor: Cursor, token_hash: bytes, grace_s: float) -> Token | None:
    """A refresh token; the grace lasts for `grace_s` seconds after its first use."""
    cursor.execute(
        "SELECT successor_salt, used_at IS NOT NULL AS used, expires_at <= clock_timestamp() AS expired,"
        " coalesce(used_at > clock_timestamp() - make_interval(secs => %s), false) AS in_grace"
        " FROM refresh_tokens WHERE token_hash = %s",
        (grace_s, token_hash),
    )
    return one_or_none(cursor, Token)


def add_token(cursor: Cursor, family_id: UUID, token_hash: bytes, days: int) -> int:
    """A token good for `days`, or as long as its family when that is shorter; returns the seconds left."""
    cursor.execute(
        "INSERT INTO refresh_tokens (token_hash, family_id, expires_at)"
        " SELECT %s, id, least(expires_at, clock_timestamp() + make_interval(days => %s))"
        " FROM refresh_families WHERE id = %s"
        " RETURNING extract(epoch FROM expires_at - clock_timestamp())::bigint",
        (token_hash, days, family_id),
    )
    return scalar(cursor, int)


def seconds_left(cursor: Cursor, token_hash: bytes) -> int:
    cursor.execute(
        "SELECT extract(epoch FROM expires_at - clock_timestamp())::bigint FROM refresh_tokens WHERE token_hash = %s",
        (token_hash,),
    )
    return scalar(cursor, int)


def rotate(cursor: Cursor, family_id: UUID, token_hash: bytes, salt: bytes) -> None:
    """Mark the token as used. Its predecessor's salt goes: whoever uses this token has received it."""
    cursor.execute(
        "UPDATE refresh_tokens SET successor_salt = NULL WHERE family_id = %s AND successor_salt IS NOT NULL",
        (family_id,),
    )
    cursor.execute(
        "UPDATE refresh_tokens SET used_at = clock_timestamp(), successor_salt = %s WHERE token_hash = %s",
        (salt, token_hash),
    )
    cursor.execute("UPDATE refresh_families SET used_at = clock_timestamp() WHERE id = %s", (family_id,))


def live_of_user(cursor: Cursor, user_id: int) -> list[Family]:
    """The user's families that can still be refreshed, the latest used first."""
    cursor.execute(
        f"SELECT {_COLUMNS} FROM refresh_families WHERE user_id = %s AND {_LIVE} ORDER BY used_at DESC", (user_id,)
    )
    return every(cursor, Family)


def seen_from(cursor: Cursor, user_id: int, address: str) -> bool:
    """Whether the user has signed in with the password from this address lately."""
    cursor.execute(
        "SELECT EXISTS (SELECT 1 FROM refresh_families WHERE user_id = %s AND address = %s AND api_key_id IS NULL)",
        (user_id, address),
    )
    return scalar(cursor, bool)


def end(
    cursor: Cursor,
    reason: str,
    denied_s: int,
    *,
    family_id: UUID | None = None,
    user_id: int | None = None,
    api_key_id: int | None = None,
) -> int:
    """End the live families that fit all that is given, and deny their access tokens for `denied_s`; returns how many."""
    if family_id is None and user_id is None and api_key_id is None:
        raise ValueError("name the families to end")
    cursor.execute(
        "WITH ended AS (UPDATE refresh_families SET ended_at = clock_timestamp(), end_reason = %(reason)s"
        f" WHERE {_LIVE} AND (%(family)s::uuid IS NULL OR id = %(family)s)"
        " AND (%(user)s::bigint IS NULL OR user_id = %(user)s) AND (%(key)s::bigint IS NULL OR api_key_id = %(key)s)"
        " RETURNING id)"
        " INSERT INTO denied (subject, reason, expires_at)"
        " SELECT 'session:' || id, %(reason)s, clock_timestamp() + make_interval(secs => %(denied)s) FROM ended"
        " ON CONFLICT (subject) DO NOTHING",
        {"reason": reason, "family": family_id, "user": user_id, "key": api_key_id, "denied": denied_s},
    )
    return cursor.rowcount


def denied(cursor: Cursor) -> Collection[str]:
    """Sessions whose access tokens are refused although they have not expired."""
    cursor.execute("SELECT subject FROM denied WHERE expires_at > clock_timestamp()")
    return frozenset(subject.removeprefix("session:") for subject in scalars(cursor, str))


def forget_old(cursor: Cursor) -> None:
    """Remove what no longer decides anything, except what somebody else has in hand."""
    cursor.execute(
        "DELETE FROM denied WHERE subject IN"
        " (SELECT subject FROM denied WHERE expires_at < clock_timestamp() FOR UPDATE SKIP LOCKED)"
    )
    cursor.execute(
        "DELETE FROM refresh_families WHERE id IN (SELECT id FROM refresh_families"
        " WHERE least(expires_at, ended_at) < statement_timestamp() - make_interval(days => %s) FOR UPDATE SKIP LOCKED)",
        (_KEPT_DAYS,),
    )
