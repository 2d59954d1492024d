"""Which bars a page holds, as SQL: stored ones, those of an older version, or bars aggregated from a finer series."""

from collections.abc import Sequence
from typing import NamedTuple

from nautilus.db.bars.write import table_of
from nautilus.db.cursor import Cursor
from nautilus.db.ranges import multirange, spans_of
from nautilus.db.rows import scalar_or_none, scalars
from nautilus.market.slots import Slots
from nautilus.market.timeframes import Timeframe
from nautilus.spans import Span, Spans

COLUMNS = ("open", "high", "low", "close", "volume", "vwap", "trades")


class ProvisionalPart(NamedTuple):
    """The provisional bars of an answer, which history has not confirmed: those of a stream, or aggregated from them.

    series_id, stored, covered: the series that the stream previews. settled: where the answer has bars of history, or knows
    that there are none. slots: None where the stream's own timeframe is read; else the slots to which its bars and the stored
    ones of its series are aggregated. until: bars from this stamp on are not closed, whatever they are made of.
    """

    series_id: int
    stored: Timeframe
    covered: Spans
    settled: Spans
    until: int
    slots: Slots | None = None


class BarSource(NamedTuple):
    """The series that bars are read from.

    as_of: None for the bars as they are now; else a version of the series. added: the ranges that got their first bars
    after that version. slots: None for the stored bars themselves; else the slots to which they are aggregated.
    provisional: what is read beside them; it needs the primary.
    """

    series_id: int
    stored: Timeframe
    as_of: int | None = None
    added: Spans = Spans()
    slots: Slots | None = None
    provisional: ProvisionalPart | None = None


def added_after(cursor: Cursor, series_id: int, version: int) -> Spans:
    """Ranges that held no bar at `version` and got some later."""
    cursor.execute(
        "SELECT range_agg(r)::text FROM series_changes, unnest(added) AS r WHERE series_id = %s AND version > %s",
        (series_id, version),
    )
    return spans_of(scalar_or_none(cursor, str))


def page_end(cursor: Cursor, source: BarSource, span: Span, limit: int, *, backward: bool) -> int | None:
    """Where to cut [start, end) so that `limit` bars lie before the cut, or, backward, behind it.

    None when the span holds no more bars than that.
    """
    stamps = _filled_slots(source, span) if source.slots is not None else _stored(source, *map(str, span))
    if source.provisional is not None:
        stamps = f"SELECT ts FROM ({stamps}) AS s UNION ALL {_provisional_stamps(source.provisional, span)}"
    # Without ORDER BY, PostgreSQL may search the whole table even for limit 0.
    cursor.execute(f"SELECT ts FROM ({stamps}) AS b ORDER BY ts {'DESC' if backward else 'ASC'} OFFSET {limit} LIMIT 1")
    ts = scalar_or_none(cursor, int)
    return ts + 1 if backward and ts is not None else ts


def any_in(cursor: Cursor, source: BarSource, span: Span) -> bool:
    """True when there is a bar in [start, end)."""
    return span[0] < span[1] and page_end(cursor, source, span, 0, backward=False) is not None


def provisional_stamps(cursor: Cursor, part: ProvisionalPart, span: Span) -> list[int]:
    """The stamps of the provisional bars in a span, in order."""
    cursor.execute(f"{_provisional_stamps(part, span)} ORDER BY ts")
    return scalars(cursor, int)


def select(source: BarSource, low: str, high: str) -> str:
    """The statement for the bars with ts in [low, high); low and high are SQL expressions. With provisional bars each row
    says by `provisional` whether it is one."""
    found = _stored(source, low, high) if source.slots is None else _aggregated(source, source.slots, low, high)
    if source.provisional is None:
        return found
    of_history = f"SELECT ts, {', '.join(COLUMNS)}, false AS provisional FROM ({found}) AS h"
    return f"{of_history} UNION ALL {_provisional(source.provisional, low, high)}"


def _stored(source: BarSource, low: str, high: str) -> str:
    table, series = table_of(source.stored), int(source.series_id)
    if source.as_of is None:
        return f"SELECT * FROM {table} WHERE series_id = {series} AND ts >= {low} AND ts < {high}"
    # Each bar has the values of its earliest later revision. A revision without prices means: the bar did not exist.
    values = ", ".join(f"CASE WHEN o.ts IS NULL THEN b.{name} ELSE o.{name} END AS {name}" for name in COLUMNS)
    added = f"AND NOT b.ts <@ '{multirange(source.added)}'::int8multirange" if source.added else ""
    return (
        f"SELECT b.ts, {values} FROM {table} b LEFT JOIN LATERAL (SELECT * FROM bar_revisions r"
        f"  WHERE r.series_id = {series} AND r.ts = b.ts AND r.until_version > {int(source.as_of)}"
        f"  ORDER BY r.until_version LIMIT 1) o ON true"
        f" WHERE b.series_id = {series} AND b.ts >= {low} AND b.ts < {high} {added}"
        f" AND (o.ts IS NULL OR o.open IS NOT NULL)"
    )


