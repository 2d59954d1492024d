"""What the checks of an order need to know of its account, beside its own orders: values, limits, counts."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from nautilus.db.cursor import Cursor, Prepared
from nautilus.db.rows import every, insert_rows, one, one_or_none, scalar, scalars
from nautilus.orders.limits import ALL_ACCOUNTS, LimitRow
from nautilus.orders.words import AccountValue


class AccountValues(NamedTuple):
    """A row of `accounts`. values_at, opened_at: market time in ns."""

    account: str
    kind: str
    base_currency: str | None
    net_liquidation: Decimal | None
    values_at: int | None
    opened_at: int | None


def known(cursor: Cursor, account: str) -> AccountValues | None:
    """The account; None when no gateway ever named it."""
    cursor.execute(f"SELECT {', '.join(AccountValues._fields)} FROM accounts WHERE account = %s", (account,))
    return one_or_none(cursor, AccountValues)


def seen(cursor: Cursor, accounts: Sequence[str], kind: str) -> None:
    """A gateway named these accounts."""
    insert_rows(
        cursor,
        "accounts",
        {"account": "text", "kind": "text"},
        [(account, kind) for account in sorted(set(accounts))],
        then="ON CONFLICT (account) DO UPDATE SET kind = excluded.kind, last_seen = clock_timestamp()",
    )


def names(cursor: Cursor) -> list[str]:
    """The accounts that a gateway ever named, in order."""
    cursor.execute("SELECT account FROM accounts ORDER BY account")
    return scalars(cursor, str)


def valued_before(cursor: Cursor, accounts: Sequence[str], at: int) -> list[str]:
    """Those of these accounts whose net liquidation value came before a market time (ns)."""
    cursor.execute(
        "SELECT account FROM accounts WHERE account = ANY(%s) AND values_at < %s ORDER BY account", (list(accounts), at)
    )
    return scalars(cursor, str)


def put_values(cursor: Cursor, words: Sequence[AccountValue], as_of: int) -> None:
    """Store values that IB sent, of several of one name the last; of accounts that are known, the net liquidation value, too."""
    rows = {(word.account, word.tag, word.currency): word.value for word in words}
    insert_rows(
        cursor,
        "account_values",
        {"account": "text", "tag": "text", "currency": "text", "value": "text", "as_of": "bigint"},
        [(*key, rows[key], as_of) for key in sorted(rows)],
        then="ON CONFLICT (account, tag, currency) DO UPDATE SET value = excluded.value, as_of = excluded.as_of",
    )
    cursor.execute(
        "UPDATE accounts a SET net_liquidation = v.value::numeric, base_currency = v.currency, values_at = v.as_of"
        " FROM account_values v WHERE v.account = a.account AND v.tag = 'NetLiquidation' AND a.account = ANY(%s)"
        rf" AND v.currency NOT IN ('', 'BASE') AND v.value ~ '{_NUMBER}' AND v.as_of = %s",
        (sorted({word.account for word in words}), as_of),
    )


_NUMBER = r"^-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]{1,2})?$"


class _Value(NamedTuple):
    value: Decimal
    as_of: int


def select_number(account: str, tag: str) -> str:
    """The statement of `number`, for a part of another one. account, tag: SQL of texts."""
    return (
        "SELECT v.value::numeric AS value, v.as_of FROM account_values v JOIN accounts a USING (account)"
        f" WHERE v.account = {account} AND v.tag = {tag} AND (v.currency IN ('', 'BASE') OR v.currency = a.base_currency)"
        rf" AND v.value ~ '{_NUMBER}' ORDER BY v.as_of DESC, v.currency LIMIT 1"
    )


def number(cursor: Cursor, account: str, tag: str) -> tuple[Decimal, int] | None:
    """A value of an account in its base currency, and when IB sent it; None where it has none that is a number."""
    cursor.execute(select_number("%s", "%s"), (account, tag))
    row = one_or_none(cursor, _Value)
    return (row.value, row.as_of) if row else None


def select_filled_value(account: str, as_of: str) -> str:
    """A statement: the value of what orders of an account that may open a position filled after a market time. account, as_of:
    SQL of a text and a bigint."""
    return (
        "SELECT coalesce(sum(e.quantity * o.unit_value), 0) AS filled FROM executions e JOIN orders o ON o.id = e.order_id"
        f" WHERE e.account = {account} AND e.latest AND e.ts > {as_of} AND NOT o.reducing AND o.unit_value IS NOT NULL"
    )


def gross_position_value(cursor: Cursor, account: str) -> Decimal | None:
    """The value of all positions, as IB sent it last, and of what has filled since; None while IB has sent none.

    IB tells it every three minutes. Until then a fill would count nowhere: its reservation is gone, and the value does not
    hold it yet. What reduced a position is not taken off before IB says so.
    """
    found = number(cursor, account, "GrossPositionValue")
    if found is None:
        return None
    value, as_of = found
    cursor.execute(select_filled_value("%s", "%s"), (account, as_of))
    return value + scalar(cursor, Decimal)


# ---- limits ----------------------------------------------------------------------------------------------------------


def limit_rows(cursor: Cursor, account: str) -> list[LimitRow]:
    """The limits that an administrator set for an account, and those for all."""
    cursor.execute("SELECT account, name, value FROM risk_limits WHERE account IN (%s, %s)", (account, ALL_ACCOUNTS))
    return every(cursor, LimitRow)


# ---- how often -------------------------------------------------------------------------------------------------------


class AcceptedCounts(NamedTuple):
    """Orders and modifies that were accepted: of a principal in a second, a minute and a day, of the account in a second."""

    second: int
    minute: int
    day: int
    account_second: int


_COUNTS = Prepared(
    "nautilus_accepted_counts",
    "WITH done AS ("
    " SELECT accepted_at AS at, principal, account FROM orders WHERE origin <> 'external' AND state <> 'denied'"
    "  AND parent_id IS NULL AND principal = $1 AND accepted_at > clock_timestamp() - interval '1 day'"
    " UNION ALL SELECT accepted_at, '', account FROM orders WHERE origin <> 'external' AND state <> 'denied'"
    "  AND parent_id IS NULL AND account = $2 AND accepted_at > clock_timestamp() - interval '1 s'"
    " UNION ALL SELECT asked_at, principal, account FROM order_requests WHERE kind = 'modify'"
    "  AND principal = $1 AND asked_at > clock_timestamp() - interval '1 day')"
    " SELECT count(*) FILTER (WHERE principal <> '' AND at > clock_timestamp() - interval '1 s') AS second,"
    "  count(*) FILTER (WHERE principal <> '' AND at > clock_timestamp() - interval '1 min') AS minute,"
    "  count(*) FILTER (WHERE principal <> '') AS day, count(*) FILTER (WHERE principal = '') AS account_second"
    " FROM done",
    ("text", "text"),
)


def accepted_counts(cursor: Cursor, principal: str, account: str) -> AcceptedCounts:
    """By machine time. An order that waits for being sent counts, a denied one does not."""
    cursor.run(_COUNTS, (principal, account))
    return one(cursor, AcceptedCounts)


class _Efficiency(NamedTuple):
    sent: int
    executed: int


def order_ratio(cursor: Cursor, account: str) -> Decimal:
    """Orders, modifies and cancels of a day to each execution (at least one), as IB's order efficiency ratio counts."""
    cursor.execute(
        "SELECT (SELECT count(*) FROM orders WHERE account = %(a)s AND origin <> 'external' AND state <> 'denied'"
        "  AND accepted_at > clock_timestamp() - interval '1 day') + (SELECT count(*) FROM order_requests"
        "  WHERE account = %(a)s AND asked_at > clock_timestamp() - interval '1 day') AS sent,"
        " (SELECT count(*) FROM executions WHERE account = %(a)s AND latest"
        "  AND seen_at > clock_timestamp() - interval '1 day') AS executed",
        {"a": account},
    )
    row = one(cursor, _Efficiency)
    return Decimal(row.sent) / max(row.executed, 1)


