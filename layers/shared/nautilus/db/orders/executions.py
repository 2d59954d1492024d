"""Executions as rows, one per revision: a higher revision replaces a lower one and never adds to it.

Whoever writes one holds the locks of its account and contract; the position moves in the same transaction.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from nautilus.clock import NS_PER_DAY
from nautilus.db.cursor import Cursor
from nautilus.db.orders import missed_fills, positions, risk_book
from nautilus.db.orders.exact import difference, total
from nautilus.db.orders.frames import as_json, clean_text
from nautilus.db.portfolio import booking
from nautilus.db.rows import every, one, one_or_none, there
from nautilus.orders.identity import execution_key
from nautilus.orders.words import Commission, Execution

_ZERO = Decimal(0)


class ExecutionRow(NamedTuple):
    """A row of `executions`. ts: market time in ns. commission and broker_realized: None until IB sent them. fx_rate: what
    one unit of the contract's currency was worth in the account's base currency then, where IB had sent it."""

    account: str
    exec_base: str
    revision: int
    exec_id: str
    order_id: UUID | None
    perm_id: int
    client_id: int | None
    broker_order_id: int | None
    con_id: int
    side: str
    quantity: Decimal
    price: Decimal
    exchange: str
    ts: int
    commission: Decimal | None
    commission_currency: str | None
    broker_realized: Decimal | None
    latest: bool
    seen_at: datetime
    raw: Mapping[str, Any]
    fx_rate: Decimal | None


class Put(NamedTuple):
    """What writing an execution did. new: its first revision that we see. replaced: it replaced a lower one. Neither:
    it, or a higher one, was there. change: by how much the position moved. moved_back: it moved the opening instead.
    explains: it replaced missed fills that a person had booked."""

    new: bool
    replaced: bool
    change: Decimal = _ZERO
    moved_back: bool = False
    explains: bool = False


class Sum(NamedTuple):
    """The executions of an order, latest revisions: quantity, and average price (None without any)."""

    filled: Decimal
    average: Decimal | None


_COLUMNS = ", ".join(ExecutionRow._fields)


class _Before(NamedTuple):
    """What was there before an execution is written. revision, order_id, signed, just_now: of its latest revision, None
    without one; just_now: it came within the last seconds. opened_at: of the account's positions. adjusted: somebody booked
    missed fills of the contract. ahead: by how much IB's position, as it came last, is more than ours."""

    revision: int | None
    order_id: UUID | None
    signed: Decimal | None
    just_now: bool | None
    opened_at: int | None
    adjusted: bool
    ahead: Decimal

    def opening_includes(self, word: Execution) -> bool:
        """The opening is what IB held after this execution."""
        return self.opened_at is not None and word.time_ns < self.opened_at


def put(cursor: Cursor, word: Execution, order_id: UUID | None) -> Put:
    """Write an execution or its correction, move the position and book its lots. order_id: None when it fits no order; written
    once more with one, it is linked to that."""
    done = put_unbooked(cursor, word, order_id)
    if done.new and not done.moved_back and not done.explains:
        signed = word.quantity if word.side == "BUY" else -word.quantity
        fact = booking.execution_fact(execution_key(word.exec_id).base, word.time_ns, signed, word.price)
        booking.add(cursor, word.account, word.con_id, fact)
    elif done.new or done.replaced:
        booking.rebook(cursor, word.account, word.con_id)
    return done


def put_unbooked(cursor: Cursor, word: Execution, order_id: UUID | None) -> Put:
    """The same without its lots: for who writes many of a contract, and books it anew in the same transaction."""
    base, revision = execution_key(word.exec_id)
    before = _before(cursor, word, base)
    if before.revision is not None and revision <= before.revision:
        _link(cursor, word.account, base, order_id)
        return Put(new=False, replaced=False)
    is_new = before.revision is None
    if not is_new:
        cursor.execute(
            "UPDATE executions SET latest = false WHERE account = %s AND exec_base = %s AND latest",
            (word.account, base),
        )
    _insert(cursor, word, base, revision, order_id=order_id or before.order_id)
    signed = word.quantity if word.side == "BUY" else -word.quantity
    change = difference(signed, before.signed or _ZERO)
    if before.opening_includes(word) and (is_new or _is_old_news(word, before, change)):
        positions.move_opening_back(cursor, word.account, word.con_id, change, at=word.time_ns)
        return Put(new=is_new, replaced=not is_new, moved_back=True)
    explained = _explained(cursor, word, base, before)
    change = total((change, explained or _ZERO))
    risk_book.move(cursor, word.account, word.con_id, change)
    return Put(new=is_new, replaced=not is_new, change=change, explains=explained is not None)


