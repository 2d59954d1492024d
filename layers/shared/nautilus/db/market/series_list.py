"""Which series there are, with what each holds."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from nautilus.db.bars.write import table_of
from nautilus.db.cursor import Cursor
from nautilus.db.rows import every, scalars
from nautilus.market.timeframes import timeframe


class ListedSeries(NamedTuple):
    """A series as it is listed.

    covered_from, covered_to: from the first range that is settled to the end of the last, in ns on its axis; None: nothing is.
    covered_ranges: in how many ranges. bars_from, bars_to: no bar lies outside. changed_at: when bars came or went last.
    """

    id: int
    con_id: int
    instrument_id: str
    symbol: str
    asset_class: str
    timeframe: str
    price: str
    session: str
    data_version: int
    head_ts: int | None
    covered_from: int | None
    covered_to: int | None
    covered_ranges: int
    bars_from: int | None
    bars_to: int | None
    changed_at: datetime | None


class Ends(NamedTuple):
    """The stamps of the oldest and the newest bar of a series, by its number; None where it has none."""

    id: int
    first: int | None
    last: int | None


_LISTED = (
    "SELECT s.id, s.con_id, i.instrument_id, i.symbol, i.asset_class, s.timeframe, s.price, s.session,"
    " s.data_version, s.head_ts, lower(s.covered) AS covered_from, upper(s.covered) AS covered_to,"
    " (SELECT count(*) FROM unnest(s.covered))::int AS covered_ranges,"
    " least(lower(s.covered), n.low) AS bars_from, greatest(upper(s.covered), n.high) AS bars_to,"
    " (SELECT c.committed_at FROM series_changes c WHERE c.series_id = s.id ORDER BY c.version DESC LIMIT 1)"
    "  AS changed_at"
    " FROM series s JOIN instruments i USING (con_id) LEFT JOIN LATERAL (SELECT min(lower(range)) AS low,"
    "  max(upper(range)) AS high FROM coverage_notes WHERE series_id = s.id) n ON true"
)


def of_numbers(cursor: Cursor, numbers: Sequence[int]) -> list[ListedSeries]:
    """Series with these numbers, in order."""
    cursor.execute(f"{_LISTED} WHERE s.id = ANY(%s) ORDER BY s.id", (list(numbers),))
    return every(cursor, ListedSeries)


def listed(
    cursor: Cursor, *, instrument_id: str | None, frame: str | None, limit: int, after: int
) -> list[ListedSeries]:
    """Series by number, from the one after `after` on."""
    cursor.execute(
        f"{_LISTED} WHERE s.id > %(after)s"
        " AND (%(instrument)s::text IS NULL OR i.instrument_id = %(instrument)s)"
        " AND (%(frame)s::text IS NULL OR s.timeframe = %(frame)s)"
        " ORDER BY s.id LIMIT %(limit)s",
        {"after": after, "instrument": instrument_id, "frame": frame, "limit": limit},
    )
    return every(cursor, ListedSeries)


def numbers(cursor: Cursor, *, instrument_id: str | None, frame: str | None, limit: int, after: int) -> list[int]:
    """The numbers of series, in order, from the one after `after` on."""
    cursor.execute(
        "SELECT s.id FROM series s JOIN instruments i USING (con_id) WHERE s.id > %(after)s"
        " AND (%(instrument)s::text IS NULL OR i.instrument_id = %(instrument)s)"
        " AND (%(frame)s::text IS NULL OR s.timeframe = %(frame)s) ORDER BY s.id LIMIT %(limit)s",
        {"after": after, "instrument": instrument_id, "frame": frame, "limit": limit},
    )
    return scalars(cursor, int)


def ends(cursor: Cursor, rows: Sequence[ListedSeries]) -> Mapping[int, Ends]:
    """The oldest and the newest bar of each series, found by the index. Every bar lies in a settled or in a noted range."""
    found = {row.id: Ends(row.id, None, None) for row in rows}
    statements = [_ends_of(row) for row in rows if row.bars_from is not None and row.bars_to is not None]
    if statements:
        cursor.execute(" UNION ALL ".join(statements))
        found |= {row.id: row for row in every(cursor, Ends)}
    return found


def _ends_of(row: ListedSeries) -> str:
    table = table_of(timeframe(row.timeframe))
    # Bounds that are numbers, as everywhere: TimescaleDB finds the chunks by them.
    span = f"series_id = {int(row.id)} AND ts >= {row.bars_from} AND ts < {row.bars_to}"
    return (
        f"SELECT {int(row.id)} AS id, (SELECT ts FROM {table} WHERE {span} ORDER BY ts LIMIT 1) AS first,"
        f" (SELECT ts FROM {table} WHERE {span} ORDER BY ts DESC LIMIT 1) AS last"
    )
