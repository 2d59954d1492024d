"""Complete reads beside a neighbour that hangs, against the same reads alone: `python -m benchmarks.neighbours`.

The neighbours are real servers behind a relay that takes what is sent and passes nothing on. Runs alone and runs
beside each neighbour take turns, so that whatever else the machine does strikes both. Per case: the ratio of the medians, of the
means (a single read that waits for a time-out shows here), and the longest read. A read without an answer after ten seconds
is given up and counts as ten.
"""

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import date, timedelta
from pathlib import Path
from statistics import fmean, median
from typing import Any

import httpx
import psycopg2

from dev.environment import CLIENT_ENVIRONMENT
from dev.postgres import start_postgres
from dev.process import Group
from dev.redis import start_redis
from dev.sqs import start_sqs
from nautilus.clock import NS_PER_DAY, NS_PER_S, label_of
from nautilus.db.migrate import upgrade
from nautilus.market.bar import Bar
from nautilus.market.calendar import Calendar, Session
from tests.support.neighbours import relay
from tests.support.stored_bars import BARS, Api, StoredBars, stock

_MINUTE = 60 * NS_PER_S
_DAY = label_of(date(2024, 1, 11))
_OPEN = _DAY + (14 * 60 + 30) * _MINUTE
_CLOSE = _OPEN + 390 * _MINUTE
_LISTING = "/api/v1/market-data/instruments"
_RUN_S = 1.0
_ROUNDS = 4
_GIVEN_UP_S = 10.0
_LACKING = 400
"""Instruments without bars: a read of each is a new job, and a hint."""
_HINTS_PER_S = 5
_HANGING = 30

Times = list[float]


