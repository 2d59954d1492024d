"""What a live run, its engine, the ledger and the simulator each say of one run's orders, position and bars."""

from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from nautilus.clock import NS_PER_S, parse_rfc3339
from nautilus.db.strategies import ledger, results
from nautilus.db.strategies.runs import RunRow
from tests.support.chaos_book import book_of
from tests.support.parity_day import MINUTE, ParityDay

FRESH_NS = MINUTE + 10 * NS_PER_S
"""A bar of a minute that was over for longer is decided on no more."""

_RUN_STATES = {
    **dict.fromkeys(("accepted", "reserved", "sending", "sent"), "submitted"),
    **dict.fromkeys(("held", "working", "inactive", "unknown"), "accepted"),
}
"""States of an order that is not over -> the same in the words of a run."""

NIGHT_NS = 12 * 60 * MINUTE
"""Between two sessions lies more than this."""


class Order(NamedTuple):
    """An order as the ledger has it. decided_ns: close of the bar it follows from; written_at: market time, both in ns.
    run_state: how the run's own row stands. placed: how often the gateway read it. executed: what the simulator filled of it."""

    ref: str
    state: str
    run_state: str
    side: str
    quantity: Decimal
    filled: Decimal
    decided_ns: int
    written_at: int
    placed: int
    executed: Decimal


class Seen(NamedTuple):
    """Of one run, at one time. position: by the executions of the ledger; book: by the account's row; broker: by the simulator;
    engine: what its strategy says. bars: (open, state) of those it was given. gaps: opens that are noted as missed. revised:
    closes of bars that history has otherwise."""

    orders: list[Order]
    position: Decimal
    book: Decimal
    broker: Decimal
    engine: Decimal
    engine_orders: list[str]
    bars: list[tuple[int, str]]
    gaps: set[int]
    revised: set[int]

    def differences(self) -> list[str]:
        """What is not as it must be; empty when all agree and nothing was doubled or lost."""
        return [*self._positions(), *self._of_orders(), *self._of_bars()]

    def _positions(self) -> Iterator[str]:
        held = {name: getattr(self, name) for name in ("position", "book", "broker", "engine")}
        if len(set(held.values())) > 1:
            yield f"positions: {held}"
        summed = sum((one.filled if one.side == "BUY" else -one.filled for one in self.orders), Decimal(0))
        if summed != self.position:
            yield f"orders filled {summed}, executions {self.position}"

    def _of_orders(self) -> Iterator[str]:
        for one in self.orders:
            if one.placed > 1 or one.filled != one.executed:
                yield f"{one}: read {one.placed} times, IB executed {one.executed}"
            if one.placed == 0 and one.state not in ("denied", "unknown"):
                yield f"{one}: never read"
            if one.run_state != _RUN_STATES.get(one.state, one.state):
                yield f"{one}: the run has it as {one.run_state}"
            if one.written_at - one.decided_ns > FRESH_NS:
                yield f"{one}: follows from an old bar"
            if one.decided_ns in self.revised:
                yield f"{one}: follows from a bar that was not whole"
        if sorted(self.engine_orders) != sorted(one.ref for one in self.orders if one.state in _RUN_STATES):
            yield f"its engine has open {self.engine_orders}"

    def _of_bars(self) -> Iterator[str]:
        opened = [at for at, _ in self.bars]
        for at, n in Counter(opened).items():
            if n > 1:
                yield f"the bar of {at} was given {n} times"
        for before, after in pairwise(opened):
            missing = set(range(before + MINUTE, after, MINUTE)) if after - before < NIGHT_NS else set()
            if missing - self.gaps:
                yield f"no bar from {before + MINUTE} to {after}"
        first = next((n for n, (_, state) in enumerate(self.bars) if state != "warm_up"), 0)
        for at, state in self.bars[first:]:
            if state == "warm_up" and at not in self.gaps:
                yield f"the bar of {at} came too late, and nothing notes it"


def seen(day: ParityDay, run: RunRow, folder: Path) -> Seen:
    """Everything as it is now; the engine as it was at its last bar."""
    book = book_of(day.desk.sim, folder)
    with day.strategies.db.transaction() as cursor:
        executions = ledger.executions(cursor, run.principal)
        given = results.bars(cursor, run.id, limit=10_000)
        orders = results.orders(cursor, run.id)
    view = [one for one in day.strategies.events(run, "signal") if one["name"] == "view"][-1]
    con_id, account = day.desk.instrument.con_id, day.desk.account
    held = day.desk.rows("SELECT position FROM risk_book WHERE account = %s AND con_id = %s", account, con_id)
    rows = day.desk.rows(
        "SELECT o.id, s.client_order_id, o.state, s.state AS run_state, o.side, o.quantity, o.filled, s.decided_ns,"
        " o.market_at FROM orders o JOIN strategy_orders s ON s.order_id = o.id WHERE o.principal = %s ORDER BY s.n",
        run.principal,
    )
    assert len(rows) == len(orders)
    return Seen(
        [_order(row, book) for row in rows],
        sum((one.quantity if one.side == "BUY" else -one.quantity for one in executions), Decimal(0)),
        held[0].position if held else Decimal(0),
        Decimal(str(book.positions.get((account, con_id), 0))),
        Decimal(view["position"]),
        list(view["orders"]),
        [(row.opened_ns, row.state) for row in given],
        {at for body in day.strategies.events(run, "gap") for at in _missed(body)},
        {parse_rfc3339(body["opened"]) + MINUTE for body in day.strategies.events(run, "revision")},
    )


def _order(row: Any, book: Any) -> Order:
    executed = sum(
        (Decimal(str(one.shares)) for one in book.newest_executions().values() if one.order.reference == str(row.id)),
        Decimal(0),
    )
    return Order(
        row.client_order_id,
        row.state,
        row.run_state,
        row.side,
        row.quantity,
        row.filled,
        row.decided_ns,
        row.market_at,
        len(book.frames(str(row.id))),
        executed,
    )


def _missed(body: Any) -> list[int]:
    start = parse_rfc3339(body["from"])
    return [start + n * MINUTE for n in range(body["bars"])]
