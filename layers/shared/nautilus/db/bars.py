"""Writing and reading bars: COPY in, text out. Which timeframe lives in which table is known here alone."""

import io
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from nautilus.bars import Bar
from nautilus.clock import NS_PER_S
from nautilus.db.connection import Cursor, UniqueViolation
from nautilus.spans import Span, Spans
from nautilus.timeframes import Timeframe

_COLUMNS = "series_id, ts, open, high, low, close, volume, vwap, trades"
_VALUES = "open, high, low, close, volume, vwap, trades"
_HEADER = b"PGCOPY\n\xff\r\n\0" + b"\0" * 8
_TRAILER = b"\xff\xff"
_FULL_ROW = struct.Struct("!h ii iq id id id id id id ii")
_QUOTE_ROW = struct.Struct("!h ii iq id id id id i i i")
_PRICES = struct.Struct("!h ii iq id id id id")
_FLOAT = struct.Struct("!id")
_INT = struct.Struct("!ii")
_NULL = struct.pack("!i", -1)
_STAGE = "bar_stage"
_SCATTERED = 16
"""More separate runs of new bars than this among old ones are written down bar by bar, not as ranges."""


def table_of(timeframe: Timeframe) -> str:
    """The table that holds the bars of a timeframe."""
    if timeframe.small:
        return "bars_fine"
    return "bars_minute" if timeframe.step_ns <= 1800 * NS_PER_S else "bars_coarse"


@dataclass(frozen=True, slots=True)
class Written:
    """What one write did: how many bars were new, changed, or already there; `added` holds ranges that were empty."""

    new: int = 0
    revised: int = 0
    same: int = 0
    added: Spans = Spans()  # noqa: RUF009  immutable

    @property
    def changed(self) -> bool:
        return bool(self.new or self.revised)


def write(
    cursor: Cursor, series_id: int, timeframe: Timeframe, bars: Sequence[Bar], *, version: int, request_id: int | None
) -> Written:
    """Store bars (sorted by ts, no duplicates) under the series' row lock, as its version `version`.

    What lies before the first or after the last bar that is there goes straight into the table by binary COPY. The rest
    goes through a temporary table and one upsert that writes only what differs; the old values, or the fact that there
    was no bar, go to bar_revisions.
    """
    if not bars:
        return Written()
    table = table_of(timeframe)
    first, last = bars[0].ts, bars[-1].ts
    cursor.execute(f"SELECT ts FROM {table} WHERE series_id = %s AND ts BETWEEN %s AND %s", (series_id, first, last))
    there = sorted(row[0] for row in cursor.fetchall())
    low, high = (there[0], there[-1]) if there else (last + 1, last + 1)
    before, after = [b for b in bars if b.ts < low], [b for b in bars if b.ts > high]
    mixed = [b for b in bars if low <= b.ts <= high]
    fresh = before + after
    try:
        cursor.execute("SAVEPOINT straight")
        if fresh:
            _copy(cursor, table, _encode(series_id, fresh))
        cursor.execute("RELEASE SAVEPOINT straight")
    except UniqueViolation:
        # Somebody wrote without the series' lock. Staging sorts it out.
        cursor.execute("ROLLBACK TO SAVEPOINT straight")
        return _upsert(cursor, table, series_id, bars, version=version, request_id=request_id, there=there)
    added = Spans((part[0].ts, part[-1].ts + 1) for part in (before, after) if part)
    if not mixed:
        return Written(new=len(fresh), added=added)
    rest = _upsert(cursor, table, series_id, mixed, version=version, request_id=request_id, there=there)
    return Written(new=len(fresh) + rest.new, revised=rest.revised, same=rest.same, added=added | rest.added)


def _upsert(
    cursor: Cursor,
    table: str,
    series_id: int,
    bars: Sequence[Bar],
    *,
    version: int,
    request_id: int | None,
    there: Sequence[int],
) -> Written:
    cursor.execute(f"CREATE TEMPORARY TABLE IF NOT EXISTS {_STAGE} (LIKE bars_minute) ON COMMIT DELETE ROWS")
    cursor.execute(f"DELETE FROM {_STAGE}")
    _copy(cursor, _STAGE, _encode(series_id, bars))
    first, last = bars[0].ts, bars[-1].ts
    bounds = {"series": series_id, "first": first, "last": last, "version": version, "request": request_id}
    old = ", ".join(f"b.{name}" for name in _VALUES.split(", "))
    new = ", ".join(f"s.{name}" for name in _VALUES.split(", "))
    join = (
        f"{_STAGE} s JOIN {table} b ON b.series_id = %(series)s AND b.ts = s.ts AND b.ts BETWEEN %(first)s AND %(last)s"
    )
    cursor.execute(
        f"INSERT INTO bar_revisions (series_id, ts, until_version, {_VALUES}, request_id)"
        f" SELECT %(series)s, b.ts, %(version)s, {old}, %(request)s FROM {join}"
        f" WHERE ({old}) IS DISTINCT FROM ({new})",
        bounds,
    )
    revised = cursor.rowcount
    added, alone = _runs([bar.ts for bar in bars], there)
    if alone:
        cursor.execute(
            "INSERT INTO bar_revisions (series_id, ts, until_version, request_id)"
            " SELECT %(series)s, unnest(%(alone)s::bigint[]), %(version)s, %(request)s",
            bounds | {"alone": alone},
        )
    excluded = ", ".join(f"excluded.{name}" for name in _VALUES.split(", "))
    cursor.execute(
        f"INSERT INTO {table} AS b ({_COLUMNS}) SELECT {_COLUMNS} FROM {_STAGE} ORDER BY ts"
        f" ON CONFLICT (series_id, ts) DO UPDATE SET ({_VALUES}) = ROW({excluded})"
        f" WHERE ({old}) IS DISTINCT FROM ({excluded})"
    )
    written = cursor.rowcount
    return Written(new=written - revised, revised=revised, same=len(bars) - written, added=added)


