"""Every statement that only TimescaleDB knows. Nothing here is needed: on plain PostgreSQL each function does nothing.

With the extension (2.20 or newer) the tables of bars are hypertables, cut along `ts`, and chunks that nobody writes to
any more are stored by column (a third of the size, segments of one series each). Queries are the same on both.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import psycopg2

from nautilus.clock import NS_PER_DAY
from nautilus.db.cursor import Cursor
from nautilus.db.rows import every, one, scalar, scalar_or_none

LEAST_VERSION = (2, 20)
_LOCK_WAIT = "500ms"
"""Less than PostgreSQL waits before it looks for a deadlock, so that we give way and nobody else."""
_LOST = "bars are not stored by column and stay three to four times as large"


@dataclass(frozen=True, slots=True)
class Hypertable:
    """How a table of bars is cut. `quiet_ns`: a chunk whose end lies further back is stored by column."""

    chunk_ns: int
    quiet_ns: int


# docs/decisions/0026-timescaledb.md has the measurements.
HYPERTABLES = {
    "bars_fine": Hypertable(7 * NS_PER_DAY, 7 * NS_PER_DAY),
    "bars_minute": Hypertable(28 * NS_PER_DAY, 14 * NS_PER_DAY),
    "bars_coarse": Hypertable(364 * NS_PER_DAY, 28 * NS_PER_DAY),
}

_NOW = """
CREATE OR REPLACE FUNCTION nautilus_now_ns() RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE
AS $$ SELECT (extract(epoch FROM transaction_timestamp()) * 1000000000)::bigint $$
"""


def version(cursor: Cursor) -> str | None:
    """The extension's version in this database; None on plain PostgreSQL."""
    cursor.execute("SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'")
    return scalar_or_none(cursor, str)


def in_use(cursor: Cursor) -> bool:
    """True when the bars lie in hypertables."""
    if version(cursor) is None:
        return False
    cursor.execute(
        "SELECT count(*) FROM timescaledb_information.hypertables"
        " WHERE hypertable_schema = current_schema() AND hypertable_name = ANY(%s)",
        (list(HYPERTABLES),),
    )
    return scalar(cursor, int) == len(HYPERTABLES)


def estimated_bars(cursor: Cursor) -> int:
    """About how many bars are stored, without counting them: as the server's statistics have it."""
    if version(cursor) is None:
        # A crash forgets the counters of changes; what the last vacuum counted stays.
        cursor.execute(
            "SELECT sum(CASE WHEN s.n_live_tup > 0 THEN s.n_live_tup ELSE greatest(c.reltuples, 0) END)::bigint"
            " FROM pg_class c JOIN pg_stat_user_tables s ON s.relid = c.oid WHERE c.oid = ANY(%s::regclass[])",
            (list(HYPERTABLES),),
        )
    else:
        # The parent of a hypertable is empty, and chunks in columns hold a thousand bars a row.
        cursor.execute(
            "SELECT sum(approximate_row_count(name::regclass))::bigint FROM unnest(%s) AS name", (list(HYPERTABLES),)
        )
    return scalar_or_none(cursor, int) or 0


def storage(cursor: Cursor) -> str:
    """Which storage is in use, and what is lost by it, in words: for people, `/health` and logs."""
    found = version(cursor)
    if found is None:
        return f"plain PostgreSQL: {_LOST}"
    if not in_use(cursor):
        return f"plain PostgreSQL: {_LOST}; TimescaleDB {found} is there, but migrating did not use it"
    return f"TimescaleDB {found}" + ("" if _has_columnstore(cursor) else f", Apache edition: {_LOST}")


