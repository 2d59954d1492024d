"""What the routes of orders do: from a body to rows, each in one transaction; whose orders a caller sees."""

import hashlib
import json
from dataclasses import replace
from decimal import Decimal
from uuid import UUID

from nautilus.auth.principal import Principal
from nautilus.auth.scopes import ALL_ACCOUNTS
from nautilus.db.bridge.status import market_now
from nautilus.db.connection import Database
from nautilus.db.cursor import Cursor
from nautilus.db.market import instruments
from nautilus.db.orders import account_state, orders, requests, risk_book
from nautilus.db.orders.orders import OrderRow
from nautilus.errors import Conflict, InvalidInput, NotFound, Unavailable
from nautilus.market.instrument import Instrument
from nautilus.orders import account_events, change, front_end, place
from nautilus.orders.change import Changed
from nautilus.orders.check_case import plain
from nautilus.orders.facts import Facts
from nautilus.orders.market_facts import market_facts
from nautilus.orders.outcome import Terms
from nautilus.orders.place import Placed
from nautilus.orders.placing_rows import Caller
from nautilus.orders.preview import Preview, preview
from nautilus.orders.prices import rounded
from nautilus.orders.schemas import ChangeRequest, OrderRequest
from nautilus.orders.ticket import Origin, Ticket
from nautilus.settings.orders import OrderModeSettings

DOUBLE_CLICK_S = 10
"""Machine time within which the web front end's second click on the same order means the first."""


class OrderDesk:
    """Takes orders and changes of callers, and shows them their orders."""

    def __init__(self, database: Database, settings: OrderModeSettings) -> None:
        self._db = database
        self._settings = settings

    # ---- placing -----------------------------------------------------------------------------------------------------

    def place(self, body: OrderRequest, instrument: Instrument, principal: Principal, *, key: str) -> Placed:
        """Accept or deny an order. InvalidInput: no account, or the key belongs to another body."""
        self._require_orders()
        caller = Caller(principal.id, key, fingerprint(body))
        with self._db.transaction() as cursor:
            ticket, facts = self._ticket(cursor, body, instrument, principal)
            return place.place(cursor, ticket, caller, facts)

    def place_once(self, body: OrderRequest, instrument: Instrument, principal: Principal) -> Placed:
        """The same for the web front end, which sends no key: the same order within DOUBLE_CLICK_S is one order.

        Who looks for an order of before holds the lock of the account, so that of two clicks at once the second finds the
        first. An order that was denied is checked anew: it never left.
        """
        self._require_orders()
        caller = Caller(principal.id, None, fingerprint(body))
        with front_end.may_be_stored(), self._db.transaction() as cursor:
            ticket, facts = self._ticket(cursor, body, instrument, principal, origin=Origin.FRONT_END)
            risk_book.lock_account(cursor, ticket.account)
            before = orders.same_lately(
                cursor,
                ticket.account,
                principal=caller.principal,
                fingerprint=caller.fingerprint,
                within_s=DOUBLE_CLICK_S,
            )
            if before is not None:
                return Placed((before,), repeated=True)
            return place.place(cursor, ticket, caller, facts)

    def preview(
        self, body: OrderRequest, instrument: Instrument, principal: Principal, *, what_if_id: UUID | None = None
    ) -> Preview:
        """All checks, those of the process too; no order is written, and none is sent. what_if_id: the what-if
        order that is answered meanwhile, or was not in time; None: a question to IB is wanted now."""
        self._require_orders()
        with self._db.transaction() as cursor:
            ticket, facts = self._ticket(cursor, body, instrument, principal)
            return preview(cursor, ticket, facts, principal.id, what_if_id=what_if_id)

    def _ticket(
        self,
        cursor: Cursor,
        body: OrderRequest,
        instrument: Instrument,
        principal: Principal,
        *,
        origin: Origin = Origin.API,
    ) -> tuple[Ticket, Facts]:
        account = account_of(cursor, body.account, principal)
        ticket = body.ticket(account, instrument, origin)
        facts = self._facts(cursor, instrument, account, principal)
        if ticket.round_prices and facts.rule is not None:
            prices = rounded(ticket.prices, facts.rule, side=ticket.side, order_type=ticket.type)
            ticket = replace(ticket, prices=prices)
        return ticket, facts

    def _facts(self, cursor: Cursor, instrument: Instrument, account: str, principal: Principal) -> Facts:
        facts = market_facts(cursor, instrument, account, now=market_now(cursor), settings=self._settings)
        return replace(facts, may_trade=principal.may("orders:write") and principal.may_use(account))

    def _require_orders(self) -> None:
        if self._settings.orders == "off":
            raise Conflict("orders are switched off by the setting NAUTILUS_ORDERS", code="orders-off")

    # ---- changing ----------------------------------------------------------------------------------------------------

    def modify(
        self, order_id: UUID, body: ChangeRequest, principal: Principal, *, version: int | None, key: str | None
    ) -> Changed:
        """Ask for other terms of an order. Conflict: it changed since `version` (None: whatever it is now), is over, or
        something is under way. InvalidInput with the checks that refuse it."""
        self._require_orders()
        with self._db.transaction() as cursor:
            row = visible(cursor, order_id, principal)
            instrument = instruments.by_id(cursor, row.con_id)
            if instrument is None:
                raise NotFound(f"the contract {row.con_id} is not known any more", code="unknown-instrument")
            done = change.modify(
                cursor,
                order_id,
                Terms(body.quantity, body.limit_price, body.stop_price, body.trail_amount, body.trail_percent),
                Caller(principal.id, key, fingerprint(body)),
                version=version,
                instrument=instrument,
                facts=self._facts(cursor, instrument, row.account, principal),
            )
        if done.refusals:
            text = "; ".join(one.sentence for one in done.refusals)
            extra = {"checks": [one.as_dict() for one in done.refusals]}
            raise InvalidInput(f"the change is denied: {text}", code="order-denied", extra=extra)
        return done

    def cancel(self, order_id: UUID, principal: Principal) -> Changed:
        """Ask for the end of an order; again: the same request. No check stands before it, nor the mode of orders."""
        with self._db.transaction() as cursor:
            visible(cursor, order_id, principal)
            return change.cancel(cursor, order_id, Caller(principal.id), now=market_now(cursor))

    def cancel_all(self, account: str, principal: Principal) -> list[Changed]:
        """Ask for the end of every open order of an account that came through this system."""
        principal.require_account(account)
        with self._db.transaction() as cursor:
            now = market_now(cursor)
            risk_book.lock_account(cursor, account)
            done = []
            for row in orders.open_of(cursor, account):
                alive = orders.read(cursor, row.id)  # a bracket's exits end with their entry
                if alive is not None and alive.alive and alive.origin != Origin.EXTERNAL:
                    done.append(change.cancel(cursor, row.id, Caller(principal.id), now=now))
            risk_book.forget_unused(cursor, account)
            return done

    def resolve(self, order_id: UUID, outcome: change.ResolvedAs, *, by: Principal, note: str) -> OrderRow:
        """Say what became of an order that is `unknown`."""
        with self._db.transaction() as cursor:
            visible(cursor, order_id, by)
            return change.resolve(cursor, order_id, outcome, by=by.name, note=note, now=market_now(cursor))

    # ---- reading -----------------------------------------------------------------------------------------------------

    def newest(self, row: OrderRow) -> OrderRow:
        """The order as it is by now; as it was, while the database is away: who placed it must learn that it is stored."""
        return self.newest_change(Changed(row, None)).order

    def newest_change(self, done: Changed) -> Changed:
        """The same of a change: its order and its request."""
        try:
            with self._db.transaction(snapshot=True, brief=True) as cursor:
                row = orders.read(cursor, done.order.id) or done.order
                request = requests.read(cursor, done.request.id) if done.request is not None else None
                return done._replace(order=row, request=request or done.request)
        except Unavailable:
            return done

    def overview(self, principal: Principal) -> list[OrderRow]:
        """The list of the web front end: orders of the caller's accounts."""
        with self._db.transaction(snapshot=True) as cursor:
            return account_events.overview(cursor, readable(None, principal))


