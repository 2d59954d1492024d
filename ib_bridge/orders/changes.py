"""Cancels and modifies: each is announced by a commit, then written once. Cancels go first, and no gate stops them."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from ib_bridge.ib.order_encoding import contract_of, encode
from ib_bridge.orders.parts import OrderParts
from ib_bridge.orders.sender import TakenOver, terms_of
from nautilus.db.cursor import Cursor
from nautilus.db.market import instruments
from nautilus.db.orders import orders, process, requests
from nautilus.db.orders.events import Event
from nautilus.db.orders.orders import OrderRow
from nautilus.db.orders.requests import RequestRow
from nautilus.market.instrument import Instrument
from nautilus.orders import sending_checks
from nautilus.orders.applying import unit_value_after
from nautilus.orders.outcome import Terms
from nautilus.orders.states import AT_BROKER, BEFORE_SENDING, OVER, OrderState, Pending, RequestKind, RequestState

_AT_ONCE = 100
_CHECKED_FOR_S = 30.0
"""So long, in machine time, a modify waits for a quote or for IB's answer to a what-if order: as long as an order by default."""
_PRICES = ("limit_price", "stop_price", "trail_amount", "trail_percent")
_MODIFIABLE = (OrderState.SENT, OrderState.HELD, OrderState.WORKING, OrderState.INACTIVE)


class Announced(NamedTuple):
    """A request that may be written now. parent_id: of a modify, the order id of a parent that IB still has; else 0."""

    request: RequestRow
    order: OrderRow
    instrument: Instrument | None
    parent_id: int


