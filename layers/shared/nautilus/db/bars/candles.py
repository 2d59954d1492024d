"""Reading bars as text: PostgreSQL writes the candles, Python moves bytes; no row becomes a Python object.

What makes it fast (benchmarks/reading.py holds the numbers). A page is cut into stretches of time and each is one
aggregate: text grown in small pieces, and sent while the next is made, costs a third less than one large string. `concat`
makes no intermediate strings, as `||` does. to_char alone costs as much as two prices: the time of day is looked up in a
list, and where bars are dense a stretch is a day, so that its date is part of the text between two candles. In columns a
stretch is a session, whose stamps come as bytes; their texts are kept (`nautilus.stamps`).
"""

import io
import json
import re
import struct
from collections.abc import Callable, Sequence
from enum import Enum
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from nautilus import stamps
from nautilus.clock import NS_PER_DAY, day_of
from nautilus.db.bars.write import table_of
from nautilus.db.cursor import Cursor
from nautilus.db.ranges import multirange, spans_of
from nautilus.market.slots import Slots
from nautilus.market.timeframes import Timeframe
from nautilus.reading.formats import Format
from nautilus.spans import Span, Spans

_COLUMNS = ("open", "high", "low", "close", "volume", "vwap", "trades")
_TIME_SLICE = 640
"""Bars per stretch, about 64 KiB of JSON."""
_MOST_TIME_SLICES = 96
_DENSE = 150
"""With so many bars a day, a stretch is a day or part of one."""
_WORTH_A_LIST = 500
"""Fewer candles than this are told their times faster one by one."""
_MOST_DAYS = 8_000
"""Up to so many days (22 years) the dates are looked up in a list sent along; beyond, each bar's is computed."""
_MOST_NAME = 60
"""PostgreSQL's `name`, whose arrays are the fast ones to look up, holds 63 bytes."""
_DAY = "\x01"
"""Stands in a text for the date of a stretch."""
_TIME_OF_DAY = "\x02"
"""Stands in a text for a bar's time of day, minutes: `14:30`."""
_STAMP = re.compile(rb'"ts":(-?[0-9]+)')
_TO_CHAR = "to_char(timestamp '1970-01-01' + make_interval(secs => ts / 1000000000), '{}')"
_COUNT, _LENGTH = struct.Struct("!h"), struct.Struct("!i")
_MOST_ROW = 2_000
"""No candle's text is longer than so many bytes."""
_NULLABLE = ("volume", "vwap", "trades", "ts_open", "ts_close")


Chunk = bytes | memoryview
_Sent = memoryview | None
"""A value as PostgreSQL sent it."""


class BarSource(NamedTuple):
    """Where the candles of a page come from.

    series_id: the stored series, of timeframe `stored`. later: None for the current state; else the version to read it as
    of, with what was `added` after it. grid: for derived candles the slots to aggregate to.
    """

    series_id: int
    stored: Timeframe
    as_of: int | None = None
    added: Spans = Spans()
    grid: Slots | None = None


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
    opens: Sequence[int] = ()
    """When sessions open, as far as that is known: between two of these bars mostly follow each other without a gap."""


class Text:
    """Candles as text, ready to be put into a body; first and last in time, which CSV does not tell.

    columns: the text in chunks, one list per field where the form is column-wise, else a single list of rows. more: True
    when there is a candle in the span `beyond`; False says nothing.
    """

    def __init__(
        self,
        columns: Sequence[list[Chunk]] = (),
        count: int = 0,
        first_ts: int | None = None,
        last_ts: int | None = None,
        more: bool = False,
    ) -> None:
        self.columns = columns
        self.count = count
        self.first_ts = first_ts
        self.last_ts = last_ts
        self.more = more

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


def text(cursor: Cursor, source: BarSource, span: Span, style: Style, expected: int, beyond: Span = (0, 0)) -> Text:
    """The candles with a stamp in [start, end). expected: about how many, to cut the work into stretches. beyond: a span to
    look into for a candle, where that costs next to nothing."""
    if span[0] >= span[1]:
        return Text()
    if style.form is Format.CSV:
        return _lines(cursor, source, span, style, expected)
    if style.form is Format.COLUMNS:
        try:
            return _columns(cursor, source, span, style, expected, beyond)
        except _SomeNull:
            return _columns(cursor, source, span, style, expected, beyond, some_null=True)
    dates = _dates(source, style, span, expected)
    cuts = _midnights(span) if dates is _Dates.BY_TIME_SLICE else []
    time_slices = [span] if source.grid is not None else _time_slices(span, expected, cuts)
    return _Work(cursor, source, style, time_slices, beyond).done(_Objects(style, span, dates))