def fingerprint(body: OrderRequest | ChangeRequest) -> str:
    """What makes two bodies the same: their fields and values, however they were written."""
    given = body.model_dump(exclude_defaults=True)
    return hashlib.sha256(json.dumps(given, sort_keys=True, default=_written).encode()).hexdigest()


def _written(value: object) -> str:
    """A number as text, the same for 100 and 100.00."""
    return plain(value) if isinstance(value, Decimal) else str(value)


def visible(cursor: Cursor, order_id: UUID, principal: Principal) -> OrderRow:
    """An order that the caller may see. NotFound for others, so that nobody learns that they exist."""
    row = orders.read(cursor, order_id)
    if row is None or not principal.may_use(row.account):
        raise NotFound(f"there is no order {order_id}", code="order-not-found")
    return row


def account_of(cursor: Cursor, given: str | None, principal: Principal) -> str:
    """The account of an order: the one that is named, else the only one that the caller may use.

    Forbidden for an account of others; InvalidInput where none is named and there are several, or none.
    """
    if given is not None:
        principal.require_account(given)
        return given
    known = accounts_of(cursor, principal)
    if len(known) != 1:
        raise InvalidInput.field("account", "is missing, and there is not exactly one that the caller may use", known)
    return known[0]


def accounts_of(cursor: Cursor, principal: Principal) -> list[str]:
    """The accounts that the caller may use, as far as a gateway named them."""
    return [name for name in account_state.names(cursor) if principal.may_use(name)]


def readable(given: str | None, principal: Principal) -> list[str] | None:
    """Of which accounts a caller lists orders; None: of all. Forbidden for an account of others."""
    if given is not None:
        principal.require_account(given)
        return [given]
    if principal.admin or ALL_ACCOUNTS in principal.accounts:
        return None
    return sorted(principal.accounts)
