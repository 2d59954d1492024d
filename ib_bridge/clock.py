"""Market time: IB's clock, or the simulator's virtual one."""

import asyncio
import json
import time
from typing import Any

from nautilus.clock import NS_PER_S, MarketTime


class MarketClock:
    """Machine time plus what was last learnt about the difference."""

    def __init__(self) -> None:
        now = time.time_ns()
        self.reading = MarketTime(now, now)

    def now_ns(self) -> int:
        return self.reading.at(time.time_ns())

    def learn(self, market_ns: int, rate: float, asked_ns: int, answered_ns: int) -> None:
        """Take a reading: `market_ns` was true somewhere between asking and the answer."""
        self.reading = MarketTime((asked_ns + answered_ns) // 2, market_ns, rate)

    def learn_seconds(self, market_s: int, asked_ns: int, answered_ns: int) -> None:
        """IB tells whole seconds: believe our own clock as long as it agrees within that."""
        middle = (asked_ns + answered_ns) // 2
        if abs(market_s * NS_PER_S + NS_PER_S // 2 - middle) <= 2 * NS_PER_S:
            self.reading = MarketTime(middle, middle)
        else:
            self.reading = MarketTime(middle, market_s * NS_PER_S + NS_PER_S // 2)

    def machine_s(self, market_ns: int) -> float:
        """How many seconds of machine time a stretch of market time takes; bounded, so that a stopped clock is re-read."""
        rate = self.reading.rate
        return min(5.0, max(0.0, market_ns / NS_PER_S / rate)) if rate > 0 else 0.2


async def read_control(host: str, port: int) -> tuple[int, float]:
    """(now_ns, rate) of the simulator's clock. OSError or ValueError when its control port does not answer."""
    answer = await ask_control(host, port, "clock")
    return int(answer["now_ns"]), float(answer["rate"])


async def ask_control(host: str, port: int, command: str) -> dict[str, Any]:
    """What the simulator's control port answers. OSError when nobody does, ValueError when it refuses."""
    reader, writer = await asyncio.wait_for(asyncio.open_connection(host, port), 5)
    try:
        writer.write(command.encode() + b"\n")
        await writer.drain()
        answer = json.loads(await asyncio.wait_for(reader.readline(), 5))
    finally:
        writer.close()
    if not answer.get("ok"):
        raise ValueError(f"the control port refused: {answer}")
    return dict(answer)
