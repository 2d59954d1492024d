"""Writing and keeping bars: the writer against raw binary COPY of the same chunks into the same table, in one run.

Chunks of 2,000 one-minute bars, each its own transaction, through `nautilus.db.series.record`: new, the same again, all
revised. Contestants take turns chunk by chunk, so that whatever else the machine does strikes both alike; every turn has
a series of its own. Then the newest bars of one series in a small and in a large table, and bytes per bar.

NAUTILUS_BENCH_DSN names a server to use (its database `nautilus_bench` is made and dropped); absent: an embedded one,
whose commits survive a power cut, unless NAUTILUS_BENCH_FSYNC is 0.
NAUTILUS_BENCH_BARS names a CSV file of one-minute bars (ts or timestamp, open, high, low, close, perhaps volume) whose
values are stored; absent: a random walk in cents.
"""

import csv
import gzip
import io
import os
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg2

from dev.postgres import start_postgres
from dev.process import Group
from nautilus.bars import Bar
from nautilus.db import bars as bar_store
from nautilus.db import series, timescale
from nautilus.db.connection import Database
from nautilus.db.migrate import upgrade
from nautilus.spans import Spans
from nautilus.timeframes import timeframe

MINUTE = 60_000_000_000
CHUNK = 2_000
CHUNKS = 60
START = 1_672_617_600_000_000_000  # 2023-01-02T00:00:00Z
FRAME = timeframe("1m")
RAW = 1_000_000
"""The series that raw COPY writes to."""
_INSTRUMENT = (
    "INSERT INTO instruments (con_id, instrument_id, symbol, asset_class, exchange, primary_exchange, currency,"
    " local_symbol, trading_class, expiry, multiplier, min_tick, long_name, time_zone, calendar)"
    " SELECT n, 'A.X', 'A', 'STK', 'SMART', 'X', 'USD', 'A', 'A', '', '', 0.01, 'A', 'America/New_York', 'X'"
    " FROM generate_series(1, 10) n"
)


def run() -> None:
    with _server() as dsn:
        upgrade(dsn)
        database = Database(dsn, name="bench", size=2, statement_timeout_ms=600_000)
        with database.transaction() as cursor:
            print(f"storage: {timescale.storage(cursor)}")
            cursor.execute(_INSTRUMENT)
        bars = _bars(CHUNK * CHUNKS)
        _writing(database, bars)
        _size(database)
        _latest(database)
        database.close()


@contextmanager
def _server() -> Iterator[str]:
    given = os.environ.get("NAUTILUS_BENCH_DSN")
    if given:
        with closing(psycopg2.connect(given)) as connection:
            connection.autocommit = True
            connection.cursor().execute("CREATE DATABASE nautilus_bench")
            try:
                head, _, options = given.partition("?")
                yield head.rpartition("/")[0] + "/nautilus_bench" + ("?" + options if options else "")
            finally:
                connection.cursor().execute("DROP DATABASE nautilus_bench WITH (FORCE)")
        return
    folder = Path(tempfile.mkdtemp(prefix="nautilus-bench-"))
    try:
        with Group() as group:
            server = start_postgres(group, folder, durable=os.environ.get("NAUTILUS_BENCH_FSYNC", "1") != "0")
            server.child.wait_ready()
            yield server.dsn()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _bars(count: int) -> list[Bar]:
    """One-minute bars without a gap, with the prices of a file or of a random walk."""
    name = os.environ.get("NAUTILUS_BENCH_BARS")
    rows = _of_file(Path(name)) if name else _walk(count)
    return [Bar(START + n * MINUTE, *rows[n % len(rows)]) for n in range(count)]


def _of_file(path: Path) -> list[Any]:
    with gzip.open(path, "rt") as text:
        found = list(csv.DictReader(text))
    prices = ("open", "high", "low", "close")
    return [
        (*(float(row[p]) for p in prices), *((float(row["volume"]), None, None) if "volume" in row else (None,) * 3))
        for row in found
    ]


