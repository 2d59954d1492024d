"""What accounts hold and what they traded, as the answers of the portfolio need it."""

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from nautilus.db.cursor import Cursor
from nautilus.db.rows import every

LAST = 2**63 - 1


class HoldingRow(NamedTuple):
    """A contract that an account holds, by us or by IB. Times: market time in ns.

    quantity: ours. cost: of the open lots, quantity times price without the multiplier; opening_cost: of lots of the opening,
    with it; unpriced: open lots of which nobody knows the price. broker_*: what IB sends; pnl_*: of the profit of this position,
    in the account's base currency, for pnl_quantity units.
    """

    account: str
    con_id: int
    quantity: Decimal
    broker_quantity: Decimal | None
    broker_cost: Decimal | None
    broker_as_of: int | None
    verified_at: int | None
    lots: int
    unpriced: int
    cost: Decimal
    opening_cost: Decimal
    opened_at: int | None
    break_id: int | None
    pnl_quantity: Decimal | None
    pnl_daily: Decimal | None
    pnl_unrealized: Decimal | None
    pnl_realized: Decimal | None
    pnl_value: Decimal | None
    pnl_as_of: int | None


def holdings(cursor: Cursor, accounts: Sequence[str], con_id: int | None = None) -> list[HoldingRow]:
    """Every contract that we, or IB, say an account holds, by account and contract."""
    cursor.execute(
        "SELECT h.account, h.con_id, coalesce(b.position, 0) AS quantity, p.quantity AS broker_quantity,"
        " p.avg_cost AS broker_cost, p.as_of AS broker_as_of, c.verified_at, coalesce(l.lots, 0) AS lots,"
        " coalesce(l.unpriced, 0) AS unpriced, coalesce(l.cost, 0) AS cost, coalesce(l.opening_cost, 0) AS opening_cost,"
        " l.opened_at, k.id AS break_id, n.quantity AS pnl_quantity, n.daily AS pnl_daily, n.unrealized AS pnl_unrealized,"
        " n.realized AS pnl_realized, n.value AS pnl_value, n.as_of AS pnl_as_of"
        " FROM (SELECT account, con_id FROM risk_book WHERE account = ANY(%(accounts)s) AND position <> 0"
        "  UNION SELECT account, con_id FROM broker_positions WHERE account = ANY(%(accounts)s) AND quantity <> 0) h"
        " LEFT JOIN risk_book b USING (account, con_id) LEFT JOIN broker_positions p USING (account, con_id)"
        " LEFT JOIN position_checks c USING (account, con_id) LEFT JOIN broker_pnl n USING (account, con_id)"
        " LEFT JOIN (SELECT account, con_id, count(*) AS lots, count(*) FILTER (WHERE cost IS NULL) AS unpriced,"
        "  sum(cost) FILTER (WHERE opened_key <> 'opening') AS cost,"
        "  sum(cost) FILTER (WHERE opened_key = 'opening') AS opening_cost,"
        "  min(ts) AS opened_at FROM lots WHERE account = ANY(%(accounts)s) GROUP BY account, con_id) l USING (account, con_id)"
        " LEFT JOIN position_breaks k ON k.account = h.account AND k.con_id = h.con_id AND k.until IS NULL"
        " WHERE %(con_id)s::bigint IS NULL OR h.con_id = %(con_id)s ORDER BY h.account, h.con_id",
        {"accounts": list(accounts), "con_id": con_id},
    )
    return every(cursor, HoldingRow)


# ---- executions ------------------------------------------------------------------------------------------------------


class FillRow(NamedTuple):
    """An execution by its latest revision, with what is known of its order. ts: market time in ns."""

    account: str
    exec_base: str
    revision: int
    exec_id: str
    order_id: str | None
    perm_id: int
    con_id: int
    side: str
    quantity: Decimal
    price: Decimal
    exchange: str
    ts: int
    commission: Decimal | None
    commission_currency: str | None
    broker_realized: Decimal | None
    fx_rate: Decimal | None
    origin: str | None
    tags: list[str] | None
    source: str


class FillFilter(NamedTuple):
    """Which executions: of accounts (None: of all), in [since, until) of market time in ns, of contracts (None: of all)."""

    accounts: Sequence[str] | None
    since: int = 0
    until: int = LAST
    con_ids: Sequence[int] | None = None
    tag: str | None = None


