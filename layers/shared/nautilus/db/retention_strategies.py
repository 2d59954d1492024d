"""Which runs of strategies are forgotten: back-tests and runs in paper, some time after their end, with all that came of them."""

from collections.abc import Callable

from nautilus.db.connection import Database
from nautilus.db.retention_batches import delete_rows, older

_RUNS_AT_ONCE = 50
"""Runs that go in one transaction, with their orders, fills, equity and events; their bars have gone before."""


def forget_runs(
    database: Database, days: int, stopped: Callable[[], bool] = lambda: False, *, batch: int
) -> dict[str, int]:
    """Forget what ended more than `days` ago; returns how many rows of each table, without what goes with a run.

    A sweep goes as a whole, when the last of its runs is old. A live run stays: its orders refer to it.
    """
    over = f"mode <> 'live' AND {older('finished_at', days)}"
    young = (
        f"SELECT sweep_id FROM strategy_runs WHERE sweep_id IS NOT NULL AND ({older('finished_at', days)}) IS NOT TRUE"
    )
    runs = f"{over} AND (sweep_id IS NULL OR sweep_id NOT IN ({young}))"
    without = "NOT EXISTS (SELECT 1 FROM strategy_runs r WHERE r.{column} = {table}.id)"
    conditions = {
        "strategy_bars": (f"run_id IN (SELECT id FROM strategy_runs WHERE {runs})", batch),
        "strategy_runs": (runs, min(batch, _RUNS_AT_ONCE)),
        "strategy_sweeps": (
            f"{older('created_at', days)} AND {without.format(column='sweep_id', table='strategy_sweeps')}",
            batch,
        ),
        "strategy_configs": (
            f"{older('archived_at', days)} AND {without.format(column='config_id', table='strategy_configs')}",
            batch,
        ),
    }
    return {
        table: delete_rows(database, table, condition, stopped=stopped, batch=size)
        for table, (condition, size) in conditions.items()
    }
