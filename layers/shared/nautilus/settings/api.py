"""Everything a process is told from outside, read once at its door. One class per process.

Environment variables are the field names in upper case with the prefix NAUTILUS_. A missing or wrong one stops the
process with a sentence that names it. docs/settings.md lists them all; a test keeps that list whole. A process builds
the checks of its own class alone, when it reads it: those of all classes cost a function 35 ms of its cold start. What
the bridge and the commands read is in nautilus.settings.bridge, as no function needs it.

A value that is the ARN of a secret stands for the secret's text: the environment of a Lambda function is no place for
secrets.
"""

import ipaddress
import json
import os
import re
import sys
from collections.abc import Iterable
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator

from nautilus.settings.database_url import check_safe

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
ORIGIN = r"https?://[a-z0-9.-]+(:[0-9]{1,5})?"
"""An origin as browsers write it. infra/template.yaml has the same for its parameter CorsOrigins."""
DEVELOPMENT_KEY = "dev-"
"""Names of signing keys made on a developer's machine begin so."""
_SECRET = r"arn:aws[a-z-]*:secretsmanager:(?P<region>[a-z0-9-]+):\d{12}:secret:\S+"
_EXTENSION_PORT = 2773  # AWS's default; PARAMETERS_SECRETS_EXTENSION_HTTP_PORT moves the extension, and us with it
_SECRET_TIMEOUT_S = 5


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
        found = re.fullmatch(_SECRET, value) if isinstance(value, str) and value.startswith("arn:") else None
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


class ApiSettings(DatabaseSettings, QueueSettings):
    """What every function reads. Each uses a part; one class, so that local and deployed run the same."""

    api_host: str = Field("127.0.0.1", description="address the local API binds")
    replica_url: SecretStr = Field(
        SecretStr(""), description="postgresql://... of a hot standby of the store, to read bars from; empty: none"
    )
    redis_url: SecretStr = Field(SecretStr(""), description="redis://... of the cache; empty: none")
    token_public_keys: str = Field(description="JSON object kid -> public key (PEM), to check access tokens")
    token_issuer: str = Field("nautilus", description="`iss` of access tokens")
    token_audience: str = Field("nautilus-api", description="`aud` of access tokens")
    anonymous_scopes: tuple[str, ...] = Field(
        (), description="scopes of callers without credentials, comma-separated; dev on loopback only"
    )
    cors_origins: tuple[str, ...] = Field(
        (), description="origins of front ends, such as https://app.example.com, comma-separated"
    )
    trusted_proxies: tuple[str, ...] = Field(
        (), description="addresses or networks of proxies whose X-Forwarded-For is believed, comma-separated"
    )
    max_body_bytes: int = Field(1_048_576, ge=1_024, le=6_000_000, description="largest request body")
    watch_list: tuple[str, ...] = Field(
        ("AAPL", "MSFT", "GOOGL", "AMZN", "TSLA", "NVDA", "SPY", "QQQ", "EUR/USD", "GBP/USD", "AUD/USD", "USD/JPY"),
        description="symbols of a backfill that names none, comma-separated",
    )
    watch_timeframes: tuple[str, ...] = Field(
        ("1d", "1h", "15m", "5m"), description="timeframes of a backfill that names none, comma-separated"
    )
    watch_days: int = Field(30, ge=1, description="days of a backfill that names none")
    read_wait_s: float = Field(
        8.0, ge=0, le=20, description="longest wait of a read for a window that is wholly missing"
    )
    read_plan_limit: int = Field(20, ge=0, description="requests a read may queue by itself")
    reads_per_minute: int = Field(
        3_000, ge=0, description="requests for market data that one caller may make in a minute; 0: any number"
    )
    search_wait_s: float = Field(6.0, ge=0, le=20, description="longest wait for IB to resolve or search an instrument")

    @field_validator(
        "anonymous_scopes", "cors_origins", "trusted_proxies", "watch_list", "watch_timeframes", mode="before"
    )
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("token_public_keys")
    @classmethod
    def _are_keys(cls, value: str) -> str:
        try:
            found = json.loads(value)
        except ValueError:
            found = None
        if not isinstance(found, dict) or not all(kid and isinstance(pem, str) for kid, pem in found.items()):
            raise ValueError("must be a JSON object of key id and public key (PEM)")
        return value

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if not re.fullmatch(ORIGIN, origin):
                raise ValueError("each must be an origin such as https://app.example.com: no path, no *, small letters")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for network in value:
            ipaddress.ip_network(network)
        return value

    @model_validator(mode="after")
    def _anonymous_only_at_home(self) -> "ApiSettings":
        if self.anonymous_scopes:
            if self.env != "dev" or self.api_host not in _LOOPBACK:
                raise ValueError("anonymous_scopes is allowed only with NAUTILUS_ENV=dev and a loopback api_host")
            allowed = {"bars:read", "backfill:write", "monitoring:read"}
            if not set(self.anonymous_scopes) <= allowed:
                raise ValueError(f"anonymous_scopes may hold only {', '.join(sorted(allowed))}")
        return self

    @model_validator(mode="after")
    def _no_development_keys_when_deployed(self) -> "ApiSettings":
        self._refuse_development_keys(self.public_keys)
        return self

    @property
    def public_keys(self) -> dict[str, str]:
        """kid -> PEM."""
        found: dict[str, str] = json.loads(self.token_public_keys)
        return found

    def _refuse_development_keys(self, kids: Iterable[str]) -> None:
        """ValueError when this is deployed and one of these signing keys was made on a developer's machine."""
        for kid in kids:
            if self.deployed and kid.startswith(DEVELOPMENT_KEY):
                raise ValueError(f"the signing key {kid} was made for development: refused when deployed")


