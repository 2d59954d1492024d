"""What a person says about an account: why a position differs, at which price, and which cash came or went."""

from decimal import Decimal
from typing import Any

from nautilus.auth.principal import Client, Principal
from nautilus.db.auth import audit
from nautilus.db.bridge.status import market_now
from nautilus.db.connection import Database
from nautilus.db.cursor import Cursor
from nautilus.db.orders import missed_fills, positions, risk_book
from nautilus.db.orders.exact import difference
from nautilus.db.orders.positions import Adjustment, BreakRow, Terms
from nautilus.db.portfolio import cash
from nautilus.db.portfolio.cash import Movement
from nautilus.errors import Conflict, InvalidInput, NotFound
from nautilus.portfolio.contracts import contracts
from nautilus.portfolio.reading import adjustment_json, break_json
from nautilus.portfolio.schemas import CashRequest, PriceRequest, ResolveBreakRequest


class Resolving:
    """Each method is one transaction, holds the account, and is written into the audit log."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def resolve(self, break_id: int, body: ResolveBreakRequest, by: Principal, client: Client) -> dict[str, Any]:
        """Close a break by an adjustment of its whole difference.

        NotFound: there is none, or it is of an account of others. Conflict: it is over, or IB's position is another by now.
        """
        with self._db.transaction() as cursor:
            found = self._break(cursor, break_id, by)
            risk_book.lock_account(cursor, found.account)
            risk_book.lock_exposure(cursor, found.account, found.con_id)
            now = market_now(cursor)
            if body.at is not None and body.at > now:
                raise InvalidInput.field("at", "lies in the future of market time")
            adjustment = Adjustment(
                found.account,
                found.con_id,
                self._missing(cursor, found),
                body.kind,
                body.reason,
                by.id,
                body.at if body.at is not None else now,
                body.price,
                *_cost(cursor, found.con_id, body),
                covers_until=missed_fills.broker_as_of(cursor, found.account, found.con_id) or now,
            )
            closed = positions.resolve_break(cursor, found, adjustment)
            if closed is None or closed.adjustment_id is None:
                raise Conflict(f"the break {break_id} is over already", code="break-over")
            audit.record(
                cursor,
                "position-break-resolved",
                actor=by.id,
                client=client,
                detail={"break": break_id, "kind": body.kind},
            )
            made = positions.adjustments(cursor, [closed.adjustment_id])
            return break_json(closed, contracts(cursor, [closed.con_id]), {row.id: row for row in made})

    def _break(self, cursor: Cursor, break_id: int, by: Principal) -> BreakRow:
        found = positions.break_of(cursor, break_id)
        if found is None or not by.may_use(found.account):
            raise NotFound(f"there is no break {break_id}", code="break-not-found")
        if found.until is not None:
            raise Conflict(f"the break {break_id} is over already", code="break-over")
        return found

    def _missing(self, cursor: Cursor, found: BreakRow) -> Decimal:
        """The difference as it is now, with the account held."""
        now = next((row for row in positions.differences(cursor, found.account) if row.con_id == found.con_id), None)
        if now is None:
            raise Conflict("our position and IB's agree by now; the break ends by itself", code="break-over")
        return difference(now.broker, now.expected)

    def price(self, adjustment_id: int, body: PriceRequest, by: Principal, client: Client) -> dict[str, Any]:
        """Say at which price an adjustment was made, and what it has cost: what it opened or closed gets a profit. Conflict: that
        is known."""
        if body.price is None and body.commission is None:
            raise InvalidInput.field("price", "is needed, or a commission")
        with self._db.transaction() as cursor:
            rows = positions.adjustments(cursor, [adjustment_id])
            if not rows or not by.may_use(rows[0].account):
                raise NotFound(f"there is no adjustment {adjustment_id}", code="adjustment-not-found")
            risk_book.lock_account(cursor, rows[0].account)
            risk_book.lock_exposure(cursor, rows[0].account, rows[0].con_id)
            (row,) = positions.adjustments(cursor, [adjustment_id])
            if row.explained and not row.quantity:
                raise Conflict(f"executions explain the whole adjustment {adjustment_id}", code="adjustment-explained")
            terms = Terms(body.price, *_cost(cursor, row.con_id, body, kind=row.kind))
            changed = positions.complete(cursor, adjustment_id, terms)
            if changed is None:
                known = "commission" if body.price is None or row.price is None else "price"
                raise Conflict(f"the {known} of adjustment {adjustment_id} is known", code="price-known")
            detail = {name: str(value) for name, value in terms._asdict().items() if value is not None}
            audit.record(
                cursor,
                "adjustment-priced",
                actor=by.id,
                client=client,
                detail={"adjustment": adjustment_id, **detail},
            )
            return adjustment_json(changed)

    def cash(self, body: CashRequest, by: Principal, client: Client) -> int:
        """Enter cash that came or went; returns its id. Conflict: one with this external id is there."""
        with self._db.transaction() as cursor:
            risk_book.lock_account(cursor, body.account)
            if body.at > market_now(cursor):
                raise InvalidInput.field("at", "lies in the future of market time")
            if body.external_id is None and not body.allow_duplicate:
                _require_new(cursor, body)
            movement = Movement(
                body.account,
                body.currency,
                body.amount,
                body.kind,
                body.at,
                body.text,
                "person",
                body.external_id,
                by.id,
            )
            made = cash.put(cursor, movement)
            if made is None:
                raise Conflict(f"there is a cash movement with the id {body.external_id}", code="cash-known")
            audit.record(
                cursor,
                "cash-entered",
                actor=by.id,
                client=client,
                detail={
                    "account": body.account,
                    "currency": body.currency,
                    "amount": str(body.amount),
                    "kind": body.kind,
                },
            )
            return made


def _cost(
    cursor: Cursor, con_id: int, body: ResolveBreakRequest | PriceRequest, *, kind: str | None = None
) -> tuple[Decimal | None, str | None]:
    """Commission and its currency, the contract's unless the body names one. kind: of an adjustment that is there already.
    InvalidInput: only missed fills have cost something, or the currency is not known."""
    if body.commission is None:
        return None, None
    if (kind or getattr(body, "kind", None)) != "missed_fills":
        raise InvalidInput.field("commission", "only an adjustment of the kind missed_fills has a commission")
    currency = body.commission_currency or contracts(cursor, [con_id])[con_id].currency
    if currency is None:
        raise InvalidInput.field("commission_currency", f"is needed: contract {con_id} is not known here")
    return body.commission, currency


def _require_new(cursor: Cursor, body: CashRequest) -> None:
    """Conflict: a statement has this movement already."""
    found = cash.alike(cursor, body.account, body.currency, body.amount, kind=body.kind, at=body.at, entered=False)
    if found is not None:
        raise Conflict(
            f"movement {found} of a statement has this amount within four days; with allow_duplicate it is entered nevertheless",
            code="cash-known",
        )
