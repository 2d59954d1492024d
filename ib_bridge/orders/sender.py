"""Sending orders: each is written once, after the commit that says so.

accepted -> (order id reserved, committed) reserved -> (announced, committed) sending -> one write. Two commits on purpose: what
died in `reserved` was not written, and is sent by the next life; what died in `sending` may have been, and never is again.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

from ib_bridge.ib.order_encoding import OrderTerms, contract_of, encode
from ib_bridge.orders.parts import NO_IDS, OrderParts
from nautilus.db.cursor import Cursor
from nautilus.db.market import instruments
from nautilus.db.orders import orders, outgoing, process
from nautilus.db.orders.events import Event
from nautilus.db.orders.orders import Held, OrderRow
from nautilus.market.instrument import Instrument
from nautilus.orders import sending_checks
from nautilus.orders.sending_checks import Verdict
from nautilus.orders.states import OrderState

_S = OrderState
_AT_ONCE = 50
"""Orders that are looked at in one go."""
_STALE_EVERY_S = 0.5
_MACHINE_S = 2.0
"""No order is stale before so much machine time, however fast the market's clock runs."""


class Prepared(NamedTuple):
    """Orders that are reserved, in the order in which they are written, and over which connection."""

    rows: tuple[OrderRow, ...]
    instrument: Instrument
    connection: int


class TakenOver(Exception):
    """Another process is the order process now."""


