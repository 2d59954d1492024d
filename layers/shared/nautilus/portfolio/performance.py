"""How accounts did: profit of a time by three countings that are never mixed, returns by trade date, and round trips.

The three: what IB reports as realized (`broker`), what our lots come to, first in first out (`fifo`), and what open positions
would make at their marks (`unrealized`).
"""

from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal
from itertools import pairwise
from typing import Any, NamedTuple

from nautilus.db.bridge.status import market_now
from nautilus.db.cursor import Cursor
from nautilus.db.orders import account_state, positions
from nautilus.db.portfolio import cash, equity, holdings
from nautilus.db.portfolio.equity import EquityRow
from nautilus.db.portfolio.holdings import FillFilter
from nautilus.orders.report import number
from nautilus.portfolio import returns
from nautilus.portfolio.adding_up import AddedUp, added_up
from nautilus.portfolio.closing import CurrencyProfit, Trip, parts_of, profits, trips_of
from nautilus.portfolio.identity import Identity
from nautilus.portfolio.lots import ZERO
from nautilus.portfolio.reading import positions_of, time_text
from nautilus.portfolio.returns import DayReturn, EquityDay
from nautilus.portfolio.round_trips import TripStatistics, statistics
from nautilus.portfolio.rounding import rounded
from nautilus.portfolio.trade_date_profit import DEPOSITS, deposits_of, trade_date_json
from nautilus.portfolio.trade_dates import before, span_of

_FIRST, _LAST = date(1970, 1, 5), date(2261, 12, 30)
"""Before and after these days there is no market time."""
_RATIO = 6
"""Decimals of a ratio in an answer."""


# ---- profit of a time ------------------------------------------------------------------------------------------------


def pnl_json(cursor: Cursor, accounts: Sequence[str], since: int, until: int) -> dict[str, Any]:
    """Profit in [since, until) of market time, and of open positions now."""
    now = market_now(cursor)
    which = FillFilter(accounts, since, until)
    parts = parts_of(cursor, which)
    held = positions_of(cursor, accounts)
    unrealized: dict[str, Decimal | None] = {}
    for one in held:
        currency, gain = one.contract.currency or "", one.valued.unrealized
        before = unrealized.get(currency, ZERO)
        unrealized[currency] = None if before is None or gain is None else before + gain
    return {
        "since": time_text(since),
        "until": time_text(min(until, now)),
        "fifo": [profit_json(one) for one in profits(parts.parts)],
        "unrealized": [{"currency": key or None, "amount": number(value)} for key, value in sorted(unrealized.items())],
        "broker": [_broker(cursor, account) for account in accounts],
        "trade_dates": [trade_date_json(cursor, account, now) for account in accounts],
        "fees": [
            {"currency": row.currency, "fills": row.fills, "fees": number(row.fees), "without_commission": row.missing}
            for row in holdings.fill_sums(cursor, which)
        ],
        "complete": parts.complete,
        "as_of": time_text(now),
    }


def _broker(cursor: Cursor, account: str) -> dict[str, Any]:
    """What IB says about the profit of the day by its own count, in base currency."""
    found = {tag: account_state.number(cursor, account, tag) for tag in ("DailyPnL", "RealizedPnL", "UnrealizedPnL")}
    names = {"DailyPnL": "daily", "RealizedPnL": "realized", "UnrealizedPnL": "unrealized"}
    times = [value[1] for value in found.values() if value]
    return {
        "account": account,
        **{names[tag]: None if value is None else number(value[0]) for tag, value in found.items()},
        "as_of": time_text(min(times) if times else None),
        "source": "broker",
    }


def profit_json(one: CurrencyProfit) -> dict[str, Any]:
    return {
        "currency": one.currency or None,
        "matches": one.matches,
        "unknown": one.unknown,
        "gross": number(one.gross),
        "fees": ratio(one.fees, 10),
        "net": ratio(one.net, 10),
    }


def minutes_json(cursor: Cursor, accounts: Sequence[str], since: int, until: int) -> list[dict[str, Any]]:
    """What IB sent, minute by minute."""
    return [
        {
            "account": row.account,
            "minute": time_text(row.minute),
            "net_liquidation": number(row.net_liquidation),
            "daily": number(row.daily),
            "unrealized": number(row.unrealized),
            "realized": number(row.realized),
            "source": "broker",
        }
        for row in equity.minutes(cursor, accounts, since, until)
    ]


# ---- round trips -----------------------------------------------------------------------------------------------------


def trip_json(one: Trip) -> dict[str, Any]:
    return {
        "account": one.account,
        **one.contract.as_dict(),
        "began": time_text(one.trip.began),
        "ended": time_text(one.trip.ended),
        "side": "long" if one.trip.side > 0 else "short",
        "quantity": number(one.trip.quantity),
        "net": ratio(one.trip.net, 10),
        "tags": list(one.tags),
    }


def statistics_json(trips: Iterable[Trip]) -> list[dict[str, Any]]:
    """Counts and rates of round trips, by currency."""
    every = list(trips)
    currencies = sorted({one.contract.currency or "" for one in every})
    return [
        {
            "currency": currency or None,
            **_statistics(statistics(one.trip for one in every if (one.contract.currency or "") == currency)),
        }
        for currency in currencies
    ]


def _statistics(found: TripStatistics) -> dict[str, Any]:
    return {
        "won": found.won,
        "lost": found.lost,
        "even": found.even,
        "unknown": found.unknown,
        "gained": ratio(found.gained, 10),
        "given": ratio(found.given, 10),
        "win_rate": ratio(found.win_rate),
        "profit_factor": ratio(found.profit_factor),
        "expectancy": ratio(found.expectancy),
    }


