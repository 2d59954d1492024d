"""Reading bars against raw COPY, an empty route and the peer (SQLAlchemy ORM + Pydantic), in one run.

The contestants take turns for many rounds, so that whatever else the machine does strikes all alike. Of each: the least
and the median of the times, and the median of the processor time of this process and of the database's, which a busy
machine changes least; ratios of each to the first contestant's.
"""

import asyncio
import gc
import http.client
import io
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import psycopg2
from fastapi import FastAPI

from benchmarks import _peer, _serving
from dev.credentials import token_settings
from dev.environment import environment
from dev.postgres import Postgres, start_postgres
from dev.process import Group, free_port
from dev.redis import start_redis
from dev.stack import MEMORY
from nautilus.auth import api_keys
from nautilus.clock import NS_PER_DAY, label_of
from nautilus.db.auth import api_keys as stored_keys
from nautilus.db.auth import users
from nautilus.db.migrate import upgrade
from nautilus.market.bar import Bar
from nautilus.market.calendar import Calendar, Session
from tests.support.stack import service_stack
from tests.support.stored_bars import BARS, StoredBars, stock

_MINUTE = 60_000_000_000
_FIRST = date(2023, 9, 4)
_DAYS = 200
_OPEN, _CLOSE = 14 * 60 + 30, 21 * 60
_ROUNDS = 21
_Call = Callable[[], Awaitable[bytes]]


