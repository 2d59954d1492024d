"""Bars for runs: of a range as they were at a version of their series."""

from typing import NamedTuple

from nautilus.db.bars.bar_source import BarSource, added_after, select
from nautilus.db.cursor import Cursor
from nautilus.db.market import series
from nautilus.db.rows import every, one
from nautilus.market.timeframes import Timeframe
from nautilus.spans import Span
from nautilus.strategies.columns import StoredBar


class BarCount(NamedTuple):
    """How many bars there are, and how many decimals their prices have at most."""

    bars: int
    decimals: int


def source_at(cursor: Cursor, series_id: int, frame: Timeframe, version: int) -> BarSource:
    """Where the bars of a series are read at a version. Reading the newest one takes no detour."""
    if series.by_id(cursor, series_id).data_version == version:
        return BarSource(series_id, frame)
    return BarSource(series_id, frame, as_of=version, added=added_after(cursor, series_id, version))


def count(cursor: Cursor, source: BarSource, span: Span) -> BarCount:
    decimals = ", ".join(f"scale({name}::numeric)" for name in ("open", "high", "low", "close"))
    cursor.execute(
        f"SELECT count(*) AS bars, coalesce(max(greatest({decimals})), 0) AS decimals"
        f" FROM ({select(source, str(span[0]), str(span[1]))}) AS b"
    )
    return one(cursor, BarCount)


def within(cursor: Cursor, source: BarSource, span: Span) -> list[StoredBar]:
    """The bars with a stamp in [start, end), in order."""
    cursor.execute(
        f"SELECT {', '.join(StoredBar._fields)} FROM ({select(source, str(span[0]), str(span[1]))}) AS b ORDER BY ts"
    )
    return every(cursor, StoredBar)
