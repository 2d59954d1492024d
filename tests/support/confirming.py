"""A bridge in the test's own event loop: what its streams write as provisional bars, and what history says of them.

The simulator is a process on a stepped clock, the database is real, and so is every part of the bridge.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from pydantic import SecretStr

from ib_bridge.bridge import Bridge
from ib_bridge.ib import translate
from ib_bridge.ib.client import BarsRequest
from ib_bridge.ib.requests import IbError, IbRequests
from ib_bridge.live.confirming import Confirming
from ib_bridge.live.streams import StreamState
from nautilus.clock import NS_PER_S
from nautilus.db.bars import write as bar_store
from nautilus.db.cursor import Cursor
from nautilus.db.live import provisional, wants
from nautilus.db.live.provisional import ProvisionalBar
from nautilus.db.live.wants import WantRow
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
        self._report, self.confirming.report = self.confirming.report, self._reported
        self._instruments: dict[int, Instrument] = {}
        self.requests = IbRequests(self.settings, self.bridge._connection)

    @property
    def confirming(self) -> Confirming:
        return self.bridge._confirming

    def _reported(self, report: Report) -> None:
        self.reports.append(report)
        self._report(report)

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
        """Move the clock, and wait until the bridge knows the time."""
        await self.command(f"advance {seconds}")
        now = await self.now()
        await self.until(lambda: self.bridge._clock.now_ns() >= now, "the new time is known")

    # ---- streams -----------------------------------------------------------------------------------------------------

    async def find(self, selector: Selector) -> Instrument:
        found = await self.bridge._directory.contracts.instrument(selector, "")
        self._instruments[found.con_id] = found
        return found

    async def want(
        self,
        selector: Selector,
        frame: str = "1m",
        *,
        price: str = "TRADES",
        session: str = "rth",
        owner: str = "user:1",
    ) -> StreamKey:
        """Want bars live."""
        found = await self.find(selector)
        row = WantRow(found.con_id, "bars", frame, price, session, 6)
        await self.run(wants.put, owner, [row], None)
        return StreamKey(found.con_id, f"bars:{frame}", price, session)

    async def stream(self, selector: Selector, *, price: str = "TRADES", session: str = "rth") -> StreamKey:
        """Want minutes live, and wait until they are."""
        key = await self.want(selector, price=price, session=session)
        await self.until(lambda: self._is_live(key), "the stream is live")
        return key

    def is_requested(self, key: StreamKey) -> bool:
        """True once IB has the request for a stream, though it may have sent nothing yet."""
        stream = self.bridge._live.ledger.streams.get(key)
        return stream is not None and stream.request is not None

    def _is_live(self, key: StreamKey) -> bool:
        stream = self.bridge._live.ledger.streams.get(key)
        return stream is not None and stream.state is StreamState.LIVE

    async def shown(self, key: StreamKey, ts: int) -> ProvisionalBar:
        """The closed provisional bar of a minute, as soon as it is written."""
        found: list[ProvisionalBar] = []

        async def is_there() -> bool:
            found[:] = [one for one in await self.live_bars(key) if one.ts == ts and one.state == "closed"]
            return bool(found)

        await self.until(is_there, "the closed bar is written")
        return found[0]

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
            translate.contract(self._instruments[key.con_id]),
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
