"""Exports as rows: what is wanted, how far it is, and who works on it."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from nautilus.db.connection import Json
from nautilus.db.cursor import Cursor
from nautilus.db.rows import every, one_or_none, scalar, scalars, there


class ExportRow(NamedTuple):
    """A row of `exports`. Times are machine time."""

    id: UUID
    owner: str
    state: str
    request: dict[str, Any]
    target: dict[str, Any]
    problem: dict[str, Any] | None
    extras: dict[str, Any]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime | None


class Progress(NamedTuple):
    """How far an export is. bars: of the files that are written."""

    export_id: UUID
    files: int
    files_done: int
    bars: int
    bytes: int


_COLUMNS = ", ".join(ExportRow._fields)


def create(
    cursor: Cursor,
    export_id: UUID,
    *,
    owner: str,
    key: str | None,
    request: Mapping[str, Any],
    target: Mapping[str, Any],
) -> None:
    """key: the caller's idempotency key, if there is one."""
    cursor.execute(
        "INSERT INTO exports (id, owner, idempotency_key, state, request, target)"
        " VALUES (%s, %s, %s, 'queued', %s, %s)",
        (str(export_id), owner, key, Json(dict(request)), Json(dict(target))),
    )


def of_key(cursor: Cursor, owner: str, key: str) -> ExportRow | None:
    """The export that an idempotency key of an owner has made. The key is held until the transaction ends: of two callers at
    once the second waits, and finds the first's export."""
    cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"{owner}|exports|{key}",))
    cursor.execute(f"SELECT {_COLUMNS} FROM exports WHERE owner = %s AND idempotency_key = %s", (owner, key))
    return one_or_none(cursor, ExportRow)


def by_id(cursor: Cursor, export_id: UUID, *, lock: bool = False) -> ExportRow | None:
    cursor.execute(f"SELECT {_COLUMNS} FROM exports WHERE id = %s {'FOR UPDATE' if lock else ''}", (str(export_id),))
    return one_or_none(cursor, ExportRow)


def listed(cursor: Cursor, owner: str | None, *, limit: int, before: UUID | None) -> list[ExportRow]:
    """The newest first, of one owner or of all; before: behind this one."""
    cursor.execute(
        f"SELECT {_COLUMNS} FROM exports WHERE (%(owner)s::text IS NULL OR owner = %(owner)s)"
        " AND (%(before)s::uuid IS NULL OR (created_at, id) <"
        "  (SELECT created_at, id FROM exports WHERE id = %(before)s))"
        " ORDER BY created_at DESC, id DESC LIMIT %(limit)s",
        {"owner": owner, "before": str(before) if before else None, "limit": limit},
    )
    return every(cursor, ExportRow)


def progress(cursor: Cursor, ids: Sequence[UUID]) -> dict[UUID, Progress]:
    """How far exports are, by id; those without files are left out."""
    cursor.execute(
        "SELECT export_id, count(*)::int AS files, count(written_at)::int AS files_done,"
        " coalesce(sum(row_count), 0)::bigint AS bars, coalesce(sum(bytes), 0)::bigint AS bytes"
        " FROM export_files WHERE export_id = ANY(%s::uuid[]) GROUP BY export_id",
        ([str(one) for one in ids],),
    )
    return {row.export_id: row for row in every(cursor, Progress)}


def open_of(cursor: Cursor, owner: str) -> int:
    """How many exports of an owner are not over."""
    cursor.execute(
        "SELECT count(*)::int FROM exports WHERE owner = %s AND state IN ('queued', 'running', 'stopping')", (owner,)
    )
    return scalar(cursor, int)


# ---- who works on it -------------------------------------------------------------------------------------------------


