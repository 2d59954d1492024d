"""The newest daily close of instruments that is stored."""

from collections.abc import Iterable
from typing import NamedTuple

from nautilus.db.bars.write import table_of
from nautilus.db.cursor import Cursor
from nautilus.db.rows import every
from nautilus.market.timeframes import timeframe

_DAILY = timeframe("1d")


class CloseRow(NamedTuple):
    """close: of the newest daily bar. ts: its label, market time in ns."""

    con_id: int
    close: float
    ts: int


def newest(cursor: Cursor, con_ids: Iterable[int], until: int) -> list[CloseRow]:
    """By instrument, labelled until a time (ns, included); those without a daily bar are missing. Of several price kinds of one
    date trades come first."""
    cursor.execute(
        "SELECT DISTINCT ON (s.con_id) s.con_id, b.close, b.ts FROM series s CROSS JOIN LATERAL"
        f" (SELECT close, ts FROM {table_of(_DAILY)} WHERE series_id = s.id AND ts <= %s ORDER BY ts DESC LIMIT 1) b"
        " WHERE s.con_id = ANY(%s) AND s.timeframe = %s ORDER BY s.con_id, b.ts DESC, s.price <> 'TRADES'",
        (until, list(con_ids), _DAILY.name),
    )
    return every(cursor, CloseRow)
