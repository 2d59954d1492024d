"""Verify one series: its coverage against its bars against the sessions of its market."""

from collections.abc import Iterable
from typing import NamedTuple

from nautilus.clock import label_of, rfc3339
from nautilus.coverage.states import CoverageState, Note
from nautilus.db.bars.write import table_of
from nautilus.db.bridge import status
from nautilus.db.cursor import Cursor
from nautilus.db.market import calendars, instruments, series
from nautilus.db.market.series import Series
from nautilus.db.ranges import multirange
from nautilus.db.rows import every, one, scalar, scalars, there
from nautilus.db.verify_findings import Finding, Report
from nautilus.market.calendar import Calendar
from nautilus.market.timeframes import timeframe
from nautilus.spans import Span, Spans

_AT_ONCE = 100
_ANSWERS = 2
"""An empty session is believed after so many answers."""


def verify_series(cursor: Cursor, row: Series, report: Report) -> None:
    """Check one series in the snapshot of this transaction, and add what does not fit to the report."""
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
    """The session that a range is a part of."""
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


class _Extent(NamedTuple):
    """How many bars, and the first and last ts (0, 0 when there are none)."""

    bars: int
    first: int
    last: int


def _extent(cursor: Cursor, row: Series) -> _Extent:
    cursor.execute(
        "SELECT count(*) AS bars, coalesce(min(ts), 0) AS first, coalesce(max(ts), 0) AS last"
        f" FROM {table_of(row.timeframe)} WHERE series_id = %s",
        (row.id,),
    )
    return one(cursor, _Extent)


def _calendar(cursor: Cursor, row: Series, first: int, last: int) -> Calendar | None:
    """The sessions around all that is covered or stored; None where IB sent none, or where a guess stands in."""
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
    if there(cursor):
        return None
    return calendars.load(cursor, instrument.calendar, row.session, (min(ends) - _WEEKS_NS, max(ends) + _WEEKS_NS))


_WEEKS_NS = 40 * 86_400 * 10**9
"""A monthly bar stands on the first of the month; its sessions reach a month further."""


def _open(calendar: Calendar, row: Series, known: Spans) -> Spans:
    return Spans(unit for span in known for unit in calendar.units(row.timeframe, span))


class _Held(NamedTuple):
    lo: int
    hi: int
    n: int


def _with_bars(cursor: Cursor, row: Series, spans: Iterable[Span]) -> dict[Span, int]:
    """Those of the ranges that hold bars, and how many. One range scan of the key each.

    Some at a time, with bounds around them all: TimescaleDB looks at each chunk within the bounds for each range.
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
        found |= {(held.lo, held.hi): held.n for held in every(cursor, _Held)}
    return found


def _off_label(cursor: Cursor, row: Series, calendar: Calendar) -> list[int]:
    labels = [unit[0] for span in calendar.known_axis(row.timeframe) for unit in calendar.units(row.timeframe, span)]
    known = calendar.known_axis(row.timeframe)
    cursor.execute(
        f"SELECT ts FROM {table_of(row.timeframe)} WHERE series_id = %s AND ts <@ %s::int8multirange"
        " AND ts <> ALL(%s::bigint[])",
        (row.id, multirange(known), labels),
    )
    return scalars(cursor, int)


def _proven_empty(cursor: Cursor, row: Series, unit: Span, calendar: Calendar) -> bool:
    """Two answers without a bar there, or a settled daily series that has no day."""
    cursor.execute(
        "SELECT count(*) FROM backfill_chunks WHERE series_id = %s AND state = 'done' AND request_id IS NOT NULL"
        " AND span_start <= %s AND span_end >= %s",
        (row.id, *unit),
    )
    if scalar(cursor, int) >= _ANSWERS:
        return True
    daily = timeframe("1d")
    if not row.timeframe.intraday:
        return False
    days = series.find(cursor, row.con_id, daily, price=row.price, session=row.session)
    session = calendar.session_at(unit[0])
    if days is None or session is None:
        return False
    label = label_of(session.trade_date)
    return label in days.covered and not _with_bars(cursor, days, [(label, daily.next(label))])


def mend_series(cursor: Cursor, row: Series, findings: Iterable[Finding]) -> None:
    """What is both, or unproven, is no longer covered, but unconfirmed and due at once. The newer of two notes stays."""
    now = status.market_now(cursor)
    unconfirmed = Spans(span for f in findings if f.kind == "covered_without_bars" for span in f.spans)
    noted = [Note(span, CoverageState.EMPTY_UNCONFIRMED, "unproven", None, now, now) for span in unconfirmed]
    kept = (
        series.notes(cursor, row.id, series.ALL_TIME) if any(f.kind != "covered_without_bars" for f in findings) else []
    )
    for note in sorted(kept, key=lambda note: note.checked_at):
        noted += [
            Note(span, note.state, note.reason, note.ib_code, note.checked_at, note.expires_at)
            for span in Spans.of(*note.span) - Spans(other.span for other in noted)
        ]
    if noted:
        series.apply_changes(cursor, row, noted=noted)