def _aggregated(source: BarSource, slots: Slots, low: str, high: str) -> str:
    """Bars of a finer series, one for each slot with a stamp in [low, high)."""
    if not slots.starts:
        return "SELECT NULL::int8 AS ts, " + ", ".join(f"NULL::float8 AS {name}" for name in COLUMNS) + " WHERE false"
    # Stamps of slots are on the axis of the finer series too: labels for days, opens for intraday bars.
    finer = _stored(source, str(int(slots.starts[0])), str(int(slots.closes[-1])))
    return _by_slot(finer, slots, low, high)


def _by_slot(finer: str, slots: Slots, low: str, high: str, *, columns: str = "", having: str = "") -> str:
    """The rows of a statement aggregated to slots with a stamp in [low, high).

    Sums run in the order of time, so that the same bars always give the same digits.
    """
    starts, ends = array(slots.starts), array(slots.closes)
    every = "bool_and(volume IS NOT NULL{more})"
    return (
        f"SELECT ({starts})[slot] AS ts, (array_agg(open ORDER BY ts))[1] AS open, max(high) AS high, min(low) AS low,"
        f" (array_agg(close ORDER BY ts))[count(*)::int] AS close,"
        f" CASE WHEN {every.format(more='')} THEN sum(volume ORDER BY ts) END AS volume,"
        f" CASE WHEN {every.format(more=' AND vwap IS NOT NULL')} AND sum(volume) > 0"
        f"  THEN sum(vwap * volume ORDER BY ts) / sum(volume ORDER BY ts) END AS vwap,"
        f" CASE WHEN bool_and(trades IS NOT NULL) THEN sum(trades) END AS trades{columns}"
        f" FROM (SELECT f.*, width_bucket(f.ts, {starts}) AS slot FROM ({finer}) AS f) AS g"
        f" WHERE slot > 0 AND ts < ({ends})[slot] AND ({starts})[slot] >= {low} AND ({starts})[slot] < {high}"
        f" GROUP BY slot{having}"
    )


def _provisional_stamps(part: ProvisionalPart, span: Span) -> str:
    return f"SELECT ts FROM ({_provisional(part, *map(str, span))}) AS p"


def _provisional(part: ProvisionalPart, low: str, high: str) -> str:
    """The provisional bars with a stamp in [low, high)."""
    if part.slots is None:
        return _of_stream(part, part.covered | part.settled, low, high)
    inner = str(int(part.slots.starts[0])), str(int(part.slots.closes[-1]))
    stored = _stored(BarSource(part.series_id, part.stored), *inner)
    finer = (
        f"SELECT ts, {', '.join(COLUMNS)}, false AS provisional FROM ({stored}) AS h"
        f" UNION ALL {_of_stream(part, part.covered, *inner)}"
    )
    stamp = f"({array(part.slots.starts)})[slot]"
    having = (
        f" HAVING (bool_or(provisional) OR {stamp} >= {int(part.until)})"
        f" AND NOT {stamp} <@ '{multirange(part.settled)}'::int8multirange"
    )
    return _by_slot(finer, part.slots, low, high, columns=", true AS provisional", having=having)


def _of_stream(part: ProvisionalPart, settled: Spans, low: str, high: str) -> str:
    """The bars of a stream in slots of which history says nothing."""
    series = int(part.series_id)
    return (
        "SELECT l.ts, l.open, l.high, l.low, l.close, l.volume, NULL::float8 AS vwap, l.trades, true AS provisional"
        f" FROM live_bars l WHERE l.series_id = {series} AND l.ts >= {low} AND l.ts < {high}"
        f" AND NOT l.ts <@ '{multirange(settled)}'::int8multirange"
        f" AND NOT EXISTS (SELECT FROM {table_of(part.stored)} t WHERE t.series_id = {series} AND t.ts = l.ts)"
    )


def _filled_slots(source: BarSource, span: Span) -> str:
    """The stamps of the slots in a span that hold a bar of the finer series."""
    slots = source.slots or Slots()
    if not slots.starts:
        return "SELECT NULL::int8 AS ts WHERE false"
    # TimescaleDB finds the chunks by the bounds that are numbers.
    return (
        f"SELECT slot.ts FROM unnest({array(slots.starts)}, {array(slots.closes)}) AS slot(ts, close)"
        f" WHERE slot.ts >= {span[0]} AND slot.ts < {span[1]} AND EXISTS ("
        f"SELECT FROM ({_stored(source, 'slot.ts', 'slot.close')}) AS f"
        f" WHERE f.ts >= {int(slots.starts[0])} AND f.ts < {int(slots.closes[-1])})"
    )


def array(numbers: Sequence[int]) -> str:
    """Numbers as an SQL array."""
    return "'{" + ",".join(str(int(n)) for n in numbers) + "}'::int8[]"
