"""An export of many bars against raw COPY of the same rows, in one run: processor time, memory of the task, bytes a bar.

EXPORT_BARS=10000000 measures as many (1,000,000 by default: a minute on a quiet machine).
"""

import os
import resource
import shutil
import subprocess
import tempfile
import time
from datetime import date
from pathlib import Path
from statistics import median
from uuid import uuid4

import psycopg2

from dev.environment import environment
from dev.postgres import start_postgres
from dev.process import Group
from nautilus.db.connection import Database
from nautilus.db.exports import exports, files
from nautilus.db.market import series
from nautilus.db.migrate import upgrade
from nautilus.exports.layouts import parts
from nautilus.exports.schemas import ExportRequest
from nautilus.market.timeframes import timeframe
from nautilus.spans import Spans
from tests.support.export_world import PYTHON, ROOT
from tests.support.markets import market, ns
from tests.support.stored_bars import StoredBars, stock

_BARS = int(os.environ.get("EXPORT_BARS", "1000000"))
FIRST = ns("2004-01-01 00:00")
MINUTE = 60_000_000_000


def run() -> None:
    folder = Path(tempfile.mkdtemp(prefix="nautilus-bench-"))
    try:
        with Group() as group:
            postgres = start_postgres(group, folder, durable=False)
            group.wait_ready()
            upgrade(postgres.dsn())
            _measure(postgres.dsn(), folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def filled(dsn: str, count: int) -> None:
    """Minutes of one series without a pause; PostgreSQL makes them, prices of two digits, without NULL."""
    end = FIRST + count * MINUTE
    stored_bars = StoredBars(dsn, end + MINUTE)
    one = stock(1, "AAPL", "TEST:AAPL")
    stored_bars.instrument(one, market("UTC", date(2003, 12, 20), count // 1_440 + 40, [(0, 1_440)], weekdays=range(7)))
    with stored_bars.db.transaction() as cursor:
        row = series.find_or_make(cursor, 1, timeframe("1m"), price="TRADES", session="rth")
        series.apply_changes(
            cursor, series.by_id(cursor, row.id, lock=True), bars=[], settled=Spans.of(FIRST, end), noted=[]
        )
    connection = psycopg2.connect(dsn)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO bars_minute SELECT %s, %s + n * %s, p, p + 0.07, p - 0.03, p + 0.01, abs(hashint8(n + 1)) %% 10000,"
            " p + abs(hashint8(n + 2)) %% 100 / 10000.0, abs(hashint8(n + 3)) %% 500"
            " FROM (SELECT n, round((180 + abs(hashint8(n)) %% 1000 / 100.0)::numeric, 2)::float8 AS p"
            " FROM generate_series(0::bigint, %s) AS n) AS g",
            (row.id, FIRST, MINUTE, count - 1),
        )
        cursor.execute("VACUUM ANALYZE")
    connection.close()
    stored_bars.close()


def _measure(dsn: str, folder: Path) -> None:
    filled(dsn, _BARS)
    copy(dsn)  # nobody's: its pages are read for the first time
    copies = [copy(dsn)]
    database = Database(dsn, name="bench", size=1)
    request = ExportRequest(all=True)
    target = {"kind": "folder", "root": str(folder / "kept"), "path": "one", "kept": True}
    end = FIRST + _BARS * MINUTE
    export_id = uuid4()
    with database.transaction() as cursor:
        body = request.model_dump(mode="json", exclude_none=True)
        exports.create(cursor, export_id, owner="bench", key=None, request=body, target=target)
        cut = [files.NewFile(1, None, label, span) for label, span in parts((FIRST, end), request.cut)]
        files.add(cursor, export_id, cut)
    spent_s, peak_mb = _exported(dsn, folder, database, str(export_id))
    copies += [copy(dsn), copy(dsn)]
    with database.transaction() as cursor:
        rows = files.listed(cursor, export_id)
    database.close()
    written, size = sum(row.row_count or 0 for row in rows), sum(row.bytes or 0 for row in rows)
    assert written == _BARS
    print(f"== exports: {_BARS:,} bars of one series into {len(rows)} files of Parquet")
    times = [spent for spent, _ in copies]
    print(
        f"   raw binary COPY, thrown away, before and after: {median(times):.2f} s of CPU ({min(times):.2f} to"
        f" {max(times):.2f}), {copies[0][1] / _BARS:.1f} bytes a bar"
    )
    print(f"   export: {spent_s:.2f} s of CPU, ratio {spent_s / median(times):.2f} (at most 2)")
    print(f"   peak memory of the task {peak_mb:.0f} MB (at most 300), {size / _BARS:.1f} bytes a bar (at most 18)")


def _cpu_of(pid: int) -> float:
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


class Counter:
    """Takes what COPY sends, and keeps its size alone."""

    def __init__(self) -> None:
        self.size = 0

    def write(self, data: bytes) -> int:
        self.size += len(data)
        return len(data)


def copy(dsn: str) -> tuple[float, int]:
    """Raw binary COPY of all bars, thrown away. Seconds of CPU of both sides, and bytes."""
    counter, connection = Counter(), psycopg2.connect(dsn)
    with connection.cursor() as cursor:
        pid = connection.info.backend_pid
        before = time.process_time() + _cpu_of(pid)
        cursor.copy_expert(
            "COPY (SELECT * FROM bars_minute WHERE series_id = 1 ORDER BY ts) TO STDOUT (FORMAT binary)", counter
        )
        spent = time.process_time() + _cpu_of(pid) - before
    connection.close()
    return spent, counter.size


def _exported(dsn: str, folder: Path, database: Database, export_id: str) -> tuple[float, float]:
    """Seconds of CPU of the task and of its connections, and the most memory that the task had."""
    settings = {
        "NAUTILUS_DATABASE_URL": dsn,
        "NAUTILUS_EXPORT_DIR": str(folder / "kept"),
        "NAUTILUS_EXPORT_POLL_S": "0.1",
        "PYTHONPATH": f"{ROOT}:{ROOT / 'layers' / 'shared'}",
    }
    task = subprocess.Popen([str(PYTHON), "-m", "export_task"], env=environment(settings), stderr=subprocess.DEVNULL)
    backends: dict[int, float] = {}
    while True:
        with database.transaction() as cursor:
            cursor.execute("SELECT pid FROM pg_stat_activity WHERE application_name = 'nautilus-exports'")
            for (pid,) in cursor.fetchall():
                backends[pid] = _cpu_of(pid)
            cursor.execute("SELECT state FROM exports WHERE id = %s", (export_id,))
            state = cursor.fetchone()[0]
        if state not in ("queued", "running"):
            break
        time.sleep(0.2)
    assert state == "done", state
    spent = sum(backends.values())
    peak = next(line for line in Path(f"/proc/{task.pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    task.terminate()
    task.wait(20)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent += after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return spent, int(peak.split()[1]) / 1024


if __name__ == "__main__":
    run()
