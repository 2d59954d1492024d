"""What the checks of an order look at, as one statement brings it: of an account and contract, and of the market. Each round trip
between accepting an order and writing it is time in which a price moves."""

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from nautilus.db.cursor import Cursor, Prepared
from nautilus.db.live.quotes import AGED_COLUMNS, AgedQuote
from nautilus.db.orders.account_state import select_filled_value, select_number
from nautilus.db.orders.process import COLUMNS as PROCESS_COLUMNS
from nautilus.db.orders.process import ProcessRow
from nautilus.db.orders.trading_state import StateRow, scopes_of
from nautilus.db.rows import joined
from nautilus.orders.limits import ALL_ACCOUNTS, LimitRow


class AccountPicture(NamedTuple):
    """Of an account: the limits that an administrator set for it and for all; the rows of its trading state; when its positions
    were opened (market time in ns; None: no gateway ever sent them); values in its base currency, None where IB has sent none;
    whether IB's position of the contract is not ours; the order process."""

    limits: list[LimitRow]
    states: list[StateRow]
    opened_at: int | None
    net_liquidation: Decimal | None
    daily_pnl: Decimal | None
    gross_position_value: Decimal | None
    broken: bool
    process: ProcessRow | None


class _Account(NamedTuple):
    """The first columns of `_ACCOUNT`; the rows of two tables as JSON."""

    limits: list[list[Any]]
    states: list[list[Any]]
    opened_at: int | None
    net_liquidation: Decimal | None
    daily_pnl: Decimal | None
    gross_position_value: Decimal | None
    broken: bool


_DAILY, _GROSS = (select_number("$1", f"'{tag}'") for tag in ("DailyPnL", "GrossPositionValue"))
_FILLED = select_filled_value("$1", "g.as_of")
_ACCOUNT = Prepared(
    "nautilus_account_picture",
    "SELECT ARRAY(SELECT json_build_array(account, name, value::text) FROM risk_limits WHERE account IN ($1, $4)) AS limits,"
    " ARRAY(SELECT json_build_array(scope, state, reason, set_by, since, until_trade_date) FROM trading_state"
    "  WHERE scope = ANY($3) ORDER BY scope) AS states,"
    f" known.opened_at, known.net_liquidation, (SELECT value FROM ({_DAILY}) n) AS daily_pnl,"
    f" (SELECT g.value + f.filled FROM ({_GROSS}) g"
    f"  CROSS JOIN LATERAL ({_FILLED}) f) AS gross_position_value,"
    " EXISTS (SELECT FROM position_breaks WHERE account = $1 AND con_id = $2 AND until IS NULL) AS broken,"
    f" {PROCESS_COLUMNS}"
    " FROM (SELECT) always LEFT JOIN accounts known ON known.account = $1 LEFT JOIN order_process p ON true",
    ("text", "bigint", "text[]", "text"),
)


def account_picture(cursor: Cursor, account: str, con_id: int) -> AccountPicture:
    """What is known now; the account is held, so that no other order passes between this and a commit."""
    cursor.run(_ACCOUNT, (account, con_id, scopes_of([account]), ALL_ACCOUNTS))
    ((row, process),) = joined(cursor, (_Account, ProcessRow))
    return AccountPicture(
        [LimitRow(whose, name, None if value is None else Decimal(value)) for whose, name, value in row.limits],
        [_state(values) for values in row.states],
        *row[2:],
        process,
    )


def _state(values: list[Any]) -> StateRow:
    scope, state, reason, set_by, since, until = values
    ends = None if until is None else date.fromisoformat(until)
    return StateRow(scope, state, reason, set_by, datetime.fromisoformat(since), ends)


class MarketPicture(NamedTuple):
    """Of a contract: the other fields of IB's contract details, what one unit of a currency is worth in an account's base
    currency as IB sent it last, and the newest quote; None, or nothing, where nobody knows them."""

    details: Mapping[str, Any]
    rate: Decimal | None
    quote: AgedQuote | None


class _Market(NamedTuple):
    details: dict[str, Any] | None
    rate: Decimal | None


_MARKET = Prepared(
    "nautilus_market_picture",
    "SELECT i.details, (SELECT CASE WHEN a.base_currency = $3 THEN 1 ELSE (SELECT value::numeric FROM account_values v"
    "  WHERE v.account = a.account AND v.tag = 'ExchangeRate' AND v.currency = $3"
    "  AND v.value ~ '^[0-9]+([.][0-9]+)?$' AND v.value::numeric > 0) END::numeric"
    "  FROM accounts a WHERE a.account = $2) AS rate,"
    f" {AGED_COLUMNS} FROM (SELECT) always LEFT JOIN instruments i ON i.con_id = $1 LEFT JOIN live_quotes q ON q.con_id = $1",
    ("bigint", "text", "text"),
)


def market_picture(cursor: Cursor, con_id: int, account: str, currency: str) -> MarketPicture:
    """currency: of the contract."""
    cursor.run(_MARKET, (con_id, account, currency))
    ((row, quote),) = joined(cursor, (_Market, AgedQuote))
    return MarketPicture(row.details or {}, row.rate, quote)
