"""Daily closes of instruments, as they are stored."""

from collections.abc import Iterable
from typing import NamedTuple

from nautilus.db.bars.write import table_of
from nautilus.db.cursor import Cursor
from nautilus.db.rows import every, scalar_or_none
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


_NO_TRADES = "s.price <> 'TRADES', s.price, s.session <> 'rth'"
"""Of several series of an instrument that of trades in usual hours comes first."""


def daily(cursor: Cursor, con_ids: Iterable[int], first: int, until: int) -> list[CloseRow]:
    """The daily closes of instruments in [first, until) of labels (ns), each of one series, by instrument and time."""
    cursor.execute(
        "SELECT s.con_id, b.close, b.ts FROM (SELECT DISTINCT ON (s.con_id) s.con_id, s.id FROM series s"
        f" WHERE s.con_id = ANY(%s) AND s.timeframe = %s ORDER BY s.con_id, {_NO_TRADES}) s"
        f" JOIN {table_of(_DAILY)} b ON b.series_id = s.id AND b.ts >= %s AND b.ts < %s AND b.close > 0"
        " ORDER BY s.con_id, b.ts",
        (list(con_ids), _DAILY.name, first, until),
    )
    return every(cursor, CloseRow)


def with_closes(cursor: Cursor, symbol: str) -> int | None:
    """The stock or index with this symbol, in US dollars, whose daily bars are stored; None without one."""
    cursor.execute(
        "SELECT i.con_id FROM instruments i JOIN series s USING (con_id) WHERE i.symbol = %s AND i.currency = 'USD'"
        f" AND i.asset_class IN ('STK', 'IND') AND s.timeframe = %s ORDER BY i.asset_class <> 'STK', {_NO_TRADES}, i.con_id"
        " LIMIT 1",
        (symbol, _DAILY.name),
    )
    return scalar_or_none(cursor, int)
