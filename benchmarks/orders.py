"""What an order's way costs, from a caller's POST to the gateway: `python -m benchmarks.orders`. Compare figures of one run.

Everything that `make up` starts runs, PostgreSQL with fsync; the simulated gateway answers at once and hangs up on who sends too
fast. Orders rest far below the market, but in the last part, in which each is filled.

1. one order after another: until its bytes reach the gateway, and until IB's first message about it is committed. Beside it one
   commit of the same server, and a bare placeOrder to the same gateway. What it costs of PostgreSQL, by the server's log
2. the same while answers of 14,000 bars arrive on a data session, and while the bridge fills a year of bars
3. forty at once with room for ten
4. fifty at once: IB gets at most forty of them in a second
5. ten a second for a minute over ten instruments
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from decimal import Decimal
from pathlib import Path

import psycopg2

from benchmarks._order_path import STOCKS, OrderPath, Times, cpu_ms, most_in_a_second, share_of
from benchmarks._order_statements import costs, logging, per_order
from dev.environment import REPOSITORY, environment
from dev.order_desk import ORDERS, OrderDesk
from dev.sources import Generated
from dev.stack import stack_of
from nautilus.clock import NS_PER_MS

ORDERS_QUIET, ORDERS_BESIDE, COMMITS = 300, 100, 300
ORDERS_LOGGED, IDLE_S = 100, 10.0
ROOM, CALLERS = 10, 40
BURST = 50
PER_S, SECONDS = 10, 60


def line(what: str, values: Sequence[float], more: str = "") -> None:
    print(f"  {what:<58} p50 {share_of(values, 0.5):6.1f} ms, p99 {share_of(values, 0.99):6.1f} ms{more}", flush=True)


def heading(text: str) -> None:
    print(f"{text} (load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores)", flush=True)


# ---- 1 ---------------------------------------------------------------------------------------------------------------


def commits_ms(dsn: str) -> list[float]:
    """One row and its commit, with fsync, on a connection that does nothing else."""
    found = []
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE bench_commits (n int)")
        connection.commit()
        for number in range(COMMITS):
            began = time.monotonic_ns()
            cursor.execute("INSERT INTO bench_commits VALUES (%s)", (number,))
            connection.commit()
            found.append((time.monotonic_ns() - began) / NS_PER_MS)
        cursor.execute("DROP TABLE bench_commits")
        connection.commit()
    return found


def bare_ms(path: OrderPath) -> list[float]:
    """From placeOrder of a library to the gateway's receipt, without anything of ours between."""
    words = [
        sys.executable,
        "-m",
        "benchmarks._bare_orders",
        str(path.desk.stack.gateway.port),
        "70",
        str(COMMITS // 3),
    ]
    done = subprocess.run(words, cwd=REPOSITORY, env=dict(environment({})), capture_output=True, text=True, check=True)
    received = path.received(0)
    return [(received[ref][0] - called) / NS_PER_MS for ref, called in json.loads(done.stdout).items()]


def alone(path: OrderPath) -> None:
    heading("one order after another")
    stack = path.desk.stack
    parts = {name: stack.running(process).pid for name, process in {"API": "api", "order process": "orders"}.items()}
    parts["PostgreSQL"] = stack.postgres.child.pid
    before = {name: cpu_ms(pid) for name, pid in parts.items()}
    found = path.one_by_one(ORDERS_QUIET)
    spent = {name: (cpu_ms(pid) - before[name]) / ORDERS_QUIET for name, pid in parts.items()}
    line("POST to the wire", [one.wire for one in found], "   (aim 25 and 100)")
    line("POST to its answer", [one.answered for one in found])
    line("POST to IB's first message, committed", [one.acknowledged for one in found])
    line("one commit of the same server (the way has three)", commits_ms(path.desk.stack.postgres.dsn()))
    line("a bare placeOrder of ib_insync to the same gateway", bare_ms(path))
    print(
        f"  processor time of an order, its cancel and a look at it: {', '.join(f'{n} {ms:.0f} ms' for n, ms in spent.items())}"
    )


def statements(path: OrderPath) -> None:
    heading("what an order costs of PostgreSQL, without its cancel")
    stack = path.desk.stack
    parts = {"API": stack.running("api").pid, "order process": stack.running("orders").pid}
    with logging(stack.postgres):
        idle = costs(stack.postgres, lambda: time.sleep(IDLE_S))
        before = {name: cpu_ms(pid) for name, pid in parts.items()}
        busy = costs(stack.postgres, lambda: path.until_received(ORDERS_LOGGED))
        spent = {name: (cpu_ms(pid) - before[name]) / ORDERS_LOGGED for name, pid in parts.items()}
    for who, cost in sorted(per_order(busy, idle, ORDERS_LOGGED).items()):
        print(f"  {who:<30} {cost.trips:6.1f} round trips, {cost.commits:4.1f} of them commits; {cost.ms:5.1f} ms")
    print(f"  processor time of it: {', '.join(f'{name} {ms:.0f} ms' for name, ms in spent.items())}")
    path.cancel_all()


# ---- 2 ---------------------------------------------------------------------------------------------------------------


@contextmanager
def data_session(port: int) -> Iterator[int]:
    """A client that asks for as many bars as IB gives at once, again and again; yields how many one answer has."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks._data_session", str(port), "71"],
        cwd=REPOSITORY,
        env=dict(environment({})),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    yield int(process.stdout.readline())
    process.stdin.close()
    print(f"  {'':<58} {process.stdout.readline().strip()} such answers came meanwhile")
    process.wait()


def beside(path: OrderPath, what: str, quiet: Sequence[Times]) -> None:
    found = path.one_by_one(ORDERS_BESIDE)
    ratio = share_of([one.acknowledged for one in found], 0.5) / share_of([one.acknowledged for one in quiet], 0.5)
    line(f"acknowledged, {what}", [one.acknowledged for one in found], f"   {ratio:.1f} times quiet")
    line("  POST to the wire meanwhile", [one.wire for one in found])


def acknowledged(path: OrderPath) -> None:
    heading("acknowledgements beside bars")
    quiet = path.one_by_one(ORDERS_BESIDE)
    line("acknowledged, quiet", [one.acknowledged for one in quiet])
    with data_session(path.desk.stack.gateway.port) as bars:
        beside(path, f"beside answers of {bars:,} bars", quiet)
    body = {"symbol": "EUR/USD", "asset_class": "CASH", "timeframe": "1m", "days_back": 365}
    job = path.desk.trader.post("/api/v1/ib/backfill", body)["job_id"]
    beside(path, "while the bridge fills a year of minutes", quiet)
    path.desk.trader.post("/api/v1/historical/backfill/stop", {"job_id": job})


# ---- 3 and 4 ---------------------------------------------------------------------------------------------------------


def room_for_ten(path: OrderPath) -> None:
    heading(f"{CALLERS} POSTs at once with room for {ROOM}")
    body = path.body("AAPL", quantity=10)
    used = Decimal(path.desk.trader.get(f"{ORDERS}/risk")["accounts"][0]["used"]["gross_exposure"] or 0)
    room = int(used + Decimal(body["limit_price"]) * 10 * (ROOM + Decimal("0.5")))
    path.limits(gross_exposure=room)
    found = list(path.at_once([body] * CALLERS, CALLERS))
    codes = Counter(code or "accepted" for _, _, code in found)
    longest = max(seconds for _, seconds, _ in found)
    print(
        f"  {', '.join(f'{count} {code}' for code, count in codes.most_common())}; longest answer {longest:.2f} s (aim 2)"
    )
    path.limits(gross_exposure=None)
    path.cancel_all()


def burst(path: OrderPath) -> None:
    heading(f"{BURST} orders at once")
    since = int(path.desk.simulator("clock")["now_ns"])
    bodies = [path.body(STOCKS[number % len(STOCKS)]) for number in range(BURST)]
    found = list(path.at_once(bodies, 10))
    ids = [placed.id for placed, _, _ in found if placed]
    offered_s = (max(p.answered for p, _, _ in found if p) - min(p.began for p, _, _ in found if p)) / 1e9
    path.desk.wait(lambda: set(ids) <= set(path.received(since)), "IB has received all")
    received = path.received(since)
    times = [at for number in ids for at in received[number]]
    print(
        f"  {len(ids)} accepted in {offered_s:.2f} s; IB received {len(times)}, {most_in_a_second(times)} in one second"
    )
    print(
        f"  the last one {(max(times) - min(times)) / 1e9:.2f} s after the first; {path.rate_errors(since)} errors 100"
    )
    path.cancel_all()


# ---- 5 ---------------------------------------------------------------------------------------------------------------


def a_minute(path: OrderPath) -> None:
    heading(f"{PER_S} orders a second for {SECONDS} s over {len(STOCKS)} instruments, each of them filled")
    since = int(path.desk.simulator("clock")["now_ns"])
    prices = {name: path.desk.price(name, "1.03") for name in STOCKS}
    local = threading.local()

    def place(number: int) -> str:
        if not hasattr(local, "api"):
            local.api = path.desk.trader.another()
        name = STOCKS[number % len(STOCKS)]
        placed, _, code = path.tried(local.api, path.body(name, limit_price=prices[name]))
        return placed.id if placed else code

    began = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        given = []
        for number in range(PER_S * SECONDS):
            time.sleep(max(0.0, began + number / PER_S - time.monotonic()))
            given.append(pool.submit(place, number))
        answers = [one.result() for one in given]
    took_s = time.monotonic() - began
    path.desk.wait(lambda: not path.desk.trader.get(ORDERS, open="true")["orders"], "every order is over")
    ends = Counter(path.desk.order(one)["state"] if len(one) == 36 else one for one in answers)
    received = path.received(since)
    times = [at for one in answers if one in received for at in received[one]]
    print(f"  offered in {took_s:.1f} s: {', '.join(f'{count} {end}' for end, count in ends.most_common())}")
    print(
        f"  IB received {len(times)}, at most {most_in_a_second(times)} in one second; {path.rate_errors(since)} errors 100"
    )


PARTS = {
    "alone": alone,
    "statements": statements,
    "beside": acknowledged,
    "room": room_for_ten,
    "burst": burst,
    "minute": a_minute,
}


def main() -> None:
    """All parts, or those that are named."""
    named = sys.argv[1:] or list(PARTS)
    options = ("--latency", "none", "--reject-rate")
    with tempfile.TemporaryDirectory() as folder, stack_of(Path(folder), Generated(), simulator=options) as stack:
        stack.start()
        with closing(OrderDesk(stack)) as desk:
            desk.open_market()
            desk.until_ready()
            path = OrderPath(desk)
            for name in named:
                PARTS[name](path)


if __name__ == "__main__":
    main()
