"""Back-tests: a whole run in a process of its own, the engine with a strategy straight on its own class and with ours, and a
month over HTTP: `python -m benchmarks.strategies`, or with the names of parts (whole, engines, http).

The engines are compared by processor time, which a busy machine changes least; the contestants take turns in one process, on the
same bars, openings and commissions. BENCHMARK_DAYS (252: a year) and BENCHMARK_ROUNDS (3).
"""

import datetime as dt
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from statistics import median

from dev.market_desk import MarketDesk
from dev.sources import Generated
from dev.stack import stack_of
from nautilus.strategies.pipe import FROM_RUNNER, TO_RUNNER, Lines, line
from nautilus.strategies.runner_command import runner_argv
from tests.support.strategy_runner import INTERPRETER, ROOT, START, chunk, market

DAYS, ROUNDS = int(os.environ.get("BENCHMARK_DAYS", "252")), int(os.environ.get("BENCHMARK_ROUNDS", "3"))
LEAST_RATIO, MOST_MIB, MOST_S = 0.8, 350, 3
_BACKTESTS = "/api/v1/backtests"


def engines() -> None:
    """Ours beside the bare engine."""
    folders = [str(ROOT), str(ROOT / "layers" / "shared")]
    command = [
        str(INTERPRETER),
        "-I",
        str(ROOT / "benchmarks" / "in_engine" / "run_times.py"),
        *folders,
        str(DAYS),
        str(ROUNDS),
    ]
    start = json.dumps(START | {"bars_total": DAYS * 390})
    done = subprocess.run(command, input=start, capture_output=True, text=True, check=True, env={})
    found = json.loads(done.stdout)
    bare, ours = (median(found["seconds"][name]) for name in ("bare", "ours"))
    print(f"run() of {found['bars']:,} minutes, processor seconds (median of {ROUNDS}):")
    print(f"  bare engine  {bare:6.2f}   {found['orders']['bare']:,} orders")
    print(f"  ours         {ours:6.2f}   {found['orders']['ours']:,} orders")
    print(f"  speed of ours to the bare engine's: {bare / ours:.2f} (to hold: {LEAST_RATIO})")


def whole() -> None:
    """A run as the host has it: from its start to its result, with its pipes."""
    chunks = [chunk(bars, trade_date=str(day)) for day, bars in enumerate(market(DAYS))]
    begun = time.monotonic()
    command = runner_argv(str(INTERPRETER), [ROOT, ROOT / "layers" / "shared"], "run")
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={}, cwd="/")
    start = line(TO_RUNNER, "start", **START | {"bars_total": DAYS * 390})
    assert process.stdin is not None
    assert process.stdout is not None
    with ThreadPoolExecutor(1) as reader:
        reading = reader.submit(process.stdout.read)
        process.stdin.write(start + b"".join(chunks) + line(TO_RUNNER, "end"))
        process.stdin.close()
        out = reading.result()
    _, _, used = os.wait4(process.pid, 0)  # of this child alone
    taken = time.monotonic() - begun
    result = list(Lines(FROM_RUNNER).feed(out))[-1]
    print(f"a whole run in its process: {result['bars']:,} bars, {result['fills']:,} fills, {taken:.1f} s,")
    print(
        f"  {used.ru_utime + used.ru_stime:.1f} processor seconds, memory at most {used.ru_maxrss / 1024:.0f} MiB",
        end="",
    )
    print(f" (to hold: {MOST_MIB})")


def over_http() -> None:
    """From the POST to the answer that says it is over, with everything that `make up` starts."""
    with tempfile.TemporaryDirectory() as folder, stack_of(Path(folder), Generated()) as stack:
        stack.start()
        with closing(MarketDesk(stack)) as desk:
            month = {"symbol": "AAPL", "timeframe": "1m", "days_back": 31}
            job = f"/api/v1/historical/backfill/{desk.trader.post('/api/v1/ib/backfill', month)['job_id']}"
            desk.wait(lambda: desk.trader.get(job)["status"] == "succeeded", "the month is stored")
            end = desk.now() - dt.timedelta(days=1)
            body = {
                "template": "ema_cross",
                "instruments": [{"symbol": "AAPL"}],
                "start": f"{end - dt.timedelta(days=29):%Y-%m-%dT00:00:00Z}",
                "end": f"{end:%Y-%m-%dT00:00:00Z}",
            }
            desk.wait(
                lambda: desk.trader.get("/api/v1/strategy-templates")["templates"], "the host knows its templates"
            )
            taken = []
            for _ in range(ROUNDS):
                begun = time.monotonic()
                address = f"{_BACKTESTS}/{desk.trader.post(_BACKTESTS, body)['id']}"
                desk.wait(lambda: desk.trader.get(address)["over"], "the back-test is over")  # noqa: B023
                taken.append(time.monotonic() - begun)
            done = desk.trader.get(address)
    print(
        f"a month over HTTP: {done['bars_done']:,} bars, {done['counts']['fills']} fills, {done['state']}, from the POST to"
    )
    print(f"  its end {median(taken):.2f} s (median of {ROUNDS}, longest {max(taken):.2f}; to hold: {MOST_S})")


PARTS = {"whole": whole, "engines": engines, "http": over_http}


def main() -> None:
    if not INTERPRETER.exists():
        sys.exit("no environment of strategies: make strategies")
    for name in sys.argv[1:] or PARTS:
        PARTS[name]()


if __name__ == "__main__":
    main()
