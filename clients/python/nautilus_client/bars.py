"""Bars as a caller has them: what they are, whether all are there, and as a frame of whichever library is installed."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from nautilus_client.columns import Columns
from nautilus_client.errors import Incomplete
from nautilus_client.pages import Gap as Gap
from nautilus_client.pages import Info
from nautilus_client.times import text

if TYPE_CHECKING:
    import duckdb
    import pandas
    import polars
    import pyarrow

Prices = Literal["float", "decimal", "ticks"]


class Bar(NamedTuple):
    """One bar. ts: ns since the epoch, UTC: when it opens, or midnight of its date (1d, 1w, 1M)."""

    ts: int
    open: float
    high: float
    low: float
    close: float
    volume: float | None = None
    vwap: float | None = None
    trades: int | None = None


class Source(NamedTuple):
    """Where the rest of some bars comes from. load: everything. batches: part by part, nothing is kept. details: of the
    instrument, with `min_tick`; zone: the exchange's, by its IANA name."""

    load: Callable[[], tuple[Info, Columns]]
    batches: Callable[[], Iterator[tuple[Info, Columns]]]
    details: Callable[[], Mapping[str, Any]]
    zone: Callable[[], str]


class Bars:
    """Bars of one series. What was not read yet is read when it is first used; `batches` reads without keeping.

    name: as the caller named the instrument.
    """

    def __init__(self, name: str, info: Info, columns: Columns | None, source: Source) -> None:
        self.name = name
        self._info = info
        self._columns = columns
        self._source = source

    # ---- what they are -----------------------------------------------------------------------------------------------

    @property
    def info(self) -> Info:
        return self._info

    @property
    def instrument_id(self) -> str:
        """Such as AAPL.NASDAQ."""
        return self._info.instrument_id

    @property
    def timeframe(self) -> str:
        return self._info.timeframe

    @property
    def price(self) -> str:
        """What the bars are made of: TRADES, MIDPOINT, BID, ASK, BID_ASK, AGGTRADES."""
        return self._info.price

    @property
    def session(self) -> str:
        """rth or all."""
        return self._info.session

    @property
    def version(self) -> int:
        """The version of the series that all of these bars have; `as_of=` gives them again."""
        return self._info.version

    @property
    def source(self) -> str:
        """Where they come from: ib:live, sim:7, or `derived from 1m`."""
        return self._info.source

    @property
    def window(self) -> tuple[str, str]:
        """The range that was read, RFC 3339, end excluded."""
        return text(self._info.window[0]), text(self._info.window[1])

    @property
    def complete(self) -> bool | None:
        """Whether nothing of the window is missing. None with `as_of`: coverage has no versions."""
        return self._whole()[0].complete

    @property
    def missing(self) -> Sequence[Gap]:
        """What is missing, and why."""
        return self._whole()[0].missing

    def require_complete(self) -> "Bars":
        """These bars. Incomplete when some are missing."""
        if self.complete is False:
            raise Incomplete(self._info.series, self.missing)
        return self

    @property
    def zone(self) -> str:
        """The exchange's time zone, an IANA name."""
        return self._source.zone()

    # ---- the bars ----------------------------------------------------------------------------------------------------

    def _whole(self) -> tuple[Info, Columns]:
        if self._columns is None:
            self._info, self._columns = self._source.load()
        return self._info, self._columns

    @property
    def columns(self) -> Columns:
        """Name -> column, in arrays of the standard library."""
        return self._whole()[1]

    def __len__(self) -> int:
        return self.columns.size

    def __iter__(self) -> Iterator[Bar]:
        known = [name for name in Bar._fields if name in self.columns]
        for row in zip(*(self.columns[name].values() for name in known), strict=True):
            yield Bar(**dict(zip(known, row, strict=True)))

    def batches(self) -> Iterator["Bars"]:
        """The same bars part by part, 50,000 at most each, ascending. None is kept, so that memory stays bounded."""
        if self._columns is not None:
            yield self
            return
        for info, columns in self._source.batches():
            yield Bars(self.name, info, columns, self._source)

    # ---- frames ------------------------------------------------------------------------------------------------------

    def pandas(self, *, tz: str | None = None, dates: bool = False, prices: Prices = "float") -> "pandas.DataFrame":
        """A DataFrame. index: DatetimeIndex `ts`, ns, UTC; columns float64, `trades` Int64. Empty bars give the same schema.

        tz: `exchange`, or a zone; not for 1d, 1w and 1M, whose stamps are dates. dates: of these alone, an index of dates
        without a zone, named `date`. prices: `decimal` for Decimal, `ticks` for whole numbers of the smallest price step.
        """
        from nautilus_client import frames

        return frames.pandas(self, tz=tz, dates=dates, prices=prices)

    def polars(self) -> "polars.DataFrame":
        """A DataFrame with `ts` as Datetime(ns, UTC)."""
        from nautilus_client import frames

        return frames.polars(self)

    def arrow(self) -> "pyarrow.Table":
        """A Table with `ts` as timestamp[ns, UTC]; its metadata says series, version, source and whether it is complete."""
        from nautilus_client import frames

        return frames.arrow(self)

    def duckdb(self) -> "duckdb.DuckDBPyRelation":
        """A relation of DuckDB's default connection."""
        from nautilus_client import frames

        return frames.duckdb(self)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """For any library that takes Arrow's C stream; pyarrow makes it."""
        return self.arrow().__arrow_c_stream__(requested_schema)

    def save(self, path: str | Path) -> Path:
        """Write a file by its ending: .parquet, .arrow, .csv, .ndjson or .json. It has its name when it is whole."""
        from nautilus_client import files

        return files.save(self, Path(path))

    def plot(self, **options: Any) -> Any:
        """Candles and volume by mplfinance; options go to its `plot`. Gaps in trading take no room."""
        from nautilus_client.analysis import plots

        return plots.candles(self, **options)

    def tick(self) -> float:
        """The smallest price step that IB names for the instrument."""
        return float(self._source.details()["min_tick"])

    def __repr__(self) -> str:
        info = self._info
        size = f"{self._columns.size:,} bars" if self._columns is not None else "not all read yet"
        state = {True: "complete", False: f"{len(info.missing)} ranges missing", None: "as of a version"}[info.complete]
        return f"<Bars {info.series}, {self.window[0]} to {self.window[1]}: {size}, version {info.version}, {state}>"