_ANSWER_S = 30
"""An answer with executions is over within this time."""
_BEFORE = (
    "SELECT e.revision, e.order_id, CASE e.side WHEN 'BUY' THEN e.quantity ELSE -e.quantity END AS signed,"
    f" e.seen_at > clock_timestamp() - interval '{_ANSWER_S} s' AS just_now, a.opened_at,"
    " EXISTS (SELECT FROM position_adjustments p WHERE p.account = %(account)s AND p.con_id = %(con_id)s"
    f"  AND p.kind = '{missed_fills.KIND}') AS adjusted, coalesce(i.quantity, 0) - coalesce(r.position, 0) AS ahead"
    " FROM (SELECT) always LEFT JOIN accounts a ON a.account = %(account)s"
    " LEFT JOIN executions e ON e.account = %(account)s AND e.exec_base = %(base)s AND e.latest"
    " LEFT JOIN broker_positions i ON i.account = %(account)s AND i.con_id = %(con_id)s"
    " LEFT JOIN risk_book r ON r.account = %(account)s AND r.con_id = %(con_id)s"
)


def _before(cursor: Cursor, word: Execution, base: str) -> _Before:
    cursor.execute(_BEFORE, {"account": word.account, "con_id": word.con_id, "base": base})
    return one(cursor, _Before)


def _is_old_news(word: Execution, before: _Before, change: Decimal) -> bool:
    """Whether IB's opening position had the correction of an older execution in it: one answer has both, and IB's position has
    not moved by it since. A correction that comes by itself, or later, happened after the opening."""
    return word.request_id >= 0 and bool(before.just_now) and before.ahead != change


def _explained(cursor: Cursor, word: Execution, base: str, before: _Before) -> Decimal | None:
    """By how much less missed fills that a person booked add to the position from now on; None: none is concerned."""
    if not before.adjusted:
        return None
    if before.revision is None:
        return missed_fills.take_place(cursor, word.account, word.con_id, {base: word.time_ns})
    return missed_fills.supersede(cursor, word.account, word.con_id)


# IB repeats its rates every three minutes. One of another day tells nothing about this fill.
_RATE = (
    "SELECT v.value::numeric FROM instruments i JOIN account_values v ON v.account = {account} AND v.tag = 'ExchangeRate'"
    "  AND v.currency = i.currency WHERE i.con_id = {con_id} AND v.value ~ '^[0-9]{{1,12}}([.][0-9]{{1,20}})?$'"
    f"  AND v.value::numeric > 0 AND abs(v.as_of - {{ts}}) < {NS_PER_DAY}"
)
RATE_OF_ROW = _RATE.format(account="e.account", con_id="e.con_id", ts="e.ts")
"""Of a row `e`."""
_RATE_OF_VALUES = _RATE.format(account="%(account)s", con_id="%(con_id)s", ts="%(ts)s")


def _insert(cursor: Cursor, word: Execution, base: str, revision: int, *, order_id: UUID | None) -> None:
    cursor.execute(
        "WITH early AS (DELETE FROM early_commissions WHERE exec_id = %(exec_id)s RETURNING *)"
        " INSERT INTO executions (account, exec_base, revision, exec_id, order_id, perm_id, client_id, broker_order_id,"
        "  con_id, side, quantity, price, exchange, ts, latest, raw, commission, commission_currency, broker_realized,"
        "  fx_rate)"
        " SELECT %(account)s, %(base)s, %(revision)s, %(exec_id)s, %(order_id)s::uuid, %(perm_id)s, %(client_id)s,"
        "  %(broker_order_id)s, %(con_id)s, %(side)s, %(quantity)s, %(price)s, %(exchange)s, %(ts)s, true, %(raw)s,"
        "  (SELECT commission FROM early), (SELECT currency FROM early), (SELECT realized FROM early),"
        f"  ({_RATE_OF_VALUES})",
        {
            "account": word.account,
            "base": base,
            "revision": revision,
            "exec_id": word.exec_id,
            "order_id": order_id,
            "perm_id": word.perm_id,
            "client_id": word.client_id,
            "broker_order_id": word.order_id,
            "con_id": word.con_id,
            "side": word.side,
            "quantity": word.quantity,
            "price": word.price,
            "exchange": clean_text(word.exchange),
            "ts": word.time_ns,
            "raw": as_json(word.raw),
        },
    )


def _link(cursor: Cursor, account: str, base: str, order_id: UUID | None) -> None:
    if order_id is not None:
        cursor.execute(
            "UPDATE executions SET order_id = %s WHERE account = %s AND exec_base = %s AND order_id IS NULL",
            (order_id, account, base),
        )


