"""Close the positions that a kill left: plain market orders of origin `kill`, each no larger than the position.

A contract waits until no order of ours is open or unknown there, and until IB's position is ours: else an order could open a
position instead of closing one. Done again at any time, it makes no order twice.
"""

from collections.abc import Callable
from typing import NamedTuple
from uuid import UUID

from nautilus.db.cursor import Cursor
from nautilus.db.market import instruments
from nautilus.db.orders import orders, positions, risk_book, trading_state
from nautilus.db.orders.risk_book import ExposureRow
from nautilus.market.instrument import Instrument
from nautilus.orders.facts import Facts
from nautilus.orders.place import place
from nautilus.orders.placing_rows import Caller
from nautilus.orders.ticket import OrderType, Origin, Side, Ticket

FactsOf = Callable[[Instrument, str], Facts]
"""What is known of the market for an order of this instrument and account."""
_VALID_FOR_S = 300
"""Seconds that a closing order may wait for IB; then it is denied, and a person kills again."""


class Flattened(NamedTuple):
    """placed: orders that are new. waiting: contracts where something is in the way, with the reason. refused: orders that a
    check denied; a person decides."""

    placed: tuple[UUID, ...] = ()
    waiting: tuple[str, ...] = ()
    refused: tuple[UUID, ...] = ()

    @property
    def done(self) -> bool:
        """Whether every position is closed, or refused."""
        return not self.placed and not self.waiting


def flatten(cursor: Cursor, kill_id: UUID, account: str, facts_of: FactsOf) -> Flattened:
    """Make the orders that close the positions of a kill's account (`*`: of all) as far as nothing is in the way."""
    accounts = trading_state.known_accounts(cursor) if account == trading_state.ALL else [account]
    risk_book.lock_accounts(cursor, accounts)
    found = [_close(cursor, kill_id, book, facts_of) for name in accounts for book in risk_book.held(cursor, name)]
    return Flattened(
        tuple(order for one in found for order in one.placed),
        tuple(text for one in found for text in one.waiting),
        tuple(order for one in found for order in one.refused),
    )


def _close(cursor: Cursor, kill_id: UUID, book: ExposureRow, facts_of: FactsOf) -> Flattened:
    reason = _in_the_way(cursor, book)
    instrument = instruments.by_id(cursor, book.con_id)
    if reason or instrument is None:
        return Flattened(waiting=(f"{book.account} contract {book.con_id}: {reason or 'it is not stored'}",))
    ticket = Ticket(
        account=book.account,
        instrument=instrument,
        side=Side.SELL if book.position > 0 else Side.BUY,
        type=OrderType.MKT,
        quantity=abs(book.position),
        valid_for_s=_VALID_FOR_S,
        origin=Origin.KILL,
    )
    key = f"{kill_id}:{book.account}:{book.con_id}:{book.position.normalize():f}"
    done = place(cursor, ticket, Caller("kill", key), facts_of(instrument, book.account))
    order_id = done.orders[0].id
    if done.denied or not done.orders[0].alive:
        return Flattened(refused=(order_id,))
    return Flattened(placed=(order_id,))


def _in_the_way(cursor: Cursor, book: ExposureRow) -> str:
    """Why a contract has to wait; empty when nothing is in the way."""
    ours = [row for row in orders.open_of(cursor, book.account, book.con_id) if row.origin != "external"]
    if ours:
        unknown = sum(row.state == "unknown" for row in ours)
        return f"{len(ours)} orders of ours are open there, {unknown} of them unknown"
    if any(row.con_id == book.con_id for row in positions.differences(cursor, book.account)):
        return "IB's position is not ours"
    return ""
