"""How rows that are not kept any longer are deleted: in batches, each its own transaction, so that nobody waits for long."""

from collections.abc import Callable

from nautilus.db.connection import Database
from nautilus.db.rows import scalar


def older(when: str, days: int) -> str:
    """The condition that a time in a column, or an expression, is more than so many days ago."""
    # Not clock_timestamp(): no index is used for what may change from row to row.
    return f"{when} < statement_timestamp() - make_interval(days => {days:d})"


def delete_rows(
    database: Database,
    table: str,
    condition: str,
    *,
    stopped: Callable[[], bool],
    batch: int,
    noting: str = "",
) -> int:
    """Delete the rows of a condition, `batch` in a transaction; returns how many. noting: what is written down of `gone`."""
    total = 0
    while not stopped():
        with database.transaction() as cursor:
            cursor.execute(
                f"WITH gone AS (DELETE FROM {table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {table} WHERE {condition}"
                f" LIMIT {batch:d})) AND {condition} RETURNING *){noting} SELECT count(*) FROM gone"
            )
            gone = scalar(cursor, int)
        total += gone
        if gone < batch:
            break
    return total
