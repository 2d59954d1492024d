"""Lots and matches as rows: booked in the transaction that writes an execution, an opening or an adjustment.

What is newer than all that was booked goes on from the open lots. Anything else (a correction, an older fill, an adjustment in
the past) books the contract anew from its opening. Both give the same rows. The caller holds the account and the contract.

Costs and proceeds are stored as quantity times price, without the contract's multiplier: fills of contracts that nobody looked up
yet can be booked, too. The opening alone has it inside, as IB's average cost does.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import NamedTuple

from nautilus.db.cursor import Cursor
from nautilus.db.rows import every, insert_rows, one_or_none
from nautilus.portfolio.lots import Event, Lot, Match, Split, Trade, book, position

OPENING = "opening"
"""Key of what an account held at first. It is booked before everything else, whatever its time."""


class Fact(NamedTuple):
    """What changed a position. kind: `opening`, `execution`, or the kind of an adjustment. price: None when nobody knows it."""

    key: str
    ts: int
    quantity: Decimal
    price: Decimal | None
    kind: str


class LotRow(NamedTuple):
    """A row of `lots`."""

    account: str
    con_id: int
    seq: int
    opened_key: str
    ts: int
    quantity: Decimal
    opened: Decimal
    cost: Decimal | None


class MatchRow(NamedTuple):
    """A row of `lot_matches`."""

    account: str
    con_id: int
    seq: int
    opened_key: str
    closed_key: str
    opened_ts: int
    closed_ts: int
    quantity: Decimal
    opened: Decimal
    cost: Decimal | None
    proceeds: Decimal | None
    flat: bool


class Rows(NamedTuple):
    """What a contract's facts come to. last: the newest of them; None without any."""

    lots: list[LotRow]
    matches: list[MatchRow]
    last: Fact | None


class _Book(NamedTuple):
    last_ts: int | None
    last_key: str
    matches: int


class _Contract(NamedTuple):
    account: str
    con_id: int


def execution_fact(exec_base: str, ts: int, quantity: Decimal, price: Decimal) -> Fact:
    """quantity: signed."""
    return Fact(f"exec:{exec_base}", ts, quantity, price, "execution")


def adjustment_fact(number: int, *, ts: int, quantity: Decimal, price: Decimal | None, kind: str) -> Fact:
    """number: its id."""
    return Fact(f"adjustment:{number}", ts, quantity, price, kind)


# ---- booking ---------------------------------------------------------------------------------------------------------


def add(cursor: Cursor, account: str, con_id: int, fact: Fact) -> None:
    """Book a fact whose row was written in this transaction."""
    cursor.execute(
        "SELECT last_ts, last_key, matches FROM lot_books WHERE account = %s AND con_id = %s", (account, con_id)
    )
    found = one_or_none(cursor, _Book)
    if found is None or found.last_ts is None or (fact.ts, fact.key) <= (found.last_ts, found.last_key):
        rebook(cursor, account, con_id)
        return
    rows = _rows(account, con_id, [fact], lots=_open_lots(cursor, account, con_id), matched=found.matches)
    cursor.execute("DELETE FROM lots WHERE account = %s AND con_id = %s", (account, con_id))
    _write(cursor, account, con_id, rows, matched=found.matches)


def rebook(cursor: Cursor, account: str, con_id: int) -> None:
    """Book a contract anew from its opening."""
    for table in ("lots", "lot_matches"):
        cursor.execute(f"DELETE FROM {table} WHERE account = %s AND con_id = %s", (account, con_id))
    _write(cursor, account, con_id, computed(cursor, account, con_id), matched=0)


def computed(cursor: Cursor, account: str, con_id: int) -> Rows:
    """What the rows of a contract should be, from its opening, executions and adjustments. Nothing is written."""
    return _rows(account, con_id, _facts(cursor, account, con_id))


def stored(cursor: Cursor, account: str, con_id: int) -> Rows:
    """What the rows of a contract are. last: its kind and figures are not stored, so that it is left out."""
    cursor.execute(
        f"SELECT {', '.join(MatchRow._fields)} FROM lot_matches WHERE account = %s AND con_id = %s ORDER BY seq",
        (account, con_id),
    )
    matches = every(cursor, MatchRow)
    return Rows(_open_lots(cursor, account, con_id), matches, None)


def contracts(cursor: Cursor) -> Sequence[tuple[str, int]]:
    """Every account and contract that has a fact or a book."""
    cursor.execute(
        "SELECT account, con_id FROM position_openings UNION SELECT account, con_id FROM executions"
        " UNION SELECT account, con_id FROM position_adjustments UNION SELECT account, con_id FROM lot_books ORDER BY 1, 2"
    )
    return every(cursor, _Contract)


