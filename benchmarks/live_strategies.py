"""Live strategies side by side, from a closed bar to the order that follows from it: `python -m benchmarks.live_strategies`.

Everything that `make up` starts runs, PostgreSQL with fsync; the simulated gateway answers at once, and market time passes as the
machine's does. BENCHMARK_RUNS (8) strategies, one to a stock, follow bars of five seconds and want the other position after each:
an order a bar, a fill before the next one. All bars close at once, so that all orders come at once.

Printed: how long it takes from the time at which the bridge had what closed a bar to the order's row, in its steps; whether a bar
was missed, given late or not confirmed; what the processes took of the processors. BENCHMARK_SECONDS (120) of market time.
"""

import os
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from benchmarks._order_path import STOCKS, OrderPath, cpu_ms, share_of
from dev.order_desk import OrderDesk
from dev.sources import Generated
from dev.stack import stack_of
from nautilus.clock import NS_PER_MS, NS_PER_S, MarketTime, ns_of
from nautilus.db.bridge import status
from nautilus.db.connection import Database
from nautilus.db.strategies import results, runs
from nautilus.db.strategies.runs import RunRow

RUNS = int(os.environ.get("BENCHMARK_RUNS", "8"))
SECONDS = float(os.environ.get("BENCHMARK_SECONDS", "120"))
STEP_NS = 5 * NS_PER_S
AIMS = "aim: p50 15 ms, p99 60 ms"
EACH_BAR = '''
from strategy_runner.strategy import Strategy


class OtherSide(Strategy):
    """Wants its size after one bar and nothing after the next."""

    def prepare(self):
        self.seen = 0

    def decide(self, bar):
        self.seen += 1
        return self.trade_size if self.seen % 2 else 0
'''


class Way(NamedTuple):
    """Of one order, in ms from the time at which the bridge had what closed its bar: its bar was written for the run, and its own
    row was written."""

    given: float
    ordered: float


class Bars:
    """When the bridge had what closed each bar, as rows say it: (con_id, close) -> market time, ns."""

    def __init__(self, database: Database, con_ids: Sequence[int]) -> None:
        self._database, self._con_ids = database, list(con_ids)
        self.seen: dict[tuple[int, int], int] = {}

    def remember(self) -> None:
        """Keep them before history takes their rows over."""
        with self._database.transaction() as cursor:
            cursor.execute(
                "SELECT s.con_id, l.ts, l.seen_at FROM live_bars l JOIN series s ON s.id = l.series_id"
                " WHERE s.con_id = ANY(%s) AND s.timeframe = '5s' AND l.state = 'closed'",
                (self._con_ids,),
            )
            for con_id, opened, seen_at in cursor.fetchall():
                self.seen.setdefault((con_id, opened + STEP_NS), seen_at)


def begin(path: OrderPath, symbols: Sequence[str]) -> list[str]:
    """A live run for each stock."""
    found = []
    for symbol in symbols:
        body = {
            "mode": "live",
            "template": "other_side",
            "parameters": {"trade_size": "1"},
            "instruments": [{"symbol": symbol}],
            "timeframe": "5s",
            "warm_up_bars": 0,
            "account": path.account,
            "confirm": path.account,
        }
        run = path.desk.trader.post("/api/v1/strategy-runs", body, headers={"Idempotency-Key": str(uuid4())})
        found.append(str(run["id"]))
    for run_id in found:
        path.desk.wait(lambda: state(path, run_id) == "running", f"the run {run_id} follows its bars")  # noqa: B023
    return found


def state(path: OrderPath, run_id: str) -> str:
    found = path.desk.trader.get(f"/api/v1/strategy-runs/{run_id}")
    assert found["state"] not in ("error", "failed"), found["reason"]
    return str(found["state"])


