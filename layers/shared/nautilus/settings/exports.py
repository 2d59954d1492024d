"""Where exports may be written. The function of exports reads it and checks requests by it, the export task writes by it."""

from pathlib import PurePosixPath
from typing import Any

from pydantic import Field, field_validator

from nautilus.settings.base import DatabaseSettings, Settings


class ExportTargets(Settings):
    """Which folders and buckets exports may be written to."""

    export_dir: str = Field("", description="folder for files that are downloaded from this API; empty: none")
    export_roots: tuple[str, ...] = Field(
        (), description="folders below which an export may be written to a folder, comma-separated; not when deployed"
    )
    export_bucket: str = Field("", description="S3 bucket for files that are downloaded; wins over export_dir")
    export_buckets: tuple[str, ...] = Field(
        (), description="S3 buckets that an export may be written to, comma-separated"
    )
    export_endpoint: str = Field("", description="S3 endpoint of a local stand-in; empty: AWS")
    export_region: str = Field("us-east-1", description="AWS region of the buckets")
    export_days: int = Field(7, ge=1, le=365, description="days until files that are downloaded are removed")

    @field_validator("export_roots", "export_buckets", mode="before")
    @classmethod
    def _split_list(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("export_roots", "export_dir")
    @classmethod
    def _are_absolute(cls, value: Any) -> Any:
        for folder in (value,) if isinstance(value, str) else value:
            path = PurePosixPath(folder)
            if folder and (not path.is_absolute() or ".." in path.parts or path == PurePosixPath("/")):
                raise ValueError("must be absolute folders without .., and not /")
        return value


class ExportTaskSettings(DatabaseSettings, ExportTargets):
    """What the export task reads."""

    export_poll_s: float = Field(1.0, ge=0.05, le=60, description="how often the task looks for work")
    export_lease_s: float = Field(
        60.0, ge=1, le=3_600, description="after so long without a word of it another task takes over"
    )
    export_row_group: int = Field(131_072, ge=1_000, le=1_048_576, description="bars in a row group of a file")
