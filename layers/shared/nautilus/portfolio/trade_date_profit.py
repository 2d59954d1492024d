"""What an account has made since its trade date began, by its worth then and now. IB's day begins at other times."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from nautilus.db.cursor import Cursor
from nautilus.db.orders import account_state, positions
from nautilus.db.portfolio import cash, equity
from nautilus.db.portfolio.cash import MovementRow
from nautilus.orders.report import number
from nautilus.portfolio.currency import Amount, at_own_rates
from nautilus.portfolio.lots import ZERO
from nautilus.portfolio.reading import time_text
from nautilus.portfolio.trade_dates import before, span_of, trade_date

DEPOSITS = ("deposit", "withdrawal")
"""Kinds of cash that are no profit and no loss."""


def trade_date_json(cursor: Cursor, account: str, now: int) -> dict[str, Any]:
    """What an account has made since its trade date began, by its worth then and now, in base currency."""
    day = trade_date(now)
    since, until = span_of(day)
    rows, known = equity.days(cursor, [account], before(day), before(day)), account_state.known(cursor, account)
    worth = known.net_liquidation if known and known.values_at is not None and known.values_at >= since else None
    base = known.base_currency if known else None
    came = [row for row in cash.movements(cursor, [account], since, until) if row.kind in DEPOSITS]
    flows, missing = deposits_of(came, [day], base=base or "")
    why = None
    if not rows:
        why = "the account's worth at the end of the trade date before is not known"
    elif worth is None:
        why = "IB has sent no worth of the account since the trade date began"
    elif missing:
        why = f"a deposit in {', '.join(missing)} has no exchange rate of its day"
    elif positions.transfers(cursor, account, since, until):
        why = "securities were transferred, whose value nobody knows"
    elif rows[0].currency != base:
        why = "the base currency has changed"
    deposits = None if missing else flows.get(day, ZERO)
    profit = (
        worth - rows[0].net_liquidation - deposits
        if why is None and worth is not None and deposits is not None
        else None
    )
    return {
        "account": account,
        "trade_date": day.isoformat(),
        "since": time_text(since),
        "until": time_text(until),
        "currency": base,
        "before": number(rows[0].net_liquidation) if rows else None,
        "deposits": number(deposits),
        "net_liquidation": number(worth),
        "profit": number(profit),
        "as_of": time_text(known.values_at if known else None),
        "why": why,
    }


def deposits_of(
    came: Sequence[MovementRow], days: Sequence[date], *, base: str
) -> tuple[dict[date, Decimal], tuple[str, ...]]:
    """Deposits less withdrawals of each trade date, in base currency at the rates of their time; a day without equity counts
    for the next that has one."""
    found: dict[date, Decimal] = {}
    missing: set[str] = set()
    for row in came:
        day = next((one for one in days if one >= trade_date(row.ts)), None)
        amount = at_own_rates([Amount(row.currency, row.amount, row.fx_rate)], base)
        missing |= set(amount.missing)
        if day is not None and amount.value is not None:
            found[day] = found.get(day, ZERO) + amount.value
    return found, tuple(sorted(missing))
