"""What growth and load cost: `python -m benchmarks.growth`. Ratios of one run; times are medians of several, in
milliseconds, under load the mean and the longest.

planning        6,000 chunks of one plan under the series' lock: as the bridge writes them, and the same rows one by one
status          the poll of the front end with 300,000 chunks, and with 3,000; a running job waits for a tenth of them
/explain        one bar with 300,000 chunks, and with 3,000, through the API
search          the last result of a search among 100,000 finished commands, and among 100
sign-in         /health and /me while 200 people sign in at the same time, and alone; the API is a process of its own

NAUTILUS_BENCH_DSN names a server to use (databases are made and dropped there); absent: an embedded one.
"""

import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean, median
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg2

from benchmarks._sign_in_load import LOGIN
from dev.credentials import token_settings
from dev.environment import environment
from dev.postgres import start_postgres
from dev.process import Group, free_port
from dev.stack import MEMORY, read
from nautilus.auth.accounts.users import put_user
from nautilus.auth.passwords import Passwords
from nautilus.auth.scopes import ROLES
from nautilus.backfill.planner import Chunk
from nautilus.backfill.status import read_jobs
from nautilus.clock import NS_PER_DAY, rfc3339
from nautilus.db.bridge import commands
from nautilus.db.connection import Database
from nautilus.db.cursor import Cursor
from nautilus.db.ledger import chunks
from nautilus.db.market import instruments, series
from nautilus.db.migrate import upgrade
from nautilus.market.bar import Bar
from nautilus.market.calendar import Calendar, Session
from nautilus.market.timeframes import timeframe
from tests.support.stored_bars import Api, StoredBars, stock

PLANNED = 6_000
FEW_CHUNKS, MANY_CHUNKS = 3_000, 300_000
FEW_COMMANDS, MANY_COMMANDS = 100, 100_000
SERIES = 100
"""Stored series that the chunks are spread over."""
LOAD = 200
_PASSWORD = "a rather long sentence, 7"
_MINUTE = 60_000_000_000
_AT = 1_772_461_800_000_000_000  # 2026-03-02T14:30:00Z
_EXPLAIN = "/api/v1/market-data/historical/explain"


def run() -> None:
    folder = Path(tempfile.mkdtemp(prefix="nautilus-bench-"))
    try:
        with Group() as group:
            given = os.environ.get("NAUTILUS_BENCH_DSN")
            server = given or _embedded(group, folder)
            with _database(server, "planning") as dsn:
                _planning(dsn)
            with _database(server, "grown") as dsn:
                _grown(dsn, folder)
            with _database(server, "load") as dsn:
                _sign_in(group, folder, dsn)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _embedded(group: Group, folder: Path) -> str:
    postgres = start_postgres(group, folder, durable=False)
    group.wait_ready()
    return postgres.dsn("postgres")


@contextmanager
def _database(server: str, name: str) -> Iterator[str]:
    name = f"nautilus_bench_{name}"
    _execute(server, f"DROP DATABASE IF EXISTS {name}", f"CREATE DATABASE {name}")
    dsn = urlunsplit(urlsplit(server)._replace(path="/" + name))
    try:
        upgrade(dsn)
        yield dsn
    finally:
        _execute(server, f"DROP DATABASE {name} WITH (FORCE)")


def _execute(dsn: str, *statements: str) -> None:
    with closing(psycopg2.connect(dsn)) as connection:
        connection.autocommit = True
        for statement in statements:
            connection.cursor().execute(statement)


def _ms(work: Callable[[], object], times: int) -> float:
    spent = []
    for _ in range(times):
        begun = time.perf_counter()
        work()
        spent.append((time.perf_counter() - begun) * 1e3)
    return median(spent)


def _tell(what: str, ms: float, against: str, than_ms: float) -> None:
    print(f"  {what:44}{ms:9.1f} ms   {against:24}{than_ms:9.1f} ms   ratio {ms / than_ms:6.2f}", flush=True)


# ---- planning --------------------------------------------------------------------------------------------------------