def _columns(
    cursor: Cursor, source: BarSource, span: Span, style: Style, expected: int, beyond: Span, *, some_null: bool = False
) -> Text:
    cuts = [at for at in style.opens if span[0] < at < span[1]] or _midnights(span)
    by_session = (
        source.grid is None
        and style.timeframe.intraday
        and bool({"ts", "time"} & set(style.fields))
        and expected >= max(_WORTH_A_LIST, _DENSE * len(cuts))
    )
    dates = _dates(source, style, span, expected)
    if dates is _Dates.BY_TIME_SLICE:
        dates = _Dates.LISTED
    time_slices = [span] if source.grid is not None else _time_slices(span, expected, cuts if by_session else [])
    work = _Work(cursor, source, style, time_slices, beyond)
    return work.done(_Columns(style, span, dates, by_session=by_session, some_null=some_null))


class _Part(NamedTuple):
    """A stretch as PostgreSQL sent it; the date of its bars, if they have one in common."""

    bars: int
    values: list[_Sent]
    day: str


class _Work(NamedTuple):
    """Candles to be written, stretch by stretch."""

    cursor: Cursor
    source: BarSource
    style: Style
    time_slices: Sequence[Span]
    beyond: Span

    def done(self, writer: "_Objects | _Columns") -> Text:
        """All of them. Each stretch is taken apart while PostgreSQL makes the next."""
        days = [_day(low) if writer.dates is _Dates.BY_TIME_SLICE else "" for low, _ in self.time_slices]
        found: dict[int, Text] = {}
        after: list[int] = []

        def take(row: list[_Sent]) -> None:
            number, count, *values = _int(row[0]), _int(row[1]), *row[2:]
            if number == len(self.time_slices):
                after.append(count)
            elif count:
                found[number] = writer.text(_Part(count, values, days[number]))

        _copy(self.cursor, self._query(writer, days), take)
        if writer.torn:
            raise _SomeNull
        texts = [found[n] for n in sorted(found)]
        whole = joined(self.style.form, *(reversed(texts) if self.style.descending else texts))
        if texts:
            whole.first_ts, whole.last_ts = writer.ends(texts[0], texts[-1])
        whole.more = any(after)
        return whole

    def _query(self, writer: "_Objects | _Columns", days: Sequence[str]) -> str:
        """Of each stretch, and of what lies beyond as one more, its number, how many bars it has, and their text."""
        spans, dates = list(self.time_slices), list(days)
        if self.source.grid is None and self.beyond[0] < self.beyond[1]:
            spans.append(self.beyond)
            dates.append("")
        values = ",".join(
            f"({n},{low}::int8,{high}::int8,'{date}',{_quoted(writer.between(date))})"
            for n, ((low, high), date) in enumerate(zip(spans, dates, strict=True))
        )
        return (
            f"SELECT r.n, s.* FROM (VALUES {values}) AS r(n, low, high, day, between) CROSS JOIN LATERAL"
            f" (SELECT count(*), {', '.join(writer.selected)}"
            f" FROM ({_rows(self.source, 'r.low', 'r.high', self.style.slots)}) AS b"
            # Numbers, or TimescaleDB would plan every chunk for each stretch.
            f" WHERE ts >= {min(low for low, _ in spans)} AND ts < {max(high for _, high in spans)}) AS s"
        )


def _lines(cursor: Cursor, source: BarSource, span: Span, style: Style, expected: int) -> Text:
    """CSV is what COPY writes anyway: numbers, and text without commas."""
    dates = _dates(source, style, span, expected)
    if dates is _Dates.BY_TIME_SLICE:
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
    comma = [b","] if form.enveloped else []
    for text in there:
        if not columns:
            columns = [list(column) for column in text.columns]
            continue
        for column, more in zip(columns, text.columns, strict=True):
            column += comma
            column += more
    return Text(
        columns,
        sum(text.count for text in there),
        min((text.first_ts for text in there if text.first_ts is not None), default=None),
        max((text.last_ts for text in there if text.last_ts is not None), default=None),
    )


def boundary(cursor: Cursor, source: BarSource, span: Span, number: int, *, backward: bool) -> int | None:
    """Where to cut [start, end) so that exactly `number` candles lie on the near side; None when there are no more."""
    rows = _rows(source, str(int(span[0])), str(int(span[1])), None)
    # In order, even where any candle would do: without, PostgreSQL may look for it in the whole table.
    cursor.execute(
        f"SELECT ts FROM ({rows}) AS b ORDER BY ts {'DESC' if backward else 'ASC'} OFFSET {int(number)} LIMIT 1"
    )
    row = cursor.fetchone()
    if row is None:
        return None
    return int(row[0]) + 1 if backward else int(row[0])