class Sender:
    """open: whether orders may be sent now. account_refusal: why an account may get none over this connection; None: it may.
    doubtful: (account, con_id) of orders that IB has not named yet. written: gets the orders that were written."""

    def __init__(
        self,
        parts: OrderParts,
        *,
        is_open: Callable[[], bool],
        account_refusal: Callable[[str], str | None],
        doubtful: Callable[[str, int], bool],
        written: Callable[[Sequence[OrderRow]], None],
    ) -> None:
        self._parts = parts
        self._is_open = is_open
        self._account_refusal = account_refusal
        self._doubtful = doubtful
        self._written = written
        self._in_hand = False
        """True from before an order is reserved until it is written or free again; so it stays where the database fails."""
        self._next_stale = 0.0

    async def send_waiting(self) -> None:
        """Send what is accepted, the oldest first, for as long as the gate is open; then deny what is stale."""
        if self._in_hand:
            await self._parts.transactions.run(self._free_left)
            self._in_hand = False
        await self._send_accepted()
        if self._parts.gateway.number:  # before the first connection nobody knows what time IB's clock shows
            await self._deny_stale_now_and_then()

    async def _deny_stale_now_and_then(self) -> None:
        """Not with each order that comes: they are many, and one is stale after seconds at the earliest."""
        now = time.monotonic()
        if now >= self._next_stale:
            self._next_stale = now + _STALE_EVERY_S
            await self._parts.transactions.run(self._deny_stale)

    async def _send_accepted(self) -> None:
        while self._is_open():
            waiting = await self._parts.transactions.run(orders.in_state, [_S.ACCEPTED], _AT_ONCE)
            sent = [await self._send(row) for row in waiting if row.parent_id is None]
            if len(waiting) < _AT_ONCE or not any(sent):
                return

    async def _send(self, first: OrderRow) -> bool:
        """Send an order, with the others of its bracket. False when it stays as it was, or was denied."""
        if not self._is_open() or self._doubtful(first.account, first.con_id):
            return False
        self._in_hand = True
        done = await self._send_in_hand(first)
        self._in_hand = False
        return done

    async def _send_in_hand(self, first: OrderRow) -> bool:
        prepared = await self._parts.transactions.run(self._reserve, first)
        if prepared is None:
            return False
        self._parts.crash.reached("after-reserved")
        counted = await self._parts.pacer.passed(len(prepared.rows))
        announced = await self._parts.transactions.run(self._announce, prepared)
        if announced:
            # Nothing is awaited from the commit to the last write of a group.
            self._parts.crash.reached("after-sending")
            if self._may_write(prepared):
                self._write(prepared)
                self._parts.pacer.written(counted, len(prepared.rows))
                return True
        await self._parts.transactions.run(self._take_back, prepared)
        return False

    # ---- before the write --------------------------------------------------------------------------------------------

    def _reserve(self, cursor: Cursor, first: OrderRow) -> Prepared | None:
        """Check what only this process knows, and give the orders their ids. None: they wait, or were denied."""
        parts = self._parts
        held = orders.hold(cursor, first.id)
        if held is None or held.order.state != _S.ACCEPTED or parts.session is None:
            return None
        locked = held.order
        rows = _legs(cursor, locked)
        if any(row.state != _S.ACCEPTED for row in rows):
            return self._deny(cursor, rows, "another order of the group is over")
        if self._is_stale(cursor, locked):
            self._deny_late(cursor, held)
            return None
        instrument = instruments.by_id(cursor, locked.con_id)
        if instrument is None:
            return self._deny(cursor, rows, f"the contract {locked.con_id} is not known any more")
        if refusal := self._account_refusal(locked.account):
            return self._deny(cursor, rows, refusal)
        verdict = sending_checks.check(
            cursor,
            held,
            rows,
            instrument,
            now_ns=parts.clock.now_ns(),
            settings=parts.settings,
            accounts=parts.gateway.accounts,
        )
        if verdict.refusals:
            return None if verdict.wait else self._deny(cursor, rows, verdict.why, checks=verdict.as_rows)
        number = parts.reserve_ids(cursor, len(rows))
        if number is None:
            return self._deny(cursor, rows, NO_IDS)
        valued = zip(rows, verdict.unit_values, strict=True)
        reserved = tuple(self._with_id(cursor, row, number + place, value) for place, (row, value) in enumerate(valued))
        return Prepared(reserved, instrument, parts.gateway.number)

    def _with_id(self, cursor: Cursor, row: OrderRow, number: int, unit_value: Decimal | None) -> OrderRow:
        """unit_value: what one unit is worth now; when it was accepted nobody may have known that."""
        parts = self._parts
        changes: dict[str, object] = {
            "state": _S.RESERVED,
            "client_id": parts.client_id,
            "order_id": number,
            "gateway_session": parts.session,
            "why": "",
            **({} if unit_value is None else {"unit_value": unit_value}),
        }
        return orders.update(cursor, row, changes, self._event("reserved", f"order id {number}"))

    def _announce(self, cursor: Cursor, prepared: Prepared) -> bool:
        """State `sending`, in the transaction that proves that this process may send. False: nothing is to be written."""
        rows = _locked(cursor, prepared.rows)
        if not process.still_mine(cursor, self._parts.token):
            raise TakenOver
        if rows is None or any(row.state != _S.RESERVED for row in rows):
            return False
        if sending_checks.is_halted(cursor, rows[0], self._parts.clock.now_ns()):
            return False
        for row in rows:
            orders.update(cursor, row, {"state": _S.SENDING}, self._event("sending", "announced before the write"))
        return True

    # ---- the write ---------------------------------------------------------------------------------------------------

    def _may_write(self, prepared: Prepared) -> bool:
        """The gate and the connection are those that the ids were reserved for."""
        return self._is_open() and prepared.connection == self._parts.gateway.number

    def _write(self, prepared: Prepared) -> None:
        """All orders of a group in one go. Only the last one is transmitted: the gateway sends none before it has all."""
        client, contract = self._parts.gateway.client, contract_of(prepared.instrument)
        parent, last = prepared.rows[0].order_id or 0, prepared.rows[-1]
        encoded = [
            encode(terms_of(row), transmit=row is last, parent_id=0 if row.parent_id is None else parent)
            for row in prepared.rows
        ]
        self._written(prepared.rows)
        for row, order in zip(prepared.rows, encoded, strict=True):
            client.placeOrder(row.order_id, contract, order)
            self._parts.crash.reached("after-leg")
        self._parts.crash.reached("after-write")

    # ---- otherwise ---------------------------------------------------------------------------------------------------

    def _take_back(self, cursor: Cursor, prepared: Prepared) -> None:
        """They were provably not written: no connection, or another one, or the gate had closed."""
        for row in _locked(cursor, prepared.rows) or ():
            if row.state in (_S.RESERVED, _S.SENDING):
                orders.update(cursor, row, FREED, self._event("not-written", "the way to IB closed before the write"))

    def _free_left(self, cursor: Cursor) -> None:
        """The database failed over an order: one that is reserved still was not announced, and so not written."""
        if not process.still_mine(cursor, self._parts.token):
            raise TakenOver
        free_reserved(cursor, self._parts.clock.now_ns(), "the database failed before it was announced")

    def _deny(
        self, cursor: Cursor, rows: Sequence[OrderRow], why: str, checks: Sequence[Mapping[str, object]] = ()
    ) -> Prepared | None:
        """Deny what is accepted of a group; None, as there is nothing to send then."""
        for row in rows:
            if row.state == _S.ACCEPTED:
                changes = {"state": _S.DENIED, "why": why, **({"checks": checks} if checks else {})}
                orders.update(cursor, row, changes, self._event("denied", why))
        return None

    def _deny_stale(self, cursor: Cursor) -> None:
        """An order that waited longer than its `valid_for` is denied, not sent hours later."""
        now = self._parts.clock.now_ns()
        for number in outgoing.stale(cursor, now, after_machine_s=_MACHINE_S):
            held = orders.hold(cursor, number)
            if held is not None and held.order.state == _S.ACCEPTED:
                self._deny_late(cursor, held)

    def _deny_late(self, cursor: Cursor, held: Held) -> None:
        """Deny it with the checks that kept it back, as far as they are known."""
        rows, verdict = _legs(cursor, held.order), Verdict()
        instrument = instruments.by_id(cursor, held.order.con_id)
        if instrument is not None:
            now, settings = self._parts.clock.now_ns(), self._parts.settings
            verdict = sending_checks.why_not_sent(
                cursor, held, rows, instrument, now_ns=now, settings=settings, is_open=self._is_open()
            )
        why = "; ".join(filter(None, ("stale: it could not be sent within its valid_for", verdict.why)))
        self._deny(cursor, rows, why, checks=verdict.as_rows)

    def _is_stale(self, cursor: Cursor, row: OrderRow) -> bool:
        now = self._parts.clock.now_ns()
        over = row.valid_until is not None and row.valid_until < now
        return over and row.id in outgoing.stale(cursor, now, after_machine_s=_MACHINE_S)

    def _event(self, kind: str, text: str) -> Event:
        return Event(kind, "process", self._parts.clock.now_ns(), text)


