"""Cash of accounts: the first balance of each currency, and what came or went without a trade."""

from collections.abc import Collection, Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from nautilus.clock import NS_PER_DAY, NS_PER_S
from nautilus.db.cursor import Cursor
from nautilus.db.orders.frames import clean_text
from nautilus.db.rows import every, scalar_or_none, scalars

KINDS = ("interest", "dividend", "fee", "tax", "deposit", "withdrawal", "other")
SOURCES = ("broker", "flex", "person")
SETTLED_NS = 200 * NS_PER_S
"""IB repeats the values of an account every three minutes: a balance may lack the fills of so long before it came."""


class Movement(NamedTuple):
    """Cash that came (positive) or went without a trade. ts: market time in ns. external_id: IB's id of it."""

    account: str
    currency: str
    amount: Decimal
    kind: str
    ts: int
    text: str
    source: str
    external_id: str | None = None
    by: str = ""


class MovementRow(NamedTuple):
    """A row of `cash_movements`. fx_rate: what one unit was worth in the account's base currency then, where IB had sent it."""

    id: int
    account: str
    currency: str
    amount: Decimal
    kind: str
    ts: int
    text: str
    source: str
    external_id: str | None
    by: str
    seen_at: datetime
    fx_rate: Decimal | None


class Balance(NamedTuple):
    """Cash of one currency, or its exchange rate, and when IB sent it (market time in ns)."""

    account: str
    currency: str
    balance: Decimal
    at: int


# IB repeats its rates every three minutes. One of another day tells nothing about this movement.
_RATE = (
    "SELECT v.value::numeric FROM account_values v WHERE v.account = m.account AND v.tag = 'ExchangeRate'"
    " AND v.currency = m.currency AND v.value ~ '^[0-9]{1,12}([.][0-9]{1,20})?$' AND v.value::numeric > 0"
    f" AND abs(v.as_of - m.ts) < {NS_PER_DAY}"
)


def put(cursor: Cursor, movement: Movement) -> int | None:
    """Store a movement and return its id; None when one with its external id is there already. The account is held."""
    cursor.execute(
        f"INSERT INTO cash_movements ({', '.join(Movement._fields)}, fx_rate)"
        f" SELECT m.*, ({_RATE}) FROM (VALUES (%s, %s, %s::numeric, %s, %s::bigint, %s, %s, %s, %s))"
        f" m ({', '.join(Movement._fields)})"
        " ON CONFLICT (account, external_id) DO NOTHING RETURNING id",
        movement._replace(text=clean_text(movement.text)),
    )
    return scalar_or_none(cursor, int)


_ALIKE_NS = 4 * NS_PER_DAY
"""A statement may date a movement some days later than it happened, over a weekend, too."""


def alike(
    cursor: Cursor,
    account: str,
    currency: str,
    amount: Decimal,
    *,
    kind: str,
    at: int,
    entered: bool,
    but: Collection[int] = (),
) -> int | None:
    """The id of a movement of this amount within four days of market time, the nearest one; None without one.

    entered: one that a person entered without IB's id; else one of a statement. Its kind is the same, or one of both is `other`.
    but: ids of those that stand for something else already.
    """
    which = "source = 'person' AND external_id IS NULL" if entered else "source = 'flex'"
    cursor.execute(
        f"SELECT id FROM cash_movements WHERE account = %(account)s AND {which} AND currency = %(currency)s"
        " AND amount = %(amount)s AND (kind = %(kind)s OR 'other' IN (kind, %(kind)s)) AND abs(ts - %(at)s) <= %(near)s"
        " AND id <> ALL(%(but)s)"
        " ORDER BY abs(ts - %(at)s), id LIMIT 1",
        {
            "account": account,
            "currency": currency,
            "amount": amount,
            "kind": kind,
            "at": at,
            "near": _ALIKE_NS,
            "but": list(but),
        },
    )
    return scalar_or_none(cursor, int)