def any_in(cursor: Cursor, source: BarSource, span: Span) -> bool:
    """True when there is a candle in [start, end)."""
    return span[0] < span[1] and boundary(cursor, source, span, 0, backward=False) is not None


# ---- which rows ------------------------------------------------------------------------------------------------------


def _rows(source: BarSource, low: str, high: str, slots: Slots | None) -> str:
    """The query of the candles in [low, high), both SQL expressions: as stored, or as they were, or aggregated."""
    found = _aggregated(source, low, high) if source.grid is not None else _stored(source, low, high)
    if slots is None:
        return found
    return (
        f"SELECT b.*, slot.ts_open, slot.ts_close FROM ({found}) AS b LEFT JOIN unnest({_array(slots.starts)},"
        f" {_array(slots.opens)}, {_array(slots.closes)}) AS slot(start, ts_open, ts_close) ON slot.start = b.ts"
    )


def _stored(source: BarSource, low: str, high: str) -> str:
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


def _aggregated(source: BarSource, low: str, high: str) -> str:
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

    BY_TIME_SLICE = 1
    LISTED = 2
    COMPUTED = 3


def _dates(source: BarSource, style: Style, span: Span, expected: int) -> _Dates:
    days = span[1] // NS_PER_DAY - span[0] // NS_PER_DAY + 1
    if not style.timeframe.intraday or expected < _WORTH_A_LIST:
        return _Dates.COMPUTED
    if source.grid is None and "time" in style.fields and expected >= _DENSE * days:
        return _Dates.BY_TIME_SLICE
    return _Dates.LISTED if days <= _MOST_DAYS else _Dates.COMPUTED


