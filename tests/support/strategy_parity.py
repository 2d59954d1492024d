"""The back-test of the bars that a run in paper or live was given, and its decisions beside those of the run."""

import asyncio
from collections.abc import Callable, Container, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from nautilus.db.connection import Database
from nautilus.db.strategies import ledger, results
from nautilus.db.strategies.runs import RunRow
from nautilus.strategies import history
from nautilus.strategies.columns import FedBar, chunks, in_order, message_series
from nautilus.strategies.options import run_options
from nautilus.strategies.runner_command import runner_argv
from nautilus.strategies.states import Mode
from strategy_host.child import Child, Limits
from strategy_host.messages import start_message
from strategy_host.parts import paths
from tests.support.strategy_host import strategy_python


class Decision(NamedTuple):
    """What a strategy decided. decided_ns: close of the bar it follows from."""

    decided_ns: int
    side: str
    quantity: Decimal
    type: str


class Traded(NamedTuple):
    """A fill, without names that another run would not have. decided_ns: of its order; at_ns: market time."""

    side: str
    quantity: Decimal
    price: Decimal
    decided_ns: int
    at_ns: int


class Course(NamedTuple):
    """What a run did."""

    decisions: list[Decision]
    fills: list[Traded]


def bars_given(database: Database, run: RunRow) -> tuple[list[FedBar], list[FedBar]]:
    """(those to warm up with, those that were decided on), in the order in which they were given."""
    with database.transaction() as cursor:
        rows: list[results.BarRow] = []
        while page := results.bars(cursor, run.id, after=rows[-1].n if rows else 0):
            rows += page
    fed = [(row.state, FedBar(row.series, row.opened_ns, row.closed_ns, *row[4:9])) for row in rows]
    return [bar for state, bar in fed if state == "warm_up"], [bar for state, bar in fed if state != "warm_up"]


def course_of(database: Database, run: RunRow) -> Course:
    """What a run did, by its rows. Fills of a live run are executions."""
    with database.transaction() as cursor:
        orders, fills = results.orders(cursor, run.id), results.fills(cursor, run.id)
        executions = ledger.executions(cursor, run.principal)
    decided = {row.client_order_id: row.decided_ns for row in orders}
    decided_of = {row.order_id: row.decided_ns for row in orders}
    traded = [Traded(row.side, row.quantity, row.price, decided[row.client_order_id], row.market_ns) for row in fills]
    traded += [
        Traded(row.side, row.quantity, row.price, decided_of[row.order_id], row.ts)
        for row in executions
        if row.order_id in decided_of
    ]
    return Course([Decision(row.decided_ns, row.side, row.quantity, row.type) for row in orders], traded)


Mutation = Callable[[list[FedBar]], list[FedBar]]
"""The bars that a mutant gives instead of those that were seen."""


def dropping(numbers: Container[int]) -> Mutation:
    """Without the bars at these positions."""
    return lambda bars: [bar for n, bar in enumerate(bars) if n not in numbers]


def taken_while_forming(numbers: Container[int]) -> Mutation:
    """With the bars at these positions as they were when they had just begun."""

    def formed(bar: FedBar) -> FedBar:
        return bar._replace(high=bar.open, low=bar.open, close=bar.open)

    return lambda bars: [formed(bar) if n in numbers else bar for n, bar in enumerate(bars)]


def replayed(database: Database, run: RunRow, *, mutation: Mutation = list) -> Course:
    """What a back-test of the bars does that a run was given."""
    warm_up, bars = bars_given(database, run)
    bars = mutation(bars)
    with database.transaction() as cursor:
        fed = [history.fed_series(cursor, given, n) for n, given in enumerate(run.series)]
    tested = run._replace(mode=Mode.BACKTEST.value)
    rows = [history.instrument_message(one, 0) for one in {one.row.con_id: one for one in fed}.values()]
    series = [
        {"index": n, "con_id": one.row.con_id, "timeframe": one.row.timeframe.name, "price": one.row.price}
        for n, one in enumerate(fed)
    ]
    start = start_message(tested, run_options(run.options), rows, series, bars_total=len(bars))
    parts = [
        {"trade_date": one.trade_date.isoformat(), "last": one.last, "series": message_series(one.bars)}
        for one in chunks(in_order(bars), fed[0].axis.trade_date)
    ]
    return asyncio.run(_played(start, message_series(in_order(warm_up)), parts))


def _traded(message: dict[str, Any]) -> Traded:
    quantity, price = Decimal(message["quantity"]), Decimal(message["price"])
    return Traded(message["side"], quantity, price, message["bar_ns"], message["at_ns"])


async def _played(start: dict[str, Any], warm_up: Sequence[Any], parts: Sequence[dict[str, Any]]) -> Course:
    child = await Child.start(runner_argv(strategy_python(), paths(), "run"), Limits(0, 2_048, 60.0))
    found = Course([], [])
    try:
        await child.send("start", **start)
        await child.send("warm_up", series=warm_up)
        for part in parts:
            await child.send("chunk", **part)
        await child.send("end")
        known = set()
        async for message in child.messages():
            assert message["type"] != "fault", message
            if message["type"] == "order" and message["client_order_id"] not in known:
                known.add(message["client_order_id"])
                found.decisions.append(
                    Decision(message["bar_ns"], message["side"], Decimal(message["quantity"]), message["order_type"])
                )
            elif message["type"] == "fill":
                found.fills.append(_traded(message))
            elif message["type"] == "result":
                return found
    finally:
        await child.kill()
    raise AssertionError("no result")
