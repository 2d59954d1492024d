"""What listeners and readers get of live data: collected for a beat, written to the database, then published on the bus.

Rows come first: a listener that joins reads them, and must not miss what was published before it joined. A database that is
away or silent costs the rows alone: publishing does not wait for it. The newest state is kept, bounded, and written when it
is back. Who joined meanwhile has read rows without the bars that had closed: these are then published again, and before that
when history confirms them.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from ib_bridge.live.outbox import Outbox, Rows
from nautilus.db.bridge import status
from nautilus.db.connection import Database
from nautilus.db.cursor import Cursor
from nautilus.db.live import provisional, quotes, streams
from nautilus.db.live.provisional import ProvisionalBar
from nautilus.errors import Unavailable
from nautilus.infra.bus.notifications import NotifyPublisher
from nautilus.infra.bus.publishing import Bus, Message, Publisher
from nautilus.infra.bus.redis_streams import RedisPublisher
from nautilus.infra.executors import Executor
from nautilus.process.transactions import TransactionRunner

__all__ = ["Publishing", "bus_of"]
_PATIENCE_S = 1.0
"""For so long messages wait for their rows."""
_MOST_EARLY = 5_000


class _Written(NamedTuple):
    """generation: the number of the one that was begun, as the table had been emptied; None when it was whole."""

    generation: int | None


def bus_of(database: Database, redis_url: str, store: str) -> Bus:
    """The bus of a store: over Redis where there is one, with notifications behind it."""
    ways: list[Publisher] = [RedisPublisher(redis_url, store)] if redis_url else []

    def database_ms() -> int:
        with database.transaction() as cursor:
            return status.machine_ms(cursor)

    return Bus([*ways, NotifyPublisher(database)], database_ms)


class Publishing:
    """One beat at a time. kept: the closed bars that history has not confirmed, which are written anew when the table of
    provisional bars was emptied; `lost` is called then."""

    def __init__(
        self,
        bridge: str,
        *,
        transactions: TransactionRunner,
        redis_url: str,
        kept: Callable[[], Iterable[ProvisionalBar]],
        lost: Callable[[], None],
        log: Any,
    ) -> None:
        self.outbox = Outbox()
        self._bridge = bridge
        self._database = transactions.database
        self._transactions = transactions
        self._redis_url = redis_url
        self._kept = kept
        self._lost = lost
        self._log = log
        self._bus: Bus | None = None
        self._thread = Executor("bus", 1)
        self._began = False
        self._writing: asyncio.Task[bool] | None = None
        self._early: list[Message] = []
        """Closed bars that were published before their rows were stored."""
        self.failing_since: float | None = None
        """Loop time since when nothing could be published."""

    async def beat(self, loop_s: float) -> None:
        """Write and publish what was collected."""
        covers = self._writing is None
        if self._writing is None:
            self._writing = asyncio.create_task(self._write(self.outbox.take_rows()))
        messages = self.outbox.take_messages()
        stored = await self._stored(self._writing)
        if covers and stored:
            messages = [*self._early, *messages]
            self._early = []
        else:
            early = self._early
            self._early = [*early, *filter(_is_closed, messages)][-_MOST_EARLY:]
            messages = _behind_what_they_confirm(early, messages)
        if not messages and self._bus is not None:
            return
        if await self._thread.run(self._publish, messages):
            self.failing_since = None
        elif self.failing_since is None:
            self.failing_since = loop_s

    async def _stored(self, writing: asyncio.Task[bool]) -> bool:
        """Wait a while for the rows to be stored; False where they are not."""
        await asyncio.wait({writing}, timeout=_PATIENCE_S)
        if not writing.done():
            return False
        self._writing = None
        return writing.result()

    async def _write(self, rows: Rows) -> bool:
        kept = list(self._kept()) if not self._began or rows.bars else []
        if not rows and self._began:
            return True
        try:
            written = await self._transactions.run(_write, self._bridge, rows, kept=kept, first=not self._began)
        except Unavailable as gone:
            self.outbox.put_back(rows)
            self._log.info("live-rows-not-stored", extra={"reason": gone.detail})
            return False
        if written.generation is not None and self._began:
            self._log.error("live-bars-lost", extra={"generation": written.generation})
            self._lost()
        self._began = True
        return True

    def _publish(self, messages: list[Message]) -> bool:
        try:
            if self._bus is None:
                with self._database.transaction() as cursor:
                    store = status.store(cursor).id
                self._bus = bus_of(self._database, self._redis_url, store)
            return self._bus.publish(messages)
        except Unavailable as gone:
            self._log.info("bus-delayed", extra={"reason": gone.detail})
            return False

    def activity(self) -> Mapping[str, Any]:
        """For the status of the bridge."""
        return {"bus_epoch": self._bus.epoch if self._bus else ""}

    async def close(self, loop_s: float) -> None:
        """The last beat, and one more where an earlier beat's rows were still being written: the last rows are written, too."""
        earlier = self._writing
        await self.beat(loop_s)
        if earlier is not None:
            await asyncio.wait({earlier})
            await self.beat(loop_s)
        if self._writing is not None:
            self._writing.cancel()
        if self._bus is not None:
            await self._thread.run(self._bus.close)


def _behind_what_they_confirm(early: list[Message], messages: list[Message]) -> list[Message]:
    """Messages behind the closed bars of the channels that they confirm.

    Who joined since those were published has read rows without them, and would take for confirmed the older bars that it has.
    Who joins later reads what history has stored.
    """
    confirmed = {message.channel for message in messages if message.kind == "confirmed"}
    return [*(message for message in early if message.channel in confirmed), *messages]


def _is_closed(message: Message) -> bool:
    return message.kind == "bar" and message.fields.get("state") == "closed"


def _write(cursor: Cursor, bridge: str, rows: Rows, *, kept: list[ProvisionalBar], first: bool) -> _Written:
    """All rows of a beat, of all series, in one transaction."""
    generation = None
    if first:
        provisional.remove_forming(cursor)
    if (first or rows.bars) and not provisional.is_whole(cursor):
        generation = provisional.begin_generation(cursor)
        provisional.put(cursor, kept)
    for series_id, start, end in rows.settled:
        provisional.remove(cursor, series_id, start, end)
    provisional.put(cursor, rows.bars.values())
    quotes.put(cursor, rows.quotes.values())
    streams.remove(cursor, bridge, rows.gone)
    streams.put(cursor, bridge, rows.streams.values())
    return _Written(generation)