def _runs(stamps: Sequence[int], there: Sequence[int]) -> tuple[Spans, list[int]]:
    """Split what is new into ranges that held no bar, and, when those would be too many, single bars."""
    old = set(there)
    runs: list[tuple[int, int]] = []
    open_run = False
    for ts in sorted(old.union(stamps)):
        if ts in old:
            open_run = False
        elif open_run:
            runs[-1] = (runs[-1][0], ts + 1)
        else:
            runs.append((ts, ts + 1))
            open_run = True
    if len(runs) <= _SCATTERED:
        return Spans(runs), []
    return Spans(), [ts for ts in stamps if ts not in old]


def _copy(cursor: Cursor, table: str, data: bytes) -> None:
    cursor.copy_expert(f"COPY {table} ({_COLUMNS}) FROM STDIN (FORMAT binary)", io.BytesIO(data))


def _encode(series_id: int, bars: Sequence[Bar]) -> bytes:
    """PostgreSQL's binary COPY format: per row a field count, then length and value of each field, -1 for NULL."""
    parts = [_HEADER]
    full, quote = _FULL_ROW.pack, _QUOTE_ROW.pack
    for ts, o, h, lo, c, volume, vwap, trades in bars:
        if volume is not None and vwap is not None and trades is not None:
            parts.append(full(9, 4, series_id, 8, ts, 8, o, 8, h, 8, lo, 8, c, 8, volume, 8, vwap, 4, trades))
        elif volume is None and vwap is None and trades is None:
            parts.append(quote(9, 4, series_id, 8, ts, 8, o, 8, h, 8, lo, 8, c, -1, -1, -1))
        else:
            parts.append(_PRICES.pack(9, 4, series_id, 8, ts, 8, o, 8, h, 8, lo, 8, c))
            parts.append(_NULL if volume is None else _FLOAT.pack(8, volume))
            parts.append(_NULL if vwap is None else _FLOAT.pack(8, vwap))
            parts.append(_NULL if trades is None else _INT.pack(4, trades))
    parts.append(_TRAILER)
    return b"".join(parts)


def read(cursor: Cursor, series_id: int, timeframe: Timeframe, stamps: Sequence[int]) -> dict[int, Bar]:
    """The stored bars at these ts."""
    if not stamps:
        return {}
    cursor.execute(
        f"SELECT ts, {_VALUES} FROM {table_of(timeframe)} WHERE series_id = %s AND ts BETWEEN %s AND %s AND ts = ANY(%s)",
        (series_id, min(stamps), max(stamps), list(stamps)),
    )
    return {row[0]: Bar(*row) for row in cursor.fetchall()}


def stamps(cursor: Cursor, series_id: int, timeframe: Timeframe, start: int, end: int) -> list[int]:
    """The ts of all bars in [start, end), ascending."""
    cursor.execute(
        f"SELECT ts FROM {table_of(timeframe)} WHERE series_id = %s AND ts >= %s AND ts < %s ORDER BY ts",
        (series_id, start, end),
    )
    return [row[0] for row in cursor.fetchall()]


def counts(cursor: Cursor, series_id: int, timeframe: Timeframe, spans: Sequence[Span]) -> list[int]:
    """How many bars lie in each of these stretches."""
    if not spans:
        return []
    cursor.execute(
        "SELECT (SELECT count(*) FROM " + table_of(timeframe) + " WHERE series_id = %s AND ts >= lo AND ts < hi)"
        " FROM unnest(%s::bigint[], %s::bigint[]) WITH ORDINALITY AS r(lo, hi, n) ORDER BY n",
        (series_id, [span[0] for span in spans], [span[1] for span in spans]),
    )
    return [row[0] for row in cursor.fetchall()]
