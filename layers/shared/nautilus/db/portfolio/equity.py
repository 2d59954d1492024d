"""What accounts were worth: by the minute for who looks often, and at the end of each trade date for good."""

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import NamedTuple

from nautilus.clock import NS_PER_S
from nautilus.db.cursor import Cursor
from nautilus.db.rows import every, scalars
from nautilus.spans import Span

_MINUTE = 60 * NS_PER_S


class EquityRow(NamedTuple):
    """A row of `equity_days`. as_of: market time in ns."""

    account: str
    trade_date: date
    net_liquidation: Decimal
    currency: str
    source: str
    as_of: int


class MinuteRow(NamedTuple):
    """A row of `pnl_minutes`: what IB sent in this minute (market time in ns), in the account's base currency."""

    account: str
    minute: int
    net_liquidation: Decimal | None
    daily: Decimal | None
    unrealized: Decimal | None
    realized: Decimal | None


def put_day(cursor: Cursor, row: EquityRow) -> None:
    """Store what an account was worth at the end of a trade date; a newer value of the day replaces an older one."""
    cursor.execute(
        f"INSERT INTO equity_days AS d ({', '.join(EquityRow._fields)}) VALUES (%s, %s, %s, %s, %s, %s)"
        " ON CONFLICT (account, trade_date) DO UPDATE SET net_liquidation = excluded.net_liquidation,"
        " currency = excluded.currency, source = excluded.source, as_of = excluded.as_of WHERE d.as_of <= excluded.as_of",
        row,
    )


_LAST_NS = 60 * _MINUTE
"""What an account was worth so long before the end of a day, and not since, tells nothing about its end."""


def end_day(cursor: Cursor, accounts: Sequence[str], day: date, span: Span) -> list[str]:
    """Store what IB sent last before the end of a trade date, unless the day has its row; returns the accounts that have none.

    span: of the trade date, market time in ns. The value that came last is in `accounts`, or, when a later one is there,
    in `pnl_minutes`; as_of is then the beginning of its minute. Accounts that were opened later lack nothing.
    """
    given = {
        "accounts": sorted(accounts),
        "day": day,
        "first": max(span[0], span[1] - _LAST_NS),
        "end": span[1],
    }
    cursor.execute(
        "INSERT INTO equity_days (account, trade_date, net_liquidation, currency, source, as_of)"
        " SELECT DISTINCT ON (a.account) a.account, %(day)s, v.worth, a.base_currency, 'broker', v.at FROM accounts a"
        " CROSS JOIN LATERAL (SELECT a.net_liquidation AS worth, a.values_at AS at UNION ALL"
        "  SELECT m.net_liquidation, m.minute FROM pnl_minutes m WHERE m.account = a.account"
        "   AND m.minute >= %(first)s AND m.minute < %(end)s) v"
        " WHERE a.account = ANY(%(accounts)s) AND a.base_currency IS NOT NULL AND v.worth IS NOT NULL"
        "  AND v.at >= %(first)s AND v.at < %(end)s ORDER BY a.account, v.at DESC"
        " ON CONFLICT (account, trade_date) DO NOTHING",
        given,
    )
    cursor.execute(
        "SELECT account FROM accounts a WHERE account = ANY(%(accounts)s) AND opened_at < %(end)s AND NOT EXISTS"
        " (SELECT 1 FROM equity_days d WHERE d.account = a.account AND d.trade_date = %(day)s) ORDER BY account",
        given,
    )
    return scalars(cursor, str)


def days(cursor: Cursor, accounts: Sequence[str], first: date = date.min, last: date = date.max) -> list[EquityRow]:
    """The trade dates of accounts from first to last, both included, in order."""
    cursor.execute(
        f"SELECT {', '.join(EquityRow._fields)} FROM equity_days WHERE account = ANY(%s) AND trade_date BETWEEN %s AND %s"
        " ORDER BY account, trade_date",
        (list(accounts), first, last),
    )
    return every(cursor, EquityRow)


_KEPT = 4
"""Minutes for which a value counts whatever became of its stream."""


def put_minutes(cursor: Cursor, accounts: Sequence[str], now: int, standing: Mapping[str, int]) -> None:
    """Store what IB sent about these accounts, as it stands in `account_values`, under the minute of now (market time in ns).

    Values that came before this minute began and the last three are old and left out; but not those that came since an account
    has been followed without a gap (standing: account -> market time in ns), as IB sends all that changes.
    """
    minute = now // _MINUTE * _MINUTE
    oldest = minute - _KEPT * _MINUTE
    names = sorted(accounts)
    cursor.execute(
        "INSERT INTO pnl_minutes (account, minute, net_liquidation, daily, unrealized, realized)"
        " SELECT a.account, %(minute)s, CASE WHEN a.values_at > s.since THEN a.net_liquidation END,"
        "  max(v.value::numeric) FILTER (WHERE v.tag = 'DailyPnL'),"
        "  max(v.value::numeric) FILTER (WHERE v.tag = 'UnrealizedPnL'),"
        "  max(v.value::numeric) FILTER (WHERE v.tag = 'RealizedPnL')"
        " FROM unnest(%(accounts)s::text[], %(since)s::bigint[]) s (account, since) JOIN accounts a USING (account)"
        " LEFT JOIN account_values v ON v.account = a.account AND v.currency = 'BASE' AND v.as_of > s.since"
        "  AND v.tag IN ('DailyPnL', 'UnrealizedPnL', 'RealizedPnL') AND v.value ~ '^-?[0-9]{1,20}([.][0-9]{1,20})?$'"
        " GROUP BY a.account, s.since ON CONFLICT (account, minute) DO UPDATE SET"
        " net_liquidation = coalesce(excluded.net_liquidation, pnl_minutes.net_liquidation),"
        " daily = coalesce(excluded.daily, pnl_minutes.daily),"
        " unrealized = coalesce(excluded.unrealized, pnl_minutes.unrealized),"
        " realized = coalesce(excluded.realized, pnl_minutes.realized)",
        {
            "minute": minute,
            "accounts": names,
            "since": [min(standing.get(name, oldest + 1) - 1, oldest) for name in names],
        },
    )


def minutes(cursor: Cursor, accounts: Sequence[str], since: int, until: int) -> list[MinuteRow]:
    """The minutes of accounts in [since, until) of market time in ns, in order."""
    cursor.execute(
        f"SELECT {', '.join(MinuteRow._fields)} FROM pnl_minutes WHERE account = ANY(%s) AND minute >= %s AND minute < %s"
        " ORDER BY account, minute",
        (list(accounts), since, until),
    )
    return every(cursor, MinuteRow)
