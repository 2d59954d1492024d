"""The stream of one process: what all its sockets share, and the loops that keep it going."""

import asyncio
import random
from contextlib import suppress

from nautilus.clock import SAME_TIME
from nautilus.db.bridge import status
from nautilus.db.bridge.status import BridgeStatus
from nautilus.db.connection import Database
from nautilus.db.live import wants as want_rows
from nautilus.db.orders import account_state
from nautilus.errors import NautilusError, Unavailable
from nautilus.http.services import Services
from nautilus.infra.bus.notifications import NotifyReader
from nautilus.infra.bus.redis_streams import RedisReader
from nautilus.infra.executors import Executor
from nautilus.infra.loops import Backoff, repeat
from nautilus.live.envelope import Entry
from nautilus.settings.stream import StreamLimits
from stream.bus import BusThread
from stream.hub import Hub
from stream.limits import CallerShares
from stream.listener import SocketListener
from stream.order_events import OrderEvents
from stream.page_accounts import PageAccounts
from stream.page_backtests import PageBacktests
from stream.resolving import Resolving
from stream.sign_in import SignIn, SignIns
from stream.snapshots import Snapshots
from stream.wants import Wants

POOL = 4
"""Connections to the database beside those that listen for notifications."""
WATCH_S = 3.0
"""How often ended sign-ins and the market's clock are read: a socket of an ended session is closed within 5 s."""
_TICK_S = 1.0
_LISTENING_S = 2.0
_ORDERS_BACKOFF = Backoff(0.5, 4.0)
"""Who watches orders and positions does not wait half a minute for a database that is back."""
RETRY_AFTER_S = (1.0, 10.0)
"""Between these seconds a client is to wait before it connects again after a restart."""


