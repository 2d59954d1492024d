"""How alike strategies that trade one account move: of the equity of their newest live runs, day by day (UTC)."""

from datetime import UTC, datetime
from itertools import combinations
from typing import Any

from nautilus.clock import NS_PER_S
from nautilus.db.cursor import Cursor
from nautilus.db.strategies import listing, results
from nautilus.db.strategies.listing import Readable, RunFilter
from nautilus.db.strategies.runs import RunRow
from nautilus.errors import NotFound
from nautilus.portfolio.returns import DayReturn, EquityDay, daily_returns
from nautilus.portfolio.risk_figures import correlation, paired
from nautilus.portfolio.rounding import rounded
from nautilus.strategies.page_words import strategy_id_of
from nautilus.strategies.states import Mode

MOST = 20
"""Strategies of one matrix, the newest first."""
_RUNS = 500


def correlations(cursor: Cursor, account: str) -> list[dict[str, Any]]:
    """Each pair once; null below 20 days that both have, or where one never moved. NotFound: fewer than two strategies."""
    newest: dict[str, RunRow] = {}
    for run in listing.runs(cursor, RunFilter(Readable("", [account]), (Mode.LIVE.value,)), None, _RUNS):
        newest.setdefault(strategy_id_of(run), run)
    if len(newest) < 2:
        raise NotFound("fewer than two strategies have traded this account", code="no-figures")
    chosen = dict(list(newest.items())[:MOST])
    returns = {name: _returns(cursor, run) for name, run in chosen.items()}
    found = []
    for one, other in combinations(chosen, 2):
        pairs = paired(returns[one], returns[other])
        value = correlation(pairs)
        found.append(
            {
                "x": chosen[one].name or one,
                "y": chosen[other].name or other,
                "correlation": None if value is None else float(rounded(value, 6)),
                "days": len(pairs),
            }
        )
    return found


def _returns(cursor: Cursor, run: RunRow) -> list[DayReturn]:
    last = {
        datetime.fromtimestamp(row.market_ns // NS_PER_S, UTC).date(): row.equity
        for row in results.equity(cursor, run.id)
    }
    return daily_returns([EquityDay(day, equity) for day, equity in last.items()])
