"""Risk in the words of the web front end that there was before: exposure of positions, losses by the account's own past.

Money is text, ratios are numbers. A figure that is not known is null, and `why` says why; an answer without which the page could
not draw anything is no answer at all (NotFound).
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import date
from decimal import Decimal
from itertools import combinations
from typing import Any, NamedTuple

from nautilus.db.bridge.status import market_now
from nautilus.db.cursor import Cursor
from nautilus.db.portfolio import cash
from nautilus.errors import NotFound
from nautilus.orders.report import number
from nautilus.portfolio import returns
from nautilus.portfolio.benchmarks import MARKET, benchmark, daily_closes
from nautilus.portfolio.currency import Amount, at_rates
from nautilus.portfolio.lots import ZERO
from nautilus.portfolio.page_trades import base_of
from nautilus.portfolio.performance import EquityHistory, history_of
from nautilus.portfolio.reading import Position, positions_of, time_text
from nautilus.portfolio.returns import FEWEST_DAYS, DayReturn
from nautilus.portfolio.risk_figures import (
    beta,
    correlation,
    expected_shortfall,
    of_single_days,
    paired,
    returns_of_closes,
    value_at_risk,
    windows,
)
from nautilus.portfolio.rounding import rounded

_HUNDRED = Decimal(100)
_FIVE, _ONE = Decimal("0.05"), Decimal("0.01")
_HORIZONS = {"d": 1, "w": 5, "m": 21}
"""The page's horizons in trade dates."""
MOST_CORRELATED = 20
"""Instruments of a matrix of correlations, the largest positions first."""


# ---- what is held ----------------------------------------------------------------------------------------------------


class Exposure(NamedTuple):
    """A position in the base currency of its account. value: signed; None where a price or a rate is not known."""

    position: Position
    value: Decimal | None


def exposures(cursor: Cursor, account: str, base: str | None) -> list[Exposure]:
    """Every position of an account with its value at the rates of now."""
    rates = {row.currency: row.balance for row in cash.rates(cursor, [account])}
    return [Exposure(one, _based(one, rates, base)) for one in positions_of(cursor, [account]) if one.row.quantity]


def _based(one: Position, rates: dict[str, Decimal], base: str | None) -> Decimal | None:
    if one.valued.value is None or base is None:
        return None
    return at_rates([Amount(one.contract.currency or "", one.valued.value)], rates, base).value


def total(found: Iterable[Exposure]) -> Decimal | None:
    """Long and short by their size; None where a part is not known."""
    sizes = [None if one.value is None else abs(one.value) for one in found]
    return None if None in sizes else sum((size for size in sizes if size is not None), ZERO)


def exposure(cursor: Cursor, account: str) -> dict[str, Any]:
    """Exposure by instrument, currency and asset class, and how concentrated it is. No sector is stored: that list is empty."""
    base, now = base_of(cursor, [account]), market_now(cursor)
    found = exposures(cursor, account, base)
    whole = total(found)
    known = whole is not None
    long = sum((one.value for one in found if one.value is not None and one.value > ZERO), ZERO)
    short = sum((one.value for one in found if one.value is not None and one.value < ZERO), ZERO)
    rows = sorted((_instrument(one, whole) for one in found), key=lambda row: row["percentage"] or 0, reverse=True)
    shares = [abs(one.value) / whole for one in found if one.value is not None and whole]
    return {
        "account": account,
        "currency": base,
        "total_exposure": _money(whole),
        "long_exposure": _money(long if known else None),
        "short_exposure": _money(-short if known else None),
        "net_exposure": _money(long + short if known else None),
        "by_instrument": rows,
        "by_currency": _grouped(found, whole, lambda one: one.contract.currency),
        "by_asset_class": _grouped(found, whole, lambda one: one.contract.asset_class),
        "by_sector": [],
        "concentration": {
            "largest": rows[0]["symbol"] if rows and known else None,
            "largest_percentage": _ratio(max(shares) * _HUNDRED) if shares else None,
            "herfindahl": _ratio(sum((share * share for share in shares), ZERO)) if shares else None,
        },
        "as_of": time_text(now),
        "why": {} if known else {"total_exposure": _unvalued(found, base)},
    }


