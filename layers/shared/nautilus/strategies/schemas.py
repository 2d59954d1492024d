"""Bodies of the routes of strategies: configurations, back-tests, runs in paper and live."""

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, field_validator

from nautilus.clock import nanoseconds
from nautilus.http.json_values import WHOLE_NUMBER, Flag
from nautilus.live.schemas import NamedInstrument
from nautilus.orders.schemas import MAX_ACCOUNT, DecimalText

MAX_NAME, MAX_TEXT = 100, 1_000
MAX_INSTRUMENTS = 10
MAX_PARAMETERS = 50
MAX_COMBINATIONS = 50
"""Back-tests of one request with a grid."""
MAX_WARM_UP = 10_000
MAX_SEED = 2**31 - 1

Parameters = Annotated[
    dict[Annotated[str, Field(max_length=MAX_NAME)], Any],
    Field(description="by the schema of the template; what is left out has its default"),
]
Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME)]


class ConfigRequest(BaseModel):
    """A template with its parameters and what it runs on, under a name."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    description: str = Field("", max_length=MAX_TEXT)
    template: Name
    parameters: Parameters = Field(default_factory=dict, max_length=MAX_PARAMETERS)
    instruments: list[NamedInstrument] = Field(
        default_factory=list, max_length=MAX_INSTRUMENTS, description="none: each run names its own"
    )
    timeframe: str | None = None
    session: Literal["rth", "all"] | None = Field(None, description="none: the usual one of the first instrument")


class ConfigChange(BaseModel):
    """What of a configuration is to change. What is not named stays."""

    model_config = ConfigDict(extra="forbid")

    name: Name | None = None
    description: str | None = Field(None, max_length=MAX_TEXT)
    parameters: Parameters | None = Field(None, max_length=MAX_PARAMETERS)
    instruments: list[NamedInstrument] | None = Field(None, max_length=MAX_INSTRUMENTS)
    timeframe: str | None = None
    session: Literal["rth", "all"] | None = None
    accept_new_version: Flag = Field(False, description="use the template as it is now, though its code has changed")


class ValidateRequest(BaseModel):
    """Parameters to check against the schema of a template."""

    model_config = ConfigDict(extra="forbid")

    template: Name
    parameters: Parameters = Field(default_factory=dict, max_length=MAX_PARAMETERS)


class _Run(BaseModel):
    """What every run is made of: a configuration, or a template with all that it needs."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field("", max_length=MAX_NAME)
    config_id: UUID | None = Field(None, description="a configuration, instead of template")
    template: Name | None = None
    parameters: Parameters = Field(
        default_factory=dict, max_length=MAX_PARAMETERS, description="beside config_id: instead of those of that name"
    )
    instruments: list[NamedInstrument] = Field(
        default_factory=list, max_length=MAX_INSTRUMENTS, description="the first is traded; none: those of config_id"
    )
    timeframe: str | None = Field(None, description="none: that of config_id, else 1m")
    session: Literal["rth", "all"] | None = None
    fill: Literal["next_open", "close"] = Field(
        "next_open", description="a market order fills at the open of the next bar, or at the close just seen"
    )
    capital: DecimalText | None = Field(None, description="100000 by default; of paper and back-tests")
    warm_up_bars: Annotated[int, Field(ge=0, le=MAX_WARM_UP), WHOLE_NUMBER] | None = Field(
        None, description="bars before the first on which something is decided; none: what the template asks for"
    )
    accept_new_version: Flag = Field(False, description="run though the template's code has changed since config_id")


class BacktestRequest(_Run):
    """A back-test, or with a grid one for each combination of its values."""

    start: int | None = Field(None, description="RFC 3339 with offset, or epoch nanoseconds; needed")
    end: int | None = Field(None, description="excluded; needed")
    adaptive_ordering: Flag = Field(True, description="of a bar's high and low the nearer to its open comes first")
    seed: Annotated[int, Field(ge=0, le=MAX_SEED), WHOLE_NUMBER] = Field(1, description="of whatever is random")
    grid: dict[Annotated[str, Field(max_length=MAX_NAME)], list[Any]] | None = Field(
        None, max_length=MAX_PARAMETERS, description="parameter -> values to try"
    )
    repeat_of: UUID | None = Field(
        None, description="the same back-test once more, on the bars as it saw them; with no other field but name"
    )
    allow_missing: Flag = Field(False, description="run although bars of the range are missing")

    @field_validator("start", "end", mode="before")
    @classmethod
    def _time(cls, value: Any) -> Any:
        return nanoseconds(value)


class RunRequest(_Run):
    """A run on live data: in paper with simulated fills, or live with orders."""

    mode: Literal["paper", "live"]
    account: str | None = Field(None, min_length=1, max_length=MAX_ACCOUNT, description="of a live run; needed there")
    confirm: str | None = Field(None, max_length=MAX_ACCOUNT, description="of a live run: the account once more")
    on_crash: Literal["keep", "cancel"] = Field("keep", description="open orders while its process is away")
    restart_on_fault: Flag = Field(False, description="start again after an error in the strategy's code")


class LinkRequest(BaseModel):
    """What a link of one use is to open."""

    model_config = ConfigDict(extra="forbid")

    what: Literal["report", "fills", "equity", "round-trips"] = "report"
