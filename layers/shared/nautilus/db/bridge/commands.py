"""What functions ask of the bridge besides backfills: resolve an instrument, search, reconnect."""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple
from uuid import UUID

from nautilus.db.bridge.status import SILENT_AFTER_S
from nautilus.db.connection import Json
from nautilus.db.cursor import Cursor
from nautilus.db.ledger.jobs import notify
from nautilus.db.rows import every, one, one_or_none, scalar_or_none
from nautilus.errors import RateLimited

OPEN_PER_CALLER = 20
"""How many commands of one caller may be open; more would have all others wait."""


class Command(NamedTuple):
    """A command that a bridge is to execute."""

    id: UUID
    type: str
    args: dict[str, Any]
    correlation_id: str


class EndedCommand(NamedTuple):
    """A command with its state, and its result or its error once it was executed or failed."""

    id: UUID
    type: str
    state: str
    result: dict[str, Any] | None
    error: dict[str, Any] | None


class _Queued(NamedTuple):
    id: UUID
    others: int
    made: bool


def request(
    cursor: Cursor,
    type_: str,
    args: Mapping[str, Any],
    *,
    by: str,
    correlation_id: str,
    expires_s: float,
    most_open: int | None = None,
) -> UUID:
    """Queue a command, or join the open one that asks the same, which then waits as long; wakes the bridge.

    most_open: RateLimited when so many commands of this caller are open already; joining another's costs nothing.
    """
    if most_open is not None:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 7243395))", (f"commands|{by}",))
    cursor.execute(
        "INSERT INTO bridge_commands (type, args, requested_by, correlation_id, expires_at)"
        " VALUES (%s, %s, %s, %s, clock_timestamp() + make_interval(secs => %s))"
        " ON CONFLICT (type, md5(args::text)) WHERE state IN ('queued', 'running')"
        " DO UPDATE SET expires_at = greatest(bridge_commands.expires_at, excluded.expires_at)"
        " RETURNING id, (SELECT count(*) FROM bridge_commands WHERE requested_by = %s"
        "  AND state IN ('queued', 'running') AND expires_at > clock_timestamp()) AS others, xmax = 0 AS made",
        (type_, Json(dict(args)), by, correlation_id, expires_s, by),
    )
    row = one(cursor, _Queued)
    if most_open is not None and row.made and row.others >= most_open:
        raise RateLimited(
            f"{row.others} lookups that you asked for are not answered yet; wait for them",
            code="too-many-lookups",
            retry_after_s=2,
        )
    notify(cursor, "command", row.id)
    return row.id


def outcome(cursor: Cursor, number: UUID) -> EndedCommand | None:
    """The command's row (state, result, error)."""
    cursor.execute("SELECT id, type, state, result, error FROM bridge_commands WHERE id = %s", (number,))
    return one_or_none(cursor, EndedCommand)


def ended(cursor: Cursor, numbers: Collection[UUID]) -> list[EndedCommand]:
    """The rows (state, result, error) of those of the commands that were executed or failed."""
    cursor.execute(
        "SELECT id, type, state, result, error FROM bridge_commands WHERE id = ANY(%s) AND state IN ('done', 'failed')",
        (list(numbers),),
    )
    return every(cursor, EndedCommand)


def last_result(cursor: Cursor, type_: str, args: Mapping[str, Any]) -> dict[str, Any] | None:
    """The result of the same command within the last day, if it was done."""
    cursor.execute(
        "SELECT result FROM bridge_commands WHERE type = %s AND args = %s AND state = 'done'"
        " AND finished_at > clock_timestamp() - interval '1 day' ORDER BY finished_at DESC LIMIT 1",
        (type_, Json(dict(args))),
    )
    return scalar_or_none(cursor, dict)


def claim(
    cursor: Cursor,
    bridge: str,
    only: str | None = None,
    *,
    busy: Collection[UUID] = (),
    without: Collection[str] = (),
) -> Command | None:
    """The next command to execute (of type `only`, when given, and of none of `without`); those nobody waits for are failed.

    First come those whose caller has the fewest under way, then the oldest. busy: what this bridge is executing. What else
    runs in its name is left from a life that ended, and is executed again, as is what a bridge took that has gone silent.
    All commands may be executed twice.
    """
    cursor.execute(
        "UPDATE bridge_commands SET state = 'failed', finished_at = clock_timestamp(),"
        ' error = \'{"code": "expired", "detail": "nobody took it in time"}\''
        # A transaction that joins several now holds some and will lock the others: if both waited, they would wait for ever.
        " WHERE id = ANY(ARRAY(SELECT id FROM bridge_commands WHERE state IN ('queued', 'running')"
        "  AND expires_at < clock_timestamp() FOR UPDATE SKIP LOCKED))"
    )
    cursor.execute(
        "UPDATE bridge_commands SET state = 'running', bridge = %(bridge)s WHERE id = (SELECT id FROM bridge_commands c"
        " WHERE (state = 'queued' OR (state = 'running' AND id <> ALL(%(busy)s::uuid[])"
        "  AND (bridge = %(bridge)s OR NOT EXISTS (SELECT 1 FROM ib_sessions s"
        "   WHERE s.bridge = c.bridge AND s.heartbeat_at > clock_timestamp() - make_interval(secs => %(silent)s)))))"
        " AND type = coalesce(%(only)s, type) AND type <> ALL(%(without)s)"
        " ORDER BY (SELECT count(*) FROM bridge_commands r WHERE r.state = 'running' AND r.requested_by = c.requested_by),"
        "  created_at LIMIT 1 FOR UPDATE OF c SKIP LOCKED) RETURNING id, type, args, correlation_id",
        {
            "bridge": bridge,
            "silent": SILENT_AFTER_S,
            "only": only,
            "busy": list(busy),
            "without": list(without),
        },
    )
    return one_or_none(cursor, Command)


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