_FILLS = (
    " FROM executions e LEFT JOIN orders o ON o.id = e.order_id WHERE e.latest AND e.quantity > 0"
    " AND (%(accounts)s::text[] IS NULL OR e.account = ANY(%(accounts)s)) AND e.ts >= %(since)s AND e.ts < %(until)s"
    " AND (%(con_ids)s::bigint[] IS NULL OR e.con_id = ANY(%(con_ids)s))"
    " AND (%(tag)s::text IS NULL OR %(tag)s = ANY(o.tags))"
)


def _given(which: FillFilter) -> dict[str, object]:
    lists = {
        name: None if value is None else list(value)
        for name, value in (("accounts", which.accounts), ("con_ids", which.con_ids))
    }
    return {"since": which.since, "until": which.until, "tag": which.tag, **lists}


def fills(
    cursor: Cursor, which: FillFilter, *, limit: int, after: tuple[int, str, str] | None = None, offset: int = 0
) -> list[FillRow]:
    """Executions, the newest first. after: (ts, account, exec_base) of the last one of the page before."""
    ts, account, base = after or (None, "", "")
    cursor.execute(
        "SELECT e.account, e.exec_base, e.revision, e.exec_id, e.order_id::text, e.perm_id, e.con_id, e.side, e.quantity,"
        " e.price, e.exchange, e.ts, e.commission, e.commission_currency, e.broker_realized, e.fx_rate, o.origin, o.tags,"
        " coalesce(e.raw->>'source', 'broker') AS source"
        f"{_FILLS} AND (%(ts)s::bigint IS NULL OR (e.ts, e.account, e.exec_base) < (%(ts)s, %(account)s, %(base)s))"
        " ORDER BY e.ts DESC, e.account DESC, e.exec_base DESC LIMIT %(limit)s OFFSET %(offset)s",
        {**_given(which), "ts": ts, "account": account, "base": base, "limit": limit, "offset": offset},
    )
    return every(cursor, FillRow)


class FillSums(NamedTuple):
    """Of executions in one commission currency: how many, their commissions, and how many have none yet."""

    currency: str | None
    fills: int
    fees: Decimal
    missing: int


def fill_sums(cursor: Cursor, which: FillFilter) -> list[FillSums]:
    cursor.execute(
        "SELECT e.commission_currency AS currency, count(*) AS fills, coalesce(sum(e.commission), 0) AS fees,"
        f" count(*) FILTER (WHERE e.commission IS NULL) AS missing{_FILLS} GROUP BY e.commission_currency ORDER BY 1",
        _given(which),
    )
    return every(cursor, FillSums)


class _ConId(NamedTuple):
    con_id: int


def traded(cursor: Cursor, accounts: Sequence[str] | None) -> list[int]:
    """The contracts of which accounts have executions."""
    cursor.execute(
        "SELECT DISTINCT con_id FROM executions WHERE latest AND quantity > 0"
        " AND (%(accounts)s::text[] IS NULL OR account = ANY(%(accounts)s)) ORDER BY con_id",
        {"accounts": None if accounts is None else list(accounts)},
    )
    return [row.con_id for row in every(cursor, _ConId)]


class _Tag(NamedTuple):
    tag: str


def tags(cursor: Cursor, accounts: Sequence[str] | None) -> list[str]:
    """The tags of orders that have filled."""
    cursor.execute(
        "SELECT DISTINCT unnest(tags) AS tag FROM orders WHERE filled > 0"
        " AND (%(accounts)s::text[] IS NULL OR account = ANY(%(accounts)s)) ORDER BY 1",
        {"accounts": None if accounts is None else list(accounts)},
    )
    return [row.tag for row in every(cursor, _Tag)]


class TaggedLots(NamedTuple):
    """Open lots of a contract that orders with one first tag opened; tag: None of those without. cost: quantity times price,
    without the multiplier; opening_cost: of what was there at first, with it; unpriced: lots of which nobody knows the price."""

    con_id: int
    tag: str | None
    quantity: Decimal
    cost: Decimal
    opening_cost: Decimal
    unpriced: int


