"""A bridge in the test's own event loop, with streams of bars beside it: what a stream tells, and what history says of it.

The simulator is a process on a stepped clock, the database is real, and so is every part of the bridge. The streams are in small
what the bridge's are: bars that are kept up to date, written as provisional bars.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from pydantic import SecretStr

from ib_bridge.bridge import Bridge
from ib_bridge.ib import translate
from ib_bridge.ib.client import BarsRequest
from ib_bridge.ib.live_callbacks import BarUpdate, BarValue, FirstBars
from ib_bridge.ib.live_requests import LiveRequests
from ib_bridge.ib.requests import IbError, IbRequests
from ib_bridge.live.confirming import Confirming
from nautilus.clock import NS_PER_S
from nautilus.db.bars import write as bar_store
from nautilus.db.cursor import Cursor
from nautilus.db.live import provisional
from nautilus.db.live.provisional import ProvisionalBar
from nautilus.db.market import series
from nautilus.db.market.series import ALL_TIME, Series
from nautilus.live.bars import LiveState
from nautilus.live.confirmation import Outcome, Report
from nautilus.live.subscriptions import StreamKey
from nautilus.log import logger
from nautilus.market.bar import Bar
from nautilus.market.instrument import Instrument
from nautilus.market.symbols import Selector
from nautilus.market.timeframes import timeframe
from nautilus.settings.bridge import BridgeSettings
from tests.support.sim_process import Simulator

PATIENCE_S = 60
MINUTE_NS = 60 * NS_PER_S


@dataclass
class Stream:
    """A bar that is kept up to date, as its reader has it: newest state per minute."""

    key: StreamKey
    instrument: Instrument
    request: int
    sent_at: int
    first: list[Bar] = field(default_factory=list)
    bars: dict[int, BarValue] = field(default_factory=dict)


class LiveBridge:
    """The bridge, and short words for what tests do with it."""

    def __init__(self, sim: Simulator, dsn: str, **settings: Any) -> None:
        self.sim = sim
        self.settings = BridgeSettings(
            database_url=SecretStr(dsn),
            ib_port=sim.port,
            control_port=sim.ready["control_port"],
            ib_heartbeat_s=30.0,
            **{"request_timeout_s": 20.0, **settings},
        )
        self.bridge = Bridge(self.settings, logger("test"))
        self.reports: list[Report] = []
        self.confirming.report = self.reports.append
        self.streams: dict[StreamKey, Stream] = {}
        connection = self.bridge._connection
        self.asks, self.requests = LiveRequests(connection), IbRequests(self.settings, connection)

    @property
    def confirming(self) -> Confirming:
        return self.bridge._confirming

    async def run(self, work: Callable[..., Any], *args: Any, **more: Any) -> Any:
        """`work(cursor, ...)` in a transaction."""
        return await self.bridge._transactions.run(work, *args, **more)

    async def rows(self, query: str, *values: Any) -> list[Any]:
        def ask(cursor: Cursor) -> list[Any]:
            cursor.execute(query, values)
            return list(cursor.fetchall())

        return list(await self.run(ask))

    async def until(self, true: Callable[[], Any], what: str, within_s: float = PATIENCE_S) -> None:
        """Wait until something is true; it may be a coroutine."""
        deadline = time.monotonic() + within_s
        while True:
            found = true()
            if await found if asyncio.iscoroutine(found) else found:
                return
            assert time.monotonic() < deadline, f"after {within_s} s still not: {what}"
            await asyncio.sleep(0.05)

    async def command(self, line: str) -> dict[str, Any]:
        return await asyncio.to_thread(self.sim.command, line)

    async def now(self) -> int:
        return int((await self.command("clock"))["now_ns"])

    async def advance(self, seconds: float) -> None:
        """Move the clock, take what the streams sent, and wait until the bridge knows the time."""
        await self.command(f"advance {seconds}")
        now = await self.now()
        await self.until(lambda: self.bridge._clock.now_ns() >= now, "the new time is known")
        if self.streams:
            await self.take()

    # ---- streams -----------------------------------------------------------------------------------------------------

    async def find(self, selector: Selector) -> Instrument:
        return await self.bridge._directory.contracts.instrument(selector, "")

    async def stream(self, selector: Selector, *, price: str = "TRADES", session: str = "rth") -> StreamKey:
        """Begin a stream of minutes, without telling of its first answer."""
        instrument = await self.find(selector)
        key = StreamKey(instrument.con_id, "bars:1m", price, session)
        number = self.asks.keep_up_to_date(instrument, price, session, "1800 S")
        self.streams[key] = Stream(key, instrument, number, self.bridge._clock.now_ns())
        self.confirming.follow(key, since=self.bridge._clock.now_ns())
        await self.until(lambda: self._taken(key), "the first answer comes")
        return key

    async def _taken(self, key: StreamKey) -> bool:
        await self.take()
        return bool(self.streams[key].first)

    async def take(self) -> None:
        """Write what the streams sent as provisional bars."""
        with suppress(ConnectionError):
            await self.bridge._connection.client().reqCurrentTimeAsync()
        now = await self.now()
        changed: list[ProvisionalBar] = []
        for value in self.bridge._connection.callbacks.take():
            for one in self.streams.values():
                if isinstance(value, FirstBars) and value.request == one.request:
                    one.first = [Bar(*b[:6], None, b.trades) for b in value.bars]
                if isinstance(value, BarUpdate) and value.request == one.request:
                    one.bars[value.bar.ts] = value.bar
                    changed.append(await self._provisional(one, value.bar, now))
        if changed:
            await self.run(provisional.put, changed)
        for one in self.streams.values():
            self.confirming.wake(one.key)

    async def _provisional(self, one: Stream, bar: BarValue, now: int) -> ProvisionalBar:
        row = await self.series(one.key)
        state = "closed" if bar.ts + MINUTE_NS <= now else "forming"
        return ProvisionalBar(row.id, *bar[:7], state, False, "kutd", now)

    # ---- what history says -------------------------------------------------------------------------------------------

    async def series(self, key: StreamKey) -> Series:
        frame = timeframe(key.kind.partition(":")[2])
        found: Series = await self.run(series.find_or_make, key.con_id, frame, price=key.price, session=key.session)
        return found

    def outcomes(self, key: StreamKey, *states: LiveState) -> list[Outcome]:
        """What was reported of a series, in order; of these states alone."""
        return [
            one
            for report in self.reports
            if report.key == key
            for one in report.outcomes
            if one.state in states or not states
        ]

    async def stored(self, key: StreamKey, start: int, end: int) -> list[Bar]:
        row = await self.series(key)
        found: list[Bar] = await self.run(bar_store.first, row.id, row.timeframe, span=(start, end), limit=10_000)
        return found

    async def live_bars(self, key: StreamKey) -> list[ProvisionalBar]:
        row = await self.series(key)
        found: list[ProvisionalBar] = await self.run(provisional.within, row.id, *ALL_TIME)
        return found

    async def history(self, key: StreamKey, start: int, end: int) -> list[Bar]:
        """What the simulator says now, asked past all books."""
        frame = timeframe(key.kind.partition(":")[2])
        request = BarsRequest(
            translate.contract(self.streams[key].instrument),
            translate.moment(end),
            f"{max(60, (end - start) // NS_PER_S)} S",
            frame.ib,
            key.price,
            key.session == "rth",
        )
        try:
            rows = await self.requests.history(request, PATIENCE_S)
        except IbError as refused:
            if "no data" not in refused.text:
                raise
            return []
        return [bar for bar in translate.bars(rows, frame, key.price) if start <= bar.ts < end]


@asynccontextmanager
async def live_bridge(sim: Simulator, dsn: str, **settings: Any) -> AsyncIterator[LiveBridge]:
    """A bridge that is connected, as long as the block lasts."""
    made = LiveBridge(sim, dsn, **settings)
    stop = asyncio.Event()
    running = asyncio.create_task(made.bridge.run(stop))
    try:
        await made.until(lambda: made.bridge._source.ready or running.done(), "the bridge is ready")
        if running.done():
            running.result()
        yield made
    finally:
        stop.set()
        await running