# ---- returns ---------------------------------------------------------------------------------------------------------


class EquityHistory(NamedTuple):
    """The days of one account. unknown: why no return is known, such as a deposit without a rate; empty: they are. gaps: trade
    dates between the first and the last that have no equity: then no figure of a year is known."""

    days: list[EquityDay]
    rows: list[EquityRow]
    returns: list[DayReturn]
    unknown: tuple[str, ...] = ()
    gaps: int = 0


def history_of(cursor: Cursor, account: str, first: date, last: date) -> EquityHistory:
    """The equity of each trade date, and the returns between them without deposits."""
    rows = equity.days(cursor, [account], first, last)
    if not rows:
        return EquityHistory([], [], [])
    since, until = span_of(rows[0].trade_date)[0], span_of(rows[-1].trade_date)[1]
    came = [row for row in cash.movements(cursor, [account], since, until) if row.kind in DEPOSITS]
    flows, missing = deposits_of(came, [row.trade_date for row in rows], base=rows[-1].currency)
    unknown = [f"a deposit in {', '.join(missing)} has no exchange rate of its day"] if missing else []
    if positions.transfers(cursor, account, since, until):
        unknown.append("securities were transferred, whose value of that day nobody knows")
    if len({row.currency for row in rows}) > 1:
        unknown.append("the base currency has changed")
    days = [EquityDay(row.trade_date, row.net_liquidation, flows.get(row.trade_date, ZERO)) for row in rows]
    found = [] if unknown else returns.daily_returns(days)
    gaps = sum(before(row.trade_date) > last.trade_date for last, row in pairwise(rows))
    return EquityHistory(days, rows, found, tuple(unknown), gaps)


def performance_json(cursor: Cursor, account: str, first: date, last: date) -> dict[str, Any]:
    """Returns, drawdown, ratios, round trips, and whether the books add up, of one account."""
    now = market_now(cursor)
    history = history_of(cursor, account, first, last)
    since, until = span_of(max(first, _FIRST))[0], span_of(min(last, _LAST))[1]
    parts = parts_of(cursor, FillFilter([account], 0, until))
    trips = trips_of(parts.parts, since)
    return {
        "account": account,
        "first": history.rows[0].trade_date.isoformat() if history.rows else None,
        "last": history.rows[-1].trade_date.isoformat() if history.rows else None,
        "days": len(history.rows),
        "currency": history.rows[-1].currency if history.rows else None,
        "equity": number(history.rows[-1].net_liquidation) if history.rows else None,
        "returns": _returns(history),
        "round_trips": statistics_json(trips),
        "realized": [profit_json(one) for one in profits(part for part in parts.parts if part.row.closed_ts >= since)],
        "identities": [added_json(one) for one in added_up(cursor, [account])],
        "complete": parts.complete,
        "as_of": time_text(now),
        "source": "executions and equity of trade dates",
        "why": _why(history),
    }


def _why(history: EquityHistory) -> str | None:
    if history.unknown:
        return f"no return is known: {'; '.join(history.unknown)}"
    if history.gaps:
        return (
            f"annual return, volatility and Sharpe ratio need every trade date; {history.gaps} times some are missing"
        )
    if len(history.returns) < returns.FEWEST_DAYS:
        least, found = returns.FEWEST_DAYS, len(history.returns)
        return f"volatility, Sharpe ratio and annual return need {least} daily returns; there are {found}"
    return None


def _returns(history: EquityHistory) -> dict[str, Any]:
    found = history.returns
    daily = [] if history.gaps else found
    fall = returns.largest_drawdown(found)
    return {
        "total": ratio(returns.total_return(found)),
        "annual": ratio(returns.annual_return(daily)),
        "volatility": ratio(returns.volatility(daily)),
        "sharpe": ratio(returns.sharpe_ratio(daily)),
        "drawdown": None
        if fall is None
        else {
            "share": ratio(fall.share),
            "peak": fall.peak.isoformat(),
            "trough": fall.trough.isoformat(),
            "until": fall.until.isoformat() if fall.until else None,
        },
    }


def equity_json(history: EquityHistory) -> list[dict[str, Any]]:
    """Each trade date with its equity, deposits and return."""
    own = {one.trade_date: one.value for one in history.returns}
    return [
        {
            "account": row.account,
            "trade_date": row.trade_date.isoformat(),
            "net_liquidation": number(row.net_liquidation),
            "currency": row.currency,
            "deposits": number(day.deposits),
            "return": ratio(own.get(row.trade_date), 10),
            "as_of": time_text(row.as_of),
            "source": row.source,
        }
        for row, day in zip(history.rows, history.days, strict=True)
    ]


# ---- whether it adds up ----------------------------------------------------------------------------------------------


def added_json(one: AddedUp) -> dict[str, Any]:
    return {
        "account": one.account,
        "currency": one.currency or None,
        "book": {
            "realized": number(one.book.realized),
            "unrealized": ratio(one.book.unrealized, 10),
            "traded": number(one.book.traded),
            "market_value": ratio(one.book.market_value, 10),
            **_identity(one.book_identity),
        },
        "cash": {
            "before": number(one.cash.before),
            "now": number(one.cash.now),
            "trades": number(one.cash.trades),
            "fees": number(one.cash.fees),
            "movements": number(one.cash.movements),
            **_identity(one.cash_identity),
        },
    }


def _identity(found: Identity) -> dict[str, Any]:
    return {"holds": found.holds, "difference": ratio(found.difference, 10), "identity": found.text}


def ratio(value: Decimal | None, decimals: int = _RATIO) -> str | None:
    """A quotient as text."""
    return None if value is None else number(rounded(value, decimals))
