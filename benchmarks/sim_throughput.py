"""How much the simulator serves: `python benchmarks/sim_throughput.py`. Prints numbers; gates nothing.

1. One client asks for 100,000 bars while another asks for the time forty times a second: its longest wait.
2. Fifty clients with quotes of 25 contracts each: tick messages per second, and the processor time they cost.
3. Ten minutes of market time of the same streams, twenty times as fast: memory before and after.
"""

import asyncio
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.support.sim_client import EURUSD, RawClient
from tests.support.sim_process import Simulator, simulator

START = "2026-03-02T15:00:00Z"
SYMBOLS = ("AAPL", "MSFT", "NVDA", "AMZN", "GOOGL", "META", "TSLA", "SPY", "QQQ", "AMD")


def processor_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mib(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


async def large_frame(sim: Simulator) -> None:
    asker, pinger = await RawClient.start(sim.port, 1), await RawClient.start(sim.port, 2)
    waits: list[float] = []

    async def ping() -> None:
        while True:
            begun = time.perf_counter()
            pinger.send(49, 1)
            await pinger.message(49)
            waits.append(time.perf_counter() - begun)
            await asyncio.sleep(0.025)  # below the message rate of fifty a second

    pinging = asyncio.create_task(ping())
    await asyncio.sleep(0.3)
    idle = max(waits)
    waits.clear()
    begun = time.perf_counter()
    asker.ask_bars(1, EURUSD, end="20260227 21:00:00 UTC", size="10 secs", duration="17 D", what="MIDPOINT")
    size = int.from_bytes(await asker.reader.readexactly(4), "big")
    await asker.reader.readexactly(200)  # the head
    rest = await asker.reader.readexactly(size - 200)
    took = time.perf_counter() - begun
    pinging.cancel()
    bars = rest.count(b"\0") // 8
    print(f"frame: {bars:,} bars, {size / 1e6:.1f} MB in {took:.2f} s ({bars / took:,.0f} bars/s)")
    print(f"another client's longest wait meanwhile: {max(waits) * 1000:.1f} ms (idle {idle * 1000:.1f} ms)")


async def subscribe(sim: Simulator, clients: int, contracts: int) -> list[RawClient]:
    made = [await RawClient.start(sim.port, 100 + each) for each in range(clients)]
    for client in made:
        for at in range(contracts):
            symbol = SYMBOLS[at % len(SYMBOLS)]
            client.send(1, 11, at, "0", symbol, "STK", "", "0.0", "", "", "SMART", "", "USD", "", "", 0, "", 0, 0, "")
    return made


async def count(client: RawClient, counts: list[int]) -> None:
    """Counts tick messages (ids 1, 2, 45, 46)."""
    while data := await client.reader.read(1 << 16):
        counts[0] += data.count(b"\x006\x00")  # every tick message has version 6 behind its id


async def streams(sim: Simulator, clients: int, contracts: int, seconds: float) -> None:
    made = await subscribe(sim, clients, contracts)
    counts = [0]
    readers = [asyncio.create_task(count(client, counts)) for client in made]
    await asyncio.sleep(3)
    counts[0], before, begun = 0, processor_s(sim.process.pid), time.perf_counter()
    memory = memory_mib(sim.process.pid)
    await asyncio.sleep(seconds)
    took = time.perf_counter() - begun
    used = processor_s(sim.process.pid) - before
    print(
        f"{clients} clients x {contracts} contracts: {counts[0] / took:,.0f} tick messages/s, "
        f"{counts[0] / took / clients:,.0f} per client, {used / took:.0%} of one core; "
        f"memory {memory:.0f} -> {memory_mib(sim.process.pid):.0f} MiB"
    )
    for reader in readers:
        reader.cancel()


def main() -> None:
    with simulator("--clock", "real", "--start", START) as sim:
        asyncio.run(large_frame(sim))
    with simulator("--clock", "real", "--start", START, "--lines", "100000", "--max-clients", "64") as sim:
        asyncio.run(streams(sim, 50, 25, 10))
    with simulator("--clock", "rate:20", "--start", START, "--lines", "100000") as sim:
        print("ten minutes of market time in thirty seconds:")
        asyncio.run(streams(sim, 2, 25, 30))


if __name__ == "__main__":
    main()
