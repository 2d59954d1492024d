"""How bars of a series are forgotten: the oldest first, and the range says so."""

from collections.abc import Callable
from typing import NamedTuple

from nautilus.coverage.states import FORGOTTEN, CoverageState, Note
from nautilus.db import timescale
from nautilus.db.bars.write import table_of
from nautilus.db.bridge import status
from nautilus.db.connection import Database
from nautilus.db.cursor import Cursor
from nautilus.db.market import series
from nautilus.db.rows import one
from nautilus.spans import Span, Spans

AT_ONCE = 50_000
"""Bars of a series that go in one transaction, under its lock: a second or so, then its writer has a turn."""


def forget_bars(
    database: Database,
    series_id: int,
    limit: int,
    *,
    stopped: Callable[[], bool] = lambda: False,
    at_once: int = AT_ONCE,
) -> int:
    """Forget the bars of a series before `limit`, the oldest first, each part in a transaction of its own; returns how many.
    Between two the writer of the series has its turn."""
    total, last = 0, False
    while not last and not stopped():
        with database.transaction() as cursor:
            gone, last = _oldest_bars(cursor, series_id, limit, at_once)
        total += gone
    return total


def _oldest_bars(cursor: Cursor, series_id: int, limit: int, at_once: int) -> tuple[int, bool]:
    """Forget the oldest bars of a series before `limit`, and say so: the range becomes `unavailable: retention`.

    Returns how many were forgotten, and whether none is left before `limit`.
    """
    row = series.by_id(cursor, series_id, lock=True)
    before = row.timeframe.floor(limit)
    table = table_of(row.timeframe)
    first, following = _ends(cursor, table, row.id, before=before, count=at_once)
    upto = before if following is None else following
    span = _forgotten(cursor, row, first, upto)
    if span is None:
        return 0, True
    gone = 0
    if first is not None:
        timescale.lift_limits(cursor)
        cursor.execute(f"DELETE FROM {table} WHERE series_id = %s AND ts >= %s AND ts < %s", (series_id, first, upto))
        gone = int(cursor.rowcount)
    note = Note(span, CoverageState.UNAVAILABLE, FORGOTTEN, None, status.market_now(cursor))
    series.apply_changes(cursor, row, noted=[note])
    if first is not None:
        series.removed(cursor, row, (first, upto))
    return gone, following is None


class _Ends(NamedTuple):
    first: int | None
    following: int | None


def _ends(cursor: Cursor, table: str, series_id: int, *, before: int, count: int) -> _Ends:
    """The ts of the first bar of a series before a stamp, and of the one that comes `count` later; None: there is none."""
    oldest = f"SELECT ts FROM {table} WHERE series_id = %s AND ts < %s ORDER BY ts"
    cursor.execute(
        f"SELECT ({oldest} LIMIT 1) AS first, ({oldest} OFFSET %s LIMIT 1) AS following",
        (series_id, before, series_id, before, count),
    )
    return one(cursor, _Ends)


def _forgotten(cursor: Cursor, row: series.Series, first: int | None, before: int) -> Span | None:
    """From the first thing known of the series, an earlier note of this kind included, to `before`; None: nothing new.

    first: the ts of its first bar before that.
    """
    known = row.covered & Spans.of(series.ALL_TIME[0], before)
    if first is None and not known:
        return None
    starts = [start for start, _ in known] + ([first] if first is not None else [])
    notes = series.notes(cursor, row.id, (series.ALL_TIME[0], before))
    starts += [note.span[0] for note in notes if note.reason == FORGOTTEN]
    return min(starts), before
