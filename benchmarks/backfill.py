"""Backfills against the best schedule that IB's rules allow: `python -m benchmarks.backfill`.

Everything is real but the gateway, which is the simulator with the measured answer times (docs/simulator.md). Times are
market time: the simulator's clock runs slower or faster than this machine's, so that the machine keeps up.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ib_insync import IB, Contract, Stock

from dev.postgres import start_postgres
from dev.process import Group
from ib_gateway_sim.rules.bar_sizes import Duration, duration
from ib_gateway_sim.rules.latency import Latency
from nautilus.backfill.pacing import BURST_COUNT, BURST_NS, PERIOD_NS, PacingLimits, Request, next_allowed
from nautilus.clock import NS_PER_DAY, NS_PER_S, parse_rfc3339, rfc3339
from nautilus.db.migrate import upgrade
from tests.support.sim_process import Simulator, simulator
from tests.support.stack import ServiceStack, service_stack

NOW = "2026-03-04T22:30:00Z"
END = parse_rfc3339("2026-03-01T00:00:00Z")
STOCKS = ["AAPL", "MSFT", "GOOGL", "AMZN", "TSLA", "NVDA", "QQQ", "TLT", "SPY", "IWM", "GLD", "USO"]
MANY = [f"MANY{number:02d}" for number in range(1, 51)]
CAP = 6


def small_bars() -> str:
    """How many small requests of one contract leave per ten minutes, on a stepped clock."""
    limits = PacingLimits()
    book: list[Request] = []
    now = first = 10**18
    for number in range(10 * (limits.period_weight - limits.reserve)):
        requested = Request(f"r{number}", f"c{number % 3}", small=True)
        now = next_allowed(requested, book, now, limits)
        book.append(Request(requested.identity, requested.contract, small=True, at=now))
    windows = (now - first) / PERIOD_NS
    best = limits.period_weight - limits.reserve
    return (
        f"{len(book) / (windows * best + best):.3f} of the {best} per ten minutes that the rules and the reserve leave"
    )


@contextmanager
def stack_with(*options: str, **bridge: str) -> Iterator[ServiceStack]:
    folder = Path(tempfile.mkdtemp(prefix="nautilus-bench-"))
    with Group() as group:
        server = start_postgres(group, folder, durable=True)
        server.child.wait_ready()
        upgrade(server.dsn())
        with service_stack(group, folder, server.dsn(), "--start", NOW, *options) as stack:
            stack.start_bridge(**bridge)
            yield stack


def run(stack: ServiceStack, requests: list[dict[str, Any]]) -> dict[str, Any]:
    """Run the requests once contracts and sessions are known; market seconds from the first request to the last answer."""
    rate = float(stack.sim.command("clock")["rate"])
    set_rate(stack, 4)
    for job in [stack.backfill(**(body | {"timeframe": "1d"})) for body in requests]:
        stack.finished(job, 300)
    set_rate(stack, rate)
    begun = stack.market_ns()
    for job in [stack.backfill(**body) for body in requests]:
        stack.finished(job, 1_200)
    rows = stack.rows(
        "SELECT sent_at, ms, bars, outcome, contract FROM ib_requests r JOIN series s ON s.id = r.series_id"
        " WHERE kind = 'bars' AND s.timeframe <> '1d' ORDER BY sent_at"
    )
    last = stack.rows(
        "SELECT max(updated_at) AS at FROM backfill_chunks c JOIN series s ON s.id = c.series_id WHERE s.timeframe <> '1d'"
    )
    assert last
    answered = max(row.sent_at + row.ms * 1_000_000 * rate for row in rows)
    return {
        "requests": len(rows),
        "bars": sum(row.bars or 0 for row in rows),
        "wasted": sum(row.outcome != "ok" for row in rows),
        "seconds": (answered - rows[0].sent_at) / NS_PER_S,
        "waited": (rows[0].sent_at - begun) / NS_PER_S,
        "answer_s": sorted(row.ms for row in rows)[len(rows) // 2] / 1000 * rate,
        "nominal_s": nominal(stack),
        "violations": sum("pacing" in e["fields"]["text"] for e in stack.sim.command("received error")["received"]),
        "contracts": len({row.contract for row in rows}),
    }


def set_rate(stack: ServiceStack, rate: float) -> None:
    """Let market time run so fast, and wait until the bridge knows."""
    stack.sim.command(f"rate {rate}")
    stack.wait(lambda: stack.rows("SELECT 1 FROM ib_sessions WHERE clock_rate = %s", rate), "the bridge knows the rate")


def nominal(stack: ServiceStack) -> float:
    """What the simulator alone takes for all requests of minutes, one after the other, in seconds."""
    latency = Latency.parse("measured")
    total = 0.0
    for request in minutes(stack):
        length = duration(request["fields"]["duration"])
        assert isinstance(length, Duration)
        total += latency.of_history(60, length.seconds)
    return total


def minutes(stack: ServiceStack) -> list[Any]:
    """The requests for one-minute bars that the simulator received."""
    return [one for one in stack.received("reqHistoricalData") if one["fields"]["barSize"] == "1 min"]


def best_schedule(found: dict[str, Any], cap: int) -> float:
    """The burst rule per contract, or the simulator's own answer times, `cap` at a time; nobody can be quicker."""
    per_contract = found["requests"] / found["contracts"]
    burst = max(0.0, per_contract - BURST_COUNT) / BURST_COUNT * BURST_NS / NS_PER_S
    return float(max(burst, found["nominal_s"] / cap))


