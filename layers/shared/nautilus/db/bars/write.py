"""Writing and reading bars: COPY in, text out. Which timeframe lives in which table is known here alone."""

import io
import struct
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import starmap
from operator import itemgetter
from typing import NamedTuple

from nautilus.clock import NS_PER_S
from nautilus.db.connection import UniqueViolation
from nautilus.db.cursor import Cursor
from nautilus.db.rows import every, scalars
from nautilus.market.bar import Bar
from nautilus.market.timeframes import Timeframe
from nautilus.spans import Span, Spans

_COLUMNS = "series_id, ts, open, high, low, close, volume, vwap, trades"
_VALUES = "open, high, low, close, volume, vwap, trades"
_HEADER = b"PGCOPY\n\xff\r\n\0" + b"\0" * 8
_TRAILER = b"\xff\xff"
_FULL_ROW = struct.Struct("!h ii iq id id id id id id ii")
_FULL_VALUES = struct.Struct("!2x 4x4x 4xq 4xd 4xd 4xd 4xd 4xd 4xd 4xi")
"""The same with room for what is alike in every row: the number of fields, their lengths, the series."""
_ALIKE = [(at, n) for at, n in enumerate(_FULL_ROW.pack(9, 4, 0, 8, 0, 8, 0, 8, 0, 8, 0, 8, 0, 8, 0, 8, 0, 4, 0)) if n]
"""Where in a row without NULL which bytes stand, whatever its values; zeros left out."""
_SERIES_AT, _TS_AT = 6, 14
_QUOTE_ROW = struct.Struct("!h ii iq id id id id i i i")
_PRICES = struct.Struct("!h ii iq id id id id")
_FLOAT = struct.Struct("!id")
_INT = struct.Struct("!ii")
_LONG = struct.Struct("!iq")
_NULL = struct.pack("!i", -1)
_NO_BAR = struct.Struct("!h ii iq iiiiiii")
_ELEVEN = struct.pack("!h", 11)
_LENGTH = struct.Struct("!i")
_TS = struct.Struct("!q")
_STAGE = "bar_stage"
_STEADY = "LOCK TABLE store IN ACCESS SHARE MODE;"
"""Until the transaction ends nobody moves rows into columns, as COPY takes its snapshot before it is planned
(nautilus/db/connection.py)."""
_SCATTERED = 16
"""More separate runs of new bars than this among old ones are written down bar by bar, not as ranges."""


def table_of(timeframe: Timeframe) -> str:
    """The table that holds the bars of a timeframe."""
    if timeframe.small:
        return "bars_fine"
    return "bars_minute" if timeframe.step_ns <= 1800 * NS_PER_S else "bars_coarse"


class Written(NamedTuple):
    """What one write did: how many bars were new, changed, or already there; `added` holds ranges that were empty."""

    new: int = 0
    revised: int = 0
    same: int = 0
    added: Spans = Spans()

    @property
    def changed(self) -> bool:
        return bool(self.new or self.revised)


def write(
    cursor: Cursor,
    series_id: int,
    timeframe: Timeframe,
    bars: Sequence[Bar],
    *,
    version: int,
    request_id: int | None,
    likely_stored: bool = True,
) -> Written:
    """Store bars (sorted by ts, no duplicates) under the series' row lock, as its version `version`.

    likely_stored: False where nothing is covered; what is stored there is then read only after COPY has met a bar.
    What is there comes by binary COPY and is compared as bytes, the digits that IB sent: what is the same is not
    written. What lies before the first or after the last bar that is there goes straight into the table by binary COPY.
    The rest goes through a temporary table and one upsert; the old values, or the fact that there was no bar, go to
    bar_revisions.
    """
    if not bars:
        return Written()
    table, data = table_of(timeframe), _encode(series_id, bars)
    old: Mapping[int, bytes] = {}
    if likely_stored:
        stored = _stored(cursor, table, series_id, bars)
        if stored == data:
            return Written(same=len(bars))
        old = _decode(stored)
    straight, rest = _split(bars, old)
    added = Spans((part[0].ts, part[-1].ts + 1) for part in straight)
    if straight:
        try:
            if rest:
                data = _encode(series_id, [bar for part in straight for bar in part])
            _copy(cursor, table, _COLUMNS, data, before=f"{_STEADY} SAVEPOINT copy; ")
        except UniqueViolation:
            # A bar is stored where none was expected: read what is there, and leave the rest to the upsert.
            cursor.execute("ROLLBACK TO SAVEPOINT copy")
            old = _decode(_stored(cursor, table, series_id, bars))
            added, rest = Spans(), bars
    fresh = len(bars) - len(rest)
    if not rest:
        return Written(new=fresh, added=added)
    rows = _decode(_encode(series_id, rest))
    mixed = _upsert(cursor, table, series_id, rows=rows, old=old, version=version, request_id=request_id)
    return Written(new=fresh + mixed.new, revised=mixed.revised, same=mixed.same, added=added | mixed.added)


