"""The pacing book in use: wait until the rules allow a request, write it down, and only then send it."""

import asyncio
import math
import time

from ib_bridge.ib.clock import MarketClock
from nautilus.backfill.pacing import MARGIN_NS, PacingLimits, Request, next_allowed
from nautilus.clock import NS_PER_S
from nautilus.db.cursor import Cursor
from nautilus.db.ledger import requests
from nautilus.errors import Unavailable
from nautilus.process.transactions import TransactionRunner

PATIENCE_NS = 10 * NS_PER_S
"""Longer than any rule but that of ten minutes makes a request wait."""
_MOST_WAIT_S = 60


class NotYet(Unavailable):
    """IB's limits allow a request only after `retry_after_s` (machine time): whoever asks had better do something else."""

    code = "pacing"


class Booking:
    """Requests that are no chunks (heads, schedules, contract details) are booked here; chunks in the worker."""

    def __init__(self, transactions: TransactionRunner, clock: MarketClock, bridge: str, limits: PacingLimits) -> None:
        self._transactions = transactions
        self._clock = clock
        self._bridge = bridge
        self.limits = limits

    async def book(
        self,
        login: str,
        kind: str,
        request: Request,
        *,
        correlation_id: str = "",
        series_id: int | None = None,
        patience_ns: int = PATIENCE_NS,
    ) -> int:
        """Wait for the request's turn and book it; returns its id in ib_requests. NotYet when its turn is more than `patience_ns`
        of market time off."""
        while True:
            booked, at = await self._transactions.run(
                self._try, login, kind, request=request, correlation_id=correlation_id, series_id=series_id
            )
            if booked is not None:
                await self.leaving(booked, at)
                return booked
            wait = at - self._clock.now_ns()
            if wait > patience_ns:
                rate = self._clock.reading.rate
                wait_s = min(_MOST_WAIT_S, math.ceil(wait / NS_PER_S / rate)) if rate > 0 else 1
                raise NotYet("IB's limits allow the next request later", retry_after_s=wait_s)
            await asyncio.sleep(self._clock.machine_s(wait))

    def _try(
        self,
        cursor: Cursor,
        login: str,
        kind: str,
        *,
        request: Request,
        correlation_id: str,
        series_id: int | None,
    ) -> tuple[int | None, int]:
        requests.lock(cursor, login)
        now = self._clock.now_ns()
        at = next_allowed(request, requests.book(cursor, login, now), now, self.limits)
        if at > now:
            return None, at
        return requests.insert(
            cursor,
            login,
            self._bridge,
            kind=kind,
            request=request,
            sent_at=now,
            series_id=series_id,
            correlation_id=correlation_id,
        ), now

    async def leaving(self, number: int, booked_at: int) -> None:
        """A booked request is about to be sent. One that is late (a slow commit, a machine that stood still) counts from
        now on, or those that are booked by its time would follow too soon."""
        now = self._clock.now_ns()
        if now - booked_at > MARGIN_NS // 2:
            await self._transactions.run(requests.left_at, number, now)

    async def close(
        self, number: int, outcome: str, began: float, *, ib_code: int | None = None, ib_text: str | None = None
    ) -> None:
        """Write down how a booked request ended; `began` is its time.monotonic()."""
        ms = round((time.monotonic() - began) * 1000)
        await self._transactions.run(requests.close, number, outcome, ms=ms, ib_code=ib_code, ib_text=ib_text)
