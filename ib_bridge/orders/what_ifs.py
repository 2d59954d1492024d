"""What-if orders: IB says which margin and commission an order would need, and no order comes of it.

They need no ledger: a what-if that is lost is requested again. Each has a number that no order ever has, and goes out with IB's
flag for it; what IB says under that number is about no order.
"""

import time
from collections.abc import Callable
from typing import NamedTuple
from uuid import UUID

from ib_bridge.ib.order_encoding import OrderTerms, contract_of, encode
from ib_bridge.orders.parts import NO_IDS, OrderParts
from ib_bridge.orders.sender import TakenOver
from nautilus.db.cursor import Cursor
from nautilus.db.market import instruments
from nautilus.db.orders import notifications, process, requests, what_ifs
from nautilus.db.orders.what_ifs import WhatIfRow
from nautilus.market.instrument import Instrument
from nautilus.orders.codes import Act, rule
from nautilus.orders.what_if import ANSWER_S
from nautilus.orders.words import BrokerError, OpenOrder, Word

_AT_ONCE = 20
_KEPT_S = 86_400.0
"""So long rows stay: for whoever asks why an order was denied."""
_FORGET_EVERY_S = 600.0
_LATE_S = 60.0
"""An answer that comes so late is still written, and counts where it is new enough by then."""
_REFUSES = frozenset({Act.REJECT, Act.HALT, Act.CANCEL})


class Announced(NamedTuple):
    """One that may be written now, under this number."""

    row: WhatIfRow
    instrument: Instrument
    number: int


class _Answer(NamedTuple):
    id: UUID
    state: str
    text: str
    code: int | None = None
    margins: dict[str, object] | None = None


class _Sent(NamedTuple):
    id: UUID
    at: float
    notices: list[str]


