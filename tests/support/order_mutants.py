"""The order process with one of its laws broken: `python -m tests.support.order_mutants send-before-commit`.

Each mutant is what a change of a few lines could make of it. A run of chaos must find each of them.
"""

import asyncio
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from ib_bridge.orders import __main__ as started
from ib_bridge.orders.accounts import Accounts
from ib_bridge.orders.sender import FREED, Sender
from ib_bridge.orders.unnamed import UnnamedOrders
from ib_bridge.orders.word_writer import Arrival, Committed, WordWriter, _recorded
from nautilus.db.cursor import Cursor
from nautilus.db.orders import executions, orders
from nautilus.db.orders.events import Event
from nautilus.db.orders.orders import OrderRow
from nautilus.orders import draft
from nautilus.orders.draft import Draft
from nautilus.orders.words import Commission
from nautilus.process import running


class _RolledBack(Exception):
    pass


def send_before_commit() -> None:
    """The order is written, and then the commit announces it."""

    async def send(self: Sender, first: OrderRow) -> bool:
        if not self._is_open() or self._doubtful(first.account, first.con_id):
            return False
        prepared = await self._parts.transactions.run(self._reserve, first)
        if prepared is None:
            return False
        await self._parts.pacer.passed(len(prepared.rows))
        if self._may_write(prepared):
            self._write(prepared)
        return bool(await self._parts.transactions.run(self._announce, prepared))

    Sender._send = send  # type: ignore[method-assign]


def resend_what_is_not_found() -> None:
    """An order that IB does not name is accepted again, and so it is sent once more."""

    def mark(self: UnnamedOrders, cursor: Cursor, row: OrderRow, seen: int) -> bool:
        now = orders.lock_with_book(cursor, row.id)
        if now is None or now.state != row.state or now.version != row.version:
            return False
        text = f"{seen} rounds of questions did not name it"
        orders.update(cursor, now, FREED, Event("freed", "process", self._parts.clock.now_ns(), text))
        return True

    UnnamedOrders.mark = mark  # type: ignore[method-assign]


def act_before_commit() -> None:
    """What follows from a word is done when its meaning is known, and the word is stored afterwards."""
    run, write = WordWriter.run, WordWriter._write

    async def run_in(self: Any) -> None:
        self._loop = asyncio.get_running_loop()
        await run(self)

    def write_late(self: Any, batch: Sequence[Arrival]) -> list[Committed]:
        with suppress(_RolledBack), self._database.transaction() as cursor:
            done = list(_recorded(cursor, batch))
            raise _RolledBack
        self._loop.call_soon_threadsafe(self._committed, done)
        time.sleep(0.3)
        return write(self, batch)

    WordWriter.run = run_in  # type: ignore[method-assign]
    WordWriter._write = write_late  # type: ignore[method-assign]


def keep_one_perm_id() -> None:
    """An order has the permId that IB named first, whatever it names later."""

    def learn(self: Draft, perm_id: int) -> bool:
        if perm_id and not self.now.perm_ids:
            self.now = replace(self.now, perm_ids=(perm_id,))
        return False

    Draft.learn_perm_id = learn  # type: ignore[method-assign]


def take_ib_s_position() -> None:
    """Where IB's position is another one, it is ours from then on, and nobody has to say why."""

    def adopt(cursor: Cursor) -> None:
        cursor.execute(
            "UPDATE risk_book k SET position = b.quantity FROM broker_positions b"
            " WHERE (b.account, b.con_id) = (k.account, k.con_id) AND b.quantity <> k.position"
        )

    async def compare(self: Accounts, now: float) -> None:
        await self._parts.transactions.run(adopt)

    Accounts._compare = compare  # type: ignore[method-assign]


def forget_early_commissions() -> None:
    """A commission that comes before its execution is not kept."""
    keep = executions.commission

    def commission(cursor: Cursor, word: Commission) -> bool:
        known = keep(cursor, word)
        cursor.execute("DELETE FROM early_commissions WHERE exec_id = %s", (word.exec_id,))
        return known

    executions.commission = commission


def lose_status_ranks() -> None:
    """Of IB's status words the last one is kept, however late it is."""
    draft.BROKER_RANKS = {}


MUTANTS: dict[str, Callable[[], None]] = {
    "none": lambda: None,
    "send-before-commit": send_before_commit,
    "resend-what-is-not-found": resend_what_is_not_found,
    "act-before-commit": act_before_commit,
    "lose-status-ranks": lose_status_ranks,
    "forget-early-commissions": forget_early_commissions,
    "keep-one-perm-id": keep_one_perm_id,
    "take-ib-s-position": take_ib_s_position,
}


if __name__ == "__main__":
    MUTANTS[sys.argv[1]]()
    running.leave(started.main())
