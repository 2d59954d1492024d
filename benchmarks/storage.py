"""Writing and keeping bars: the writer against raw binary COPY of the same chunks into the same table, in one run.

Chunks of 2,000 one-minute bars, each its own transaction, through `nautilus.db.market.series.record`: new, the same again, all
revised; before them raw COPY against itself. Contestants take turns chunk by chunk, so that whatever else the machine does
strikes both alike; processor time is that of this process and of the server's, which neighbours hardly change. Then a page
of 10,000 bars, bytes per bar, other forms of a bar, and the newest bars of one series in a small and in a large table.

NAUTILUS_BENCH_DSN names a server to use (databases `nautilus_bench_...` are made and dropped there); absent: an embedded
one, whose commits survive a power cut, unless NAUTILUS_BENCH_FSYNC is 0. Where the server has TimescaleDB all is done
three times: on plain tables, on hypertables by row, on hypertables by column.
NAUTILUS_BENCH_BARS names a CSV file of one-minute bars (ts or timestamp, open, high, low, close, perhaps volume) whose
values are stored, or `simulator`: a year and a half of its AAPL; absent: a random walk in cents.
NAUTILUS_BENCH_ROWS: rows of the large table (10 million).
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
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import urlsplit, urlunsplit

import psycopg2

from dev.postgres import start_postgres
from dev.process import Group
from ib_gateway_sim.market.contracts import ContractQuery
from ib_gateway_sim.market.generated.market import Market
from nautilus.db import retention, timescale
from nautilus.db.bars import candles
from nautilus.db.bars import write as bar_store
from nautilus.db.bars.bar_source import BarSource
from nautilus.db.connection import Database
from nautilus.db.market import series
from nautilus.db.migrate import upgrade
from nautilus.market.bar import Bar
from nautilus.market.timeframes import timeframe
from nautilus.reading.formats import Format
from nautilus.spans import Spans

MINUTE = 60_000_000_000
CHUNK = 2_000
CHUNKS = 60
START = 1_672_617_600_000_000_000  # 2023-01-02T00:00:00Z
FRAME = timeframe("1m")
_INSTRUMENT = (
    "INSERT INTO instruments (con_id, instrument_id, symbol, asset_class, exchange, primary_exchange, currency,"
    " local_symbol, trading_class, expiry, multiplier, min_tick, long_name, time_zone, calendar)"
    " SELECT n, 'A.X', 'A', 'STK', 'SMART', 'X', 'USD', 'A', 'A', '', '', 0.01, 'A', 'America/New_York', 'X'"
    " FROM generate_series(1, 10) n"
)


def run() -> None:
    bars = _bars(CHUNK * CHUNKS)
    with _server() as server:
        for storage in ("plain", "timescale"):
            with _database(server, storage) as (database, url):
                if database is None:
                    continue
                with database.transaction() as cursor:
                    print(f"{timescale.storage(cursor)}")
                    cursor.execute(_INSTRUMENT)
                _writing(database, url, bars, by_column=False)
                if storage == "timescale":
                    _writing(database, url, bars, by_column=True)
                else:
                    _forms(database)
                _keeping(database, bars)
                _latest(database)


@contextmanager
def _server() -> Iterator[str]:
    """The URL of a database on the server."""
    given = os.environ.get("NAUTILUS_BENCH_DSN")
    if given:
        yield given
        return
    folder = Path(tempfile.mkdtemp(prefix="nautilus-bench-"))
    try:
        with Group() as group:
            server = start_postgres(group, folder, durable=os.environ.get("NAUTILUS_BENCH_FSYNC", "1") != "0")
            server.child.wait_ready()
            yield server.dsn()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _database(server: str, storage: str) -> Iterator[tuple[Database | None, str]]:
    """A migrated database, with hypertables or without; None when the server cannot make hypertables."""
    name = f"nautilus_bench_{storage}"
    url = urlunsplit(urlsplit(server)._replace(path="/" + name))
    with closing(psycopg2.connect(server)) as connection:
        connection.autocommit = True
        connection.cursor().execute(f"CREATE DATABASE {name} TEMPLATE template0")
        try:
            database = Database(url, name="bench", size=2, statement_timeout_ms=3_600_000)
            without = patch.object(timescale, "adopt", timescale.storage) if storage == "plain" else nullcontext()
            with without:
                upgrade(url)
            with database.transaction() as cursor:
                found = storage == "plain" or timescale.in_use(cursor)
            yield (database if found else None), url
            database.close()
        finally:
            connection.cursor().execute(f"DROP DATABASE {name} WITH (FORCE)")


def _bars(count: int) -> list[Bar]:
    """One-minute bars without a gap, with the values of a file, of the simulator or of a random walk."""
    name = os.environ.get("NAUTILUS_BENCH_BARS")
    rows = _walk(count) if not name else _of_simulator() if name == "simulator" else _of_file(Path(name))
    return [Bar(START + n * MINUTE, *rows[n % len(rows)]) for n in range(count)]


def _of_simulator() -> list[Any]:
    market, end_s = Market(7), START // 10**9
    (contract,) = market.find(ContractQuery(symbol="AAPL", sec_type="STK", exchange="SMART", currency="USD"), end_s)
    start_s = end_s - 3 * 365 * 86_400 // 2
    found = market.bars(contract, FRAME.name, "TRADES", rth=True, start_s=start_s, end_s=end_s, now_s=end_s)
    return [(b.open, b.high, b.low, b.close, float(b.volume), b.wap, b.count) for b in found]


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


def _writing(database: Database, url: str, bars: list[Bar], *, by_column: bool) -> None:
    """First raw COPY against itself, which tells how even the field is. by_column: the chunks written to are stored by
    column before each round."""
    print("  by column:" if by_column else "  by row:")
    chunks = [bars[at : at + CHUNK] for at in range(0, len(bars), CHUNK)]
    pairs = _pairs(database, by_column=by_column)
    for what, change in (("raw", 0.0), ("new", 0.0), ("the same again", 0.0), ("revised", 1.0)):
        if by_column:
            retention.recompress(database)
        contestants = [Database(url, name=name, size=1) for name in ("bench-ours", "bench-raw")]
        begun_s = [_server_cpu_s(contestant) for contestant in contestants]
        wall: list[list[float]] = [[], []]
        cpu_s = [0.0, 0.0]
        dead = _dead(database)
        for number in range(2 * len(chunks)):
            ours, raw = pairs[number % 2]
            chunk = chunks[number // 2]
            mine = (
                [bar._replace(close=bar.close + change, high=bar.high + change) for bar in chunk] if change else chunk
            )
            for turn in (0, 1) if number // 2 % 2 else (1, 0):
                begun, begun_cpu = time.perf_counter(), time.process_time()
                if turn == 0 and what != "raw":
                    _ours(contestants[0], ours, mine, what)
                else:
                    _raw(contestants[turn], (ours, raw)[turn], mine)
                wall[turn].append(time.perf_counter() - begun)
                cpu_s[turn] += time.process_time() - begun_cpu
        server = [_server_cpu_s(c) - was for c, was in zip(contestants, begun_s, strict=True)]
        dead = _dead(database) - dead
        for ours, raw in pairs:
            _forget(database, raw)
            if what == "raw":
                _forget(database, ours)
        for contestant in contestants:
            contestant.close()
        mine_s, raw_s = (statistics.median(turns) for turns in wall)
        total = [mine_cpu + server_cpu for mine_cpu, server_cpu in zip(cpu_s, server, strict=True)]
        print(
            f"    {what:15} {CHUNK / mine_s:9,.0f} bars/s, raw COPY {CHUNK / raw_s:9,.0f}: ratio {raw_s / mine_s:.2f},"
            f" of processor time {total[1] / total[0]:.2f}; rows updated or deleted in the table: {dead}"
        )


def _pairs(database: Database, *, by_column: bool) -> list[tuple[int, int]]:
    """Two pairs of series, ours and the one that raw COPY writes to, in opposite order in the index.

    Behind all of them stands, in every chunk, a series that nobody writes to: at the right end of an index, where of all
    series only the last one writes, COPY is a tenth faster.
    """
    with database.transaction() as cursor:
        first, second, third, fourth = (
            series.find_or_make(cursor, con_id, FRAME, price="TRADES", session="rth").id
            for con_id in ((6, 7, 8, 9) if by_column else (1, 2, 3, 4))
        )
        cursor.execute(
            "INSERT INTO bars_minute SELECT 2000000, n, 1, 1, 1, 1 FROM generate_series(%s::bigint, %s, %s) n"
            " ON CONFLICT DO NOTHING",
            (START, START + CHUNK * CHUNKS * MINUTE, MINUTE),
        )
    return [(first, second), (fourth, third)]


def _server_cpu_s(database: Database) -> float:
    """Processor time that the server's process of this connection has used; 0 when it is on another machine."""
    with database.transaction() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        stat = Path(f"/proc/{cursor.fetchone()[0]}/stat")
    if not stat.exists() or "(postgres)" not in stat.read_text():
        return 0.0
    user, system = stat.read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _ours(database: Database, series_id: int, chunk: list[Bar], what: str) -> None:
    with database.transaction() as cursor:
        found = series.by_id(cursor, series_id, lock=True)
        span = Spans.of(chunk[0].ts, chunk[-1].ts + MINUTE)
        written = series.apply_changes(cursor, found, bars=chunk, settled=span, request_id=1)
    assert (written.new, written.same, written.revised)[("new", "the same again", "revised").index(what)] == len(chunk)


