"""What the order process reads, and which of it the functions read too; nautilus.settings.base says how."""

import re
from typing import Any, Literal
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from nautilus.settings.base import DatabaseSettings, Settings
from nautilus.settings.gateway import GatewaySettings

ACCOUNT = r"[A-Z][A-Z0-9]{2,19}"
"""The name of an account. infra/template.yaml has the same for its parameter LiveAccount."""
TIME_OF_DAY = r"(0[1-9]|1[0-2]):[0-5]\d (AM|PM)"
"""When the gateway restarts. infra/template.yaml has the same for its parameter GatewayRestartTime."""
CrashPoint = Literal[
    "none",
    "after-reserved",
    "after-sending",
    "after-write",
    "after-leg",
    "after-word-read",
    "after-error-read",
    "after-execution-read",
    "after-execution-commit",
    "after-request-sending",
    "after-request-write",
]
"""Where the order process may be killed to test it."""


class OrderModeSettings(Settings):
    """Whether orders are sent, and to which accounts. The order process and the functions get the same values."""

    orders: Literal["off", "paper", "live"] = Field(
        "paper",
        description="off: no order is sent or requested; paper: to paper accounts and the simulator; live: to live_account, too",
    )
    live_account: tuple[str, ...] = Field(
        (), description="exact names of the live accounts that orders may be sent to, comma-separated"
    )
    orders_feed: Literal["live", "delayed"] = Field(
        "live", description="delayed: checks of orders for paper accounts may use quotes that are 15 minutes old"
    )

    @field_validator("live_account", mode="before")
    @classmethod
    def _split_accounts(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("live_account")
    @classmethod
    def _are_accounts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if not re.fullmatch(ACCOUNT, name):
                raise ValueError(f"{name!r} is no account: give exact names, such as U1234567, comma-separated")
        return value

    @model_validator(mode="after")
    def _live_names_its_accounts(self) -> "OrderModeSettings":
        if self.orders == "live" and not self.live_account:
            raise ValueError("orders=live also needs live_account, the exact names of the accounts, comma-separated")
        return self


class OrderSettings(DatabaseSettings, GatewaySettings, OrderModeSettings):
    """What the order process reads."""

    orders_client_id: int = Field(
        5, ge=1, le=9_999, description="client id of the order process, for ever the same; outside the bridge's eleven"
    )
    orders_ack_timeout_s: float = Field(
        5.0, ge=0.1, le=60, description="how long IB's first word about an order or a change is waited for"
    )
    orders_ask_again_s: tuple[float, ...] = Field(
        (5.0, 30.0),
        description="when IB is asked again for an order that it did not name; named by none of these either, it is unknown",
    )
    orders_messages_per_s: int = Field(
        50, ge=2, le=50, description="messages that the order process sends in a second (IB allows 50)"
    )
    orders_kept_for_cancels: int = Field(
        10, ge=1, le=49, description="how many of them are kept for cancels and questions"
    )
    orders_bracket_repair: Literal["cancel", "report"] = Field(
        "cancel",
        description="what is done with a bracket of which a leg was refused, or whose entry ended in part: cancel what has not"
        " filled and make its exits right, or only report it",
    )
    gateway_restart_at: str = Field(
        "",
        description="when the gateway restarts daily, in New York, as 11:45 PM; no order is sent a minute before and after",
    )
    orders_zone: str = Field(
        "America/New_York", description="time zone of the login, at whose midnight IB forgets executions"
    )
    orders_health_port: int = Field(
        0, ge=0, le=65_535, description="port of the order process's own health page on loopback; 0: none"
    )
    orders_crash_at: CrashPoint = Field(
        "none", description="where the order process kills itself, for tests; never when deployed"
    )

    @field_validator("orders_ask_again_s", mode="before")
    @classmethod
    def _split_seconds(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value

    @field_validator("orders_ask_again_s")
    @classmethod
    def _are_pauses(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if not 1 <= len(value) <= 5 or not all(0.1 <= each <= 300 for each in value):
            raise ValueError("must be one to five numbers of seconds from 0.1 to 300, comma-separated")
        return value

    @field_validator("gateway_restart_at")
    @classmethod
    def _is_time_of_day(cls, value: str) -> str:
        if value and not re.fullmatch(TIME_OF_DAY, value, re.ASCII):
            raise ValueError("must be a time of day such as 11:45 PM, or empty")
        return value

    @field_validator("orders_zone")
    @classmethod
    def _is_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError):
            raise ValueError("is not a time zone such as America/New_York") from None
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> "OrderSettings":
        ids = self.bridge_client_ids
        if self.orders_client_id in ids:
            raise ValueError(
                f"orders_client_id {self.orders_client_id} is one of the bridge's ({ids[0]} to {ids[-1]}, of ib_client_id):"
                " take one outside"
            )
        if self.orders_kept_for_cancels >= self.orders_messages_per_s:
            raise ValueError("orders_kept_for_cancels must be less than orders_messages_per_s")
        if self.deployed and self.orders_crash_at != "none":
            raise ValueError("orders_crash_at is for tests and refused when deployed")
        return self
