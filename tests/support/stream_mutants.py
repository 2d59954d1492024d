"""`python -m stream` with one rule of orders' events broken, for tests that must find that out."""

import asyncio
import sys
from typing import Any

from nautilus.orders import account_events
from stream import __main__ as program
from stream.listener import SocketListener
from stream.order_events import OrderEvents


def one_place() -> None:
    """The reader goes on from the highest id of all accounts."""
    after = account_events.after
    account_events.after = lambda cursor, seen, limit: after(cursor, dict.fromkeys(seen, max(seen.values())), limit)


def ahead_of_the_snapshot() -> None:
    """Events follow from where the account stands later, not from what the snapshot holds."""
    snapshot = OrderEvents.snapshot

    async def later(self: OrderEvents, account: str, read: Any) -> Any:
        found = await snapshot(self, account, read)
        self._cursors[account] = max(self._cursors[account], await _newer(self, account, found.newest))
        return found

    OrderEvents.snapshot = later  # type: ignore[method-assign]


def what_the_snapshot_holds_twice() -> None:
    """What comes while the snapshot is read follows it, also what the snapshot holds."""
    deliver, snapshot = SocketListener.deliver, OrderEvents.snapshot

    def all_of_it(self: SocketListener, subscription: Any, message: Any) -> None:
        subscription.version = 0
        deliver(self, subscription, message)

    async def behind(self: OrderEvents, account: str, read: Any) -> Any:
        start = self._cursors.setdefault(account, await _newer(self, account, -1))
        for _ in range(100):
            if self._cursors.get(account, 0) > start:
                break
            await asyncio.sleep(0.05)
        return await snapshot(self, account, read)

    SocketListener.deliver = all_of_it  # type: ignore[method-assign]
    OrderEvents.snapshot = behind  # type: ignore[method-assign]


async def _newer(events: OrderEvents, account: str, known: int) -> int:
    """The id of the account's last event, once there is one after a known one; the known one after five seconds."""
    newest = known
    for _ in range(100):
        newest = (await events._snapshots.run(events._in_transaction, lambda cursor: _Newest(cursor, account))).newest
        if newest > known:
            break
        await asyncio.sleep(0.05)
    return newest


class _Newest:
    def __init__(self, cursor: Any, account: str) -> None:
        self.newest = account_events.newest(cursor, account)


MUTANTS = {made.__name__: made for made in (one_place, ahead_of_the_snapshot, what_the_snapshot_holds_twice)}

if __name__ == "__main__":
    MUTANTS[sys.argv[1]]()
    program.main()
