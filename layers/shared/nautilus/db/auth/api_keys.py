"""API keys as they are stored: prefix, hash, what they may do, when they were used."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from nautilus.db.cursor import Cursor, Prepared
from nautilus.db.rows import every, one, one_or_none, scalar

_LIVE = "revoked_at IS NULL AND (expires_at IS NULL OR expires_at > clock_timestamp())"


class Key(NamedTuple):
    """A row of `api_keys`, without its hash; `live`: neither revoked nor expired; accounts: None: those of its user."""

    id: int
    user_id: int
    name: str
    prefix: str
    scopes: list[str]
    accounts: list[str] | None
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    last_used_from: str | None
    revoked_at: datetime | None
    live: bool


_COLUMNS = ", ".join(Key._fields[:-1]) + f", {_LIVE} AS live"


class Candidate(NamedTuple):
    """A key that may be the one somebody has sent, with its user, and how both stand now.

    used_lately, refused_lately: noted within the last minute, so that nothing needs to be written.
    """

    id: int
    user_id: int
    secret_hash: memoryview
    scopes: list[str]
    accounts: list[str] | None
    username: str
    user_scopes: list[str]
    user_accounts: list[str]
    is_active: bool
    revoked: bool
    expired: bool
    used_lately: bool
    refused_lately: bool


def create(
    cursor: Cursor,
    *,
    user_id: int,
    name: str,
    prefix: str,
    secret_hash: bytes,
    scopes: Sequence[str],
    accounts: Sequence[str] | None = None,
    expires_at: datetime | None,
) -> Key:
    cursor.execute(
        "INSERT INTO api_keys (user_id, name, prefix, secret_hash, scopes, accounts, expires_at)"
        f" VALUES (%s, %s, %s, %s, %s, %s, %s) RETURNING {_COLUMNS}",
        (user_id, name, prefix, secret_hash, list(scopes), None if accounts is None else list(accounts), expires_at),
    )
    return one(cursor, Key)


class Rights(NamedTuple):
    """What was granted to a key, and what its user has. accounts: None: all of its user's."""

    id: int
    scopes: list[str]
    accounts: list[str] | None
    user_scopes: list[str]
    user_accounts: list[str]


def usable(cursor: Cursor, ids: Collection[int]) -> list[Rights]:
    """Those of the keys that are good now, and whose users are active."""
    cursor.execute(
        "SELECT k.id, k.scopes, k.accounts, u.scopes AS user_scopes, u.accounts AS user_accounts"
        f" FROM api_keys k JOIN users u ON u.id = k.user_id WHERE k.id = ANY(%s) AND {_LIVE} AND u.is_active",
        (list(ids),),
    )
    return every(cursor, Rights)


_CANDIDATES = Prepared(
    "nautilus_api_keys",
    "SELECT k.id, k.user_id, k.secret_hash, k.scopes, k.accounts, u.username,"
    " u.scopes AS user_scopes, u.accounts AS user_accounts, u.is_active, k.revoked_at IS NOT NULL AS revoked,"
    " coalesce(k.expires_at <= clock_timestamp(), false) AS expired,"
    " coalesce(k.last_used_at > clock_timestamp() - interval '1 minute', false) AS used_lately,"
    " coalesce(k.last_refused_at > clock_timestamp() - interval '1 minute', false) AS refused_lately"
    " FROM api_keys k JOIN users u ON u.id = k.user_id WHERE k.prefix = $1 ORDER BY k.id",
    ("text",),
)


def candidates(cursor: Cursor, prefix: str) -> list[Candidate]:
    """The keys with this prefix: nearly always one."""
    cursor.run(_CANDIDATES, (prefix,))
    return every(cursor, Candidate)


def used(cursor: Cursor, key_id: int, address: str) -> bool:
    """Note the use; once a minute, True when it was noted now."""
    cursor.execute(
        "UPDATE api_keys SET last_used_at = clock_timestamp(), last_used_from = %s WHERE id = %s"
        " AND coalesce(last_used_at < clock_timestamp() - interval '1 minute', true)",
        (address, key_id),
    )
    return bool(cursor.rowcount)


def refused(cursor: Cursor, key_id: int) -> bool:
    """Note that the key, or one with its prefix, was refused; once a minute, True when it was noted now."""
    cursor.execute(
        "UPDATE api_keys SET last_refused_at = clock_timestamp() WHERE id = %s"
        " AND coalesce(last_refused_at < clock_timestamp() - interval '1 minute', true)",
        (key_id,),
    )
    return bool(cursor.rowcount)


def locked_live(cursor: Cursor, key_id: int) -> Key | None:
    """The key, if it is live, kept so until the transaction ends."""
    cursor.execute(f"SELECT {_COLUMNS} FROM api_keys WHERE id = %s AND {_LIVE} FOR SHARE", (key_id,))
    return one_or_none(cursor, Key)


def of_user(cursor: Cursor, user_id: int) -> list[Key]:
    """All keys of the user, also those that ended, newest first."""
    cursor.execute(f"SELECT {_COLUMNS} FROM api_keys WHERE user_id = %s ORDER BY id DESC", (user_id,))
    return every(cursor, Key)


def count_live(cursor: Cursor, user_id: int) -> int:
    cursor.execute(f"SELECT count(*) FROM api_keys WHERE user_id = %s AND {_LIVE}", (user_id,))
    return scalar(cursor, int)


def revoke(cursor: Cursor, key_id: int, user_id: int | None) -> Key | None:
    """Revoke the key, of this user or (None) of anybody; the key as it is now, None when there is none."""
    cursor.execute(
        "UPDATE api_keys SET revoked_at = coalesce(revoked_at, clock_timestamp())"
        f" WHERE id = %s AND (%s::bigint IS NULL OR user_id = %s) RETURNING {_COLUMNS}",
        (key_id, user_id, user_id),
    )
    return one_or_none(cursor, Key)