class ManyBars(Mapping[str, Bars]):
    """Bars of several instruments, by the name that the caller gave. Each has a version of its own.

    `errors`: those that could not be read, each with its error.
    """

    def __init__(self, found: Mapping[str, Bars], errors: Mapping[str, Exception]) -> None:
        self._found = dict(found)
        self.errors = dict(errors)

    def __getitem__(self, name: str) -> Bars:
        if name in self.errors:
            raise self.errors[name]
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    @property
    def complete(self) -> bool | None:
        """Whether each is; an instrument that could not be read is not."""
        known = [each.complete for each in self._found.values() if each.complete is not None]
        return not self.errors and all(known) if known or self.errors else None

    @property
    def missing(self) -> Mapping[str, Sequence[Gap]]:
        return {name: each.missing for name, each in self._found.items() if each.missing}

    def pandas(self, **options: Any) -> "pandas.DataFrame":
        """One DataFrame, symbol first, then time: the index is as that of one instrument, `symbol` is a column in front."""
        from nautilus_client import frames

        return frames.pandas_many(self, **options)

    def polars(self) -> "polars.DataFrame":
        from nautilus_client import frames

        return frames.polars_many(self)

    def arrow(self) -> "pyarrow.Table":
        from nautilus_client import frames

        return frames.arrow_many(self)

    def duckdb(self) -> "duckdb.DuckDBPyRelation":
        from nautilus_client import frames

        return frames.relation(self.arrow())

    def __repr__(self) -> str:
        return f"<ManyBars {', '.join(self._found)}>"