def _split(bars: Sequence[Bar], old: Mapping[int, bytes]) -> tuple[list[Sequence[Bar]], Sequence[Bar]]:
    """The parts before the first and after the last bar that is there, and what lies between."""
    if not old:
        return [bars], []
    low = bisect_left(bars, min(old), key=itemgetter(0))
    high = bisect_right(bars, max(old), key=itemgetter(0))
    return [part for part in (bars[:low], bars[high:]) if part], bars[low:high]


def _upsert(
    cursor: Cursor,
    table: str,
    series_id: int,
    *,
    rows: Mapping[int, bytes],
    old: Mapping[int, bytes],
    version: int,
    request_id: int | None,
) -> Written:
    """Write what differs of `rows` from `old` (ts -> the row's bytes), and keep what it replaces."""
    staged = {ts: row for ts, row in rows.items() if old.get(ts) != row}
    changed = [ts for ts in staged if ts in old]
    added, alone = _runs(list(rows), list(old))
    cause = _LONG.pack(8, version) + (_NULL if request_id is None else _LONG.pack(8, request_id))
    replaced = [old[ts] for ts in changed] + [_NO_BAR.pack(9, 4, series_id, 8, ts, *[-1] * 7) for ts in alone]
    if replaced:
        columns = f"{_COLUMNS}, until_version, request_id"
        _copy(cursor, "bar_revisions", columns, _framed(_ELEVEN + row[2:] + cause for row in replaced))
    if staged:
        cursor.execute(
            f"CREATE TEMPORARY TABLE IF NOT EXISTS {_STAGE} (LIKE bars_minute) ON COMMIT DELETE ROWS;"
            f" DELETE FROM {_STAGE}"
        )
        _copy(cursor, _STAGE, _COLUMNS, _framed(staged.values()))
        values = ", ".join(f"excluded.{name}" for name in _VALUES.split(", "))
        cursor.execute(
            f"INSERT INTO {table} ({_COLUMNS}) SELECT {_COLUMNS} FROM {_STAGE}"
            f" ON CONFLICT (series_id, ts) DO UPDATE SET ({_VALUES}) = ROW({values})"
        )
    return Written(new=len(staged) - len(changed), revised=len(changed), same=len(rows) - len(staged), added=added)


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


def _copy(cursor: Cursor, table: str, columns: str, data: bytes, *, before: str = "") -> None:
    statement = f"{before}COPY {table} ({columns}) FROM STDIN (FORMAT binary)"
    cursor.copy_expert(statement, io.BytesIO(data), size=len(data))


def _stored(cursor: Cursor, table: str, series_id: int, bars: Sequence[Bar]) -> bytes:
    """What is there between the first and the last of these bars, in COPY's binary format, in order of time."""
    out = io.BytesIO()
    cursor.copy_expert(
        f"{_STEADY} COPY (SELECT {_COLUMNS} FROM {table} WHERE series_id = {series_id:d}"
        f" AND ts BETWEEN {bars[0].ts:d} AND {bars[-1].ts:d} ORDER BY ts) TO STDOUT (FORMAT binary)",
        out,
    )
    return out.getvalue()


def _framed(rows: Iterable[bytes | bytearray]) -> bytes:
    return b"".join((_HEADER, *rows, _TRAILER))


def _encode(series_id: int, bars: Sequence[Bar]) -> bytes:
    """Bars in PostgreSQL's binary COPY format; of each row a field count, then length and value of each, -1 for NULL."""
    try:
        rows = bytearray(b"".join(starmap(_FULL_VALUES.pack, bars)))
    except struct.error:  # some value is lacking
        return _framed(_row(series_id, bar) for bar in bars)
    for at, byte in (*_ALIKE, *enumerate(series_id.to_bytes(4, "big"), _SERIES_AT)):
        rows[at :: _FULL_ROW.size] = bytes((byte,)) * len(bars)
    return _framed((rows,))


