"""What every function reads."""

import ipaddress
import json
import re
from collections.abc import Iterable
from typing import Any

from pydantic import Field, SecretStr, field_validator, model_validator

from nautilus.settings.base import DatabaseSettings, QueueSettings, WatchSettings
from nautilus.settings.exports import ExportTargets
from nautilus.settings.orders import OrderModeSettings

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
DEVELOPMENT_KEY = "dev-"
"""Names of signing keys made on a developer's machine begin so."""
ORIGIN = r"https?://[a-z0-9.-]+(:[0-9]{1,5})?"
"""An origin as browsers write it. infra/template.yaml has the same for its parameter CorsOrigins."""

HOST = r"[a-z0-9._-]+|[0-9a-f:.]+"
"""A name or an address by which this API is reached, as the Host header has it without port and brackets."""


class ApiSettings(DatabaseSettings, QueueSettings, WatchSettings, OrderModeSettings, ExportTargets):
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
    allowed_hosts: tuple[str, ...] = Field(
        (), description="names and addresses by which the API is reached from elsewhere, comma-separated, without ports"
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
        *("anonymous_scopes", "cors_origins", "allowed_hosts", "trusted_proxies", "watch_list", "watch_timeframes"),
        mode="before",
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

    @field_validator("allowed_hosts")
    @classmethod
    def _are_hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for host in value:
            if not re.fullmatch(HOST, host):
                raise ValueError(
                    "each must be a name or an address such as api.example.com: no port, no *, small letters"
                )
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