def ways(database: Database, rows: Sequence[RunRow], bars: Bars) -> list[Way]:
    """Of all orders whose bar's end is known."""
    found = []
    with database.transaction() as cursor:
        latest = status.latest(cursor)
        assert latest is not None
        clock: MarketTime = latest.clock
        for run in rows:
            given = {row.closed_ns: clock.at(ns_of(row.given_at)) for row in results.bars(cursor, run.id)}
            cursor.execute("SELECT id, accepted_at FROM orders WHERE principal = %s", (run.principal,))
            placed = {order_id: clock.at(ns_of(at)) for order_id, at in cursor.fetchall()}
            for order in results.orders(cursor, run.id):
                seen = bars.seen.get((order.con_id, order.decided_ns))
                if seen is not None and order.order_id in placed:
                    ends = (given[order.decided_ns], placed[order.order_id])
                    found.append(Way(*((end - seen) / NS_PER_MS for end in ends)))
    return found


def holes(database: Database, rows: Sequence[RunRow]) -> dict[str, int]:
    """Bars that were missed between the first and the last of each run, given when the next one was over, or not confirmed."""
    counted = {"given": 0, "missed": 0, "unconfirmed": 0, "orders": 0, "denied": 0}
    with database.transaction() as cursor:
        for run in rows:
            given = [row for row in results.bars(cursor, run.id) if row.state != "warm_up"]
            counted["given"] += len(given)
            counted["missed"] += (given[-1].opened_ns - given[0].opened_ns) // STEP_NS + 1 - len(given)
            counted["unconfirmed"] += sum(row.state == "unconfirmed" for row in given)
            orders = results.orders(cursor, run.id)
            counted["orders"] += len(orders)
            counted["denied"] += sum(row.state in ("denied", "rejected") for row in orders)
    return counted


def line(what: str, values: Sequence[float], more: str = "") -> None:
    print(f"  {what:<58} p50 {share_of(values, 0.5):6.1f} ms, p99 {share_of(values, 0.99):6.1f} ms{more}", flush=True)


def measure(path: OrderPath) -> None:
    stack = path.desk.stack
    names = {"strategy host and strategies": "strategies", "order process": "orders", "bridge": "bridge", "API": "api"}
    pids = {what: stack.running(process).pid for what, process in names.items()}
    pids["PostgreSQL"] = stack.postgres.child.pid
    with closing(Database(stack.postgres.dsn(), name="benchmark", size=1)) as database:
        ids = begin(path, STOCKS[:RUNS])
        with database.transaction() as cursor:
            rows: list[RunRow] = [row for row in (runs.read(cursor, UUID(one)) for one in ids) if row is not None]
        bars = Bars(database, [con_id for row in rows for con_id in row.con_ids])
        before, end = {what: cpu_ms(pid) for what, pid in pids.items()}, time.monotonic() + SECONDS
        while time.monotonic() < end:
            bars.remember()
            time.sleep(1.0)
        spent = {what: (cpu_ms(pid) - before[what]) / SECONDS / 10 for what, pid in pids.items()}
        load = os.getloadavg()[0]
        for one in ids:
            path.desk.trader.post(f"/api/v1/strategy-runs/{one}/stop", {})
        report(database, rows, bars, load)
        print(f"  of one processor: {', '.join(f'{what} {percent:.0f} %' for what, percent in spent.items())}")


def report(database: Database, rows: Sequence[RunRow], bars: Bars, load: float) -> None:
    counted, found = holes(database, rows), ways(database, rows, bars)
    print(f"{len(rows)} live strategies on bars of 5 s for {SECONDS:.0f} s (load {load:.1f} on {os.cpu_count()} cores)")
    print("  " + ", ".join(f"{count} {what}" for what, count in counted.items()))
    line("the bridge had what closed a bar, until the bar was given", [one.given for one in found])
    line("the bar was given, until the order's row", [one.ordered - one.given for one in found])
    line("closed bar to order row", [one.ordered for one in found], f"   ({AIMS})")


def main() -> None:
    options: Any = ("--latency", "none", "--reject-rate")
    with tempfile.TemporaryDirectory() as folder:
        strategies = Path(folder) / "strategies"
        strategies.mkdir()
        (strategies / "other_side.py").write_text(EACH_BAR)
        os.environ["NAUTILUS_STRATEGY_FOLDER"] = str(strategies)
        with stack_of(Path(folder) / "data", Generated(), simulator=options) as stack:
            stack.start()
            with closing(OrderDesk(stack)) as desk:
                desk.open_market()
                desk.until_ready()
                measure(OrderPath(desk))


if __name__ == "__main__":
    main()
