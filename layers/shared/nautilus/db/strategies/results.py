"""What came of a run: its bars, orders, fills, equity and events, as rows in the order of their numbers."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from nautilus.db.cursor import Cursor
from nautilus.db.rows import every

PAGE = 1_000


class BarRow(NamedTuple):
    """A row of `strategy_bars`: a bar that a run in paper or live was given. series: index in the run's series."""

    n: int
    series: int
    opened_ns: int
    closed_ns: int
    open: float
    high: float
    low: float
    close: float
    volume: float | None
    state: str
    given_at: datetime
    done_at: datetime | None


class OrderRow(NamedTuple):
    """A row of `strategy_orders`: what a run decided, and what became of it. decided_ns: close of the bar it follows from."""

    n: int
    client_order_id: str
    con_id: int
    decided_ns: int
    decided_price: Decimal | None
    side: str
    type: str
    quantity: Decimal
    limit_price: Decimal | None
    stop_price: Decimal | None
    tag: str
    state: str
    reason: str
    filled: Decimal
    order_id: UUID | None
    at: datetime


class FillRow(NamedTuple):
    """A row of `strategy_fills`: of a back-test, or of paper."""

    n: int
    client_order_id: str
    trade_id: str
    con_id: int
    market_ns: int
    side: str
    quantity: Decimal
    price: Decimal
    commission: Decimal | None
    currency: str
    realized: Decimal | None
    position: Decimal | None
    at: datetime


class EquityRow(NamedTuple):
    """A row of `strategy_equity`. drawdown: share of the highest equity so far that is lost, 0 to 1."""

    market_ns: int
    equity: Decimal
    cash: Decimal | None
    unrealized: Decimal | None
    drawdown: Decimal | None


class EventRow(NamedTuple):
    """A row of `strategy_events`. kind: state, signal, log, fault, revision, denied or gap."""

    n: int
    market_ns: int | None
    at: datetime
    kind: str
    body: Mapping[str, Any]


def bars(cursor: Cursor, run_id: UUID, *, after: int = 0, limit: int = PAGE) -> list[BarRow]:
    cursor.execute(
        f"SELECT {', '.join(BarRow._fields)} FROM strategy_bars WHERE run_id = %s AND n > %s ORDER BY n LIMIT %s",
        (run_id, after, limit),
    )
    return every(cursor, BarRow)


STATE = (
    "CASE WHEN o.state IS NULL THEN s.state"
    " WHEN o.state IN ('accepted', 'reserved', 'sending', 'sent') THEN 'submitted'"
    " WHEN o.state IN ('denied', 'rejected', 'filled', 'cancelled', 'expired') THEN o.state ELSE 'accepted' END"
)
REASON = "coalesce(nullif(o.why, ''), s.reason)"
"""How an order of a run stands, and why: of a live run as the ledger has it (o), whatever became of the run (s)."""
_CHANGED = ("quantity", "limit_price", "stop_price", "filled")
_LEDGER = {"state": STATE, "reason": REASON} | {name: f"coalesce(o.{name}, s.{name})" for name in _CHANGED}
_ORDER = ", ".join(f"{_LEDGER.get(name, 's.' + name)} AS {name}" for name in OrderRow._fields)


def orders(cursor: Cursor, run_id: UUID, *, after: int = 0, limit: int = PAGE) -> list[OrderRow]:
    """What a run decided, and what became of it: of a live run by the ledger, also after its end."""
    cursor.execute(
        f"SELECT {_ORDER} FROM strategy_orders s LEFT JOIN orders o ON o.id = s.order_id"
        " WHERE s.run_id = %s AND s.n > %s ORDER BY s.n LIMIT %s",
        (run_id, after, limit),
    )
    return every(cursor, OrderRow)


def fills(cursor: Cursor, run_id: UUID, *, after: int = 0, limit: int = PAGE) -> list[FillRow]:
    cursor.execute(
        f"SELECT {', '.join(FillRow._fields)} FROM strategy_fills WHERE run_id = %s AND n > %s ORDER BY n LIMIT %s",
        (run_id, after, limit),
    )
    return every(cursor, FillRow)


def equity(cursor: Cursor, run_id: UUID) -> list[EquityRow]:
    """All points, in the order of time."""
    cursor.execute(
        f"SELECT {', '.join(EquityRow._fields)} FROM strategy_equity WHERE run_id = %s ORDER BY market_ns", (run_id,)
    )
    return every(cursor, EquityRow)


def events(
    cursor: Cursor, run_id: UUID, *, after: int = 0, kind: str | None = None, limit: int = PAGE
) -> list[EventRow]:
    """kind: events of one kind alone."""
    chosen = " AND kind = %s" if kind else ""
    cursor.execute(
        f"SELECT {', '.join(EventRow._fields)} FROM strategy_events WHERE run_id = %s AND n > %s{chosen}"
        " ORDER BY n LIMIT %s",
        (run_id, after, *([kind] if kind else []), limit),
    )
    return every(cursor, EventRow)
