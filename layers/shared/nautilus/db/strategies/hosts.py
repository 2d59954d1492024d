"""The processes that run strategies: their heartbeat, and what they can do."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from nautilus.db.cursor import Cursor
from nautilus.db.orders.frames import as_json, clean_text
from nautilus.db.rows import every

SILENT_S = 15
"""A host without a sign of life for so long is away."""


class HostRow(NamedTuple):
    """A row of `strategy_hosts`. fence: what keeps its children from this computer. silent_s: since its last sign of life."""

    host: str
    engine: str
    fence: Mapping[str, Any]
    problem: str
    children: int
    capacity: int
    started_at: datetime
    heartbeat_at: datetime
    silent_s: float

    @property
    def away(self) -> bool:
        return self.silent_s > SILENT_S


def every_host(cursor: Cursor) -> list[HostRow]:
    """All hosts there ever were, the last to give a sign of life first."""
    cursor.execute(
        "SELECT host, engine, fence, problem, children, capacity, started_at, heartbeat_at,"
        " extract(epoch FROM clock_timestamp() - heartbeat_at)::float8 AS silent_s"
        " FROM strategy_hosts ORDER BY heartbeat_at DESC, host"
    )
    return every(cursor, HostRow)


def put(
    cursor: Cursor,
    host: str,
    *,
    engine: str,
    fence: Mapping[str, Any],
    problem: str,
    children: int,
    capacity: int,
    starts: bool = False,
) -> None:
    """Write a sign of life. starts: this is the first of this process."""
    cursor.execute(
        "INSERT INTO strategy_hosts AS h (host, engine, fence, problem, children, capacity)"
        " VALUES (%(host)s, %(engine)s, %(fence)s, %(problem)s, %(children)s, %(capacity)s) ON CONFLICT (host) DO UPDATE SET"
        " engine = excluded.engine, fence = excluded.fence, problem = excluded.problem, children = excluded.children,"
        " capacity = excluded.capacity, heartbeat_at = clock_timestamp(),"
        " started_at = CASE WHEN %(starts)s THEN clock_timestamp() ELSE h.started_at END",
        {
            "host": host,
            "engine": engine,
            "fence": as_json(fence),
            "problem": clean_text(problem),
            "children": children,
            "capacity": capacity,
            "starts": starts,
        },
    )