class AuthSettings(ApiSettings):
    """What only functions/auth reads: it alone may sign."""

    token_private_key: SecretStr = Field(description="Ed25519 private key (PEM) that signs access tokens")
    token_key_id: str = Field(description="`kid` of that key")
    token_minutes: int = Field(15, ge=1, le=60, description="life of an access token")
    refresh_days: int = Field(7, ge=1, le=90, description="life of a refresh token that is not used")
    session_days: int = Field(30, ge=1, le=365, description="longest life of a session, however often refreshed")
    refresh_grace_s: float = Field(
        45.0, ge=0, le=120, description="for how long a client that lost the answer may repeat a refresh"
    )

    @model_validator(mode="after")
    def _no_development_key_when_deployed(self) -> "AuthSettings":
        self._refuse_development_keys([self.token_key_id])
        return self


def snapshot_follows() -> bool:
    """True in a Lambda function during the init whose result SnapStart keeps: what is loaded now is free later."""
    return os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start"


def read_secret(arn: str, region: str) -> str:
    """The text of a secret in AWS Secrets Manager. ValueError when it cannot be read, with AWS's words.

    In Lambda the Parameters-and-Secrets extension is asked first, which listens on localhost: boto3 costs 0.3 s to
    import. The extension serves only while an event is handled, not during a function's init.
    """
    text = _from_extension(arn)
    return _from_aws(arn, region) if text is None else text


def _from_extension(arn: str) -> str | None:
    """The secret by the extension; None where there is none. ValueError when it says no."""
    from http.client import HTTPConnection, HTTPException
    from urllib.parse import quote

    port = int(os.environ.get("PARAMETERS_SECRETS_EXTENSION_HTTP_PORT") or _EXTENSION_PORT)
    connection = HTTPConnection("localhost", port, timeout=_SECRET_TIMEOUT_S)
    token = os.environ.get("AWS_SESSION_TOKEN", "")
    try:
        connection.request(
            "GET",
            f"/secretsmanager/get?secretId={quote(arn, safe='')}",
            headers={"X-Aws-Parameters-Secrets-Token": token},
        )
        answer = connection.getresponse()
        body = answer.read()
    except ConnectionRefusedError:
        return None
    except (OSError, HTTPException) as broken:
        raise ValueError(f"the secret {arn} could not be read: the extension on port {port}: {broken}") from None
    finally:
        connection.close()
    if answer.status != 200:
        raise ValueError(f"the secret {arn} could not be read: {answer.status} {body.decode(errors='replace').strip()}")
    return _text(arn, json.loads(body))


def _from_aws(arn: str, region: str) -> str:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    limits = Config(
        connect_timeout=_SECRET_TIMEOUT_S, read_timeout=_SECRET_TIMEOUT_S, retries={"total_max_attempts": 2}
    )
    try:
        answer = boto3.client("secretsmanager", region_name=region, config=limits).get_secret_value(SecretId=arn)
    except (BotoCoreError, ClientError) as refused:
        raise ValueError(f"the secret {arn} could not be read: {refused}") from None
    return _text(arn, answer)


def _text(arn: str, answer: dict[str, Any]) -> str:
    if not answer.get("SecretString"):
        raise ValueError(f"the secret {arn} holds no text; store the value itself, not as binary")
    return str(answer["SecretString"]).strip()


S = TypeVar("S", bound=Settings)
_PREFIX = "NAUTILUS_"


def read(kind: type[S]) -> S:
    """The settings of this process, from its environment. ValidationError: `explain` makes sentences of it."""
    told = {name: os.environ.get(_PREFIX + name.upper()) for name in kind.model_fields}
    return kind.model_validate({name: value for name, value in told.items() if value is not None})


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
