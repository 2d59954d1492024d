"""The coverage map: many series at once, a run for days that are alike, and `backfill=never` beside it: a look costs nothing."""

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from nautilus.coverage.states import CoverageState, Note
from nautilus.market.bar import Bar
from nautilus.reading import coverage_map, schemas
from tests.support.markets import DAY, HOUR, MINUTE, label, ns, nyse
from tests.support.stored_bars import BARS, Api, StoredBars, stock

MAP = "/api/v1/market-data/coverage/map"
COVERAGE = "/api/v1/market-data/historical/coverage"
NOW = ns("2024-01-12 17:00", "America/New_York")  # a Friday
OPENS = {day: ns(f"2024-01-{day:02} 09:30", "America/New_York") for day in range(8, 13)}
WINDOW = {"start": "2024-01-08T00:00:00Z", "end": "2024-01-13T00:00:00Z"}


def session_bars(day: int, count: int = 390) -> list[Bar]:
    return [Bar(OPENS[day] + n * MINUTE, 1.0, 2.0, 0.5, 1.5, 10.0, 1.2, 3) for n in range(count)]


@pytest.fixture
def stored_bars(dsn: str) -> Iterator[StoredBars]:
    """Minutes: Monday and Tuesday whole, Wednesday's first hour, Thursday failed, Friday never requested. Days: all."""
    made = StoredBars(dsn, NOW)
    made.instrument(stock(), nyse(date(2023, 12, 1), 60))
    made.record(stock(), "1m", session_bars(8), settled=[(OPENS[8] - HOUR, OPENS[9] - HOUR)])
    made.record(stock(), "1m", session_bars(9), settled=[(OPENS[9] - HOUR, OPENS[10] - HOUR)])
    made.record(stock(), "1m", session_bars(10, 60), settled=[(OPENS[10] - HOUR, OPENS[10] + HOUR)])
    failed = Note((OPENS[11], OPENS[11] + 390 * MINUTE), CoverageState.FAILED, "IB answered nothing")
    made.record(stock(), "1m", noted=[failed])
    days = [Bar(label(f"2024-01-{day:02}"), 1.0, 2.0, 0.5, 1.5, None, None, None) for day in (8, 9, 10, 11)]
    made.record(stock(), "1d", days, settled=[(days[0].ts, days[-1].ts + DAY)])
    yield made
    made.close()


@pytest.fixture
def api(stored_bars: StoredBars, tmp_path: Path) -> Api:
    return stored_bars.api(tmp_path)


def shown(api: Api, **query: Any) -> Any:
    answer = api.get(MAP, params={**WINDOW, **query})
    assert answer.status_code == 200, answer.text
    schemas.CoverageMap.model_validate(answer.json())
    return answer.json()


def run(first: int, last: int, state: str, expected: int, settled: int) -> dict[str, Any]:
    days = last - first + 1
    return {"from": f"2024-01-{first:02}", "to": f"2024-01-{last:02}", "days": days, "state": state,
            "expected": expected, "settled": settled}  # fmt: skip


def test_days_that_are_alike_are_one_run(api: Api) -> None:
    minutes, days = shown(api)["series"]
    assert (minutes["instrument_id"], minutes["timeframe"], minutes["price"]) == ("AAPL.NASDAQ", "1m", "TRADES")
    assert minutes["runs"] == [
        run(8, 9, "settled", 780, 780),
        run(10, 10, "not_asked", 390, 60),
        run(11, 11, "failed", 390, 0),
        run(12, 12, "not_asked", 390, 0),
    ]
    assert days["runs"] == [run(8, 11, "settled", 4, 4), run(12, 12, "not_asked", 1, 0)]


def test_the_map_adds_up_to_the_coverage_route(api: Api) -> None:
    """Its numbers come another way: slots counted over ranges of the whole window."""
    runs = shown(api, series="1")["series"][0]["runs"]
    whole = api.get(COVERAGE, params={"symbol": "AAPL", "timeframe": "1m", **WINDOW}).json()["summary"]
    assert sum(one["expected"] for one in runs) == whole["expected"]
    assert whole["missing_bars"] == sum(one["expected"] - one["settled"] for one in runs)
    assert 100 * sum(one["settled"] for one in runs) / whole["expected"] == pytest.approx(whole["complete_pct"])