def run() -> None:
    folder = Path(tempfile.mkdtemp(prefix="nautilus-bench-"))
    try:
        with Group() as group:
            postgres = start_postgres(group, folder, durable=False)
            redis = start_redis(group, folder)
            group.wait_ready()
            asyncio.run(_in_process(postgres, redis.url, folder))
            _under_load(group, postgres, folder)
            _never_seen(group, postgres, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# ---- bars to read ----------------------------------------------------------------------------------------------------


def _days() -> list[date]:
    found: list[date] = []
    day = _FIRST
    while len(found) < _DAYS:
        if day.weekday() < 5:
            found.append(day)
        day += timedelta(days=1)
    return found


def _filled(dsn: str) -> tuple[StoredBars, int, int]:
    """78,000 one-minute bars of one stock, and the range they lie in."""
    days = _days()
    opens = [label_of(day) + _OPEN * _MINUTE for day in days]
    start, end = opens[0], opens[-1] + 390 * _MINUTE
    stored_bars = StoredBars(dsn, end + 3_600_000_000_000)
    sessions = [Session(at, at + 390 * _MINUTE, day) for at, day in zip(opens, days, strict=True)]
    stored_bars.instrument(stock(), Calendar.of(sessions, (start - NS_PER_DAY, end + NS_PER_DAY), "America/New_York"))
    bars: list[Bar] = []
    for at in opens:
        for n in range(390):
            price = round(180 + (len(bars) * 7919 % 1000) / 100, 2)
            bars.append(
                Bar(at + n * _MINUTE, price, round(price + 0.07, 2), round(price - 0.03, 2), round(price + 0.01, 2),
                    float(len(bars) * 31 % 10_000), price + 0.0123, 10 + n % 50)
            )  # fmt: skip
    stored_bars.record(stock(), "1m", bars, settled=[(start, end)])
    connection = psycopg2.connect(dsn)
    connection.autocommit = True
    connection.cursor().execute("VACUUM ANALYZE")
    connection.close()
    return stored_bars, start, end


# ---- in process ------------------------------------------------------------------------------------------------------


class _App:
    """An ASGI app called in this process, without a client's work: the time is the app's."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    async def get(self, path: str, query: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> bytes:
        return (await self.answer(path, query, headers))[1]

    def call(self, path: str, query: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> _Call:
        """The same request again and again, its query written once."""
        written = str(httpx.QueryParams(query))

        async def get() -> bytes:
            return (await self._answer(path, written, headers))[1]

        return get

    async def answer(
        self, path: str, query: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> tuple[Mapping[str, str], bytes]:
        return await self._answer(path, str(httpx.QueryParams(query)), headers)

    async def _answer(
        self, path: str, query: str, headers: Mapping[str, str] | None
    ) -> tuple[Mapping[str, str], bytes]:
        found: dict[str, str] = {}
        parts: list[bytes] = []
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
            "path": path, "raw_path": path.encode(), "root_path": "", "query_string": query.encode(),
            "headers": [(b"host", b"localhost"), *((k.encode(), v.encode()) for k, v in (headers or {}).items())],
            "server": ("localhost", 80), "client": ("127.0.0.1", 1),
        }  # fmt: skip

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                found["status"] = str(message["status"])
                found.update({k.decode(): v.decode() for k, v in message["headers"]})
            else:
                parts.append(message.get("body", b""))

        await self._app(scope, receive, send)
        return found, b"".join(parts)


class _Contestants:
    """The calls that are compared: the same bars by raw COPY, by this API and by the peer."""

    def __init__(
        self, stored_bars: StoredBars, dsn: str, folder: Path, redis_url: str, *, span: tuple[int, int]
    ) -> None:
        self.raw = psycopg2.connect(dsn)
        self.plain = _App(_serving.with_peer(stored_bars.app(folder), dsn))
        self.cached = _App(stored_bars.app(folder, redis_url=redis_url))
        self.start, self.end = span

    def copy(self, number: int) -> _Call:
        return lambda: _copy(self.raw, self.start, self.end, number)

    def read(self, number: int, headers: Mapping[str, str] | None = None, **more: Any) -> _Call:
        query = {"symbol": "AAPL", "timeframe": "1m", "start": self.start, "end": self.end, "limit": number, **more}
        return self.plain.call(BARS, query, headers)

    def peer(self, number: int) -> _Call:
        return self.plain.call(_peer.PATH, {"start": self.start, "end": self.end, "limit": number})


async def _in_process(postgres: Postgres, redis_url: str, folder: Path) -> None:
    dsn = postgres.dsn()
    upgrade(dsn)
    stored_bars, start, end = _filled(dsn)
    contestants = _Contestants(stored_bars, dsn, folder, redis_url, span=(start, end))
    await _large_pages(contestants, _backends(stored_bars))
    await _small_pages(contestants, stored_bars)
    await _memory(contestants)
    contestants.raw.close()
    stored_bars.close()


async def _large_pages(by: _Contestants, database_ns: Callable[[], int]) -> None:
    await _table(
        "10,000 candles",
        {
            "raw binary COPY": by.copy(10_000),
            "JSON": by.read(10_000),
            "column-wise JSON": by.read(10_000, format="columns"),
            "NDJSON": by.read(10_000, format="ndjson"),
            "the peer's JSON": by.peer(10_000),
        },
        {"JSON": "at most 2.0", "column-wise JSON": "at most 2.0", "the peer's JSON": "at least 10 times JSON"},
        database_ns,
        rounds=_ROUNDS,
    )
    await _table(
        "50,000 rows",
        {
            "raw binary COPY": by.copy(50_000),
            "CSV": by.read(50_000, format="csv"),
            "JSON": by.read(50_000),
            "Arrow, all eight": by.read(50_000, format="arrow", fields="+vwap,+trades"),
            "Arrow, gzip": by.read(50_000, format="arrow", headers={"accept-encoding": "gzip"}),
        },
        {
            "CSV": "at most 1.3",
            "JSON": "(a shorter page: Lambda's 6 MB)",
            "Arrow, all eight": "at most 1.5 times the CPU",
        },
        database_ns,
        rounds=9,
    )


async def _small_pages(by: _Contestants, stored_bars: StoredBars) -> None:
    query = {"symbol": "AAPL", "timeframe": "1m", "start": by.start, "limit": 1_000}
    tag = (await by.cached.answer(BARS, query))[0]["etag"]
    assert (await by.cached.answer(BARS, query, {"if-none-match": tag}))[0]["status"] == "304"
    assert "hit" in (await by.cached.answer(BARS, query))[0]["server-timing"]
    token, key = _signed_in(stored_bars)
    await _table(
        "1,000 candles",
        {
            "empty route": by.plain.call(_serving.EMPTY, {}),
            "304": by.cached.call(BARS, query, {"if-none-match": tag}),
            "304, by access token": by.cached.call(BARS, query, {"if-none-match": tag, **token}),
            "304, by API key": by.cached.call(BARS, query, {"if-none-match": tag, **key}),
            "hit in Redis": by.cached.call(BARS, query),
            "from PostgreSQL": by.plain.call(BARS, query),
            "the peer's": by.peer(1_000),
        },
        {"304": "at most 3 ms over the empty route", "hit in Redis": "at most 3 ms over the empty route"},
        _backends(stored_bars),
        rounds=41,
    )


async def _memory(by: _Contestants) -> None:
    read = by.read(50_000, format="csv")
    tracemalloc.start()
    size = len(await read())
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    await read()
    peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    print(f"   50,000 rows of CSV are {size / 1e6:.1f} MB and take at most {peak / size:.1f} times that of memory")


def _signed_in(stored_bars: StoredBars) -> tuple[dict[str, str], dict[str, str]]:
    """Headers of a user with an access token, and with an API key."""
    key = api_keys.new_key()
    with stored_bars.db.transaction() as cursor:
        number = users.put(cursor, "reader", "", ["bars:read"])
        stored_keys.create(
            cursor,
            user_id=number,
            name="bench",
            prefix=key.prefix,
            secret_hash=key.hash,
            scopes=["bars:read"],
            expires_at=None,
        )
    token = {name.lower(): value for name, value in stored_bars.user(number, "bars:read").items()}
    return token, {"x-api-key": key.text}


async def _copy(connection: Any, start: int, end: int, number: int) -> bytes:
    out = io.BytesIO()
    with connection.cursor() as cursor:
        cursor.copy_expert(
            f"COPY (SELECT * FROM bars_minute WHERE series_id = 1 AND ts >= {start} AND ts < {end} ORDER BY ts"
            f" LIMIT {number}) TO STDOUT (FORMAT binary)",
            out,
        )
    connection.rollback()
    return out.getvalue()


def _backends(stored_bars: StoredBars) -> Callable[[], int]:
    """Processor time of all of the database's connections, in ns."""
    pids: list[int] = []

    def spent() -> int:
        if not pids:  # read when all have connected
            rows = stored_bars.rows("SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'")
            pids.extend(row[0] for row in rows)
        total = 0
        for pid in pids:
            try:
                total += int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])
            except OSError:
                continue
        return total

    return spent


