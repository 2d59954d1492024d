"""What functions ask of the bridge besides backfills: resolve an instrument, search, reconnect."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from nautilus.db.connection import Cursor, Json
from nautilus.db.jobs import notify
from nautilus.db.sessions import SILENT_AFTER_S


def request(
    cursor: Cursor, type_: str, args: Mapping[str, Any], *, by: str, correlation_id: str, expires_s: float
) -> UUID:
    """Queue a command, or join one that already asks the same; wakes the bridge."""
    cursor.execute(
        "SELECT id FROM bridge_commands WHERE type = %s AND args = %s AND state IN ('queued', 'running')"
        " AND expires_at > clock_timestamp() ORDER BY created_at DESC LIMIT 1",
        (type_, Json(dict(args))),
    )
    row = cursor.fetchone()
    if row is None:
        cursor.execute(
            "INSERT INTO bridge_commands (type, args, requested_by, correlation_id, expires_at)"
            " VALUES (%s, %s, %s, %s, clock_timestamp() + make_interval(secs => %s)) RETURNING id",
            (type_, Json(dict(args)), by, correlation_id, expires_s),
        )
        row = cursor.fetchone()
    number: UUID = row.id
    notify(cursor, "command", number)
    return number


def outcome(cursor: Cursor, number: UUID) -> Any | None:
    """The command's row (state, result, error)."""
    cursor.execute("SELECT id, type, state, result, error FROM bridge_commands WHERE id = %s", (number,))
    return cursor.fetchone()


def last_result(cursor: Cursor, type_: str, args: Mapping[str, Any]) -> Any | None:
    """The result of the same command within the last day, if it was done."""
    cursor.execute(
        "SELECT result FROM bridge_commands WHERE type = %s AND args = %s AND state = 'done'"
        " AND finished_at > clock_timestamp() - interval '1 day' ORDER BY finished_at DESC LIMIT 1",
        (type_, Json(dict(args))),
    )
    row = cursor.fetchone()
    return row.result if row else None


def claim(cursor: Cursor, bridge: str, only: str | None = None) -> Any | None:
    """The next command to execute (of type `only`, when given); those nobody waits for any more are failed.

    A bridge executes one after the other: what runs in its name is left from a life that ended, and is executed again, as
    is what a bridge took that has gone silent. All commands may be executed twice.
    """
    cursor.execute(
        "UPDATE bridge_commands SET state = 'failed', finished_at = clock_timestamp(),"
        ' error = \'{"code": "expired", "detail": "nobody took it in time"}\''
        " WHERE state IN ('queued', 'running') AND expires_at < clock_timestamp()"
    )
    cursor.execute(
        "UPDATE bridge_commands SET state = 'running', bridge = %(bridge)s WHERE id = (SELECT id FROM bridge_commands c"
        " WHERE (state = 'queued' OR (state = 'running' AND (bridge = %(bridge)s OR NOT EXISTS (SELECT 1 FROM ib_sessions s"
        "  WHERE s.bridge = c.bridge AND s.heartbeat_at > clock_timestamp() - make_interval(secs => %(silent)s)))))"
        " AND type = coalesce(%(only)s, type)"
        " ORDER BY created_at LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING id, type, args, correlation_id",
        {"bridge": bridge, "silent": SILENT_AFTER_S, "only": only},
    )
    return cursor.fetchone()


def finish(
    cursor: Cursor,
    number: UUID,
    bridge: str,
    *,
    result: Mapping[str, Any] | None = None,
    error: Mapping[str, Any] | None = None,
) -> None:
    """Tell what came of a command, unless another bridge has taken it over, or it has expired."""
    cursor.execute(
        "UPDATE bridge_commands SET state = %s, result = %s, error = %s, finished_at = clock_timestamp()"
        " WHERE id = %s AND bridge = %s AND state = 'running'",
        (
            "failed" if error else "done",
            Json(dict(result)) if result is not None else None,
            Json(dict(error)) if error else None,
            number,
            bridge,
        ),
    )
