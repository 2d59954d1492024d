"""Knowing what IB has: the questions after each connection, each outage and each silence, and now and then anyway."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import date
from datetime import time as day_time
from zoneinfo import ZoneInfo

from ib_bridge.orders.parts import OrderParts
from ib_bridge.orders.questions import Questions, Refused
from ib_bridge.orders.unnamed import UnnamedOrders
from ib_bridge.orders.unsure_modifies import UnsureModifies
from nautilus.clock import datetime_of

_OPEN_S = 60.0
_ALL_S = 300.0
"""Open orders are requested each minute, all three each five minutes, in machine time: a word of IB may be lost."""
_REFUSED_S = 5.0
"""A read-only gateway is asked again so much later: whether its box was unticked, it does not say by itself."""
_SWEEP_S = 1.0
_LEAST_S = 0.1
"""While questions are due and not possible, as the connection is away, it looks so often whether they are."""
_EVES = (day_time(23, 50), day_time(0, 5))
"""IB forgets executions at midnight of the login's zone: ask before, and after."""


class Reconciling:
    """is_possible: whether questions may go out now. changed: is called when the result is another one."""

    def __init__(
        self,
        parts: OrderParts,
        questions: Questions,
        unnamed: UnnamedOrders,
        *,
        is_possible: Callable[[], bool],
        changed: Callable[[], None],
    ) -> None:
        self._parts = parts
        self._questions = questions
        self._unnamed = unnamed
        self._modifies = UnsureModifies(parts)
        self._is_possible = is_possible
        self._changed = changed
        self._wake = asyncio.Event()
        self._all_wanted = False
        self._executions_wanted = self._open_wanted = False
        self._epoch = -1
        self._open_at = self._all_at = time.monotonic()
        self._eve: tuple[date, day_time] | None = None
        self._not_before = 0.0
        self.rounds = 0
        """How many times all three questions were answered."""

    @property
    def done(self) -> bool:
        """True when IB was asked since the last thing that made what we know doubtful."""
        return self._epoch == self._parts.gateway.epoch

    def want(self) -> None:
        """All three questions, as soon as can be: IB was silent, or sent what does not fit."""
        self._all_wanted = True
        self._wake.set()

    def want_executions(self) -> None:
        """Executions alone: a status says more than the fills that came."""
        self._executions_wanted = True
        self._wake.set()

    def want_open(self) -> None:
        """Open orders alone: IB changed something about one."""
        self._open_wanted = True
        self._wake.set()

    def wake(self) -> None:
        """Something about the connection is different."""
        self._wake.set()

    async def step(self) -> None:
        """Wait until there is a question, and send it. Unavailable: no answer, or no database; what was wanted still is."""
        await self._wait()
        if not self._is_possible():
            return
        now = time.monotonic()
        if now < self._not_before:
            return
        if self._all_wanted or not self.done or now - self._all_at >= _ALL_S or self._is_eve():
            self._all_wanted = True
            await self._ask_all_or_wait()
        elif self._executions_wanted:
            await self._questions.ask_executions()
            self._executions_wanted = False
        elif self._open_wanted or now - self._open_at >= _OPEN_S:
            self._open_at = now
            await self._questions.ask_open()
            self._open_wanted = False

    async def _wait(self) -> None:
        """Until somebody wakes it, or what IB did not name is to be requested again, or a second has passed.

        The pause counts from the last answers, so that who wakes it often does not put the next question off for ever.
        """
        pauses = [one for one in (self._unnamed.pause_s(), self._modifies.pause_s()) if one is not None]
        due = self._all_at + min(pauses) if pauses else None
        left_s = _SWEEP_S if due is None else min(max(due - time.monotonic(), _LEAST_S), _SWEEP_S)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), left_s)
        self._wake.clear()
        self._all_wanted |= due is not None and time.monotonic() >= due

    async def _ask_all_or_wait(self) -> None:
        try:
            await self._ask_all()
        except Refused:
            self._not_before = time.monotonic() + _REFUSED_S

    async def _ask_all(self) -> None:
        candidates = await self._parts.transactions.run(self._unnamed.candidates)
        modifies = await self._parts.transactions.run(self._modifies.candidates)
        answers = await self._questions.ask_all()
        if answers.epoch != self._parts.gateway.epoch:
            self._wake.set()  # something happened meanwhile: ask once more
            return
        self._all_at = self._open_at = time.monotonic()
        tries = len(self._parts.settings.orders_ask_again_s) + 1
        for row in self._unnamed.note(candidates, answers):
            if await self._parts.transactions.run(self._unnamed.mark, row, tries):
                self._parts.log.error("order-unknown", extra={"order_id": str(row.id)})
            self._unnamed.forget([row.id])
        for request in self._modifies.note(modifies, answers):
            if await self._parts.transactions.run(self._modifies.end, request):
                self._parts.log.warning("modify-not-taken", extra={"order_id": str(request.order_id)})
        self._epoch = answers.epoch
        self._all_wanted = self._executions_wanted = self._open_wanted = False
        self.rounds += 1
        self._changed()

    def _is_eve(self) -> bool:
        """True once at ten to midnight, and once at five past."""
        local = datetime_of(self._parts.clock.now_ns()).astimezone(ZoneInfo(self._parts.settings.orders_zone))
        past = [at for at in _EVES if local.time() >= at]
        before, self._eve = self._eve, (local.date(), max(past)) if past else self._eve
        return before is not None and before != self._eve