def take(cursor: Cursor, holder: str, lease_s: float) -> ExportRow | None:
    """The oldest export that nobody works on, for `lease_s`; None: there is none."""
    cursor.execute(
        "UPDATE exports SET state = CASE state WHEN 'stopping' THEN state ELSE 'running' END, holder = %(holder)s,"
        " started_at = coalesce(started_at, clock_timestamp()),"
        " lease_until = clock_timestamp() + make_interval(secs => %(lease)s)"
        " WHERE id = (SELECT id FROM exports WHERE state IN ('queued', 'running', 'stopping')"
        "  AND (lease_until IS NULL OR lease_until < clock_timestamp()) ORDER BY created_at, id LIMIT 1"
        f"  FOR UPDATE SKIP LOCKED) RETURNING {_COLUMNS}",
        {"holder": holder, "lease": lease_s},
    )
    return one_or_none(cursor, ExportRow)


def hold(cursor: Cursor, export_id: UUID, holder: str, lease_s: float) -> str | None:
    """Hold an export longer; returns its state, None: another one works on it, or it is gone."""
    cursor.execute(
        "UPDATE exports SET lease_until = clock_timestamp() + make_interval(secs => %s)"
        " WHERE id = %s AND holder = %s AND state IN ('running', 'stopping') RETURNING state",
        (lease_s, str(export_id), holder),
    )
    states = scalars(cursor, str)
    return states[0] if states else None


def let_go(cursor: Cursor, export_id: UUID, holder: str) -> None:
    """Give an export back, so that another task goes on with it at once."""
    cursor.execute(
        "UPDATE exports SET lease_until = NULL, holder = NULL WHERE id = %s AND holder = %s", (export_id, holder)
    )


def finish(
    cursor: Cursor,
    export_id: UUID,
    holder: str,
    *,
    state: str,
    problem: Mapping[str, Any] | None = None,
    extras: Mapping[str, Any] | None = None,
    keep_days: int | None = None,
) -> bool:
    """End an export. keep_days: how long its files are kept; None: for good. False: another one works on it."""
    cursor.execute(
        "UPDATE exports SET state = %(state)s, problem = %(problem)s, extras = coalesce(%(extras)s, extras),"
        " finished_at = clock_timestamp(), lease_until = NULL, holder = NULL,"
        " expires_at = clock_timestamp() + make_interval(days => %(days)s)"
        " WHERE id = %(id)s AND holder = %(holder)s AND state IN ('running', 'stopping') RETURNING true",
        {
            "state": state,
            "problem": Json(dict(problem)) if problem is not None else None,
            "extras": Json(dict(extras)) if extras is not None else None,
            "days": keep_days,
            "id": str(export_id),
            "holder": holder,
        },
    )
    return there(cursor)


def stop(cursor: Cursor, export_id: UUID) -> str:
    """Stop an export that is not over; returns its state then."""
    cursor.execute(
        "UPDATE exports SET state = CASE WHEN state = 'queued' THEN 'stopped' ELSE 'stopping' END,"
        " finished_at = CASE WHEN state = 'queued' THEN clock_timestamp() END"
        " WHERE id = %s AND state IN ('queued', 'running')",
        (str(export_id),),
    )
    cursor.execute("SELECT state FROM exports WHERE id = %s", (str(export_id),))
    return scalar(cursor, str)


def expired(cursor: Cursor) -> list[ExportRow]:
    """Exports whose files are to be removed: their time is over, or somebody removed them."""
    cursor.execute(
        f"SELECT {_COLUMNS} FROM exports WHERE expires_at < clock_timestamp() AND state IN ('done', 'failed', 'stopped')"
    )
    return every(cursor, ExportRow)


def set_expired(cursor: Cursor, export_id: UUID) -> None:
    cursor.execute(
        "UPDATE exports SET state = 'expired' WHERE id = %s AND state IN ('done', 'failed', 'stopped')", (export_id,)
    )


def expire_now(cursor: Cursor, export_id: UUID) -> None:
    """Let the files of an export that is over go with the next look of the task."""
    cursor.execute(
        "UPDATE exports SET expires_at = clock_timestamp() - interval '1 second'"
        " WHERE id = %s AND state IN ('done', 'failed', 'stopped')",
        (str(export_id),),
    )


def expire_later(cursor: Cursor, export_id: UUID) -> None:
    """Files that could not be removed: another try in an hour."""
    cursor.execute(
        "UPDATE exports SET expires_at = clock_timestamp() + interval '1 hour' WHERE id = %s", (str(export_id),)
    )
