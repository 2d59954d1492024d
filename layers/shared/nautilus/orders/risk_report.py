"""How accounts and the order process stand, as the API tells it: decimals are texts, times are RFC 3339 of machine time."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from nautilus.clock import microseconds_text
from nautilus.db.bridge.status import market_now
from nautilus.db.cursor import Cursor
from nautilus.db.orders import account_state, kill_orders, process, risk_book, trading_state
from nautilus.db.orders.kill_orders import KillOrderRow
from nautilus.db.orders.limits import LimitSetRow
from nautilus.db.orders.process import ProcessRow
from nautilus.db.orders.risk_book import ExposureRow
from nautilus.db.orders.trading_state import ALL, StateRow
from nautilus.market.account_kind import account_kind
from nautilus.orders import limit_changes
from nautilus.orders.account_facts import STRICTNESS, in_force, state_of
from nautilus.orders.check_case import money
from nautilus.orders.kill import Killed
from nautilus.orders.limit_changes import LimitReport, Unset
from nautilus.orders.report import number
from nautilus.portfolio.trade_dates import trade_date

_KILLS = 20
"""How many uses of the kill switch are shown, the newest first."""
_NOT_RESUMED = "an account of real money is halted until an administrator resumes it by name"


def report(cursor: Cursor, accounts: Sequence[str]) -> dict[str, Any]:
    """Each of these accounts, the order process, and the newest uses of the kill switch that concern the accounts."""
    today = trade_date(market_now(cursor))
    return {
        "accounts": [_account_json(cursor, account, today) for account in accounts],
        "order_process": process_json(process.read(cursor)),
        "kills": [kill_json(row) for row in kill_orders.listed(cursor, accounts, limit=_KILLS)],
    }


def _account_json(cursor: Cursor, account: str, today: date) -> dict[str, Any]:
    found = limit_changes.limits_of(cursor, account)
    return {
        "account": account,
        "kind": account_kind([account]),
        "trading": _trading(cursor, account, today),
        "limits": [limit_json(one, account) for one in found],
        "allowed": [set_limit_json(row) for row in limit_changes.allow_rows(cursor, account)],
        **_usage(cursor, account),
    }


def _trading(cursor: Cursor, account: str, today: date) -> dict[str, Any]:
    """The state that counts, with the row that is the reason for it, and every row in force."""
    kind, rows = account_kind([account]), in_force(trading_state.read(cursor, [account]), today)
    state = state_of(rows, kind, today)
    deciding = min((row for row in rows if row.state == state), key=lambda row: row.since, default=None)
    if deciding is None:
        reason = _NOT_RESUMED if state == "halted" else None
        return {"state": state, "reason": reason, "since": None, "rows": [state_json(row) for row in rows]}
    return {
        "state": state,
        "reason": deciding.reason,
        "since": microseconds_text(deciding.since),
        "rows": [state_json(row) for row in rows],
    }


def stricter_than(cursor: Cursor, state: str, accounts: Sequence[str]) -> list[dict[str, Any]]:
    """The accounts that trade under a stricter state than this one, with that state and the reason for it."""
    today = trade_date(market_now(cursor))
    found = [{"account": account, **_trading(cursor, account, today)} for account in accounts if account != ALL]
    allowed = STRICTNESS.index(state)
    return [
        {name: one[name] for name in ("account", "state", "reason", "since")}
        for one in found
        if STRICTNESS.index(one["state"]) > allowed
    ]


def _usage(cursor: Cursor, account: str) -> dict[str, Any]:
    """What is reserved by open orders, and what of the limits is used, in base currency; null while it is not known."""
    reserved = risk_book.read_account(cursor, account).reserved_value
    held = account_state.gross_position_value(cursor, account)
    values, pnl = account_state.known(cursor, account), account_state.number(cursor, account, "DailyPnL")
    worth = values.net_liquidation if values else None
    used = None if held is None else held + reserved
    return {
        "base_currency": values.base_currency if values else None,
        "net_liquidation": number(worth),
        "daily_pnl": number(pnl[0]) if pnl else None,
        "reserved": number(reserved),
        "used": {"gross_exposure": number(used), "gross_exposure_percent": _percent(used, worth)},
        "contracts": [_contract_json(row) for row in risk_book.in_use(cursor, account)],
    }


def _percent(used: Decimal | None, worth: Decimal | None) -> str | None:
    return money(used * 100 / worth) if used is not None and worth else None


def _contract_json(row: ExposureRow) -> dict[str, Any]:
    return {
        "con_id": row.con_id,
        "position": number(row.position),
        "reserved_buy": number(row.reserved_buy),
        "reserved_sell": number(row.reserved_sell),
    }


# ---- limits ----------------------------------------------------------------------------------------------------------


def limit_json(one: LimitReport, account: str) -> dict[str, Any]:
    """A limit of an account. value null: no limit. origin: `account` or `all` (a row that somebody set), else `default`."""
    row = one.row
    return {
        "name": one.name,
        "value": number(one.value),
        "origin": "default" if row is None else "account" if row.account == account else "all",
        "default": number(one.default),
        "unit": one.unit,
        "text": one.text,
        "set_by": row.set_by if row else None,
        "set_at": microseconds_text(row.set_at) if row else None,
    }


def set_limit_json(row: LimitSetRow) -> dict[str, Any]:
    """A row that an administrator set."""
    return {
        "account": row.account,
        "name": row.name,
        "value": number(row.value),
        "set_by": row.set_by,
        "set_at": microseconds_text(row.set_at),
    }


def unset_limit_json(done: Unset) -> dict[str, Any]:
    """removed: the row that is gone; limit: what counts now, null where that is another for each account."""
    row, counts = done
    return {
        "removed": set_limit_json(row),
        "limit": limit_json(counts, row.account) if counts is not None else None,
    }


# ---- trading state and kill switch -----------------------------------------------------------------------------------


def state_json(row: StateRow) -> dict[str, Any]:
    """A row of the trading state. account: `*` for all; until_trade_date: null until a person ends it."""
    return {
        "account": row.scope if row.scope == ALL else row.scope.removeprefix(trading_state.DAY),
        "state": row.state,
        "reason": row.reason,
        "set_by": row.set_by,
        "since": microseconds_text(row.since),
        "until_trade_date": row.until_trade_date.isoformat() if row.until_trade_date else None,
    }


def kill_json(row: KillOrderRow) -> dict[str, Any]:
    """A use of the kill switch. done: null until IB shows none of its orders any more; text: what is in its way."""
    return {
        "id": str(row.id),
        "account": row.account,
        "cancel": row.cancel,
        "flatten": row.flatten,
        "by": row.by,
        "reason": row.reason,
        "asked": microseconds_text(row.asked_at),
        "done": microseconds_text(row.done_at) if row.done_at else None,
        "text": row.text or None,
    }


def killed_json(done: Killed) -> dict[str, Any]:
    """What a kill did: what is halted, the kill orders, the orders that were denied, and those that are being cancelled."""
    return {
        "halted": [state_json(row) for row in done.halted],
        "kills": [kill_json(row) for row in done.kill_orders],
        "denied": [str(order_id) for order_id in done.denied],
        "cancelling": [str(order_id) for order_id in done.cancelling],
        "unknown_accounts": list(done.unknown),
    }


# ---- the order process -----------------------------------------------------------------------------------------------


def process_json(row: ProcessRow | None) -> dict[str, Any] | None:
    """The order process; null when none ever ran. state: what it wrote last, or `silent` when it writes no more."""
    if row is None:
        return None
    state, reason = row.standing
    return {
        "state": state,
        "last_state": row.state,
        "reason": reason or None,
        "mode": row.mode,
        "heartbeat_age_s": round(row.age_s, 1),
        "last_reconciled": microseconds_text(row.last_reconciled_at) if row.last_reconciled_at else None,
    }
