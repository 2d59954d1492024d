"""Back-tests: the engine with a strategy straight on its own class, and with ours; and a whole run in a process of its own.

Processor time, which a busy machine changes least; the contestants take turns in one process, on the same bars, openings
and commissions. BENCHMARK_DAYS (252) and BENCHMARK_ROUNDS (3).
"""

import json
import os
import resource
import subprocess
import sys
import time
from statistics import median

from nautilus.strategies.pipe import FROM_RUNNER, TO_RUNNER, Lines, line
from nautilus.strategies.runner_command import runner_argv
from tests.support.strategy_runner import INTERPRETER, ROOT, START, chunk, market

DAYS, ROUNDS = int(os.environ.get("BENCHMARK_DAYS", "252")), int(os.environ.get("BENCHMARK_ROUNDS", "3"))
LEAST_RATIO, MOST_MIB = 0.8, 350


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
    out, _ = process.communicate(start + b"".join(chunks) + line(TO_RUNNER, "end"))
    taken, used = time.monotonic() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    result = list(Lines(FROM_RUNNER).feed(out))[-1]
    print(f"a whole run in its process: {result['bars']:,} bars, {result['fills']:,} fills, {taken:.1f} s,")
    print(f"  {used.ru_utime + used.ru_stime:.1f} processor seconds of all children of this benchmark")
    print(f"  memory at most {used.ru_maxrss / 1024:.0f} MiB (to hold: {MOST_MIB})")


def main() -> None:
    if not INTERPRETER.exists():
        sys.exit("no environment of strategies: make strategies")
    engines()
    whole()


if __name__ == "__main__":
    main()
