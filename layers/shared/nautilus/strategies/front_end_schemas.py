"""Bodies of the routes of strategies that the web front end of before sends."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from nautilus.clock import nanoseconds
from nautilus.http.json_values import Flag
from nautilus.orders.schemas import MAX_ACCOUNT
from nautilus.strategies.schemas import MAX_NAME, MAX_PARAMETERS, Parameters

MAX_COMPARED = 50


class PageConfig(BaseModel):
    """A new strategy. Its parameters hold `instrument_id` and `timeframe`, too."""

    model_config = ConfigDict(extra="forbid")

    template_id: str = Field(min_length=1, max_length=MAX_NAME)
    name: str = Field(min_length=1, max_length=MAX_NAME)
    parameters: Parameters = Field(default_factory=dict, max_length=MAX_PARAMETERS)
    risk_settings: dict[Annotated[str, Field(max_length=MAX_NAME)], Any] | None = Field(None, max_length=MAX_PARAMETERS)


class PageConfigChange(BaseModel):
    """What of a strategy is to change."""

    model_config = ConfigDict(extra="forbid")

    name: str | None = Field(None, min_length=1, max_length=MAX_NAME)
    parameters: Parameters | None = Field(None, max_length=MAX_PARAMETERS)


class PageValidation(BaseModel):
    model_config = ConfigDict(extra="forbid")

    template_id: str = Field(min_length=1, max_length=MAX_NAME)
    name: str | None = Field(None, max_length=MAX_NAME)
    parameters: Parameters = Field(default_factory=dict, max_length=MAX_PARAMETERS)


class PageDeployment(BaseModel):
    """Run a strategy. A back-test may name its range; a live run names its account, twice."""

    model_config = ConfigDict(extra="forbid")

    strategy_id: str = Field(min_length=1, max_length=MAX_NAME)
    deployment_mode: Literal["live", "paper", "backtest"]
    start: int | None = Field(None, description="of a back-test; none: 30 days back")
    end: int | None = Field(None, description="of a back-test; none: now")
    account: str | None = Field(None, max_length=MAX_ACCOUNT)
    confirm: str | None = Field(None, max_length=MAX_ACCOUNT)

    @field_validator("start", "end", mode="before")
    @classmethod
    def _time(cls, value: Any) -> Any:
        return nanoseconds(value)


class PageControl(BaseModel):
    model_config = ConfigDict(extra="forbid")

    action: Literal["start", "stop", "pause", "resume"]
    force: Flag = Field(False, description="with stop: its position is closed, too")


class PageComparison(BaseModel):
    """Which strategies are compared; none: all of the caller."""

    model_config = ConfigDict(extra="forbid")

    strategy_ids: list[Annotated[str, Field(max_length=MAX_NAME)]] = Field(
        default_factory=list, max_length=MAX_COMPARED
    )
    start_date: str | None = Field(
        None, max_length=40, description="counts for nothing: figures are those of whole runs"
    )
    end_date: str | None = Field(None, max_length=40)
    benchmark: str | None = Field(None, max_length=40)
