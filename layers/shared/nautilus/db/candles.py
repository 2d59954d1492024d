"""Reading bars as text: PostgreSQL writes the candles, Python moves bytes; no row becomes a Python object.

What makes it fast (benchmarks/reading.py holds the numbers). A page is cut into stretches of time and each is one
aggregate: text grown in small pieces, and sent while the next is made, costs a third less than one large string. `concat`
makes no intermediate strings, as `||` does. to_char alone costs as much as two prices: the time of day is looked up in a
list, and where bars are dense a stretch is a day, so that its date is part of the text between two candles. In columns the
times of such a stretch are not asked for at all: mostly they follow from the first stamp and the number of bars.
"""

import io
import json
import struct
from collections.abc import Sequence
from enum import Enum
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from nautilus.clock import NS_PER_DAY, NS_PER_S, day_of
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
_DENSE = 150
"""With so many bars a day, a stretch is a day or part of one."""
_WORTH_A_LIST = 500
"""Fewer candles than this are told their times faster one by one."""
_MOST_DAYS = 8_000
"""Up to so many days (22 years) the dates are looked up in a list sent along; beyond, each bar's is computed."""
_MOST_NAME = 60
"""PostgreSQL's `name`, whose arrays are the fast ones to look up, holds 63 bytes."""
_MINUTE_NS = 60 * NS_PER_S
_DAY_S = 86_400
_DAY = "\x01"
"""Stands in a text for the date of a stretch."""
_TIME_OF_DAY = "\x02"
"""Stands in a text for a bar's time of day, minutes: `14:30`."""
_TO_CHAR = "to_char(timestamp '1970-01-01' + make_interval(secs => ts / 1000000000), '{}')"
_NULLABLE = ("volume", "vwap", "trades", "ts_open", "ts_close")


Chunk = bytes | memoryview
_Sent = memoryview | None
"""A value as PostgreSQL sent it."""


class Source(NamedTuple):
    """Where the candles of a page come from.

    series_id: the stored series, of timeframe `stored`. later: None for the current state; else the version to read it as
    of, with what was `added` after it. grid: for derived candles the slots to aggregate to.
    """

    series_id: int
    stored: Timeframe
    as_of: int | None = None
    added: Spans = Spans()
    grid: Slots | None = None

    @property
    def plain(self) -> bool:
        """True when candles are read as they are stored now."""
        return self.as_of is None and self.grid is None


class Style(NamedTuple):
    """How candles are written: fields in order, in which form, with which symbol in front, newest first or last."""

    form: Format
    fields: tuple[str, ...]
    timeframe: Timeframe
    symbol: str | None = None
    descending: bool = False
    slots: Slots | None = None
    """Opens and closes, when ts_open or ts_close is among the fields."""
    minutes: Span = (0, 1440)
    """Between which minutes of the day, UTC, nearly all bars lie: the shorter the list of times, the faster."""


class Text:
    """Candles as text, ready to be put into a body; first and last in time, of a plain source only told by `edges`.

    columns: the text in chunks, one list per field where the form is column-wise, else a single list of rows.
    """

    def __init__(
        self,
        columns: Sequence[Sequence[Chunk]] = (),
        count: int = 0,
        first_ts: int | None = None,
        last_ts: int | None = None,
    ) -> None:
        self.columns = columns
        self.count = count
        self.first_ts = first_ts
        self.last_ts = last_ts

    def chunks(self, form: Format, fields: Sequence[str]) -> list[Chunk]:
        """The text as it stands in a body, piece by piece."""
        if form is not Format.COLUMNS:
            return [chunk for column in self.columns for chunk in column]
        found: list[Chunk] = []
        for name, column in zip(fields, self.columns, strict=False):
            found += [b'%s"%s":[' % (b"," if found else b"", name.encode()), *column, b"]"]
        return found


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
    if style.form is Format.CSV:
        return _lines(cursor, source, span, style, expected)
    dates = _dates(source, style, span, expected)
    stretches = [span] if source.grid is not None else _stretches(span, expected, dates)
    if style.form is not Format.COLUMNS:
        return _of_stretches(cursor, source, span, style, stretches, _Objects(style, span, dates))
    try:
        return _of_stretches(cursor, source, span, style, stretches, _Columns(style, span, dates))
    except _SomeNull:
        return _of_stretches(cursor, source, span, style, stretches, _Columns(style, span, dates, some_null=True))


