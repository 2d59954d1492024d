"""What the host of strategies reads; nautilus.settings.base says how."""

import os
from pathlib import Path

from pydantic import Field, SecretStr, field_validator

from nautilus.settings.base import DatabaseSettings
from nautilus.settings.orders import OrderModeSettings


class StrategySettings(DatabaseSettings, OrderModeSettings):
    """What the strategy host reads. All times are machine time."""

    strategy_host_id: str = Field(
        "strategies-1", pattern=r"^[a-z0-9-]{1,40}$", description="name of this strategy host, the same after a restart"
    )
    strategy_python: str = Field(
        "", description="interpreter that has the strategies' engine; empty: the host starts no strategy and says why"
    )
    strategy_folder: str = Field("", description="folder of your own strategies, each a file; empty: none")
    strategy_backtests: int = Field(
        0, ge=0, le=64, description="back-tests that run at once; 0: one less than there are processors, at least one"
    )
    strategy_memory_mb: int = Field(
        1_024, ge=128, le=65_536, description="a strategy whose process takes more memory is ended"
    )
    strategy_stuck_s: float = Field(
        30.0, ge=1, le=3_600, description="a strategy that works on one bar for so long is ended"
    )
    strategy_unconfirmed_s: float = Field(
        30.0, ge=0, le=600, description="so long an incomplete live bar is held back until history has it"
    )
    strategy_health_port: int = Field(
        0, ge=0, le=65_535, description="port of the strategy host's own health page on loopback; 0: none"
    )
    redis_url: SecretStr = Field(
        SecretStr(""), description="redis://... of the bus of live data; empty: PostgreSQL carries it"
    )

    @field_validator("strategy_python", "strategy_folder")
    @classmethod
    def _is_absolute(cls, value: str) -> str:
        if value and not Path(value).is_absolute():
            raise ValueError("must be an absolute path, or empty")
        return value

    @property
    def capacity(self) -> int:
        """Back-tests that run at once."""
        return self.strategy_backtests or max(1, (os.cpu_count() or 1) - 1)
