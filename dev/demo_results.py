"""What the demo got: the job of each series, the bars read back, and whether all went well."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dev.demo_requests import SeriesRequest

MOST_GAPS = 6
MEANING = {
    "not_closed_yet": " (its bar is not over, or was only just, in market time)",
    "empty_unconfirmed": " (IB sent nothing; it is asked again before that counts as empty)",
    "queued": " (under way)",
}
LIVE = ("queued", "planning", "running", "stopping")
STORED = ("succeeded", "partial")  # what is missing is reported with its reason


@dataclass
class Fetched:
    """One series of the demo: its job (None: the API had nothing to fetch), and the API's last answer about it."""

    series: SeriesRequest
    job_id: str | None
    job: dict[str, Any]

    @property
    def live(self) -> bool:
        return self.job_id is not None and self.job["status"] in LIVE

    def number(self, name: str) -> int:
        return int(self.job["progress"][name]) if self.job else 0

    @property
    def stored(self) -> bool:
        """Whether its job left what it could; what it could not has a reason."""
        return self.job_id is None or self.job["status"] in STORED

    @property
    def words(self) -> str:
        if self.job_id is None:
            return f"{self.series.name} nothing to fetch"
        if self.job["status"] == "running":
            return f"{self.series.name} {self.number('chunks_done')}/{self.number('chunks_total')}"
        return f"{self.series.name} {self.job['status']}"


@dataclass(frozen=True)
class StoredBars:
    """One series read back, all pages of it. `complete`: the API calls it so; `missing`: its gaps, each with a state."""

    name: str
    price: str
    source: str
    candles: Sequence[Mapping[str, Any]]
    pages: int
    complete: bool
    missing: Sequence[Mapping[str, Any]]


def total(series: Sequence[Fetched], name: str) -> int:
    """A number of their progress, over all of them."""
    return sum(one.number(name) for one in series)


def went_well(fetched: Fetched, bars: StoredBars) -> bool:
    """Whether there are bars, all that were expected where that is known, and no job failed."""
    expected = fetched.series.expected
    return fetched.stored and len(bars.candles) > 0 and expected in (None, len(bars.candles))


def completeness(fetched: Fetched, bars: StoredBars) -> Iterator[str]:
    """What is missing, a line each; that nothing is only where the API says so and no job says otherwise."""
    name, expected = fetched.series.name, fetched.series.expected
    if not fetched.stored:
        yield f"the job of {name} {fetched.job['status']}: what is not here was not fetched"
    if expected is not None and expected != len(bars.candles):
        yield f"the file has {expected:,} bars of this range, {len(bars.candles):,} came back"
    elif not bars.candles:
        yield "there is no bar in this range"
    elif bars.complete and not bars.missing and fetched.stored:
        yield "nothing is missing: every other minute the market was closed, or had no trade"
    elif not bars.missing:
        yield "the API does not call this range complete, and names no gap"
    for gap in bars.missing[:MOST_GAPS]:
        why = ", ".join(str(gap[name]) for name in ("state", "reason", "ib_code") if name in gap)
        yield f"missing {gap['start']} to {gap['end']}: {why}{MEANING.get(gap['state'], '')}"
    if len(bars.missing) > MOST_GAPS:
        yield f"and {len(bars.missing) - MOST_GAPS} more such ranges"