async def _table(
    title: str,
    calls: Mapping[str, _Call],
    aims: Mapping[str, str],
    database_ns: Callable[[], int],
    *,
    rounds: int,
) -> None:
    for call in calls.values():
        await call()
    wall: dict[str, list[float]] = {name: [] for name in calls}
    cpu: dict[str, list[int]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            # Nobody pays for what the one before left behind: garbage, cold caches, memory given back.
            gc.collect()
            await call()
            spent = database_ns() + time.process_time_ns()
            began = time.perf_counter()
            await call()
            wall[name].append(time.perf_counter() - began)
            cpu[name].append(database_ns() + time.process_time_ns() - spent)
    print(f"   {title:22} {'least':>9} {'median':>9} {'CPU':>9}   ratio of each      over the first")
    base: tuple[float, ...] = ()
    for name in calls:
        found = (min(wall[name]) * 1e3, median(wall[name]) * 1e3, median(cpu[name]) / 1e6)
        base = base or found
        times = " ".join(f"{each:6.1f} ms" for each in found)
        ratios = " ".join(f"{each / first:5.2f}" for each, first in zip(found, base, strict=True))
        print(
            f"   {name:22} {times}   {ratios}  {found[0] - base[0]:5.1f} {found[1] - base[1]:5.1f} ms  {aims.get(name, '')}"
        )


# ---- under load ------------------------------------------------------------------------------------------------------


def _under_load(group: Group, postgres: Postgres, folder: Path) -> None:
    """Pages of 1,000 candles per second: two workers, 32 connections."""
    dsn = postgres.dsn()
    start = label_of(_FIRST) + _OPEN * _MINUTE
    settings = {
        **token_settings(folder),
        "NAUTILUS_DATABASE_URL": dsn,
        "NAUTILUS_ANONYMOUS_SCOPES": "bars:read",
        "NAUTILUS_READS_PER_MINUTE": "0",
        "NAUTILUS_LOG_LEVEL": "WARNING",
    }
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "--factory", "benchmarks._serving:app", "--workers", "2"]
    server = subprocess.Popen(
        [*command, "--port", str(port), "--log-level", "warning"],
        env=dict(environment(settings)),
        cwd=Path(__file__).parents[1],
    )
    try:
        _until_up(port)
        ours = _rate(port, f"{BARS}?symbol=AAPL&timeframe=1m&start={start}&limit=1000")
        peer = _rate(port, f"{_peer.PATH}?start={start}&end={start + 365 * NS_PER_DAY}&limit=1000")
    finally:
        server.terminate()
        server.wait(10)
    print(
        f"   pages of 1,000 candles, 2 workers, 32 connections: {ours:.0f}/s, the peer {peer:.0f}/s, {ours / peer:.1f} times"
    )


