"""Links that open one address, once and for a short time. Stored is the hash of their secret, never the secret."""

from nautilus.db.cursor import Cursor
from nautilus.db.rows import scalar_or_none


def put(cursor: Cursor, secret_hash: bytes, *, path: str, principal: str, seconds: float) -> None:
    """Store a link that is good for so many seconds of machine time. secret_hash: the SHA-256 of its secret."""
    cursor.execute(
        "INSERT INTO one_use_links (hash, path, principal, expires_at)"
        " VALUES (%s, %s, %s, clock_timestamp() + %s * interval '1 s')",
        (secret_hash, path, principal, seconds),
    )


def take(cursor: Cursor, secret_hash: bytes, path: str) -> str | None:
    """Use a link up: who made it; None when there is none, when it was used, is over, or leads elsewhere. One that leads
    elsewhere stays."""
    cursor.execute(
        "WITH taken AS (DELETE FROM one_use_links WHERE hash = %s AND path = %s RETURNING *)"
        " SELECT principal FROM taken WHERE expires_at > clock_timestamp()",
        (secret_hash, path),
    )
    return scalar_or_none(cursor, str)


def expire(cursor: Cursor) -> int:
    """Remove the links whose time is over; returns how many."""
    cursor.execute("DELETE FROM one_use_links WHERE expires_at <= statement_timestamp()")
    return int(cursor.rowcount)