def _walk(count: int) -> list[Any]:
    rng, price, found = random.Random(7), 15_000, []
    for _ in range(count):
        opened, price = price, price + rng.randint(-8, 8)
        high, low = max(opened, price) + rng.randint(0, 5), min(opened, price) - rng.randint(0, 5)
        volume = float(rng.randint(100, 90_000))
        vwap = round((high + low + price) / 300, 4)
        found.append((opened / 100, high / 100, low / 100, price / 100, volume, vwap, rng.randint(1, 900)))
    return found


# ---- writing -----------------------------------------------------------------------------------------------------------


def _writing(database: Database, bars: list[Bar]) -> None:
    chunks = [bars[at : at + CHUNK] for at in range(0, len(bars), CHUNK)]
    with database.transaction() as cursor:
        ours = series.find_or_make(cursor, 1, FRAME, "TRADES", "rth").id
        # A series behind both: PostgreSQL is faster at the right end of an index, where only the last series writes.
        cursor.execute("INSERT INTO bars_minute VALUES (2000000, %s, 1, 1, 1, 1)", (START,))
    for what, change in (("new", 0.0), ("the same again", 0.0), ("revised", 1.0)):
        spent: list[tuple[float, float]] = []
        dead = _dead(database)
        for number, chunk in enumerate(chunks):
            mine = (
                [bar._replace(close=bar.close + change, high=bar.high + change) for bar in chunk] if change else chunk
            )
            pair = [lambda: _ours(database, ours, mine, what), lambda: _raw(database, RAW, mine)]  # noqa: B023
            times = [0.0, 0.0]
            for turn in (0, 1) if number % 2 else (1, 0):
                begun = time.perf_counter()
                pair[turn]()
                times[turn] = time.perf_counter() - begun
            spent.append((times[0], times[1]))
        dead = _dead(database) - dead
        _forget(database, RAW)
        mine_s, raw_s = (statistics.median(row[n] for row in spent) for n in (0, 1))
        print(
            f"  {what:15} {CHUNK / mine_s:9,.0f} bars/s, raw COPY {CHUNK / raw_s:9,.0f}: ratio {raw_s / mine_s:.2f}"
            f" (by sums {sum(r for _, r in spent) / sum(m for m, _ in spent):.2f});"
            f" rows updated or deleted in the table: {dead}"
        )


def _ours(database: Database, series_id: int, chunk: list[Bar], what: str) -> None:
    with database.transaction() as cursor:
        found = series.by_id(cursor, series_id, lock=True)
        span = Spans.of(chunk[0].ts, chunk[-1].ts + MINUTE)
        written = series.record(cursor, found, bars=chunk, settled=span, request_id=1)
    assert (written.new, written.same, written.revised)[("new", "the same again", "revised").index(what)] == len(chunk)


def _raw(database: Database, series_id: int, chunk: Sequence[Bar]) -> None:
    """The least that can be done: the same bytes, encoded, copied, committed; nothing checked or counted."""
    with database.transaction() as cursor:
        cursor.copy_expert(
            f"COPY bars_minute ({bar_store._COLUMNS}) FROM STDIN (FORMAT binary)",
            io.BytesIO(bar_store._framed(bar_store._encode(series_id, chunk).values())),
        )


def _forget(database: Database, series_id: int) -> None:
    with database.transaction() as cursor:
        cursor.execute("DELETE FROM bars_minute WHERE series_id = %s", (series_id,))


def _dead(database: Database) -> int:
    """Rows that were ever updated or deleted in the table of minutes (and its chunks)."""
    with database.transaction() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush()")
    with database.transaction() as cursor:
        cursor.execute(
            "SELECT coalesce(sum(n_tup_upd + n_tup_del), 0) FROM pg_stat_user_tables"
            " WHERE relname = 'bars_minute' OR schemaname = '_timescaledb_internal'"
        )
        return int(cursor.fetchone()[0])


# ---- size and reading --------------------------------------------------------------------------------------------------


