"""The closing of what a live run holds, order by order: never more than the account has; an incident says what fails."""

from decimal import Decimal
from typing import NamedTuple

from nautilus.db.cursor import Cursor
from nautilus.db.market import instruments
from nautilus.db.monitoring import incidents
from nautilus.db.orders import orders, positions, risk_book
from nautilus.db.strategies import ledger
from nautilus.db.strategies.runs import RunRow
from nautilus.errors import NautilusError, Unavailable
from nautilus.monitoring.incidents import Condition
from nautilus.orders.account_facts import pending_orders
from nautilus.orders.exposure import exposure_of
from nautilus.orders.ticket import OrderType, Origin, Ticket
from nautilus.settings.orders import OrderModeSettings
from nautilus.strategies import placing
from nautilus.strategies.closing import MOST_FRUITLESS, Closing, closing

KEEPER = "strategy-host"
KEYS = f"{placing.HOST_KEYS}flatten-"
"""So begin the keys of a run's closing orders."""
DENIED = "strategy-flatten-denied"


class NotClosed(NautilusError):
    """A position that closing orders do not close."""


class Outcome(NamedTuple):
    """What came of closing one contract. All empty: it is closed. refused: why no order could be placed. waits: what is in the
    way. gone: what others have closed of it, in words."""

    placed: bool = False
    refused: str = ""
    waits: str = ""
    gone: str = ""


def close(cursor: Cursor, run: RunRow, con_id: int, held: Decimal, *, settings: OrderModeSettings) -> Outcome:
    """Write the order that closes what a run holds of a contract, as far as the account holds it. run: held, as it is now.
    NotClosed: too many did not close it."""
    instrument = instruments.by_id(cursor, con_id)
    if instrument is None:
        return Outcome(refused=f"the contract {con_id} is not known any more")
    name = instrument.instrument_id
    _, book = risk_book.lock_book(cursor, run.account, con_id)
    if positions.opened_at(cursor, run.account) is None:
        return Outcome(waits=f"{name}: the account's positions are not known yet")
    if any(row.con_id == con_id for row in positions.differences(cursor, run.account)):
        return Outcome(waits=f"{name}: IB's position is not ours")
    pending = pending_orders(cursor, orders.open_with_modifies(cursor, run.account, con_id))
    todo = closing(held, exposure_of(book.position, pending))
    if todo.quantity:
        ticket = Ticket(
            account=run.account,
            instrument=instrument,
            side=todo.side,
            type=OrderType.MKT,
            quantity=todo.quantity,
            tags=("exit",),
            allow_duplicate=True,
            origin=Origin.STRATEGY,
        )
        return _place(cursor, run, ticket, settings)
    if todo.promised:
        return Outcome(waits=f"{name}: other orders that are open would close {todo.promised:f} of it")
    return Outcome(gone=_gone(name, todo))


def _gone(name: str, todo: Closing) -> str:
    return f"{todo.gone:f} of {name} were closed by others" if todo.gone else ""


def _place(cursor: Cursor, run: RunRow, ticket: Ticket, settings: OrderModeSettings) -> Outcome:
    before = ledger.made_by_host(cursor, run.principal, KEYS)
    fruitless = next((n for n, row in enumerate(before) if row.filled), len(before))
    if fruitless >= MOST_FRUITLESS:
        raise NotClosed(
            f"{fruitless} orders did not close its position, the last one: {before[0].why or before[0].state}"
        )
    key = f"{KEYS}{len(before) + 1}"
    try:
        placed = placing.close_position(cursor, run, ticket, key=key, settings=settings)
    except Unavailable:
        raise
    except NautilusError as wrong:  # rights that are lost, an order that is none: nothing is placed
        return Outcome(refused=wrong.detail)
    return Outcome(placed=not placed.denied, refused="; ".join(one.sentence for one in placed.refusals))


def tell(cursor: Cursor, run: RunRow, reason: str) -> None:
    """One incident for as long as a position stays that should be closed. reason: empty when nothing refuses it any more."""
    if reason:
        detail = {"account": run.account, "template": run.template_id, "reason": reason}
        incidents.tell(cursor, KEEPER, [Condition(DENIED, str(run.id), detail)])
    else:
        incidents.end(cursor, KEEPER, str(run.id), [DENIED])
