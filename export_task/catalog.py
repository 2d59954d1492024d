"""Bars as the catalogs of NautilusTrader hold them: whole numbers of 128 bits, with the time at which each bar closed.

Its first line (1.x) reads prices as 16 bytes, value x 10^16, little endian; its second (2.x) as decimals of the same digits.
The digits behind the point that a series has stand in the metadata, and must be the same in all files of a folder.
"""

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from nautilus.exports.layouts import Layout, Names, bar_type

MOST_DIGITS = 9
"""Of prices and volumes: with more, a float of 15 digits has none left in front of the point, and 64 bits overflow."""
_SCALE = 16
_PRICES = ("open", "high", "low", "close")


def schema(layout: Layout, names: Names, *, price_digits: int, size_digits: int) -> pa.Schema:
    """Columns and metadata of a file."""
    number = pa.binary(16) if layout is Layout.CATALOG_1 else pa.decimal128(38, _SCALE)
    stamp = pa.uint64() if layout is Layout.CATALOG_1 else pa.timestamp("ns", tz="UTC")
    about = {
        "bar_type": bar_type(names),
        "instrument_id": names.instrument.instrument_id,
        "price_precision": str(price_digits),
        "size_precision": str(size_digits),
    }
    if layout is Layout.CATALOG_2:
        about["type_name"] = "Bar"
    columns = [pa.field(name, number, nullable=False) for name in (*_PRICES, "volume")]
    columns += [pa.field(name, stamp, nullable=False) for name in ("ts_event", "ts_init")]
    return pa.schema(columns, metadata=about)


def table(bars: pa.Table, shape: pa.Schema, closes: Mapping[int, int], step_ns: int) -> pa.Table:
    """A block of bars in such columns. closes: stamp -> when the bar closed; a bar beside all slots lasts a step."""
    about = {name.decode(): int(text) for name, text in shape.metadata.items() if name.endswith(b"_precision")}
    columns = [_numbers(bars[name], about["price_precision"], shape.field(name).type) for name in _PRICES]
    volumes = pc.fill_null(bars["volume"], 0.0)
    columns.append(_numbers(volumes, about["size_precision"], shape.field("volume").type))
    stamps = bars["ts"].cast(pa.int64()).to_pylist()
    closed = pa.array([closes.get(ts, ts + step_ns) for ts in stamps], pa.int64()).cast(shape.field("ts_event").type)
    return pa.table([*columns, closed, closed], schema=shape)


def _numbers(values: pa.ChunkedArray, digits: int, kind: pa.DataType) -> pa.Array:
    """Floats as whole numbers of 128 bits, value x 10^16. They are rounded to `digits` first: what a float has behind them is
    no digit of the price."""
    ticks = pc.round(pc.multiply(values, float(10**digits))).cast(pa.int64()).combine_chunks()
    whole = ticks.cast(pa.decimal128(38, 0))
    scaled = pa.Array.from_buffers(pa.decimal128(38, digits), len(whole), whole.buffers()).cast(
        pa.decimal128(38, _SCALE)
    )
    if kind == scaled.type:
        return scaled
    return pa.Array.from_buffers(kind, len(scaled), scaled.buffers())