def _of_stretches(
    cursor: Cursor,
    source: Source,
    span: Span,
    style: Style,
    stretches: Sequence[Span],
    writer: "_Objects | _Columns",
) -> Text:
    dates = writer.dates
    days = [_day(low) if dates is _Dates.BY_STRETCH else "" for low, _ in stretches]
    values = ",".join(
        f"({n},{low}::int8,{high}::int8,'{days[n]}',{_quoted(writer.between(days[n]))})"
        for n, (low, high) in enumerate(stretches)
    )
    ends = "NULL::int8, NULL::int8" if source.plain else "min(ts), max(ts)"
    parts = _copy(
        cursor,
        f"SELECT r.n, s.* FROM (VALUES {values}) AS r(n, low, high, day, between) CROSS JOIN LATERAL"
        f" (SELECT count(*), {ends}, {', '.join(writer.selected)}"
        f" FROM ({_rows(source, 'r.low', 'r.high', style.slots)}) AS b"
        # Numbers, or TimescaleDB would plan every chunk for each stretch.
        f" WHERE ts >= {int(span[0])} AND ts < {int(span[1])}) AS s",
    )
    found = sorted((p for p in parts if _int(p[1])), key=lambda p: _int(p[0]), reverse=style.descending)
    if not found:
        return Text()
    return Text(
        writer.columns([(part, days[_int(part[0])]) for part in found]),
        sum(_int(part[1]) for part in found),
        min((_int(part[2]) for part in found if part[2] is not None), default=None),
        max((_int(part[3]) for part in found if part[3] is not None), default=None),
    )


def edges(cursor: Cursor, source: Source, span: Span, beyond: Span) -> tuple[int | None, int | None, bool]:
    """The first and the last stamp in `span`, and whether there is a candle in `beyond`; of a plain source.

    An aggregate of each bar's stamp takes ten times as long.
    """
    # Not a prepared statement: with values unknown, TimescaleDB would plan and lock every chunk there is. ORDER BY, where
    # any candle would do, keeps PostgreSQL from looking for it in the whole table.
    table, series = table_of(source.stored), int(source.series_id)

    def edge(part: Span, order: str) -> str:
        low, high = int(part[0]), int(part[1])
        return f"(SELECT ts FROM {table} WHERE series_id = {series} AND ts >= {low} AND ts < {high} ORDER BY ts {order} LIMIT 1)"

    cursor.execute(f"SELECT {edge(span, 'ASC')} AS first, {edge(span, 'DESC')} AS last, {edge(beyond, 'ASC')} AS next")
    row = cursor.fetchone()
    return row.first, row.last, row.next is not None


def _lines(cursor: Cursor, source: Source, span: Span, style: Style, expected: int) -> Text:
    """CSV is what COPY writes anyway: numbers, and text without commas."""
    dates = _dates(source, style, span, expected)
    if dates is _Dates.BY_STRETCH:
        dates = _Dates.LISTED
    values = [_quoted(style.symbol)] if style.symbol is not None else []
    for name in style.fields:
        pieces = _sql(_value(name, style, span, dates), style.minutes)
        values.append(f"concat({', '.join(pieces)})" if len(pieces) > 1 else pieces[0])
    rows = _rows(source, str(int(span[0])), str(int(span[1])), style.slots)
    out = io.BytesIO()
    cursor.copy_expert(
        f"COPY (SELECT {', '.join(values)} FROM ({rows}) AS b ORDER BY ts {_order(style)})"
        " TO STDOUT (DELIMITER ',', NULL '')",
        out,
    )
    lines = out.getvalue()
    return Text([[lines]], lines.count(b"\n"))


