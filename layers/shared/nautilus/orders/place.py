"""An order is accepted or denied: checks, reservation, row and event in one transaction, under the locks of account and
contract, so that of any number of orders at once only those pass for which there is room."""

from typing import NamedTuple

from nautilus.db.cursor import Cursor
from nautilus.db.orders import notifications, orders, risk_book
from nautilus.db.orders.events import Event
from nautilus.db.orders.orders import OrderRow
from nautilus.errors import InvalidInput
from nautilus.orders import checks
from nautilus.orders.account_checks import UNKNOWN_ACCOUNT
from nautilus.orders.account_facts import with_account
from nautilus.orders.checks import Refusal
from nautilus.orders.facts import Facts
from nautilus.orders.placing_rows import Caller, rows_of
from nautilus.orders.ticket import Origin, Ticket

_SOURCES = {Origin.KILL: "person"}
"""Origin of an order -> source of its first event; else `api`."""


class Placed(NamedTuple):
    """What became of a ticket. orders: the rows, the first one in front; empty of a dry run. refusals: why it is denied.
    repeated: the key named these orders before, and nothing was written. notices: what the answer says beside it."""

    orders: tuple[OrderRow, ...]
    refusals: tuple[Refusal, ...] = ()
    repeated: bool = False
    notices: tuple[str, ...] = ()

    @property
    def denied(self) -> bool:
        return bool(self.refusals) or any(row.state == "denied" for row in self.orders)


def place(cursor: Cursor, ticket: Ticket, caller: Caller, facts: Facts) -> Placed:
    """Accept or deny a ticket, in the caller's transaction. InvalidInput when the key was used with another body.

    facts: what is known of market, settings and caller; what the ledger knows of the account is read here, under the locks.
    A denied order is kept with its checks, and reserves nothing; one for an account that the login does not have makes no row of
    that account. A dry run writes nothing.
    """
    known = None if ticket.dry_run else repeated(cursor, caller)
    if known is not None:
        return known
    account, exposure = risk_book.lock_book(cursor, ticket.account, ticket.con_id)
    facts = with_account(cursor, facts, account, exposure, principal=caller.principal)
    refusals = tuple(checks.run(ticket, facts, "function"))
    notices = tuple(checks.notices(facts))
    if ticket.dry_run:
        risk_book.forget_unused(cursor, ticket.account)
        return Placed((), refusals, notices=notices)
    event = _event(ticket, facts, refusals)
    placed: list[OrderRow] = []
    for new in rows_of(ticket, caller, facts, refusals):
        row = orders.insert(cursor, new, event)
        if row is None:
            return _placed_meanwhile(cursor, caller)
        placed.append(row)
    if not refusals:
        notifications.notify(cursor, notifications.SENDING)
    elif any(one.code == UNKNOWN_ACCOUNT for one in refusals):
        risk_book.forget_unused(cursor, ticket.account)
    return Placed(tuple(placed), refusals, notices=notices)


def repeated(cursor: Cursor, caller: Caller) -> Placed | None:
    """The orders that this caller placed with this key before; None when there are none. InvalidInput: with another body."""
    if caller.key is None:
        return None
    first = orders.by_key(cursor, caller.principal, caller.key)
    if first is None:
        return None
    if first.fingerprint != caller.fingerprint:
        raise InvalidInput(
            "Idempotency-Key: this key was used for another order; take a new one", code="idempotency-key-reused"
        )
    rows = orders.of_group(cursor, first.group_id) if first.group_kind == "bracket" and first.group_id else [first]
    return Placed(tuple(rows), repeated=True)


def _placed_meanwhile(cursor: Cursor, caller: Caller) -> Placed:
    """The key was used since we looked for it first: the same order, or, as `repeated` says, another one."""
    found = repeated(cursor, caller)
    if found is None:
        raise LookupError("the key of an order that exists leads to no order")
    return found


def _event(ticket: Ticket, facts: Facts, refusals: tuple[Refusal, ...]) -> Event:
    source = _SOURCES.get(ticket.origin, "api")
    if not refusals:
        return Event("accepted", source, facts.now, "all checks passed")
    return Event("denied", source, facts.now, refusals[0].text, {"checks": [one.as_dict() for one in refusals]})
