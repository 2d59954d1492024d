"""Executions that a report has and that nobody here knew, written by few statements."""

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from nautilus.db.cursor import Cursor
from nautilus.db.orders import missed_fills, positions, risk_book
from nautilus.db.orders.exact import total
from nautilus.db.orders.executions import RATE_OF_ROW
from nautilus.db.orders.frames import as_json, clean_text
from nautilus.db.rows import insert_rows
from nautilus.orders.identity import execution_key
from nautilus.orders.words import Execution


class NewFill(NamedTuple):
    """An execution that is in no revision here and belongs to no order, and what it has cost, as far as that is known."""

    word: Execution
    commission: Decimal | None = None
    currency: str | None = None
    realized: Decimal | None = None


def put_new(cursor: Cursor, account: str, fills: Sequence[NewFill]) -> None:
    """Write many executions of an account by few statements, and move the positions; the caller holds account and contracts,
    knows that none of them is there, and books their contracts anew in the same transaction."""
    insert_rows(cursor, "executions", _NEW_TYPES, [_new_row(fill) for fill in fills])
    ids = [fill.word.exec_id for fill in fills]
    cursor.execute(
        "WITH early AS (DELETE FROM early_commissions WHERE exec_id = ANY(%(ids)s) RETURNING *)"
        " UPDATE executions e SET commission = early.commission, commission_currency = early.currency,"
        " broker_realized = early.realized FROM early WHERE e.account = %(account)s AND e.exec_id = early.exec_id",
        {"account": account, "ids": ids},
    )
    cursor.execute(
        f"UPDATE executions e SET fx_rate = ({RATE_OF_ROW}) WHERE e.account = %s AND e.exec_id = ANY(%s)",
        (account, ids),
    )
    opened = positions.opened_at(cursor, account)
    for con_id in sorted({fill.word.con_id for fill in fills}):
        own = [fill.word for fill in fills if fill.word.con_id == con_id]
        included = [word for word in own if opened is not None and word.time_ns < opened]
        if included:
            change = total(_signed(word) for word in included)
            earliest = min(word.time_ns for word in included)
            positions.move_opening_back(cursor, account, con_id, change, at=earliest)
        newer = [word for word in own if opened is None or word.time_ns >= opened]
        written = {execution_key(word.exec_id).base: word.time_ns for word in newer}
        explained = missed_fills.take_place(cursor, account, con_id, written) or Decimal(0)
        risk_book.move(cursor, account, con_id, total((explained, *map(_signed, newer))))


def _signed(word: Execution) -> Decimal:
    return word.quantity if word.side == "BUY" else word.quantity.copy_negate()


_NEW_TYPES = {
    **dict.fromkeys(("account", "exec_base", "exec_id", "side", "exchange", "commission_currency"), "text"),
    **dict.fromkeys(("perm_id", "con_id", "ts", "broker_order_id"), "bigint"),
    **dict.fromkeys(("revision", "client_id"), "integer"),
    **dict.fromkeys(("quantity", "price", "commission", "broker_realized"), "numeric"),
    "latest": "boolean",
    "raw": "jsonb",
}


def _new_row(one: NewFill) -> tuple[object, ...]:
    word, (base, revision) = one.word, execution_key(one.word.exec_id)
    values = {
        "account": word.account,
        "exec_base": base,
        "revision": revision,
        "exec_id": word.exec_id,
        "perm_id": word.perm_id,
        "client_id": word.client_id,
        "broker_order_id": word.order_id,
        "con_id": word.con_id,
        "side": word.side,
        "quantity": word.quantity,
        "price": word.price,
        "exchange": clean_text(word.exchange),
        "ts": word.time_ns,
        "latest": True,
        "raw": as_json(word.raw),
        "commission": one.commission,
        "commission_currency": one.currency,
        "broker_realized": one.realized,
    }
    return tuple(values[name] for name in _NEW_TYPES)
