"""How many chunks are in which state. Triggers of the table keep the counts, each server process in rows of its own, so that
no transaction waits for another one's; the sum over all of them is the number."""

from collections.abc import Mapping
from typing import NamedTuple

from nautilus.db.cursor import Cursor
from nautilus.db.rows import every, scalar


class _StateCount(NamedTuple):
    state: str
    chunks: int


def totals(cursor: Cursor) -> Mapping[str, int]:
    """State -> chunks."""
    cursor.execute("SELECT state, sum(chunks)::bigint AS chunks FROM backfill_chunk_counts GROUP BY state")
    return {row.state: row.chunks for row in every(cursor, _StateCount)}


def fold(cursor: Cursor) -> int:
    """Add the rows of server processes that have ended to one; returns how many were."""
    cursor.execute(
        "WITH ended AS (DELETE FROM backfill_chunk_counts WHERE backend <> 0"
        "  AND backend NOT IN (SELECT pid FROM pg_stat_activity WHERE pid IS NOT NULL) RETURNING state, chunks),"
        " added AS (INSERT INTO backfill_chunk_counts AS c (backend, state, chunks)"
        "  SELECT 0, state, sum(chunks) FROM ended GROUP BY state"
        "  ON CONFLICT (backend, state) DO UPDATE SET chunks = c.chunks + excluded.chunks)"
        " SELECT count(*) AS folded FROM ended"
    )
    return scalar(cursor, int)


def wrong(cursor: Cursor) -> dict[str, tuple[int, int]]:
    """States whose count differs from the chunks: how many are counted, how many there are."""
    counted = totals(cursor)
    cursor.execute("SELECT state, count(*) AS chunks FROM backfill_chunks GROUP BY state")
    there = {row.state: row.chunks for row in every(cursor, _StateCount)}
    states = sorted({*counted, *there})
    both = {state: (counted.get(state, 0), there.get(state, 0)) for state in states}
    return {state: (one, other) for state, (one, other) in both.items() if one != other}


def recount(cursor: Cursor) -> None:
    """Count the chunks anew; nobody changes one until the transaction ends."""
    cursor.execute("LOCK TABLE backfill_chunks IN SHARE ROW EXCLUSIVE MODE; DELETE FROM backfill_chunk_counts")
    cursor.execute(
        "INSERT INTO backfill_chunk_counts (backend, state, chunks)"
        " SELECT 0, state, count(*) FROM backfill_chunks GROUP BY state"
    )
