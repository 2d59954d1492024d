"""Candles as text: PostgreSQL writes them, and Python joins the parts.

A page is cut into time slices, and one aggregate writes the candles of a slice. Where bars are dense, a slice lies within
one day, so that its date is part of the text in front of each time; else `to_char` writes date and time of each bar.
docs/decisions/0021-candles-as-text.md has the figures.
"""

import io
import json
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from nautilus.clock import NS_PER_DAY, day_of
from nautilus.db.bars import packed
from nautilus.db.bars.bar_source import BarSource, array, select
from nautilus.db.cursor import Cursor
from nautilus.market.slots import Slots
from nautilus.market.timeframes import Timeframe
from nautilus.reading import arrow
from nautilus.reading.arrow import Packed
from nautilus.reading.formats import PROVISIONAL, Format
from nautilus.spans import Span

_BARS_PER_SLICE = 1_440
"""At most so many bars in a slice: a day of minutes, some 150 KiB of JSON."""
_PACKED_PER_SLICE = 16_384
"""The same of packed columns, which are as good in one piece; 1 MiB."""
_CANDLES_WORTH_A_SLICE = 50
"""A slice costs about as much as so many candles, so a page of n candles has at most n / 50 slices."""
_NULLABLE = ("volume", "vwap", "trades", "ts_open", "ts_close")


class Rendering(NamedTuple):
    """How candles are written: in which format, with which fields in this order, with which symbol in front.

    hours: when slots open and close, where ts_open or ts_close is among the fields. marked: candles that are provisional
    objects say so.
    """

    format: Format
    fields: tuple[str, ...]
    timeframe: Timeframe
    symbol: str | None = None
    descending: bool = False
    hours: Slots | None = None
    marked: bool = False


class TimeSlice(NamedTuple):
    """The candles of one slice as text: of COLUMNS one text for each field, of ARROW one packed column, else a single text.

    nulls: of ARROW, how many values of each column are NULL.
    first_ts, last_ts: the stamps of its oldest and its newest candle. Of CSV they are the bounds of the range that was read.
    """

    texts: tuple[bytes, ...]
    size: int
    first_ts: int
    last_ts: int
    nulls: tuple[int, ...] = ()


