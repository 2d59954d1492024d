"""In which unit IB sends volumes of US stocks: shares, or lots of a hundred. We store shares.

From server version 175 on historical volumes are in shares, unless the gateway's setting "send market data in lots for
US stocks" is on; images that answer IB's dialog by themselves often leave it on (IBC user guide). Lots show: a volume
of 948837.22 can only be lots, as nobody trades 0.22 of a share in a liquid stock's minute.
"""

from collections.abc import Sequence
from typing import Any, Literal

from nautilus.instruments import Instrument

SHARES_SINCE = 175
_ENOUGH = 20
"""Bars with volume that must be looked at before their whole numbers mean shares."""


class VolumeUnit:
    """The unit, once known: told by the setting, or by the first answer that shows it."""

    def __init__(self, setting: Literal["auto", "shares", "lots"]) -> None:
        self.unit: str = "unknown" if setting == "auto" else setting

    def recall(self, unit: str) -> None:
        """What an earlier process had learnt; a setting stands above it."""
        if self.unit == "unknown" and unit in ("shares", "lots"):
            self.unit = unit

    def factor(self, instrument: Instrument, rows: Sequence[Any], server_version: int) -> float:
        """What volumes of an answer are multiplied with to be shares."""
        if instrument.asset_class != "STK" or instrument.currency != "USD":
            return 1.0
        if self.unit == "unknown":
            self._learn(rows, server_version)
        return 100.0 if self.unit == "lots" else 1.0

    def _learn(self, rows: Sequence[Any], server_version: int) -> None:
        volumes = [row.volume for row in rows if row.volume > 0]
        if server_version < SHARES_SINCE or any(volume != int(volume) for volume in volumes):
            self.unit = "lots"
        elif len(volumes) >= _ENOUGH:
            self.unit = "shares"
