"""The newest bars of a series for a run that follows it: those that history has, and those of the live stream."""

from typing import NamedTuple
from uuid import UUID

from nautilus.db.bars.write import table_of
from nautilus.db.cursor import Cursor
from nautilus.db.rows import every, scalar_or_none
from nautilus.market.timeframes import Timeframe


class SeenBar(NamedTuple):
    """A bar as rows have it now. state: `confirmed` where history has it, else `closed` or `forming`. partial: parts of the
    slot are missing."""

    ts: int
    open: float
    high: float
    low: float
    close: float
    volume: float | None
    state: str
    partial: bool


_SEEN = (
    "SELECT ts, open, high, low, close, volume, 'confirmed' AS state, false AS partial FROM {table}"
    " WHERE series_id = %(series)s AND ts >= %(first)s AND ts < %(end)s"
    " UNION ALL SELECT ts, open, high, low, close, volume, state, partial FROM live_bars l"
    " WHERE series_id = %(series)s AND ts >= %(first)s AND NOT EXISTS (SELECT FROM {table} b"
    "  WHERE b.series_id = %(series)s AND b.ts = l.ts AND b.ts >= %(first)s AND b.ts < %(end)s) ORDER BY ts"
)
_END_NS = 2**62


def seen(cursor: Cursor, series_id: int, frame: Timeframe, first: int) -> list[SeenBar]:
    """All bars from a stamp on, in order; the last may be forming. On the primary alone."""
    cursor.execute(_SEEN.format(table=table_of(frame)), {"series": series_id, "first": first, "end": _END_NS})
    return every(cursor, SeenBar)


class Given(NamedTuple):
    """A bar that a run was given. decided: whether an order follows from it. begun: whether the run was given any bar of the
    series to decide on; a later one may have come too late for that."""

    n: int
    opened_ns: int
    closed_ns: int
    state: str
    done: bool
    decided: bool
    begun: bool


def last_given(cursor: Cursor, run_id: UUID, series: int) -> Given | None:
    """The last bar of a series that a run was given, one to warm up with too."""
    cursor.execute(
        "SELECT n, opened_ns, closed_ns, state, done_at IS NOT NULL AS done, EXISTS (SELECT FROM strategy_orders o"
        "  WHERE o.run_id = b.run_id AND o.decided_ns = b.closed_ns) AS decided,"
        " EXISTS (SELECT FROM strategy_bars g WHERE g.run_id = b.run_id AND g.series = b.series AND g.state <> 'warm_up')"
        "  AS begun"
        " FROM strategy_bars b WHERE run_id = %s AND series = %s ORDER BY opened_ns DESC LIMIT 1",
        (run_id, series),
    )
    rows = every(cursor, Given)
    return rows[0] if rows else None


def worst_feed(cursor: Cursor, con_ids: list[int]) -> str | None:
    """`delayed` when a live stream of one of these contracts has delayed data; None: none has, or it is not known yet."""
    cursor.execute(
        "SELECT max(feed) FROM live_streams WHERE con_id = ANY(%s) AND feed IN ('delayed', 'delayed_frozen')"
        " AND state = 'live'",
        (con_ids,),
    )
    return scalar_or_none(cursor, str)
