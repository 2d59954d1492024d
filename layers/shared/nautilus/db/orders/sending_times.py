"""How orders fared on their way to IB, by the tag of who placed them: for the old front end's page of executions."""

from collections.abc import Sequence
from typing import NamedTuple

from nautilus.db.cursor import Cursor
from nautilus.db.rows import every


class SendingTimes(NamedTuple):
    """Of orders with one first tag (empty: none) that were sent. over: how many are over; filled: how many of those filled in
    part or in full. ack_*: milliseconds of machine time from the commit of `sending` to IB's first word; fill_ms: mean, to the
    first execution; None where no order has one."""

    tag: str
    sent: int
    over: int
    filled: int
    ack_p50: float | None
    ack_p95: float | None
    ack_p99: float | None
    fill_ms: float | None


def by_tag(
    cursor: Cursor,
    accounts: Sequence[str],
    since: int,
    until: int,
    *,
    tag: str | None = None,
    con_ids: Sequence[int] | None = None,
) -> list[SendingTimes]:
    """Orders of accounts that were accepted in [since, until) of market time in ns; tag: of this first tag alone; con_ids: of
    these contracts alone. Fills of imported files do not count: they were stored days later."""
    cursor.execute(
        "SELECT coalesce(o.tags[1], '') AS tag, count(*) AS sent, count(*) FILTER (WHERE o.over_at IS NOT NULL) AS over,"
        " count(*) FILTER (WHERE o.over_at IS NOT NULL AND o.filled > 0) AS filled,"
        " percentile_cont(0.5) WITHIN GROUP (ORDER BY o.ack_ms) AS ack_p50,"
        " percentile_cont(0.95) WITHIN GROUP (ORDER BY o.ack_ms) AS ack_p95,"
        " percentile_cont(0.99) WITHIN GROUP (ORDER BY o.ack_ms) AS ack_p99, avg(o.fill_ms)::float8 AS fill_ms"
        " FROM (SELECT *, (extract(epoch FROM acknowledged_at - sent_at) * 1000)::float8 AS ack_ms,"
        "  (SELECT extract(epoch FROM min(e.seen_at) - orders.sent_at) * 1000 FROM executions e"
        "   WHERE e.order_id = orders.id AND e.raw->>'source' IS NULL)"
        "   AS fill_ms FROM orders WHERE sent_at IS NOT NULL AND origin <> 'external' AND account = ANY(%(accounts)s)"
        "  AND market_at >= %(since)s AND market_at < %(until)s"
        "  AND (%(con_ids)s::bigint[] IS NULL OR con_id = ANY(%(con_ids)s))) o"
        " WHERE %(tag)s::text IS NULL OR o.tags[1] = %(tag)s GROUP BY 1 ORDER BY 1",
        {"accounts": list(accounts), "since": since, "until": until, "tag": tag, "con_ids": con_ids},
    )
    return every(cursor, SendingTimes)