def sum_of(cursor: Cursor, order_id: UUID) -> Sum:
    """How much of an order has filled, and at which average price."""
    cursor.execute(
        "SELECT coalesce(sum(quantity), 0) AS filled, sum(quantity * price) / nullif(sum(quantity), 0) AS average"
        " FROM executions WHERE order_id = %s AND latest",
        (order_id,),
    )
    return one(cursor, Sum)


def by_exec_id(cursor: Cursor, exec_id: str) -> ExecutionRow | None:
    """The row of one revision, by IB's whole id of it."""
    cursor.execute(f"SELECT {_COLUMNS} FROM executions WHERE exec_id = %s ORDER BY account LIMIT 1", (exec_id,))
    return one_or_none(cursor, ExecutionRow)


def commission(cursor: Cursor, word: Commission) -> bool:
    """Store what IB charged for an execution. False when that is not there yet: `put` then takes the commission along."""
    charged = {
        "exec_id": clean_text(word.exec_id),
        "commission": word.commission,
        "currency": clean_text(word.currency),
        "realized": word.realized,
    }
    cursor.execute(
        "UPDATE executions SET commission = %(commission)s, commission_currency = %(currency)s,"
        " broker_realized = %(realized)s WHERE exec_id = %(exec_id)s RETURNING 1",
        charged,
    )
    if there(cursor):
        return True
    cursor.execute(
        "INSERT INTO early_commissions (exec_id, commission, currency, realized)"
        " VALUES (%(exec_id)s, %(commission)s, %(currency)s, %(realized)s) ON CONFLICT (exec_id) DO UPDATE"
        " SET commission = excluded.commission, currency = excluded.currency, realized = excluded.realized",
        charged,
    )
    return False


def of_order(cursor: Cursor, order_id: UUID) -> list[ExecutionRow]:
    """The executions of an order, latest revisions, the oldest first."""
    cursor.execute(
        f"SELECT {_COLUMNS} FROM executions WHERE order_id = %s AND latest ORDER BY ts, exec_base", (order_id,)
    )
    return every(cursor, ExecutionRow)


def of_orders(cursor: Cursor, order_ids: Sequence[UUID]) -> dict[UUID, list[ExecutionRow]]:
    """The same of several orders."""
    found: dict[UUID, list[ExecutionRow]] = {order_id: [] for order_id in order_ids}
    cursor.execute(
        f"SELECT {_COLUMNS} FROM executions WHERE order_id = ANY(%s::uuid[]) AND latest ORDER BY ts, exec_base",
        (list(order_ids),),
    )
    for row in every(cursor, ExecutionRow):
        if row.order_id is not None:
            found[row.order_id].append(row)
    return found


class _EventFill(NamedTuple):
    event_id: int
    account: str
    exec_base: str
    revision: int


def of_events(cursor: Cursor, event_ids: Sequence[int]) -> dict[int, list[ExecutionRow]]:
    """Event -> the revisions, up to its own, of the fill that it brought. Events that brought nothing new have none: IB
    repeats executions, and sends lower revisions late."""
    cursor.execute(
        "SELECT e.id AS event_id, x.account, x.exec_base, x.revision FROM order_events e"
        f" JOIN executions x ON x.exec_id = {_EXEC_ID.format('e')} AND x.account = e.account"
        " WHERE e.id = ANY(%s) AND e.kind IN ('execution', 'commission') AND (e.kind = 'commission' OR NOT EXISTS"
        "  (SELECT 1 FROM order_events b WHERE b.order_id = e.order_id AND b.id < e.id AND b.kind = 'execution'"
        f"   AND {_EXEC_ID.format('b')} = x.exec_id))",
        (list(event_ids),),
    )
    found = every(cursor, _EventFill)
    cursor.execute(
        f"SELECT {_COLUMNS} FROM executions WHERE (account, exec_base) IN (SELECT * FROM unnest(%s::text[], %s::text[]))"
        " ORDER BY revision",
        ([one.account for one in found], [one.exec_base for one in found]),
    )
    rows = every(cursor, ExecutionRow)
    return {
        one.event_id: [
            row
            for row in rows
            if (row.account, row.exec_base) == (one.account, one.exec_base) and row.revision <= one.revision
        ]
        for one in found
    }


_EXEC_ID = "coalesce({0}.frame->>'execId', {0}.frame->>'exec_id')"
"""IB's id of the execution that an event brought: by IB's name of the field, or, where only the word was kept, by ours."""


def without_commission(cursor: Cursor, until: int, limit: int = 1_000) -> list[ExecutionRow]:
    """Executions up to a market time (ns) for which IB has charged nothing yet, the newest first."""
    cursor.execute(
        f"SELECT {_COLUMNS} FROM executions WHERE commission IS NULL AND latest AND quantity > 0"
        " AND ts <= %s ORDER BY ts DESC, exec_id LIMIT %s",
        (until, limit),
    )
    return every(cursor, ExecutionRow)
