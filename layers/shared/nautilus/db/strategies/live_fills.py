"""Fills of live runs. They are executions of the ledger, found by the orders that a run made; nothing is stored twice."""

from collections.abc import Sequence
from uuid import UUID

from nautilus.db.cursor import Cursor
from nautilus.db.rows import every, scalar
from nautilus.db.strategies.results import FillRow

_OF_RUN = (
    " FROM strategy_orders o JOIN executions e ON e.order_id = o.order_id AND e.latest AND e.quantity > 0"
    " WHERE o.run_id = %(run)s"
)


def fills(cursor: Cursor, run_id: UUID, *, after: int = 0, limit: int) -> Sequence[FillRow]:
    """The newest revision of each execution, in the order of market time; n counts from 1. Their position is not stored."""
    cursor.execute(
        "SELECT * FROM (SELECT row_number() OVER (ORDER BY e.ts, e.exec_base) AS n, o.client_order_id,"
        " e.exec_id AS trade_id, e.con_id, e.ts AS market_ns, e.side, e.quantity, e.price, e.commission,"
        " coalesce(e.commission_currency, '') AS currency, e.broker_realized AS realized, NULL::numeric AS position,"
        f" e.seen_at AS at{_OF_RUN}) f WHERE n > %(after)s ORDER BY n LIMIT %(limit)s",
        {"run": run_id, "after": after, "limit": limit},
    )
    return every(cursor, FillRow)


def count(cursor: Cursor, run_id: UUID) -> int:
    cursor.execute(f"SELECT count(*){_OF_RUN}", {"run": run_id})
    return scalar(cursor, int)
