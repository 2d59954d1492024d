"""Versions that can be seen: which series there are, and what bars were before they changed."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from random import Random
from typing import Any

import pytest

from nautilus.coverage.states import CoverageState, Note
from nautilus.market.bar import Bar
from tests.support.markets import DAY, MINUTE, ns, nyse
from tests.support.stored_bars import Api, StoredBars, stock

SERIES = "/api/v1/market-data/series"
REVISIONS = "/api/v1/market-data/historical/revisions"
NOW = ns("2024-01-12 17:00", "America/New_York")
FIRST = ns("2024-01-08 09:30", "America/New_York")
CALENDAR = nyse(date(2023, 12, 1), 60)
WHOLE = {"symbol": "AAPL", "timeframe": "1m"}


@pytest.fixture
def stored_bars(dsn: str) -> Iterator[StoredBars]:
    made = StoredBars(dsn, NOW)
    made.instrument(stock(), CALENDAR)
    yield made
    made.close()


@pytest.fixture
def api(stored_bars: StoredBars, tmp_path: Path) -> Api:
    return stored_bars.api(tmp_path)


def read(api: Api, path: str, **query: Any) -> Any:
    answer = api.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def bar(n: int, price: float) -> Bar:
    return Bar(FIRST + n * MINUTE, price, price + 1, price - 1, price, 10.0, None, None)


Values = dict[int, float]


def changed(stored_bars: StoredBars, seed: int) -> dict[int, Values]:
    """Twenty answers that overlap, with new prices every time; version -> open prices of all bars, by stamp."""
    random = Random(seed)
    now: Values = {}
    found: dict[int, Values] = {}
    for _ in range(20):
        at, count = random.randrange(300), random.randrange(1, 60)
        bars = [bar(n, 100.0 + random.randrange(3)) for n in range(at, at + count)]
        stored_bars.record(stock(), "1m", bars, settled=[(bars[0].ts, bars[-1].ts + MINUTE)])
        now |= {one.ts: one.open for one in bars}
        (row,) = stored_bars.rows("SELECT data_version FROM series")
        found[row.data_version] = dict(now)
    return found


def at_version(values: Values, revisions: list[dict[str, Any]], version: int) -> Values:
    """What bars that are there now were at a version, as far as revisions tell: each goes by its earliest later one."""
    found: dict[int, float | None] = dict(values)
    for one in sorted(revisions, key=lambda row: row["until_version"], reverse=True):
        if one["until_version"] > version:
            found[one["ts"]] = one["before"] and one["before"]["open"]
    return {ts: value for ts, value in found.items() if value is not None}


@pytest.mark.parametrize("seed", range(3))
def test_revisions_take_every_bar_back_to_every_version(stored_bars: StoredBars, api: Api, seed: int) -> None:
    snapshots = changed(stored_bars, seed)
    answer = read(api, REVISIONS, **WHOLE, limit=50_000)
    newest = max(snapshots)
    assert answer["data_version"] == newest
    assert (answer["next_start"], len(answer["revisions"]) > 20) == (None, True)
    for version, values in snapshots.items():
        back = at_version(snapshots[newest], answer["revisions"], version)
        assert {ts: back[ts] for ts in values} == values
    late = read(api, REVISIONS, **WHOLE, since_version=newest - 5, limit=50_000)["revisions"]
    assert late == [one for one in answer["revisions"] if one["until_version"] > newest - 5]
    wrong = [v for v, old in snapshots.items() if not at_version(snapshots[newest], late, v).items() >= old.items()]
    assert wrong, "who has only the late ones cannot go further back"
    assert max(wrong) < newest - 5


def test_pages_of_revisions_part_no_bar_and_lose_none(stored_bars: StoredBars, api: Api) -> None:
    for price in range(5):
        stored_bars.record(
            stock(), "1m", [bar(n, 100.0 + price) for n in range(7)], settled=[(FIRST, FIRST + 7 * MINUTE)]
        )
    whole = read(api, REVISIONS, **WHOLE)["revisions"]
    assert len(whole) == 28
    for limit in (1, 3, 4, 5, 27, 28):
        pages: list[list[dict[str, Any]]] = []
        start: str | None = str(FIRST)
        while start is not None:
            page = read(api, REVISIONS, **WHOLE, limit=limit, start=start)
            assert not pages or page["revisions"][0]["ts"] > pages[-1][-1]["ts"]
            pages.append(page["revisions"])
            start = page["next_start"]
        assert [one for page in pages for one in page] == whole
    window = read(api, REVISIONS, **WHOLE, start=FIRST + MINUTE, end=FIRST + 2 * MINUTE)["revisions"]
    assert [one["before"]["close"] for one in window] == [100.0, 101.0, 102.0, 103.0]
    assert window[0]["changed_at"].endswith("Z")


def test_a_series_that_does_not_exist_has_no_revisions(api: Api) -> None:
    answer = read(api, REVISIONS, symbol="AAPL", timeframe="5m")
    assert (answer["data_version"], answer["revisions"]) == (0, [])


def test_series_are_listed_with_what_they_hold(stored_bars: StoredBars, api: Api) -> None:
    assert read(api, SERIES) == {"series": [], "next_after": None}
    other = stored_bars.instrument(stock(2, "MSFT"), CALENDAR)
    stored_bars.record(stock(), "1m", [bar(3, 1), bar(5, 1)], settled=[(FIRST, FIRST + 10 * MINUTE)])
    stored_bars.record(stock(), "1m", settled=[(FIRST + DAY, FIRST + DAY + MINUTE)])
    stored_bars.record(other, "1d", settled=[(ns("2024-01-08 00:00"), ns("2024-01-10 00:00"))])
    first, second = read(api, SERIES)["series"]
    assert (first["instrument_id"], first["timeframe"], first["price"], first["session"]) == (
        "AAPL.NASDAQ",
        "1m",
        "TRADES",
        "rth",
    )
    assert first["data_version"] == 2
    assert first["covered"] == {"start": "2024-01-08T14:30:00Z", "end": "2024-01-09T14:31:00Z", "ranges": 2}
    assert (first["first_bar"], first["last_bar"]) == ("2024-01-08T14:33:00Z", "2024-01-08T14:35:00Z")
    assert first["changed_at"] is not None
    assert (second["symbol"], second["first_bar"], second["changed_at"]) == ("MSFT", None, None)
    assert read(api, SERIES, instrument_id="MSFT.NASDAQ")["series"] == [second]
    assert read(api, SERIES, timeframe="1m")["series"] == [first]
    page = read(api, SERIES, limit=1)
    assert page["series"] == [first]
    assert read(api, SERIES, limit=1, after=page["next_after"])["series"] == [second]


def test_bars_that_a_split_made_stale_are_still_the_first_and_the_last(stored_bars: StoredBars, api: Api) -> None:
    whole = (FIRST, FIRST + 10 * MINUTE)
    stored_bars.record(stock(), "1m", [bar(0, 1), bar(9, 1)], settled=[whole])
    stored_bars.record(stock(), "1m", noted=[Note(whole, CoverageState.STALE, "split", None, NOW, NOW)])
    stored_bars.rows("UPDATE series SET covered = '{}'")
    (row,) = read(api, SERIES)["series"]
    assert row["covered"] is None
    assert (row["first_bar"], row["last_bar"]) == ("2024-01-08T14:30:00Z", "2024-01-08T14:39:00Z")


@pytest.mark.parametrize(
    ("path", "query", "field"),
    [
        (SERIES, {"timeframe": "7m"}, "timeframe"),
        (SERIES, {"limit": 0}, "limit"),
        (SERIES, {"after": -1}, "after"),
        (REVISIONS, {**WHOLE, "since_version": -1}, "since_version"),
        (REVISIONS, {**WHOLE, "start": "yesterday"}, "start"),
        (REVISIONS, {**WHOLE, "start": 5, "end": 4}, "start"),
        (REVISIONS, {"timeframe": "1m"}, "symbol"),
    ],
)
def test_what_is_wrong_with_the_question_is_named(api: Api, path: str, query: dict[str, Any], field: str) -> None:
    answer = api.get(path, params=query)
    assert answer.status_code == 422
    assert field in [error["field"] for error in answer.json()["errors"]]
