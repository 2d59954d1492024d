"""What the sockets of this process want, as one lease per channel in the ledger; the bridge makes streams of it.

However many sockets have a channel, the process wants it once, with the highest priority among them. A lease is renewed
three times in its life, so that a process that is killed wants nothing after a minute. While the database is away leases are
written again and again until they are there.
"""

import asyncio
import secrets
from collections.abc import Hashable
from contextlib import suppress

from nautilus.db.connection import Database
from nautilus.db.live import wants
from nautilus.db.live.wants import WantKey, WantRow
from nautilus.infra.executors import Executor
from nautilus.live.channels import Channel
from nautilus.live.subscriptions import Priority
from nautilus.market.instrument import Instrument, session_kind

LEASE_S = 60.0
RENEWED_S = 20.0


def key_of(channel: Channel, instrument: Instrument) -> WantKey:
    """What a channel of an instrument wants."""
    if channel.tick_price:
        return WantKey(instrument.con_id, "ticks", price=channel.tick_price)
    if channel.kind == "data.quotes":
        return WantKey(instrument.con_id, "quotes")
    price = channel.price_kind(instrument.asset_class)
    session = session_kind(instrument.asset_class, channel.session or None)
    return WantKey(instrument.con_id, "bars", channel.timeframe, price, session)


class Wants:
    """The wants of one process. owner: their name in the ledger."""

    def __init__(self, database: Database) -> None:
        self.owner = f"stream:{secrets.token_hex(6)}"
        self._db = database
        self._threads = Executor("wants", 1)
        self._held: dict[WantKey, dict[Hashable, int]] = {}
        self._written: dict[WantKey, int] = {}
        self._changed = asyncio.Event()
        self._written_at = float("-inf")

    def add(self, key: WantKey, holder: Hashable, *, chart: bool) -> None:
        """A socket wants something; chart: somebody looks at it."""
        self._held.setdefault(key, {})[holder] = Priority.CHART if chart else Priority.SOCKET
        self._changed.set()

    def remove(self, key: WantKey, holder: Hashable) -> None:
        """A socket wants it no longer."""
        holders = self._held.get(key, {})
        holders.pop(holder, None)
        if not holders:
            self._held.pop(key, None)
        self._changed.set()

    async def keep(self) -> None:
        """One step of the loop that writes: at once after a change, else when leases are to be renewed."""
        loop = asyncio.get_running_loop()
        with suppress(TimeoutError):  # Python 3.11's wait_for forgets a cancellation that comes with what it waits for
            async with asyncio.timeout(max(0.0, self._written_at + RENEWED_S - loop.time())):
                await self._changed.wait()
        self._changed.clear()
        wanted = {key: max(holders.values()) for key, holders in self._held.items()}
        due = loop.time() - self._written_at >= RENEWED_S
        put = wanted if due else {key: p for key, p in wanted.items() if self._written.get(key) != p}
        gone = [key for key in self._written if key not in wanted]
        if put or gone:
            try:
                await self._threads.run(self._write, put, gone)
            except BaseException:
                self._changed.set()
                raise
            self._written = wanted
        if due:
            self._written_at = loop.time()

    def _write(self, put: dict[WantKey, int], gone: list[WantKey]) -> None:
        with self._db.transaction() as cursor:
            wants.put(cursor, self.owner, [WantRow(*key, priority) for key, priority in put.items()], LEASE_S)
            if gone:
                wants.drop(cursor, self.owner, gone)

    async def drop_all(self) -> None:
        """Want nothing any more."""
        self._held.clear()
        await self._threads.run(self._drop_all)

    def _drop_all(self) -> None:
        with self._db.transaction() as cursor:
            wants.drop(cursor, self.owner, None)

    def close(self) -> None:
        self._threads.close()
