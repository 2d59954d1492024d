"""A market that is read from files: real one-minute bars served in place of generated ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ReplayFile:
    """One file of one-minute bars and what it is.

    CSV or CSV.gz (Parquet where pyarrow is installed) with the columns timestamp_utc or timestamp, open, high, low,
    close and perhaps volume; times without a zone are UTC.
    """

    path: Path
    symbol: str  # ES, 6EH4, EURUSD, EUR/USD, AAPL; a future's local symbol names its expiry
    stamp: str = "open"  # what the time of a row is: the bar's "open" or its "close"
    kind: str = ""  # whatToShow of the file; default MIDPOINT for CASH, TRADES otherwise
    sec_type: str = ""  # guessed from the symbol when empty
    exchange: str = ""
    currency: str = ""


class Replay:
    """Serves only the instruments of its files, behind the same methods as Market (MarketSource)."""

    def __init__(self, files: list[ReplayFile]) -> None:
        raise NotImplementedError

    @property
    def end_s(self) -> int:
        """Close of the last bar of all files: where market time may start."""
        raise NotImplementedError
