"""Trades in the words of the web front end that there was before: its list, its sums and its table.

One trade of the page is one execution by its latest revision. A strategy of the page is the first tag of an order.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from nautilus.clock import rfc3339
from nautilus.db.cursor import Cursor
from nautilus.db.orders import account_state
from nautilus.db.portfolio import cash, holdings
from nautilus.db.portfolio.holdings import FillFilter, FillRow
from nautilus.errors import NotFound
from nautilus.orders.report import number
from nautilus.portfolio.closing import Part, closings_of, fees_of
from nautilus.portfolio.contracts import Contract, contracts
from nautilus.portfolio.currency import Amount, at_own_rates, at_rates
from nautilus.portfolio.lots import ZERO
from nautilus.portfolio.round_trips import statistics
from nautilus.portfolio.rounding import rounded

VENUE = "IB"
COLUMNS = (
    "trade_id",
    "execution_time",
    "symbol",
    "side",
    "quantity",
    "price",
    "commission",
    "currency",
    "venue",
    "strategy",
    "account_id",
    "order_id",
)


def trades(cursor: Cursor, which: FillFilter, *, limit: int, offset: int) -> list[dict[str, Any]]:
    """Rows of the page's list, the newest first: decimals are texts; commission is null until IB has sent it."""
    rows = holdings.fills(cursor, which, limit=limit, offset=offset)
    known = contracts(cursor, (row.con_id for row in rows))
    return [_trade(row, known[row.con_id]) for row in rows]


def _trade(row: FillRow, contract: Contract) -> dict[str, Any]:
    return {
        "trade_id": row.exec_id,
        "execution_id": row.exec_id,
        "execution_time": rfc3339(row.ts),
        "symbol": contract.symbol or str(row.con_id),
        "side": row.side,
        "quantity": number(row.quantity),
        "price": number(row.price),
        "commission": number(row.commission),
        "currency": contract.currency,
        "venue": VENUE,
        "strategy": row.tags[0] if row.tags else None,
        "account_id": row.account,
        "order_id": row.order_id,
    }


def con_ids_of(cursor: Cursor, accounts: Sequence[str] | None, symbol: str | None) -> list[int] | None:
    """The contracts with a symbol that were traded; None without a symbol: all."""
    if symbol is None:
        return None
    known = contracts(cursor, holdings.traded(cursor, accounts))
    return [con_id for con_id, one in known.items() if (one.symbol or str(con_id)).upper() == symbol.upper()]


def symbols(cursor: Cursor, accounts: Sequence[str] | None) -> list[dict[str, Any]]:
    known = contracts(cursor, holdings.traded(cursor, accounts))
    return [{"symbol": symbol} for symbol in sorted({one.symbol or str(con_id) for con_id, one in known.items()})]


# ---- sums ------------------------------------------------------------------------------------------------------------


class Made(NamedTuple):
    """Profit of a time in one base currency. net: None where a part is not known, and why."""

    net: Decimal | None
    why: str | None = None


def base_of(cursor: Cursor, accounts: Sequence[str]) -> str | None:
    """The base currency of accounts; None where it is not known, or not the same of all."""
    found = {row.base_currency if (row := account_state.known(cursor, name)) else None for name in accounts}
    return next(iter(found)) if len(found) == 1 else None


def made(parts: Iterable[Part], base: str | None) -> Made:
    """What was closed, net of commissions, at the rates of its time."""
    amounts: list[Amount] = []
    for part in parts:
        charged = fees_of(part)
        if part.gross is None or charged is None:
            return Made(None, f"a price or a commission of contract {part.row.con_id} is not known yet")
        currency, rate = part.contract.currency or "", part.row.closing_rate
        amounts.append(Amount(currency, part.gross, rate))
        amounts += [Amount(of, -fee, rate if of == currency else None) for of, fee in charged]
    if not amounts:
        return Made(ZERO)
    if base is None:
        return Made(None, "the accounts have no common base currency")
    found = at_own_rates(amounts, base)
    return Made(found.value, f"no exchange rate of {', '.join(found.missing)}" if found.missing else None)


def summary(cursor: Cursor, which: FillFilter, accounts: Sequence[str]) -> dict[str, Any]:
    """The page's sums. NotFound where one of them is not known: it cannot show that."""
    closed = closings_of(cursor, which)
    if not closed.complete:
        raise NotFound("there are no sums of so many trades: give a start_date", code="no-figures")
    found = made(closed.parts, base_of(cursor, accounts))
    counts = statistics(one.trip for one in closed.trips)
    sums = holdings.fill_sums(cursor, which)
    fees = at_rates([Amount(row.currency or "", row.fees) for row in sums], *_rates(cursor, accounts))
    if counts.win_rate is None or found.net is None or fees.value is None or any(row.missing for row in sums):
        reason = found.why or (
            "no trade has been closed yet" if counts.win_rate is None else "a commission is not known yet"
        )
        raise NotFound(f"there are no sums of these trades: {reason}", code="no-figures")
    return {
        "total_trades": sum(row.fills for row in sums),
        "winning_trades": counts.won,
        "losing_trades": counts.lost,
        "win_rate": float(counts.win_rate * 100),
        "net_pnl": number(rounded(found.net)),
        "total_commission": number(rounded(fees.value)),
        "currency": base_of(cursor, accounts),
    }


def _rates(cursor: Cursor, accounts: Sequence[str]) -> tuple[dict[str, Decimal], str]:
    return {row.currency: row.balance for row in cash.rates(cursor, accounts)}, base_of(cursor, accounts) or ""
