"""Bodies of the backfill routes."""

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from nautilus.clock import nanoseconds
from nautilus.http.json_values import MAX_NUMBER, WHOLE_NUMBER, Flag
from nautilus.market.timeframes import NAMES

_DURATION = r"\s*([0-9]{1,10})\s*([SDWMY])\s*"
MAX_DAYS_BACK = 50 * 365
"""Fifty years: longer than IB has daily bars of anything."""
_MOST_BACK_S = MAX_DAYS_BACK * 86_400
_UNIT_S = {"S": 1, "D": 86_400, "W": 7 * 86_400, "M": 30 * 86_400, "Y": 365 * 86_400}


class BackfillRequest(BaseModel):
    """What a caller wants filled. Give one way to name instruments, and one to name the range."""

    model_config = ConfigDict(extra="forbid")

    symbol: str | None = Field(None, description="one symbol, such as AAPL or EUR/USD")
    symbols: list[str] | None = Field(None, min_length=1, max_length=200, description="several symbols")
    instrument_id: str | None = Field(None, description="one instrument, such as AAPL.NASDAQ")
    con_id: Annotated[int, Field(ge=1, le=MAX_NUMBER), WHOLE_NUMBER] | None = Field(
        None, description="one instrument by IB's number of its contract"
    )
    asset_class: str | None = None
    exchange: str | None = None
    currency: str | None = None
    expiry: str | None = Field(
        None, description="contract month of a future, yyyymm or yyyymmdd; none: the front contract"
    )
    timeframe: str | None = None
    timeframes: list[str] | None = Field(None, min_length=1, max_length=len(NAMES))
    start: int | None = Field(None, description="first moment, RFC 3339 with offset or epoch nanoseconds")
    end: int | None = Field(None, description="end, excluded; none: the last closed bar")
    duration: str | None = Field(None, description="instead of start: `1 D`, `2 W`, `6 M`, `1 Y` back from end")
    days_back: Annotated[int, Field(ge=1, le=MAX_DAYS_BACK), WHOLE_NUMBER] | None = Field(
        None, description="instead of start: days back from end"
    )
    price: str | None = None
    session: str | None = None
    priority: Annotated[int, Field(ge=0, le=9), WHOLE_NUMBER] = Field(4, description="9 first")
    mode: Literal["missing", "force"] = "missing"
    dry_run: Flag = False

    @field_validator("start", "end", mode="before")
    @classmethod
    def _time(cls, value: Any) -> Any:
        return nanoseconds(value)

    @field_validator("duration")
    @classmethod
    def _duration(cls, value: str | None) -> str | None:
        found = re.fullmatch(_DURATION, value) if value is not None else None
        if value is not None and not (found and 0 < int(found[1]) * _UNIT_S[found[2]] <= _MOST_BACK_S):
            raise ValueError("must be a number from 1 on and one of S D W M Y, such as 30 D, and at most 50 Y")
        return value

    @model_validator(mode="after")
    def _one_range(self) -> "BackfillRequest":
        if sum(x is not None for x in (self.start, self.duration, self.days_back)) > 1:
            raise ValueError("give only one of start, duration, days_back")
        for name, moment in (("start", self.start), ("end", self.end)):
            if moment is not None and moment < 0:
                raise ValueError(f"{name} must not be before 1970: IB has no bars from then")
        if self.start is not None and self.end is not None and self.start >= self.end:
            raise ValueError("start must be before end")
        return self

    @property
    def back_s(self) -> int | None:
        """The length that duration or days_back names, in seconds."""
        if self.days_back is not None:
            return self.days_back * 86_400
        if self.duration is None:
            return None
        found = re.fullmatch(_DURATION, self.duration)
        return int(found[1]) * _UNIT_S[found[2]] if found else None


class StopRequest(BaseModel):
    """Which job to stop; without an id all own ones (an administrator: all)."""

    model_config = ConfigDict(extra="forbid")

    job_id: str | None = None

    @field_validator("job_id")
    @classmethod
    def _named(cls, value: str | None) -> str:
        # Looked at only where it is given: an id that somebody's script does not have names no job, least of all every one.
        if value is None:
            raise ValueError("null is the id of no job")
        return value
