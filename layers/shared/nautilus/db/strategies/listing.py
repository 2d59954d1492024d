"""Which configurations, runs and sweeps a caller has, as routes list them; and changes of configurations."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from nautilus.db.cursor import Cursor
from nautilus.db.orders.frames import as_json, clean_text
from nautilus.db.rows import every, one, one_or_none, scalar, there
from nautilus.db.strategies.configs import COLUMNS as CONFIG_COLUMNS
from nautilus.db.strategies.configs import ConfigRow
from nautilus.db.strategies.runs import COLUMNS as RUN_COLUMNS
from nautilus.db.strategies.runs import RunRow
from nautilus.db.strategies.sweeps import SweepRow
from nautilus.strategies.states import OVER


class Readable(NamedTuple):
    """Whose rows a caller may read. owner: None: everybody's. accounts: live runs of these, too, whoever owns them."""

    owner: str | None
    accounts: Sequence[str] = ()


class RunFilter(NamedTuple):
    """Which runs. modes: of these alone. None: any."""

    readable: Readable
    modes: Sequence[str]
    state: str | None = None
    config_id: UUID | None = None
    sweep_id: UUID | None = None
    alive: bool = False


class LastListed(NamedTuple):
    """The last row of the page before."""

    created_at: datetime
    id: UUID


_READABLE = "(%(owner)s::text IS NULL OR owner = %(owner)s OR (account <> '' AND account = ANY(%(accounts)s::text[])))"


def runs(cursor: Cursor, which: RunFilter, after: LastListed | None, limit: int) -> list[RunRow]:
    """Runs, the newest first."""
    cursor.execute(
        f"SELECT {RUN_COLUMNS} FROM strategy_runs WHERE {_READABLE} AND mode = ANY(%(modes)s)"
        " AND (%(state)s::text IS NULL OR state = %(state)s)"
        " AND (%(config)s::uuid IS NULL OR config_id = %(config)s)"
        " AND (%(sweep)s::uuid IS NULL OR sweep_id = %(sweep)s)"
        " AND (NOT %(alive)s OR NOT state = ANY(%(over)s))"
        " AND (%(at)s::timestamptz IS NULL OR (created_at, id) < (%(at)s, %(id)s::uuid))"
        " ORDER BY created_at DESC, id DESC LIMIT %(limit)s",
        {
            "owner": which.readable.owner,
            "accounts": list(which.readable.accounts),
            "modes": list(which.modes),
            "state": which.state,
            "config": which.config_id,
            "sweep": which.sweep_id,
            "alive": which.alive,
            "over": list(OVER),
            "at": after.created_at if after else None,
            "id": after.id if after else None,
            "limit": limit,
        },
    )
    return every(cursor, RunRow)


def sweeps(cursor: Cursor, owner: str | None, limit: int) -> list[SweepRow]:
    """Sweeps of an owner, or of all; the newest first."""
    cursor.execute(
        f"SELECT {', '.join(SweepRow._fields)} FROM strategy_sweeps WHERE %(owner)s::text IS NULL OR owner = %(owner)s"
        " ORDER BY created_at DESC, id DESC LIMIT %(limit)s",
        {"owner": owner, "limit": limit},
    )
    return every(cursor, SweepRow)


def cancel_sweep(cursor: Cursor, sweep_id: UUID) -> None:
    """Write that a sweep was cancelled; its runs are wanted `stopped` one by one."""
    cursor.execute(
        "UPDATE strategy_sweeps SET cancelled_at = coalesce(cancelled_at, clock_timestamp()) WHERE id = %s", (sweep_id,)
    )


# ---- configurations --------------------------------------------------------------------------------------------------


def configs(cursor: Cursor, owner: str | None, after: LastListed | None, limit: int) -> list[ConfigRow]:
    """Configurations that are not archived, the newest first."""
    cursor.execute(
        f"SELECT {CONFIG_COLUMNS} FROM strategy_configs WHERE archived_at IS NULL"
        " AND (%(owner)s::text IS NULL OR owner = %(owner)s)"
        " AND (%(at)s::timestamptz IS NULL OR (created_at, id) < (%(at)s, %(id)s::uuid))"
        " ORDER BY created_at DESC, id DESC LIMIT %(limit)s",
        {
            "owner": owner,
            "at": after.created_at if after else None,
            "id": after.id if after else None,
            "limit": limit,
        },
    )
    return every(cursor, ConfigRow)


def lock_config(cursor: Cursor, config_id: UUID) -> ConfigRow | None:
    """A configuration that nobody else changes until the transaction ends."""
    cursor.execute(f"SELECT {CONFIG_COLUMNS} FROM strategy_configs WHERE id = %s FOR UPDATE", (config_id,))
    return one_or_none(cursor, ConfigRow)


def change_config(
    cursor: Cursor,
    row: ConfigRow,
    *,
    name: str,
    description: str,
    template_hash: str,
    parameters: Mapping[str, Any],
    series: Sequence[Mapping[str, Any]],
) -> ConfigRow:
    """Write new values; the caller holds the row."""
    cursor.execute(
        "UPDATE strategy_configs SET name = %s, description = %s, template_hash = %s, parameters = %s, series = %s,"
        f" version = version + 1, updated_at = clock_timestamp() WHERE id = %s RETURNING {CONFIG_COLUMNS}",
        (
            *(clean_text(name), clean_text(description), template_hash, as_json(parameters), as_json(series)),
            row.id,
        ),
    )
    return one(cursor, ConfigRow)


def archive_config(cursor: Cursor, config_id: UUID) -> None:
    cursor.execute("UPDATE strategy_configs SET archived_at = clock_timestamp() WHERE id = %s", (config_id,))


def has_open_runs(cursor: Cursor, config_id: UUID) -> bool:
    cursor.execute(
        "SELECT 1 FROM strategy_runs WHERE config_id = %s AND NOT state = ANY(%s) LIMIT 1", (config_id, list(OVER))
    )
    return there(cursor)


def newest_runs(cursor: Cursor, config_ids: Sequence[UUID]) -> dict[UUID, RunRow]:
    """The newest run of each configuration that has one; one that is open before those that are over."""
    cursor.execute(
        f"SELECT DISTINCT ON (config_id) {RUN_COLUMNS} FROM strategy_runs WHERE config_id = ANY(%s::uuid[])"
        " ORDER BY config_id, (state = ANY(%s)), created_at DESC, id DESC",
        (list(config_ids), list(OVER)),
    )
    return {row.config_id: row for row in every(cursor, RunRow) if row.config_id is not None}


def count_open(cursor: Cursor, owner: str, modes: Sequence[str]) -> int:
    """How many runs of an owner are not over."""
    cursor.execute(
        "SELECT count(*) FROM strategy_runs WHERE owner = %s AND mode = ANY(%s) AND NOT state = ANY(%s)",
        (owner, list(modes), list(OVER)),
    )
    return scalar(cursor, int)
