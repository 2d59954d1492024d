"""Bars as frames of pandas, polars, pyarrow and DuckDB; each is imported when it is used."""

import json
from collections.abc import Iterable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from nautilus_client.bars import Bars, ManyBars, Prices
from nautilus_client.columns import Column, bits
from nautilus_client.errors import BadTime, MissingLibrary
from nautilus_client.timeframes import intraday

if TYPE_CHECKING:
    import duckdb as duckdb_module
    import pandas as pandas_module
    import polars as polars_module
    import pyarrow

PRICES = ("open", "high", "low", "close", "vwap")
_ZONED = ("ts_open", "ts_close")


def library(name: str, extra: str) -> Any:
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError:
        raise MissingLibrary(name, extra) from None


# ---- pandas ----------------------------------------------------------------------------------------------------------


def pandas(
    bars: Bars, *, tz: str | None = None, dates: bool = False, prices: Prices = "float"
) -> "pandas_module.DataFrame":
    """As `Bars.pandas`."""
    _check_index(bars, tz, dates)
    pd, np = library("pandas", "pandas"), library("numpy", "pandas")
    columns = bars.columns
    index = pd.DatetimeIndex(np.frombuffer(columns["ts"].data, dtype="datetime64[ns]").copy(), name="ts")
    if dates:
        index = index.rename("date")
    else:
        index = index.tz_localize("UTC")
    found = {name: _series(pd, np, name, column) for name, column in columns.items() if name != "ts"}
    if prices != "float":
        found |= {name: _exact(pd, bars, found[name], prices) for name in PRICES if name in found}
    frame = pd.DataFrame(found, index=pd.RangeIndex(columns.size), copy=True)  # the bars stay as they are
    frame.index = index
    if tz is not None:
        frame.index = index.tz_convert(bars.zone if tz == "exchange" else tz)
    frame.attrs.update(_described(bars))
    return frame


def _check_index(bars: Bars, tz: str | None, dates: bool) -> None:
    if tz is not None and not intraday(bars.timeframe):
        raise BadTime(
            f"bars of {bars.timeframe} are stamped with dates, which no time zone moves: leave tz out, or dates=True"
        )
    if dates and intraday(bars.timeframe):
        raise BadTime(f"bars of {bars.timeframe} are stamped with times: dates=True is for 1d, 1w and 1M")


def _series(pd: Any, np: Any, name: str, column: Column) -> Any:
    size = len(column.data)
    if column.data.typecode == "d":
        return np.frombuffer(column.data, dtype="f8")
    if column.data.typecode == "B":
        return np.frombuffer(column.data, dtype="u1").astype(bool)
    values = np.frombuffer(column.data, dtype="i8").copy()
    known = np.ones(size, dtype=bool)
    if column.mask is not None:
        known = np.frombuffer(bits(column.mask, size), dtype="u1").astype(bool)
    if name in _ZONED:
        stamps = values.view("datetime64[ns]")
        stamps[~known] = np.datetime64("NaT", "ns")
        return pd.DatetimeIndex(stamps).tz_localize("UTC")
    values[~known] = 0
    return pd.arrays.IntegerArray(values, ~known)


def _exact(pd: Any, bars: Bars, values: Any, prices: Prices) -> Any:
    """Prices as decimals with the digits that IB sent, or as whole numbers of the smallest step."""
    if prices == "decimal":
        return pd.array([None if one != one else Decimal(repr(one)) for one in values.tolist()], dtype=object)
    if prices != "ticks":
        raise ValueError(f"prices must be float, decimal or ticks, not {prices!r}")
    step = Decimal(repr(bars.tick()))
    steps = [None if one != one else Decimal(repr(one)) / step for one in values.tolist()]
    return pd.array([None if one is None else int(one.to_integral_value()) for one in steps], dtype="Int64")


def pandas_many(many: ManyBars, **options: Any) -> "pandas_module.DataFrame":
    """As `ManyBars.pandas`."""
    pd = library("pandas", "pandas")
    parts = []
    for name, bars in many.items():
        frame = pandas(bars, **options)
        frame.insert(0, "symbol", name)
        parts.append(frame)
    if not parts:
        raise ValueError("none of the instruments could be read: see `errors`")
    for part in parts:
        part.attrs.clear()  # which concat compares, part by part
    return pd.concat(parts)


def _described(bars: Bars) -> dict[str, Any]:
    names = ("instrument_id", "timeframe", "price", "session", "version", "source", "complete")
    return {name: getattr(bars, name) for name in names} | {"missing": len(bars.missing)}


# ---- Arrow -----------------------------------------------------------------------------------------------------------


def arrow(bars: Bars, symbol: str | None = None) -> "pyarrow.Table":
    """As `Bars.arrow`. symbol: a column in front that is the same in each row."""
    pa = library("pyarrow", "arrow")
    names = list(bars.columns)
    found = [_arrow_array(pa, name, bars.columns[name]) for name in names]
    if symbol is not None:
        names, found = ["symbol", *names], [pa.array([symbol] * bars.columns.size, pa.string()), *found]
    metadata = {f"nautilus.{name}": json.dumps(value) for name, value in _described(bars).items()}
    return pa.table(dict(zip(names, found, strict=True)), metadata=metadata if symbol is None else None)


def _arrow_array(pa: Any, name: str, column: Column) -> Any:
    size = len(column.data)
    if column.data.typecode == "B":
        return pa.array([bool(one) for one in column.data], pa.bool_())
    kind = pa.timestamp("ns", "UTC") if name == "ts" or name in _ZONED else pa.int64()
    kind = pa.float64() if column.data.typecode == "d" else kind
    present = None if column.mask is None else pa.py_buffer(column.mask.to_bytes(-(-size // 8), "little"))
    return pa.Array.from_buffers(kind, size, [present, pa.py_buffer(column.data)])


def arrow_many(many: ManyBars) -> "pyarrow.Table":
    pa = library("pyarrow", "arrow")
    return pa.concat_tables([arrow(bars, name) for name, bars in many.items()])


# ---- polars and DuckDB -----------------------------------------------------------------------------------------------


def polars(bars: Bars, symbol: str | None = None) -> "polars_module.DataFrame":
    """As `Bars.polars`."""
    pl = library("polars", "polars")
    columns = [_polars_series(pl, name, column) for name, column in bars.columns.items()]
    if symbol is not None:
        columns.insert(0, pl.Series("symbol", [symbol] * bars.columns.size, dtype=pl.String))
    return pl.DataFrame(columns)


def _polars_series(pl: Any, name: str, column: Column) -> Any:
    kinds = {"d": pl.Float64, "q": pl.Int64, "B": pl.Boolean}
    values: Iterable[Any] = column.values() if column.mask is not None or column.data.typecode == "B" else column.data
    found = pl.Series(name, list(values), dtype=kinds[column.data.typecode])
    return found.cast(pl.Datetime("ns", "UTC")) if name == "ts" or name in _ZONED else found


def polars_many(many: ManyBars) -> "polars_module.DataFrame":
    pl = library("polars", "polars")
    return pl.concat([polars(bars, name) for name, bars in many.items()])


def duckdb(bars: Bars) -> "duckdb_module.DuckDBPyRelation":
    """As `Bars.duckdb`."""
    return relation(arrow(bars))


def relation(table: "pyarrow.Table") -> "duckdb_module.DuckDBPyRelation":
    return library("duckdb", "duckdb").from_arrow(table)
