"""The order process as a whole: its parts, its loops, and how it starts and stops."""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

from ib_bridge.ib.clock import MarketClock
from ib_bridge.orders import gate, sessions
from ib_bridge.orders.accounts import Accounts
from ib_bridge.orders.acknowledging import Acknowledging
from ib_bridge.orders.changes import Changes
from ib_bridge.orders.crash_points import CrashPoints
from ib_bridge.orders.exit_keeper import ExitKeeper
from ib_bridge.orders.follow_ups import FollowUps
from ib_bridge.orders.gate import GateView, ProcessStatus
from ib_bridge.orders.gateway import GatewayEvents, OrderGateway
from ib_bridge.orders.hearing import Hearing, Listeners
from ib_bridge.orders.incidents import Circumstances, OrderIncidents
from ib_bridge.orders.killing import Killing
from ib_bridge.orders.pacer import Pacer
from ib_bridge.orders.paper_guard import PaperGuard
from ib_bridge.orders.parts import OrderParts
from ib_bridge.orders.questions import Questions
from ib_bridge.orders.reconciling import Reconciling
from ib_bridge.orders.sender import Sender, TakenOver
from ib_bridge.orders.unnamed import UnnamedOrders
from ib_bridge.orders.what_ifs import WhatIfs
from ib_bridge.orders.word_writer import WordWriter
from nautilus.db.connection import Database
from nautilus.db.orders import process
from nautilus.db.orders.notifications import CANCELS, CHANNEL, MODIFIES, SENDING, WHAT_IFS
from nautilus.errors import Unavailable
from nautilus.infra.executors import Executor
from nautilus.infra.loops import Backoff, repeat
from nautilus.process import liveness
from nautilus.process.errors import CannotStart
from nautilus.process.name_lock import NameLock
from nautilus.process.notify import Listener
from nautilus.process.tasks import cancel_all
from nautilus.process.transactions import TransactionRunner
from nautilus.settings.orders import OrderSettings

NAME = "orders"
"""The advisory lock that one process holds; each database has its own."""
_SWEEP_S = 1.0
_HEARTBEAT_S = 2.0
_END_S = 6.0
_DRAIN_S = 3.0
_POOL = 4
_ON_NOTICE = {"sending": SENDING, "cancels": CANCELS, "modifies": MODIFIES, "what-ifs": WHAT_IFS}
"""Loop -> the channel of the database that wakes it."""
_TAKEN = "another order process works on this database already: an account's orders come from one process alone"