FREED: dict[str, object] = {"state": _S.ACCEPTED, "client_id": None, "order_id": None, "gateway_session": None}
"""What an order is again that was not written: its id is used up, the next one is higher."""


def free_reserved(cursor: Cursor, market_ns: int, why: str) -> int:
    """What is reserved and in nobody's hands was not written: it is accepted again. Returns how many orders that were."""
    found = orders.in_state(cursor, [_S.RESERVED])
    for row in found:
        locked = orders.lock_with_book(cursor, row.id)
        if locked is not None and locked.state == _S.RESERVED:
            orders.update(cursor, locked, FREED, Event("freed", "process", market_ns, why))
    return len(found)


def terms_of(row: OrderRow) -> OrderTerms:
    """What the row asks for, for the encoding."""
    is_oca = row.group_kind == "oca"
    return OrderTerms(
        ref=str(row.id),
        account=row.account,
        side=row.side,
        type=row.type,
        tif=row.tif,
        quantity=row.quantity,
        limit_price=row.limit_price,
        stop_price=row.stop_price,
        trail_amount=row.trail_amount,
        trail_percent=row.trail_percent,
        good_till=row.good_till,
        outside_rth=row.outside_rth,
        oca_group=str(row.group_id) if is_oca else "",  # at IB a name would join orders of two accounts
        oca_type=row.oca_type or 0 if is_oca else 0,
    )


def _legs(cursor: Cursor, first: OrderRow) -> list[OrderRow]:
    """The orders that are written together: an order, or the parent of a bracket and then its exits; all locked."""
    if first.group_kind != "bracket" or first.group_id is None:
        return [first]
    rows = orders.lock_group(cursor, first.group_id)
    return sorted(rows, key=lambda row: (row.parent_id is not None, row.group_role != "take_profit"))


def _locked(cursor: Cursor, rows: Sequence[OrderRow]) -> list[OrderRow] | None:
    """The same orders as they are now, in their order; None when one is gone."""
    held = orders.hold(cursor, rows[0].id)
    others = {row.id: row for row in orders.lock_several(cursor, [row.id for row in rows[1:]])} if rows[1:] else {}
    now = [held.order if held else None, *(others.get(row.id) for row in rows[1:])]
    return [row for row in now if row is not None] if all(now) else None