def _midnights(span: Span) -> list[int]:
    return list(range((span[0] // NS_PER_DAY + 1) * NS_PER_DAY, span[1], NS_PER_DAY))


def _time_slices(span: Span, expected: int, cuts: Sequence[int]) -> list[Span]:
    """Cut a span into stretches of about as many bars, none of which goes beyond one of the cuts."""
    ends = [span[0], *cuts, span[1]]
    total = max(1, min(_MOST_TIME_SLICES, expected // _TIME_SLICE, span[1] - span[0]))
    parts = -(-total // (len(ends) - 1))
    return [
        (low + (high - low) * n // parts, low + (high - low) * (n + 1) // parts)
        for low, high in pairwise(ends)
        for n in range(parts)
        if (high - low) * n // parts < (high - low) * (n + 1) // parts
    ]


# ---- writing them ----------------------------------------------------------------------------------------------------


class _Writer:
    """Tells what to select of a stretch's candles, and makes text of it."""

    torn = False
    """True when a field of some bars of a stretch is NULL, of others not: `string_agg` has left out which."""

    def ends(self, first: Text, last: Text) -> tuple[int | None, int | None]:
        """The first and the last stamp of a page, of its first and its last stretch in time."""
        return first.first_ts, last.last_ts


class _Objects(_Writer):
    """Candles as JSON objects, or lines: one aggregate of them all, and how many of each nullable field are there."""

    def __init__(self, style: Style, span: Span, dates: _Dates) -> None:
        self.dates = dates
        self._form = style.form
        self._before, values, after = _merged(_row(style, span, dates))
        self._between = f"{after}{',' if style.form is Format.JSON else chr(10)}{self._before}"
        self._after = after.encode()
        self._stamped = "ts" in style.fields
        counts = [f"count({name})" for name in style.fields if name in _NULLABLE]
        self.selected = [
            f"string_agg(concat({', '.join(_sql(values, style.minutes))}), r.between ORDER BY ts {_order(style)})",
            *([] if self._stamped else ["min(ts)", "max(ts)"]),
            *counts,
        ]

    def between(self, day: str) -> str:
        """What stands between two candles of a stretch."""
        return self._between.replace(_DAY, day)

    def text(self, part: _Part) -> Text:
        """The rows of a stretch."""
        rows, *rest = part.values
        ends, counts = ((None, None), rest) if self._stamped else (_span(rest), rest[2:])
        chunks: list[Chunk] = [self._before.replace(_DAY, part.day).encode(), rows or b"", self._after]
        if any(_int(number) != part.bars for number in counts):
            # concat writes nothing for a NULL. Nothing else looks like a bare key.
            chunks = [b"".join(chunks).replace(b'":,', b'":null,').replace(b'":}', b'":null}')]
        return Text([chunks if self._form is Format.JSON else [*chunks, b"\n"]], part.bars, *ends)

    def ends(self, first: Text, last: Text) -> tuple[int | None, int | None]:
        if not self._stamped:
            return super().ends(first, last)
        found = [stamp for text in (first, last) for stamp in _outer_stamps(text.columns[0])]
        return min(found), max(found)


def _span(values: Sequence[_Sent]) -> Span:
    return _int(values[0]), _int(values[1])


def _outer_stamps(rows: Sequence[Chunk]) -> Span:
    """The stamps of the first and of the last row in a text of objects: to have PostgreSQL tell them takes longer."""
    head = b"".join(bytes(chunk[:_MOST_ROW]) for chunk in rows)
    tail = b"".join(bytes(chunk[-_MOST_ROW:]) for chunk in rows)
    return int(_STAMP.findall(head)[0]), int(_STAMP.findall(tail)[-1])


class _SomeNull(Exception):
    """Columns are torn."""


class _Columns(_Writer):
    """Candles as one JSON array per field.

    To write `null` where a value is lacking costs a tenth of all, and mostly a field lacks nowhere or everywhere, which
    the number of commas tells. some_null: it was not so. by_session: no stretch goes beyond a session, so that its stamps
    and times are better written here.
    """

    def __init__(self, style: Style, span: Span, dates: _Dates, *, by_session: bool, some_null: bool) -> None:
        self.dates = dates
        self._counted = () if some_null else _NULLABLE
        self._fields = style.fields
        self._step_ns = style.timeframe.step_ns
        self._by_session = by_session
        names = [name for name in style.fields if not by_session or name not in ("ts", "time")]
        leading = ["min(ts)", "max(ts)"]
        if by_session:
            leading = [f"string_agg(int8send(ts), '\\x'::bytea ORDER BY ts {_order(style)})"]
        self._at = {name: n for n, name in enumerate(names, start=len(leading))}
        self.selected = leading
        for name in names:
            value, mark = _column(name, style, span, dates, some_null)
            self.selected.append(f"string_agg({value}, {mark} ORDER BY ts {_order(style)})")

    def between(self, day: str) -> str:
        """What stands between two times that are asked for."""
        return '","'

    def text(self, part: _Part) -> Text:
        """The values of each field in a stretch."""
        if not self._by_session:
            return Text([self._values(name, part) for name in self._fields], part.bars, *_span(part.values))
        packed = bytes(part.values[0] or b"")
        written = stamps.texts(packed, self._step_ns)
        own: dict[str, list[Chunk]] = {"ts": [written.stamps], "time": [written.times]}
        columns = [own[name] if name in own else self._values(name, part) for name in self._fields]
        first, last = sorted(stamps.ends(packed))
        return Text(columns, part.bars, first, last)

    def _values(self, name: str, part: _Part) -> list[Chunk]:
        text = part.values[self._at[name]]
        if name == "time":
            return [b'"', text or b"", b'"']
        if name not in self._counted:
            return [text or b""]
        if text is None:
            return [b",".join([b"null"] * part.bars)]
        self.torn = self.torn or bytes(text).count(b",") != part.bars - 1
        return [text]


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


class _Rows:
    """What `copy_expert` writes to: it hands over row by row, and the header before the first."""

    def __init__(self, take: Callable[[list[_Sent]], None]) -> None:
        self._take = take
        self._at = 11 + 4 + 4  # before the first row: signature, flags, length of the header's extension

    def write(self, message: bytes) -> None:
        data, at, self._at = memoryview(message), self._at, 0
        while at < len(data) and (count := _COUNT.unpack_from(data, at)[0]) >= 0:
            at += 2
            row: list[_Sent] = []
            for _ in range(count):
                (length,) = _LENGTH.unpack_from(data, at)
                at += 4
                if length < 0:
                    row.append(None)
                else:
                    row.append(data[at : at + length])
                    at += length
            self._take(row)


def _copy(cursor: Cursor, query: str, take: Callable[[list[_Sent]], None]) -> None:
    """Take the rows of a query, each value as PostgreSQL's binary bytes: no decoding, no encoding, no copy per candle."""
    cursor.copy_expert(f"COPY ({query}) TO STDOUT (FORMAT binary)", _Rows(take))


def _int(value: _Sent) -> int:
    return int.from_bytes(value or b"", "big", signed=True)