def _row(series_id: int, bar: Bar) -> bytes:
    ts, o, h, lo, c, volume, vwap, trades = bar
    if volume is not None and vwap is not None and trades is not None:
        return _FULL_ROW.pack(9, 4, series_id, 8, ts, 8, o, 8, h, 8, lo, 8, c, 8, volume, 8, vwap, 4, trades)
    if volume is None and vwap is None and trades is None:
        return _QUOTE_ROW.pack(9, 4, series_id, 8, ts, 8, o, 8, h, 8, lo, 8, c, -1, -1, -1)
    return (
        _PRICES.pack(9, 4, series_id, 8, ts, 8, o, 8, h, 8, lo, 8, c)
        + (_NULL if volume is None else _FLOAT.pack(8, volume))
        + (_NULL if vwap is None else _FLOAT.pack(8, vwap))
        + (_NULL if trades is None else _INT.pack(4, trades))
    )


def _decode(data: bytes) -> dict[int, bytes]:
    """The inverse of `_encode`, of a whole COPY: ts -> the row's bytes."""
    at, end, size = len(_HEADER), len(data) - len(_TRAILER), _FULL_ROW.size
    if all(data[at + position : end : size] == bytes((byte,)) * -(-(end - at) // size) for position, byte in _ALIKE):
        # The lengths in each row say where the next begins: none lacks a value.
        return {_TS.unpack_from(data, row + _TS_AT)[0]: data[row : row + size] for row in range(at, end, size)}
    rows = {}
    while at < end:
        over = at + _PRICES.size
        for _ in range(3):  # volume, vwap, trades
            over += 4 + max(0, _LENGTH.unpack_from(data, over)[0])
        rows[_TS.unpack_from(data, at + _TS_AT)[0]] = data[at:over]
        at = over
    return rows


def read(cursor: Cursor, series_id: int, timeframe: Timeframe, stamps: Sequence[int]) -> dict[int, Bar]:
    """The stored bars at these ts."""
    if not stamps:
        return {}
    cursor.execute(
        f"SELECT ts, {_VALUES} FROM {table_of(timeframe)} WHERE series_id = %s AND ts BETWEEN %s AND %s AND ts = ANY(%s)",
        (series_id, min(stamps), max(stamps), list(stamps)),
    )
    return {bar.ts: bar for bar in every(cursor, Bar)}


def first(cursor: Cursor, series_id: int, timeframe: Timeframe, *, span: Span, limit: int) -> list[Bar]:
    """The first bars with ts in `span`, at most `limit`, ascending."""
    cursor.execute(
        f"SELECT ts, {_VALUES} FROM {table_of(timeframe)} WHERE series_id = %s AND ts >= %s AND ts < %s"
        " ORDER BY ts LIMIT %s",
        (series_id, *span, limit),
    )
    return every(cursor, Bar)


def stamps(cursor: Cursor, series_id: int, timeframe: Timeframe, *, start: int, end: int) -> list[int]:
    """The ts of all bars in [start, end), ascending."""
    cursor.execute(
        f"SELECT ts FROM {table_of(timeframe)} WHERE series_id = %s AND ts >= %s AND ts < %s ORDER BY ts",
        (series_id, start, end),
    )
    return scalars(cursor, int)


def counts(cursor: Cursor, series_id: int, timeframe: Timeframe, spans: Sequence[Span]) -> list[int]:
    """How many bars lie in each of these ranges."""
    if not spans:
        return []
    starts, ends = [span[0] for span in spans], [span[1] for span in spans]
    cursor.execute(
        "SELECT (SELECT count(*) FROM " + table_of(timeframe) + " WHERE series_id = %s AND ts >= lo AND ts < hi"
        "  AND ts >= %s AND ts < %s)"  # numbers, as TimescaleDB plans by them
        " FROM unnest(%s::bigint[], %s::bigint[]) WITH ORDINALITY AS r(lo, hi, n) ORDER BY n",
        (series_id, min(starts), max(ends), starts, ends),
    )
    return scalars(cursor, int)