def time_slices(
    cursor: Cursor, source: BarSource, span: Span, rendering: Rendering, *, limit: int
) -> Sequence[TimeSlice]:
    """The candles with ts in [start, end), of which there are at most `limit`; slices in order of time."""
    if span[0] >= span[1]:
        return []
    if rendering.format is Format.CSV:
        return _csv(cursor, source, span, rendering)
    slices = _cut(source, span, rendering, limit)
    dated = rendering.timeframe.intraday and all(low // NS_PER_DAY == (high - 1) // NS_PER_DAY for low, high in slices)
    statement = _statement(source, rendering, slices, dated=dated)
    if rendering.format is Format.ARROW:
        columns = packed.read(cursor, statement, rendering.fields)
        found = [TimeSlice(tuple(data), size, first, last, tuple(nulls)) for size, first, last, data, nulls in columns]
    else:
        rows = cursor.rows_with_bytes(statement)
        found = [TimeSlice(tuple(texts), size, first, last) for size, first, last, *texts in rows]
    return sorted(found, key=lambda each: each.first_ts)


def joined(rendering: Rendering, slices: Sequence[TimeSlice]) -> bytes:
    """The slices, in order of time, as they stand in a body."""
    ordered = slices[::-1] if rendering.descending else slices
    if rendering.format is Format.ARROW:
        return _batch(rendering, ordered) if ordered else b""
    if rendering.format is Format.COLUMNS and slices:
        columns = zip(*(each.texts for each in ordered), strict=True)
        named = zip(rendering.fields, columns, strict=True)
        return b",".join(b'"%s":[%s]' % (name.encode(), b",".join(texts)) for name, texts in named)
    return (b"," if rendering.format.enveloped else b"").join(each.texts[0] for each in ordered)


def _batch(rendering: Rendering, ordered: Sequence[TimeSlice]) -> bytes:
    """One record batch of all slices."""
    columns = [
        Packed(name, b"".join(each.texts[n] for each in ordered), sum(each.nulls[n] for each in ordered))
        for n, name in enumerate(rendering.fields)
    ]
    return arrow.batch(columns, sum(each.size for each in ordered), rendering.symbol)


def _cut(source: BarSource, span: Span, rendering: Rendering, limit: int) -> Sequence[Span]:
    """The span in slices, cut at multiples of their length: at midnights, where that is a day."""
    if source.slots is not None or rendering.hours is not None or source.provisional is not None:
        return [span]  # each slice would join the slots of the whole span, or read the whole stream
    most = max(1, limit // _CANDLES_WORTH_A_SLICE)
    dense = min(NS_PER_DAY, _BARS_PER_SLICE * rendering.timeframe.step_ns)
    if rendering.format is Format.ARROW:
        dense = _PACKED_PER_SLICE * rendering.timeframe.step_ns
    length = max(dense, -(-(span[1] - span[0]) // most))
    cuts = range((span[0] // length + 1) * length, span[1], length)
    return list(pairwise([span[0], *cuts, span[1]]))


def _statement(source: BarSource, rendering: Rendering, slices: Sequence[Span], *, dated: bool) -> str:
    """Of each slice that holds bars: how many, the first and the last stamp, and the texts.

    dated: each slice lies within one day.
    """
    write = {Format.COLUMNS: _columns, Format.ARROW: _packed}.get(rendering.format, _objects)
    before_time, texts = write(rendering, dated=dated)
    values = ",".join(
        f"({low}::int8,{high}::int8,{_quoted(before_time + day_of(low).strftime('%Y%m%d  ') if dated else '')})"
        for low, high in slices
    )
    named = ", ".join(f"{text} AS text_{n}" for n, text in enumerate(texts))
    return (
        f"SELECT s.* FROM (VALUES {values}) AS slice(low, high, before_time) CROSS JOIN LATERAL"
        f" (SELECT count(*) AS size, min(ts) AS first_ts, max(ts) AS last_ts, {named}"
        f" FROM ({_rows(source, rendering, 'slice.low', 'slice.high')}) AS b"
        # TimescaleDB finds the chunks by the bounds that are numbers.
        f" WHERE ts >= {slices[0][0]} AND ts < {slices[-1][1]}) AS s WHERE s.size > 0"
    )


def _rows(source: BarSource, rendering: Rendering, low: str, high: str) -> str:
    found, hours = select(source, low, high), rendering.hours
    if hours is None:
        return found
    return (
        f"SELECT b.*, slot.ts_open, slot.ts_close FROM ({found}) AS b LEFT JOIN unnest({array(hours.starts)},"
        f" {array(hours.opens)}, {array(hours.closes)}) AS slot(start, ts_open, ts_close) ON slot.start = b.ts"
    )


def _objects(rendering: Rendering, *, dated: bool) -> tuple[str, list[str]]:
    """The text in front of the date, and the aggregate of candles that are JSON objects."""
    before_time, arguments = "", []
    literal = "{" if rendering.symbol is None else f'{{"symbol":{json.dumps(rendering.symbol)},'
    for name in rendering.fields:
        literal += f'"{name}":'
        if name == "time":
            before_time = literal = literal + '"'
        in_front = "slice.before_time" if name == "time" and dated else _quoted(literal)
        arguments += [in_front, *_value(rendering, name, dated=dated)]
        literal = _after_time(rendering) + "," if name == "time" else ","
    ending = "}" if rendering.format is Format.JSON else "}\n"
    if rendering.marked:
        arguments += [_quoted(literal[:-1]), """CASE WHEN provisional THEN ',"provisional":true' END"""]
        literal = ","
    candle = f"concat({', '.join([*arguments, _quoted(literal[:-1] + ending)])})"
    return before_time, [_aggregate(rendering, candle, "," if rendering.format is Format.JSON else "")]


def _columns(rendering: Rendering, *, dated: bool) -> tuple[str, list[str]]:
    """The text in front of the date, and an aggregate for each field."""
    texts = []
    for name in rendering.fields:
        text = f"coalesce({name}::text, 'null')" if name in _NULLABLE else f"{name}::text"
        if name == "time":
            in_front = "slice.before_time" if dated else _quoted('"')
            text = f"concat({in_front}, {_time(rendering, dated=dated)}, {_quoted(_after_time(rendering))})"
        texts.append(_aggregate(rendering, text, ","))
    return '"', texts


def _packed(rendering: Rendering, *, dated: bool) -> tuple[str, list[str]]:
    """The aggregates of packed columns, and of their numbers of NULLs."""
    in_front = "slice.before_time" if dated else "''"
    zone = _quoted("Z" if rendering.timeframe.intraday else "")
    time = f"concat({in_front}, {_time(rendering, dated=dated)}, {zone})"
    return "", packed.aggregates(rendering.fields, time, f"ts {_order(rendering)}")


def _aggregate(rendering: Rendering, candle: str, separator: str) -> str:
    return f"string_agg({candle}, {_quoted(separator)} ORDER BY ts {_order(rendering)})"


def _order(rendering: Rendering) -> str:
    return "DESC" if rendering.descending else "ASC"


def _value(rendering: Rendering, name: str, *, dated: bool) -> list[str]:
    """The value of a field as arguments of concat, which leaves out what is NULL."""
    if name == "time":
        return [_time(rendering, dated=dated)]
    return [name, f"CASE WHEN {name} IS NULL THEN 'null' END"] if name in _NULLABLE else [name]


def _time(rendering: Rendering, *, dated: bool) -> str:
    """The time of a bar; dated: without its date."""
    if dated:
        return "make_interval(secs => ts / 1000000000 % 86400)::time"
    template = "YYYYMMDD  HH24:MI:SS" if rendering.timeframe.intraday else "YYYYMMDD"
    return f"to_char(timestamp '1970-01-01' + make_interval(secs => ts / 1000000000), '{template}')"


def _after_time(rendering: Rendering) -> str:
    return 'Z"' if rendering.timeframe.intraday else '"'


def _csv(cursor: Cursor, source: BarSource, span: Span, rendering: Rendering) -> Sequence[TimeSlice]:
    """CSV is what COPY writes by itself: numbers, and text without commas."""
    zone = " || 'Z'" if rendering.timeframe.intraday else ""
    values = [_quoted(rendering.symbol)] if rendering.symbol is not None else []
    values += [_csv_value(rendering, name, zone) for name in rendering.fields]
    out = io.BytesIO()
    cursor.copy_expert(
        f"COPY (SELECT {', '.join(values)} FROM ({_rows(source, rendering, *map(str, span))}) AS b"
        f" ORDER BY ts {_order(rendering)}) TO STDOUT (DELIMITER ',', NULL '')",
        out,
    )
    lines = out.getvalue()
    return [TimeSlice((lines,), lines.count(b"\n"), span[0], span[1] - 1)] if lines else []


def _csv_value(rendering: Rendering, name: str, zone: str) -> str:
    if name == "time":
        return _time(rendering, dated=False) + zone
    return f"{name}::text" if name == PROVISIONAL else name  # COPY writes t and f


def _quoted(text: str) -> str:
    """A text as an SQL literal: names of fields and symbols that IB gave, nothing that a caller wrote."""
    return "'" + text.replace("'", "''") + "'"
