"""The accounts of the login: their streams, which this process owns for all others, and what is checked and kept of them."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

from ib_bridge.orders.account_streams import AccountStreams
from ib_bridge.orders.commissions import Commissions
from ib_bridge.orders.equity_book import EquityBook
from ib_bridge.orders.parts import OrderParts
from ib_bridge.orders.questions import Questions
from nautilus.db.cursor import Cursor
from nautilus.db.orders import positions, risk_book
from nautilus.db.orders.positions import BreakRow
from nautilus.db.portfolio import broker

_STEP_S = 1.0
_SETTLED_S = 2.0
"""Positions are compared so long after the last fill, in machine time: IB tells fill and position apart."""
_BREAK_AFTER_S = 30.0
"""A difference that lasts so long, with executions requested again, is a break."""


class Accounts:
    """ask_executions: has them requested. Its `step` is a loop's."""

    def __init__(self, parts: OrderParts, questions: Questions, *, ask_executions: Callable[[], None]) -> None:
        self._parts = parts
        self._questions = questions
        self._ask_executions = ask_executions
        self._streams = AccountStreams(parts)
        self._equity = EquityBook(parts, self._streams.standing)
        self._commissions = Commissions(parts, ask_executions)
        self._moved_at: float | None = None
        self._positions_of = 0
        self._differs_since: dict[tuple[str, int], float] = {}
        self._breaks_read = False
        self.breaks: list[BreakRow] = []

    @property
    def commissions_missing(self) -> int:
        """How many executions stay without a commission."""
        return self._commissions.missing

    # ---- what comes --------------------------------------------------------------------------------------------------

    def positions_complete(self) -> None:
        """IB has sent all positions of this connection."""
        self._positions_of = self._parts.gateway.number
        self._moved_at = time.monotonic()

    def moved(self) -> None:
        """A fill or a position was committed."""
        self._moved_at = time.monotonic()

    @property
    def _positions_known(self) -> bool:
        return self._positions_of == self._parts.gateway.number

    # ---- looking after them ------------------------------------------------------------------------------------------

    async def step(self) -> None:
        """Keep the streams, compare positions that have settled, look for commissions, and write down what there is of value."""
        await asyncio.sleep(_STEP_S)
        gateway = self._parts.gateway
        if not gateway.up:
            return
        with suppress(ConnectionError):
            await self._streams.step()
        if not gateway.up:
            return
        if self._parts.settings.orders == "off" and not self._positions_known:
            await self._questions.ask_positions()
        now = time.monotonic()
        if self._moved_at is not None and now - self._moved_at >= _SETTLED_S and self._positions_known:
            self._moved_at = None
            await self._compare(now)
        elif self._differs_since:
            await self._compare(now)
        await self._commissions.check()
        await self._equity.keep()

    async def _compare(self, now: float) -> None:
        """Ask for executions at the first sight of a difference; write a break when it lasts."""
        if not self._breaks_read:
            self.breaks = await self._parts.transactions.run(positions.open_breaks, self._parts.gateway.accounts)
            self._breaks_read = True
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
        """Contracts of which IB says something else; of accounts where it does not, that is written down."""
        found: list[tuple[str, int]] = []
        for account in sorted(self._parts.gateway.accounts):
            risk_book.lock_account(cursor, account)
            different = positions.differences(cursor, account)
            found += [(row.account, row.con_id) for row in different]
            if not different:
                broker.verify_equal(cursor, account)
        return found

    def _write_breaks(self, cursor: Cursor) -> list[BreakRow]:
        found: list[BreakRow] = []
        for account in sorted(self._parts.gateway.accounts):
            risk_book.lock_account(cursor, account)
            found += positions.compare(cursor, account).open
        return found
