"""The bridge as a whole: its parts, its loops, and how it starts and stops."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from ib_bridge.history import empty_checks
from ib_bridge.history.booking import Booking
from ib_bridge.history.open_requests import OpenRequests
from ib_bridge.history.planning import Planning
from ib_bridge.history.settling import Revised
from ib_bridge.history.volume_units import VolumeUnits, adopt_guesses
from ib_bridge.history.worker import Worker
from ib_bridge.ib.clock import MarketClock
from ib_bridge.ib.connection import IbConnection
from ib_bridge.ib.health import ConnectionState
from ib_bridge.ib.requests import IbRequests
from ib_bridge.inbox.commands import Commands
from ib_bridge.incidents import ConnectionIncidents
from ib_bridge.live.confirming import Confirming
from ib_bridge.live.live_data import LiveData
from ib_bridge.parts import BridgeParts
from ib_bridge.reference.booked_requests import BookedRequests
from ib_bridge.reference.directory import Directory
from ib_bridge.source import StoreSource
from ib_bridge.upkeep import UPKEEP_S, Upkeep
from nautilus.backfill.pacing import PacingLimits
from nautilus.db.bridge import status
from nautilus.db.connection import Database
from nautilus.db.cursor import Cursor
from nautilus.db.ledger import chunks, job_planning, job_stopping, jobs, requests
from nautilus.db.live import wants
from nautilus.db.market.series import Series
from nautilus.errors import Unavailable
from nautilus.infra.executors import Executor
from nautilus.infra.loops import Backoff, repeat
from nautilus.infra.queue import Queue
from nautilus.process import liveness
from nautilus.process.errors import CannotStart
from nautilus.process.name_lock import NameLock
from nautilus.process.notify import Consumer, Listener
from nautilus.process.tasks import cancel_all
from nautilus.process.transactions import TransactionRunner
from nautilus.settings.bridge import BridgeSettings

_SWEEP_S = 1.0
_HEARTBEAT_S = 5.0
_EMPTY_RECHECKS_S = 5.0
_RENEW_S = 5.0
_VOLUME_UNITS_S = 5.0
_END_S = 6.0
"""How long giving back may take once the bridge is being stopped; what is not given back by then expires."""


class Bridge:
    """One bridge: holds its name and its connection to IB, and works until it is asked to stop."""

    def __init__(self, settings: BridgeSettings, log: Any) -> None:
        self._settings = settings
        self._log = log
        self._database = Database(
            settings.database_url.get_secret_value(),
            name=f"nautilus-{settings.bridge_id}",
            size=settings.database_pool,
            statement_timeout_ms=settings.statement_timeout_ms,
        )
        self._transactions = TransactionRunner(self._database, threads=min(6, settings.database_pool))
        self._clock = MarketClock()
        self._connection = IbConnection(settings, self._clock, log, self._changed)
        ib = IbRequests(settings, self._connection)
        booking = Booking(self._transactions, self._clock, settings.bridge_id, PacingLimits())
        booked = BookedRequests(self._connection, ib, booking)
        self._directory = Directory(self._transactions, booked, self._clock, log)
        self._planning = Planning(settings, self._transactions, self._directory, clock=self._clock, log=log)
        self._commands = Commands(
            settings.bridge_id,
            transactions=self._transactions,
            directory=self._directory,
            connection=self._connection,
            log=log,
            done=lambda: self._events["commands"].set(),
        )
        self._make_history(ib, booking)
        self._queue = Queue(settings.queue_url, endpoint=settings.queue_endpoint, region=settings.queue_region)
        self._events = {
            name: asyncio.Event() for name in ("planning", "commands", "heartbeat", "leases", "second-looks")
        }
        self._name = NameLock(self._database, settings.bridge_id, log)
        self._source = StoreSource(self._transactions, self._connection, settings.source_replay)
        self._incidents = ConnectionIncidents(settings.bridge_id, self._transactions, log)
        self._ending = threading.Event()
        self._upkeep = Upkeep(settings, self._transactions, log, self._ending.is_set)
        self._end_thread = Executor("end", 1)
        self._last_state = ConnectionState.STARTING
        self._fatal: CannotStart | None = None
        self._fatal_event = asyncio.Event()

    def _make_history(self, ib: IbRequests, booking: Booking) -> None:
        """The parts that ask for bars: they share the requests that may be open at IB."""
        self._volumes = VolumeUnits(
            self._settings,
            transactions=self._transactions,
            connection=self._connection,
            requests=ib,
            booking=booking,
            clock=self._clock,
            log=self._log,
        )
        parts = BridgeParts(
            transactions=self._transactions,
            connection=self._connection,
            requests=ib,
            booking=booking,
            clock=self._clock,
            volumes=self._volumes,
            directory=self._directory,
            open_requests=OpenRequests(),
            log=self._log,
            ready=lambda: self._source.ready,
        )
        self._worker = Worker(self._settings, parts, self._revised)
        self._confirming = Confirming(self._settings, parts)
        self._live = LiveData(self._settings, parts, self._confirming)

    def _revised(self, row: Series, changed: Revised) -> None:
        self._live.revised(row, changed)

    # ---- life --------------------------------------------------------------------------------------------------------

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set. CannotStart when the name is taken or the database belongs to another source."""
        await self._name.take()
        await self._transactions.run(self._clean_up)
        listener = Listener(self._database, {jobs.CHANNEL: self._wake, wants.CHANNEL: self._live.wake}, self._log)
        listener.start(asyncio.get_running_loop())
        page = await liveness.serve(self._settings.health_port, self._tell) if self._settings.health_port else None
        loops = [
            self._connection.run(),
            Consumer(self._queue, self._wake, self._log).run(),
            self._repeat("heartbeat", self._heartbeat, _HEARTBEAT_S),
            self._repeat("planning", self._plan, _SWEEP_S),
            self._repeat("commands", self._command, _SWEEP_S),
            self._repeat("leases", self._sweep, _SWEEP_S),
            self._repeat("second-looks", self._recheck, _EMPTY_RECHECKS_S),
            self._repeat("volume-units", self._keep_volumes, _VOLUME_UNITS_S),
            self._repeat("lookups", self._renew_lookups, _RENEW_S),
            self._repeat("name", self._keep_name, _SWEEP_S),
            self._repeat("upkeep", self._upkeep.keep_up, UPKEEP_S),
            self._worker.run(),
            self._live.run(),
        ]
        tasks = [asyncio.create_task(loop) for loop in loops]
        watch = [asyncio.create_task(stop.wait()), asyncio.create_task(self._fatal_event.wait())]
        try:
            done, _ = await asyncio.wait([*tasks, *watch], return_when=asyncio.FIRST_COMPLETED)
            while not (stop.is_set() or self._fatal_event.is_set()):
                for task in done:
                    if task in tasks and task.exception() is not None:
                        raise task.exception()  # type: ignore[misc]
                pending = [t for t in (*tasks, *watch) if not t.done()]
                done, _ = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await self._end([*tasks, *watch], listener, page)
        if self._fatal is not None:
            raise self._fatal

    async def _end(self, tasks: list[asyncio.Task[Any]], listener: Listener, page: asyncio.Server | None) -> None:
        self._ending.set()
        self._live.end_streams()
        await cancel_all(tasks)
        await self._commands.stop()
        if page is not None:
            page.close()
        reason: str | None = f"the database said nothing for {_END_S:g} s"
        with suppress(TimeoutError):  # the threads that hang are left behind (`ib_bridge.__main__`)
            async with asyncio.timeout(_END_S):
                await self._end_thread.run(listener.stop)
                await self._live.close()
                reason = await self._say_farewell()
                self._name.close()
                await self._end_thread.run(self._transactions.close)
        if reason is not None:
            self._log.warning("farewell-not-stored", extra={"reason": reason})

    async def _say_farewell(self) -> str | None:
        """Give back what this bridge holds; the reason when that could not be stored."""
        try:
            # Without the name, the rows under it are another process's.
            if not await self._name.is_held():
                return "the bridge's name is not held any more"
            await self._transactions.run(self._give_back)
        except Unavailable as gone:
            return gone.detail
        return None

    async def _keep_name(self) -> None:
        try:
            await self._name.keep()
            await self._live.lock.keep()
        except CannotStart as taken:
            self._stop_for(taken)

    def _stop_for(self, reason: CannotStart) -> None:
        self._fatal = reason
        self._fatal_event.set()

    def _clean_up(self, cursor: Cursor) -> None:
        """We hold the name, so what a predecessor left leased or planned is nobody's: free it at once."""
        freed = chunks.release(cursor, self._settings.bridge_id)
        job_planning.expire_plans(cursor, self._settings.bridge_id)
        requests.lose(cursor, self._settings.bridge_id)
        self._volumes.recall(status.last_activity(cursor, self._settings.bridge_id))
        adopt_guesses(cursor, self._settings.bridge_id, self._log)
        self._log.info("bridge-started", extra={"bridge": self._settings.bridge_id, "leases_freed": freed})

    def _give_back(self, cursor: Cursor) -> None:
        chunks.release(cursor, self._settings.bridge_id)
        job_planning.expire_plans(cursor, self._settings.bridge_id)
        self._publish(cursor, "down", "the bridge was stopped")

    # ---- loops -------------------------------------------------------------------------------------------------------

    def _wake(self) -> None:
        for name in ("planning", "commands", "leases"):
            self._events[name].set()
        self._worker.wake()

    def _changed(self) -> None:
        """The connection to IB changed: publish it at once, and look for work that is possible now."""
        for event in self._events.values():
            event.set()
        self._worker.wake()
        self._live.wake()

    async def _repeat(self, name: str, work: Callable[[], Awaitable[None]], every_s: float) -> None:
        """Do something at least every `every_s` seconds, and when woken; the database being away only delays it."""
        event = self._events.get(name) or asyncio.Event()

        async def step() -> None:
            event.clear()
            await work()
            with suppress(TimeoutError):
                await asyncio.wait_for(event.wait(), every_s)

        # What nobody foresaw in one loop must not end the session and all other work.
        await repeat(name, step, self._log, backoff=Backoff(longest_s=max(_SWEEP_S, every_s)))

    async def _plan(self) -> None:
        while self._source.ready and await self._planning.plan_next():
            self._worker.wake()

    async def _command(self) -> None:
        await self._commands.begin(only=None if self._source.ready else "reconnect")

    async def _sweep(self) -> None:
        """What would otherwise wait for ever: leases and plans of silent bridges, jobs asked to stop."""
        await self._transactions.run(self._sweep_rows)
        await self._worker.leases.check()
        self._worker.wake()

    async def _recheck(self) -> None:
        """With the farms up, open a job for what was left unconfirmed, and request the schedules that were refused."""
        await self._transactions.run(job_stopping.cancel_unreferenced)
        if self._source.ready and self._connection.status().state is ConnectionState.CONNECTED:
            await self._transactions.run(empty_checks.open_job, self._clock.now_ns())
            try:
                await self._directory.calendars.relearn()
            except Unavailable as gone:
                self._log.info("schedules-not-asked", extra={"reason": gone.detail})

    async def _renew_lookups(self) -> None:
        """Look up again what words mean, where IB's answer is old."""
        if self._source.ready:
            await self._directory.contracts.renew()

    @staticmethod
    def _sweep_rows(cursor: Cursor) -> None:
        chunks.release(cursor)
        job_planning.expire_plans(cursor)
        job_stopping.finish_stopping(cursor)

    async def _keep_volumes(self) -> None:
        if self._source.ready:
            await self._volumes.keep()

    async def _heartbeat(self) -> None:
        if self._connection.up and not self._source.ready:
            try:
                await self._source.claim()
            except CannotStart as other:
                self._stop_for(other)
            else:
                self._wake()
        health = self._connection.status()
        await self._transactions.run(self._publish, health.state.value, health.reason)
        if health.state is ConnectionState.CONNECTED and self._last_state is not ConnectionState.CONNECTED:
            await self._transactions.run(job_planning.requeue_now)
            self._events["planning"].set()
        self._last_state = health.state
        seen = self._connection.health
        await self._incidents.keep(health, seen.language, seen.unmapped)

    def _publish(self, cursor: Cursor, state: str, reason: str) -> None:
        status.publish(
            cursor,
            self._settings.bridge_id,
            login=self._connection.login,
            account=self._connection.login,
            state=state,
            reason=reason,
            host=self._settings.ib_host,
            port=self._settings.ib_port,
            client_id=self._connection.client_id,
            server_version=self._connection.server_version,
            farms=self._connection.health.farms,
            activity={
                **self._worker.activity(),
                **self._volumes.activity(),
                **self._confirming.activity(),
                **self._live.activity(),
                "servers_lost": self._connection.health.servers_lost,
                "unmapped_codes": self._connection.health.unmapped,
                "planning": self._settings.plan_rules.published,
                "gateway_language": self._connection.health.language or "unknown",
            },
            clock=self._clock.reading,
            settle_s=(self._settings.settle_intraday_s, self._settings.settle_daily_s),
        )

    def _tell(self) -> tuple[bool, dict[str, Any]]:
        health = self._connection.status()
        return self._connection.up, {"state": health.state.value, "reason": health.reason, "source": self._source.name}
