"""The newest quote of each instrument that has or had a stream: written by the bridge each beat, read by the functions."""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from nautilus.db.cursor import Cursor
from nautilus.db.rows import every, insert_rows


class QuoteRow(NamedTuple):
    """A quote as IB sent it; what IB has not sent is None.

    volume is the day's, `close` that of the day before. feed: `live`, `frozen`, `delayed`, `delayed_frozen`, or empty while
    it is not known. ts: IB's time of the last trade; seen_at: when the bridge had the newest word; both market time in ns.
    updated_at: the same by machine time; of no importance when a quote is written.
    """

    con_id: int
    bid: float | None
    bid_size: float | None
    ask: float | None
    ask_size: float | None
    last: float | None
    last_size: float | None
    volume: float | None
    open: float | None
    high: float | None
    low: float | None
    close: float | None
    halted: bool | None
    feed: str
    ts: int | None
    seen_at: int
    updated_at: datetime | None = None


_TYPES = dict.fromkeys(QuoteRow._fields[:-1], "float8") | {
    "con_id": "bigint",
    "halted": "boolean",
    "feed": "text",
    "ts": "bigint",
    "seen_at": "bigint",
}
_CHANGED = ", ".join(f"{name} = excluded.{name}" for name in _TYPES if name != "con_id")


def put(cursor: Cursor, rows: Iterable[QuoteRow]) -> None:
    """Write the newest quotes; of several of one instrument the last. A quote replaces the one before as a whole."""
    newest_of = {row.con_id: row for row in rows}
    insert_rows(
        cursor,
        "live_quotes",
        _TYPES,
        [newest_of[con_id][:-1] for con_id in sorted(newest_of)],
        then=f"ON CONFLICT (con_id) DO UPDATE SET {_CHANGED}, updated_at = clock_timestamp()",
    )


def newest(cursor: Cursor, con_ids: Iterable[int]) -> list[QuoteRow]:
    """The newest quotes of instruments, by instrument; those that never had one are missing."""
    cursor.execute(
        f"SELECT {', '.join(QuoteRow._fields)} FROM live_quotes WHERE con_id = ANY(%s) ORDER BY con_id",
        (list(con_ids),),
    )
    return every(cursor, QuoteRow)


class AgedQuote(NamedTuple):
    """Of the newest quote what an order is compared with. written_ago_ns: how long ago it was written, machine time."""

    bid: float | None
    ask: float | None
    last: float | None
    close: float | None
    feed: str
    seen_at: int
    written_ago_ns: int


AGED_COLUMNS = (
    "q.bid, q.ask, q.last, q.close, q.feed, q.seen_at,"
    " (extract(epoch FROM clock_timestamp() - q.updated_at) * 1000000000)::bigint AS written_ago_ns"
)
"""An `AgedQuote` of live_quotes q."""
