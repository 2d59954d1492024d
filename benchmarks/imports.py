"""Importing the broker's reports at their limits, beside raw COPY of the same rows: `python -m benchmarks.imports`.

A Flex query of 20,000,000 bytes and a CSV file of 60,000 rows (or as many as the same bytes hold), of one account and two
hundred contracts. Each is uploaded in parts, read, and written in its pieces with lots and positions; then the same file again.
Beside it COPY of what was written into a table like `executions`, text and commit counted, nothing checked. The server commits
with fsync, unless NAUTILUS_BENCH_FSYNC is 0. Compare the ratios: one run has them on one machine.

    python -m benchmarks.imports --bytes 2000000
"""

import argparse
import hashlib
import io
import os
import random
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID
from zoneinfo import ZoneInfo

from dev.postgres import start_postgres
from dev.process import Group
from nautilus.auth.principal import Principal
from nautilus.clock import NS_PER_S, datetime_of
from nautilus.db.connection import Database
from nautilus.db.migrate import upgrade
from nautilus.db.orders import account_state
from nautilus.portfolio.import_items import contents
from nautilus.portfolio.import_schemas import MAX_PART_BYTES, ImportRequest
from nautilus.portfolio.importing import ImportDesk
from nautilus.portfolio.report_rows import MAX_ROWS
from tests.support import reports

MOST_BYTES = 20_000_000
CONTRACTS = 200
ACCOUNT, START = "SIM1", 1_704_726_000
PRINCIPAL = Principal("user:1", "bench", frozenset({"orders:read", "orders:write"}), accounts=frozenset({ACCOUNT}))
ZONE = "America/New_York"
WRITERS: dict[str, Callable[[Sequence[dict[str, str]]], bytes]] = {
    "flex": lambda trades: reports.flex(trades, account=ACCOUNT),
    "csv": reports.sheet,
}
_COLUMNS = (
    "account, exec_base, revision, exec_id, perm_id, client_id, broker_order_id, con_id, side, quantity, price, exchange, ts,"
    " commission, commission_currency, broker_realized, latest, seen_at, raw, fx_rate"
)


@contextmanager
def server() -> Iterator[Database]:
    """A migrated database of its own, with the account."""
    folder = Path(tempfile.mkdtemp(prefix="nautilus-bench-"))
    try:
        with Group() as group:
            postgres = start_postgres(group, folder, durable=os.environ.get("NAUTILUS_BENCH_FSYNC", "1") != "0")
            postgres.child.wait_ready()
            upgrade(postgres.dsn())
            database = Database(postgres.dsn(), name="bench", size=2, statement_timeout_ms=600_000)
            yield database
            database.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def trade(number: int, draw: random.Random) -> dict[str, str]:
    """A fill: purchases and sales of 200 contracts in turns, a second after the other."""
    at = datetime_of((START + number) * NS_PER_S).strftime("%Y%m%d;%H%M%S UTC")
    given = {
        "accountId": ACCOUNT,
        "conid": 1 + number % CONTRACTS,
        "dateTime": at,
        "tradePrice": f"{draw.randint(9_000, 11_000) / 100}",
        "ibCommission": f"-{draw.randint(35, 180) / 100}",
    }
    exec_id, size = f"{number:012x}.01", draw.randint(1, 300)
    return (
        reports.trade(exec_id, quantity=size, **given) if draw.random() < 0.5 else reports.sale(exec_id, size, **given)
    )


