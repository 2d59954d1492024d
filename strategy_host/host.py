"""The strategy host as a whole: it holds its name, leases runs, has a child for each, and says how it is."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Protocol
from uuid import UUID

from nautilus.db.connection import Database
from nautilus.db.cursor import Cursor
from nautilus.db.orders.notifications import EVENTS as ORDER_EVENTS
from nautilus.db.strategies import hosts, leases, templates
from nautilus.db.strategies.leases import Hold
from nautilus.db.strategies.notifications import CHANNEL
from nautilus.db.strategies.runs import RunRow
from nautilus.errors import Unavailable
from nautilus.infra.executors import Executor
from nautilus.infra.loops import Backoff, repeat
from nautilus.process import liveness
from nautilus.process.errors import CannotStart
from nautilus.process.name_lock import NameLock
from nautilus.process.notify import Listener
from nautilus.process.tasks import cancel_all
from nautilus.process.transactions import TransactionRunner
from nautilus.settings.strategies import StrategySettings
from nautilus.strategies.states import Mode
from strategy_host.backtest import BackTest
from strategy_host.bar_bus import BarBus, BarSeries
from strategy_host.child import Child
from strategy_host.describing import Described, describe
from strategy_host.live_run import LiveRun
from strategy_host.parts import Fences, HostParts, Snapshots

LEASE_S = 60.0
_SWEEP_S, _HEARTBEAT_S, _RENEW_S, _DESCRIBE_S = 1.0, 5.0, 15.0, 600.0
_DESCRIBE_AGAIN_S = 30.0
_END_S = 6.0
_AT_ONCE = 8
"""Runs in paper and live that are started in one step: each start takes a processor for a while."""
POOL = 4
"""Connections that runs share; three more: one holds the name, one listens, one reads the bus where there is no Redis."""


class Working(Protocol):
    """A run that this host has: a back-test, or one in paper or live."""

    run: RunRow
    hold: Hold
    child: Child | None

    async def work(self) -> None: ...

    def want(self, wanted: str) -> None: ...


class Host:
    """Works until it is asked to stop."""

    def __init__(self, settings: StrategySettings, log: Any) -> None:
        self._settings = settings
        self._log = log
        self._database = Database(
            settings.database_url.get_secret_value(),
            name="nautilus-strategies",
            size=min(POOL, settings.database_pool),
            statement_timeout_ms=settings.statement_timeout_ms,
        )
        name = settings.strategy_host_id
        self._name = NameLock(
            self._database,
            f"strategies:{name}",
            log,
            f"another process already works as strategy host {name!r}; stop it, or set another NAUTILUS_STRATEGY_HOST_ID",
        )
        self._parts = HostParts(
            settings, TransactionRunner(self._database, threads=POOL - 2), Snapshots(self._database, 1), log, Fences()
        )
        self._working: dict[UUID, tuple[Working, asyncio.Task[None]]] = {}
        self._described = Described("", [], "strategies are being described")
        self._wake = asyncio.Event()
        self._described_event = asyncio.Event()
        self._fatal: CannotStart | None = None
        self._fatal_event = asyncio.Event()
        self._end_thread = Executor("end", 1)
        self._bus = BarBus(self._database, settings.redis_url.get_secret_value(), self._wake_bars, log)

    # ---- life ----------------------------------------------------------------------------------------------------

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set. CannotStart when the name is taken."""
        await self._name.take()
        await self._parts.transactions.run(self._begin)
        listener = Listener(self._database, {CHANNEL: self._wake.set, ORDER_EVENTS: self._wake_orders}, self._log)
        listener.start(asyncio.get_running_loop())
        self._bus.start(asyncio.get_running_loop())
        port = self._settings.strategy_health_port
        page = await liveness.serve(port, self._health) if port else None
        loops = [
            self._repeat("describing", self._describe, _DESCRIBE_S, asyncio.Event()),
            self._repeat("heartbeat", self._heartbeat, _HEARTBEAT_S, self._described_event),
            self._repeat("leases", self._renew, _RENEW_S, asyncio.Event()),
            self._repeat("runs", self._sweep, _SWEEP_S, self._wake),
            self._repeat("name", self._keep_name, _SWEEP_S, asyncio.Event()),
        ]
        tasks = [asyncio.create_task(loop) for loop in loops]
        watch = [asyncio.create_task(stop.wait()), asyncio.create_task(self._fatal_event.wait())]
        try:
            await asyncio.wait(watch, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await self._end([*tasks, *watch], listener, page)
        if self._fatal is not None:
            raise self._fatal

    def _begin(self, cursor: Cursor) -> None:
        """We hold the name: what a predecessor had leased is nobody's."""
        freed = leases.free(cursor, self._settings.strategy_host_id)
        self._put(cursor, starts=True)
        self._log.info("strategy-host-started", extra={"host": self._settings.strategy_host_id, "leases_freed": freed})

    async def _end(self, tasks: list[asyncio.Task[Any]], listener: Listener, page: asyncio.Server | None) -> None:
        await cancel_all(tasks)
        await cancel_all(task for _, task in self._working.values())
        if page is not None:
            page.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(_END_S):
                await self._end_thread.run(listener.stop)
                await self._end_thread.run(self._bus.stop)
                with suppress(Unavailable):
                    if await self._name.is_held():
                        await self._parts.transactions.run(leases.free, self._settings.strategy_host_id)
                self._name.close()
                self._parts.snapshots.close()
                await self._end_thread.run(self._parts.transactions.close)

    async def _repeat(
        self, name: str, work: Callable[[], Awaitable[float | None]], every_s: float, event: asyncio.Event
    ) -> None:
        """Do something at least every `every_s` seconds, or as soon as it says itself, and when woken."""

        async def step() -> None:
            event.clear()
            again_s = await work()
            with suppress(TimeoutError):
                await asyncio.wait_for(event.wait(), again_s or every_s)

        await repeat(f"strategies-{name}", step, self._log, backoff=Backoff(longest_s=max(_SWEEP_S, every_s)))

    # ---- loops ---------------------------------------------------------------------------------------------------

    async def _describe(self) -> float | None:
        """What can be run. Where nothing can, look again soon: the interpreter may be installed meanwhile."""
        self._described = found = await describe(self._parts)
        if found.problem:
            self._log.warning("strategies-not-described", extra={"reason": found.problem})
        else:
            await self._parts.transactions.run(templates.replace, found.templates)
        self._described_event.set()
        self._wake.set()
        return _DESCRIBE_AGAIN_S if found.problem else None

    async def _heartbeat(self) -> None:
        await self._parts.transactions.run(self._beat)

    def _beat(self, cursor: Cursor) -> None:
        self._put(cursor, starts=False)
        alive = [
            one.hold for one, _ in list(self._working.values()) if one.child is not None and one.child.silent_s < 5
        ]
        if alive:
            leases.beat(cursor, alive)

    def _put(self, cursor: Cursor, *, starts: bool) -> None:
        hosts.put(
            cursor,
            self._settings.strategy_host_id,
            engine=self._described.engine,
            fence=dict.fromkeys(self._parts.fences.holds, True),
            problem=self._described.problem,
            children=sum(one.child is not None for one, _ in self._working.values()),
            capacity=self._settings.capacity,
            starts=starts,
        )

    async def _renew(self) -> None:
        holds = [one.hold for one, _ in self._working.values()]
        if not holds:
            return
        still = await self._parts.transactions.run(leases.renew, self._settings.strategy_host_id, holds, LEASE_S)
        for hold in holds:
            found = self._working.get(hold.run_id)
            if found is not None and hold.run_id not in still:
                found[1].cancel()

    async def _sweep(self) -> None:
        """What is wanted of our runs, and new ones while there is room."""
        mine = {run_id: one for run_id, (one, _) in self._working.items()}
        if mine:
            rows = await self._parts.transactions.run(leases.wanted, [one.hold for one in mine.values()])
            for row in rows:
                mine[row.id].want(row.wanted)
        if self._described.problem:
            return
        for run in await self._take([Mode.LIVE, Mode.PAPER], _AT_ONCE):
            self._start(LiveRun(self._parts, run))
        room = self._settings.capacity - sum(one.run.mode == Mode.BACKTEST for one in mine.values())
        if room > 0:
            for run in await self._take([Mode.BACKTEST], room):
                self._start(BackTest(self._parts, run))

    async def _take(self, modes: list[Mode], limit: int) -> list[RunRow]:
        host = self._settings.strategy_host_id
        return await self._parts.transactions.run(leases.take, host, modes, limit=limit, lease_s=LEASE_S)

    def _start(self, one: Working) -> None:
        task = asyncio.create_task(one.work(), name=f"run-{one.run.id}")
        self._working[one.run.id] = (one, task)
        task.add_done_callback(lambda done: self._ended(one, done))

    def _ended(self, one: Working, task: asyncio.Task[None]) -> None:
        """A run is over, or not ours any more. What nobody foresaw ends with its lease, on another attempt."""
        self._working.pop(one.run.id, None)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Unavailable):
            self._log.warning("strategy-run-delayed", extra={"run_id": str(one.run.id), "reason": error.detail})
        elif error is not None:
            self._log.error("strategy-run-broke", extra={"run_id": str(one.run.id)}, exc_info=error)
        self._wake.set()

    def _wake_bars(self, news: frozenset[BarSeries]) -> None:
        for one in self._following():
            if not news.isdisjoint(one.series):
                one.bars_waker.set()

    def _wake_orders(self) -> None:
        for one in self._following():
            one.orders_waker.set()

    def _following(self) -> list[LiveRun]:
        return [one for one, _ in self._working.values() if isinstance(one, LiveRun)]

    async def _keep_name(self) -> None:
        try:
            await self._name.keep()
        except CannotStart as taken:
            self._fatal = taken
            self._fatal_event.set()

    def _health(self) -> tuple[bool, dict[str, Any]]:
        details = {"engine": self._described.engine, "problem": self._described.problem, "runs": len(self._working)}
        return not self._described.problem, details
