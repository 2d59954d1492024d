"""Sweeps: one request for back-tests with many combinations of parameters. Its runs are rows of `strategy_runs`."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from nautilus.db.cursor import Cursor
from nautilus.db.orders.frames import as_json, clean_text
from nautilus.db.rows import one, one_or_none


class SweepRow(NamedTuple):
    """A row of `strategy_sweeps`. grid: parameter -> the values that are tried."""

    id: UUID
    owner: str
    name: str
    grid: Mapping[str, Sequence[Any]]
    runs: int
    correlation_id: str
    created_at: datetime
    cancelled_at: datetime | None


_COLUMNS = ", ".join(SweepRow._fields)


def insert(
    cursor: Cursor,
    *,
    sweep_id: UUID,
    owner: str,
    name: str,
    grid: Mapping[str, Sequence[Any]],
    runs: int,
    correlation_id: str = "",
) -> SweepRow:
    cursor.execute(
        "INSERT INTO strategy_sweeps (id, owner, name, grid, runs, correlation_id)"
        f" VALUES (%s, %s, %s, %s, %s, %s) RETURNING {_COLUMNS}",
        (sweep_id, owner, clean_text(name), as_json(grid), runs, correlation_id),
    )
    return one(cursor, SweepRow)


def read(cursor: Cursor, sweep_id: UUID) -> SweepRow | None:
    cursor.execute(f"SELECT {_COLUMNS} FROM strategy_sweeps WHERE id = %s", (sweep_id,))
    return one_or_none(cursor, SweepRow)