def _planning(dsn: str) -> None:
    stored_bars = _stored_bars(dsn)
    plan = [Chunk((n * _MINUTE, (n + 1) * _MINUTE), (n * _MINUTE, (n + 1) * _MINUTE)) for n in range(PLANNED)]

    def at_once(cursor: Cursor, series_id: int) -> None:
        assert len(chunks.insert(cursor, series_id, plan, mode="missing")) == PLANNED

    def one_by_one(cursor: Cursor, series_id: int) -> None:
        for chunk in reversed(plan):
            cursor.execute(
                "INSERT INTO backfill_chunks (series_id, span_start, span_end, window_start, window_end, mode)"
                " VALUES (%s, %s, %s, %s, %s, 'missing') RETURNING id",
                (series_id, *chunk.span, *chunk.window),
            )
            cursor.fetchone()

    def under_the_lock(write: Callable[[Cursor, int], None]) -> None:
        with stored_bars.db.transaction() as cursor:
            row = series.by_id(cursor, 1, lock=True)
            write(cursor, row.id)

    spent: dict[Callable[[Cursor, int], None], list[float]] = {at_once: [], one_by_one: []}
    for _ in range(2):
        for write, times in spent.items():
            times.append(_ms(lambda write=write: under_the_lock(write), 1))  # type: ignore[misc]
            stored_bars.rows("DELETE FROM backfill_chunks")
    print(f"planning: {PLANNED:,} chunks under the series' lock")
    _tell("as the bridge writes them", median(spent[at_once]), "one by one", median(spent[one_by_one]))
    stored_bars.close()


def _stored_bars(dsn: str) -> StoredBars:
    """One stock with a trading day of bars around `_AT`, as series 1."""
    made = StoredBars(dsn, _AT + NS_PER_DAY)
    session = Session(_AT, _AT + 390 * _MINUTE, datetime.fromtimestamp(_AT / 1e9, UTC).date())
    made.instrument(stock(), Calendar.of([session], (_AT - NS_PER_DAY, _AT + NS_PER_DAY), "America/New_York"))
    bars = [Bar(_AT + n * _MINUTE, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1) for n in range(390)]
    made.record(stock(), "1m", bars, settled=[(_AT, _AT + 390 * _MINUTE)])
    return made


# ---- a store that has grown ------------------------------------------------------------------------------------------


def _grown(dsn: str, folder: Path) -> None:
    stored_bars = _stored_bars(dsn)
    with stored_bars.db.transaction() as cursor:
        for number in range(2, SERIES + 1):
            instruments.store(cursor, stock(number, f"S{number}"), {})
            series.find_or_make(cursor, number, timeframe("1m"), price="TRADES", session="rth")
        cursor.execute(
            "INSERT INTO backfill_jobs (owner, origin, state, request, fingerprint, started_at)"
            " VALUES ('user:1', 'api', 'running', '{}', 'f', now())"
        )
        cursor.execute(
            "INSERT INTO backfill_items (job_id, selector, timeframe, state, series_id)"
            " SELECT j.id, '{}', '1m', 'planned', s.id FROM backfill_jobs j, series s"
        )
    api = stored_bars.api(folder)
    found = []
    for chunks_, commands_ in (
        ((0, FEW_CHUNKS), (0, FEW_COMMANDS)),
        ((FEW_CHUNKS, MANY_CHUNKS), (FEW_COMMANDS, MANY_COMMANDS)),
    ):
        _grow(stored_bars, chunks_, commands_)
        found.append(
            (
                _ms(lambda: read_jobs(stored_bars.db, None), 15),
                _ms(lambda: _explained(api), 31),
                _ms(lambda: _searched(stored_bars.db), 31),
            )
        )
    few, many = found
    print("a store that has grown")
    _tell(f"status poll, {MANY_CHUNKS:,} chunks", many[0], f"with {FEW_CHUNKS:,}", few[0])
    _tell(f"/explain, {MANY_CHUNKS:,} chunks", many[1], f"with {FEW_CHUNKS:,}", few[1])
    _tell(f"last search, {MANY_COMMANDS:,} commands", many[2], f"with {FEW_COMMANDS:,}", few[2])
    stored_bars.close()