def adopt(cursor: Cursor) -> str:
    """Make the tables of bars hypertables where the server has the extension. Safe to repeat; returns `storage()`.

    Rows that are there are moved, under a lock on the table: seconds per million.
    """
    if not _extension(cursor):
        return storage(cursor)
    cursor.execute(_NOW)
    for table, cut in HYPERTABLES.items():
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", (table,))
        if not scalar(cursor, bool):
            continue  # a revision before the first
        cursor.execute(
            "SELECT integer_interval FROM timescaledb_information.dimensions"
            " WHERE hypertable_schema = current_schema() AND hypertable_name = %s",
            (table,),
        )
        chunk_ns = scalar_or_none(cursor, int)
        if chunk_ns is None:
            cursor.execute(
                "SELECT create_hypertable(%s::regclass, by_range('ts', %s::bigint), create_default_indexes => false,"
                " migrate_data => true), set_integer_now_func(%s::regclass, 'nautilus_now_ns')",
                (table, cut.chunk_ns, table),
            )
        elif chunk_ns != cut.chunk_ns:  # of chunks to come
            cursor.execute("SELECT set_chunk_time_interval(%s::regclass, %s::bigint)", (table, cut.chunk_ns))
        if _has_columnstore(cursor) and not _columnstore_is_on(cursor, table):
            cursor.execute(
                f"ALTER TABLE {table} SET (timescaledb.enable_columnstore,"
                " timescaledb.segmentby = 'series_id', timescaledb.orderby = 'ts')"
            )
    return storage(cursor)


def _extension(cursor: Cursor) -> bool:
    """True when the extension is in this database, new enough. It is made where the server has it loaded."""
    found = version(cursor)
    if found is None:
        cursor.execute("SELECT default_version FROM pg_available_extensions WHERE name = 'timescaledb'")
        offered = scalar_or_none(cursor, str)
        if offered is None or not _new_enough(offered):
            return False
        cursor.execute("SAVEPOINT extension")
        try:
            # Without its library preloaded the extension would end the connection: ask first.
            cursor.execute("SELECT current_setting('shared_preload_libraries') ~ '(^|[, \"])timescaledb'")
            if not scalar(cursor, bool):
                return False
            cursor.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
        except psycopg2.errors.InsufficientPrivilege:
            cursor.execute("ROLLBACK TO SAVEPOINT extension")
            return False
        found = version(cursor)
    return found is not None and _new_enough(found)


def _new_enough(text: str) -> bool:
    numbers = re.match(r"(\d+)\.(\d+)", text)
    return numbers is not None and (int(numbers[1]), int(numbers[2])) >= LEAST_VERSION


def _has_columnstore(cursor: Cursor) -> bool:
    """False in the Apache edition."""
    cursor.execute("SELECT current_setting('timescaledb.license', true) = 'timescale'")
    return scalar_or_none(cursor, bool) or False


def _columnstore_is_on(cursor: Cursor, table: str) -> bool:
    cursor.execute(
        "SELECT compression_enabled FROM timescaledb_information.hypertables"
        " WHERE hypertable_schema = current_schema() AND hypertable_name = %s",
        (table,),
    )
    return scalar_or_none(cursor, bool) or False


# ---- the columnstore ---------------------------------------------------------------------------------------------------


class HypertableChunk(NamedTuple):
    """A chunk of a hypertable by its full name; `by_column`: so it is stored, but for rows written since."""

    name: str
    by_column: bool


def chunks_to_convert(cursor: Cursor, table: str, frames: Sequence[str], market_ns: int) -> list[HypertableChunk]:
    """Chunks to be stored by column, oldest first: quiet for long enough, and no backfill under way in their range.

    frames: the timeframes that lie in the table. Chunks that are by column already are among them when rows were written
    to them since, as those lie beside the columns.
    """
    if not in_use(cursor) or not _has_columnstore(cursor):
        return []
    cursor.execute(
        "SELECT name, status & 1 = 1 AS by_column FROM timescaledb_information.chunks c"
        " CROSS JOIN LATERAL format('%%I.%%I', c.chunk_schema, c.chunk_name) AS name"
        # 1: stored by column, 8: with rows beside the columns (TimescaleDB's chunk.h). The tables behind differ by version.
        " CROSS JOIN LATERAL _timescaledb_functions.chunk_status(name::regclass) AS status"
        " WHERE c.hypertable_schema = current_schema() AND c.hypertable_name = %s"
        "  AND (status & 1 = 0 OR status & 8 <> 0) AND c.range_end_integer <= %s"
        "  AND NOT EXISTS (SELECT 1 FROM backfill_chunks b JOIN series s ON s.id = b.series_id"
        "   WHERE b.state IN ('pending', 'leased') AND s.timeframe = ANY(%s)"
        "   AND b.span_start < c.range_end_integer AND b.span_end > c.range_start_integer)"
        " ORDER BY c.range_start_integer",
        (table, market_ns - HYPERTABLES[table].quiet_ns, list(frames)),
    )
    return every(cursor, HypertableChunk)


