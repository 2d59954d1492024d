"""The kill switch, as far as IB is concerned: cancels by rows are in `changes`; here is what goes beyond them.

`everything` is IB's global cancel, which takes orders of TWS and of other programs, too. It is done when IB shows that nothing
of the account is open. A signal needs nothing but this process: it halts at once, without the database.
"""

import time
from collections.abc import Callable
from typing import NamedTuple
from uuid import UUID

from ib_bridge.orders.parts import OrderParts
from nautilus.db.cursor import Cursor
from nautilus.db.orders import orders, outgoing, risk_book, trading_state
from nautilus.db.orders.orders import OrderRow
from nautilus.db.orders.outgoing import KillOrder
from nautilus.errors import Unavailable
from nautilus.orders import change
from nautilus.orders.flatten import flatten
from nautilus.orders.kill import is_entry
from nautilus.orders.market_facts import market_facts
from nautilus.orders.placing_rows import Caller
from nautilus.orders.states import AT_BROKER, OrderState
from nautilus.orders.tightening import tighten_all

_ASK_AGAIN_S = 1.0
_BY_SIGNAL = "signal SIGUSR1"


class _GlobalCancel(NamedTuple):
    """When what is left for a kill order was last requested of IB. rounds: how many there had been before."""

    connection: int
    rounds: int
    at: float


class Killing:
    """ask: wants the three questions. rounds: how many rounds of them were answered."""

    def __init__(self, parts: OrderParts, *, ask: Callable[[], None], rounds: Callable[[], int]) -> None:
        self._parts = parts
        self._ask = ask
        self._rounds = rounds
        self._sent: dict[UUID, _GlobalCancel] = {}
        self._own: list[OrderRow] = []
        self._rows_due = False
        self.halted = False
        """True from the signal on, until the process is started anew."""

    # ---- the signal --------------------------------------------------------------------------------------------------

    def halt(self) -> None:
        """Send nothing any more but cancels, and cancel our entries: at once, whether there is a database or not."""
        self.halted = True
        self._rows_due = True
        self._parts.log.critical("orders-halted", extra={"by": _BY_SIGNAL, "orders": len(self._own)})
        if self._parts.settings.orders == "off":
            return
        accounts = self._parts.gateway.accounts if self._parts.gateway.up else ()
        for row in self._own:
            if is_entry(row) and row.order_id and row.client_id == self._parts.client_id and row.account in accounts:
                self._parts.pacer.count()
                self._parts.gateway.client.cancelOrder(row.order_id)

    # ---- the loop ----------------------------------------------------------------------------------------------------

    async def step(self) -> None:
        """Keep what the signal needs, write the rows that follow it, and do what kill orders ask for."""
        run = self._parts.transactions.run
        self._own = await run(orders.in_state, sorted(AT_BROKER))
        if self._rows_due:
            await run(self._write_halt)
            self._rows_due = False
        if self._parts.settings.orders == "off" or not self._parts.gateway.up:
            return
        for tightened in await run(tighten_all, self._parts.clock.now_ns()):
            self._parts.log.warning("trading-tightened", extra={"state": tightened.state, "reason": tightened.reason})
        for kill in await run(outgoing.open_kill_orders):
            await self._do(kill)

    def _write_halt(self, cursor: Cursor) -> None:
        """The rows that the signal could not wait for: the trading state, and a request for each cancel that was sent."""
        risk_book.lock_accounts(cursor, {row.account for row in self._own})
        reason = "halted by a signal to the order process"
        trading_state.tighten(cursor, trading_state.ALL, "halted", reason=reason, set_by=_BY_SIGNAL)
        for row in filter(is_entry, self._own):
            change.cancel(cursor, row.id, Caller(_BY_SIGNAL), now=self._parts.clock.now_ns(), source="process")

    async def _do(self, kill: KillOrder) -> None:
        """Send the global cancel once a connection, ask IB what is left, and finish when that is nothing."""
        gateway = self._parts.gateway
        if kill.account not in (trading_state.ALL, *gateway.accounts):
            text = f"the gateway is logged in to {', '.join(gateway.accounts)}, where {kill.account} is none of the accounts"
            await self._parts.transactions.run(outgoing.note_kill_order, kill.id, text)
            return
        before = self._sent.get(kill.id)
        if before is None or before.connection != gateway.number:
            if kill.cancel == "everything":
                await self._parts.pacer.passed(urgent=True)
                try:
                    gateway.client.reqGlobalCancel()
                except ConnectionError as gone:
                    raise Unavailable(f"the global cancel was not sent: {gone}") from None
                self._parts.log.warning("global-cancel-sent", extra={"kill": str(kill.id)})
            self._note(kill)
        elif self._rounds() > before.rounds and time.monotonic() - before.at >= _ASK_AGAIN_S:
            await self._parts.transactions.run(self._finish_if_done, kill)
            self._note(kill)

    def _note(self, kill: KillOrder) -> None:
        self._sent[kill.id] = _GlobalCancel(self._parts.gateway.number, self._rounds(), time.monotonic())
        self._ask()

    def _finish_if_done(self, cursor: Cursor, kill: KillOrder) -> None:
        left = [row for row in orders.in_state(cursor, sorted(AT_BROKER)) if kill.account in (row.account, "*")]
        left = [row for row in left if _is_meant(kill, row)]
        if not left:
            self._flatten_or_finish(cursor, kill)
            return
        unknown = sum(row.state == OrderState.UNKNOWN for row in left)
        text = f"{len(left)} orders are still there, {unknown} of them unknown"
        outgoing.note_kill_order(cursor, kill.id, text)

    def _flatten_or_finish(self, cursor: Cursor, kill: KillOrder) -> None:
        """No order is left: close the positions where that is wanted; done when there is none, or a check refuses to."""
        text = "IB shows none of these orders any more"
        if kill.flatten:
            settings, now = self._parts.settings, self._parts.clock.now_ns()
            found = flatten(
                cursor,
                kill.id,
                kill.account,
                lambda instrument, account: market_facts(cursor, instrument, account, now=now, settings=settings),
            )
            if not found.done:
                waiting = "; ".join(found.waiting) or f"{len(found.placed)} orders that close positions are placed"
                outgoing.note_kill_order(cursor, kill.id, waiting)
                return
            refused = f"the checks denied {len(found.refused)} orders that would close positions"
            text = refused if found.refused else f"{text}, and every position is closed"
        outgoing.finish_kill_order(cursor, kill.id, text)


def _is_meant(kill: KillOrder, row: OrderRow) -> bool:
    """Whether a kill order is about this order."""
    if kill.cancel == "everything":
        return True
    if kill.cancel == "ours":
        return row.origin != "external"
    return kill.cancel == "entries" and is_entry(row)
