"""Accounts and positions in the words of the web front end that there was before.

Its numbers are JSON numbers. A value that nobody knows is left out of the account, which shows "$null" otherwise, and is null in
a position, which shows "-".
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from nautilus.db.bridge.status import market_now
from nautilus.db.cursor import Cursor
from nautilus.db.orders import account_state
from nautilus.portfolio.reading import Position, positions_of, sent, time_text

_VALUES = {
    "net_liquidation": "NetLiquidation",
    "total_cash_value": "TotalCashValue",
    "buying_power": "BuyingPower",
    "excess_liquidity": "ExcessLiquidity",
    "maintenance_margin": "MaintMarginReq",
    "initial_margin": "InitMarginReq",
}
"""The page's name of a value, and IB's."""


def account(cursor: Cursor, accounts: Sequence[str]) -> dict[str, Any]:
    """The values of the account that the caller may use; of several those of the first by name, and the others' names.

    The page takes an answer with `message` for one without data.
    """
    if not accounts:
        return {"message": "no gateway ever named an account that you may use"}
    name, now = accounts[0], market_now(cursor)
    row = account_state.known(cursor, name)
    values = {key: account_state.number(cursor, name, tag) for key, tag in _VALUES.items()}
    known = {key: _number(value[0]) for key, value in values.items() if value is not None}
    if not known:
        return {"message": f"IB has sent no value of the account {name} yet"}
    as_of = min(value[1] for value in values.values() if value is not None)
    found: dict[str, Any] = {"account_id": name, **known, "timestamp": time_text(as_of), **sent(as_of, now)}
    if row is not None and row.base_currency:
        found["currency"] = row.base_currency
    if len(accounts) > 1:
        found["other_accounts"] = list(accounts[1:])
    return found


def positions(cursor: Cursor, accounts: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of the page's table."""
    return [position(one) for one in positions_of(cursor, accounts) if one.row.quantity]


def position(one: Position) -> dict[str, Any]:
    """A row: `position` is always a number."""
    row = one.row
    return {
        "position_key": f"{row.account}:{row.con_id}",
        "account_id": row.account,
        "contract_id": str(row.con_id),
        "symbol": one.contract.symbol or str(row.con_id),
        "sec_type": one.contract.asset_class,
        "currency": one.contract.currency,
        "position": _number(row.quantity),
        "avg_cost": _known(one.average),
        "market_price": _known(one.mark.price if one.mark else None),
        "market_value": _known(one.valued.value),
        "unrealized_pnl": _known(one.valued.unrealized),
        "realized_pnl": _known(row.pnl_realized if one.base == one.contract.currency else None),
        "stale": one.mark is None or one.mark.stale,
        "timestamp": time_text(one.mark.as_of if one.mark else row.broker_as_of),
    }


def _number(value: Decimal) -> int | float:
    return int(value) if value == value.to_integral_value() else float(value)


def _known(value: Decimal | None) -> int | float | None:
    return None if value is None else _number(value)