class Stream:
    """What serves the sockets of one process. Made within its event loop's process; `start` begins to read the bus."""

    def __init__(self, services: Services, limits: StreamLimits) -> None:
        self.limits = limits
        self.log = services.log
        self.services = services
        url = services.settings.database_url.get_secret_value()
        self.db = Database(
            url, name="nautilus-stream", size=POOL, statement_timeout_ms=services.settings.statement_timeout_ms
        )
        self.hub = Hub(services.log)
        self.shares = CallerShares(limits.stream_sockets_per_caller, limits.stream_quotes_per_caller)
        self.snapshots = Snapshots(self.db)
        self.resolving = Resolving(self.db)
        self.sign_in = SignIn(self.db, services.callers)
        self.wants = Wants(self.db)
        self.orders = OrderEvents(self.db, Database(url, name="nautilus-stream-orders", size=1), self.hub, services.log)
        self.page_accounts = PageAccounts(self.db)
        self.page_backtests = PageBacktests(self.db)
        self.open: set[SocketListener] = set()
        self.bridge: BridgeStatus | None = None
        self.accounts: frozenset[str] = frozenset()
        """Those that a gateway ever named."""
        self.own_quotes: dict[str, frozenset[int]] = {}
        """Caller -> instruments of which they want quotes by themselves, not through a socket."""
        self.ending = False
        self._redis_url = services.settings.redis_url.get_secret_value()
        self._threads: list[BusThread[Entry]] = []
        self._watching = Executor("stream-watch", 1)
        self._tasks: list[asyncio.Task[None]] = []

    # ---- begin and end -----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to read the bus and to keep leases; again: nothing."""
        if self._tasks:
            return
        self._tasks = [
            asyncio.create_task(repeat("stream-beat", self._beat, self.log)),
            asyncio.create_task(repeat("stream-tick", self._tick, self.log)),
            asyncio.create_task(repeat("stream-watch", self._watch, self.log)),
            asyncio.create_task(repeat("stream-wants", self.wants.keep, self.log)),
            asyncio.create_task(repeat("order-events", self.orders.step, self.log, backoff=_ORDERS_BACKOFF)),
            asyncio.create_task(repeat("page-accounts", self.page_accounts.step, self.log, backoff=_ORDERS_BACKOFF)),
            asyncio.create_task(repeat("page-backtests", self.page_backtests.step, self.log, backoff=_ORDERS_BACKOFF)),
            asyncio.create_task(repeat("stream-readers", self._start_readers, self.log)),
        ]

    async def _start_readers(self) -> None:
        """Read the bus once the store's id is known, by which its streams are named; then there is nothing to do."""
        if not self._threads:
            store = await self._watching.run(self._store)
            listens = Database(
                self.services.settings.database_url.get_secret_value(), name="nautilus-stream-bus", size=1
            )
            self._threads = [BusThread("notify", NotifyReader(listens), self.log)]
            if self._redis_url:
                self._threads.append(BusThread("redis", RedisReader(self._redis_url, store), self.log))
            for thread in self._threads:
                thread.start(asyncio.get_running_loop(), self.hub.receive, self.hub.heal_all)
        await asyncio.sleep(3_600)

    async def listening(self) -> None:
        """Wait briefly until the bus is read, so that snapshots are not read before it. Later readers heal what they missed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_LISTENING_S):
                while not self._threads:
                    await asyncio.sleep(0.02)
                for thread in self._threads:
                    await thread.tried.wait()

    def _store(self) -> str:
        with self.db.transaction(snapshot=True, brief=True) as cursor:
            return status.store(cursor).id

    async def end(self) -> None:
        """Say goodbye to all sockets, in random order over a while, and want nothing any more."""
        self.ending = True
        leaving = list(self.open)
        random.shuffle(leaving)
        pause_s = self.limits.stream_bye_s / len(leaving) if leaving else 0.0
        for listener in leaving:
            listener.end(1012, "the server restarts")
            await asyncio.sleep(pause_s)
        for thread in self._threads:
            thread.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with suppress(NautilusError):
            await asyncio.wait_for(self.wants.drop_all(), 3.0)
        self.close()

    def close(self) -> None:
        for one in (self.snapshots, self.resolving, self.sign_in, self.wants, self.orders):
            one.close()
        self.page_accounts.close()
        self.page_backtests.close()
        self._watching.close()
        self.db.close()

    def check_open(self) -> None:
        """Unavailable while the process ends: it takes no new sockets."""
        if self.ending:
            raise Unavailable("the server restarts; connect again", code="restarting", retry_after_s=2)

    # ---- sockets -----------------------------------------------------------------------------------------------------

    def add(self, listener: SocketListener) -> None:
        """Count a socket of a caller. RateLimited: it is one too many."""
        self.shares.open(listener.caller.id)
        self.open.add(listener)
        self.hub.open(listener)

    def remove(self, listener: SocketListener) -> None:
        if listener in self.open:
            self.open.discard(listener)
            self.shares.close(listener.caller.id)

    def health(self) -> dict[str, object]:
        """What the health page says: ok while some way of the bus can be read. orders_age_s: how long ago the events of orders
        were read; None while nobody follows an account."""
        age_s = self.orders.age_s
        return {
            "ok": any(thread.works for thread in self._threads),
            "epoch": self.hub.epoch,
            "lag_ms": self.hub.lag_ms,
            "sockets": len(self.open),
            "orders_age_s": None if age_s is None else round(age_s, 1),
        }

    # ---- loops -------------------------------------------------------------------------------------------------------

    async def _beat(self) -> None:
        await asyncio.sleep(self.limits.stream_beat_ms / 1000)
        await self.hub.beat()

    async def _tick(self) -> None:
        await asyncio.sleep(_TICK_S)
        now = self.hub.clock()
        for listener in list(self.open):
            listener.tick(now)

    async def _watch(self) -> None:
        """Hold sockets to what their sign-ins may have, and learn how market time runs and what callers want by themselves."""
        if self.open:
            known = {listener.caller for listener in self.open}
            standing = await self.sign_in.standing(known)
            for listener in [one for one in self.open if one.caller in known]:
                self._check_sign_in(listener, standing)
        machine_ns = await self._watching.run(self._read)
        self.hub.set_clocks(machine_ns, self.bridge.clock if self.bridge is not None else SAME_TIME)
        await asyncio.sleep(WATCH_S)

    def _check_sign_in(self, listener: SocketListener, standing: SignIns) -> None:
        """Close a socket whose sign-in has ended, and take from it the channels that its caller may not have any more."""
        now = standing.now(listener.caller)
        if now is None:
            listener.end(4401, "the sign-in has ended")
        elif now != listener.caller:
            listener.become(now)

    def _read(self) -> int:
        """Read what sockets go by; returns machine time by the database's clock, in ns."""
        with self.db.transaction(snapshot=True, brief=True) as cursor:
            machine_ns, self.bridge = status.machine_now(cursor), status.latest(cursor)
            rows, self.accounts = want_rows.current(cursor), frozenset(account_state.names(cursor))
        quotes: dict[str, set[int]] = {}
        for row in rows:
            if row.kind == "quotes" and row.owner.startswith("user:"):
                quotes.setdefault(row.owner, set()).add(row.con_id)
        self.own_quotes = {owner: frozenset(con_ids) for owner, con_ids in quotes.items()}
        return machine_ns