def _grow(stored_bars: StoredBars, chunks_: tuple[int, int], commands_: tuple[int, int]) -> None:
    """Chunks and finished commands from one number of them to another: a tenth of the chunks is still pending."""
    _load(
        stored_bars.dsn,
        "WITH made AS (INSERT INTO backfill_chunks (series_id, span_start, span_end, window_start, window_end, state,"
        "  outcome, not_before) SELECT 1 + n %% %s, at, at + %s, at, at + %s, CASE WHEN n %% 10 = 0 THEN 'pending' ELSE 'done'"
        "  END, 'pacing', CASE WHEN n %% 10 = 0 THEN 9e18::bigint ELSE 0 END"
        "  FROM (SELECT n, %s + (n / %s) * %s AS at FROM generate_series(%s, %s) n) c RETURNING id, state)"
        " INSERT INTO job_chunks SELECT j.id, made.id FROM backfill_jobs j, made WHERE made.state = 'pending'",
        *(SERIES, _MINUTE, _MINUTE, _AT, SERIES, _MINUTE),
        *(chunks_[0], chunks_[1] - 1),
    )
    _load(
        stored_bars.dsn,
        "INSERT INTO bridge_commands (type, args, state, result, requested_by, expires_at, finished_at)"
        " SELECT 'search', jsonb_build_object('pattern', 'P' || n), 'done', jsonb_build_object('n', n), 'x', now(), now()"
        " FROM generate_series(%s, %s) n",
        commands_[0],
        commands_[1] - 1,
    )
    stored_bars.rows("UPDATE backfill_jobs SET chunks_total = (SELECT count(*) FROM job_chunks)")
    _execute(stored_bars.dsn, "VACUUM ANALYZE")


def _load(dsn: str, statement: str, *values: int) -> None:
    """Execute what may take long."""
    with closing(psycopg2.connect(dsn)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statement, values)


def _explained(api: Api) -> None:
    answer = api.get(_EXPLAIN, params=_question())
    assert answer.status_code == 200, answer.text


def _question() -> dict[str, str]:
    return {"symbol": "AAPL", "asset_class": "STK", "timeframe": "1m", "ts": rfc3339(_AT + 5 * _MINUTE)}


def _searched(database: Database) -> None:
    with database.transaction(snapshot=True) as cursor:
        assert commands.last_result(cursor, "search", {"pattern": "P7"}) == {"n": 7}


# ---- many sign-ins at once------------------------------------------------------------------------------------------


def _sign_in(group: Group, folder: Path, dsn: str) -> None:
    database = Database(dsn, name="bench", size=1)
    put_user(database, Passwords(), username="trader", password=_PASSWORD, scopes=ROLES["trader"], reason="bench")
    database.close()
    port = free_port()
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as client:
        _serve(group, folder, dsn, port)
        token = _requested(client, "POST", LOGIN, {"username": "trader", "password": _PASSWORD})["access_token"]
        rounds = iter(range(40))
        alone = _polled(client, token, lambda: next(rounds, None) is not None)
        begun = time.perf_counter()
        command = [sys.executable, "-m", "benchmarks._sign_in_load", str(port), str(LOAD)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as load:
            assert load.stdout is not None
            assert load.stdout.readline() == "begun\n"
            beside = _polled(client, token, lambda: load.poll() is None)
            statuses = json.loads(load.stdout.read())
    words = ", ".join(f"{count} x {status}" for status, count in sorted(statuses.items()))
    print(f"{LOAD} sign-ins at the same moment: {words}, in {time.perf_counter() - begun:.1f} s")
    for path, times in beside.items():
        _tell(f"{path} beside them, mean of {len(times)}", fmean(times), "alone", fmean(alone[path]))
        _tell(f"{path} beside them, longest", max(times), "alone", max(alone[path]))


def _serve(group: Group, folder: Path, dsn: str, port: int) -> None:
    settings = {"NAUTILUS_DATABASE_URL": dsn, "NAUTILUS_TRUSTED_PROXIES": "127.0.0.1", "NAUTILUS_LOG_LEVEL": "WARNING"}
    group.start(
        "api",
        [sys.executable, "-m", "dev.local_api", "--port", str(port)],
        log=folder / "api.log",
        env=environment({**settings, **token_settings(folder), **MEMORY}),
        ready=lambda _: read(f"http://127.0.0.1:{port}/health") is not None,
    ).wait_ready()


def _polled(client: http.client.HTTPConnection, token: str, more: Callable[[], bool]) -> dict[str, list[float]]:
    """Milliseconds of each answer to somebody who asks for both all the time, with a short rest between."""
    times: dict[str, list[float]] = {"/health": [], "/api/v1/auth/me": []}
    while more():
        for path, spent in times.items():
            begun = time.perf_counter()
            _requested(client, "GET", path, token=token)
            spent.append((time.perf_counter() - begun) * 1e3)
        time.sleep(0.02)
    return times


def _requested(
    client: http.client.HTTPConnection, method: str, path: str, body: object = None, token: str = ""
) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    if body is not None:
        headers["Content-Type"] = "application/json"
    client.request(method, path, json.dumps(body) if body is not None else None, headers)
    answer = client.getresponse()
    found: dict[str, Any] = json.loads(answer.read())
    assert answer.status == 200, found
    return found


if __name__ == "__main__":
    run()
