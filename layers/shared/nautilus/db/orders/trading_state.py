"""Whether orders may be sent: a row per account, one for all (`*`), and one per account for a trade date (`day:<account>`),
which a loss writes. The strictest counts."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import NamedTuple

from nautilus.db.cursor import Cursor
from nautilus.db.orders.frames import clean_text
from nautilus.db.rows import every, one, scalars, there

ALL = "*"
DAY = "day:"
"""Before the name of an account: the scope of its row that ends with a trade date."""


class StateRow(NamedTuple):
    """A row of `trading_state`. until_trade_date: it ends with this trade date; None: a person ends it."""

    scope: str
    state: str
    reason: str
    set_by: str
    since: datetime
    until_trade_date: date | None


def scopes_of(accounts: Sequence[str]) -> list[str]:
    """The scopes that count for accounts: their own, those of a trade date, and the one of all."""
    return [*accounts, *(DAY + account for account in accounts), ALL]


def read(cursor: Cursor, accounts: Sequence[str]) -> list[StateRow]:
    """The rows of accounts, their rows of a trade date, and the one of all; those that there are."""
    cursor.execute(
        f"SELECT {', '.join(StateRow._fields)} FROM trading_state WHERE scope = ANY(%s) ORDER BY scope",
        (scopes_of(accounts),),
    )
    return every(cursor, StateRow)


def tighten(cursor: Cursor, scope: str, state: str, *, reason: str, set_by: str) -> bool:
    """Make the state of a scope `reducing` or `halted` where it is not as strict already, without an end; True when it changed.

    The accounts that it is about are held (risk_book.lock_account), so that no order passes between.
    """
    cursor.execute(
        "INSERT INTO trading_state AS t (scope, state, reason, set_by) VALUES (%(scope)s, %(state)s, %(reason)s, %(by)s)"
        " ON CONFLICT (scope) DO UPDATE SET state = excluded.state, reason = excluded.reason, set_by = excluded.set_by,"
        " since = clock_timestamp(), until_trade_date = NULL"
        " WHERE array_position(ARRAY['active', 'reducing', 'halted'], excluded.state)"
        "  > array_position(ARRAY['active', 'reducing', 'halted'], t.state)"
        "  OR excluded.state = t.state AND t.until_trade_date IS NOT NULL"
        " RETURNING 1",
        {"scope": scope, "state": state, "reason": reason, "by": set_by},
    )
    return there(cursor)


def put(
    cursor: Cursor, scope: str, state: str, *, reason: str, set_by: str, until_trade_date: date | None = None
) -> StateRow:
    """Set the state of a scope, whatever it was. The accounts that it is about are held (risk_book.lock_account)."""
    cursor.execute(
        "INSERT INTO trading_state (scope, state, reason, set_by, until_trade_date) VALUES (%s, %s, %s, %s, %s)"
        " ON CONFLICT (scope) DO UPDATE SET state = excluded.state, reason = excluded.reason, set_by = excluded.set_by,"
        " since = clock_timestamp(), until_trade_date = excluded.until_trade_date"
        f" RETURNING {', '.join(StateRow._fields)}",
        (scope, state, clean_text(reason), set_by, until_trade_date),
    )
    return one(cursor, StateRow)


def known_accounts(cursor: Cursor) -> list[str]:
    """Every account that a gateway named, or that ever had an order, by name."""
    cursor.execute(
        "SELECT account FROM accounts UNION SELECT account FROM risk_accounts WHERE account <> '' ORDER BY account"
    )
    return scalars(cursor, str)


def named_accounts(cursor: Cursor) -> list[str]:
    """Every account that is known by name: to a gateway, by an order, by what the order process sees now, or because somebody
    may use it."""
    cursor.execute(
        "SELECT account FROM accounts UNION SELECT account FROM risk_book"
        " UNION SELECT unnest(accounts) FROM order_process UNION SELECT unnest(accounts) FROM users"
        " UNION SELECT unnest(accounts) FROM api_keys ORDER BY account"
    )
    return [name for name in scalars(cursor, str) if name not in ("", ALL)]


def tighten_for_day(cursor: Cursor, account: str, state: str, *, reason: str, set_by: str, trade_date: date) -> bool:
    """Make an account stricter until a trade date is over; True when it changed. The account is held."""
    cursor.execute(
        "INSERT INTO trading_state AS t (scope, state, reason, set_by, until_trade_date)"
        " VALUES (%(scope)s, %(state)s, %(reason)s, %(by)s, %(date)s) ON CONFLICT (scope) DO UPDATE SET"
        " state = excluded.state, reason = excluded.reason, set_by = excluded.set_by, since = clock_timestamp(),"
        " until_trade_date = excluded.until_trade_date WHERE t.until_trade_date < excluded.until_trade_date"
        " OR t.until_trade_date = excluded.until_trade_date AND t.state = 'reducing' AND excluded.state = 'halted'"
        " RETURNING 1",
        {"scope": DAY + account, "state": state, "reason": clean_text(reason), "by": set_by, "date": trade_date},
    )
    return there(cursor)


def open_day(cursor: Cursor, accounts: Sequence[str], *, set_by: str, reason: str) -> None:
    """A person lets accounts trade in spite of their loss, for the rest of the trade date; check 15 still denies entries."""
    cursor.execute(
        "UPDATE trading_state SET state = 'active', set_by = %s, reason = %s, since = clock_timestamp()"
        " WHERE scope = ANY(%s)",
        (set_by, clean_text(reason), [DAY + account for account in accounts]),
    )
