"""Prove what the store says about itself: coverage against bars against sessions, and the ledger's counters.

`python -m nautilus.db.verify` reads one snapshot, changes nothing, and says what does not fit (exit status 1);
`--repair` mends what can be mended without guessing: a stretch whose proof is missing is no longer covered, so that it is
asked for again. No bar of a series is ever removed by it.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from nautilus.backfill.states import LIVE_CHUNKS
from nautilus.clock import label_of, rfc3339
from nautilus.coverage.judge import Note, State
from nautilus.db import timescale
from nautilus.db.bars.write import table_of
from nautilus.db.bridge import status
from nautilus.db.connection import Database
from nautilus.db.cursor import Cursor
from nautilus.db.ledger import chunk_counts
from nautilus.db.market import calendars, instruments, series
from nautilus.db.market.series import Series
from nautilus.db.ranges import multirange
from nautilus.errors import Unavailable
from nautilus.market.calendar import Calendar
from nautilus.market.timeframes import ALL, timeframe
from nautilus.settings.api import load
from nautilus.settings.bridge import MigrateSettings
from nautilus.spans import Span, Spans

BAR_TABLES = tuple(dict.fromkeys(table_of(frame) for frame in ALL))
_TIMEOUT_MS = 3_600_000
_SHOWN = 20
_AT_ONCE = 100
_ANSWERS = 2
"""An empty session is believed after so many answers."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that does not fit. `kind` is one of KINDS; `spans`: where, on the axis of `series_id`."""

    kind: str
    text: str
    series_id: int | None = None
    spans: Spans = Spans()  # noqa: RUF009  immutable


KINDS = {
    "key_missing": "a table of bars has no valid primary key: duplicates would be possible",
    "bars_of_no_series": "bars or revisions of a series that does not exist",
    "bars_in_wrong_table": "bars in a table that is not read for their timeframe",
    "bars_outside_sessions": "bars where, by the known sessions, the market was closed",
    "bars_off_label": "daily, weekly or monthly bars that do not stand on a date of the calendar",
    "bars_not_covered": "bars in stretches that are neither covered nor noted",
    "covered_without_bars": "open sessions that are covered, without a bar, and without two answers that say so",
    "covered_and_noted": "stretches that are both covered and in doubt",
    "notes_overlap": "two notes about the same stretch",
    "version_behind": "changes or revisions of a version that the series has not reached",
    "chunks_overlap": "two chunks under way for the same stretch",
    "job_counters": "counters of a job that differ from its chunks",
    "chunk_unwanted": "a chunk under way that no live job wants",
    "chunk_counts": "counts of chunks by state that differ from the chunks",
}
REPAIRED = frozenset(
    {"covered_without_bars", "covered_and_noted", "notes_overlap", "bars_of_no_series", "chunk_counts"}
)


@dataclass
class Report:
    """What was looked at, and what was found."""

    series: int = 0
    bars: int = 0
    sessions: int = 0
    storage: str = ""
    findings: list[Finding] = field(default_factory=list)


def verify(cursor: Cursor) -> Report:
    """Look at everything, in the snapshot of this transaction."""
    report = Report(storage=timescale.storage(cursor))
    report.findings += [*_keys(cursor), *_orphans(cursor), *_versions(cursor), *_ledger(cursor)]
    cursor.execute("SELECT id FROM series ORDER BY id")
    for row in cursor.fetchall():
        _series(cursor, series.by_id(cursor, row.id), report)
    return report


def repair(database: Database, findings: Iterable[Finding]) -> int:
    """Mend what REPAIRED names, a series at a time under its lock, looked at again; returns how many were mended."""
    wanted = [finding for finding in findings if finding.kind in REPAIRED]
    mended = 0
    if miscounted := [finding for finding in wanted if finding.kind == "chunk_counts"]:
        with database.transaction() as cursor:
            chunk_counts.recount(cursor)
        mended += len(miscounted)
    for series_id in sorted({f.series_id for f in wanted if f.series_id is not None}):
        with database.transaction() as cursor:
            if any(f.kind == "bars_of_no_series" for f in wanted if f.series_id == series_id):
                mended += _remove_orphans(cursor, series_id)
                continue
            row = series.by_id(cursor, series_id, lock=True)
            report = Report()
            _series(cursor, row, report)
            found = [finding for finding in report.findings if finding.kind in REPAIRED]
            _mend(cursor, row, found)
            mended += len(found)
    return mended