# A bar, told as columns: as it is; with its two integers side by side, where no padding is needed; with prices as
# integers of a scale that the series would have to keep; and what a read then computes of a price.
_FORMS = {
    "as it is": ("series_id, ts, open, high, low, close, volume, vwap, trades", "close"),
    "integers side by side": ("series_id, trades, ts, open, high, low, close, volume, vwap", "close"),
    "int4 prices of a scale": (
        "series_id, trades, ts, "
        + ", ".join(f"(round({p} * 100000))::int4 AS {p}" for p in ("open", "high", "low", "close"))
        + ", volume, vwap",
        "close / 100000.0::float8",
    ),
    "numeric": (
        "series_id, ts, "
        + ", ".join(f"{p}::numeric" for p in ("open", "high", "low", "close"))
        + ", volume, vwap, trades",
        "close",
    ),
}


def _size(database: Database) -> None:
    """Bytes per bar of the writer's own rows, each form alone in a fresh table, and the text of 10,000 prices."""
    for name, (columns, price) in _FORMS.items():
        with database.transaction() as cursor:
            cursor.execute(
                f"CREATE TEMP TABLE alone ON COMMIT DROP AS SELECT {columns} FROM bars_minute WHERE series_id = 1"
            )
            cursor.execute("ALTER TABLE alone ADD PRIMARY KEY (series_id, ts)")
            cursor.execute("SELECT count(*), pg_table_size('alone'), pg_indexes_size('alone') FROM alone")
            count, heap, index = cursor.fetchone()
            spent = []
            for _ in range(15):
                begun = time.perf_counter()
                cursor.execute(
                    f"SELECT string_agg(({price})::text, ',') FROM (SELECT close FROM alone WHERE series_id = 1"
                    " AND ts >= %s AND ts < %s ORDER BY ts) AS page",
                    (START, START + 10_000 * MINUTE),
                )
                spent.append(time.perf_counter() - begun)
        print(
            f"  {name:22} bytes per bar: {heap / count:5.1f} heap, {index / count:4.1f} key;"
            f" 10,000 prices as text {min(spent) * 1e3:.1f} ms"
        )
    with database.transaction() as cursor:
        stored = timescale.size(cursor, "bars_minute")
        if stored is not None:
            print(f"  chunks: {stored}")


def _latest(database: Database) -> None:
    """The newest 500 bars of one series of 10,000, bounds of ts as the reader gives them."""
    rows = int(os.environ.get("NAUTILUS_BENCH_ROWS", "10000000"))
    times = {}
    for total in (rows // 10, rows):
        per_series = total // 10_000
        with database.transaction() as cursor:
            cursor.execute("TRUNCATE bars_minute")
            cursor.execute(
                "INSERT INTO bars_minute SELECT s, %s + n * %s::bigint, 1.5, 2.5, 1, 2, 100, 1.5, 10"
                " FROM generate_series(0, %s) n, generate_series(1, 10000) s",
                (START, MINUTE, per_series - 1),
            )
        with closing(database.connect()) as connection:
            connection.autocommit = True
            connection.cursor().execute("ANALYZE bars_minute")
        end = START + per_series * MINUTE
        spent = []
        query = "SELECT * FROM bars_minute WHERE series_id = %s AND ts >= %s AND ts < %s ORDER BY ts DESC LIMIT 100"
        rng = random.Random(1)
        for _ in range(200):
            wanted = (rng.randint(1, 10_000), end - 100 * MINUTE, end)
            begun = time.perf_counter()
            with database.transaction(snapshot=True) as cursor:
                cursor.execute(query, wanted)
                assert len(cursor.fetchall()) == 100
            spent.append(time.perf_counter() - begun)
        times[total] = statistics.median(spent)
        print(f"  newest 100 of one series, {total:,} rows: {times[total] * 1e3:.2f} ms")
        with database.transaction() as cursor:
            cursor.execute("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) " + query, wanted)
            plan = [row[0] for row in cursor.fetchall()]
    print(f"  ratio large to small: {times[rows] / times[rows // 10]:.2f}")
    print("\n".join("    " + line for line in plan))


if __name__ == "__main__":
    run()
