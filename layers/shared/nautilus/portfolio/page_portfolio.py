"""What the portfolio page of the web front end that there was before draws beside equity: strategies, and a benchmark."""

from datetime import date
from decimal import Decimal
from typing import Any

from nautilus.clock import label_of
from nautilus.db.cursor import Cursor
from nautilus.db.portfolio import cash, holdings
from nautilus.db.portfolio.holdings import TaggedLots
from nautilus.portfolio.benchmarks import benchmark
from nautilus.portfolio.currency import Amount, at_rates
from nautilus.portfolio.lots import ZERO
from nautilus.portfolio.page_trades import base_of
from nautilus.portfolio.performance import history_of
from nautilus.portfolio.reading import Position, positions_of
from nautilus.portfolio.rounding import rounded
from nautilus.portfolio.valuing import valued

_HUNDRED = Decimal(100)
UNTAGGED = "none"
"""What was opened by no order of ours, or by one without a tag."""


def strategy_allocations(cursor: Cursor, account: str) -> list[dict[str, Any]]:
    """Open lots by the first tag of the order that opened them: value (long and short by size), its percentage of all, and what
    they would make; in base currency, null where a part is not known."""
    base = base_of(cursor, [account])
    rates = {row.currency: row.balance for row in cash.rates(cursor, [account])}
    held = {one.row.con_id: one for one in positions_of(cursor, [account])}
    found: dict[str, list[Decimal | None]] = {}
    for row in holdings.lots_by_tag(cursor, account):
        size, gain = _valued(row, held.get(row.con_id))
        sums = found.setdefault(row.tag or UNTAGGED, [ZERO, ZERO])
        for n, value in enumerate((size, gain)):
            amount = None if value is None or base is None else _based(held[row.con_id], value, rates, base)
            before = sums[n]
            sums[n] = None if amount is None or before is None else before + amount
    sizes = [values[0] for values in found.values()]
    whole = None if None in sizes else sum((size for size in sizes if size is not None), ZERO)
    return [
        {
            "name": tag,
            "value": _number(value),
            "allocation": _number(value / whole * _HUNDRED if value is not None and whole else None),
            "pnl": _number(gain),
        }
        for tag, (value, gain) in sorted(found.items())
    ]


def _valued(row: TaggedLots, held: Position | None) -> tuple[Decimal | None, Decimal | None]:
    """Size and gain in the contract's currency."""
    if held is None:
        return None, None
    unit = held.contract.unit
    cost = None
    if not row.unpriced and (unit is not None or not row.cost):
        cost = row.opening_cost + row.cost * (unit or 1)
    found = valued(row.quantity, cost, unit, held.mark)
    return None if found.value is None else abs(found.value), found.unrealized


def _based(held: Position, value: Decimal, rates: dict[str, Decimal], base: str) -> Decimal | None:
    return at_rates([Amount(held.contract.currency or "", value)], rates, base).value


def benchmark_comparison(cursor: Cursor, account: str, symbol: str) -> dict[str, Any]:
    """Both since the first trade date of the account that has a close, in percent, over the dates that both have."""
    history = history_of(cursor, account, date.min, date.max)
    growth: Decimal | None = Decimal(1)
    own: dict[date, Decimal | None] = {}
    values = {one.trade_date: one.value for one in history.returns}
    for n, day in enumerate(history.days):
        if n:
            value = values.get(day.trade_date)
            growth = None if growth is None or value is None else growth * (1 + value)
        own[day.trade_date] = growth
    first = label_of(history.days[0].trade_date) if history.days else 0
    other = benchmark(cursor, symbol, first) if history.days else None
    closes = other.closes if other else {}
    dates = [day for day in own if day in closes]
    return {
        "portfolio": {"performance": _since_first({day: own[day] for day in (dates or own)})},
        "benchmark": {
            "name": other.name if other else symbol,
            "symbol": symbol,
            "performance": _since_first({day: closes[day] for day in dates}),
        },
        "why": None if dates or not own else f"no daily bar of {symbol} is stored for a trade date of the account",
    }


def _since_first(worth: dict[date, Decimal] | dict[date, Decimal | None]) -> list[dict[str, Any]]:
    first = next(iter(worth.values()), None)
    return [
        {
            "date": day.isoformat(),
            "return": _number(None if value is None or not first else (value / first - 1) * _HUNDRED),
        }
        for day, value in worth.items()
    ]


def _number(value: Decimal | None) -> float | None:
    return None if value is None else float(rounded(value))
