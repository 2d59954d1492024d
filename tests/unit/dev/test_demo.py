"""What the demo says of bars it has read, and when it says that all went well."""

import argparse

import pytest

from dev.demo import api_address
from dev.demo_requests import SeriesRequest
from dev.demo_results import Fetched, StoredBars, completeness, went_well

NOTHING_MISSING = "nothing is missing: every other minute the market was closed, or had no trade"
GAP = {
    "start": "2026-03-03T15:00:00Z",
    "end": "2026-03-03T15:08:00Z",
    "state": "failed",
    "reason": "ib_error",
    "ib_code": 162,
}


def fetched(status: str | None = "succeeded", expected: int | None = None) -> Fetched:
    job = {} if status is None else {"status": status, "progress": {}}
    return Fetched(SeriesRequest("SPY", {"symbol": "SPY"}, expected), None if status is None else "a-job", job)


def stored(bars: int, *, complete: bool = True, missing: tuple[dict[str, object], ...] = ()) -> StoredBars:
    return StoredBars("SPY.NASDAQ", "TRADES", "sim:7", [{}] * bars, 1, complete, missing)


@pytest.mark.parametrize("status", [None, "succeeded", "partial"])
def test_nothing_is_missing_where_the_api_says_so_and_there_are_bars(status: str | None) -> None:
    assert list(completeness(fetched(status, 8), stored(8))) == [NOTHING_MISSING]
    assert went_well(fetched(status, 8), stored(8))


@pytest.mark.parametrize(
    ("job", "bars", "line", "well"),
    [
        (fetched("failed"), stored(8), "the job of SPY failed: what is not here was not fetched", False),
        (fetched("stopped"), stored(8), "the job of SPY stopped: what is not here was not fetched", False),
        (fetched(), stored(0), "there is no bar in this range", False),
        (fetched(None), stored(0), "there is no bar in this range", False),
        (fetched("succeeded", 8), stored(0), "the file has 8 bars of this range, 0 came back", False),
        (fetched(None, 8), stored(7), "the file has 8 bars of this range, 7 came back", False),
        (fetched(), stored(8, complete=False), "the API does not call this range complete, and names no gap", True),
        (
            fetched("partial"),
            stored(8, complete=False, missing=(GAP,)),
            f"missing {GAP['start']} to {GAP['end']}: failed, ib_error, 162",
            True,
        ),
    ],
)
def test_nothing_is_missing_is_said_nowhere_else(job: Fetched, bars: StoredBars, line: str, well: bool) -> None:
    lines = list(completeness(job, bars))
    assert line in lines
    assert NOTHING_MISSING not in lines
    assert went_well(job, bars) == well


def test_an_address_without_a_scheme_is_refused_with_one_that_has_it() -> None:
    assert api_address("http://127.0.0.1:8001") == "http://127.0.0.1:8001"
    for text in ("127.0.0.1:8001", "localhost", "ftp://127.0.0.1", " http://127.0.0.1"):
        with pytest.raises(argparse.ArgumentTypeError, match=r"no address such as http://127\.0\.0\.1:8001"):
            api_address(text)
