"""The name of a bridge: a session lock that one process at a time holds."""

from datetime import datetime
from typing import Any, NamedTuple

_ENDS_WITHIN_MS = 2_000
"""How long to wait for the end of a session that we end."""


def check_bridge_name(connection: Any) -> None:
    """Raise whatever psycopg2 raises when the connection that holds the bridge's name is gone, and the lock with it, or when
    its server is silent for longer than the connection's own limit; the connection is broken then."""
    with connection.waited_for(), connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        connection.rollback()


class NameHolder(NamedTuple):
    """The database session that holds a bridge's name, as the server knows it."""

    pid: int
    began: datetime


def hold_bridge_name(connection: Any, bridge: str, former: NameHolder | None = None) -> NameHolder | None:
    """Hold the bridge's name for as long as this connection lives; None when another process holds it.

    former: the session of this process that held the name until its connection broke. A server that was cut off from us may
    not have noticed yet: it is ended first.
    """
    with connection.waited_for(), connection.cursor() as cursor:
        if former is not None:
            cursor.execute(
                "SELECT pg_terminate_backend(pid, %s) FROM pg_stat_activity WHERE pid = %s AND backend_start = %s",
                (_ENDS_WITHIN_MS, *former),
            )
        cursor.execute(
            "SELECT pg_try_advisory_lock(hashtextextended(%s, 7243393)) AS held, pid, backend_start"
            " FROM pg_stat_activity WHERE pid = pg_backend_pid()",
            (bridge,),
        )
        row = cursor.fetchone()
        connection.commit()
    return NameHolder(row.pid, row.backend_start) if row.held else None
