"""Idempotency keys: the same key of the same caller names the same job for a day."""

from typing import NamedTuple
from uuid import UUID

from nautilus.db.cursor import Cursor
from nautilus.db.rows import one_or_none
from nautilus.errors import InvalidInput


class _Key(NamedTuple):
    fingerprint: str
    job_id: UUID


def claim_key(cursor: Cursor, principal: str, route: str, *, key: str, fingerprint: str) -> UUID | None:
    """The job that this idempotency key already made, within a day; InvalidInput when it was for another request.

    The key is locked until the transaction ends: of two callers at once the second waits and finds the first's job.
    """
    cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"{principal}|{route}|{key}",))
    forget_old_keys(cursor)
    cursor.execute(
        "SELECT fingerprint, job_id FROM idempotency_keys WHERE principal = %s AND route = %s AND key = %s",
        (principal, route, key),
    )
    row = one_or_none(cursor, _Key)
    if row is None:
        return None
    if row.fingerprint != fingerprint:
        raise InvalidInput(
            "Idempotency-Key: this key was used for another request; take a new one", code="idempotency-key-reused"
        )
    return row.job_id


def forget_old_keys(cursor: Cursor) -> None:
    """Remove the keys of a day ago."""
    # Not clock_timestamp(): no index is used for what may change from row to row.
    cursor.execute("DELETE FROM idempotency_keys WHERE created_at < statement_timestamp() - interval '1 day'")


def keep_key(cursor: Cursor, principal: str, route: str, *, key: str, fingerprint: str, job_id: UUID) -> None:
    cursor.execute(
        "INSERT INTO idempotency_keys (principal, route, key, fingerprint, job_id) VALUES (%s, %s, %s, %s, %s)",
        (principal, route, key, fingerprint, job_id),
    )
