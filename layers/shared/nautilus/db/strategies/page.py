"""What the pages of the old front end ask for every two seconds, each from one statement."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from nautilus.db.cursor import Cursor
from nautilus.db.rows import every, scalar, scalars
from nautilus.db.strategies.listing import Readable
from nautilus.strategies.states import OVER

_READABLE = (
    "(%(owner)s::text IS NULL OR r.owner = %(owner)s OR (r.account <> '' AND r.account = ANY(%(accounts)s::text[])))"
)


class SignalRow(NamedTuple):
    """A signal of a strategy. n: its number within the run."""

    run_id: UUID
    n: int
    config_id: UUID | None
    name: str
    mode: str
    market_ns: int | None
    at: datetime
    body: Mapping[str, Any]


class PositionRow(NamedTuple):
    """What an open run holds of a contract: the sum of its fills. average: price of what it bought, of what it sold when short.
    None: nobody knows the contract's name."""

    run_id: UUID
    config_id: UUID | None
    name: str
    mode: str
    con_id: int
    instrument_id: str | None
    quantity: Decimal
    last_price: Decimal
    market_ns: int


def signals(cursor: Cursor, which: Readable, limit: int) -> list[SignalRow]:
    """The newest signals of runs that somebody may read."""
    cursor.execute(
        "SELECT e.run_id, e.n, r.config_id, r.name, r.mode, e.market_ns, e.at, e.body FROM strategy_events e"
        f" JOIN strategy_runs r ON r.id = e.run_id WHERE e.kind = 'signal' AND {_READABLE}"
        " ORDER BY e.at DESC, e.run_id, e.n DESC LIMIT %(limit)s",
        {"owner": which.owner, "accounts": list(which.accounts), "limit": limit},
    )
    return every(cursor, SignalRow)


def positions(cursor: Cursor, which: Readable) -> list[PositionRow]:
    """What open runs in paper and live hold."""
    cursor.execute(
        "WITH open AS (SELECT r.id, r.config_id, r.name, r.mode FROM strategy_runs r WHERE r.mode IN ('paper', 'live')"
        f" AND NOT r.state = ANY(%(over)s) AND {_READABLE}),"
        " filled AS (SELECT f.run_id, f.con_id, f.side, f.quantity, f.price, f.market_ns, f.n::text AS key"
        "  FROM open o JOIN strategy_fills f ON f.run_id = o.id WHERE o.mode = 'paper'"
        "  UNION ALL SELECT s.run_id, e.con_id, e.side, e.quantity, e.price, e.ts, e.exec_base FROM open o"
        "  JOIN strategy_orders s ON s.run_id = o.id JOIN executions e ON e.order_id = s.order_id AND e.latest"
        "  WHERE o.mode = 'live' AND e.quantity > 0)"
        " SELECT o.id AS run_id, o.config_id, o.name, o.mode, f.con_id, i.instrument_id,"
        "  sum(CASE WHEN f.side = 'BUY' THEN f.quantity ELSE -f.quantity END) AS quantity,"
        "  (array_agg(f.price ORDER BY f.market_ns DESC, f.key DESC))[1] AS last_price, max(f.market_ns) AS market_ns"
        " FROM open o JOIN filled f ON f.run_id = o.id LEFT JOIN instruments i ON i.con_id = f.con_id"
        " GROUP BY o.id, o.config_id, o.name, o.mode, f.con_id, i.instrument_id"
        " HAVING sum(CASE WHEN f.side = 'BUY' THEN f.quantity ELSE -f.quantity END) <> 0 ORDER BY o.id, f.con_id",
        {"owner": which.owner, "accounts": list(which.accounts), "over": list(OVER)},
    )
    return every(cursor, PositionRow)


def tradable_names(cursor: Cursor, classes: Sequence[str]) -> list[str]:
    """Instruments of these asset classes that have series."""
    cursor.execute(
        "SELECT DISTINCT i.instrument_id FROM series s JOIN instruments i USING (con_id) WHERE i.asset_class = ANY(%s)"
        " ORDER BY 1",
        (list(classes),),
    )
    return scalars(cursor, str)


def timeframes(cursor: Cursor) -> list[str]:
    """Timeframes of series that there are."""
    cursor.execute("SELECT DISTINCT timeframe FROM series")
    return scalars(cursor, str)


def up_seconds(cursor: Cursor, run_id: UUID) -> float:
    """For how long a run's child was alive: from each start to what ended it, by the events of its states; the last one until
    now, where it is not over."""
    cursor.execute(
        "WITH states AS (SELECT e.at, e.body ->> 'after' AS state,"
        "  lead(e.at) OVER (ORDER BY e.n) AS until FROM strategy_events e WHERE e.run_id = %(run)s AND e.kind = 'state')"
        " SELECT coalesce(sum(extract(epoch FROM coalesce(until, clock_timestamp()) - at)), 0)::float8 FROM states"
        " WHERE state IN ('warming_up', 'running', 'pausing', 'paused', 'stopping')",
        {"run": run_id},
    )
    return scalar(cursor, float)