class WhatIfs:
    """is_open: whether orders may be sent now. refusal: why an account may get none over this connection; None: it may.
    answered: is called when there is something to write."""

    def __init__(
        self,
        parts: OrderParts,
        *,
        is_open: Callable[[], bool],
        refusal: Callable[[str], str | None],
        answered: Callable[[], None],
    ) -> None:
        self._parts = parts
        self._is_open = is_open
        self._refusal = refusal
        self._answered = answered
        self._sent: dict[int, _Sent] = {}
        self._answers: list[_Answer] = []
        self._forgotten_at = time.monotonic()

    # ---- what comes --------------------------------------------------------------------------------------------------

    def take(self, word: Word) -> bool:
        """Whether a word of IB is about a what-if order, and so about no order of the ledger."""
        if isinstance(word, OpenOrder) and word.what_if:
            sent = self._sent.get(word.order_id)
            if sent is not None:
                text = "; ".join(filter(None, (word.warning, *sent.notices)))
                margins = {**(word.margins or {}), "currency": word.raw.get("commissionCurrency", "")}
                self._note(_Answer(sent.id, "answered", text, margins=margins))
            return True
        if isinstance(word, BrokerError) and word.number in self._sent:
            self._refused(self._sent[word.number], word)
            return True
        return False

    def _refused(self, sent: _Sent, word: BrokerError) -> None:
        found, text = rule(word.code, word.text), f"IB {word.code}: {word.text}"
        if found.act is Act.NOTICE:
            sent.notices.append(text)  # the answer still comes
        elif found.act in _REFUSES:
            self._note(_Answer(sent.id, "refused", text, word.code))
        else:
            self._note(_Answer(sent.id, "failed", text, word.code))

    def _note(self, answer: _Answer) -> None:
        self._answers.append(answer)
        self._answered()

    # ---- the loop ----------------------------------------------------------------------------------------------------

    async def step(self) -> None:
        """Write what IB answered, end what waited too long, and ask what is wanted, while orders may be sent."""
        run = self._parts.transactions.run
        while self._answers:
            written = list(self._answers)
            await run(self._write, written)
            del self._answers[: len(written)]
        self._drop_old()
        await self._forget()
        if await run(self._end_late):
            self._answered()
        if self._is_open():
            for number in await run(what_ifs.next_wanted, _AT_ONCE):
                await self._send(number)

    def _write(self, cursor: Cursor, answers: list[_Answer]) -> None:
        for one in answers:
            what_ifs.finish(cursor, one.id, one.state, text=one.text, code=one.code, margins=one.margins)
        notifications.notify(cursor, notifications.SENDING, notifications.MODIFIES)

    def _end_late(self, cursor: Cursor) -> int:
        return what_ifs.fail_late(
            cursor,
            after_s=ANSWER_S,
            not_sent=f"IB could not be asked within {ANSWER_S:.0f} s: the order process is not ready",
            not_answered=f"IB did not answer the what-if order within {ANSWER_S:.0f} s",
        )

    def _drop_old(self) -> None:
        now = time.monotonic()
        self._sent = {number: sent for number, sent in self._sent.items() if now - sent.at < _LATE_S}

    async def _forget(self) -> None:
        """Remove rows that nobody needs any more; now and then."""
        now = time.monotonic()
        if now - self._forgotten_at >= _FORGET_EVERY_S:
            self._forgotten_at = now
            await self._parts.transactions.run(lambda cursor: what_ifs.forget(cursor, older_than_s=_KEPT_S))

    # ---- asking ------------------------------------------------------------------------------------------------------

    async def _send(self, what_if_id: UUID) -> None:
        gateway, run = self._parts.gateway, self._parts.transactions.run
        connection = gateway.number
        await self._parts.pacer.passed()
        announced = await run(self._announce, what_if_id)
        if announced is None:
            return
        # Nothing is awaited from here to the write.
        if not self._is_open() or gateway.number != connection:
            await run(self._fail, what_if_id, "the way to IB closed before it was asked")
            return
        row = announced.row
        self._sent[announced.number] = _Sent(row.id, time.monotonic(), [])
        encoded = encode(order_terms(row), what_if=True)
        gateway.client.placeOrder(announced.number, contract_of(announced.instrument), encoded)

    def _announce(self, cursor: Cursor, what_if_id: UUID) -> Announced | None:
        """Its number, committed before the write, so that no order gets it. None: it is over, or nobody can take it."""
        parts = self._parts
        row = what_ifs.read(cursor, what_if_id)
        if row is None or row.state != "wanted":
            return None
        instrument = instruments.by_id(cursor, row.con_id)
        refusal = self._refusal(row.account)
        if refusal is not None or instrument is None:
            self._fail(cursor, row.id, refusal or f"the contract {row.con_id} is not known any more")
            return None
        if not process.still_mine(cursor, parts.token):
            raise TakenOver
        number = parts.reserve_ids(cursor)
        if number is None:
            self._fail(cursor, row.id, NO_IDS)
            return None
        announced = what_ifs.announce(cursor, row.id, client_id=parts.client_id, order_id=number)
        return None if announced is None else Announced(announced, instrument, number)

    def _fail(self, cursor: Cursor, what_if_id: UUID, why: str) -> None:
        what_ifs.finish(cursor, what_if_id, "failed", text=why)
        notifications.notify(cursor, notifications.SENDING, notifications.MODIFIES)


def order_terms(row: WhatIfRow) -> OrderTerms:
    """What the row asks for, for the encoding. Its reference is its own id, which no order has."""
    terms = row.terms
    quantity = requests.number(terms, "quantity")
    if quantity is None:
        raise LookupError(f"the what-if order {row.id} has no quantity")
    return OrderTerms(
        ref=str(row.id),
        account=row.account,
        side=str(terms["side"]),
        type=str(terms["type"]),
        tif=str(terms["tif"]),
        quantity=quantity,
        limit_price=requests.number(terms, "limit_price"),
        stop_price=requests.number(terms, "stop_price"),
        trail_amount=requests.number(terms, "trail_amount"),
        trail_percent=requests.number(terms, "trail_percent"),
        good_till=terms.get("good_till"),
        outside_rth=bool(terms.get("outside_rth")),
    )
