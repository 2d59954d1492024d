"""Bars of a series as tables of Arrow, block by block: PostgreSQL packs the columns, and nobody looks into them on the way."""

from collections.abc import Callable, Iterator

import pyarrow as pa
from pyarrow import ipc

from nautilus.db.bars import candles
from nautilus.db.bars.bar_source import BarSource
from nautilus.db.bars.candles import Rendering
from nautilus.db.cursor import Cursor
from nautilus.market.timeframes import Timeframe
from nautilus.reading import arrow
from nautilus.reading.formats import Format
from nautilus.spans import Span

FIELDS = ("ts", "open", "high", "low", "close", "volume", "vwap", "trades")


def empty() -> pa.Schema:
    """The columns of every block."""
    return ipc.open_stream(arrow.stream(FIELDS, [], {})).schema.remove_metadata()


def blocks(
    cursor: Cursor, source_of: Callable[[Span], BarSource], span: Span, frame: Timeframe, *, size: int
) -> Iterator[pa.Table]:
    """The bars with stamps in [start, end), in order, in tables of about `size` rows; none is empty. source_of: from where the
    bars of a part of the range are read."""
    rendering = Rendering(Format.ARROW, FIELDS, frame)
    held: list[pa.Table] = []
    rows = 0
    for low in range(span[0], span[1], size * frame.step_ns):
        part = (low, min(low + size * frame.step_ns, span[1]))
        batch = candles.joined(rendering, candles.time_slices(cursor, source_of(part), part, rendering, limit=size))
        if not batch:
            continue
        table = ipc.open_stream(arrow.stream(FIELDS, [batch], {})).read_all().replace_schema_metadata()
        held.append(table)
        rows += table.num_rows
        if rows >= size:
            yield pa.concat_tables(held)
            held, rows = [], 0
    if held:
        yield pa.concat_tables(held)
