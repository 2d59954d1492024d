"""Bodies of the routes of exports."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from nautilus.clock import nanoseconds
from nautilus.exports.layouts import DEFAULT_SPLITS, Layout, Split
from nautilus.http.json_values import Flag
from nautilus.market.timeframes import NAMES, timeframe

MAX_NAMES = 200
Name = Annotated[str, Field(min_length=1, max_length=60)]


class Download(BaseModel):
    """The files are kept by this API until they expire."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["download"] = "download"


class Folder(BaseModel):
    """The files are written to a folder of the machine on which the export task runs."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["folder"]
    path: str = Field(min_length=1, max_length=400, description="absolute, below one of NAUTILUS_EXPORT_ROOTS")


class Bucket(BaseModel):
    """The files are written to a bucket of S3."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["s3"]
    bucket: str = Field(min_length=3, max_length=63, description="one of NAUTILUS_EXPORT_BUCKETS")
    prefix: str = Field("", max_length=400, description="in front of the names of all files")


Target = Annotated[Download | Folder | Bucket, Field(discriminator="kind")]


class ExportRequest(BaseModel):
    """Which series are exported, from when to when, in which form and where to."""

    model_config = ConfigDict(extra="forbid")

    symbols: list[Name] | None = Field(None, min_length=1, max_length=MAX_NAMES, description="such as AAPL or EUR/USD")
    instrument_ids: list[Name] | None = Field(
        None, min_length=1, max_length=MAX_NAMES, description="such as AAPL.NASDAQ"
    )
    all: Flag = Field(False, description="every instrument that has bars")
    timeframes: list[Name] | None = Field(
        None, min_length=1, max_length=len(NAMES), description="none: all that are stored"
    )
    price: str | None = Field(None, max_length=20, description="TRADES, MIDPOINT, ...; none: all that are stored")
    session: Literal["rth", "all"] | None = Field(None, description="none: both, where both are stored")
    start: int | None = Field(
        None, description="first stamp, RFC 3339 with offset or epoch nanoseconds; none: the oldest"
    )
    end: int | None = Field(None, description="end, excluded; none: behind the newest")
    format: Literal["parquet", "arrow", "csv"] = "parquet"
    layout: Layout = Layout.HIVE
    compression: Literal["zstd", "gzip", "none"] = "zstd"
    split: Split | None = Field(None, description="none: year; of a catalog month")
    target: Target = Download()
    require: Literal["any", "complete"] = Field("any", description="complete: refuse what has gaps")
    dry_run: Flag = Field(False, description="only say what would be written")

    @field_validator("start", "end", mode="before")
    @classmethod
    def _time(cls, value: Any) -> Any:
        return nanoseconds(value)

    @field_validator("timeframes")
    @classmethod
    def _known_timeframes(cls, value: list[str] | None) -> list[str] | None:
        return [timeframe(name).name for name in value] if value is not None else None

    @model_validator(mode="after")
    def _fits_together(self) -> "ExportRequest":
        if (self.symbols is not None) + (self.instrument_ids is not None) + self.all != 1:
            raise ValueError("give one of symbols, instrument_ids, all")
        if self.start is not None and self.end is not None and self.start >= self.end:
            raise ValueError("start must be before end")
        for name, moment in (("start", self.start), ("end", self.end)):
            if moment is not None and not 0 <= moment < 2**63:
                raise ValueError(f"{name} lies before 1970 or after 2262")
        if self.layout.catalog and self.format != "parquet":
            raise ValueError(f"format: a catalog ({self.layout}) is of parquet")
        if self.format == "arrow" and self.compression == "gzip":
            raise ValueError("compression: arrow has zstd or none")
        return self

    @property
    def cut(self) -> Split:
        """How each series is cut into files."""
        return self.split or DEFAULT_SPLITS[self.layout]

    @property
    def ending(self) -> str:
        """How the names of files end."""
        if self.format != "csv":
            return self.format
        return {"zstd": "csv.zst", "gzip": "csv.gz", "none": "csv"}[self.compression]
