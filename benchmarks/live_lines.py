"""What the bridge costs with 100 market data lines: `python -m benchmarks.live_lines`. Market time is machine time.

The simulator samples each quote four times a second, and currency pairs each 5 ms, and sends what has changed. Compare the share
of a core with that of the bridge without streams, of the same run.
"""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from dev.postgres import start_postgres
from dev.process import Group
from nautilus.db.live.wants import WantRow
from nautilus.db.migrate import upgrade
from tests.support.live_stack import LiveStack, live_stack
from tests.support.stack import service_stack

SECONDS = 30.0
NOON = "2026-03-02T17:00:00Z"
STOCKS = ("AAPL", "MSFT", "GOOGL", "AMZN", "TSLA", "NVDA", "QQQ", "TLT", "SPY", "IWM", "GLD", "USO")
PAIRS = ("EUR/USD", "GBP/USD", "AUD/USD", "USD/JPY", "USD/CHF", "USD/CAD")
MANY = tuple(f"MANY{number:02}" for number in range(1, 51))


class Figures(NamedTuple):
    """Of one run. core: share of one core that the bridge took."""

    lines: int
    core: float
    published: float


def cpu_s(pid: int) -> float:
    """Seconds of the processor that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


@contextmanager
def bridge() -> Iterator[LiveStack]:
    folder = Path(tempfile.mkdtemp(prefix="nautilus-bench-"))
    options = ("--start", NOON, "--clock", "rate:1", "--latency", "none")
    with Group() as group:
        server = start_postgres(group, folder, durable=True)
        server.child.wait_ready()
        upgrade(server.dsn())
        with service_stack(group, folder, server.dsn(), *options) as stack, live_stack(stack) as live:
            live.start_bridge(live_lines="100")
            yield live


def measured(live: LiveStack, rows: list[WantRow]) -> Figures:
    """One run with these wants."""
    live.want("user:1", rows)
    live.wait(lambda: [row.state for row in live.streams()].count("live") >= len(rows), "all are live", 120)
    pid = live.stack.bridges["bridge-1"].pid
    time.sleep(3)
    before, began, published = cpu_s(pid), time.monotonic(), len(live.all)
    time.sleep(SECONDS)
    took = time.monotonic() - began
    return Figures(len(rows), (cpu_s(pid) - before) / took, (len(live.all) - published) / took)


def main() -> None:
    with bridge() as live:
        idle_pid = live.stack.bridges["bridge-1"].pid
        before = cpu_s(idle_pid)
        time.sleep(10)
        print(f"no stream: {(cpu_s(idle_pid) - before) / 10:.1%} of a core")
        quotes = [live.quotes(symbol) for symbol in (*MANY, *STOCKS, *PAIRS)]
        bars = [live.bars(symbol, "5s") for symbol in MANY[: 100 - len(quotes)]]
        for rows in (quotes, [*quotes, *bars]):
            found = measured(live, rows)
            print(f"{found.lines} lines: {found.core:.1%} of a core, {found.published:.0f} messages published a second")


if __name__ == "__main__":
    main()