def _until_up(port: int) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", _serving.EMPTY)
            connection.getresponse().read()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _rate(port: int, path: str, seconds: float = 5.0) -> float:
    """Answers per second over 32 connections."""
    counts: list[int] = []

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        done = 0
        while time.monotonic() < over:
            connection.request("GET", path, headers={"Accept-Encoding": "identity"})
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200, answer.status
            done += 1
        connection.close()
        counts.append(done)

    over = time.monotonic() + seconds
    threads = [threading.Thread(target=client) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / seconds


# ---- never seen ------------------------------------------------------------------------------------------------------


def _never_seen(group: Group, postgres: Postgres, folder: Path) -> None:
    """The first read of symbols nobody has: lookup, sessions, request, rows, answer; a simulator without latency."""
    with _database(postgres, "never_seen") as dsn:
        options = ("--latency", "none", "--clock", "rate:1", "--start", "2026-03-04T17:30:30Z")
        with service_stack(group, folder, dsn, *options) as stack:
            stack.start_bridge()
            times = []
            for symbol in ("AAPL", "MSFT", "NVDA", "AMZN", "GOOGL", "TSLA"):
                began = time.perf_counter()
                answer = stack.bars(symbol=symbol, timeframe="1m")
                times.append(time.perf_counter() - began)
                assert answer["total"] > 100, answer
    found = ", ".join(f"{t * 1e3:.0f}" for t in times)
    print(
        f"   a day of 1m of a symbol never seen: {found} ms (at most 500; the first also learns the exchange's sessions)"
    )


@contextmanager
def _database(postgres: Postgres, name: str) -> Iterator[str]:
    connection = psycopg2.connect(postgres.dsn("postgres"))
    connection.autocommit = True
    connection.cursor().execute(f"CREATE DATABASE {name}")
    connection.close()
    upgrade(postgres.dsn(name))
    yield postgres.dsn(name)


if __name__ == "__main__":
    if not MEMORY.items() <= os.environ.items():  # as the API runs; glibc reads them when a process starts
        os.execve(sys.executable, [sys.executable, "-m", "benchmarks.reading"], {**os.environ, **MEMORY})
    run()