# ---- a series ----------------------------------------------------------------------------------------------------------


def _series(cursor: Cursor, row: Series, report: Report) -> None:
    report.series += 1
    notes = [Spans.of(*note.span) for note in series.notes(cursor, row.id, series.ALL_TIME)]
    noted = Spans(span for note in notes for span in note)
    count, first, last = _extent(cursor, row)
    report.bars += count
    found = report.findings
    if both := row.covered & noted:
        found.append(_finding(row, "covered_and_noted", both, "covered, and noted"))
    if twice := _overlaps(notes):
        found.append(_finding(row, "notes_overlap", twice, "noted twice"))
    if count and (stray := _with_bars(cursor, row, Spans.of(first, last + 1) - row.covered - noted)):
        found.append(_finding(row, "bars_not_covered", Spans(stray), f"{sum(stray.values())} bars"))
    calendar = _calendar(cursor, row, first, last)
    if calendar is None:
        return
    known = calendar.known_axis(row.timeframe)
    if count and (
        outside := _with_bars(cursor, row, (known & Spans.of(first, last + 1)) - _open(calendar, row, known))
    ):
        found.append(_finding(row, "bars_outside_sessions", Spans(outside), f"{sum(outside.values())} bars"))
    if not row.timeframe.intraday and (wrong := _off_label(cursor, row, calendar)):
        found.append(_finding(row, "bars_off_label", Spans((ts, ts + 1) for ts in wrong), f"{len(wrong)} bars"))
    units = [unit for span in row.covered & known for unit in calendar.units(row.timeframe, span)]
    report.sessions += len(units)
    filled = _with_bars(cursor, row, units)
    # A note may cut a session: a bar anywhere in it was in the answer that settled the rest.
    whole = {unit: _whole(row, unit, calendar) for unit in units if unit not in filled}
    alive = _with_bars(cursor, row, whole.values())
    bare = [unit for unit, session in whole.items() if session not in alive]
    if unproven := [unit for unit in bare if not _proven_empty(cursor, row, unit, calendar)]:
        found.append(_finding(row, "covered_without_bars", Spans(unproven), f"{len(unproven)} sessions"))


def _whole(row: Series, unit: Span, calendar: Calendar) -> Span:
    """The session that a stretch is a part of."""
    session = calendar.session_at(unit[0]) if row.timeframe.intraday else None
    return (session.open_ns, session.close_ns) if session else unit


def _overlaps(parts: Iterable[Spans]) -> Spans:
    seen = twice = Spans()
    for part in parts:
        twice, seen = twice | (part & seen), seen | part
    return twice


def _finding(row: Series, kind: str, spans: Spans, what: str) -> Finding:
    first, last = next(iter(spans))[0], max(end for _, end in spans)
    where = f"series {row.id} ({row.timeframe.name} {row.price} {row.session} of contract {row.con_id})"
    return Finding(kind, f"{where}: {what}, {rfc3339(first)} to {rfc3339(last)}", row.id, spans)


def _extent(cursor: Cursor, row: Series) -> tuple[int, int, int]:
    """How many bars, and the first and last ts (0, 0 when there are none)."""
    cursor.execute(
        "SELECT count(*), coalesce(min(ts), 0) AS lo, coalesce(max(ts), 0) AS hi"
        f" FROM {table_of(row.timeframe)} WHERE series_id = %s",
        (row.id,),
    )
    count, first, last = cursor.fetchone()
    return count, first, last


def _calendar(cursor: Cursor, row: Series, first: int, last: int) -> Calendar | None:
    """The sessions around all that is covered or stored; None where none were told, or where a guess stands in."""
    instrument = instruments.by_id(cursor, row.con_id)
    if instrument is None:
        return None
    ends = [*(end for span in row.covered for end in span), first, last]
    ends = [end for end in ends if end]
    if not ends:
        return None
    cursor.execute(
        "SELECT 1 FROM trading_sessions WHERE calendar = %s AND session = %s AND stand_in LIMIT 1",
        (instrument.calendar, row.session),
    )
    if cursor.fetchone():
        return None
    return calendars.load(cursor, instrument.calendar, row.session, (min(ends) - _WEEKS_NS, max(ends) + _WEEKS_NS))


