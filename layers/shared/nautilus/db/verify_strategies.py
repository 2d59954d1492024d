"""What verifying a store finds about strategies: what a run holds and counts, beside its rows and the ledger of orders."""

from collections.abc import Iterator
from typing import NamedTuple
from uuid import UUID

from nautilus.db.cursor import Cursor
from nautilus.db.rows import every
from nautilus.db.verify_findings import Finding

_DUE = (
    "SELECT r.account, c.con_id, r.id AS run_id FROM strategy_runs r CROSS JOIN LATERAL"
    " (SELECT DISTINCT unnest(r.con_ids) AS con_id) c WHERE r.mode = 'live' AND r.finished_at IS NULL"
)
"""The contracts that live runs must hold, so that no other run trades them."""


class _Claim(NamedTuple):
    account: str
    con_id: int
    run_id: UUID


class _Count(NamedTuple):
    id: UUID
    counted: int
    stored: int


class _Link(NamedTuple):
    run_id: UUID
    n: int


def verify_strategies(cursor: Cursor) -> Iterator[Finding]:
    """Every run, in the snapshot of this transaction."""
    cursor.execute(f"SELECT account, con_id, run_id FROM strategy_claims EXCEPT ({_DUE}) ORDER BY 1, 2")
    for row in every(cursor, _Claim):
        text = f"account {row.account}, contract {row.con_id}: held for run {row.run_id}, which does not trade it"
        yield Finding("strategy_claims", text)
    cursor.execute(f"({_DUE}) EXCEPT SELECT account, con_id, run_id FROM strategy_claims ORDER BY 1, 2")
    for row in every(cursor, _Claim):
        text = f"account {row.account}, contract {row.con_id}: not held for run {row.run_id}, which trades it"
        yield Finding("strategy_claims", text)
    cursor.execute(
        "SELECT r.id, r.fills AS counted, f.stored FROM strategy_runs r CROSS JOIN LATERAL"
        " (SELECT count(*) AS stored FROM strategy_fills f WHERE f.run_id = r.id) f"
        " WHERE r.mode = 'backtest' AND r.state = 'completed' AND r.fills <> f.stored ORDER BY r.id"
    )
    for run in every(cursor, _Count):
        yield Finding("strategy_fills", f"back-test {run.id} counts {run.counted} fills, there are {run.stored}")
    cursor.execute(
        "SELECT s.run_id, s.n FROM strategy_orders s WHERE s.order_id IS NOT NULL AND NOT EXISTS"
        " (SELECT 1 FROM orders o WHERE o.id = s.order_id AND o.principal = 'run:' || s.run_id)"
        " ORDER BY s.run_id, s.n"
    )
    for order in every(cursor, _Link):
        yield Finding("strategy_order", f"order {order.n} of run {order.run_id} names an order that is not this run's")


def mend_strategies(cursor: Cursor) -> int:
    """Make the contracts that live runs hold those that they trade; returns how many were wrong. One that two runs trade
    stays with the one that has it."""
    cursor.execute("LOCK TABLE strategy_claims IN SHARE ROW EXCLUSIVE MODE")
    cursor.execute(f"DELETE FROM strategy_claims WHERE (account, con_id, run_id) NOT IN ({_DUE})")
    removed = int(cursor.rowcount)
    cursor.execute(f"INSERT INTO strategy_claims (account, con_id, run_id) {_DUE} ON CONFLICT DO NOTHING")
    return removed + int(cursor.rowcount)
