"""Reading bars as text: PostgreSQL writes the candles, Python moves bytes; no row becomes a Python object.

A page is cut into stretches of time and each is one aggregate: text grown in small pieces and sent while the next is
made costs a third less than one large string. `concat` beats `||` (no intermediate strings) and to_char is left out of
the loop (it alone costs as much as two prices): benchmarks/reading.py holds the numbers.
"""

import io
import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from nautilus.clock import NS_PER_DAY, day_of
from nautilus.db.bars import table_of
from nautilus.db.connection import Cursor, multirange, spans_of
from nautilus.formats import Format
from nautilus.grid import Slots
from nautilus.spans import Span, Spans
from nautilus.timeframes import Timeframe

_COLUMNS = ("open", "high", "low", "close", "volume", "vwap", "trades")
_STRETCH = 640
"""Bars per stretch, about 64 KiB of JSON."""
_MOST_STRETCHES = 96
_MOST_DAYS = 8_000
"""Up to so many days (22 years) the dates are looked up in a list sent along; beyond, each bar's is computed."""
_MINUTES = ",".join(f"{m // 60:02d}:{m % 60:02d}" for m in range(1440))
_SECONDS = ",".join(f"{s:02d}" for s in range(60))
_NULLABLE = ("volume", "vwap", "trades", "ts_open", "ts_close")


@dataclass(frozen=True, slots=True)
class Source:
    """Where the candles of a page come from.

    series_id: the stored series, of timeframe `stored`. later: None for the current state; else the version to read it as
    of, with what was `added` after it. grid: for derived candles the slots to aggregate to.
    """

    series_id: int
    stored: Timeframe
    as_of: int | None = None
    added: Spans = field(default_factory=Spans)
    grid: Slots | None = None


@dataclass(frozen=True, slots=True)
class Style:
    """How candles are written: fields in order, in which form, with which symbol in front, newest first or last."""

    form: Format
    fields: tuple[str, ...]
    timeframe: Timeframe
    symbol: str | None = None
    descending: bool = False
    slots: Slots | None = None
    """Opens and closes, when ts_open or ts_close is among the fields."""


@dataclass(frozen=True, slots=True)
class Text:
    """Candles as text, ready to be put into a body; the first and last are those of time."""

    rows: bytes = b""
    count: int = 0
    first_ts: int | None = None
    last_ts: int | None = None


def added_after(cursor: Cursor, series_id: int, version: int) -> Spans:
    """Ranges that held no bar at `version` and got some later."""
    cursor.execute(
        "SELECT range_agg(r)::text FROM series_changes, unnest(added) AS r WHERE series_id = %s AND version > %s",
        (series_id, version),
    )
    return spans_of(cursor.fetchone()[0])


def text(cursor: Cursor, source: Source, span: Span, style: Style, expected: int) -> Text:
    """The candles with a stamp in [start, end). expected: about how many, to cut the work into stretches."""
    if span[0] >= span[1]:
        return Text()
    stretches = _stretches(span, expected) if source.grid is None else [span]
    if style.descending:
        stretches.reverse()
    rows = _rows(source, "r.lo", "r.hi", style.slots)
    writer = _Columns(style, span) if style.form is Format.COLUMNS else _Objects(style, span)
    values = ",".join(f"({n},{lo}::int8,{hi}::int8)" for n, (lo, hi) in enumerate(stretches))
    parts = _copy(
        cursor,
        f"SELECT r.n, s.* FROM (VALUES {values}) AS r(n, lo, hi) CROSS JOIN LATERAL"
        f" (SELECT count(*), min(ts), max(ts), {writer.selected} FROM ({rows}) AS b) AS s ORDER BY r.n",
    )
    found = [part for part in parts if _int(part[1])]
    if not found:
        return Text()
    return Text(
        writer.join(found),
        sum(_int(part[1]) for part in found),
        min(_int(part[2]) for part in found),
        max(_int(part[3]) for part in found),
    )


def joined(form: Format, *texts: Text) -> Text:
    """Texts of rows one after the other; column-wise ones cannot be joined."""
    there = [text for text in texts if text.count]
    return Text(
        (b"," if form is Format.JSON else b"").join(text.rows for text in there),
        sum(text.count for text in there),
        min((text.first_ts for text in there if text.first_ts is not None), default=None),
        max((text.last_ts for text in there if text.last_ts is not None), default=None),
    )


def boundary(cursor: Cursor, source: Source, span: Span, number: int, *, backward: bool) -> int | None:
    """Where to cut [start, end) so that exactly `number` candles lie on the near side; None when there are no more."""
    rows = _rows(source, str(int(span[0])), str(int(span[1])), None)
    cursor.execute(
        f"SELECT ts FROM ({rows}) AS b ORDER BY ts {'DESC' if backward else 'ASC'} OFFSET {int(number)} LIMIT 1"
    )
    row = cursor.fetchone()
    if row is None:
        return None
    return int(row[0]) + 1 if backward else int(row[0])


def any_in(cursor: Cursor, source: Source, span: Span) -> bool:
    """True when there is a candle in [start, end)."""
    return span[0] < span[1] and boundary(cursor, source, span, 0, backward=False) is not None


