"""What the bridge and the commands read; nautilus.settings.base says how."""

import re
from typing import Literal

from pydantic import Field, SecretStr, field_validator

from nautilus.backfill import planner
from nautilus.backfill.plan_rules import PlanRules
from nautilus.market.closing import BarCloseDelay
from nautilus.market.timeframes import NAMES
from nautilus.settings.base import DatabaseSettings, QueueSettings, Settings, WatchSettings
from nautilus.settings.gateway import GatewaySettings

KEPT_DAYS = rf"({'|'.join(NAMES)})=[1-9][0-9]{{0,5}}"
"""One part of keep_bars_days. infra/template.yaml has the same for its parameter KeepBarsDays."""


class _Retention(Settings):
    keep_requests_days: int = Field(90, ge=0, description="days that requests to IB are kept; 0: for good")
    keep_confirmations_days: int = Field(
        14, ge=0, description="of these, days that those are kept which confirm live bars; 0: as long as the others"
    )
    keep_revisions_days: int = Field(
        0, ge=0, description="days that old values of bars are kept, at least 7; 0: for good"
    )
    keep_audit_days: int = Field(365, ge=0, description="days that the audit log is kept; 0: for good")
    keep_commands_days: int = Field(30, ge=0, description="days that finished commands are kept; 0: for good")
    keep_incidents_days: int = Field(365, ge=0, description="days that incidents are kept after their end; 0: for good")
    keep_runs_days: int = Field(
        365, ge=0, description="days that back-tests and runs in paper are kept after their end; 0: for good"
    )
    keep_bars_days: str = Field(
        "", description="days that bars are kept per timeframe, as 1s=30,5s=90; those not named: for good"
    )

    @field_validator("keep_revisions_days")
    @classmethod
    def _longer_than_page_tokens(cls, value: int) -> int:
        if 0 < value < 7:
            raise ValueError("must be 0 (for good) or at least 7: pages in progress need them")
        return value

    @field_validator("keep_bars_days")
    @classmethod
    def _are_days(cls, value: str) -> str:
        _days_by_timeframe(value)
        return value

    @property
    def kept_bars(self) -> dict[str, int]:
        """Timeframe -> days."""
        return _days_by_timeframe(self.keep_bars_days)


class BridgeSettings(DatabaseSettings, QueueSettings, WatchSettings, GatewaySettings, _Retention):
    """What the bridge reads."""

    bridge_id: str = Field(
        "bridge-1", pattern=r"^[a-z0-9-]{1,40}$", description="name of this bridge, the same after a restart"
    )
    request_timeout_s: float = Field(
        90.0, gt=0, description="longest wait for one historical answer before it is cancelled"
    )
    max_open_requests: int = Field(6, ge=1, le=50, description="historical requests open at once (IB allows 50)")
    settle_intraday_s: int = Field(
        15, ge=0, description="wait after an intraday bar's close before it counts as closed"
    )
    settle_daily_s: int = Field(900, ge=0, description="the same for daily bars of STK, IND and CASH")
    stock_volume_unit: Literal["auto", "shares", "lots"] = Field(
        "auto", description="unit in which IB sends volumes of US stocks; auto: by evidence, unknown without"
    )
    health_port: int = Field(
        0, ge=0, le=65_535, description="port of the bridge's own health page on loopback; 0: none"
    )
    forget_hour: int = Field(
        5, ge=-1, le=23, description="hour (UTC) after which old rows are forgotten, once a day; -1: never"
    )
    redis_url: SecretStr = Field(
        SecretStr(""), description="redis://... of the bus of live data; empty: PostgreSQL carries it"
    )
    live_lines: int = Field(
        90, ge=1, le=1_000, description="market data lines that live data may use; IB counts TWS of the same user, too"
    )
    live_keep_up_to_date: int = Field(
        40, ge=0, le=45, description="bars that may be kept up to date at once, of IB's 50 open requests"
    )
    live_real_time_bars: int = Field(
        50, ge=0, le=60, description="streams of 5-second bars that may begin in ten minutes (IB allows 60)"
    )
    live_reserved: int = Field(
        10, ge=0, le=60, description="how many of them are kept for streams that somebody watches"
    )
    live_tick_by_tick: int = Field(5, ge=0, le=100, description="tick-by-tick streams (IB allows 5 per 100 lines)")
    live_rtb_book: Literal["shared", "own"] = Field(
        "shared", description="whether 5-second bars are booked as requests for small bars, too; IB's page says so"
    )
    live_feed: Literal["live", "delayed"] = Field(
        "live", description="delayed: quotes that are 15 minutes old where there are no live ones; they are marked"
    )
    live_linger_s: float = Field(
        30.0, ge=0, le=3_600, description="for so long a stream goes on that nobody wants any more"
    )
    chunk_spans: str = Field(
        "", description="longest request per timeframe in seconds, as 1m=604800,1h=...; empty: built in"
    )

    @property
    def close_delay(self) -> BarCloseDelay:
        """How long after its close a bar counts as closed."""
        return BarCloseDelay(self.settle_intraday_s, self.settle_daily_s)

    @property
    def plan_rules(self) -> PlanRules:
        """What plans are made by."""
        return PlanRules(planner.chunk_spans(self.chunk_spans), self.max_open_requests)

    @field_validator("chunk_spans")
    @classmethod
    def _are_spans(cls, value: str) -> str:
        planner.chunk_spans(value)
        return value


class MigrateSettings(DatabaseSettings):
    """What the migration command reads."""


class RetentionSettings(DatabaseSettings, _Retention):
    """What the command reads that forgets old rows."""


def _days_by_timeframe(text: str) -> dict[str, int]:
    """`1s=30,5s=90` as a dictionary. ValueError names what is wrong."""
    found: dict[str, int] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, days = part.partition("=")
        if not re.fullmatch(KEPT_DAYS, part):
            raise ValueError(f"{part!r}: must be timeframe=days, such as 1s=30; timeframes: {', '.join(NAMES)}")
        if name in found:
            raise ValueError(f"{name} stands twice")
        found[name] = int(days)
    return found
