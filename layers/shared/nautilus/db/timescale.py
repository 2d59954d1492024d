"""Every statement that only TimescaleDB knows. Nothing here is needed: on plain PostgreSQL each function does nothing.

With the extension (2.20 or newer) the tables of bars are hypertables, cut along `ts`, and chunks that nobody writes to
any more are stored by column (a tenth of the size, segments of one series each). Queries are the same on both.
"""

import re
from dataclasses import dataclass

import psycopg2

from nautilus.clock import NS_PER_DAY
from nautilus.db.connection import Cursor

LEAST_VERSION = (2, 20)
_LOST = "bars are not stored by column and stay five times as large"


@dataclass(frozen=True, slots=True)
class Hypertable:
    """How a table of bars is cut. `quiet_ns`: a chunk whose end lies further back is stored by column."""

    chunk_ns: int
    quiet_ns: int


# A chunk must hold at least about a thousand bars of a series (one segment of the columnstore), and its rows and index of
# all series must fit into memory while it is written. docs/decisions/0010-storage-of-bars.md has the sums.
HYPERTABLES = {
    "bars_fine": Hypertable(7 * NS_PER_DAY, 7 * NS_PER_DAY),
    "bars_minute": Hypertable(28 * NS_PER_DAY, 14 * NS_PER_DAY),
    "bars_coarse": Hypertable(1461 * NS_PER_DAY, 366 * NS_PER_DAY),
}

_NOW = """
CREATE OR REPLACE FUNCTION nautilus_now_ns() RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE
AS $$ SELECT (extract(epoch FROM transaction_timestamp()) * 1000000000)::bigint $$
"""


def version(cursor: Cursor) -> str | None:
    """The extension's version in this database; None on plain PostgreSQL."""
    cursor.execute("SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'")
    row = cursor.fetchone()
    return str(row[0]) if row else None


def in_use(cursor: Cursor) -> bool:
    """True when the bars lie in hypertables."""
    if version(cursor) is None:
        return False
    cursor.execute(
        "SELECT count(*) FROM timescaledb_information.hypertables"
        " WHERE hypertable_schema = current_schema() AND hypertable_name = ANY(%s)",
        (list(HYPERTABLES),),
    )
    return int(cursor.fetchone()[0]) == len(HYPERTABLES)


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
        if not cursor.fetchone()[0]:
            continue  # a revision before the first
        cursor.execute(
            "SELECT create_hypertable(%s::regclass, by_range('ts', %s::bigint), create_default_indexes => false,"
            " if_not_exists => true, migrate_data => true)",
            (table, cut.chunk_ns),
        )
        cursor.execute("SELECT set_chunk_time_interval(%s::regclass, %s::bigint)", (table, cut.chunk_ns))
        cursor.execute(
            "SELECT set_integer_now_func(%s::regclass, 'nautilus_now_ns', replace_if_exists => true)", (table,)
        )
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
        row = cursor.fetchone()
        if row is None or not _new_enough(row[0]):
            return False
        cursor.execute("SAVEPOINT extension")
        try:
            # Without its library preloaded the extension would end the connection: ask first.
            cursor.execute("SELECT current_setting('shared_preload_libraries') ~ '(^|[, \"])timescaledb'")
            if not cursor.fetchone()[0]:
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
    return bool(cursor.fetchone()[0])


def _columnstore_is_on(cursor: Cursor, table: str) -> bool:
    cursor.execute(
        "SELECT compression_enabled FROM timescaledb_information.hypertables"
        " WHERE hypertable_schema = current_schema() AND hypertable_name = %s",
        (table,),
    )
    row = cursor.fetchone()
    return bool(row and row[0])


# ---- the columnstore ---------------------------------------------------------------------------------------------------


def chunks_to_convert(cursor: Cursor, table: str, market_ns: int) -> list[str]:
    """Chunks to be stored by column, oldest first: quiet for long enough, and no backfill under way in their range.

    Among them those by column already that have since been written to: their new rows lie beside the columns.
    """
    if not in_use(cursor) or not _has_columnstore(cursor):
        return []
    cursor.execute(
        "SELECT format('%%I.%%I', c.chunk_schema, c.chunk_name) FROM timescaledb_information.chunks c"
        " JOIN _timescaledb_catalog.chunk k ON k.schema_name = c.chunk_schema AND k.table_name = c.chunk_name"
        " WHERE c.hypertable_schema = current_schema() AND c.hypertable_name = %s"
        # status: 1 stored by column, 8 with rows beside the columns (TimescaleDB's chunk.h)
        "  AND (k.status & 1 = 0 OR k.status & 8 <> 0) AND c.range_end_integer <= %s"
        "  AND NOT EXISTS (SELECT 1 FROM backfill_chunks b WHERE b.state IN ('pending', 'leased')"
        "   AND b.span_start < c.range_end_integer AND b.span_end > c.range_start_integer)"
        " ORDER BY c.range_start_integer",
        (table, market_ns - HYPERTABLES[table].quiet_ns),
    )
    return [str(row[0]) for row in cursor.fetchall()]


def convert(connection: psycopg2.extensions.connection, chunk: str) -> None:
    """Store one chunk by column, or again after it was written to. In autocommit: the procedure ends transactions."""
    with connection.cursor() as cursor:
        cursor.execute("CALL convert_to_columnstore(%s::regclass, if_not_columnstore => true)", (chunk,))


@dataclass(frozen=True, slots=True)
class Size:
    """Chunks of a table, and bytes of those stored by column, before and after."""

    chunks: int
    by_column: int
    before_bytes: int
    after_bytes: int


def size(cursor: Cursor, table: str) -> Size | None:
    """How a table of bars is stored; None on plain PostgreSQL."""
    if not in_use(cursor):
        return None
    cursor.execute(
        "SELECT coalesce(total_chunks, 0) AS chunks, coalesce(number_compressed_chunks, 0) AS by_column,"
        " coalesce(before_compression_total_bytes, 0)::bigint AS before,"
        " coalesce(after_compression_total_bytes, 0)::bigint AS after"
        " FROM hypertable_columnstore_stats(%s::regclass)",
        (table,),
    )
    row = cursor.fetchone()
    return Size(*row) if row else Size(0, 0, 0, 0)


# ---- backup ------------------------------------------------------------------------------------------------------------


def before_restore(cursor: Cursor, wanted: bool) -> None:
    """Make the extension and stop its workers, when the dump holds hypertables."""
    if wanted:
        cursor.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
        cursor.execute("SELECT timescaledb_pre_restore()")


def after_restore(cursor: Cursor, wanted: bool) -> None:
    if wanted:
        cursor.execute("SELECT timescaledb_post_restore()")