# ---- which rows ------------------------------------------------------------------------------------------------------


def _rows(source: Source, low: str, high: str, slots: Slots | None) -> str:
    """The query of the candles in [low, high), both SQL expressions: as stored, or as they were, or aggregated."""
    found = _derived(source, low, high) if source.grid is not None else _stored(source, low, high)
    if slots is None:
        return found
    return (
        f"SELECT b.*, slot.ts_open, slot.ts_close FROM ({found}) AS b LEFT JOIN unnest({_array(slots.starts)},"
        f" {_array(slots.opens)}, {_array(slots.closes)}) AS slot(start, ts_open, ts_close) ON slot.start = b.ts"
    )


def _stored(source: Source, low: str, high: str) -> str:
    table, series = table_of(source.stored), int(source.series_id)
    if source.as_of is None:
        return f"SELECT * FROM {table} WHERE series_id = {series} AND ts >= {low} AND ts < {high}"
    # Each bar with the values of its earliest later revision; without prices there, it did not exist.
    values = ", ".join(f"CASE WHEN o.ts IS NULL THEN b.{name} ELSE o.{name} END AS {name}" for name in _COLUMNS)
    added = f"AND NOT b.ts <@ '{multirange(source.added)}'::int8multirange" if source.added else ""
    return (
        f"SELECT b.ts, {values} FROM {table} b LEFT JOIN LATERAL (SELECT * FROM bar_revisions r"
        f"  WHERE r.series_id = {series} AND r.ts = b.ts AND r.until_version > {int(source.as_of)}"
        f"  ORDER BY r.until_version LIMIT 1) o ON true"
        f" WHERE b.series_id = {series} AND b.ts >= {low} AND b.ts < {high} {added}"
        f" AND (o.ts IS NULL OR o.open IS NOT NULL)"
    )


def _derived(source: Source, low: str, high: str) -> str:
    """Bars of a finer series, aggregated to the slots of `grid` whose stamps lie in [low, high).

    Sums run in the order of time, so that the same bars always give the same digits.
    """
    grid = source.grid or Slots()
    if not grid.starts:
        return "SELECT NULL::int8 AS ts, " + ", ".join(f"NULL::float8 AS {name}" for name in _COLUMNS) + " WHERE false"
    starts, ends = _array(grid.starts), _array(grid.closes)
    # Stamps of slots are on the axis of the source too: labels for days, opens for intraday bars.
    finer = _stored(source, str(int(grid.starts[0])), str(int(grid.closes[-1])))
    every = "bool_and(volume IS NOT NULL{more})"
    return (
        f"SELECT ({starts})[slot] AS ts, (array_agg(open ORDER BY ts))[1] AS open, max(high) AS high, min(low) AS low,"
        f" (array_agg(close ORDER BY ts))[count(*)::int] AS close,"
        f" CASE WHEN {every.format(more='')} THEN sum(volume ORDER BY ts) END AS volume,"
        f" CASE WHEN {every.format(more=' AND vwap IS NOT NULL')} AND sum(volume) > 0"
        f"  THEN sum(vwap * volume ORDER BY ts) / sum(volume ORDER BY ts) END AS vwap,"
        f" CASE WHEN bool_and(trades IS NOT NULL) THEN sum(trades) END AS trades"
        f" FROM (SELECT f.*, width_bucket(f.ts, {starts}) AS slot FROM ({finer}) AS f) AS g"
        f" WHERE slot > 0 AND ts < ({ends})[slot] AND ({starts})[slot] >= {low} AND ({starts})[slot] < {high}"
        f" GROUP BY slot"
    )


def _array(numbers: Sequence[int]) -> str:
    return "'{" + ",".join(str(int(n)) for n in numbers) + "}'::int8[]"


