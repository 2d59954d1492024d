"""Calls that wait until an order is on its way, or until IB answers a request.

They hold no connection and no thread meanwhile, and take at most half of what the function can do at once, so that cancels
and the kill switch are never behind them.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

from nautilus.db.connection import Database
from nautilus.db.cursor import Cursor
from nautilus.db.orders import orders, requests, what_ifs
from nautilus.errors import Unavailable
from nautilus.infra.cache import Cache
from nautilus.infra.executors import Executor
from nautilus.orders.states import OPEN_REQUESTS, OrderState, RequestState

CONCURRENCY = 10
"""How many requests the function answers at once: its reserved concurrency in infra/template.yaml."""
MOST = CONCURRENCY // 2
LONGEST_S = 10
UNDER_WAY = frozenset({OrderState.ACCEPTED, OrderState.RESERVED, OrderState.SENDING})
"""States that say nothing yet of what IB makes of an order."""
UNDONE = OPEN_REQUESTS - {RequestState.UNKNOWN}
"""States of a request that say nothing yet of what IB makes of it."""
_POLL_S = 0.1
_EXPIRES_S = LONGEST_S + 5.0
"""A permit that is held for longer is free again: its process died."""
_KEY = "nautilus:orders:waiting"


class OrderWaits:
    """The calls that wait, of all instances of the function; Redis counts them.

    shared: other instances answer beside this one. Then nobody can count without Redis, and no call waits.
    """

    def __init__(self, database: Database, cache: Cache, *, shared: bool) -> None:
        self._db = database
        self._cache = cache
        self._shared = shared
        self._here = 0
        self._thread = Executor("order-waits", 1)

    async def until_on_its_way(self, order_id: UUID, wait_s: float) -> bool:
        """Wait until an order is not accepted, reserved or sending any more, or the time is over.

        False when too many calls wait already, so that this one does not.
        """
        return await self._until(_is_under_way, order_id, wait_s)

    async def until_answered(self, what_if_id: UUID, wait_s: float) -> bool:
        """Wait until IB's answer to a what-if order is stored, or it is known that none comes, or the time is over.

        False when too many calls wait already, so that this one does not.
        """
        return await self._until(_is_unanswered, what_if_id, wait_s)

    async def until_done(self, request_id: UUID, wait_s: float) -> bool:
        """Wait until IB has confirmed or refused a request to modify or cancel an order, or its fate is unknown, or the time
        is over.

        False when too many calls wait already, so that this one does not.
        """
        return await self._until(_is_undone, request_id, wait_s)

    async def _until(self, waits: Callable[[Cursor, UUID], bool], subject: UUID, wait_s: float) -> bool:
        async with self._place() as granted:
            if granted:
                await self._poll(waits, subject, wait_s)
            return granted

    async def _poll(self, waits: Callable[[Cursor, UUID], bool], subject: UUID, wait_s: float) -> None:
        clock = asyncio.get_running_loop().time
        until = clock() + wait_s
        while await self._thread.run(self._waits, waits, subject) and (left := until - clock()) > 0:
            await asyncio.sleep(min(_POLL_S, left))

    def _waits(self, waits: Callable[[Cursor, UUID], bool], subject: UUID) -> bool:
        """False, too, while the database is away: the caller gets an answer about the order, not about the wait."""
        try:
            with self._db.transaction(snapshot=True, brief=True) as cursor:
                return waits(cursor, subject)
        except Unavailable:
            return False

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[bool]:
        """One of the permits, as long as the block lasts; False when all are held."""
        if self._here >= MOST:
            yield False
            return
        holder, counted = uuid4().hex, None
        self._here += 1
        try:
            if self._cache.there:
                counted = await self._cache.threads.run(self._cache.hold, _KEY, holder, MOST, _EXPIRES_S)
            yield not self._shared if counted is None else counted
        finally:
            self._here -= 1
            if counted is not False and self._cache.there:  # also when Redis did not answer: it may have counted
                await self._cache.threads.run(self._cache.release, _KEY, holder)


def _is_under_way(cursor: Cursor, order_id: UUID) -> bool:
    row = orders.read(cursor, order_id)
    return row is not None and row.state in UNDER_WAY


def _is_undone(cursor: Cursor, request_id: UUID) -> bool:
    row = requests.read(cursor, request_id)
    return row is not None and row.state in UNDONE


def _is_unanswered(cursor: Cursor, what_if_id: UUID) -> bool:
    row = what_ifs.read(cursor, what_if_id)
    return row is not None and row.state in what_ifs.OPEN_STATES