def run() -> None:
    folder = Path(tempfile.mkdtemp(prefix="nautilus-bench-"))
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ.update(CLIENT_ENVIRONMENT)
    try:
        with Group() as group:
            postgres = start_postgres(group, folder, durable=False)
            redis, sqs = start_redis(group, folder), start_sqs(group, folder)
            group.wait_ready()
            upgrade(postgres.dsn())
            stored_bars = _filled(postgres.dsn())
            queue_url = sqs.make_queue("bench")
            print(
                f"   {'complete reads beside':34} {'median':>8} {'mean':>8} {'longest':>10}   (of alone: at most 1.2)"
            )
            _beside_sqs(stored_bars, folder, queue_url, sqs.endpoint_url)
            _beside_one(stored_bars, folder, "a hung replica", "replica_url", postgres.dsn())
            _beside_one(stored_bars, folder, "a hung Redis", "redis_url", redis.url)
            _listing_beside_replica(stored_bars, folder, postgres.dsn())
            _beside_another_caller(stored_bars, folder)
            stored_bars.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _filled(dsn: str) -> StoredBars:
    """A session of one-minute bars of one stock, and many stocks that nobody has bars of."""
    stored_bars = StoredBars(dsn, _CLOSE + 3_600 * NS_PER_S)
    days = [date(2024, 1, 11) - timedelta(days=n) for n in range(60)]
    opens = sorted(label_of(day) + (_OPEN - _DAY) for day in days if day.weekday() < 5)
    sessions = [Session(at, at + 390 * _MINUTE, date.fromtimestamp(at // NS_PER_S)) for at in opens]
    calendar = Calendar.of(sessions, (opens[0] - NS_PER_DAY, _CLOSE + NS_PER_DAY), "America/New_York")
    for number in range(_LACKING + 1):
        stored_bars.instrument(stock(number + 1, f"S{number}"), calendar)
    bars = [Bar(_OPEN + n * _MINUTE, 1.0, 2.0, 0.5, 1.5, 10.0, 1.2, 3) for n in range(390)]
    stored_bars.record(stock(1, "S0"), "1m", bars, settled=[(_DAY, _CLOSE)])
    stored_bars.record(stock(1, "S0"), "1d", settled=[(opens[0] - NS_PER_DAY, _CLOSE)])
    return stored_bars


# ---- cases -----------------------------------------------------------------------------------------------------------


def _beside_sqs(stored_bars: StoredBars, folder: Path, queue_url: str, endpoint: str) -> None:
    """Others read what is missing: each of their reads makes a job and sends a hint. First with SQS well, as such work
    takes its share of the processor by itself."""
    numbers = iter(range(1, _LACKING + 1))

    def case(name: str, url: str, endpoint: str) -> None:
        api = stored_bars.api(folder, queue_url=url, queue_endpoint=endpoint)
        _answers(
            name,
            *_compared(
                stored_bars, api, lambda: _read_gaps(api, stored_bars.user(1, "bars:read", "backfill:write"), numbers)
            ),
        )

    case("reads with gaps, SQS well", queue_url, endpoint)
    with relay() as silent:
        case("reads with gaps, SQS hung", silent.before(queue_url), silent.before(endpoint))


@asynccontextmanager
async def _read_gaps(api: Api, headers: dict[str, str], numbers: Iterator[int]) -> AsyncIterator[None]:
    reads: set[asyncio.Task[Any]] = set()

    async def ask() -> None:
        while True:
            requested: dict[str, Any] = {"symbol": f"S{next(numbers)}", "timeframe": "1m", "wait": 0}
            reads.add(asyncio.create_task(api.client.get(BARS, params=requested, headers=headers)))
            await asyncio.sleep(1 / _HINTS_PER_S)

    asking = asyncio.create_task(ask())
    await asyncio.sleep(0.3)
    try:
        yield
    finally:
        asking.cancel()
        await asyncio.gather(*reads, return_exceptions=True)


def _beside_one(stored_bars: StoredBars, folder: Path, name: str, setting: str, url: str) -> None:
    """The reads' own neighbour hangs; alone, they have none."""
    with relay() as silent:
        hung = stored_bars.api(folder, **{setting: silent.before(url)})
        _answers(name, *_compared(stored_bars, stored_bars.api(folder), _nothing, other=hung))


def _listing_beside_replica(stored_bars: StoredBars, folder: Path, dsn: str) -> None:
    """A route that needs the primary alone, beside reads that the replica leaves waiting, on two connections."""
    with relay() as silent:
        api = stored_bars.api(folder, replica_url=silent.before(dsn), database_pool=2)
        alone = stored_bars.api(folder, database_pool=2)
        headers = stored_bars.user(1, "bars:read")
        _answers(
            "a listing, reads beside a hung replica",
            *_compared(stored_bars, alone, lambda: _busy(api, headers, 2), other=api, path=_LISTING),
        )


def _beside_another_caller(stored_bars: StoredBars, folder: Path) -> None:
    """Another caller's reads wait for a lock in the database."""
    api = stored_bars.api(folder, database_pool=8, statement_timeout_ms=60_000)
    headers = stored_bars.user(1, "bars:read")
    _answers(
        "another caller's hanging questions", *_compared(stored_bars, api, lambda: _hang(stored_bars.dsn, api, headers))
    )


@asynccontextmanager
async def _nothing() -> AsyncIterator[None]:
    yield


@asynccontextmanager
async def _busy(api: Api, headers: dict[str, str], number: int) -> AsyncIterator[None]:
    """So many readers, one read after the other, five a second each."""

    async def ask() -> None:
        while True:
            await api.client.get(BARS, params=_requested(), headers=headers)
            await asyncio.sleep(0.2)

    tasks = [asyncio.create_task(ask()) for _ in range(number)]
    await asyncio.sleep(0.05)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def _hang(dsn: str, api: Api, headers: dict[str, str]) -> AsyncIterator[None]:
    connection = psycopg2.connect(dsn)
    connection.cursor().execute("LOCK TABLE bars_coarse IN ACCESS EXCLUSIVE MODE")
    requested: dict[str, Any] = {
        "symbol": "S0",
        "timeframe": "1d",
        "start": _OPEN - 30 * NS_PER_DAY,
        "end": _CLOSE,
        "wait": 0,
    }
    reads = [asyncio.create_task(api.client.get(BARS, params=requested, headers=headers)) for _ in range(_HANGING)]
    await asyncio.sleep(0.5)
    try:
        yield
    finally:
        connection.rollback()
        connection.close()
        await asyncio.gather(*reads, return_exceptions=True)


# ---- measuring -------------------------------------------------------------------------------------------------------


def _requested() -> dict[str, Any]:
    return {"symbol": "S0", "timeframe": "1m", "start": _OPEN, "end": _CLOSE}


def _compared(
    stored_bars: StoredBars,
    api: Api,
    work: Callable[[], AbstractAsyncContextManager[None]],
    *,
    other: Api | None = None,
    path: str = BARS,
) -> tuple[Times, Times]:
    """Times of reads alone on `api`, and beside the work on `other` (default: the same); of requests by a user of their
    own."""
    headers = stored_bars.user(2, "bars:read")
    beside_api = other or api

    async def beside() -> Times:
        await beside_api.client.get(_LISTING, headers=headers)  # connected, and the deny list at hand
        async with work():
            return await _reads(beside_api, headers, path)

    alone_times: Times = []
    beside_times: Times = []
    api.all(_reads(api, headers, path))  # warm
    for _ in range(_ROUNDS):
        alone_times += api.all(_reads(api, headers, path))[0]
        beside_times += beside_api.all(beside())[0]
    return alone_times, beside_times


async def _reads(api: Api, headers: dict[str, str], path: str, for_s: float = _RUN_S) -> Times:
    """One request after the other, for so many seconds."""
    found: Times = []
    over = time.perf_counter() + for_s
    while time.perf_counter() < over:
        began = time.perf_counter()
        with suppress(TimeoutError):
            async with asyncio.timeout(_GIVEN_UP_S):
                answer: httpx.Response = await api.client.get(
                    path, params=_requested() if path == BARS else {"limit": 50}, headers=headers
                )
                assert answer.status_code in (200, 503), answer.text
        found.append(time.perf_counter() - began)
    return found


def _answers(name: str, alone: Times, beside: Times) -> None:
    ratios = f"{median(beside) / median(alone):8.2f} {fmean(beside) / fmean(alone):8.2f}"
    print(f"   {name:34} {ratios} {max(beside) * 1e3:7.0f} ms   alone {median(alone) * 1e3:.1f} ms", flush=True)


if __name__ == "__main__":
    run()