def convert(cursor: Cursor, chunk: HypertableChunk) -> bool:
    """Store one chunk by column, or again after it was written to, in a transaction of its own.

    False, and nothing done: somebody writes or reads there for longer than we make others wait.
    """
    cursor.execute("SELECT set_config('lock_timeout', %s, true)", (_LOCK_WAIT,))
    try:
        cursor.execute("SELECT compress_chunk(%s::regclass, true)", (chunk.name,))
        if chunk.by_column:
            # A query planned from now on looks for rows in the columns alone; to a snapshot of before, what was just
            # moved there does not exist. So whoever has such a snapshot must have ended (nautilus/db/connection.py).
            # The first conversion needs no such care: TimescaleDB writes its rows frozen, visible to everybody. It holds
            # the chunk alone meanwhile, and would wait for readers who wait for it.
            cursor.execute("LOCK TABLE store IN ACCESS EXCLUSIVE MODE")
    except (psycopg2.errors.LockNotAvailable, psycopg2.errors.SerializationFailure):  # the second is TimescaleDB's own
        cursor.end("ROLLBACK")
        return False
    return True


class Size(NamedTuple):
    """Chunks of a table, those stored by column, and the bytes of all."""

    chunks: int
    by_column: int
    bytes: int


def size(cursor: Cursor, table: str) -> Size | None:
    """How a table of bars is stored; None on plain PostgreSQL."""
    if not in_use(cursor):
        return None
    cursor.execute(
        "SELECT count(*) AS chunks, count(*) FILTER (WHERE is_compressed) AS by_column, hypertable_size(%s::regclass) AS bytes"
        " FROM timescaledb_information.chunks WHERE hypertable_schema = current_schema() AND hypertable_name = %s",
        (table, table),
    )
    return one(cursor, Size)


# ---- forgetting --------------------------------------------------------------------------------------------------------


def lift_limits(cursor: Cursor) -> None:
    """Let this transaction take apart as many stored columns as it needs (by default 100,000 rows)."""
    if in_use(cursor):
        cursor.execute("SELECT set_config('timescaledb.max_tuples_decompressed_per_dml_transaction', '0', true)")


class _ChunkRange(NamedTuple):
    name: str
    start: int
    end: int


def drop_empty(cursor: Cursor, table: str) -> int:
    """Drop the chunks in which no bar is left, in a transaction of its own; returns how many.

    None, when somebody writes or reads for longer than we make others wait: snapshots of before must have ended.
    """
    if not in_use(cursor):
        return 0
    cursor.execute(
        "SELECT format('%%I.%%I', chunk_schema, chunk_name) AS name, range_start_integer AS start, range_end_integer AS end"
        " FROM timescaledb_information.chunks WHERE hypertable_schema = current_schema() AND hypertable_name = %s",
        (table,),
    )
    chunks = [chunk for chunk in every(cursor, _ChunkRange) if _is_empty(cursor, chunk.name)]
    dropped = 0
    cursor.execute("SELECT set_config('lock_timeout', %s, true)", (_LOCK_WAIT,))
    try:
        for chunk in chunks:
            cursor.execute(f"LOCK TABLE store, {chunk.name} IN ACCESS EXCLUSIVE MODE")
            if _is_empty(cursor, chunk.name):
                cursor.execute(
                    "SELECT drop_chunks(%s::regclass, older_than => %s::bigint, newer_than => %s::bigint)",
                    (table, chunk.end, chunk.start),
                )
                dropped += 1
    except psycopg2.errors.LockNotAvailable:
        cursor.end("ROLLBACK")
        return 0
    return dropped


def _is_empty(cursor: Cursor, chunk: str) -> bool:
    cursor.execute(f"SELECT EXISTS (SELECT 1 FROM {chunk})")
    return not scalar(cursor, bool)


# ---- backup ------------------------------------------------------------------------------------------------------------


def before_restore(cursor: Cursor, wanted: bool) -> None:
    """Make the extension and stop its workers, when the dump holds hypertables."""
    if wanted:
        cursor.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
        cursor.execute("SELECT timescaledb_pre_restore()")


def after_restore(cursor: Cursor, wanted: bool) -> None:
    if wanted:
        cursor.execute("SELECT timescaledb_post_restore()")
