"""The accounts of the login: their values, positions and profits as streams, and what is checked about them.

This process owns these streams, for all others: IB gives an account's values to one subscription a connection, and repeats
them each three minutes.
"""

import asyncio
import time
from collections.abc import Callable

from ib_bridge.orders.parts import OrderParts
from ib_bridge.orders.questions import Questions
from nautilus.db.cursor import Cursor
from nautilus.db.orders import executions, positions, risk_book
from nautilus.db.orders.positions import BreakRow

_STEP_S = 1.0
_SETTLED_S = 2.0
"""Positions are compared so long after the last fill, in machine time: IB tells fill and position apart."""
_BREAK_AFTER_S = 30.0
"""A difference that lasts so long, with executions requested again, is a break."""
_SWEEP_S = 60.0
_MISSING_AFTER_S = 900.0
"""Commissions come seconds after their fills; one that is not there after a quarter of an hour is an incident."""


class Accounts:
    """ask_executions: has them requested. Its `step` is a loop's."""

    def __init__(self, parts: OrderParts, questions: Questions, *, ask_executions: Callable[[], None]) -> None:
        self._parts = parts
        self._questions = questions
        self._ask_executions = ask_executions
        self._subscribed = 0
        self._moved_at: float | None = None
        self._positions_known = False
        self._differs_since: dict[tuple[str, int], float] = {}
        self._swept_at = 0.0
        self.breaks: list[BreakRow] = []
        self.commissions_missing = 0

    # ---- the streams -------------------------------------------------------------------------------------------------

    async def subscribe(self) -> None:
        """Ask for the streams of each account, once a connection."""
        gateway = self._parts.gateway
        if not gateway.up or self._subscribed == gateway.number:
            return
        number = gateway.number
        for account in gateway.accounts:
            await self._parts.pacer.passed(2, urgent=True)
            if gateway.number != number or not gateway.up:
                return
            gateway.client.reqAccountUpdatesMulti(gateway.request_id(), account, "", False)
            profit = gateway.request_id()
            gateway.pnl_requests[profit] = (account, None)
            gateway.client.reqPnL(profit, account, "")
        self._subscribed = number
        self._positions_known = False

    # ---- what comes --------------------------------------------------------------------------------------------------

    def positions_complete(self) -> None:
        """IB has sent all positions of this connection."""
        self._positions_known = True
        self._moved_at = time.monotonic()

    def moved(self) -> None:
        """A fill or a position was committed."""
        self._moved_at = time.monotonic()

    # ---- looking after them ------------------------------------------------------------------------------------------

    async def step(self) -> None:
        """Subscribe, compare positions that have settled, and look for commissions that are missing."""
        await asyncio.sleep(_STEP_S)
        gateway = self._parts.gateway
        if not gateway.up:
            return
        try:
            await self.subscribe()
        except ConnectionError:
            return
        if self._parts.settings.orders == "off" and not self._positions_known:
            await self._questions.ask_positions()
        now = time.monotonic()
        if self._moved_at is not None and now - self._moved_at >= _SETTLED_S and self._positions_known:
            self._moved_at = None
            await self._compare(now)
        elif self._differs_since:
            await self._compare(now)
        if now - self._swept_at >= _SWEEP_S:
            self._swept_at = now
            await self._sweep_commissions()

    async def _compare(self, now: float) -> None:
        """Ask for executions at the first sight of a difference; write a break when it lasts."""
        found = await self._parts.transactions.run(self._differences)
        self._differs_since = {key: self._differs_since.get(key, now) for key in found}
        if any(since == now for since in self._differs_since.values()):
            self._ask_executions()
        lasting = any(now - since >= _BREAK_AFTER_S for since in self._differs_since.values())
        if lasting or self.breaks:
            self.breaks = await self._parts.transactions.run(self._write_breaks)
            if not self.breaks:
                self._differs_since = {}

    def _differences(self, cursor: Cursor) -> list[tuple[str, int]]:
        return [
            (row.account, row.con_id)
            for account in self._parts.gateway.accounts
            for row in positions.differences(cursor, account)
        ]

    def _write_breaks(self, cursor: Cursor) -> list[BreakRow]:
        found: list[BreakRow] = []
        for account in sorted(self._parts.gateway.accounts):
            risk_book.lock_account(cursor, account)
            found += positions.compare(cursor, account).open
        return found

    async def _sweep_commissions(self) -> None:
        """IB's answer to the question for executions has the commissions that did not come by themselves."""
        missing = await self._parts.transactions.run(executions.without_commission, _SWEEP_S)
        if missing:
            self._ask_executions()
        old = await self._parts.transactions.run(executions.without_commission, _MISSING_AFTER_S)
        self.commissions_missing = len(old)
