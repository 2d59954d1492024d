"""Small clients of live bars: some that believe what comes, and what a careful one does instead."""

from typing import Any, NamedTuple

from ib_gateway_sim.control.port import Control
from ib_gateway_sim.session.gateway import Gateway
from tests.support.sim_client import AAPL, MONDAY_NOON_NS, RawClient, gateway

NOON_S = MONDAY_NOON_NS // 10**9


class Candle(NamedTuple):
    """A bar as a client keeps it; volume as the message has it."""

    t: int
    open: float
    high: float
    low: float
    close: float
    volume: float


def candle(t: str, opened: str, high: str, low: str, close: str, volume: str, *_: str) -> Candle:
    return Candle(int(t), float(opened), float(high), float(low), float(close), float(volume))


def folded(parts: list[Candle]) -> dict[int, Candle]:
    """Minutes of five-second bars, by a reader who takes whatever came for all there was."""
    minutes: dict[int, Candle] = {}
    for part in parts:
        t = part.t // 60 * 60
        before = minutes.get(t, part)
        minutes[t] = Candle(
            *(t, before.open, max(before.high, part.high), min(before.low, part.low), part.close),
            part.volume + (before.volume if t in minutes else 0),
        )
    return minutes


class Seen(NamedTuple):
    """What came of one instrument: five-second bars, each update of keepUpToDate, and history asked at the end."""

    parts: list[Candle]
    updates: list[Candle]
    history: dict[int, Candle]

    @property
    def kept(self) -> dict[int, Candle]:
        """The newest update of each minute."""
        return {each.t: each for each in self.updates}


async def do(control: Control, line: str) -> dict[str, Any]:
    answer = await control.run(line)
    assert answer["ok"], answer
    return answer


async def watch(
    *lines: str, seconds: int = 300, contract: tuple[str, ...] = AAPL, what: str = "TRADES", duration: str = "1800 S"
) -> Seen:
    """Both live sources for so many seconds after these commands, and history of the same time, asked at the end."""
    async with gateway() as (sim, control):
        client = await RawClient.start(sim.port)
        for line in lines:
            await do(control, line)
        return await watched(sim, control, client, seconds=seconds, contract=contract, what=what, duration=duration)


async def watched(
    sim: Gateway,
    control: Control,
    client: RawClient,
    *,
    seconds: int = 300,
    contract: tuple[str, ...] = AAPL,
    what: str = "TRADES",
    duration: str = "1800 S",
) -> Seen:
    """The same with a simulator and a client that are there."""
    begun_s = int(sim.clock.now_s())
    client.send(50, 3, 1, *contract, 5, what, 1, "")
    client.ask_bars(2, contract, end="", live=1, what=what, duration=duration)
    await client.message(17)
    await client.settle()
    await do(control, f"advance {seconds}")
    client.ask_bars(3, contract, end="", what=what, duration=f"{seconds} S")
    parts, updates = [], []
    while (fields := await client.read())[0] != "17":
        if fields[0] == "50":
            parts.append(candle(*fields[3:]))
        elif fields[0] == "90":
            _, _, _, t, opened, close, high, low, _, volume = fields
            updates.append(candle(t, opened, high, low, close, volume))
    rows = [fields[at : at + 8] for at in range(5, len(fields), 8)]
    history = {each.t: each for each in (candle(*row) for row in rows)}
    until_s = (begun_s + seconds) // 60 * 60
    return Seen(parts, updates, {t: each for t, each in history.items() if begun_s <= t < until_s})
