"""Parameters in the address of the routes of strategies."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from nautilus.auth.link_words import MAX_SECRET
from nautilus.strategies.states import RunState

MAX_LISTED = 200
MAX_ROWS = 1_000
STATES = tuple(state.value for state in RunState)


class ListParameters(BaseModel):
    """Which configurations, and which page of them."""

    after: UUID | None = Field(None, description="the last one of the page before")
    limit: Annotated[int, Field(ge=1, le=MAX_LISTED)] = 50


class BacktestParameters(ListParameters):
    state: str | None = Field(None, description=f"one of {', '.join(STATES)}")
    config_id: UUID | None = Field(None, description="of this configuration alone")
    sweep_id: UUID | None = Field(None, description="of this sweep alone")


class RunParameters(ListParameters):
    state: str | None = Field(None, description=f"one of {', '.join(STATES)}")
    config_id: UUID | None = Field(None, description="of this configuration alone")
    mode: Literal["paper", "live"] | None = None


class RowParameters(BaseModel):
    """Which page of the rows of a run."""

    after: Annotated[int, Field(ge=0, le=2**53 - 1)] = 0
    """The number of the last row of the page before."""
    limit: Annotated[int, Field(ge=1, le=MAX_ROWS)] = 100


class FileParameters(BaseModel):
    """In which form."""

    format: Literal["json", "csv"] = "json"
    link: str | None = Field(None, max_length=MAX_SECRET, description="the secret of a link of one use")


class FillRowParameters(RowParameters, FileParameters):
    """As JSON a page; as CSV all fills, whatever `after` and `limit` say."""


class ReportParameters(BaseModel):
    """In which form."""

    format: Literal["html", "json"] = "html"
    link: str | None = Field(None, max_length=MAX_SECRET, description="the secret of a link of one use")


class EventParameters(RowParameters):
    kind: Literal["state", "signal", "log", "fault", "revision", "denied", "gap"] | None = None
