"""What an account has, holds and traded, as the API tells it: decimals are texts, each row says from when it is, who sent it and
whether it is stale. What nobody knows is null."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from nautilus.clock import microseconds_text, rfc3339
from nautilus.db.bridge.status import market_now
from nautilus.db.cursor import Cursor
from nautilus.db.orders import account_state, positions
from nautilus.db.orders.account_state import AccountValues
from nautilus.db.orders.exact import total
from nautilus.db.orders.positions import AdjustmentRow, BreakRow
from nautilus.db.portfolio import cash, holdings
from nautilus.db.portfolio.cash import MovementRow
from nautilus.db.portfolio.holdings import FillRow, HoldingRow
from nautilus.orders.report import number
from nautilus.portfolio.contracts import Contract, Newest, contracts, newest_prices
from nautilus.portfolio.rounding import rounded
from nautilus.portfolio.valuing import BROKER_FRESH_NS, Mark, broker_mark, close_mark, mark, quote_mark, valued

_TAGS = (
    "NetLiquidation",
    "TotalCashValue",
    "BuyingPower",
    "ExcessLiquidity",
    "AvailableFunds",
    "MaintMarginReq",
    "InitMarginReq",
    "GrossPositionValue",
    "DailyPnL",
    "UnrealizedPnL",
    "RealizedPnL",
)
"""IB's values of an account that are shown, in its base currency."""


def time_text(ns: int | None) -> str | None:
    return None if ns is None else rfc3339(ns)


def sent(as_of: int | None, now: int, source: str = "broker") -> dict[str, Any]:
    """From when a row is, who sent it, and whether it is stale. as_of, now: market time in ns."""
    return {"as_of": time_text(as_of), "source": source, "stale": as_of is None or now - as_of > BROKER_FRESH_NS}


# ---- accounts and balances -------------------------------------------------------------------------------------------


def accounts_json(cursor: Cursor, accounts: Sequence[str]) -> list[dict[str, Any]]:
    """Each account with the values that IB sent."""
    now = market_now(cursor)
    return [_account(cursor, name, now) for name in accounts]


def _account(cursor: Cursor, name: str, now: int) -> dict[str, Any]:
    row = account_state.known(cursor, name) or AccountValues(name, "", None, None, None, None)
    values = {tag: account_state.number(cursor, name, tag) for tag in _TAGS}
    return {
        "account": name,
        "kind": row.kind or None,
        "base_currency": row.base_currency,
        "opened_at": time_text(row.opened_at),
        "values": {
            tag: None if found is None else {"value": number(found[0]), **sent(found[1], now)}
            for tag, found in values.items()
        },
        **sent(row.values_at, now),
    }


def balances_json(cursor: Cursor, accounts: Sequence[str]) -> list[dict[str, Any]]:
    """Cash of each currency, with the rate to the base currency, and what it was first."""
    now = market_now(cursor)
    first = {(row.account, row.currency): row for row in cash.openings(cursor, accounts)}
    rates = {(row.account, row.currency): row for row in cash.rates(cursor, accounts)}
    found = []
    for row in cash.balances(cursor, accounts):
        key = (row.account, row.currency)
        opening, rate = first.get(key), rates.get(key)
        found.append(
            {
                "account": row.account,
                "currency": row.currency,
                "cash": number(row.balance),
                "exchange_rate": number(rate.balance) if rate else None,
                "opening": None if opening is None else {"cash": number(opening.balance), "at": time_text(opening.at)},
                **sent(row.at, now),
            }
        )
    return found


def movement_json(row: MovementRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "account": row.account,
        "currency": row.currency,
        "amount": number(row.amount),
        "kind": row.kind,
        "time": rfc3339(row.ts),
        "time_ns": row.ts,
        "text": row.text or None,
        "source": row.source,
        "external_id": row.external_id,
        "by": row.by or None,
    }


# ---- positions -------------------------------------------------------------------------------------------------------


class Position:
    """A contract that an account holds, with its value, in the contract's currency. base: the account's own currency, in which
    IB sends the profit of a position."""

    def __init__(self, row: HoldingRow, contract: Contract, newest: Newest, *, base: str | None, now: int) -> None:
        self.row, self.contract, self.base, self.now = row, contract, base, now
        self.mark = _mark(row, contract, newest, base=base, now=now)
        self.valued = valued(row.quantity, _cost(row, contract), contract.unit, self.mark)

    @property
    def average(self) -> Decimal | None:
        """Average price of the open lots."""
        unit, cost = self.contract.unit, self.valued.cost
        if cost is None or not unit or not self.row.quantity:
            return None
        return cost / self.row.quantity / unit

    def as_dict(self) -> dict[str, Any]:
        row = self.row
        return {
            "account": row.account,
            **self.contract.as_dict(),
            "quantity": number(row.quantity),
            "multiplier": number(self.contract.unit),
            "average_price": _rounded(self.average),
            "cost": number(self.valued.cost),
            "opened_at": time_text(row.opened_at),
            "lots": row.lots,
            "lots_without_price": row.unpriced,
            "mark": _mark_json(self.mark),
            "market_value": _rounded(self.valued.value),
            "unrealized": _rounded(self.valued.unrealized),
            "broker": {
                "quantity": number(row.broker_quantity),
                "average_cost": number(row.broker_cost),
                "currency": self.base,
                "market_value": number(row.pnl_value),
                "daily": number(row.pnl_daily),
                "unrealized": number(row.pnl_unrealized),
                "realized": number(row.pnl_realized),
                "as_of": time_text(row.broker_as_of),
                "profit_as_of": time_text(row.pnl_as_of),
            },
            "verified_at": time_text(row.verified_at),
            "break_id": row.break_id,
            "as_of": time_text(self.mark.as_of if self.mark else row.broker_as_of),
            "source": "executions",
            "stale": self.mark is None or self.mark.stale or row.break_id is not None,
        }