def report(kind: str, most_bytes: int) -> tuple[bytes, int]:
    """The largest file of a kind that may be imported, and how many fills it holds."""
    draw = random.Random(7)
    sizes = [len(WRITERS[kind]([trade(n, draw) for n in range(count)])) for count in (1_000, 2_000)]
    each = sizes[1] - sizes[0]
    count = min(MAX_ROWS, (most_bytes - 2_000) * 1_000 // each)
    draw = random.Random(7)
    raw = WRITERS[kind]([trade(n, draw) for n in range(count)])
    return raw, count


class Run:
    """An import of a file from its first part to its end: seconds of uploading, and of all that `finish` does."""

    def __init__(self, desk: ImportDesk, raw: bytes, kind: str) -> None:
        began = time.perf_counter()
        import_id = self._upload(desk, raw, kind)
        self.uploaded_s = time.perf_counter() - began
        began = time.perf_counter()
        self.finishes = 1
        done = desk.finish(import_id, PRINCIPAL)
        while done.row.state == "applying":
            self.finishes += 1
            done = desk.finish(import_id, PRINCIPAL)
        self.finished_s = time.perf_counter() - began
        assert done.row.state == "done", done.row.problems
        self.counts = {name: number for name, number in done.row.counts.items() if number}

    @staticmethod
    def _upload(desk: ImportDesk, raw: bytes, kind: str) -> UUID:
        sum_ = hashlib.sha256(raw).hexdigest()
        body = ImportRequest(
            account=ACCOUNT, kind=kind, name=f"report.{kind}", size=len(raw), sha256=sum_, time_zone=ZONE
        )
        import_id = desk.begin(body, PRINCIPAL).row.id
        for n, at in enumerate(range(0, len(raw), MAX_PART_BYTES), start=1):
            desk.add_part(import_id, n, raw[at : at + MAX_PART_BYTES], PRINCIPAL)
        return import_id


def copied_s(database: Database) -> float:
    """The executions that are there, once more by COPY into an empty table with the same columns and indexes."""
    with database.transaction() as cursor:
        text = io.BytesIO()
        cursor.copy_expert(f"COPY (SELECT {_COLUMNS} FROM executions) TO STDOUT", text)
        cursor.execute("CREATE TABLE bench_executions (LIKE executions INCLUDING ALL)")
    text.seek(0)
    began = time.perf_counter()
    with database.transaction() as cursor:
        cursor.copy_expert(f"COPY bench_executions ({_COLUMNS}) FROM STDIN", text)
    took_s = time.perf_counter() - began
    with database.transaction() as cursor:
        cursor.execute("DROP TABLE bench_executions")
    return took_s


def measure(kind: str, most_bytes: int) -> None:
    raw, count = report(kind, most_bytes)
    began = time.perf_counter()
    contents(raw, kind, ACCOUNT, ZoneInfo(ZONE))
    read_s = time.perf_counter() - began
    with server() as database:
        with database.transaction() as cursor:
            account_state.seen(cursor, [ACCOUNT], "simulator")
        desk = ImportDesk(database)
        new, again = Run(desk, raw, kind), Run(desk, raw, kind)
        assert (new.counts, again.counts) == ({"new": count}, {"known": count}), (new.counts, again.counts)
        raw_s = copied_s(database)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_000
    print(f"{kind}: {len(raw):,} bytes, {count:,} fills of {CONTRACTS} contracts (load {os.getloadavg()[0]:.1f})")
    print(f"  uploaded in parts {new.uploaded_s:6.2f} s; read and checked alone {read_s:6.2f} s")
    for what, run in (("new", new), ("the same again", again)):
        whole_s = run.uploaded_s + run.finished_s
        print(
            f"  {what:15} {count / whole_s:9,.0f} fills/s in {run.finishes} requests to finish;"
            f" raw COPY {count / raw_s:9,.0f}: ratio {raw_s / whole_s:.3f}",
            flush=True,
        )
    print(f"  memory of this process at its peak, the file and its making counted: {peak_mb:.0f} MB")


def main() -> None:
    options = argparse.ArgumentParser("python -m benchmarks.imports", description=__doc__)
    options.add_argument("--bytes", type=int, default=MOST_BYTES, help="size of the files (default: the limit)")
    most_bytes: int = options.parse_args().bytes
    for kind in WRITERS:
        measure(kind, most_bytes)


if __name__ == "__main__":
    main()
