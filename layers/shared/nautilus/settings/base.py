"""All settings of a process, read once when it starts. One class per process.

Environment variables are the field names in upper case with the prefix NAUTILUS_. A missing or wrong one stops the
process with a sentence that names it. docs/settings.md lists them all; a test keeps that list whole. A process builds
the checks of its own class alone, when it reads it: those of all classes cost a function 35 ms of its cold start. What
functions read is in nautilus.settings.api and auth; what the bridge and the commands read is in nautilus.settings.bridge,
as no function needs it.

A value that is the ARN of a secret stands for the secret's text: the environment of a Lambda function may not hold
secrets.
"""

import os
import re
import sys
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator

from nautilus.errors import InvalidInput
from nautilus.live.watch_series import WatchSeries, parse_list
from nautilus.settings.database_url import check_safe
from nautilus.settings.secrets import SECRET_ARN, read_secret


class Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    env: Literal["dev", "test", "staging", "prod"] = Field(
        "dev", description="where this runs; staging and prod are deployed"
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="least severity that is logged")

    @property
    def deployed(self) -> bool:
        return self.env in ("staging", "prod")

    @field_validator("*", mode="before")
    @classmethod
    def _read_secret(cls, value: Any) -> Any:
        found = re.fullmatch(SECRET_ARN, value) if isinstance(value, str) and value.startswith("arn:") else None
        return read_secret(value, found["region"]) if found else value


class DatabaseSettings(Settings):
    database_url: SecretStr = Field(description="postgresql://user:password@host:port/name of the store")
    database_pool: int = Field(10, ge=1, le=100, description="connections kept open; 1 in Lambda")
    statement_timeout_ms: int = Field(15_000, ge=100, description="longest statement before PostgreSQL stops it")

    @field_validator("database_url", "replica_url", check_fields=False)
    @classmethod
    def _is_postgresql(cls, value: SecretStr) -> SecretStr:
        if value.get_secret_value() and not value.get_secret_value().startswith(("postgresql://", "postgres://")):
            raise ValueError("must begin with postgresql://")
        return value

    @model_validator(mode="after")
    def _safe_when_deployed(self) -> "DatabaseSettings":
        for name in ("database_url", "replica_url"):
            url = getattr(self, name, None)
            if self.deployed and url and url.get_secret_value():
                check_safe(name, url.get_secret_value(), os.environ)
        return self


class QueueSettings(Settings):
    queue_url: str = Field("", description="SQS queue of hints; empty: none, the bridge's sweep finds the work")
    queue_endpoint: str = Field("", description="SQS endpoint of a local stand-in; empty: AWS")
    queue_region: str = Field("us-east-1", description="AWS region of the queue")


class WatchSettings(Settings):
    """What the bridge keeps current for ever, and what the functions say of it."""

    live_watch: tuple[str, ...] = Field(
        (),
        description="series that are kept current while nobody has set a watch list, such as `AAPL.NASDAQ:1m`,"
        " comma-separated",
    )

    @field_validator("live_watch", mode="before")
    @classmethod
    def _split_series(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("live_watch")
    @classmethod
    def _are_series(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        try:
            parse_list(value)
        except InvalidInput as wrong:
            raise ValueError(wrong.detail) from None
        return value

    @property
    def watched(self) -> tuple[WatchSeries, ...]:
        """The series of `live_watch`."""
        return parse_list(self.live_watch)


def snapshot_follows() -> bool:
    """True in a Lambda function during the init whose result SnapStart keeps: what is loaded now is free later."""
    return os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start"


S = TypeVar("S", bound=Settings)
_PREFIX = "NAUTILUS_"


def read(kind: type[S]) -> S:
    """The settings of this process, from its environment. ValidationError: `explain` makes sentences of it."""
    values = {name: os.environ.get(_PREFIX + name.upper()) for name in kind.model_fields}
    return kind.model_validate({name: value for name, value in values.items() if value is not None})


def load(kind: type[S]) -> S:
    """The settings of this process; on a missing or wrong one, a sentence for each on stderr and exit status 2."""
    try:
        return read(kind)
    except ValidationError as wrong:
        print(explain(wrong), file=sys.stderr)
        raise SystemExit(2) from None


def explain(wrong: ValidationError) -> str:
    """One line per setting that is missing or wrong; values are not repeated, they may be secrets."""
    lines = ["The settings are not right (docs/settings.md lists them):"]
    for error in wrong.errors(include_input=False, include_url=False):
        name = _PREFIX + "_".join(str(part) for part in error["loc"]).upper() if error["loc"] else "together"
        what = "is missing" if error["type"] == "missing" else error["msg"].removeprefix("Value error, ")
        lines.append(f"  {name}: {what}")
    return "\n".join(lines)
