"""What the demo asks for: which series, and which range of them."""

import datetime as dt
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dev.sources import Replay, Source

MONTHS_BACK = 24  # how far an earlier run may have come


@dataclass(frozen=True)
class SeriesRequest:
    """One series to ask for, as the selector of the API. `expected`: how many bars it has, None where nobody knows."""

    name: str
    selector: dict[str, str]
    expected: int | None = None


SIMULATED = (
    SeriesRequest("AAPL", {"symbol": "AAPL", "asset_class": "STK"}),
    SeriesRequest("EUR/USD", {"symbol": "EUR/USD", "asset_class": "CASH"}),
    SeriesRequest("ES", {"symbol": "ES", "asset_class": "FUT"}),
)


@dataclass(frozen=True)
class Window:
    """The requested range: from the open of the first bar to the close of the last, UTC."""

    start: dt.datetime
    end: dt.datetime

    def __str__(self) -> str:
        return f"{self.start:%Y-%m-%d %H:%M} to {self.end:%Y-%m-%d %H:%M} UTC"

    def query(self) -> dict[str, str]:
        return {"start": f"{self.start:%Y-%m-%dT%H:%M:%SZ}", "end": f"{self.end:%Y-%m-%dT%H:%M:%SZ}"}


def months_back(now: dt.datetime) -> Iterator[Window]:
    """Whole calendar months, the last one that is over first."""
    end = now.astimezone(dt.UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    while True:
        start = (end - dt.timedelta(days=1)).replace(day=1)
        yield Window(start, end)
        end = start


def windows_of(source: Source, now: dt.datetime) -> Iterator[Window]:
    """What to ask for, until something of it is not here yet; of a file, all of it at once."""
    if isinstance(source, Replay):
        return iter([Window(source.content.start, source.content.end)])
    return itertools.islice(months_back(now), MONTHS_BACK)


def requests_of(source: Source) -> Sequence[SeriesRequest]:
    """What this source has to offer."""
    if not isinstance(source, Replay):
        return SIMULATED
    return (SeriesRequest(source.content.symbol, source.selector, source.bars_to_read),)
