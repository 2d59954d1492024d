"""A live run's orders go the way of `POST /orders`, as its owner: the owner's rights are read in the transaction that inserts
the order. The engine's client order id is the idempotency key, the run the principal: sent twice, it is one order."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, NamedTuple

from nautilus.auth.principal import Principal
from nautilus.auth.scopes import key_accounts, key_scopes, user_accounts
from nautilus.db.auth import api_keys, users
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
from nautilus.strategies.live_orders import TYPES, ticket_of
from nautilus.strategies.states import RunState, Wanted

HOST_KEYS = "host:"
"""So begin the keys of orders that the host makes for a run; no order of a strategy has such a name."""
_ENDING = frozenset({Wanted.STOPPED.value, Wanted.FLAT.value})


class RightsLost(NautilusError):
    """Who answers for an order of a run may send it no more."""


class Refused(NamedTuple):
    """An order that never became a row: why."""

    reason: str


def owner_of(cursor: Cursor, run: RunRow) -> Principal:
    """The owner as they are now, by the API key that began the run where one did; kept so until the transaction ends.
    RightsLost: they, or the key, may not trade this account."""
    return _trader(cursor, run.owner, run.account, key_id=run.key_id, scopes=("strategies:write", "orders:write"))


def _trader(
    cursor: Cursor,
    principal: str,
    account: str,
    *,
    key_id: int | None = None,
    scopes: Sequence[str] = ("orders:write",),
) -> Principal:
    """A user who may trade an account, kept so until the transaction ends. RightsLost."""
    user = users.locked(cursor, int(principal.removeprefix("user:") or 0), shared=True)
    if user is None or not user.is_active:
        raise RightsLost("its owner may not sign in any more")
    found = Principal(principal, user.username, frozenset(user.scopes), accounts=frozenset(user.accounts))
    _require(found, "its owner", account, scopes)
    if key_id is not None:
        key = api_keys.locked_live(cursor, key_id)
        if key is None:
            raise RightsLost("the API key that began it is revoked, or has expired")
        owned = user_accounts(user.scopes, user.accounts)
        found = found._replace(
            scopes=key_scopes(user.scopes, key.scopes), accounts=key_accounts(owned, key.accounts), key_id=key_id
        )
        _require(found, "the API key that began it", account, scopes)
    return found


def _require(caller: Principal, who: str, account: str, scopes: Sequence[str]) -> None:
    for scope in scopes:
        if not caller.may(scope):
            raise RightsLost(f"{who} has lost the scope {scope}")
    if not caller.may_use(account):
        raise RightsLost(f"{who} may not use the account {account} any more")


def submit(cursor: Cursor, run: RunRow, message: Mapping[str, Any], settings: OrderModeSettings) -> Placed | Refused:
    """Accept or deny an order of a run; one that was accepted before is found again, whatever has changed since. run: as it is
    now, held (`leases.held`). RightsLost."""
    caller = Caller(run.principal, message["client_order_id"], fingerprint(message))
    try:
        before = place.repeated(cursor, caller)
        if before is not None:
            return before
        if reason := _refusal(run, message, settings):
            return Refused(reason)
        owner_of(cursor, run)
        instrument = instruments.by_id(cursor, message["con_id"])
        if instrument is None or instrument.con_id not in run.con_ids:
            return Refused(f"the contract {message['con_id']} is not one of this run")
        return _place(cursor, ticket_of(message, instrument, run.account), caller, settings)
    except (InvalidInput, Conflict) as wrong:
        return Refused(wrong.detail)


def _refusal(run: RunRow, message: Mapping[str, Any], settings: OrderModeSettings) -> str:
    """Why an order of a run is none, whoever owns it; empty when nothing is wrong."""
    if run.wanted in _ENDING or run.state == RunState.STOPPING:  # nobody would end it any more
        return "the run is being stopped"
    if message["client_order_id"].startswith(HOST_KEYS):
        return f"the name {message['client_order_id']} is the host's own: another one may not begin with {HOST_KEYS}"
    if message["order_type"] not in TYPES:
        return f"the ledger has no orders of type {message['order_type']}"
    return "orders are switched off by the setting NAUTILUS_ORDERS" if settings.orders == "off" else ""


def close_position(cursor: Cursor, run: RunRow, ticket: Ticket, *, key: str, settings: OrderModeSettings) -> Placed:
    """The order that ends what a run holds; one that its checks refuse makes no row. run: as it is now. RightsLost: whoever wants
    it flat may not trade its account. InvalidInput, Conflict."""
    _trader(cursor, run.wanted_by if run.wanted_by.startswith("user:") else run.owner, run.account)
    caller = Caller(run.principal, key, key)
    checked = _place(cursor, replace(ticket, dry_run=True), caller, settings)
    return checked if checked.denied else _place(cursor, ticket, caller, settings)


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
