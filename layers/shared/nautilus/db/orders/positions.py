"""Positions: what an account had at first, what changed it beside executions, what IB says, and where both differ.

expected position = opening + signed executions (latest revisions) + adjustments; `risk_book.position` holds it. Whoever
changes it holds the locks of the account and the contract.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from nautilus.db.cursor import Cursor
from nautilus.db.orders import missed_fills, risk_book
from nautilus.db.orders.exact import difference
from nautilus.db.orders.frames import clean_text
from nautilus.db.portfolio import booking
from nautilus.db.rows import every, insert_rows, one, one_or_none, scalar, scalar_or_none
from nautilus.orders.words import Position


class BrokerPosition(NamedTuple):
    """A row of `broker_positions`. as_of: market time in ns."""

    account: str
    con_id: int
    quantity: Decimal
    avg_cost: Decimal | None
    as_of: int


class Difference(NamedTuple):
    """A contract of which IB says something else than we do. Units of the contract."""

    account: str
    con_id: int
    expected: Decimal
    broker: Decimal


class BreakRow(NamedTuple):
    """A row of `position_breaks`. since, until: machine time; until is None while it is open."""

    id: int
    account: str
    con_id: int
    expected: Decimal
    broker: Decimal
    since: datetime
    until: datetime | None
    adjustment_id: int | None
    by: str
    note: str


_BREAK = ", ".join(BreakRow._fields)


# ---- what IB says ----------------------------------------------------------------------------------------------------


def put_broker(cursor: Cursor, words: Iterable[Position], as_of: int) -> None:
    """Store positions that IB sent; of several of one contract the last."""
    rows = {(word.account, word.con_id): word for word in words}
    insert_rows(
        cursor,
        "broker_positions",
        {"account": "text", "con_id": "bigint", "quantity": "numeric", "avg_cost": "numeric", "as_of": "bigint"},
        [(*key, rows[key].quantity, rows[key].avg_cost, as_of) for key in sorted(rows)],
        then="ON CONFLICT (account, con_id) DO UPDATE SET quantity = excluded.quantity, avg_cost = excluded.avg_cost,"
        " as_of = excluded.as_of",
    )


def put_all_broker(cursor: Cursor, account: str, words: Sequence[Position], as_of: int) -> None:
    """Store all positions of an account, after IB's message that these are all: what it did not name is flat."""
    cursor.execute(
        "UPDATE broker_positions SET quantity = 0, avg_cost = NULL, as_of = %s WHERE account = %s AND con_id <> ALL(%s)",
        (as_of, account, [word.con_id for word in words]),
    )
    put_broker(cursor, words, as_of)


def broker_positions(cursor: Cursor, accounts: Sequence[str]) -> list[BrokerPosition]:
    cursor.execute(
        f"SELECT {', '.join(BrokerPosition._fields)} FROM broker_positions WHERE account = ANY(%s) ORDER BY account, con_id",
        (list(accounts),),
    )
    return every(cursor, BrokerPosition)


# ---- openings --------------------------------------------------------------------------------------------------------


def open_account(cursor: Cursor, account: str, at: int) -> bool:
    """Take IB's positions of an account as its openings, once in its life: what the executions stored so far do not explain.

    The row in `accounts` is there, and `put_all_broker` ran in this transaction. False when the account was opened before.
    IB's average cost is the opening's price, unless executions are stored: then it counts them, too, and nobody knows the price.
    """
    cursor.execute(
        "UPDATE accounts SET opened_at = %s WHERE account = %s AND opened_at IS NULL RETURNING account", (at, account)
    )
    if scalar_or_none(cursor, str) is None:
        return False
    for found in differences(cursor, account, with_pairs=True):
        missing = difference(found.broker, found.expected)
        cursor.execute(
            "INSERT INTO position_openings (account, con_id, quantity, price, at) SELECT %s, %s, %s,"
            " (SELECT avg_cost FROM broker_positions p WHERE account = %s AND con_id = %s AND NOT EXISTS"
            "  (SELECT 1 FROM executions e WHERE e.account = p.account AND e.con_id = p.con_id)), %s",
            (account, found.con_id, missing, account, found.con_id, at),
        )
        risk_book.move(cursor, account, found.con_id, missing)
        booking.rebook(cursor, account, found.con_id)
    return True


def opened_at(cursor: Cursor, account: str) -> int | None:
    """Since when (market time in ns) an account's positions are counted; None before its openings were taken."""
    cursor.execute("SELECT opened_at FROM accounts WHERE account = %s", (account,))
    return scalar_or_none(cursor, int)