def years_of_one(years: int) -> None:
    body = {"symbol": "AAPL", "timeframe": "1m", "start": rfc3339(END - years * 365 * NS_PER_DAY), "end": rfc3339(END)}
    with stack_with("--latency", "measured", "--clock", "rate:2") as stack:
        before = memory_mib(stack)
        found = run(stack, [body])
        tell(f"1m of one symbol, {years} years", found, CAP)
        say(
            f"  memory of the bridge: {before:.0f} MiB before, {memory_mib(stack):.0f} MiB after {found['bars']:,} bars"
        )


def memory_mib(stack: ServiceStack) -> float:
    """Resident memory of the bridge."""
    lines = Path(f"/proc/{stack.bridges['bridge-1'].pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


def year_of_many() -> None:
    """The clock runs slowly: 50 symbols are five million bars, and this machine makes, sends, reads and stores them all.
    What it takes for that counts as market time, on two cores 0.01 s of each answer's 0.21 at a quarter of the pace."""
    start = rfc3339(END - 365 * NS_PER_DAY)
    requests = [{"symbol": name, "timeframe": "1m", "start": start, "end": rfc3339(END)} for name in MANY]
    with stack_with("--latency", "measured", "--clock", "rate:0.15") as stack:
        before = memory_mib(stack)
        found = run(stack, requests)
        tell(f"1m of {len(MANY)} symbols, a year", found, CAP)
        say(
            f"  memory of the bridge: {before:.0f} MiB before, {memory_mib(stack):.0f} MiB after {found['bars']:,} bars"
        )


def crawling(months: int, hidden: int) -> None:
    """The simulator slows down beyond a hidden number of open requests: the bridge finds it out, and does not know it.

    The best fixed number is searched for with a bare client, which sends the same requests and stores nothing.
    """
    start = rfc3339(END - months * 30 * NS_PER_DAY)
    requests = [{"symbol": name, "timeframe": "1m", "start": start, "end": rfc3339(END)} for name in STOCKS]
    with stack_with("--latency", "measured", "--clock", "rate:0.25", max_open_requests=str(2 * hidden)) as stack:
        stack.sim.command(f"crawl {hidden} 4")
        adaptive = float(run(stack, requests)["seconds"])
        requested = [request["fields"] for request in minutes(stack)]
    say(f"  slows down beyond {hidden} open requests, the bridge with at most {2 * hidden}: {adaptive:.1f} s")
    fixed = {}
    for number in (hidden - 1, hidden, hidden + 1, 2 * hidden):
        with simulator("--start", NOW, "--latency", "measured", "--clock", "rate:0.5") as sim:
            sim.command(f"crawl {hidden} 4")
            fixed[number] = asyncio.run(bare_client(sim, requested, number))
        say(f"    a bare client with {number} open requests: {fixed[number]:.1f} s")
    best = min(fixed, key=lambda number: fixed[number])
    say(f"  the bridge over the best fixed number ({best}): {adaptive / fixed[best]:.2f}")


async def bare_client(sim: Simulator, requested: list[dict[str, Any]], number: int) -> float:
    """Market seconds for these requests in their order, `number` open at once."""
    ib = IB()
    await ib.connectAsync("127.0.0.1", sim.port, clientId=99, readonly=True)
    places = asyncio.Semaphore(number)

    async def ask(one: dict[str, Any]) -> None:
        contract = Contract(conId=one["conId"], exchange=one["exchange"])
        async with places:
            await ib.reqHistoricalDataAsync(
                contract, one["endDateTime"], one["duration"], one["barSize"], one["whatToShow"], one["useRTH"], 2
            )

    begun = sim.command("clock")["now_ns"]
    await asyncio.gather(*map(ask, requested))
    ended = sim.command("clock")["now_ns"]
    ib.disconnect()
    return float(ended - begun) / NS_PER_S


def naive(requests: int) -> None:
    """The loop that people write: one request, a second of sleep, the next; and a fixed 60 per ten minutes."""

    async def loop(port: int) -> float:
        ib = IB()
        await ib.connectAsync("127.0.0.1", port, clientId=99, readonly=True)
        contract = Stock("AAPL", "SMART", "USD")
        begun = time.monotonic()
        for week in range(requests):
            end = rfc3339(END - week * 7 * NS_PER_DAY).replace("-", "").replace("T", "-").rstrip("Z")
            await ib.reqHistoricalDataAsync(contract, end, "1 W", "1 min", "TRADES", True, 2)
            await asyncio.sleep(1)
        seconds = time.monotonic() - begun
        ib.disconnect()
        return seconds

    with stack_with("--latency", "measured", "--clock", "real") as stack:
        each = asyncio.run(loop(stack.sim.port)) / requests
    weeks = 522  # of ten years
    say(f"  the usual loop, one request, a second of sleep: {each:.2f} s a request, {each * weeks:.0f} s for ten years")
    say(f"  a fixed 60 per ten minutes: 10.00 s a request, {10 * weeks} s for ten years")


def tell(name: str, found: dict[str, Any], cap: int) -> None:
    best = best_schedule(found, cap)
    say(
        f"  {name}: {found['requests']} requests, {found['bars']:,} bars in {found['seconds']:.1f} s of market time;"
        f" {found['seconds'] / best:.2f} times the best schedule at {cap} open requests ({best:.1f} s;"
        f" answers took {found['answer_s']:.2f} s, of the simulator"
        f" {found['nominal_s'] / found['requests']:.2f} s);"
        f" wasted {found['wasted']}, pacing violations {found['violations']}"
    )


def say(line: str) -> None:
    print(line, flush=True)


PARTS: dict[str, Callable[[], None]] = {
    "small": lambda: say(f"  small bars: {small_bars()}"),
    "one": lambda: years_of_one(10),
    "many": year_of_many,
    "crawl": lambda: crawling(8, hidden=4),
    "naive": lambda: naive(10),
}


def main() -> None:
    say("backfill, against the best that IB's rules allow")
    for name in sys.argv[1:] or PARTS:
        PARTS[name]()


if __name__ == "__main__":
    main()