def _instrument(one: Exposure, whole: Decimal | None) -> dict[str, Any]:
    mark = one.position.mark
    return {
        **one.position.contract.as_dict(),
        "instrument": one.position.contract.symbol or str(one.position.row.con_id),
        "quantity": number(one.position.row.quantity),
        "exposure": _money(one.value),
        "percentage": _share(one.value, whole),
        "stale": mark is None or mark.stale,
    }


def _grouped(found: Sequence[Exposure], whole: Decimal | None, name: Callable[[Position], str | None]) -> list[Any]:
    sums: dict[str, Decimal | None] = {}
    for one in found:
        key = name(one.position) or "unknown"
        so_far = sums.get(key, ZERO)
        sums[key] = None if so_far is None or one.value is None else so_far + abs(one.value)
    return [
        {"name": key, "exposure": _money(value), "percentage": _share(value, whole)}
        for key, value in sorted(sums.items())
    ]


def _unvalued(found: Iterable[Exposure], base: str | None) -> str:
    if base is None:
        return "the base currency of the account is not known yet"
    names = [one.position.contract.symbol or str(one.position.row.con_id) for one in found if one.value is None]
    return f"no price, multiplier or exchange rate is known of {', '.join(names)}"


# ---- what may be lost ------------------------------------------------------------------------------------------------


class Past(NamedTuple):
    """An account's equity and returns, those of single trade dates apart, and those of the market in the same dates."""

    history: EquityHistory
    days: list[DayReturn]
    with_market: list[tuple[Decimal, Decimal]]


def past_of(cursor: Cursor, account: str) -> Past:
    history = history_of(cursor, account, date.min, date.max)
    days = of_single_days(history.returns)
    market = benchmark(cursor, MARKET)
    return Past(history, days, paired(days, market.returns) if market else [])


def portfolio(cursor: Cursor, account: str) -> dict[str, Any]:
    """The page's four figures. NotFound without a beta: the page can draw no null there."""
    past, base = past_of(cursor, account), base_of(cursor, [account])
    found = exposures(cursor, account, base)
    whole, loss, worst = total(found), _loss(past, 1, _FIVE), _loss(past, 1, _FIVE, mean=True)
    why = {}
    if whole is None:
        why["total_exposure"] = _unvalued(found, base)
    if loss is None:
        why["var_1d"] = why["expected_shortfall"] = _too_few(past, 1, _FIVE)
    return {
        "account": account,
        "currency": base,
        "total_exposure": _money(whole),
        "var_1d": _money(loss),
        "expected_shortfall": _money(worst),
        "beta": _ratio(_required(beta(past.with_market), _no_market(past))),
        "as_of": time_text(market_now(cursor)),
        "equity_of": past.history.rows[-1].trade_date.isoformat() if past.history.rows else None,
        "why": why,
    }


def metrics(cursor: Cursor, account: str) -> dict[str, Any]:
    """Losses by horizon and confidence in money, and ratios. NotFound without a ratio: the page can draw no null there."""
    past = past_of(cursor, account)
    if past.history.gaps or len(past.days) < FEWEST_DAYS:
        raise NotFound(f"there are no figures of risk: {_too_few(past, 1, _FIVE)}", code="no-figures")
    money: dict[str, str | None] = {}
    why: dict[str, str] = {}
    for name, days in _HORIZONS.items():
        for percent, share in (("95", _FIVE), ("99", _ONE)):
            loss = _loss(past, days, share)
            money[f"var_1{name}_{percent}"] = _money(loss)
            if loss is None:
                why[f"var_1{name}_{percent}"] = _too_few(past, days, share)
    for percent, share in (("95", _FIVE), ("99", _ONE)):
        loss = _loss(past, 1, share, mean=True)
        money[f"expected_shortfall_{percent}"] = _money(loss)
        if loss is None:
            why[f"expected_shortfall_{percent}"] = _too_few(past, 1, share)
    fall = returns.largest_drawdown(past.history.returns)
    same = "every daily return is the same"
    return {
        "account": account,
        "currency": past.history.rows[-1].currency,
        **money,
        "beta_vs_market": _ratio(_required(beta(past.with_market), _no_market(past))),
        "correlation_with_market": _ratio(_required(correlation(past.with_market), _no_market(past))),
        "portfolio_volatility": _ratio(_required(returns.volatility(past.days), same)),
        "sharpe_ratio": _ratio(_required(returns.sharpe_ratio(past.days), same)),
        "max_drawdown": _ratio(fall.share if fall else ZERO),
        "days": len(past.days),
        "as_of": past.history.rows[-1].trade_date.isoformat(),
        "why": why,
    }


