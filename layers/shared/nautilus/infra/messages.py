"""What goes over the queue: hints. They carry ids only, and may come twice, late, out of order or never."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter


class _Hint(BaseModel):
    # Functions load these and send few: the checks are built with the first one.
    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    v: Literal[1] = 1
    correlation_id: str = ""


class JobHint(_Hint):
    """A backfill job was written, or has to stop: read its row."""

    kind: Literal["job"] = "job"
    job_id: UUID


class CommandHint(_Hint):
    """A bridge command was written: read its row."""

    kind: Literal["command"] = "command"
    command_id: UUID


Hint = Annotated[JobHint | CommandHint, Field(discriminator="kind")]
HINT: TypeAdapter[JobHint | CommandHint] = TypeAdapter(Hint, config=ConfigDict(defer_build=True))
