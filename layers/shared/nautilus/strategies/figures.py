"""What a run's fills and equity amount to: profit, round trips, drawdown, Sharpe ratio. The same for all modes.

Decimal throughout. What cannot be known is None, never 0: a Sharpe ratio of three days, a win rate without a trade.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from nautilus.portfolio.lots import ZERO, Lot, Trade, book, cost, fee_share, position
from nautilus.portfolio.returns import EquityDay, daily_returns, sharpe_ratio, total_return, volatility
from nautilus.portfolio.round_trips import Closed, round_trips, statistics
from nautilus.portfolio.rounding import rounded

_ONE_DAY = timedelta(days=1)


class RunFill(NamedTuple):
    """A fill. at_ns: market time. side: BUY or SELL. commission: None while it is not known. unit: what a price of 1 is worth
    for a quantity of 1, in the run's currency."""

    key: str
    con_id: int
    at_ns: int
    side: str
    quantity: Decimal
    price: Decimal
    commission: Decimal | None
    unit: Decimal = Decimal(1)

    @property
    def signed(self) -> Decimal:
        return self.quantity if self.side == "BUY" else -self.quantity


class EquityPoint(NamedTuple):
    """What a run was worth. at_ns: market time."""

    at_ns: int
    equity: Decimal


class Effect(NamedTuple):
    """What a fill did. realized: profit that it made real, before commissions. position: of its contract, afterwards."""

    realized: Decimal
    position: Decimal


class Book:
    """The lots of a run, filled in the order in which its fills came."""

    def __init__(self) -> None:
        self._lots: dict[int, tuple[Lot, ...]] = {}
        self._closed: dict[int, list[Closed]] = {}
        self._units: dict[int, Decimal] = {}
        self._fees: dict[str, tuple[Decimal | None, Decimal]] = {}
        self.realized = ZERO
        self.commissions: Decimal | None = ZERO
        self.fills = 0

    def add(self, fill: RunFill) -> Effect:
        """Book a fill. Its key is unique within the run."""
        self.fills += 1
        self._fees[fill.key] = (fill.commission, fill.quantity)
        if self.commissions is not None:
            self.commissions = None if fill.commission is None else self.commissions + fill.commission
        self._units[fill.con_id] = fill.unit
        trade = Trade(fill.key, fill.at_ns, fill.signed, fill.price, fill.unit)
        done = book(self._lots.get(fill.con_id, ()), trade)
        self._lots[fill.con_id] = done.lots
        realized = ZERO
        for match in done.matches:
            closed = Closed(
                match,
                fee_share(*self._fee(match.opened_key, match.opened)),
                fee_share(*self._fee(match.closed_key, match.quantity)),
            )
            self._closed.setdefault(fill.con_id, []).append(closed)
            realized += match.gross or ZERO
        self.realized += realized
        return Effect(realized, position(done.lots))

    def position(self, con_id: int) -> Decimal:
        return position(self._lots.get(con_id, ()))

    def trips(self) -> Sequence[Sequence[Closed]]:
        """The matches of each contract, in order."""
        return list(self._closed.values())

    def holdings(self) -> list[dict[str, Any]]:
        """What is held: con_id, quantity and average price of each contract that is not flat; numbers as texts."""
        found = []
        for con_id, lots in self._lots.items():
            held, paid = position(lots), cost(lots)
            if held:
                average = None if paid is None else paid / held / self._units[con_id]
                text = None if average is None else f"{rounded(average).normalize():f}"
                found.append({"con_id": con_id, "quantity": f"{held:f}", "average_price": text})
        return found

    def _fee(self, key: str, part: Decimal) -> tuple[Decimal | None, Decimal, Decimal]:
        fee, whole = self._fees[key]
        return fee, part, whole


def drawdowns(points: Iterable[EquityPoint]) -> list[Decimal]:
    """For each point, which share of the highest equity so far is lost: 0 to 1, and more where equity is negative."""
    found, peak = [], None
    for point in points:
        peak = point.equity if peak is None else max(peak, point.equity)
        found.append((peak - point.equity) / peak if peak > ZERO else ZERO)
    return found


def figures(
    booked: Book, points: Sequence[EquityPoint], *, capital: Decimal, trade_date: Callable[[int], date]
) -> Mapping[str, str | int | None]:
    """All figures of a run; amounts and ratios as texts. trade_date: of a market time.

    total_pnl: last equity less capital; unrealized_pnl: what of it no fill made real. win_rate, max_drawdown: 0 to 1.
    """
    trips = statistics(trip for closed in booked.trips() for trip in round_trips(closed))
    returns = daily_returns(equity_days(points, capital, trade_date))
    total = points[-1].equity - capital if points else None
    fees = booked.commissions
    open_profit = None if total is None or fees is None else total - booked.realized + fees
    return {
        "total_pnl": _text(total),
        "realized_pnl": _text(booked.realized),
        "unrealized_pnl": _text(open_profit),
        "commissions": _text(fees),
        "total_return": _text(total_return(returns)),
        "total_trades": trips.won + trips.lost + trips.even,
        "winning_trades": trips.won,
        "losing_trades": trips.lost,
        "win_rate": _text(trips.win_rate),
        "profit_factor": _text(trips.profit_factor),
        "expectancy": _text(trips.expectancy),
        "max_drawdown": _text(max(drawdowns([EquityPoint(0, capital), *points])) if points else None),
        "sharpe_ratio": _text(sharpe_ratio(returns)),
        "volatility": _text(volatility(returns)),
        "trading_days": len(returns),
    }


def equity_days(points: Sequence[EquityPoint], capital: Decimal, trade_date: Callable[[int], date]) -> list[EquityDay]:
    """The last equity of each trade date, after the capital that the first one began with."""
    last = {trade_date(point.at_ns): point.equity for point in points}
    if not last:
        return []
    before = EquityDay(min(last) - _ONE_DAY, capital)
    return [before, *(EquityDay(day, equity) for day, equity in sorted(last.items()))]


def _text(value: Decimal | None) -> str | None:
    if value is None:
        return None
    text = f"{rounded(value).normalize():f}"
    return "0" if text in ("-0", "0") else text
