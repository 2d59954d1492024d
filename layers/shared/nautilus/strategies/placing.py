"""A live run's orders go the way of `POST /orders`, as its owner: the owner's rights are read in the transaction that inserts
the order. The engine's client order id is the idempotency key, the run the principal: sent twice, it is one order."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any, NamedTuple

from nautilus.auth.principal import Principal
from nautilus.db.auth import users
from nautilus.db.bridge.status import market_now
from nautilus.db.cursor import Cursor
from nautilus.db.market import instruments
from nautilus.db.orders import orders
from nautilus.db.orders.orders import OrderRow
from nautilus.db.strategies.runs import RunRow
from nautilus.errors import Conflict, InvalidInput, NautilusError, NotFound
from nautilus.orders import change, place
from nautilus.orders.market_facts import market_facts
from nautilus.orders.outcome import Terms
from nautilus.orders.place import Placed
from nautilus.orders.placing_rows import Caller
from nautilus.orders.prices import rounded
from nautilus.orders.ticket import Ticket
from nautilus.settings.orders import OrderModeSettings
from nautilus.strategies.live_orders import ticket_of


class RightsLost(NautilusError):
    """The owner of a run may send orders of it no more."""


class Refused(NamedTuple):
    """An order that never became a row: why."""

    reason: str


def owner_of(cursor: Cursor, run: RunRow) -> Principal:
    """The owner as they are now, kept so until the transaction ends. RightsLost: they may not trade this account."""
    user = users.locked(cursor, int(run.owner.removeprefix("user:") or 0), shared=True)
    if user is None or not user.is_active:
        raise RightsLost("its owner may not sign in any more")
    owner = Principal(run.owner, user.username, frozenset(user.scopes), accounts=frozenset(user.accounts))
    for scope in ("strategies:write", "orders:write"):
        if not owner.may(scope):
            raise RightsLost(f"its owner has lost the scope {scope}")
    if not owner.may_use(run.account):
        raise RightsLost(f"its owner may not use the account {run.account} any more")
    return owner


def submit(cursor: Cursor, run: RunRow, message: Mapping[str, Any], settings: OrderModeSettings) -> Placed | Refused:
    """Accept or deny an order of a run. RightsLost."""
    owner_of(cursor, run)
    instrument = instruments.by_id(cursor, message["con_id"])
    if instrument is None or instrument.con_id not in run.con_ids:
        return Refused(f"the contract {message['con_id']} is not one of this run")
    if settings.orders == "off":
        return Refused("orders are switched off by the setting NAUTILUS_ORDERS")
    caller = Caller(run.principal, message["client_order_id"], fingerprint(message))
    try:
        return _place(cursor, ticket_of(message, instrument, run.account), caller, settings)
    except (InvalidInput, Conflict) as wrong:
        return Refused(wrong.detail)


def close_position(cursor: Cursor, run: RunRow, ticket: Ticket, *, key: str, settings: OrderModeSettings) -> Placed:
    """The order that ends what a run holds. RightsLost."""
    owner_of(cursor, run)
    return _place(cursor, ticket, Caller(run.principal, key, key), settings)


def _place(cursor: Cursor, ticket: Ticket, caller: Caller, settings: OrderModeSettings) -> Placed:
    facts = market_facts(cursor, ticket.instrument, ticket.account, now=market_now(cursor), settings=settings)
    if facts.rule is not None:
        prices = rounded(ticket.prices, facts.rule, side=ticket.side, order_type=ticket.type)
        ticket = replace(ticket, prices=prices)
    return place.place(cursor, ticket, caller, replace(facts, may_trade=True))


def modify(cursor: Cursor, run: RunRow, message: Mapping[str, Any], settings: OrderModeSettings) -> OrderRow | Refused:
    """Ask for other terms of an order of a run. RightsLost."""
    owner_of(cursor, run)
    try:
        row = _own(cursor, run, message["client_order_id"])
        instrument = instruments.by_id(cursor, row.con_id)
        if instrument is None:
            return Refused(f"the contract {row.con_id} is not known any more")
        facts = market_facts(cursor, instrument, run.account, now=market_now(cursor), settings=settings)
        terms = Terms(_decimal(message["quantity"]), _decimal(message["price"]), _decimal(message["trigger_price"]))
        done = change.modify(
            cursor,
            row.id,
            terms,
            Caller(run.principal),
            version=None,
            instrument=instrument,
            facts=replace(facts, may_trade=True),
        )
    except (InvalidInput, Conflict, NotFound) as wrong:
        return Refused(wrong.detail)
    return done.order if not done.refusals else Refused("; ".join(one.sentence for one in done.refusals))


def cancel(cursor: Cursor, run: RunRow, client_order_id: str) -> OrderRow | Refused:
    """Ask for the end of an order of a run; nobody's rights stand before that."""
    try:
        row = _own(cursor, run, client_order_id)
        return change.cancel(cursor, row.id, Caller(run.principal), now=market_now(cursor)).order
    except (InvalidInput, Conflict, NotFound) as wrong:
        return Refused(wrong.detail)


def _own(cursor: Cursor, run: RunRow, client_order_id: str) -> OrderRow:
    row = orders.by_key(cursor, run.principal, client_order_id)
    if row is None:
        raise NotFound(f"this run has no order {client_order_id}", code="order-not-found")
    return row


def fingerprint(message: Mapping[str, Any]) -> str:
    """What makes two submits the same."""
    fields = {name: value for name, value in message.items() if name not in ("type", "bar_ns", "tags")}
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)