def move_opening_back(cursor: Cursor, account: str, con_id: int, signed: Decimal, *, at: int) -> None:
    """An execution older than the opening is stored: the opening was so much different before it. The position stays.

    IB's average cost was that of the whole; of what is left nobody knows it. The caller books the contract anew.
    """
    cursor.execute(
        "INSERT INTO position_openings AS o (account, con_id, quantity, at) VALUES (%s, %s, %s, %s)"
        " ON CONFLICT (account, con_id) DO UPDATE SET quantity = o.quantity + excluded.quantity, price = NULL,"
        " at = least(o.at, excluded.at)",
        (account, con_id, -signed, at),
    )


# ---- adjustments -----------------------------------------------------------------------------------------------------


class Adjustment(NamedTuple):
    """A change of a position that no execution explains. kind: as in docs/data.md. at: market time in ns. commission: what the
    executions that it stands for have cost, in commission_currency; None where nobody knows it. covers_until: all that happened
    until then is in it; None: until `at`."""

    account: str
    con_id: int
    quantity: Decimal
    kind: str
    reason: str
    by: str
    at: int
    price: Decimal | None = None
    commission: Decimal | None = None
    commission_currency: str | None = None
    covers_until: int | None = None


def adjust(cursor: Cursor, new: Adjustment) -> int:
    """Write an adjustment, move the position and book its lots; returns its id."""
    cursor.execute(
        "INSERT INTO position_adjustments (account, con_id, quantity, kind, reason, by, at, price,"
        " commission, commission_currency, covers_until, whole_commission)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING id",
        (*new._replace(reason=clean_text(new.reason)), new.commission),
    )
    made = scalar(cursor, int)
    risk_book.move(cursor, new.account, new.con_id, new.quantity)
    fact = booking.adjustment_fact(made, ts=new.at, quantity=new.quantity, price=new.price, kind=new.kind)
    booking.add(cursor, new.account, new.con_id, fact)
    return made


class AdjustmentRow(NamedTuple):
    """A row of `position_adjustments`. quantity, commission: of what executions do not explain; explained_by: those that do."""

    id: int
    account: str
    con_id: int
    quantity: Decimal
    price: Decimal | None
    kind: str
    reason: str
    by: str
    at: int
    commission: Decimal | None
    commission_currency: str | None
    explained: Decimal
    explained_by: Sequence[str]


_ADJUSTMENT = f"{', '.join(AdjustmentRow._fields[:-1])}, {missed_fills.EXPLAINED_BY} AS explained_by"


def adjustments(cursor: Cursor, ids: Sequence[int]) -> list[AdjustmentRow]:
    """The adjustments with these ids, by id."""
    cursor.execute(
        f"SELECT {_ADJUSTMENT} FROM position_adjustments WHERE id = ANY(%s) ORDER BY id",
        (list(ids),),
    )
    return every(cursor, AdjustmentRow)


def transfers(cursor: Cursor, account: str, since: int, until: int) -> int:
    """How many times securities came or went in [since, until) of market time in ns."""
    cursor.execute(
        "SELECT count(*) FROM position_adjustments WHERE account = %s AND kind = 'transfer' AND at >= %s AND at < %s",
        (account, since, until),
    )
    return scalar(cursor, int)


class Terms(NamedTuple):
    """What is known of an adjustment later: price of a unit, and what is left of it has cost; None: still not known."""

    price: Decimal | None = None
    commission: Decimal | None = None
    commission_currency: str | None = None


def complete(cursor: Cursor, number: int, terms: Terms) -> AdjustmentRow | None:
    """Write what was not known of an adjustment, and book its contract anew; None when there is none, or a part of it is known
    already. The account is held."""
    cursor.execute(
        "UPDATE position_adjustments SET price = coalesce(price, %(price)s), commission = coalesce(commission, %(commission)s),"
        " whole_commission = coalesce(whole_commission, %(commission)s * (quantity + explained) / nullif(quantity, 0)),"
        " commission_currency = coalesce(commission_currency, %(commission_currency)s) WHERE id = %(id)s"
        " AND (%(price)s::numeric IS NULL OR price IS NULL) AND (%(commission)s::numeric IS NULL OR commission IS NULL)"
        f" RETURNING {_ADJUSTMENT}",
        {**terms._asdict(), "id": number},
    )
    row = one_or_none(cursor, AdjustmentRow)
    if row is not None:
        booking.rebook(cursor, row.account, row.con_id)
    return row


# ---- comparing -------------------------------------------------------------------------------------------------------

_DIFFERENCES = (
    "SELECT account, con_id, coalesce(b.position, 0) AS expected, coalesce(p.quantity, 0) AS broker"
    " FROM (SELECT * FROM risk_book WHERE account = %(account)s) b"
    " FULL JOIN (SELECT * FROM broker_positions WHERE account = %(account)s) p USING (account, con_id)"
    " WHERE coalesce(b.position, 0) <> coalesce(p.quantity, 0)"
    " AND (%(pairs)s OR NOT EXISTS (SELECT 1 FROM instruments i WHERE i.con_id = coalesce(b.con_id, p.con_id)"
    "  AND i.asset_class = 'CASH')) ORDER BY con_id"
)