def rejected_lately(cursor: Cursor, account: str, within_s: float) -> int:
    """How many orders IB rejected within so many seconds of machine time."""
    cursor.execute(
        "SELECT count(*) FROM orders WHERE account = %(account)s AND state = 'rejected'"
        " AND accepted_at > clock_timestamp() - interval '1 day'"
        " AND over_at > clock_timestamp() - %(within)s * interval '1 s'",
        {"account": account, "within": within_s},
    )
    return scalar(cursor, int)


class RecentRow(NamedTuple):
    """An order that was accepted shortly before. age_s: seconds of machine time."""

    side: str
    type: str
    quantity: Decimal
    limit_price: Decimal | None
    stop_price: Decimal | None
    market_at: int
    accepted_at: datetime
    age_s: float


_RECENT = Prepared(
    "nautilus_recent_orders",
    "SELECT side, type, quantity, limit_price, stop_price, market_at, accepted_at,"
    " extract(epoch FROM clock_timestamp() - accepted_at)::float8 AS age_s FROM orders"
    " WHERE account = $1 AND con_id = $2 AND origin <> 'external' AND state <> 'denied' AND parent_id IS NULL"
    " AND accepted_at > clock_timestamp() - $3 * interval '1 s' ORDER BY accepted_at DESC LIMIT 100",
    ("text", "bigint", "float8"),
)


def recent(cursor: Cursor, account: str, con_id: int, within_s: float) -> list[RecentRow]:
    """Orders of a contract that were accepted so lately; legs of a bracket apart."""
    cursor.run(_RECENT, (account, con_id, within_s))
    return every(cursor, RecentRow)
