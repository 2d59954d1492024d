"""What came of a run, written in batches. The caller holds the run's row (leases.held), so that numbers follow each other."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from nautilus.db.cursor import Cursor, PreparedByName
from nautilus.db.orders.frames import as_json, clean_text
from nautilus.db.rows import insert_rows, one, one_or_none, scalar
from nautilus.db.strategies.results import REASON, STATE


class NewOrder(NamedTuple):
    """An order as a run decided it, and as it stands. See `strategy_orders`."""

    client_order_id: str
    con_id: int
    decided_ns: int
    decided_price: Decimal | None
    side: str
    type: str
    quantity: Decimal
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    tag: str = ""
    state: str = "submitted"
    reason: str = ""
    filled: Decimal = Decimal(0)
    order_id: UUID | None = None


class NewFill(NamedTuple):
    """A simulated fill. See `strategy_fills`."""

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


class NewEquity(NamedTuple):
    """A point of the equity curve. See `strategy_equity`."""

    market_ns: int
    equity: Decimal
    cash: Decimal | None
    unrealized: Decimal | None
    drawdown: Decimal | None


class NewEvent(NamedTuple):
    """An event. See `strategy_events`."""

    market_ns: int | None
    kind: str
    body: Mapping[str, Any]


class NewBar(NamedTuple):
    """A bar that is about to be given. See `strategy_bars`."""

    series: int
    opened_ns: int
    closed_ns: int
    open: float
    high: float
    low: float
    close: float
    volume: float | None
    state: str


class Numbers(NamedTuple):
    """The last numbers of a run's rows."""

    bars: int
    orders: int
    fills: int


_MONEY = "numeric"
_ORDER = {
    "run_id": "uuid",
    "n": "bigint",
    "client_order_id": "text",
    "con_id": "bigint",
    "decided_ns": "bigint",
    "decided_price": _MONEY,
    "side": "text",
    "type": "text",
    "quantity": _MONEY,
    "limit_price": _MONEY,
    "stop_price": _MONEY,
    "tag": "text",
    "state": "text",
    "reason": "text",
    "filled": _MONEY,
    "order_id": "uuid",
}
_FILL = {
    "run_id": "uuid",
    "n": "bigint",
    "client_order_id": "text",
    "trade_id": "text",
    "con_id": "bigint",
    "market_ns": "bigint",
    "side": "text",
    **dict.fromkeys(("quantity", "price", "commission"), _MONEY),
    "currency": "text",
    **dict.fromkeys(("realized", "position"), _MONEY),
}
_EQUITY = {"run_id": "uuid", "market_ns": "bigint"} | dict.fromkeys(NewEquity._fields[1:], _MONEY)
_BAR = {
    "run_id": "uuid",
    "n": "bigint",
    "series": "smallint",
    "opened_ns": "bigint",
    "closed_ns": "bigint",
    **dict.fromkeys(("open", "high", "low", "close", "volume"), "float8"),
    "state": "text",
}
_UPDATED = ("state", "reason", "filled", "order_id", "quantity", "limit_price", "stop_price")


def numbers(cursor: Cursor, run_id: UUID) -> Numbers:
    cursor.execute(
        "SELECT (SELECT coalesce(max(n), 0) FROM strategy_bars WHERE run_id = %(id)s) AS bars,"
        " (SELECT coalesce(max(n), 0) FROM strategy_orders WHERE run_id = %(id)s) AS orders,"
        " (SELECT coalesce(max(n), 0) FROM strategy_fills WHERE run_id = %(id)s) AS fills",
        {"id": run_id},
    )
    return one(cursor, Numbers)


def orders(cursor: Cursor, run_id: UUID, rows: Mapping[int, NewOrder]) -> None:
    """Write orders by their numbers, or what became of them."""
    insert_rows(
        cursor,
        "strategy_orders",
        _ORDER,
        [(run_id, n, *row._replace(reason=clean_text(row.reason))) for n, row in sorted(rows.items())],
        then="ON CONFLICT (run_id, n) DO UPDATE SET " + ", ".join(f"{name} = excluded.{name}" for name in _UPDATED),
    )


def fills(cursor: Cursor, run_id: UUID, first: int, rows: Sequence[NewFill]) -> None:
    """Write fills, numbered from `first` on."""
    insert_rows(cursor, "strategy_fills", _FILL, [(run_id, first + n, *row) for n, row in enumerate(rows)])


def equity(cursor: Cursor, run_id: UUID, rows: Iterable[NewEquity]) -> None:
    """Write points; of several of one time the last is kept."""
    last = {row.market_ns: row for row in rows}
    insert_rows(
        cursor,
        "strategy_equity",
        _EQUITY,
        [(run_id, *last[ns]) for ns in sorted(last)],
        then="ON CONFLICT (run_id, market_ns) DO UPDATE SET equity = excluded.equity, cash = excluded.cash,"
        " unrealized = excluded.unrealized, drawdown = excluded.drawdown",
    )