def unbooked(cursor: Cursor) -> Sequence[tuple[str, int]]:
    """Accounts and contracts whose facts are older than these tables: nothing was ever booked of them."""
    cursor.execute(
        "SELECT account, con_id FROM (SELECT account, con_id FROM position_openings UNION SELECT account, con_id FROM executions"
        " UNION SELECT account, con_id FROM position_adjustments) f"
        " WHERE NOT EXISTS (SELECT 1 FROM lot_books b WHERE b.account = f.account AND b.con_id = f.con_id) ORDER BY 1, 2"
    )
    return every(cursor, _Contract)


# ---- facts -----------------------------------------------------------------------------------------------------------

# The keys are ordered by their bytes, as Python orders them.
_FACTS = (
    "SELECT key, ts, quantity, price, kind FROM ("
    f" SELECT '{OPENING}' AS key, at AS ts, quantity, price, '{OPENING}' AS kind FROM position_openings"
    "  WHERE account = %(account)s AND con_id = %(con_id)s AND quantity <> 0"
    " UNION ALL SELECT 'exec:' || exec_base, ts, CASE side WHEN 'BUY' THEN quantity ELSE -quantity END, price, 'execution'"
    "  FROM executions WHERE account = %(account)s AND con_id = %(con_id)s AND latest AND quantity > 0"
    " UNION ALL SELECT 'adjustment:' || id, at, quantity, price, kind FROM position_adjustments"
    "  WHERE account = %(account)s AND con_id = %(con_id)s AND quantity <> 0) f"
    f" ORDER BY key <> '{OPENING}', ts, key COLLATE \"C\""
)


def _facts(cursor: Cursor, account: str, con_id: int) -> list[Fact]:
    cursor.execute(_FACTS, {"account": account, "con_id": con_id})
    return every(cursor, Fact)


def _event(fact: Fact, lots: tuple[Lot, ...]) -> Event:
    """A corporate action without a price that leaves the position on its side is a split. All others are trades, also those of
    which nobody knows the price: what they close has no known profit, never one of 0."""
    before = position(lots)
    if fact.kind == "corporate_action" and fact.price is None and before * (before + fact.quantity) > 0:
        return Split(fact.key, fact.ts, fact.quantity)
    return Trade(fact.key, fact.ts, fact.quantity, fact.price)


# ---- rows ------------------------------------------------------------------------------------------------------------


def _rows(account: str, con_id: int, facts: Iterable[Fact], *, lots: Iterable[LotRow] = (), matched: int = 0) -> Rows:
    """Book facts on open lots. matched: how many matches there are already."""
    current = tuple(Lot(row.opened_key, row.ts, row.quantity, row.opened, row.cost) for row in lots)
    matches: list[Match] = []
    last: Fact | None = None
    for fact in facts:
        current, new = book(current, _event(fact, current))
        matches += new
        last = fact if last is None or (fact.ts, fact.key) > (last.ts, last.key) else last
    return Rows(
        [LotRow(account, con_id, seq, *lot) for seq, lot in enumerate(current)],
        [MatchRow(account, con_id, seq, *match) for seq, match in enumerate(matches, start=matched)],
        last,
    )


def _open_lots(cursor: Cursor, account: str, con_id: int) -> list[LotRow]:
    cursor.execute(
        f"SELECT {', '.join(LotRow._fields)} FROM lots WHERE account = %s AND con_id = %s ORDER BY seq",
        (account, con_id),
    )
    return every(cursor, LotRow)


def _write(cursor: Cursor, account: str, con_id: int, rows: Rows, *, matched: int) -> None:
    cursor.execute(
        "INSERT INTO lot_books (account, con_id, last_ts, last_key, matches) VALUES (%s, %s, %s, %s, %s)"
        " ON CONFLICT (account, con_id) DO UPDATE SET last_ts = excluded.last_ts, last_key = excluded.last_key,"
        " matches = excluded.matches",
        (
            account,
            con_id,
            rows.last.ts if rows.last else None,
            rows.last.key if rows.last else "",
            matched + len(rows.matches),
        ),
    )
    insert_rows(cursor, "lots", _LOT_TYPES, rows.lots)
    insert_rows(cursor, "lot_matches", _MATCH_TYPES, rows.matches)


_WHERE = {"account": "text", "con_id": "bigint", "seq": "integer"}
_LOT_TYPES = _WHERE | {
    "opened_key": "text",
    "ts": "bigint",
    "quantity": "numeric",
    "opened": "numeric",
    "cost": "numeric",
}
_MATCH_TYPES = _WHERE | {
    "opened_key": "text",
    "closed_key": "text",
    "opened_ts": "bigint",
    "closed_ts": "bigint",
    "quantity": "numeric",
    "opened": "numeric",
    "cost": "numeric",
    "proceeds": "numeric",
    "flat": "boolean",
}