def joined(form: Format, *texts: Text) -> Text:
    """Texts of candles one after the other."""
    there = [text for text in texts if text.count]
    columns: list[list[Chunk]] = []
    for text in there:
        columns = columns or [[] for _ in text.columns]
        for column, more in zip(columns, text.columns, strict=True):
            column += [b",", *more] if column and form.enveloped else more
    return Text(
        columns,
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


class _Dates(Enum):
    """How the dates in `time` are made: told by the stretch, looked up in a list, or computed for each bar."""

    BY_STRETCH = 1
    LISTED = 2
    COMPUTED = 3


def _dates(source: Source, style: Style, span: Span, expected: int) -> _Dates:
    days = span[1] // NS_PER_DAY - span[0] // NS_PER_DAY + 1
    if not style.timeframe.intraday or expected < _WORTH_A_LIST:
        return _Dates.COMPUTED
    if source.grid is None and "time" in style.fields and expected >= _DENSE * days:
        return _Dates.BY_STRETCH
    return _Dates.LISTED if days <= _MOST_DAYS else _Dates.COMPUTED


def _stretches(span: Span, expected: int, dates: _Dates) -> list[Span]:
    """Cut a span into stretches of about as many bars; one that tells a date ends with it, at midnight UTC."""
    cuts = [span[0], span[1]]
    if dates is _Dates.BY_STRETCH:
        cuts[1:1] = range((span[0] // NS_PER_DAY + 1) * NS_PER_DAY, span[1], NS_PER_DAY)
    total = max(1, min(_MOST_STRETCHES, expected // _STRETCH, span[1] - span[0]))
    parts = -(-total // (len(cuts) - 1))
    return [
        (low + (high - low) * n // parts, low + (high - low) * (n + 1) // parts)
        for low, high in pairwise(cuts)
        for n in range(parts)
        if (high - low) * n // parts < (high - low) * (n + 1) // parts
    ]


# ---- writing them ----------------------------------------------------------------------------------------------------


class _Objects:
    """Candles as JSON objects, or lines: one aggregate of them all, and how many of each nullable field are there."""

    def __init__(self, style: Style, span: Span, dates: _Dates) -> None:
        self.dates = dates
        self._form = style.form
        self._before, values, self._after = _merged(_row(style, span, dates))
        self._mark = "," if style.form is Format.JSON else "\n"
        counts = [f"count({name})" for name in style.fields if name in _NULLABLE]
        self.selected = [
            f"string_agg(concat({', '.join(_sql(values, style.minutes))}), r.between ORDER BY ts {_order(style)})",
            *counts,
        ]

    def between(self, day: str) -> str:
        """What stands between two candles of a stretch."""
        return f"{self._after}{self._mark}{self._before}".replace(_DAY, day)

    def columns(self, parts: Sequence[tuple[list[_Sent], str]]) -> list[list[Chunk]]:
        after, mark = self._after.encode(), self._mark.encode()
        rows: list[Chunk] = []
        for part, day in parts:
            chunks: list[Chunk] = [self._before.replace(_DAY, day).encode(), part[4] or b"", after]
            if any(_int(number) != _int(part[1]) for number in part[5:]):
                # concat writes nothing for a NULL. Nothing else looks like a bare key.
                chunks = [b"".join(chunks).replace(b'":,', b'":null,').replace(b'":}', b'":null}')]
            rows += [*chunks, mark]
        return [rows[:-1] if self._form is Format.JSON else rows]


class _SomeNull(Exception):
    """A field of some bars of a stretch is NULL, of others not: `string_agg` has left out which."""


class _Columns:
    """Candles as one JSON array per field.

    To write `null` where a value is lacking costs a tenth of all, and mostly a field lacks nowhere or everywhere, which
    the number of commas tells. some_null: it was not so.
    """

    def __init__(self, style: Style, span: Span, dates: _Dates, *, some_null: bool = False) -> None:
        self.dates = dates
        self._counted = () if some_null else _NULLABLE
        self._fields = style.fields
        self._step_ns = style.timeframe.step_ns
        asked = list(style.fields)
        if dates is _Dates.BY_STRETCH:
            asked = [name for name in asked if name != "time"] + ([] if "ts" in asked else ["ts"])
        self._at = {name: 4 + n for n, name in enumerate(asked)}
        values = (_column(name, style, span, dates, some_null) for name in asked)
        self.selected = [f"string_agg({value}, {mark} ORDER BY ts {_order(style)})" for value, mark in values]

    def between(self, day: str) -> str:
        """What stands between two times that are asked for."""
        return '","'

    def columns(self, parts: Sequence[tuple[list[_Sent], str]]) -> list[list[Chunk]]:
        found: list[list[Chunk]] = []
        for name in self._fields:
            column: list[Chunk] = []
            for part, day in parts:
                column += [b","] if column else []
                column += self._values(name, part, day)
            found.append(column)
        return found

    def _values(self, name: str, part: list[_Sent], day: str) -> list[Chunk]:
        """The values of a field in a stretch."""
        count = _int(part[1])
        if name not in self._at:
            return [_times(bytes(part[self._at["ts"]] or b""), count, self._step_ns, day)]
        text = part[self._at[name]]
        if name == "time":
            return [b'"', text or b"", b'"']
        if name not in self._counted:
            return [text or b""]
        if text is None:
            return [b",".join([b"null"] * count)]
        if bytes(text).count(b",") != count - 1:
            raise _SomeNull
        return [text]


def _times(stamps: bytes, count: int, step_ns: int, day: str) -> bytes:
    """The times, in quotes, of the `count` bars of a day that have these stamps, a text with commas.

    Bars of up to a minute lie on multiples of their step: as many as there is room for means that none is lacking.
    """
    first, last = int(stamps.partition(b",")[0]), int(stamps.rpartition(b",")[2])
    if step_ns <= _MINUTE_NS and first % step_ns == 0 and abs(last - first) == (count - 1) * step_ns:
        step_s = (step_ns if last >= first else -step_ns) // NS_PER_S
        return _in_a_row(first // NS_PER_S % _DAY_S, count, step_s).replace(_DAY, day).encode()
    seconds = (int(ts) // NS_PER_S % _DAY_S for ts in stamps.split(b","))
    return ",".join(f'"{day}  {_clock(second)}"' for second in seconds).encode()


@lru_cache(512)
def _in_a_row(first_s: int, count: int, step_s: int) -> str:
    """The times of bars that follow each other without a gap, from a second of the day on."""
    return ",".join(f'"{_DAY}  {_clock(second)}"' for second in range(first_s, first_s + count * step_s, step_s))


@lru_cache(4096)
def _clock(second: int) -> str:
    """A second of the day, `14:30:00Z`."""
    return f"{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}Z"


_Piece = tuple[bool, str]
"""(True, an SQL value) or (False, text as it stands)."""


def _row(style: Style, span: Span, dates: _Dates) -> list[_Piece]:
    """What one candle is made of."""
    pieces: list[_Piece] = []
    if style.symbol is not None:
        pieces.append((False, '{"symbol":' + json.dumps(style.symbol)))
    for name in style.fields:
        quote = '"' if name == "time" else ""
        pieces.append((False, f'{"," if pieces else "{"}"{name}":{quote}'))
        pieces += _value(name, style, span, dates)
        pieces.append((False, quote))
    return [*pieces, (False, "}")]


def _merged(pieces: Sequence[_Piece]) -> tuple[str, list[_Piece], str]:
    """The text before the first SQL value, what is between (few and long texts: each costs), the text after."""
    merged: list[_Piece] = [(False, "")]
    for piece in pieces:
        if piece[0] or merged[-1][0]:
            merged.append(piece)
        else:
            merged[-1] = (False, merged[-1][1] + piece[1])
    return merged[0][1], merged[1:-1], merged[-1][1]


def _column(name: str, style: Style, span: Span, dates: _Dates, some_null: bool) -> tuple[str, str]:
    """The SQL text of a field's value, and what stands between two values, as SQL."""
    if name != "time":
        return (f"coalesce({name}::text, 'null')" if some_null and name in _NULLABLE else f"{name}::text"), "','"
    _, values, after = _merged([(False, ""), *_value(name, style, span, dates), (False, "")])
    texts = _sql([*values, (False, after)], style.minutes)
    return f"{texts[0]}::text" if len(texts) == 1 else f"concat({', '.join(texts)})", "r.between"


def _value(name: str, style: Style, span: Span, dates: _Dates) -> list[_Piece]:
    if name != "time":
        return [(True, name)]
    if dates is _Dates.COMPUTED:
        return [(True, _TO_CHAR.format('YYYYMMDD  HH24:MI:SS"Z"' if style.timeframe.intraday else "YYYYMMDD"))]
    date: list[_Piece] = [(False, _DAY)]
    if dates is _Dates.LISTED:
        first = span[0] // NS_PER_DAY
        days = ",".join(_day(n * NS_PER_DAY) for n in range(first, span[1] // NS_PER_DAY + 1))
        date = [(True, f"('{{{days}}}'::int4[])[ts / {NS_PER_DAY} - {first - 1}]")]
    seconds: list[_Piece] = [(False, ":00Z")]
    if style.timeframe.small:
        listed = ",".join(f":{n:02d}Z" for n in range(60))
        seconds = [(True, f"('{{{listed}}}'::name[])[ts / 1000000000 % 60 + 1]")]
    return [*date, (False, "  "), (True, _TIME_OF_DAY), *seconds]


def _sql(pieces: Sequence[_Piece], minutes: Span) -> list[str]:
    """Pieces as arguments of concat. The time of day takes the text after it along, so that one look-up gives both."""
    found: list[str] = []
    pieces = list(pieces)
    for n, (is_sql, piece) in enumerate(pieces):
        if piece == _TIME_OF_DAY:
            after = pieces[n + 1][1] if n + 1 < len(pieces) and not pieces[n + 1][0] else ""
            if len(after) > _MOST_NAME - 5 or _DAY in after:
                after = ""
            elif after:
                pieces[n + 1] = (False, "")
            found.append(_times_of_day(after, minutes))
        elif is_sql:
            found.append(piece)
        else:
            found += _dated(piece)
    return found


def _dated(piece: str) -> list[str]:
    """A text as SQL. A date that does not stand in front of the whole candle is a value of its stretch."""
    found: list[str] = []
    for n, part in enumerate(piece.split(_DAY)):
        found += ["r.day"] if n else []
        found += [_quoted(part)] if part else []
    return found


@lru_cache(256)
def _times_of_day(after: str, minutes: Span) -> str:
    """The SQL value `14:30`, with a text after it, of a stamp; looked up for these minutes of the day, else computed."""
    escaped = after.replace("\\", "\\\\").replace('"', '\\"').replace("'", "''")
    listed = ",".join(f'"{n // 60:02d}:{n % 60:02d}{escaped}"' for n in range(*minutes))
    found = f"('{{{listed}}}'::name[])[ts / 60000000000 % 1440 - {minutes[0] - 1}]"
    if minutes == (0, 1440):
        return found
    return f"coalesce({found}, concat({_TO_CHAR.format('HH24:MI')}, {_quoted(after)})::name)"


def _order(style: Style) -> str:
    return "DESC" if style.descending else "ASC"


@lru_cache(10_000)
def _day(ns: int) -> str:
    return day_of(ns).strftime("%Y%m%d")


def _quoted(piece: str) -> str:
    """A text as an SQL literal: names of fields and symbols that IB gave, nothing a caller wrote."""
    return "'" + piece.replace("'", "''") + "'"


# ---- moving bytes ----------------------------------------------------------------------------------------------------


class _Rows(list[bytes]):
    """What `copy_expert` writes to: it hands over row by row."""

    write = list.append


def _copy(cursor: Cursor, query: str) -> list[list[_Sent]]:
    """The rows of a query, each value as PostgreSQL's binary bytes: no decoding, no encoding, no copy per candle."""
    sent = _Rows()
    cursor.copy_expert(f"COPY ({query}) TO STDOUT (FORMAT binary)", sent)
    rows: list[list[_Sent]] = []
    at = 11 + 4 + 4  # before the first row: signature, flags, length of the header's extension
    for message in sent:
        data = memoryview(message)
        while at < len(data) and (count := struct.unpack_from("!h", data, at)[0]) >= 0:
            at += 2
            row: list[_Sent] = []
            for _ in range(count):
                (length,) = struct.unpack_from("!i", data, at)
                at += 4
                row.append(data[at : at + length] if length >= 0 else None)
                at += max(0, length)
            rows.append(row)
        at = 0
    return rows


def _int(value: _Sent) -> int:
    return int.from_bytes(value or b"", "big", signed=True)
