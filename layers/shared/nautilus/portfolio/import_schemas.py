"""Bodies of the routes of imports."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from nautilus.http.json_values import WHOLE_NUMBER
from nautilus.portfolio.report_rows import MAX_FILE_BYTES
from nautilus.portfolio.report_times import zone_of

MAX_PART_BYTES, MAX_PARTS = 1_000_000, 100
"""Of a part: a body may have 1 MiB, and what an API gateway adds to it has room. A file of the largest size has 20 such parts."""


class ImportRequest(BaseModel):
    """A file of fills that is about to be uploaded."""

    model_config = ConfigDict(extra="forbid")

    account: str = Field(
        min_length=1, max_length=32, description="of which account; rows of other accounts are refused"
    )
    kind: Literal["flex", "csv"] = Field(description="flex: a Flex query in XML; csv: trades in CSV")
    name: str = Field(min_length=1, max_length=200, description="what the file is called; for people")
    size: Annotated[int, Field(ge=1, le=MAX_FILE_BYTES), WHOLE_NUMBER] = Field(description="bytes of the whole file")
    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="of the whole file, in hexadecimal digits")
    time_zone: str | None = Field(
        None,
        min_length=1,
        max_length=64,
        description="zone of the times in the file that name none, such as America/New_York; none: such rows are refused",
    )

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, value: str | None) -> str | None:
        if value is not None and zone_of(value) is None:
            raise ValueError("must be a name of the IANA list of time zones, such as America/New_York")
        return value

    @field_validator("name")
    @classmethod
    def _printable(cls, value: str) -> str:
        if not value.isprintable():
            raise ValueError("must not hold control characters")
        return value
