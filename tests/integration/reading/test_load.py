"""Many readers at once: waits hold nothing, limits hold, and one gap is asked for once."""

import asyncio
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from nautilus.market.bar import Bar
from tests.support.markets import DAY, MINUTE, ns, nyse
from tests.support.stored_bars import BARS, StoredBars, stock

NOW = ns("2024-01-12 17:00", "America/New_York")
START = ns("2024-01-12 09:30", "America/New_York")
CALENDAR = nyse(date(2023, 12, 1), 60)
HELD = {"symbol": "AAPL", "timeframe": "1m"}
LACKING = {"symbol": "MSFT", "timeframe": "1m"}


@pytest.fixture
def stored_bars(dsn: str) -> Iterator[StoredBars]:
    made = StoredBars(dsn, NOW)
    made.instrument(stock(), CALENDAR)
    made.instrument(stock(2, "MSFT"), CALENDAR)
    bars = [Bar(START + n * MINUTE, 1.0, 2.0, 0.5, 1.5, 10.0, 1.2, 3) for n in range(390)]
    made.record(stock(), "1m", bars, settled=[(START - DAY, NOW)])
    yield made
    made.close()


def test_with_a_hundred_waiting_reads_a_plain_one_is_answered_first(stored_bars: StoredBars, tmp_path: Path) -> None:
    api = stored_bars.api(tmp_path)
    ended: list[float] = []

    async def wait(user: int) -> None:
        headers = stored_bars.user(user, "bars:read", "backfill:write")
        answer = await api.client.get(BARS, params={**LACKING, "wait": 4}, headers=headers)
        ended.append(time.monotonic())
        assert answer.status_code == 200, answer.text
        assert answer.json()["coverage"]["missing"][0]["state"] == "queued"

    async def callers() -> tuple[float, float]:
        waiting = [asyncio.create_task(wait(1 + n // 4)) for n in range(100)]
        while not stored_bars.rows("SELECT 1 FROM backfill_jobs"):
            await asyncio.sleep(0.05)
        began = time.monotonic()
        answer = await api.client.get(BARS, params=HELD, headers=stored_bars.user(77, "bars:read"))
        done = time.monotonic()
        assert answer.json()["total"] == 390
        await asyncio.gather(*waiting)
        return began, done

    ((began, done),) = api.all(callers())
    assert done < min(ended)
    assert done - began < 3
    assert stored_bars.rows("SELECT count(*) FROM backfill_jobs")[0][0] == 1
    assert len(ended) == 100


def test_a_fifth_wait_of_one_caller_is_answered_at_once(
    stored_bars: StoredBars, tmp_path: Path, redis_url: str
) -> None:
    for settings in ({}, {"redis_url": redis_url}):
        api = stored_bars.api(tmp_path, **settings)

        async def timed() -> float:
            began = time.monotonic()
            await api.client.get(BARS, params={**LACKING, "wait": 1.5})  # noqa: B023
            return time.monotonic() - began

        times = sorted(api.all(*(timed() for _ in range(7))))
        assert times[2] < 1.4, times  # three of seven were too many
        assert times[3] >= 1.5
        # And when the waits are over, the places are free again.
        assert api.all(timed())[0] >= 1.5


def test_a_wait_ends_with_the_bars(stored_bars: StoredBars, tmp_path: Path) -> None:
    api = stored_bars.api(tmp_path)
    bars = [Bar(START + n * MINUTE, 1.0, 2.0, 0.5, 1.5, 10.0, 1.2, 3) for n in range(390)]

    async def bring() -> None:
        while not stored_bars.rows("SELECT 1 FROM backfill_jobs"):
            await asyncio.sleep(0.02)
        await asyncio.to_thread(stored_bars.record, stock(2, "MSFT"), "1m", bars, settled=[(START - DAY, NOW)])

    began = time.monotonic()
    answer, _ = api.all(api.client.get(BARS, params=LACKING, headers={"Prefer": "respond-async, wait=15"}), bring())
    assert answer.json()["total"] == 390
    assert answer.json()["coverage"]["complete"]
    assert answer.json()["job_id"] is None or len(answer.json()["job_id"]) == 36
    assert time.monotonic() - began < 5


def test_one_gap_is_asked_for_once_and_not_again_within_a_minute(stored_bars: StoredBars, tmp_path: Path) -> None:
    api = stored_bars.api(tmp_path)
    answers = api.all(*(api.client.get(BARS, params={**LACKING, "wait": 0}) for _ in range(40)))
    assert {answer.status_code for answer in answers} == {200}
    jobs = stored_bars.rows("SELECT id, owner, origin, priority, request FROM backfill_jobs")
    assert [(j.origin, j.priority) for j in jobs] == [("read", 8)]
    assert set(jobs[0].request) == {"instrument_ids", "wish"}, "callers see this in the status of the job"
    assert answers[-1].json()["job_id"] == str(jobs[0].id)
    # The job failed: who reads again within the minute does not make another one.
    stored_bars.rows("UPDATE backfill_jobs SET state = 'failed'")
    again = api.get(BARS, params={**LACKING, "wait": 0}).json()
    assert again["coverage"]["missing"][0]["state"] == "not_asked"
    assert stored_bars.rows("SELECT count(*) FROM backfill_jobs")[0][0] == 1
    stored_bars.rows("UPDATE backfill_jobs SET created_at = created_at - interval '61 seconds'")
    api.get(BARS, params={**LACKING, "wait": 0})
    assert stored_bars.rows("SELECT count(*) FROM backfill_jobs")[0][0] == 2


def test_who_may_not_fill_or_asks_for_too_much_is_told_what_to_post(stored_bars: StoredBars, tmp_path: Path) -> None:
    api = stored_bars.api(tmp_path)
    reader = api.get(BARS, params=LACKING, headers=stored_bars.user(1, "bars:read")).json()
    assert reader["backfill"]["body"]["instrument_id"] == "MSFT.NASDAQ"
    assert reader["backfill"]["path"] == "/api/v1/ib/backfill"
    much = api.get(BARS, params={**LACKING, "timeframe": "1s", "start": NOW - 20 * DAY, "wait": 0}).json()
    assert much["backfill"]["body"]["timeframe"] == "1s"
    assert stored_bars.rows("SELECT count(*) FROM backfill_jobs")[0][0] == 0


def test_the_edge_of_small_bars_is_asked_for_once_a_minute(stored_bars: StoredBars, tmp_path: Path) -> None:
    api = stored_bars.api(tmp_path)
    noon = ns("2024-01-12 12:00", "America/New_York")
    stored_bars.record(stock(), "5s", settled=[(START - DAY, noon)])
    for seconds, jobs in ((30, 0), (50, 0), (90, 1)):
        stored_bars.set_time(noon + seconds * 1_000_000_000)
        api.get(BARS, params={**HELD, "timeframe": "5s", "start": noon - DAY // 24, "wait": 0})
        assert stored_bars.rows("SELECT count(*) FROM backfill_jobs")[0][0] == jobs


def test_limits_hold_for_two_hundred_clients(stored_bars: StoredBars, tmp_path: Path, redis_url: str) -> None:
    api = stored_bars.api(tmp_path, reads_per_minute=60, redis_url=redis_url)
    for user in range(2):  # a second caller, should the minute have ended in between
        headers, minute = stored_bars.user(user + 1, "bars:read"), time.time() // 60
        gets = (api.client.get(BARS, params={**HELD, "limit": 10}, headers=headers) for _ in range(200))
        codes = [answer.status_code for answer in api.all(*gets)]
        if time.time() // 60 == minute:
            break
    assert (codes.count(200), codes.count(429)) == (60, 140)
    other = api.get(BARS, params={**HELD, "limit": 10}, headers=stored_bars.user(9, "bars:read"))
    assert other.status_code == 200


def test_two_hundred_clients_without_a_limit_are_all_answered(stored_bars: StoredBars, tmp_path: Path) -> None:
    api = stored_bars.api(tmp_path, database_pool=4)
    answers = api.all(*(api.client.get(BARS, params={**HELD, "limit": 100, "sort": "desc"}) for _ in range(200)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
