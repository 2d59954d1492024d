"""Which bars a page holds, as SQL: stored ones, those of an older version, or bars aggregated from a finer series."""

from collections.abc import Sequence
from typing import NamedTuple

from nautilus.db.bars.write import table_of
from nautilus.db.cursor import Cursor
from nautilus.db.ranges import multirange, spans_of
from nautilus.market.slots import Slots
from nautilus.market.timeframes import Timeframe
from nautilus.spans import Span, Spans

COLUMNS = ("open", "high", "low", "close", "volume", "vwap", "trades")


class BarSource(NamedTuple):
    """The series that bars are read from.

    as_of: None for the bars as they are now; else a version of the series. added: the ranges that got their first bars
    after that version. slots: None for the stored bars themselves; else the slots to which they are aggregated.
    """

    series_id: int
    stored: Timeframe
    as_of: int | None = None
    added: Spans = Spans()
    slots: Slots | None = None


def added_after(cursor: Cursor, series_id: int, version: int) -> Spans:
    """Ranges that held no bar at `version` and got some later."""
    cursor.execute(
        "SELECT range_agg(r)::text FROM series_changes, unnest(added) AS r WHERE series_id = %s AND version > %s",
        (series_id, version),
    )
    return spans_of(cursor.fetchone()[0])


def page_end(cursor: Cursor, source: BarSource, span: Span, limit: int, *, backward: bool) -> int | None:
    """Where to cut [start, end) so that `limit` bars lie before the cut, or, backward, behind it.

    None when the span holds no more bars than that.
    """
    stamps = _filled_slots(source, span) if source.slots is not None else _stored(source, *map(str, span))
    # Without ORDER BY, PostgreSQL may search the whole table even for limit 0.
    cursor.execute(f"SELECT ts FROM ({stamps}) AS b ORDER BY ts {'DESC' if backward else 'ASC'} OFFSET {limit} LIMIT 1")
    row = cursor.fetchone()
    if row is None:
        return None
    return int(row[0]) + 1 if backward else int(row[0])


def any_in(cursor: Cursor, source: BarSource, span: Span) -> bool:
    """True when there is a bar in [start, end)."""
    return span[0] < span[1] and page_end(cursor, source, span, 0, backward=False) is not None


def select(source: BarSource, low: str, high: str) -> str:
    """The statement for the bars with ts in [low, high); low and high are SQL expressions."""
    return _stored(source, low, high) if source.slots is None else _aggregated(source, source.slots, low, high)


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
    """Bars of a finer series, one for each slot with a stamp in [low, high).

    Sums run in the order of time, so that the same bars always give the same digits.
    """
    if not slots.starts:
        return "SELECT NULL::int8 AS ts, " + ", ".join(f"NULL::float8 AS {name}" for name in COLUMNS) + " WHERE false"
    starts, ends = array(slots.starts), array(slots.closes)
    # Stamps of slots are on the axis of the finer series too: labels for days, opens for intraday bars.
    finer = _stored(source, str(int(slots.starts[0])), str(int(slots.closes[-1])))
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