class Changes:
    """is_open: whether modifies may be sent now. written: gets the order and the request that were written."""

    def __init__(
        self, parts: OrderParts, *, is_open: Callable[[], bool], written: Callable[[UUID, UUID], None]
    ) -> None:
        self._parts = parts
        self._is_open = is_open
        self._written = written

    async def send_cancels(self) -> None:
        """As soon as there is a connection, whatever else is the matter. Only with orders switched off nothing is sent, and
        to a read-only gateway, which would refuse it, not before that takes it."""
        gateway, is_off = self._parts.gateway, self._parts.settings.orders == "off"
        if gateway.up and self._parts.session is not None and not gateway.read_only and not is_off:
            for request in await self._wanted():
                if request.kind == RequestKind.CANCEL:
                    await self._send(request, urgent=True)

    async def send_modifies(self) -> None:
        """While the gate is open. They have a loop of their own, so that no cancel waits behind one."""
        if self._is_open():
            for request in await self._wanted():
                if request.kind == RequestKind.MODIFY and self._is_open():
                    await self._send(request, urgent=False)

    async def _wanted(self) -> list[RequestRow]:
        """Those of the accounts that are logged in: elsewhere an order id may be that of another order."""
        return await self._parts.transactions.run(requests.next_wanted, self._parts.gateway.accounts, _AT_ONCE)

    async def _send(self, request: RequestRow, *, urgent: bool) -> None:
        connection = self._parts.gateway.number
        counted = await self._parts.pacer.passed(urgent=urgent)
        announced = await self._parts.transactions.run(self._announce, request)
        if announced is None:
            return
        # Nothing is awaited from the commit to the write.
        self._parts.crash.reached("after-request-sending")
        if self._may_write(connection, urgent=urgent):
            self._write(announced)
            self._parts.pacer.written(counted)
            self._parts.crash.reached("after-request-write")
            self._written(announced.order.id, request.id)
            await self._parts.transactions.run(self._move, announced.request, RequestState.SENT)
        else:
            await self._parts.transactions.run(self._move, announced.request, RequestState.WANTED)

    def _may_write(self, connection: int, *, urgent: bool) -> bool:
        gateway = self._parts.gateway
        return gateway.up and gateway.number == connection and (urgent or self._is_open())

    # ---- before the write --------------------------------------------------------------------------------------------

    def _announce(self, cursor: Cursor, request: RequestRow) -> Announced | None:
        """State `sending` of the request, and what is pending of the order. None: there is nothing to write, or not yet."""
        order = orders.lock_with_book(cursor, request.order_id)
        now = requests.read(cursor, request.id)
        if order is None or now is None or now.state != RequestState.WANTED:
            return None
        if not process.still_mine(cursor, self._parts.token):
            raise TakenOver
        if order.account not in self._parts.gateway.accounts:
            return None  # somebody else has logged in meanwhile
        if order.state in OVER:
            self._end(cursor, now, order, RequestState.OVERTAKEN, why=f"the order is {order.state} already")
            return None
        if order.state in BEFORE_SENDING or order.state not in AT_BROKER:
            self._before_sending(cursor, now, order)
            return None
        if order.order_id is None or order.order_id == 0 or order.client_id != self._parts.client_id:
            why = "IB lets only the client that placed an order change it: cancel it in TWS, or by the kill switch (everything)"
            self._end(cursor, now, order, RequestState.REFUSED, why=why)
            return None
        if now.kind == RequestKind.MODIFY and order.state == OrderState.UNKNOWN:
            # It would wait for as long as nobody knows, and then be sent hours later.
            why = "nobody knows whether IB has this order: change it when that is known"
            self._end(cursor, now, order, RequestState.REFUSED, why=why)
            return None
        if now.kind == RequestKind.MODIFY and (order.state not in _MODIFIABLE or not self._passes(cursor, now, order)):
            return None
        return self._announced(cursor, now, order)

    def _passes(self, cursor: Cursor, request: RequestRow, order: OrderRow) -> bool:
        """Whether a modify passes the checks that stand before sending, which need the market and the broker. False: it waits
        for what they need, or was refused."""
        instrument, held = instruments.by_id(cursor, order.con_id), orders.hold(cursor, order.id)
        if instrument is None or held is None:
            raise LookupError(f"the contract {order.con_id} is not known")
        verdict = sending_checks.check_modify(
            cursor,
            held,
            Terms(**wanted_values(request.wanted)),
            instrument,
            now_ns=self._parts.clock.now_ns(),
            settings=self._parts.settings,
            accounts=self._parts.gateway.accounts,
        )
        if verdict.refusals and not (verdict.wait and requests.age_s(cursor, request.id) < _CHECKED_FOR_S):
            self._end(cursor, request, order, RequestState.REFUSED, why=verdict.why)
        return not verdict.refusals

    def _before_sending(self, cursor: Cursor, request: RequestRow, order: OrderRow) -> None:
        """An order that was not sent needs no message; one that is about to be is looked at again."""
        if request.kind == RequestKind.CANCEL and order.state == OrderState.ACCEPTED:
            self._end(cursor, request, order, RequestState.CONFIRMED, why="cancelled before it was sent", over=True)

    def _announced(self, cursor: Cursor, request: RequestRow, order: OrderRow) -> Announced | None:
        moved = requests.update(cursor, request, state=RequestState.SENDING)
        if moved is None:
            return None
        pending = Pending(request.kind)
        event = self._event(f"{request.kind}-sending", "announced before the write", request)
        after = orders.update(cursor, order, {"pending": pending}, event)
        parent = orders.read(cursor, order.parent_id) if order.parent_id is not None else None
        # Without its parent a child would go live with its whole quantity. IB refuses one of a parent that is over (135).
        waits = parent is not None and parent.state in AT_BROKER
        return Announced(
            moved,
            after,
            instruments.by_id(cursor, order.con_id),
            (parent.order_id or 0) if parent is not None and waits else 0,
        )

    def _end(
        self, cursor: Cursor, request: RequestRow, order: OrderRow, state: RequestState, *, why: str, over: bool = False
    ) -> None:
        requests.update(cursor, request, state=state, why=why)
        changes: dict[str, object] = {"state": OrderState.CANCELLED, "why": why} if over else {}
        value = unit_value_after(request._replace(state=state))
        if value is not None:
            changes["unit_value"] = value
        orders.update(cursor, order, changes, self._event(f"{request.kind}-{state}", why, request))

    def _move(self, cursor: Cursor, request: RequestRow, state: RequestState) -> None:
        """After the write, or when there was none. IB's answer may have come first: then nothing is changed."""
        order = orders.lock_with_book(cursor, request.order_id)
        if order is not None and requests.update(cursor, request, state=state) is not None:
            changes = {"pending": Pending.NONE} if state is RequestState.WANTED else {}
            orders.update(cursor, order, changes, self._event(f"{request.kind}-{state}", "", request))

    # ---- the write ---------------------------------------------------------------------------------------------------

    def _write(self, announced: Announced) -> None:
        client, order = self._parts.gateway.client, announced.order
        if announced.request.kind == RequestKind.CANCEL:
            client.cancelOrder(order.order_id)
            return
        if announced.instrument is None:
            raise LookupError(f"the contract {order.con_id} is not known")
        wanted = order._replace(**wanted_values(announced.request.wanted))
        encoded = encode(terms_of(wanted), parent_id=announced.parent_id)
        client.placeOrder(order.order_id, contract_of(announced.instrument), encoded)

    def _event(self, kind: str, text: str, request: RequestRow) -> Event:
        return Event(kind, "process", self._parts.clock.now_ns(), text, {"request": str(request.id)})


def wanted_values(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The new values that a modify asks for, by column. IB advises to change price, quantity and time in force alone; all
    other fields go out as they stand."""
    numbers = {name: Decimal(str(wanted[name])) for name in ("quantity", *_PRICES) if wanted.get(name) is not None}
    return numbers | ({"tif": str(wanted["tif"])} if wanted.get("tif") else {})
