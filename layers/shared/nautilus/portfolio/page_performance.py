"""Performance in the words of the web front end that there was before. A figure that is not known is null; none is made up."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from nautilus.db.cursor import Cursor
from nautilus.db.orders import sending_times
from nautilus.db.orders.sending_times import SendingTimes
from nautilus.db.portfolio import cash
from nautilus.db.portfolio.holdings import LAST, FillFilter
from nautilus.portfolio import returns
from nautilus.portfolio.closing import closings_of
from nautilus.portfolio.currency import Amount, at_rates
from nautilus.portfolio.lots import ZERO
from nautilus.portfolio.page_trades import base_of, made
from nautilus.portfolio.performance import EquityHistory, history_of
from nautilus.portfolio.reading import Position, positions_of
from nautilus.portfolio.round_trips import statistics
from nautilus.portfolio.rounding import rounded
from nautilus.portfolio.trade_dates import trade_date

_HUNDRED = Decimal(100)


def aggregate(cursor: Cursor, accounts: Sequence[str], which: FillFilter) -> dict[str, Any]:
    """The page's figures of all trades of a time. win_rate: 0 to 1; max_drawdown: percent; money in the base currency."""
    found = closings_of(cursor, which)
    counts = statistics(one.trip for one in found.trips)
    base = base_of(cursor, accounts)
    net = made(found.parts, base).net if found.complete else None
    open_ = unrealized(cursor, which, accounts, base)
    history = _history(cursor, accounts, which)
    fall = returns.largest_drawdown(history.returns) if history else None
    return {
        "total_pnl": _number(None if net is None or open_ is None else net + open_),
        "realized_pnl": _number(net),
        "unrealized_pnl": _number(open_),
        "win_rate": _number(counts.win_rate if found.complete else None),
        "total_trades": counts.won + counts.lost + counts.even + counts.unknown,
        "winning_trades": counts.won,
        "profit_factor": _number(counts.profit_factor if found.complete else None),
        "max_drawdown": _number(_drawdown(history, fall)),
        "sharpe_ratio": _number(returns.sharpe_ratio(history.returns)) if history and not history.gaps else None,
        "daily_returns": [_number(one.value) for one in history.returns] if history else [],
        "currency": base,
    }


def _drawdown(history: EquityHistory | None, fall: returns.Drawdown | None) -> Decimal | None:
    """In percent; 0 where returns are known and none fell."""
    if history is None or not history.returns:
        return None
    return fall.share * _HUNDRED if fall else ZERO


def unrealized(cursor: Cursor, which: FillFilter, accounts: Sequence[str], base: str | None) -> Decimal | None:
    """What open positions would make, in base currency at the rates of now; None where a part is not known, and of one tag: an
    open position belongs to no order."""
    if which.tag is not None:
        return None
    amounts = []
    wanted = None if which.con_ids is None else set(which.con_ids)
    for one in positions_of(cursor, accounts):
        if wanted is not None and one.row.con_id not in wanted:
            continue
        if one.valued.unrealized is None:
            return None
        amounts.append(Amount(one.contract.currency or "", one.valued.unrealized))
    if not amounts:
        return ZERO
    return None if base is None else at_rates(amounts, _rates(cursor, accounts), base).value


def _rates(cursor: Cursor, accounts: Sequence[str]) -> dict[str, Decimal]:
    return {row.currency: row.balance for row in cash.rates(cursor, accounts)}


def _history(cursor: Cursor, accounts: Sequence[str], which: FillFilter) -> EquityHistory | None:
    """The equity of the only account; None of several, whose days cannot be added, and of a part of its trades."""
    if len(accounts) != 1 or which.con_ids is not None or which.tag is not None:
        return None
    last = date.max if which.until == LAST else trade_date(which.until - 1)
    return history_of(cursor, accounts[0], trade_date(which.since), last)


def snapshots(cursor: Cursor, accounts: Sequence[str], which: FillFilter) -> list[dict[str, Any]]:
    """For each trade date what was made since the first: equity less the first and less deposits."""
    history = _history(cursor, accounts, which)
    if history is None or not history.days or history.unknown:
        return []
    first, came, found = history.days[0].equity, ZERO, []
    for n, day in enumerate(history.days):
        came += day.deposits if n else ZERO
        found.append({"timestamp": day.trade_date.isoformat(), "total_pnl": _number(day.equity - first - came)})
    return found


# ---- executions ------------------------------------------------------------------------------------------------------


def execution_metrics(cursor: Cursor, accounts: Sequence[str], which: FillFilter) -> list[dict[str, Any]]:
    """How orders fared, by strategy. Slippage and its cost are null: the price before an order is not stored."""
    rows = sending_times.by_tag(cursor, accounts, which.since, which.until, tag=which.tag, con_ids=which.con_ids)
    return [_metrics(row) for row in rows]


def _metrics(row: SendingTimes) -> dict[str, Any]:
    return {
        "strategy_id": row.tag or None,
        "total_trades": row.sent,
        "fill_rate": row.filled / row.over if row.over else None,
        "avg_execution_time_ms": row.fill_ms,
        "latency_p50": row.ack_p50,
        "latency_p95": row.ack_p95,
        "latency_p99": row.ack_p99,
        "avg_slippage_bps": None,
        "execution_cost_bps": None,
    }


# ---- portfolio -------------------------------------------------------------------------------------------------------


def allocations(cursor: Cursor, account: str) -> dict[str, Any]:
    """Value by asset class, in base currency, long and short by their size; percentage of all; null where a part is not known."""
    base = base_of(cursor, [account])
    held: dict[str, list[Position]] = {}
    for one in positions_of(cursor, [account]):
        held.setdefault(one.contract.asset_class or "unknown", []).append(one)
    values = {name: _value(cursor, account, rows, base) for name, rows in held.items()}
    known = [value for value in values.values() if value is not None]
    total = sum(known, ZERO) if len(known) == len(values) else None
    return {
        name: {
            "value": _number(value),
            "percentage": _number(value / total * _HUNDRED if value is not None and total else None),
        }
        for name, value in sorted(values.items())
    }


def _value(cursor: Cursor, account: str, rows: Sequence[Position], base: str | None) -> Decimal | None:
    amounts = []
    for one in rows:
        if one.valued.value is None:
            return None
        amounts.append(Amount(one.contract.currency or "", abs(one.valued.value)))
    return None if base is None else at_rates(amounts, _rates(cursor, [account]), base).value


def performance_history(cursor: Cursor, account: str) -> list[dict[str, Any]]:
    """Equity of each trade date, its return and that since the first, in percent."""
    history = history_of(cursor, account, date.min, date.max)
    own = {one.trade_date: one.value for one in history.returns}
    growth: Decimal | None = Decimal(1)
    found = []
    for n, day in enumerate(history.days):
        value = own.get(day.trade_date)
        if n:
            growth = None if growth is None or value is None else growth * (1 + value)
        found.append(
            {
                "date": day.trade_date.isoformat(),
                "portfolio_value": _number(day.equity),
                "daily_return": _number(None if value is None else value * _HUNDRED),
                "cumulative_return": _number(None if growth is None else (growth - 1) * _HUNDRED),
            }
        )
    return found


def _number(value: Decimal | None) -> float | None:
    return None if value is None else float(rounded(value))