def events(cursor: Cursor, run_id: UUID, rows: Sequence[NewEvent]) -> None:
    """Write events behind those there are."""
    if not rows:
        return
    cursor.execute("SELECT coalesce(max(n), 0) FROM strategy_events WHERE run_id = %s", (run_id,))
    last = scalar(cursor, int)
    for n, row in enumerate(rows, last + 1):
        cursor.execute(
            "INSERT INTO strategy_events (run_id, n, market_ns, kind, body) VALUES (%s, %s, %s, %s, %s)",
            (run_id, n, row.market_ns, row.kind, as_json(row.body)),
        )


def bars(cursor: Cursor, run_id: UUID, first: int, rows: Sequence[NewBar]) -> None:
    """Write bars that are about to be given, numbered from `first` on. UniqueViolation: one was given before."""
    insert_rows(cursor, "strategy_bars", _BAR, [(run_id, first + n, *row) for n, row in enumerate(rows)])


def bar_done(cursor: Cursor, run_id: UUID, series: int, closed_ns: int) -> None:
    """The child has worked through a bar."""
    cursor.execute(
        "UPDATE strategy_bars SET done_at = clock_timestamp() WHERE run_id = %s AND series = %s AND closed_ns = %s"
        " AND done_at IS NULL AND state <> 'warm_up'",
        (run_id, series, closed_ns),
    )


_NEW_ORDER = PreparedByName.of(
    "nautilus_new_strategy_order",
    f"INSERT INTO strategy_orders ({', '.join(_ORDER)})"
    " SELECT %(run_id)s, (SELECT coalesce(max(n), 0) + 1 FROM strategy_orders WHERE run_id = %(run_id)s),"
    f" {', '.join(f'%({name})s' for name in NewOrder._fields)}"
    " WHERE NOT EXISTS (SELECT FROM strategy_orders WHERE run_id = %(run_id)s AND client_order_id = %(client_order_id)s)",
    _ORDER,
)


def new_order(cursor: Cursor, run_id: UUID, row: NewOrder) -> None:
    """Write an order behind those there are; one of the same name was written before, and stays as it is."""
    _NEW_ORDER.run(cursor, {"run_id": run_id, **row._replace(reason=clean_text(row.reason))._asdict()})


def clear(cursor: Cursor, run_id: UUID) -> None:
    """Forget all that came of a back-test, which begins again; its events stay."""
    for table in ("strategy_orders", "strategy_fills", "strategy_equity"):
        cursor.execute(f"DELETE FROM {table} WHERE run_id = %s", (run_id,))


def passed_on(cursor: Cursor, run_id: UUID, order_id: UUID) -> None:
    """The engine of a live run gets to know how its order stands in the ledger: `strategy_orders` has that, too."""
    cursor.execute(
        f"UPDATE strategy_orders s SET state = {STATE}, reason = {REASON}, filled = o.filled FROM orders o"
        " WHERE s.run_id = %s AND s.order_id = %s AND o.id = s.order_id",
        (run_id, order_id),
    )


def cancel_open(cursor: Cursor, run_id: UUID, reason: str) -> int:
    """End the orders of a run in paper that are not over, as nothing simulates them any more; how many there were."""
    cursor.execute(
        "UPDATE strategy_orders SET state = 'cancelled', reason = %s WHERE run_id = %s"
        " AND state IN ('submitted', 'accepted')",
        (clean_text(reason), run_id),
    )
    return int(cursor.rowcount)


class Counts(NamedTuple):
    """How many orders and fills a run has; of a live one, fills are executions."""

    orders: int
    fills: int
    denied: int
    rejected: int


def counts(cursor: Cursor, run_id: UUID, principal: str) -> Counts:
    cursor.execute(
        "SELECT count(*) AS orders, (SELECT count(*) FROM strategy_fills WHERE run_id = %(id)s)"
        "  + (SELECT count(*) FROM executions e JOIN orders o ON o.id = e.order_id WHERE o.principal = %(principal)s"
        "     AND e.latest AND e.quantity > 0) AS fills,"
        f" count(*) FILTER (WHERE {STATE} = 'denied') AS denied, count(*) FILTER (WHERE {STATE} = 'rejected') AS rejected"
        " FROM strategy_orders s LEFT JOIN orders o ON o.id = s.order_id WHERE s.run_id = %(id)s",
        {"id": run_id, "principal": principal},
    )
    return one(cursor, Counts)


class Traces(NamedTuple):
    """By what one sees that something has come of a run since: its counts, and the newest point of its equity."""

    counts: Counts
    last_ns: int | None
    equity: Decimal | None


class _Point(NamedTuple):
    market_ns: int
    equity: Decimal


def traces(cursor: Cursor, run_id: UUID, principal: str) -> Traces:
    found = counts(cursor, run_id, principal)
    cursor.execute(
        "SELECT market_ns, equity FROM strategy_equity WHERE run_id = %s ORDER BY market_ns DESC LIMIT 1", (run_id,)
    )
    return Traces(found, *(one_or_none(cursor, _Point) or (None, None)))