def _stretches(span: Span, expected: int) -> list[Span]:
    parts = max(1, min(_MOST_STRETCHES, expected // _STRETCH, span[1] - span[0]))
    cuts = [span[0] + (span[1] - span[0]) * n // parts for n in range(parts + 1)]
    return list(pairwise(cuts))


# ---- writing them ----------------------------------------------------------------------------------------------------


class _Objects:
    """Candles as JSON objects, or lines: one aggregate of them all, and how many of each nullable field are there."""

    def __init__(self, style: Style, span: Span) -> None:
        self._form = style.form
        before, values, after = _merged(_row(style, span))
        between = "," if style.form is Format.JSON else "\n"
        self._before, self._after = before.encode(), after.encode()
        self._between = f"{after}{between}{before}".encode()
        counts = "".join(f", count({name})" for name in style.fields if name in _NULLABLE)
        order = "DESC" if style.descending else "ASC"
        self.selected = (
            f"string_agg(concat({', '.join(values)}), {_quoted(self._between.decode())} ORDER BY ts {order}){counts}"
        )

    def join(self, parts: list[list[bytes | None]]) -> bytes:
        rows = self._between.join(part[4] or b"" for part in parts)
        whole = b"".join([self._before, rows, self._after, b"" if self._form is Format.JSON else b"\n"])
        if self._form is Format.CSV or all(_int(number) == _int(part[1]) for part in parts for number in part[5:]):
            return whole
        # concat writes nothing for a NULL, which CSV wants and JSON does not. Nothing else looks like a bare key.
        return whole.replace(b'":,', b'":null,').replace(b'":}', b'":null}')


class _Columns:
    """Candles as one JSON array per field."""

    def __init__(self, style: Style, span: Span) -> None:
        self._fields = style.fields
        order = "DESC" if style.descending else "ASC"
        self.selected = ", ".join(
            f"string_agg({value}, {_quoted(between)} ORDER BY ts {order})"
            for value, between in (_column(name, style, span) for name in style.fields)
        )

    def join(self, parts: list[list[bytes | None]]) -> bytes:
        columns = []
        for n, name in enumerate(self._fields):
            quote = b'"' if name == "time" else b""
            values = (quote + b"," + quote).join(part[4 + n] or b"" for part in parts)
            columns.append(b'"%s":[%s%s%s]' % (name.encode(), quote, values, quote))
        return b",".join(columns)


_Piece = tuple[bool, str]
"""(True, an SQL value) or (False, text as it stands)."""


def _row(style: Style, span: Span) -> list[_Piece]:
    """What one candle is made of."""
    as_json = style.form is not Format.CSV
    pieces: list[_Piece] = []
    if style.symbol is not None:
        pieces.append((False, '{"symbol":' + json.dumps(style.symbol) if as_json else style.symbol))
    for name in style.fields:
        comma = "," if pieces else "{" if as_json else ""
        quote = '"' if as_json and name == "time" else ""
        pieces.append((False, f'{comma}"{name}":{quote}' if as_json else comma))
        pieces += _value(name, style, span)
        pieces.append((False, quote))
    pieces.append((False, "}" if as_json else ""))
    return pieces


def _merged(pieces: list[_Piece]) -> tuple[str, list[str], str]:
    """The text before the first SQL value, what is between as SQL (few and long texts: each costs), the text after."""
    merged: list[_Piece] = [(False, "")]
    for piece in pieces:
        if piece[0] or merged[-1][0]:
            merged.append(piece)
        else:
            merged[-1] = (False, merged[-1][1] + piece[1])
    return merged[0][1], _sql(merged[1:-1]), merged[-1][1]


def _column(name: str, style: Style, span: Span) -> tuple[str, str]:
    """The SQL text of a field's value, and what stands between two values."""
    if name == "time":
        return f"concat({', '.join(_sql(_value(name, style, span)))})", '","'
    return (f"coalesce({name}::text, 'null')" if name in _NULLABLE else f"{name}::text"), ","


def _value(name: str, style: Style, span: Span) -> list[_Piece]:
    if name != "time":
        return [(True, name)]
    if not style.timeframe.intraday or span[1] - span[0] > _MOST_DAYS * NS_PER_DAY:
        moment = "timestamp '1970-01-01' + make_interval(secs => ts / 1000000000)"
        shape = 'YYYYMMDD  HH24:MI:SS"Z"' if style.timeframe.intraday else "YYYYMMDD"
        return [(True, f"to_char({moment}, '{shape}')")]
    first = span[0] // NS_PER_DAY
    days = ",".join(day_of(n * NS_PER_DAY).strftime("%Y%m%d") for n in range(first, span[1] // NS_PER_DAY + 1))
    seconds = (True, f"('{{{_SECONDS}}}'::name[])[ts / 1000000000 % 60 + 1]")
    return [
        (True, f"('{{{days}}}'::int4[])[ts / {NS_PER_DAY} - {first - 1}]"),
        (False, "  "),
        (True, f"('{{{_MINUTES}}}'::name[])[ts / 60000000000 % 1440 + 1]"),
        (False, ":"),
        seconds if style.timeframe.small else (False, "00"),
        (False, "Z"),
    ]


def _sql(pieces: Sequence[_Piece]) -> list[str]:
    return [text if is_sql else _quoted(text) for is_sql, text in pieces]


def _quoted(piece: str) -> str:
    """A text as an SQL literal: names of fields and symbols that IB gave, nothing a caller wrote."""
    return "'" + piece.replace("'", "''") + "'"


# ---- moving bytes ----------------------------------------------------------------------------------------------------


def _copy(cursor: Cursor, query: str) -> list[list[bytes | None]]:
    """The rows of a query, each value as PostgreSQL's binary bytes: no decoding, no encoding, no copy per candle."""
    out = io.BytesIO()
    cursor.copy_expert(f"COPY ({query}) TO STDOUT (FORMAT binary)", out)
    data = out.getbuffer()
    rows = []
    at = 11 + 4 + 4  # signature, flags, length of the header's extension
    while (count := struct.unpack_from("!h", data, at)[0]) >= 0:
        at += 2
        row: list[bytes | None] = []
        for _ in range(count):
            (length,) = struct.unpack_from("!i", data, at)
            at += 4
            row.append(bytes(data[at : at + length]) if length >= 0 else None)
            at += max(0, length)
        rows.append(row)
    return rows


def _int(value: bytes | None) -> int:
    return int.from_bytes(value or b"", "big", signed=True)