def _raw(database: Database, series_id: int, chunk: Sequence[Bar]) -> None:
    """The least that is mostly done: the same bytes, encoded, copied, committed, each in its round trip; nothing checked or
    counted. (COPY in autocommit, in a single round trip, takes some 6 % less.)"""
    with database.transaction() as cursor:
        cursor.copy_expert(
            f"COPY bars_minute ({bar_store._COLUMNS}) FROM STDIN (FORMAT binary)",
            io.BytesIO(bar_store._encode(series_id, chunk)),
        )


def _forget(database: Database, series_id: int) -> None:
    with database.transaction() as cursor:
        cursor.execute("DELETE FROM bars_minute WHERE series_id = %s", (series_id,))
    with closing(database.connect()) as connection:
        connection.autocommit = True
        connection.cursor().execute("VACUUM bars_minute")  # or who writes next meets the dead


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


# A bar as columns: as it is; with its two integers side by side, where no padding is needed; with prices as
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


def _forms(database: Database) -> None:
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


def _keeping(database: Database, bars: list[Bar]) -> None:
    """Bytes per bar, keys included, and a page of 10,000; where there is a columnstore, then the same from it."""
    with database.transaction() as cursor:
        cursor.execute("TRUNCATE bars_minute")
    _raw(database, 1, bars)
    by_row = _page(database)
    print(f"  by row: {_bytes(database) / len(bars):.1f} bytes per bar, 10,000 bars in {by_row * 1e3:.1f} ms")
    if retention.recompress(database)[0]:
        by_column = _page(database)
        print(
            f"  by column: {_bytes(database) / len(bars):.1f} bytes per bar, 10,000 bars in {by_column * 1e3:.1f} ms,"
            f" {by_column / by_row:.2f} of by row"
        )