def positions_of(cursor: Cursor, accounts: Sequence[str], con_id: int | None = None) -> list[Position]:
    """Every position of accounts, with what it is worth now."""
    now = market_now(cursor)
    rows = holdings.holdings(cursor, accounts, con_id)
    known = contracts(cursor, (row.con_id for row in rows))
    prices = newest_prices(cursor, known, now)
    bases = {name: found.base_currency for name in accounts if (found := account_state.known(cursor, name))}
    return [Position(row, known[row.con_id], prices[row.con_id], base=bases.get(row.account), now=now) for row in rows]


def _cost(row: HoldingRow, contract: Contract) -> Decimal | None:
    if row.unpriced or (row.cost and contract.unit is None):
        return None
    return row.opening_cost + row.cost * (contract.unit or 1)


def _mark(row: HoldingRow, contract: Contract, newest: Newest, *, base: str | None, now: int) -> Mark | None:
    broker = None
    if contract.unit and contract.currency is not None and contract.currency == base:
        broker = broker_mark(row.pnl_value, row.pnl_quantity, unit=contract.unit, as_of=row.pnl_as_of, now=now)
    return mark(now, [quote_mark(newest.quote, now), broker, close_mark(newest.close, newest.close_at)])


def _mark_json(found: Mark | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "price": _rounded(found.price),
        "source": found.source,
        "as_of": time_text(found.as_of),
        "stale": found.stale,
    }


def _rounded(value: Decimal | None) -> str | None:
    """A quotient as text."""
    return None if value is None else number(rounded(value))


# ---- executions ------------------------------------------------------------------------------------------------------


def fills_json(cursor: Cursor, rows: Iterable[FillRow]) -> list[dict[str, Any]]:
    every_row = list(rows)
    known = contracts(cursor, (row.con_id for row in every_row))
    return [_fill(row, known[row.con_id]) for row in every_row]


def _fill(row: FillRow, contract: Contract) -> dict[str, Any]:
    value = None if contract.unit is None else row.quantity * row.price * contract.unit
    return {
        "exec_id": row.exec_id,
        "account": row.account,
        **contract.as_dict(),
        "order_id": row.order_id,
        "origin": row.origin or "external",
        "tags": row.tags or [],
        "side": row.side,
        "quantity": number(row.quantity),
        "price": number(row.price),
        "value": number(value),
        "exchange": row.exchange or None,
        "time": rfc3339(row.ts),
        "time_ns": row.ts,
        "commission": number(row.commission),
        "commission_currency": row.commission_currency,
        "broker_realized": number(row.broker_realized),
        "exchange_rate": number(row.fx_rate),
        "revision": row.revision,
        "as_of": rfc3339(row.ts),
        "source": row.source,
        "stale": False,
    }


# ---- breaks ----------------------------------------------------------------------------------------------------------


def breaks_json(cursor: Cursor, accounts: Sequence[str], *, open_only: bool, limit: int) -> list[dict[str, Any]]:
    """Differences between our positions and IB's, the newest first, with the adjustments that closed them."""
    rows = positions.breaks(cursor, accounts, open_only=open_only, limit=limit)
    known = contracts(cursor, (row.con_id for row in rows))
    made = {
        row.id: row for row in positions.adjustments(cursor, [row.adjustment_id for row in rows if row.adjustment_id])
    }
    return [break_json(row, known, made) for row in rows]


def break_json(row: BreakRow, known: Mapping[int, Contract], made: Mapping[int, AdjustmentRow]) -> dict[str, Any]:
    adjustment = made.get(row.adjustment_id) if row.adjustment_id else None
    return {
        "id": row.id,
        "account": row.account,
        **known[row.con_id].as_dict(),
        "expected": number(row.expected),
        "broker": number(row.broker),
        "difference": number(row.broker - row.expected),
        "since": microseconds_text(row.since),
        "until": None if row.until is None else microseconds_text(row.until),
        "by": row.by or None,
        "note": row.note or None,
        "adjustment": None if adjustment is None else adjustment_json(adjustment),
    }


def adjustment_json(row: AdjustmentRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "quantity": number(total((row.quantity, row.explained))),
        "explained": number(row.explained),
        "left": number(row.quantity),
        "explained_by": list(row.explained_by),
        "price": number(row.price),
        "commission": number(row.commission),
        "commission_currency": row.commission_currency,
        "kind": row.kind,
        "reason": row.reason,
        "by": row.by,
        "at": rfc3339(row.at),
    }