def differences(cursor: Cursor, account: str, *, with_pairs: bool = False) -> list[Difference]:
    """Where IB's positions are not ours. with_pairs: currency pairs too; IB's positions of pairs are virtual
    (a trade moves two balances), so that they prove nothing."""
    cursor.execute(_DIFFERENCES, {"account": account, "pairs": with_pairs})
    return every(cursor, Difference)


class Compared(NamedTuple):
    """What comparing changed."""

    opened: list[BreakRow]
    closed: list[BreakRow]
    open: list[BreakRow]


def compare(cursor: Cursor, account: str) -> Compared:
    """Compare all positions of an account; open a break for each difference, close those that are gone. The account is held.

    A break that is open keeps its `since` and gets the new figures.
    """
    found = {row.con_id: row for row in differences(cursor, account)}
    known = {row.con_id: row for row in open_breaks(cursor, [account])}
    closed = [_close(cursor, row.id) for con_id, row in known.items() if con_id not in found]
    written = [_open(cursor, row) for row in found.values()]
    opened = [row for row in written if row.con_id not in known]
    return Compared(opened, [row for row in closed if row is not None], written)


def compare_open(cursor: Cursor, account: str) -> list[BreakRow]:
    """Compare the contracts that have an open break: close those that agree now, give the others the new figures; returns what
    is left open. No break is opened: whether IB's newest position is as new as our fills, the order process alone knows."""
    found = {row.con_id: row for row in differences(cursor, account)}
    left = []
    for row in open_breaks(cursor, [account]):
        if row.con_id in found:
            left.append(_open(cursor, found[row.con_id]))
        else:
            _close(cursor, row.id)
    return left


def _open(cursor: Cursor, row: Difference) -> BreakRow:
    cursor.execute(
        "INSERT INTO position_breaks (account, con_id, expected, broker) VALUES (%s, %s, %s, %s)"
        " ON CONFLICT (account, con_id) WHERE until IS NULL DO UPDATE SET expected = excluded.expected,"
        f" broker = excluded.broker RETURNING {_BREAK}",
        row,
    )
    return one(cursor, BreakRow)


def _close(
    cursor: Cursor, break_id: int, *, adjustment_id: int | None = None, by: str = "", note: str = ""
) -> BreakRow | None:
    cursor.execute(
        "UPDATE position_breaks SET until = clock_timestamp(), adjustment_id = %s, by = %s, note = %s"
        f" WHERE id = %s AND until IS NULL RETURNING {_BREAK}",
        (adjustment_id, by, clean_text(note), break_id),
    )
    return one_or_none(cursor, BreakRow)


def open_breaks(cursor: Cursor, accounts: Sequence[str], con_id: int | None = None) -> list[BreakRow]:
    """The breaks of accounts that are open, by account and contract."""
    cursor.execute(
        f"SELECT {_BREAK} FROM position_breaks WHERE account = ANY(%(accounts)s) AND until IS NULL"
        " AND (%(con_id)s::bigint IS NULL OR con_id = %(con_id)s) ORDER BY account, con_id",
        {"accounts": list(accounts), "con_id": con_id},
    )
    return every(cursor, BreakRow)


def breaks(cursor: Cursor, accounts: Sequence[str], *, open_only: bool, limit: int) -> list[BreakRow]:
    """The breaks of accounts, the newest first."""
    cursor.execute(
        f"SELECT {_BREAK} FROM position_breaks WHERE account = ANY(%s) AND (NOT %s OR until IS NULL)"
        " ORDER BY since DESC, id DESC LIMIT %s",
        (list(accounts), open_only, limit),
    )
    return every(cursor, BreakRow)


def break_of(cursor: Cursor, break_id: int) -> BreakRow | None:
    cursor.execute(f"SELECT {_BREAK} FROM position_breaks WHERE id = %s", (break_id,))
    return one_or_none(cursor, BreakRow)


def resolve_break(cursor: Cursor, found: BreakRow, adjustment: Adjustment) -> BreakRow | None:
    """Close a break by an adjustment that a person, or a rule with a name, answers for. The account is held. None: it was
    closed meanwhile, and nothing is written."""
    cursor.execute(f"SELECT {_BREAK} FROM position_breaks WHERE id = %s AND until IS NULL FOR UPDATE", (found.id,))
    if one_or_none(cursor, BreakRow) is None:
        return None
    made = adjust(cursor, adjustment)
    return _close(cursor, found.id, adjustment_id=made, by=adjustment.by, note=adjustment.reason)