def _bytes(database: Database) -> int:
    with database.transaction() as cursor:
        stored = timescale.size(cursor, "bars_minute")
        if stored is not None:
            return stored.bytes
        cursor.execute("SELECT pg_total_relation_size('bars_minute')")
        return int(cursor.fetchone()[0])


def _page(database: Database) -> float:
    """Seconds for 10,000 bars as the reader writes them, JSON; the median of 40."""
    spent = []
    rng = random.Random(1)
    rendering = candles.Rendering(Format.JSON, ("time", "open", "high", "low", "close", "volume"), FRAME)
    for _ in range(40):
        low = START + rng.randint(0, CHUNK * CHUNKS - 10_000) * MINUTE
        begun = time.perf_counter()
        with database.transaction(snapshot=True) as cursor:
            span = (low, low + 10_000 * MINUTE)
            slices = candles.time_slices(cursor, BarSource(1, FRAME), span, rendering, limit=10_000)
            candles.joined(rendering, slices)
        assert sum(each.size for each in slices) == 10_000
        spent.append(time.perf_counter() - begun)
    return statistics.median(spent)


def _latest(database: Database) -> None:
    """The newest 100 half-hour bars of one series of 10,000, bounds of ts as the reader gives them; where there is a
    columnstore, once more with all chunks but the newest in it."""
    rows = int(os.environ.get("NAUTILUS_BENCH_ROWS", "10000000"))
    times: dict[tuple[str, int], float] = {}
    for total in (1_000_000, rows):
        per_series = total // 10_000
        step, end = 30 * MINUTE, START + per_series * 30 * MINUTE
        with database.transaction() as cursor:
            cursor.execute("TRUNCATE bars_minute")
            cursor.execute(
                "INSERT INTO bars_minute SELECT s, %s + n * %s::bigint, 1.5, 2.5, 1, 2, 100, 1.5, 10"
                " FROM generate_series(0, %s) n, generate_series(1, 10000) s",
                (START, step, per_series - 1),
            )
        with closing(database.connect()) as connection:
            connection.autocommit = True
            connection.cursor().execute("ANALYZE bars_minute")
        times["by row", total] = _newest(database, end, step)
        if retention.recompress(database)[0]:
            times["by column", total] = _newest(database, end, step)
    for (how, total), spent in times.items():
        ratio = spent / times[how, 1_000_000]
        print(
            f"  newest 100 of one series of 10,000, {how}, {total:,} rows: {spent * 1e3:.2f} ms, {ratio:.2f} of a million's"
        )
    with database.transaction() as cursor:
        cursor.execute("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) " + _NEWEST, (7, end - 100 * step, end))
        print("\n".join("    " + row[0] for row in cursor.fetchall()))


_NEWEST = "SELECT * FROM bars_minute WHERE series_id = %s AND ts >= %s AND ts < %s ORDER BY ts DESC LIMIT 100"


def _newest(database: Database, end: int, step: int) -> float:
    """Seconds, the median of 200 series, each read a second time: the cost of a disk is not measured here."""
    for _ in range(2):
        spent = []
        for series_id in range(1, 10_000, 50):
            begun = time.perf_counter()
            with database.transaction(snapshot=True) as cursor:
                cursor.execute(_NEWEST, (series_id, end - 100 * step, end))
                assert len(cursor.fetchall()) == 100
            spent.append(time.perf_counter() - begun)
    return statistics.median(spent)


if __name__ == "__main__":
    run()