def lots_by_tag(cursor: Cursor, account: str) -> list[TaggedLots]:
    cursor.execute(
        "SELECT l.con_id, o.tags[1] AS tag, sum(l.quantity) AS quantity,"
        " coalesce(sum(l.cost) FILTER (WHERE l.opened_key <> 'opening'), 0) AS cost,"
        " coalesce(sum(l.cost) FILTER (WHERE l.opened_key = 'opening'), 0) AS opening_cost,"
        " count(*) FILTER (WHERE l.cost IS NULL) AS unpriced FROM lots l"
        " LEFT JOIN executions e ON e.account = l.account AND e.exec_base = substr(l.opened_key, 6) AND e.latest"
        "  AND l.opened_key LIKE 'exec:%%' LEFT JOIN orders o ON o.id = e.order_id"
        " WHERE l.account = %s GROUP BY l.con_id, o.tags[1] ORDER BY l.con_id, tag",
        (account,),
    )
    return every(cursor, TaggedLots)


# ---- what was closed -------------------------------------------------------------------------------------------------


class ClosedRow(NamedTuple):
    """A match with the commissions of its two executions. opening_whole, closing_whole: their quantities; None for an opening or
    an adjustment but that of missed fills, which have no commission. tag: of the order that closed."""

    account: str
    con_id: int
    seq: int
    opened_key: str
    closed_key: str
    opened_ts: int
    closed_ts: int
    quantity: Decimal
    opened: Decimal
    cost: Decimal | None
    proceeds: Decimal | None
    flat: bool
    opening_whole: Decimal | None
    opening_fee: Decimal | None
    opening_fee_currency: str | None
    closing_whole: Decimal | None
    closing_fee: Decimal | None
    closing_fee_currency: str | None
    closing_rate: Decimal | None
    tags: list[str] | None


def _adjustment(key: str) -> str:
    """The number of the adjustment of a key."""
    return f"CASE WHEN {key} LIKE 'adjustment:%%' THEN substr({key}, 12)::bigint END"


def closed(cursor: Cursor, which: FillFilter, *, most: int) -> list[ClosedRow]:
    """What was closed in a time, in the order in which it was booked, of each account and contract; the newest `most`."""
    cursor.execute(
        "SELECT * FROM (SELECT m.account, m.con_id, m.seq, m.opened_key, m.closed_key, m.opened_ts, m.closed_ts, m.quantity,"
        " m.opened, m.cost, m.proceeds, m.flat, coalesce(a.quantity, abs(b.quantity)) AS opening_whole,"
        " coalesce(a.commission, b.commission) AS opening_fee,"
        " coalesce(a.commission_currency, b.commission_currency) AS opening_fee_currency,"
        " coalesce(z.quantity, abs(y.quantity)) AS closing_whole, coalesce(z.commission, y.commission) AS closing_fee,"
        " coalesce(z.commission_currency, y.commission_currency) AS closing_fee_currency, z.fx_rate AS closing_rate, o.tags"
        " FROM lot_matches m"
        " LEFT JOIN executions a ON a.account = m.account AND a.exec_base = substr(m.opened_key, 6) AND a.latest"
        "  AND m.opened_key LIKE 'exec:%%'"
        " LEFT JOIN executions z ON z.account = m.account AND z.exec_base = substr(m.closed_key, 6) AND z.latest"
        "  AND m.closed_key LIKE 'exec:%%'"
        f" LEFT JOIN position_adjustments b ON b.id = {_adjustment('m.opened_key')} AND b.kind = 'missed_fills'"
        f" LEFT JOIN position_adjustments y ON y.id = {_adjustment('m.closed_key')} AND y.kind = 'missed_fills'"
        " LEFT JOIN orders o ON o.id = z.order_id"
        " WHERE (%(accounts)s::text[] IS NULL OR m.account = ANY(%(accounts)s)) AND m.closed_ts >= %(since)s"
        "  AND m.closed_ts < %(until)s AND (%(con_ids)s::bigint[] IS NULL OR m.con_id = ANY(%(con_ids)s))"
        "  AND (%(tag)s::text IS NULL OR %(tag)s = ANY(o.tags))"
        " ORDER BY m.closed_ts DESC, m.account, m.con_id, m.seq DESC LIMIT %(most)s) n ORDER BY account, con_id, seq",
        {**_given(which), "most": most},
    )
    return every(cursor, ClosedRow)
