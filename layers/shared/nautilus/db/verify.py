"""Verify what the store says about itself: coverage against bars against sessions, the ledger's counters, what orders
reserve, what runs hold.

`python -m nautilus.db.verify` reads one snapshot, changes nothing, and says what does not fit (exit status 1);
`--repair` mends what can be mended without guessing: a range that nothing proves empty is no longer covered, so that it is
requested again. No bar of a series is ever removed by it.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator
from typing import NamedTuple
from uuid import UUID

from nautilus.backfill.states import LIVE_CHUNKS
from nautilus.db import timescale
from nautilus.db.bars.write import table_of
from nautilus.db.connection import Database
from nautilus.db.cursor import Cursor
from nautilus.db.ledger import chunk_counts
from nautilus.db.market import series
from nautilus.db.rows import every, scalars, there
from nautilus.db.verify_findings import KINDS, LOTS, REPAIRED, RESERVATIONS, Finding, Report
from nautilus.db.verify_orders import count, mend_reservations, verify_orders
from nautilus.db.verify_portfolio import mend_portfolio, verify_portfolio
from nautilus.db.verify_series import mend_series, verify_series
from nautilus.db.verify_strategies import mend_strategies, verify_strategies
from nautilus.errors import Unavailable
from nautilus.market.timeframes import ALL, timeframe
from nautilus.settings.base import load
from nautilus.settings.bridge import MigrateSettings

BAR_TABLES = tuple(dict.fromkeys(table_of(frame) for frame in ALL))
_TIMEOUT_MS = 3_600_000
_SHOWN = 20


def verify(cursor: Cursor) -> Report:
    """Look at everything, in the snapshot of this transaction."""
    report = Report(storage=timescale.storage(cursor))
    report.findings += [*_keys(cursor), *_orphans(cursor), *_versions(cursor), *_ledger(cursor)]
    report.findings += [*verify_orders(cursor), *verify_portfolio(cursor), *verify_strategies(cursor)]
    report.orders = count(cursor)
    cursor.execute("SELECT id FROM series ORDER BY id")
    for series_id in scalars(cursor, int):
        verify_series(cursor, series.by_id(cursor, series_id), report)
    return report


def repair(database: Database, findings: Iterable[Finding]) -> int:
    """Mend what REPAIRED names, a series at a time under its lock, looked at again; returns how many were mended."""
    wanted = [finding for finding in findings if finding.kind in REPAIRED]
    mended = 0
    if miscounted := [finding for finding in wanted if finding.kind == "chunk_counts"]:
        with database.transaction() as cursor:
            chunk_counts.recount(cursor)
        mended += len(miscounted)
    if any(finding.kind in RESERVATIONS for finding in wanted):
        with database.transaction() as cursor:
            mended += mend_reservations(cursor)
    if any(finding.kind in LOTS for finding in wanted):
        with database.transaction() as cursor:
            mended += mend_portfolio(cursor)
    if any(finding.kind == "strategy_claims" for finding in wanted):
        with database.transaction() as cursor:
            mended += mend_strategies(cursor)
    for series_id in sorted({f.series_id for f in wanted if f.series_id is not None}):
        with database.transaction() as cursor:
            if any(f.kind == "bars_of_no_series" for f in wanted if f.series_id == series_id):
                mended += _remove_orphans(cursor, series_id)
                continue
            row = series.by_id(cursor, series_id, lock=True)
            report = Report()
            verify_series(cursor, row, report)
            found = [finding for finding in report.findings if finding.kind in REPAIRED]
            mend_series(cursor, row, found)
            mended += len(found)
    return mended


# ---- all of them -------------------------------------------------------------------------------------------------------


def _keys(cursor: Cursor) -> Iterator[Finding]:
    for table in BAR_TABLES:
        cursor.execute(
            "SELECT 1 FROM pg_index i JOIN pg_constraint c ON c.conindid = i.indexrelid AND c.contype = 'p'"
            " WHERE i.indrelid = %s::regclass AND i.indisvalid AND i.indisunique"
            "  AND pg_get_constraintdef(c.oid) = 'PRIMARY KEY (series_id, ts)'",
            (table,),
        )
        if not there(cursor):
            yield Finding("key_missing", f"{table} has no valid PRIMARY KEY (series_id, ts)")


def _series_in(cursor: Cursor, table: str) -> list[int]:
    """The series that have rows in a table: one search of the key for each, not one per row."""
    cursor.execute(
        f"WITH RECURSIVE found AS (SELECT min(series_id) AS id FROM {table} UNION ALL"
        f" SELECT (SELECT min(series_id) FROM {table} WHERE series_id > found.id) FROM found WHERE found.id IS NOT NULL)"
        " SELECT id FROM found WHERE id IS NOT NULL"
    )
    return scalars(cursor, int)


class _Home(NamedTuple):
    id: int
    timeframe: str


def _orphans(cursor: Cursor) -> Iterator[Finding]:
    cursor.execute("SELECT id, timeframe FROM series")
    homes = {row.id: table_of(timeframe(row.timeframe)) for row in every(cursor, _Home)}
    for table in (*BAR_TABLES, "bar_revisions"):
        for series_id in _series_in(cursor, table):
            if series_id not in homes:
                yield Finding(
                    "bars_of_no_series", f"{table}: rows of series {series_id}, which does not exist", series_id
                )
            elif table in BAR_TABLES and homes[series_id] != table:
                yield Finding(
                    "bars_in_wrong_table", f"{table}: bars of series {series_id}, which reads {homes[series_id]}"
                )


def _remove_orphans(cursor: Cursor, series_id: int) -> int:
    """Rows that nobody can read: their series is gone."""
    cursor.execute("SELECT 1 FROM series WHERE id = %s", (series_id,))
    if there(cursor):
        return 0
    for table in (*BAR_TABLES, "bar_revisions"):
        cursor.execute(f"DELETE FROM {table} WHERE series_id = %s", (series_id,))
    return 1


def _versions(cursor: Cursor) -> Iterator[Finding]:
    cursor.execute(
        "SELECT s.id FROM series s WHERE EXISTS (SELECT 1 FROM series_changes c WHERE c.series_id = s.id"
        " AND c.version > s.data_version) OR s.id IN (SELECT r.series_id FROM bar_revisions r JOIN series o"
        " ON o.id = r.series_id WHERE r.until_version > o.data_version) ORDER BY s.id"
    )
    for series_id in scalars(cursor, int):
        yield Finding("version_behind", f"series {series_id}: changes of a later version than its own", series_id)


class _Overlap(NamedTuple):
    series_id: int
    id: int
    other: int


class _UnwantedChunk(NamedTuple):
    id: int
    state: str


class _JobCount(NamedTuple):
    """What a job counts, and what its chunks say."""

    id: UUID
    chunks_total: int
    chunks_done: int
    total: int
    done: int


def _ledger(cursor: Cursor) -> Iterator[Finding]:
    live = list(LIVE_CHUNKS)
    cursor.execute(
        "SELECT a.series_id, a.id, b.id AS other FROM backfill_chunks a JOIN backfill_chunks b ON b.series_id = a.series_id"
        " AND b.id > a.id AND b.span_start < a.span_end AND b.span_end > a.span_start"
        " WHERE a.state = ANY(%s) AND b.state = ANY(%s) ORDER BY a.id",
        (live, live),
    )
    for pair in every(cursor, _Overlap):
        yield Finding("chunks_overlap", f"chunks {pair.id} and {pair.other} of series {pair.series_id}", pair.series_id)
    cursor.execute(
        "SELECT c.id, c.state FROM backfill_chunks c WHERE c.state = ANY(%s) AND NOT EXISTS (SELECT 1 FROM job_chunks w"
        " JOIN backfill_jobs j ON j.id = w.job_id WHERE w.chunk_id = c.id AND j.finished_at IS NULL) ORDER BY c.id",
        (live,),
    )
    for chunk in every(cursor, _UnwantedChunk):
        yield Finding("chunk_unwanted", f"chunk {chunk.id} is {chunk.state}, and no live job wants it")
    # A chunk that was split counts by its parts; a stopped job gives up its chunks.
    cursor.execute(
        "SELECT j.id, j.chunks_total, j.chunks_done, c.total, c.done FROM backfill_jobs j CROSS JOIN LATERAL"
        " (SELECT count(*) FILTER (WHERE b.state <> 'split') AS total,"
        "   count(*) FILTER (WHERE b.state IN ('done', 'failed')) AS done"
        "  FROM job_chunks w JOIN backfill_chunks b ON b.id = w.chunk_id WHERE w.job_id = j.id) AS c"
        " WHERE j.state IN ('running', 'succeeded', 'partial', 'failed')"
        "  AND (j.chunks_total <> c.total OR j.chunks_done <> c.done) ORDER BY j.created_at"
    )
    for job in every(cursor, _JobCount):
        yield Finding(
            "job_counters",
            f"job {job.id} counts {job.chunks_done} of {job.chunks_total} chunks, its chunks say {job.done} of {job.total}",
        )
    for state, (counted, stored) in chunk_counts.wrong(cursor).items():
        yield Finding("chunk_counts", f"{counted} chunks are counted as {state}, there are {stored}")


# ---- the command -------------------------------------------------------------------------------------------------------


def _show(report: Report) -> None:
    print(
        f"{report.storage}: {report.series} series, {report.bars:,} bars, {report.sessions:,} covered sessions,"
        f" {report.orders:,} orders"
    )
    for kind, meaning in KINDS.items():
        found = [finding for finding in report.findings if finding.kind == kind]
        if found:
            print(f"\n{kind}: {meaning}" + (" (--repair mends it)" if kind in REPAIRED else ""))
            for finding in found[:_SHOWN]:
                print(f"  {finding.text}")
            if len(found) > _SHOWN:
                print(f"  and {len(found) - _SHOWN} more")


def main() -> int:
    parser = argparse.ArgumentParser(description="Prove coverage against bars against sessions.")
    parser.add_argument("--repair", action="store_true", help="mend what can be mended without guessing")
    options = parser.parse_args()
    url = load(MigrateSettings).database_url.get_secret_value()
    try:
        return _prove(url, mend=options.repair)
    except Unavailable as away:
        print(f"nothing was verified: {away}", file=sys.stderr)
        return 1


def _prove(url: str, *, mend: bool) -> int:
    database = Database(url, name="nautilus-verify", size=1, statement_timeout_ms=_TIMEOUT_MS)
    with database.transaction(snapshot=True) as cursor:
        report = verify(cursor)
    _show(report)
    if mend and report.findings:
        print(f"\nmended: {repair(database, report.findings)}")
        with database.transaction(snapshot=True) as cursor:
            report = verify(cursor)
        _show(report)
    database.close()
    print("nothing is wrong" if not report.findings else f"\n{len(report.findings)} findings")
    return 1 if report.findings else 0


if __name__ == "__main__":
    sys.exit(main())