def recognise(cursor: Cursor, number: int, external_id: str) -> None:
    """Give a movement that a person entered the id that a statement has for it. The account is held."""
    cursor.execute("UPDATE cash_movements SET external_id = %s WHERE id = %s", (external_id, number))


def movements(cursor: Cursor, accounts: Sequence[str], since: int = 0, until: int = 2**63 - 1) -> list[MovementRow]:
    """The movements of accounts in [since, until), by time. since, until: market time in ns."""
    cursor.execute(
        f"SELECT {', '.join(MovementRow._fields)} FROM cash_movements WHERE account = ANY(%s) AND ts >= %s AND ts < %s"
        " ORDER BY ts, id",
        (list(accounts), since, until),
    )
    return every(cursor, MovementRow)


_BALANCES = (
    "SELECT account, currency, value::numeric AS balance, as_of AS at FROM account_values WHERE tag = 'CashBalance'"
    " AND currency NOT IN ('', 'BASE') AND value ~ '^-?[0-9]{1,20}([.][0-9]{1,20})?$'"
)


def balances(cursor: Cursor, accounts: Sequence[str]) -> list[Balance]:
    """IB's newest cash balance of each currency."""
    cursor.execute(f"{_BALANCES} AND account = ANY(%s) ORDER BY account, currency", (list(accounts),))
    return every(cursor, Balance)


def rates(cursor: Cursor, accounts: Sequence[str]) -> list[Balance]:
    """IB's newest exchange rate of each currency: what one unit of it is worth in the account's base currency."""
    cursor.execute(
        "SELECT account, currency, value::numeric AS balance, as_of AS at FROM account_values WHERE tag = 'ExchangeRate'"
        " AND currency NOT IN ('', 'BASE') AND value ~ '^[0-9]{1,12}([.][0-9]{1,20})?$' AND account = ANY(%s)"
        " ORDER BY account, currency",
        (list(accounts),),
    )
    return every(cursor, Balance)


def openings(cursor: Cursor, accounts: Sequence[str]) -> list[Balance]:
    """The first cash balance of each currency."""
    cursor.execute(
        "SELECT account, currency, balance, at FROM cash_openings WHERE account = ANY(%s) ORDER BY account, currency",
        (list(accounts),),
    )
    return every(cursor, Balance)


def with_openings(cursor: Cursor, accounts: Sequence[str]) -> list[str]:
    """Those of these accounts that have first balances."""
    cursor.execute(
        "SELECT a FROM unnest(%s::text[]) a WHERE EXISTS (SELECT 1 FROM cash_openings o WHERE o.account = a) ORDER BY a",
        (list(accounts),),
    )
    return scalars(cursor, str)


def unopened(cursor: Cursor, accounts: Sequence[str]) -> list[str]:
    """Those of these accounts that have an opening of positions, and no first balance."""
    cursor.execute(
        "SELECT account FROM accounts a WHERE account = ANY(%s) AND opened_at IS NOT NULL AND NOT EXISTS"
        " (SELECT 1 FROM cash_openings o WHERE o.account = a.account) ORDER BY account",
        (list(accounts),),
    )
    return scalars(cursor, str)


def open_balances(cursor: Cursor, account: str) -> None:
    """Take IB's balances as the openings of currencies that have none; not while a fill may be missing in them.

    A currency that comes when others are opened already began with nothing at their time: a trade or a movement brought it.
    """
    cursor.execute(
        f"WITH now AS ({_BALANCES} AND account = %(account)s), first AS"
        " (SELECT min(at) AS at FROM cash_openings WHERE account = %(account)s)"
        " INSERT INTO cash_openings (account, currency, balance, at)"
        " SELECT n.account, n.currency, CASE WHEN f.at IS NULL THEN n.balance ELSE 0 END, coalesce(f.at, n.at)"
        " FROM now n CROSS JOIN first f WHERE NOT EXISTS (SELECT 1 FROM executions e WHERE e.account = n.account AND e.latest"
        f"  AND e.ts > n.at - {SETTLED_NS} AND f.at IS NULL) ON CONFLICT (account, currency) DO NOTHING",
        {"account": account},
    )
