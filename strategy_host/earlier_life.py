"""What a run did before its process or its host was lost: its numbers go on; paper takes up its cash, position and orders."""

from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, NamedTuple

from nautilus.db.cursor import Cursor
from nautilus.db.strategies import results, writing
from nautilus.db.strategies.leases import Hold
from nautilus.db.strategies.results import OrderRow
from nautilus.db.strategies.runs import RunRow
from nautilus.db.strategies.writing import NewOrder
from nautilus.strategies import history
from nautilus.strategies.figures import EquityPoint
from nautilus.strategies.history import FedSeries
from nautilus.strategies.states import Mode
from strategy_host.recorder import Recorder

_ONE = Decimal(1)
_OPEN = frozenset({"submitted", "accepted"})


class EarlierLife(NamedTuple):
    """instruments, orders, positions: as the messages have them; orders and positions of a live run are the ledger's. capital:
    the cash that its account begins with."""

    recorder: Recorder
    instruments: list[Mapping[str, Any]]
    capital: Decimal
    orders: list[dict[str, Any]]
    positions: list[dict[str, Any]]


def earlier_life(
    cursor: Cursor, run: RunRow, fed: Sequence[FedSeries], units: Mapping[int, Decimal], *, capital: Decimal
) -> EarlierLife:
    """By the rows of a run. units: con_id -> what a price of 1 is worth for a quantity of 1. capital: what the run began with."""
    made = Recorder(Hold(run.id, run.token), units, writing.numbers(cursor, run.id))
    rows = [history.instrument_message(one, 0) for one in {one.row.con_id: one for one in fed}.values()]
    if run.mode == Mode.LIVE:
        return EarlierLife(made, rows, capital, [], [])
    after = 0
    while fills := results.fills(cursor, run.id, after=after):
        for row in fills:
            made.book_again(row)
        after = fills[-1].n
    made.resumed([EquityPoint(row.market_ns, row.equity) for row in results.equity(cursor, run.id)])
    orders = _open_orders(cursor, run)
    for one in orders:
        made.known(one.n, _new(one))
    cash = capital + made.book.realized - (made.book.commissions or 0)
    digits = {row["con_id"]: row["digits"] for row in rows}
    positions = []
    for held in made.book.holdings():
        average = Decimal(held["average_price"] or "0")
        step = _ONE.scaleb(-digits[held["con_id"]])
        price = average.quantize(step, ROUND_HALF_EVEN)
        cash += (price - average) * Decimal(held["quantity"]) * units.get(held["con_id"], _ONE)
        positions.append({**held, "average_price": f"{price:f}"})
    return EarlierLife(made, rows, cash, [_message(one) for one in orders], positions)


def _open_orders(cursor: Cursor, run: RunRow) -> Sequence[OrderRow]:
    found: list[OrderRow] = []
    after = 0
    while rows := results.orders(cursor, run.id, after=after):
        found += [row for row in rows if row.state in _OPEN]
        after = rows[-1].n
    return found


def _new(row: OrderRow) -> NewOrder:
    return NewOrder(**{name: getattr(row, name) for name in NewOrder._fields})


def _message(row: OrderRow) -> dict[str, Any]:
    return {
        "client_order_id": row.client_order_id,
        "venue_order_id": None,
        "con_id": row.con_id,
        "side": row.side,
        "order_type": row.type,
        "time_in_force": "GTC",
        "quantity": f"{row.quantity:f}",
        "filled": f"{row.filled:f}",
        "average_price": None,
        "price": None if row.limit_price is None else f"{row.limit_price:f}",
        "trigger_price": None if row.stop_price is None else f"{row.stop_price:f}",
        "at_ns": row.decided_ns,
    }
