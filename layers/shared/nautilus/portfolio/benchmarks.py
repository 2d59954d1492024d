"""What an account is compared with: the daily closes of an instrument that is stored. Dividends are in no close."""

from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal
from typing import NamedTuple

from nautilus.clock import day_of
from nautilus.db.cursor import Cursor
from nautilus.db.market import instruments
from nautilus.db.portfolio import closes
from nautilus.errors import NotFound
from nautilus.portfolio import returns
from nautilus.portfolio.returns import FEWEST_DAYS, DayReturn
from nautilus.portfolio.risk_figures import returns_of_closes

MARKET = "SPY"
"""What stands for the market."""
_LAST_LABEL = 2**63 - 1


class Benchmark(NamedTuple):
    """An instrument with its daily closes, by trade date."""

    symbol: str
    name: str
    closes: dict[date, Decimal]

    @property
    def returns(self) -> list[DayReturn]:
        return returns_of_closes(self.closes)


def benchmark(cursor: Cursor, symbol: str, first: int = 0, until: int = _LAST_LABEL) -> Benchmark | None:
    """By its symbol, with the closes of labels in [first, until) (ns); None where no daily bar of it is stored."""
    con_id = closes.with_closes(cursor, symbol)
    if con_id is None:
        return None
    found = daily_closes(cursor, [con_id], first, until).get(con_id)
    known = instruments.by_id(cursor, con_id)
    return Benchmark(symbol, (known.long_name if known else "") or symbol, found) if found else None


def daily_closes(
    cursor: Cursor, con_ids: Iterable[int], first: int = 0, until: int = _LAST_LABEL
) -> dict[int, dict[date, Decimal]]:
    """The closes of instruments by trade date; those without a daily bar are missing."""
    found: dict[int, dict[date, Decimal]] = {}
    for row in closes.daily(cursor, con_ids, first, until):
        found.setdefault(row.con_id, {})[day_of(row.ts)] = Decimal(repr(row.close))
    return found


def figures(cursor: Cursor, symbol: str, first: int, until: int) -> dict[str, object]:
    """Return, volatility and Sharpe ratio of a time, in the page's words; percent. NotFound: too few daily bars are stored."""
    found = benchmark(cursor, symbol, first, until)
    own: Sequence[DayReturn] = found.returns if found else []
    total, volatility, sharpe = returns.total_return(own), returns.volatility(own), returns.sharpe_ratio(own)
    if found is None or total is None or volatility is None or sharpe is None:
        days = len(found.closes) if found else 0
        raise NotFound(
            f"{days} daily bars of {symbol} are stored for this time, {FEWEST_DAYS + 1} are needed: backfill them",
            code="no-figures",
        )
    ordered = sorted(found.closes)
    return {
        "symbol": symbol,
        "name": found.name,
        "return_period": float(total * 100),
        "volatility": float(volatility * 100),
        "sharpe_ratio": float(sharpe),
        "first": ordered[0].isoformat(),
        "last": ordered[-1].isoformat(),
        "days": len(ordered),
    }
