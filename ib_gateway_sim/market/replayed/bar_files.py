"""Files of one-minute bars: bytes in, bars out, or one line that says which row, column and value is wrong.

CSV (comma, semicolon, tab or | between the fields; UTF-8, UTF-16 or Latin-1; plain or gzip) or Parquet where pyarrow is
installed. Columns, in any order and case: timestamp_utc or timestamp, open, high, low, close and perhaps volume.

Nothing is guessed: what can be read in two ways is refused, and so is what cannot be a bar of one minute.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise
from math import gcd

from ib_gateway_sim.market.bars import Bar
from ib_gateway_sim.market.replayed.bar_numbers import bar_of, decimal_mark
from ib_gateway_sim.market.replayed.bar_rows import csv_table, parquet_table
from ib_gateway_sim.market.replayed.bar_table import BadFile, Row, Table
from ib_gateway_sim.market.replayed.bar_times import times_of

MINUTE_S = 60
STAMPS = ("open", "close")
_PAUSE_S = 30 * 60


def read_bars(name: str, content: bytes, *, stamp: str = "open", zone: str = "", positive: bool = False) -> list[Bar]:
    """The bars of a file, oldest first, `t` the open in epoch seconds; wap and count are -1, volume where there is none.

    name: the file's name, whose ending (.csv, .csv.gz, .parquet) says how to read it. stamp: whether its times are the
    bars' open or close. zone: of times without one (IANA name; empty: UTC). positive: refuse prices of zero and less.
    BadFile with one line that names file, row, column, value and what is wanted.
    """
    table = parquet_table(name, content) if name.lower().endswith(".parquet") else csv_table(name, content)
    if not table.rows:
        raise BadFile(f"{name} holds no bars: there is no row below the header")
    mark = decimal_mark(table)
    back_s = MINUTE_S if stamp == "close" else 0
    times = times_of(table, zone)
    bars = [bar_of(table, row, at - back_s, mark, positive) for row, at in zip(table.rows, times, strict=True)]
    row_of = _distinct(table, bars)
    bars.sort()
    _check_step(table, bars, row_of)
    return bars


def _distinct(table: Table, bars: Sequence[Bar]) -> dict[int, Row]:
    """Open of each bar -> its row. BadFile when two bars have one open."""
    row_of: dict[int, Row] = {}
    for row, bar in zip(table.rows, bars, strict=True):
        if bar.t in row_of:
            problem = f"is the time of row {row_of[bar.t].line} too"
            raise table.refusal(row, table.time_column, row.time, problem, "one bar for each minute")
        row_of[bar.t] = row
    return row_of


def _check_step(table: Table, bars: Sequence[Bar], row_of: dict[int, Row]) -> None:
    """Refuse bars of more than a minute, which would be served as minutes: all lie a multiple of more than a minute apart,
    and that multiple occurs twice; or most lie equally far apart, and none a minute; or no two lie within half an hour."""
    if len(bars) < 3:
        return
    steps = Counter(following.t - one.t for one, following in pairwise(bars))
    step_s, least_s, (_, most) = gcd(*steps), min(steps), steps.most_common(1)[0]
    usual = most > 2 and 2 * most > steps.total()
    if steps[step_s] < 2 and least_s <= _PAUSE_S and not usual:
        return
    if least_s > MINUTE_S:
        second = next(following for one, following in pairwise(bars) if following.t - one.t == least_s)
        row = row_of[second.t]
        problem = f"opens {timedelta(seconds=least_s)} h after the bar before, and no two bars of the file lie closer"
        raise table.refusal(row, table.time_column, row.time, problem, "bars of one minute")
