"""How many trades of an account lost, by what IB reports as realized with each execution."""

from typing import NamedTuple

from nautilus.db.cursor import Cursor
from nautilus.db.rows import one


class Losses(NamedTuple):
    """losses: orders whose executions realized a loss. newest: market time in ns of the newest one's last execution, None
    where there is none; newest_age_s: machine time since that execution was stored. unreported: executions whose result IB
    has not reported yet."""

    losses: int
    newest: int | None
    newest_age_s: float | None
    unreported: int


def since(cursor: Cursor, account: str, start: int) -> Losses:
    """Of the executions of an account from a market time (ns) on. An execution that opens realizes nothing, and IB says so by
    leaving it empty."""
    cursor.execute(
        "WITH fills AS (SELECT coalesce(order_id::text, nullif(perm_id, 0)::text, exec_base) AS trade, broker_realized,"
        "  commission IS NULL AS unreported, ts, seen_at FROM executions"
        "  WHERE account = %(account)s AND latest AND quantity > 0 AND ts >= %(start)s),"
        " trades AS (SELECT sum(broker_realized) < 0 AS lost, max(ts) AS ts, max(seen_at) AS seen_at FROM fills GROUP BY trade)"
        " SELECT count(*) FILTER (WHERE lost) AS losses, max(ts) FILTER (WHERE lost) AS newest,"
        " extract(epoch FROM clock_timestamp() - max(seen_at) FILTER (WHERE lost))::float8 AS newest_age_s,"
        " (SELECT count(*) FROM fills WHERE unreported) AS unreported FROM trades",
        {"account": account, "start": start},
    )
    return one(cursor, Losses)