def test_where_sessions_are_not_known_nothing_is_counted(api: Api) -> None:
    runs = shown(api, series="1", start="2023-11-20T00:00:00Z", end="2024-01-09T00:00:00Z")["series"][0]["runs"]
    assert (runs[0]["state"], runs[0]["expected"], runs[0]["from"]) == ("unknown", None, "2023-11-20")
    assert date.fromisoformat(runs[0]["to"]) - date(2023, 11, 20) == timedelta(days=runs[0]["days"] - 1)


def test_series_are_chosen_by_number_by_instrument_and_by_timeframe(api: Api, stored_bars: StoredBars) -> None:
    stored_bars.instrument(stock(2, "MSFT"), nyse(date(2023, 12, 1), 60))
    stored_bars.record(stock(2, "MSFT"), "1m", [], settled=[(OPENS[8], OPENS[9])])

    def numbers(**query: Any) -> list[int]:
        return [one["series_id"] for one in shown(api, **query)["series"]]

    minutes, days, other = [row[0] for row in stored_bars.rows("SELECT id FROM series ORDER BY id")]
    assert numbers(series=f"{other},{minutes}") == [other, minutes]
    assert numbers(instrument_id="MSFT.NASDAQ") == [other]
    assert numbers(timeframe="1m") == [minutes, other]
    first = shown(api, limit=2)
    assert ([one["series_id"] for one in first["series"]], first["next_after"]) == ([minutes, days], days)
    assert numbers(after=days) == [other]
    assert shown(api, after=days)["next_after"] is None


def test_an_unchanged_map_is_304_and_a_queued_job_changes_it(api: Api) -> None:
    tag = api.get(MAP, params=WINDOW).headers["etag"]
    assert api.get(MAP, params=WINDOW, headers={"If-None-Match": tag}).status_code == 304
    # A read queues what is missing: no version moves, and the map is another one.
    job = api.get(BARS, params={"symbol": "AAPL", "timeframe": "1m", **WINDOW, "wait": 0}).json()["job_id"]
    assert job is not None
    again = api.get(MAP, params=WINDOW, headers={"If-None-Match": tag})
    assert again.status_code == 200
    assert [one["state"] for one in again.json()["series"][0]["runs"]] == ["settled", "queued", "queued"]


@pytest.mark.parametrize(
    ("query", "status", "about"),
    [
        ({"series": "1,x"}, 422, "series"),
        ({"series": ""}, 422, "series"),
        ({"series": ",".join(map(str, range(201)))}, 422, "series"),
        ({"series": "99999999999"}, 422, "series"),
        ({"series": "1", "timeframe": "1m"}, 422, "series"),
        ({"series": "77"}, 404, "77"),
        ({"timeframe": "7m"}, 422, "timeframe"),
        ({"start": "2010-01-01T00:00:00Z"}, 422, "start"),
        ({"start": "2024-01-14T00:00:00Z"}, 422, "start"),
        ({"limit": 201}, 422, "limit"),
    ],
)
def test_bad_input_is_refused_by_name(api: Api, query: dict[str, Any], status: int, about: str) -> None:
    answer = api.get(MAP, params={**WINDOW, **query})
    assert answer.status_code == status
    assert about in answer.text


def test_looking_at_a_map_or_reading_with_backfill_never_requests_nothing(api: Api, stored_bars: StoredBars) -> None:
    shown(api)
    params = {"symbol": "AAPL", "timeframe": "1m", **WINDOW, "wait": 0}
    answer = api.get(BARS, params={**params, "backfill": "never"})
    assert answer.json()["job_id"] is None
    assert answer.json()["backfill"]["body"]["timeframe"] == "1m"
    assert answer.json()["coverage"]["complete"] is False
    assert stored_bars.rows("SELECT count(*) FROM backfill_jobs")[0][0] == 0
    assert api.get(BARS, params={**params, "backfill": "auto"}).json()["job_id"] is not None
    assert stored_bars.rows("SELECT count(*) FROM backfill_jobs")[0][0] == 1
    assert api.get(BARS, params={**params, "backfill": "later"}).status_code == 422


def test_two_hundred_series_are_the_most(api: Api) -> None:
    assert coverage_map.MAX_SERIES == 200
    assert api.get(MAP, params={**WINDOW, "limit": 200}).status_code == 200