_WEEKS_NS = 40 * 86_400 * 10**9
"""A monthly bar stands on the first of the month; its sessions reach a month further."""


def _open(calendar: Calendar, row: Series, known: Spans) -> Spans:
    return Spans(unit for span in known for unit in calendar.units(row.timeframe, span))


def _with_bars(cursor: Cursor, row: Series, spans: Iterable[Span]) -> dict[Span, int]:
    """Those of the stretches that hold bars, and how many. One range scan of the key each.

    Some at a time, with bounds around them all: TimescaleDB looks at each chunk within the bounds for each stretch.
    """
    wanted = sorted(spans)
    found: dict[Span, int] = {}
    for at in range(0, len(wanted), _AT_ONCE):
        starts, ends = zip(*wanted[at : at + _AT_ONCE], strict=True)
        cursor.execute(
            "SELECT lo, hi, n FROM unnest(%s::bigint[], %s::bigint[]) AS r(lo, hi) CROSS JOIN LATERAL"
            f" (SELECT count(*) AS n FROM {table_of(row.timeframe)} WHERE series_id = %s AND ts >= lo AND ts < hi"
            "  AND ts >= %s AND ts < %s) AS c WHERE n > 0",
            (list(starts), list(ends), row.id, min(starts), max(ends)),
        )
        found |= {(held.lo, held.hi): held.n for held in cursor.fetchall()}
    return found


def _off_label(cursor: Cursor, row: Series, calendar: Calendar) -> list[int]:
    labels = [unit[0] for span in calendar.known_axis(row.timeframe) for unit in calendar.units(row.timeframe, span)]
    known = calendar.known_axis(row.timeframe)
    cursor.execute(
        f"SELECT ts FROM {table_of(row.timeframe)} WHERE series_id = %s AND ts <@ %s::int8multirange"
        " AND ts <> ALL(%s::bigint[])",
        (row.id, multirange(known), labels),
    )
    return [found.ts for found in cursor.fetchall()]


def _proven_empty(cursor: Cursor, row: Series, unit: Span, calendar: Calendar) -> bool:
    """Two answers without a bar there, or a settled daily series that has no day."""
    cursor.execute(
        "SELECT count(*) FROM backfill_chunks WHERE series_id = %s AND state = 'done' AND request_id IS NOT NULL"
        " AND span_start <= %s AND span_end >= %s",
        (row.id, *unit),
    )
    if cursor.fetchone()[0] >= _ANSWERS:
        return True
    daily = timeframe("1d")
    if not row.timeframe.intraday:
        return False
    days = series.find(cursor, row.con_id, daily, row.price, row.session)
    session = calendar.session_at(unit[0])
    if days is None or session is None:
        return False
    label = label_of(session.trade_date)
    return label in days.covered and not _with_bars(cursor, days, [(label, daily.next(label))])


def _mend(cursor: Cursor, row: Series, findings: Iterable[Finding]) -> None:
    """What is both, or unproven, is no longer covered: in doubt, and due at once. The newer of two notes stays."""
    now = status.market_now(cursor)
    doubts = Spans(span for f in findings if f.kind == "covered_without_bars" for span in f.spans)
    noted = [Note(span, State.EMPTY_UNCONFIRMED, "unproven", None, now, now) for span in doubts]
    kept = (
        series.notes(cursor, row.id, series.ALL_TIME) if any(f.kind != "covered_without_bars" for f in findings) else []
    )
    for note in sorted(kept, key=lambda note: note.checked_at):
        noted += [
            Note(span, note.state, note.reason, note.ib_code, note.checked_at, note.expires_at)
            for span in Spans.of(*note.span) - Spans(other.span for other in noted)
        ]
    if noted:
        series.record(cursor, row, noted=noted)


# ---- all of them -------------------------------------------------------------------------------------------------------