def _loss(past: Past, days: int, share: Decimal, *, mean: bool = False) -> Decimal | None:
    """In money, of the equity of the newest day."""
    if not past.history.days:
        return None
    own = windows(past.days, days)
    found = expected_shortfall(own, share) if mean else value_at_risk(own, share)
    return None if found is None else found * past.history.days[-1].equity


def _too_few(past: Past, days: int, share: Decimal) -> str:
    if past.history.unknown:
        return "; ".join(past.history.unknown)
    if past.history.gaps and days == 1:
        text = f"; {past.history.gaps} times trade dates are missing"
    else:
        text = ""
    of = "of a trade date" if days == 1 else f"of {days} trade dates each"
    return f"{int(1 / share)} returns {of} are needed, there are {len(windows(past.days, days))}{text}"


def _no_market(past: Past) -> str:
    return f"daily bars of {MARKET} for {FEWEST_DAYS} trade dates of the account are needed, {len(past.with_market)} are stored"


def _required(value: Decimal | None, why: str) -> Decimal:
    if value is None:
        raise NotFound(f"there are no figures of risk: {why}", code="no-figures")
    return value


# ---- charts ----------------------------------------------------------------------------------------------------------


def var_history(cursor: Cursor, account: str) -> list[dict[str, Any]]:
    """Value at risk of a day (95 %) by all that was known at each trade date, in percent of equity and in money."""
    past = past_of(cursor, account)
    worth = {one.trade_date: one.equity for one in past.history.days}
    found = []
    for n, one in enumerate(past.days, start=1):
        own = [day.value for day in past.days[:n]]
        loss, worst = value_at_risk(own, _FIVE), expected_shortfall(own, _FIVE)
        if loss is None or worst is None:
            continue
        equity = worth[one.trade_date]
        found.append(
            {
                "date": one.trade_date.isoformat(),
                "var_1d_95": _number(loss * equity),
                "expected_shortfall_95": _number(worst * equity),
                "percentage": _number(loss * _HUNDRED),
            }
        )
    return found


def correlations(cursor: Cursor, account: str) -> list[dict[str, Any]]:
    """Of the daily closes of what is held, each pair once; null below 20 dates that both have."""
    base = base_of(cursor, [account])
    held = sorted(exposures(cursor, account, base), key=lambda one: abs(one.value or ZERO), reverse=True)
    names = {one.position.row.con_id: one.position.contract.symbol for one in held[:MOST_CORRELATED]}
    closes = daily_closes(cursor, names)
    found = []
    for one, other in combinations(names, 2):
        pairs = paired(returns_of_closes(closes.get(one, {})), returns_of_closes(closes.get(other, {})))
        value = correlation(pairs)
        found.append(
            {
                "x": names[one] or str(one),
                "y": names[other] or str(other),
                "correlation": None if value is None else _ratio(value),
                "days": len(pairs),
            }
        )
    return found


def _share(value: Decimal | None, whole: Decimal | None) -> float | None:
    return None if value is None or not whole else _number(abs(value) / whole * _HUNDRED)


def _money(value: Decimal | None) -> str | None:
    return None if value is None else f"{value:.2f}"


def _ratio(value: Decimal) -> float:
    return float(rounded(value, 6))


def _number(value: Decimal) -> float:
    return float(rounded(value))
