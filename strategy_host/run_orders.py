"""The orders of one live run: from its engine into the ledger, and from the ledger to its engine."""

from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from nautilus.db.bridge.status import market_now
from nautilus.db.cursor import Cursor
from nautilus.db.orders.orders import OrderRow
from nautilus.db.strategies import leases, ledger, writing
from nautilus.db.strategies.leases import Hold
from nautilus.db.strategies.runs import RunRow
from nautilus.db.strategies.writing import NewOrder
from nautilus.strategies import live_orders, placing
from nautilus.strategies.live_orders import Known, order_event
from nautilus.strategies.placing import Refused
from strategy_host.child import Child
from strategy_host.earnings import Earnings, book_of
from strategy_host.parts import HostParts


class _News(NamedTuple):
    """What is to be sent to the engine, what it knows of each order then, and the last event that was looked at."""

    messages: list[dict[str, Any]]
    known: dict[UUID, Known]
    last_event: int


class RunOrders:
    """What the ledger says of a run, and what its engine knows of that.

    units: con_id -> what a price of 1 is worth for a quantity of 1. decided: called with each order that is new, changed:
    with what became of one.
    """

    def __init__(self, parts: HostParts, run: RunRow, units: Mapping[int, Decimal]) -> None:
        self._parts = parts
        self._run = run
        self._hold = Hold(run.id, run.token)
        self._units = units
        self._known: dict[UUID, Known] = {}
        self._last_event = 0
        self._earnings = Earnings(units)

    # ---- adoption ------------------------------------------------------------------------------------------------

    async def adopt(self, child: Child) -> None:
        """Send what the run has from an earlier life: its open orders and its position, by our ledger."""
        orders, positions = await self._parts.transactions.run(self._adopted)
        await child.send("orders", orders=orders)
        await child.send("positions", positions=positions)

    def _adopted(self, cursor: Cursor) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        principal = self._run.principal
        self._last_event = ledger.last_event(cursor, self._run.account)
        executions = ledger.executions(cursor, principal)
        self._earnings.take(executions)
        rows = ledger.open_orders(cursor, principal)
        adopted = []
        for row in rows:
            self._known[row.id] = live_orders.known_at_start(row, [e for e in executions if e.order_id == row.id])
            adopted.append(live_orders.adopted_order(row))
        return [one for one in adopted if one is not None], book_of(executions, self._units).holdings()

    # ---- from the engine -----------------------------------------------------------------------------------------

    async def submit(self, child: Child, message: Mapping[str, Any], decided_price: Decimal | None) -> None:
        """Place an order, and say what became of it. RightsLost: it is refused, and nothing more may be placed."""
        name = message["client_order_id"]
        try:
            event = await self._parts.transactions.run(self._submit, message, decided_price)
        except placing.RightsLost as lost:
            await child.send("order_event", **order_event(name, "denied", message["bar_ns"] or 0, reason=lost.detail))
            raise
        await child.send("order_event", **event)

    def _submit(self, cursor: Cursor, message: Mapping[str, Any], decided_price: Decimal | None) -> dict[str, Any]:
        run = leases.held(cursor, self._hold)
        name, now = message["client_order_id"], market_now(cursor)
        placed = placing.submit(cursor, run, message, self._parts.settings)
        row = None if isinstance(placed, Refused) else placed.orders[0]
        state = "denied" if row is None or row.state == "denied" else "submitted"
        reason = placed.reason if isinstance(placed, Refused) else placed.orders[0].why
        order = NewOrder(
            client_order_id=name,
            con_id=message["con_id"],
            decided_ns=message["bar_ns"] or now,
            decided_price=decided_price,
            side=message["side"],
            type=message["order_type"],
            quantity=Decimal(message["quantity"]),
            limit_price=_decimal(message["price"]),
            stop_price=_decimal(message["trigger_price"]),
            tag=next(iter(message["tags"]), ""),
            state=state,
            reason=reason,
            order_id=row.id if row is not None else None,
        )
        writing.new_order(cursor, self._run.id, order)
        if row is not None and state == "submitted":
            self._known.setdefault(row.id, Known())
        return order_event(name, state, now, venue_order_id=str(row.id) if row is not None else None, reason=reason)

    async def modify(self, child: Child, message: Mapping[str, Any]) -> None:
        """Ask for other terms. RightsLost, LeaseLost."""
        done = await self._parts.transactions.run(self._modify, message)
        await self._refused(child, message["client_order_id"], "modify_rejected", done)

    def _modify(self, cursor: Cursor, message: Mapping[str, Any]) -> OrderRow | Refused:
        leases.held(cursor, self._hold)
        return placing.modify(cursor, self._run, message, self._parts.settings)

    async def cancel(self, child: Child, message: Mapping[str, Any]) -> None:
        """Ask for the end of an order. LeaseLost."""
        name = message["client_order_id"]
        done = await self._parts.transactions.run(self._cancel, name)
        await self._refused(child, name, "cancel_rejected", done)

    def _cancel(self, cursor: Cursor, client_order_id: str) -> OrderRow | Refused:
        leases.held(cursor, self._hold)
        return placing.cancel(cursor, self._run, client_order_id)

    async def _refused(self, child: Child, name: str, kind: str, done: Any) -> None:
        if isinstance(done, Refused):
            now = await self._parts.transactions.run(market_now)
            await child.send("order_event", **order_event(name, kind, now, reason=done.reason))

    # ---- to the engine -------------------------------------------------------------------------------------------

    async def news(self, send: Callable[[Mapping[str, Any]], Awaitable[None]]) -> bool:
        """Send what happened to the run's orders since the last call; True when there was something."""
        found = await self._parts.transactions.run(self._news)
        self._known |= found.known  # not before its transaction is over: what is read once more would count as known
        self._last_event = found.last_event
        for message in found.messages:
            await send(message)
        return bool(found.messages)

    def with_cash(self, message: Mapping[str, Any], capital: Decimal) -> dict[str, Any]:
        """A point of the equity curve with the cash that the ledger's executions leave: the engine's account of a live run stays
        what it was at its start."""
        cash = capital + self._earnings.amount
        return {**message, "cash": f"{cash:f}", "equity": f"{cash + Decimal(message['unrealized']):f}"}

    def _news(self, cursor: Cursor) -> _News:
        """Read what happened, and what the engine knows once it has the messages."""
        principal = self._run.principal
        touched = ledger.touched(cursor, principal, self._run.account, self._last_event)
        if not touched.order_ids:
            return _News([], {}, touched.last_id)
        now = market_now(cursor)
        executions = ledger.executions(cursor, principal, touched.order_ids)
        self._earnings.take(executions, of=touched.order_ids)
        refused = ledger.refused_requests(cursor, principal, touched.order_ids)
        found = _News([], {}, touched.last_id)
        for row in ledger.orders_of(cursor, principal, touched.order_ids):
            new = live_orders.news(
                row,
                [one for one in executions if one.order_id == row.id],
                [one for one in refused if one.order_id == row.id],
                self._known.get(row.id, Known()),
                now=now,
            )
            found.known[row.id] = new.known
            found.messages.extend(new.messages)
            writing.passed_on(cursor, self._run.id, row.id)
        return found


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)
