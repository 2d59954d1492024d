"""Reading what happens to orders, for all sockets of a process: events of the accounts that somebody follows, in the order of
their commits, each passed on once.

The rows are the truth. A notification only says when to read; where it is lost, the read of each second finds them. The
reader keeps the last id of each account, as ids of two accounts may be committed in another order than they were given.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Protocol, TypeVar

from nautilus.db.connection import Database
from nautilus.db.cursor import Cursor
from nautilus.db.live.notifications import Notifications
from nautilus.db.orders import notifications
from nautilus.errors import Unavailable
from nautilus.infra.executors import Executor
from nautilus.live.channels import FILLS, ORDERS, Channel
from nautilus.log import Log
from nautilus.orders import account_events
from stream import messages
from stream.bus import BusThread
from stream.frames import BusMessage
from stream.hub import Hub
from stream.order_messages import event_messages

SWEEP_S = 1.0
_PAUSE_S = 0.02
"""Between two reads, so that a burst of events costs fifty reads a second at most."""
_AT_ONCE = 500
_BLOCK_S = 0.5


class HasNewest(Protocol):
    """What was read of an account in one transaction. newest: id of its last event there."""

    @property
    def newest(self) -> int: ...


T = TypeVar("T", bound=HasNewest)


class _Wakes:
    """Reads the notifications about orders."""

    def __init__(self, database: Database) -> None:
        self._notifications = Notifications(database, notifications.EVENTS)

    def read(self) -> list[str]:
        return self._notifications.read(_BLOCK_S)

    def close(self) -> None:
        self._notifications.close()


class OrderEvents:
    """Passes the events of accounts on to the sockets that have their channels.

    listens: a database with one connection, for notifications; it is used from the first account on. state: whether the
    events can be read, as channels tell it. read_at: when they were read last, by the hub's clock.
    """

    def __init__(self, database: Database, listens: Database, hub: Hub, log: Log) -> None:
        self.state: Mapping[str, str] = {"state": "live", "reason": ""}
        self.read_at = hub.clock()
        self._db = database
        self._hub = hub
        self._log = log
        self._cursors: dict[str, int] = {}
        """Account -> id of the last event that was passed on."""
        self._woken = asyncio.Event()
        self._reads = Executor("order-events", 1)
        self._snapshots = Executor("order-snapshots", 1)
        self._wakes = BusThread("orders", _Wakes(listens), log)
        self._listening = False

    def cursor(self, account: str) -> int:
        """The id of the last event of an account that was passed on; 0: none."""
        return self._cursors.get(account, 0)

    @property
    def age_s(self) -> float | None:
        """How long ago the events were read; None while nobody follows an account."""
        return self._hub.clock() - self.read_at if self._cursors else None

    async def snapshot(self, account: str, read: Callable[[Cursor], T]) -> T:
        """What `read` finds of an account in one transaction; every event that comes later is passed on.

        The caller has a channel of the account already. Unavailable: the database is away.
        """
        while True:
            followed = account in self._cursors
            found = await self._snapshots.run(self._in_transaction, read)
            if self._cursors.setdefault(account, found.newest) <= found.newest or followed:
                self._woken.set()
                return found
            # Somebody else began to follow it meanwhile, and from a later event on.

    def _in_transaction(self, read: Callable[[Cursor], T]) -> T:
        with self._db.transaction(snapshot=True, brief=True) as cursor:
            return read(cursor)

    # ---- the loop ----------------------------------------------------------------------------------------------------

    async def step(self) -> None:
        """Wait until somebody says that something happened, or a second has passed; then pass on what did."""
        with suppress(TimeoutError):
            async with asyncio.timeout(SWEEP_S):
                await self._woken.wait()
        self._woken.clear()
        self._forget()
        if not self._cursors:
            return
        self._listen()
        try:
            found = await self._reads.run(self._read, dict(self._cursors))
        except Exception as failed:
            self._show("stale", "database_away" if isinstance(failed, Unavailable) else "internal_error")
            raise
        self.read_at = self._hub.clock()
        self._show("live", "")
        for message in found:
            self._hub.tell(message)
            self._cursors[message.fields["account"]] = message.version
        if len(found) >= _AT_ONCE:
            self._woken.set()  # there may be more
        await asyncio.sleep(_PAUSE_S)

    def _read(self, cursors: Mapping[str, int]) -> list[BusMessage]:
        with self._db.transaction(snapshot=True, brief=True) as cursor:
            found = account_events.after(cursor, cursors, _AT_ONCE)
        return event_messages(found)

    def _forget(self) -> None:
        """Accounts that nobody follows any more are not read."""
        for account in [account for account in self._cursors if not self._followed(account)]:
            del self._cursors[account]

    def _followed(self, account: str) -> bool:
        return any(self._hub.has(Channel(kind, subject=account).name) for kind in (ORDERS, FILLS))

    def _listen(self) -> None:
        if not self._listening:
            self._listening = True
            self._wakes.start(asyncio.get_running_loop(), lambda _, __: self._woken.set(), self._woken.set)

    def _show(self, state: str, reason: str) -> None:
        """Tell all channels when the events cannot be read any more, or can be again: silence would look like quiet."""
        if state == self.state["state"]:
            return
        self.state = {"state": state, "reason": reason}
        for account in self._cursors:
            for name in (Channel(kind, subject=account).name for kind in (ORDERS, FILLS)):
                self._hub.tell(BusMessage("stream", name, 0, messages.text("stream", {"c": name, **self.state}), {}))

    def close(self) -> None:
        self._wakes.stop()
        self._reads.close()
        self._snapshots.close()
