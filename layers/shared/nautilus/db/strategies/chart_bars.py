"""Bars for the chart of a report: so few columns as a page is wide, each with its highest, its lowest and its last price."""

from typing import NamedTuple
from uuid import UUID

from nautilus.db.bars.write import table_of
from nautilus.db.cursor import Cursor
from nautilus.db.rows import every
from nautilus.market.timeframes import Timeframe
from nautilus.spans import Span

COLUMNS = 500


class ChartColumn(NamedTuple):
    """Some bars that follow each other. ts: stamp of the last on the series' axis, or its close of a run's own bars."""

    ts: int
    high: float
    low: float
    close: float


_COLUMNS_OF = (
    "SELECT max(ts) AS ts, max(high) AS high, min(low) AS low,"
    " (array_agg(close ORDER BY ts DESC))[1] AS close"
    f" FROM (SELECT ts, high, low, close, ntile({COLUMNS}) OVER (ORDER BY ts) AS n FROM ({{rows}}) b) t GROUP BY n ORDER BY 1"
)


def of_series(cursor: Cursor, series_id: int, frame: Timeframe, span: Span) -> list[ChartColumn]:
    """Of the bars of a series in a range on its axis, as they are stored now."""
    table = table_of(frame)
    rows = (
        f"SELECT ts, high, low, close FROM {table}"
        f" WHERE series_id = {int(series_id)} AND ts >= {int(span[0])} AND ts < {int(span[1])}"
    )
    cursor.execute(_COLUMNS_OF.format(rows=rows))
    return every(cursor, ChartColumn)


def of_run(cursor: Cursor, run_id: UUID, series: int) -> list[ChartColumn]:
    """Of the bars that a run in paper or live was given. series: index in the run's series."""
    rows = (
        "SELECT closed_ns AS ts, high, low, close FROM strategy_bars"
        " WHERE run_id = %s AND series = %s AND state <> 'warm_up'"
    )
    cursor.execute(_COLUMNS_OF.format(rows=rows), (run_id, series))
    return every(cursor, ChartColumn)