def _keys(cursor: Cursor) -> Iterator[Finding]:
    for table in BAR_TABLES:
        cursor.execute(
            "SELECT 1 FROM pg_index i JOIN pg_constraint c ON c.conindid = i.indexrelid AND c.contype = 'p'"
            " WHERE i.indrelid = %s::regclass AND i.indisvalid AND i.indisunique"
            "  AND pg_get_constraintdef(c.oid) = 'PRIMARY KEY (series_id, ts)'",
            (table,),
        )
        if cursor.fetchone() is None:
            yield Finding("key_missing", f"{table} has no valid PRIMARY KEY (series_id, ts)")


def _series_in(cursor: Cursor, table: str) -> list[int]:
    """The series that have rows in a table: one look into the key for each, not one per row."""
    cursor.execute(
        f"WITH RECURSIVE found AS (SELECT min(series_id) AS id FROM {table} UNION ALL"
        f" SELECT (SELECT min(series_id) FROM {table} WHERE series_id > found.id) FROM found WHERE found.id IS NOT NULL)"
        " SELECT id FROM found WHERE id IS NOT NULL"
    )
    return [row.id for row in cursor.fetchall()]


def _orphans(cursor: Cursor) -> Iterator[Finding]:
    cursor.execute("SELECT id, timeframe FROM series")
    homes = {row.id: table_of(timeframe(row.timeframe)) for row in cursor.fetchall()}
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
    if cursor.fetchone():
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
    for row in cursor.fetchall():
        yield Finding("version_behind", f"series {row.id}: changes of a later version than its own", row.id)


def _ledger(cursor: Cursor) -> Iterator[Finding]:
    live = list(LIVE_CHUNKS)
    cursor.execute(
        "SELECT a.series_id, a.id, b.id AS other FROM backfill_chunks a JOIN backfill_chunks b ON b.series_id = a.series_id"
        " AND b.id > a.id AND b.span_start < a.span_end AND b.span_end > a.span_start"
        " WHERE a.state = ANY(%s) AND b.state = ANY(%s) ORDER BY a.id",
        (live, live),
    )
    for row in cursor.fetchall():
        yield Finding("chunks_overlap", f"chunks {row.id} and {row.other} of series {row.series_id}", row.series_id)
    cursor.execute(
        "SELECT c.id, c.state FROM backfill_chunks c WHERE c.state = ANY(%s) AND NOT EXISTS (SELECT 1 FROM job_chunks w"
        " JOIN backfill_jobs j ON j.id = w.job_id WHERE w.chunk_id = c.id AND j.finished_at IS NULL) ORDER BY c.id",
        (live,),
    )
    for row in cursor.fetchall():
        yield Finding("chunk_unwanted", f"chunk {row.id} is {row.state}, and no live job wants it")
    # A chunk that was split counts by its parts; a stopped job gives up its chunks.
    cursor.execute(
        "SELECT j.id, j.chunks_total, j.chunks_done, c.total, c.done FROM backfill_jobs j CROSS JOIN LATERAL"
        " (SELECT count(*) FILTER (WHERE b.state <> 'split') AS total,"
        "   count(*) FILTER (WHERE b.state IN ('done', 'failed')) AS done"
        "  FROM job_chunks w JOIN backfill_chunks b ON b.id = w.chunk_id WHERE w.job_id = j.id) AS c"
        " WHERE j.state IN ('running', 'succeeded', 'partial', 'failed')"
        "  AND (j.chunks_total <> c.total OR j.chunks_done <> c.done) ORDER BY j.created_at"
    )
    for row in cursor.fetchall():
        yield Finding(
            "job_counters",
            f"job {row.id} counts {row.chunks_done} of {row.chunks_total} chunks, its chunks say {row.done} of {row.total}",
        )
    for state, (counted, there) in chunk_counts.wrong(cursor).items():
        yield Finding("chunk_counts", f"{counted} chunks are counted as {state}, there are {there}")


# ---- the command -------------------------------------------------------------------------------------------------------


def _show(report: Report) -> None:
    print(f"{report.storage}: {report.series} series, {report.bars:,} bars, {report.sessions:,} covered sessions")
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
