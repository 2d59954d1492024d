"""Provisional bars: bars of live streams that history has not confirmed. They never enter the tables of bars.

The table is UNLOGGED: a crash of the server empties it. `live_bars_marker`, emptied with it, and `live_generation`, which a crash
does not take, show that. PostgreSQL refuses to read either UNLOGGED table on a standby: ask the primary.
"""

from collections.abc import Iterable
from typing import NamedTuple

from nautilus.db.cursor import Cursor
from nautilus.db.rows import every, insert_rows, scalar


class ProvisionalBar(NamedTuple):
    """A bar of a series. ts, seen_at: market time in ns, the open of the slot and when the bridge had it.

    volume, trades: None where IB sends none or the unit is not known. state: `forming` or `closed`. partial: parts of the slot
    are missing. source: as in `live_streams`.
    """

    series_id: int
    ts: int
    open: float
    high: float
    low: float
    close: float
    volume: float | None
    trades: int | None
    state: str
    partial: bool
    source: str
    seen_at: int


_TYPES = dict.fromkeys(ProvisionalBar._fields, "float8") | {
    "series_id": "integer",
    "ts": "bigint",
    "trades": "integer",
    "state": "text",
    "partial": "boolean",
    "source": "text",
    "seen_at": "bigint",
}
_CHANGED = ", ".join(f"{name} = excluded.{name}" for name in _TYPES if name not in ("series_id", "ts"))


def put(cursor: Cursor, rows: Iterable[ProvisionalBar]) -> None:
    """Write bars; one of the same slot replaces the one before. Of several of one slot the last is written."""
    latest = {(row.series_id, row.ts): row for row in rows}
    insert_rows(
        cursor,
        "live_bars",
        _TYPES,
        [latest[key] for key in sorted(latest)],
        then=f"ON CONFLICT (series_id, ts) DO UPDATE SET {_CHANGED}",
    )


def remove(cursor: Cursor, series_id: int, start: int, end: int) -> int:
    """Remove the bars of start <= ts < end, as history has answered for them; returns how many there were."""
    cursor.execute("DELETE FROM live_bars WHERE series_id = %s AND ts >= %s AND ts < %s", (series_id, start, end))
    return int(cursor.rowcount)


def remove_forming(cursor: Cursor) -> int:
    """Remove what formed when a bridge ended: nobody continues it. Returns how many there were."""
    cursor.execute("DELETE FROM live_bars WHERE state = 'forming'")
    return int(cursor.rowcount)


def within(cursor: Cursor, series_id: int, start: int, end: int) -> list[ProvisionalBar]:
    """The bars of start <= ts < end, in order. They are all there are only when `is_whole` says so in this transaction."""
    cursor.execute(
        f"SELECT {', '.join(ProvisionalBar._fields)} FROM live_bars WHERE series_id = %s AND ts >= %s AND ts < %s ORDER BY ts",
        (series_id, start, end),
    )
    return every(cursor, ProvisionalBar)


def newest(cursor: Cursor) -> dict[int, ProvisionalBar]:
    """The newest bar of each series that has any."""
    cursor.execute(
        f"SELECT DISTINCT ON (series_id) {', '.join(ProvisionalBar._fields)} FROM live_bars ORDER BY series_id, ts DESC"
    )
    return {row.series_id: row for row in every(cursor, ProvisionalBar)}


def is_whole(cursor: Cursor) -> bool:
    """False when a crash has emptied the table and the bridge has not begun a new generation, or none was ever begun: a bar that
    is not in it may exist all the same."""
    cursor.execute("SELECT EXISTS (SELECT FROM live_bars_marker JOIN live_generation USING (generation))")
    return scalar(cursor, bool)


def begin_generation(cursor: Cursor) -> int:
    """Say that the table is whole from this transaction on; returns the number of the generation. The bridge writes what it holds
    in the same transaction."""
    cursor.execute(
        "INSERT INTO live_generation AS g (generation) VALUES (1)"
        " ON CONFLICT (single) DO UPDATE SET generation = g.generation + 1, since = clock_timestamp() RETURNING generation"
    )
    generation = scalar(cursor, int)
    cursor.execute("DELETE FROM live_bars_marker")
    cursor.execute("INSERT INTO live_bars_marker (generation) VALUES (%s)", (generation,))
    return generation