class OrderProcess:
    """Holds its name and its connection to IB, and works until it is asked to stop."""

    def __init__(self, settings: OrderSettings, log: Any) -> None:
        self._settings = settings
        self._log = log
        self._database = Database(
            settings.database_url.get_secret_value(),
            name="nautilus-orders",
            size=min(_POOL, settings.database_pool),
            statement_timeout_ms=settings.statement_timeout_ms,
        )
        self._name = NameLock(self._database, NAME, log, _TAKEN)
        self._holder = f"{socket.gethostname()}:{os.getpid()}"
        self._wakers = {name: asyncio.Event() for name in (*_ON_NOTICE, "heartbeat", "connection")}
        self._fatal: CannotStart | None = None
        self._fatal_event = asyncio.Event()
        self._stopping = False
        self._reported_rounds = 0
        self._end_thread = Executor("end", 1)
        self._make_parts()

    def _make_parts(self) -> None:
        settings, log, clock = self._settings, self._log, MarketClock()
        self._pacer = Pacer(settings.orders_messages_per_s, settings.orders_kept_for_cancels)
        events = GatewayEvents(
            hear=lambda word: self._hearing.hear(word),
            odd=lambda callback, reason: self._hearing.unread(callback, reason),
            connected=self._connected,
            changed=self._changed,
        )
        self._gateway = OrderGateway(settings, clock, log, events)
        self._guard = PaperGuard(settings.orders, settings.live_account, lambda: self._gateway.accounts)
        self._transactions = TransactionRunner(self._database, threads=_POOL - 1)
        self._parts = parts = OrderParts(
            settings=settings,
            transactions=self._transactions,
            gateway=self._gateway,
            pacer=self._pacer,
            clock=clock,
            crash=CrashPoints(settings.orders_crash_at),
            log=log,
        )
        questions = Questions(self._gateway, self._pacer)
        self._unnamed = UnnamedOrders(parts)
        self._reconciling = Reconciling(
            parts, questions, self._unnamed, is_possible=self._may_ask, changed=self._changed
        )
        self._acknowledging = Acknowledging(parts, ask=self._reconciling.want)
        self._accounts = Accounts(parts, questions, ask_executions=self._reconciling.want_executions)
        self._killing = Killing(parts, ask=self._reconciling.want, rounds=lambda: self._reconciling.rounds)
        self._follow_ups = FollowUps(parts, self._reconciling)
        self._exits = ExitKeeper(parts)
        self._make_ways(clock, questions)

    def _make_ways(self, clock: MarketClock, questions: Questions) -> None:
        """The way of words into the database, and the ways of orders and changes to IB."""
        listeners = Listeners(
            acknowledged=self._acknowledged,
            follow=self._follow_ups.take,
            moved=self._accounts.moved,
            positions_complete=self._accounts.positions_complete,
        )
        self._hearing = Hearing(
            clock,
            questions,
            listeners,
            self._log,
            put=lambda arrival: self._writer.put(arrival),
            connection=lambda: self._gateway.number,
            accounts=lambda: self._gateway.accounts,
            is_what_if=lambda word: self._what_ifs.take(word),
        )
        self._writer = WordWriter(
            self._database,
            clock,
            self._log,
            crash=self._parts.crash,
            committed=self._hearing.committed,
            lost=self._hearing.lost,
        )
        self._sender = Sender(
            self._parts,
            is_open=self._is_open,
            account_refusal=self._guard.account_refusal,
            doubtful=self._unnamed.doubtful,
            written=lambda rows: self._acknowledging.written(row.id for row in rows),
        )
        self._changes = Changes(
            self._parts,
            is_open=self._is_open,
            written=lambda order, _request: self._acknowledging.written([order]),
        )
        self._what_ifs = WhatIfs(
            self._parts,
            is_open=self._is_open,
            refusal=self._guard.account_refusal,
            answered=self._wakers["what-ifs"].set,
        )
        self._incidents = OrderIncidents(self._transactions, self._log)

    # ---- life --------------------------------------------------------------------------------------------------------

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set. CannotStart when another process holds the name, or the accounts are not this database's."""
        await self._name.take()
        if booked := await self._transactions.run(sessions.book_older):
            self._log.info("orders-booked", extra={"contracts": booked})
        self._parts.token = await self._transactions.run(sessions.take_over, self._parts, self._holder)
        wake = {CHANNEL: self._wake, **{channel: self._wakers[name].set for name, channel in _ON_NOTICE.items()}}
        listener = Listener(self._database, wake, self._log)
        listener.start(asyncio.get_running_loop())
        port = self._settings.orders_health_port
        page = await liveness.serve(port, self._tell) if port else None
        loops = [
            self._gateway.run(),
            self._writer.run(),
            repeat("order-questions", self._reconciling.step, self._log, backoff=Backoff(longest_s=2.0)),
            repeat("order-accounts", self._accounts.step, self._log),
            repeat("order-acknowledgements", self._acknowledging.step, self._log),
            repeat("order-follow-ups", self._follow_ups.step, self._log),
            repeat("order-exits", self._exits.step, self._log),
            self._repeat("connection", self._begin_connection, _SWEEP_S),
            self._repeat("sending", self._sender.send_waiting, _SWEEP_S),
            self._repeat("cancels", self._changes.send_cancels, _SWEEP_S),
            self._repeat("modifies", self._changes.send_modifies, _SWEEP_S),
            self._repeat("what-ifs", self._what_ifs.step, _SWEEP_S),
            self._repeat("killing", self._killing.step, _SWEEP_S),
            self._repeat("heartbeat", self._heartbeat, _HEARTBEAT_S),
            self._repeat("name", self._name.keep, _SWEEP_S),
        ]
        tasks = [asyncio.create_task(loop) for loop in loops]
        watch = [asyncio.create_task(stop.wait()), asyncio.create_task(self._fatal_event.wait())]
        try:
            await asyncio.wait([*tasks, *watch], return_when=asyncio.FIRST_COMPLETED)
        finally:
            await self._end([*tasks, *watch], listener, page)
        if self._fatal is not None:
            raise self._fatal

    async def _end(self, tasks: Sequence[asyncio.Task[Any]], listener: Listener, page: asyncio.Server | None) -> None:
        """Send nothing more, store what IB still sends for a short time, and go."""
        self._stopping = True
        if self._fatal is None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._writer.drain(_DRAIN_S), _DRAIN_S)
        await cancel_all(tasks)
        if page is not None:
            page.close()
        with suppress(TimeoutError, Unavailable):  # the threads that hang are left behind (`ib_bridge.orders.__main__`)
            async with asyncio.timeout(_END_S):
                await self._end_thread.run(listener.stop)
                await self._transactions.run(self._say_farewell)
                self._name.close()
                await self._end_thread.run(self._transactions.close)

    def _say_farewell(self, cursor: Any) -> None:
        reason = str(self._fatal) if self._fatal is not None else "the order process was stopped"
        process.report(cursor, self._parts.token, state="stopped", reason=reason)

    def halt(self) -> None:
        """SIGUSR1: nothing but cancels is sent from now on."""
        self._killing.halt()
        self._changed()

    def _stop_for(self, reason: CannotStart) -> None:
        self._fatal = self._fatal or reason
        self._fatal_event.set()

    # ---- what is possible --------------------------------------------------------------------------------------------

    def _status(self) -> ProcessStatus:
        if self._stopping:
            return ProcessStatus("stopped", "the order process ends")
        gateway = self._gateway
        return gate.status(
            GateView(
                up=gateway.up and self._parts.session is not None,
                reason=gateway.reason or "storing the beginning of the connection",
                guard=self._guard.refusal() if gateway.up else None,
                read_only=gateway.read_only,
                servers_lost=gateway.servers_lost,
                reconciled=self._reconciling.done,
                recording=self._writer.keeps_up,
                halted_by_signal=self._killing.halted,
                restarting=gate.restarting(self._settings.gateway_restart_at, self._parts.clock.now_ns()),
            )
        )

    def _is_open(self) -> bool:
        return self._status().open

    def _may_ask(self) -> bool:
        """Open orders are requested where orders may be sent, also while IB's servers are away: the gateway answers."""
        return self._parts.session is not None and self._gateway.up and self._guard.refusal() is None

    # ---- what happens ------------------------------------------------------------------------------------------------

    def _connected(self) -> None:
        self._parts.session = None
        self._pacer.forget()
        self._wakers["connection"].set()

    def _changed(self) -> None:
        """Something about the way to IB is different: publish it, and look for what is possible now."""
        if not self._gateway.up:
            self._parts.session = None
        self._reconciling.wake()
        for event in self._wakers.values():
            event.set()

    def _wake(self) -> None:
        for name in _ON_NOTICE:
            self._wakers[name].set()

    def _acknowledged(self, order: UUID) -> None:
        self._acknowledging.acknowledged(order)
        self._exits.note(order)
        if self._unnamed.forget([order]):
            self._wakers["sending"].set()

    # ---- loops -------------------------------------------------------------------------------------------------------

    async def _repeat(self, name: str, work: Callable[[], Awaitable[None]], every_s: float) -> None:
        """Do something at least every `every_s` seconds, and when woken; the database being away only delays it."""
        event = self._wakers.get(name) or asyncio.Event()

        async def step() -> None:
            event.clear()
            try:
                await work()
            except TakenOver:
                self._stop_for(CannotStart("another process has become the order process: this one sends nothing more"))
                await asyncio.Event().wait()
            except CannotStart as wrong:
                self._stop_for(wrong)
                await asyncio.Event().wait()
            with suppress(TimeoutError):
                await asyncio.wait_for(event.wait(), every_s)

        await repeat(f"orders-{name}", step, self._log, backoff=Backoff(longest_s=max(_SWEEP_S, every_s)))

    async def _begin_connection(self) -> None:
        """Write down a new connection; until then nothing is sent over it."""
        number = self._gateway.number
        if not self._gateway.up or self._parts.session is not None:
            return
        session = await self._transactions.run(sessions.begin, self._parts)
        if self._gateway.up and self._gateway.number == number:
            self._parts.session = session
            self._changed()

    async def _heartbeat(self) -> None:
        """The row that tells how the process is, and its incidents."""
        now, rounds = self._status(), self._reconciling.rounds
        mine = await self._transactions.run(
            process.report,
            self._parts.token,
            state=now.state,
            reason=now.reason,
            accounts=self._gateway.accounts,
            reconciled=rounds > self._reported_rounds,
            restarts_at=gate.next_restart(self._settings.gateway_restart_at, self._parts.clock.now_ns()),
        )
        self._reported_rounds = rounds
        if not mine:
            raise TakenOver
        circumstances = Circumstances(
            status=now,
            mode=self._settings.orders,
            guard=self._guard.refusal() if self._gateway.up else None,
            read_only=self._gateway.read_only,
            recording=self._writer.keeps_up,
            waiting_words=self._writer.waiting,
            lost_words=self._hearing.lost_words,
            breaks=self._accounts.breaks,
            commissions_missing=self._accounts.commissions_missing,
        )
        await self._incidents.keep(circumstances)

    def _tell(self) -> tuple[bool, dict[str, Any]]:
        now = self._status()
        return now.open, {
            "state": now.state,
            "reason": now.reason,
            "mode": self._settings.orders,
            "words": self._writer.recorded,
            "waiting_words": self._writer.waiting,
            "unnamed_orders": self._unnamed.count,
        }
