"""In the strategies' environment: the engine with a strategy of its own, and with ours, on the same year of minutes.

Written to standard output: one JSON object with the processor seconds of `run()`, the contestants taking turns.
"""

import json
import random
import sys
import time
from decimal import Decimal
from typing import Any

ROOTS, DAYS, ROUNDS = sys.argv[1:3], int(sys.argv[3]), int(sys.argv[4])
sys.path[:0] = ROOTS

from nautilus_trader.indicators import ExponentialMovingAverage  # noqa: E402
from nautilus_trader.model import OrderSide, Quantity  # noqa: E402
from nautilus_trader.trading import Strategy, StrategyConfig  # noqa: E402

from strategy_runner.backtest import engine_of  # noqa: E402
from strategy_runner.bars import EngineData  # noqa: E402
from strategy_runner.record import Record  # noqa: E402
from strategy_runner.setup import prepared  # noqa: E402

NS = 1_000_000_000
SIZE = 100


class Bare(Strategy):  # type: ignore[misc]
    """The two averages on the engine's own class: flat, then long, with one order each."""

    def begin(self, series: Any) -> None:
        self.series = series
        self.fast, self.slow = ExponentialMovingAverage(10), ExponentialMovingAverage(20)
        self.name = series.traded.engine.id

    def on_start(self) -> None:
        self.subscribe_bars(self.series.bar_type)

    def on_bar(self, bar: Any) -> None:
        self.fast.handle_bar(bar)
        self.slow.handle_bar(bar)
        if not self.slow.initialized:
            return
        wanted = Decimal(SIZE if self.fast.value > self.slow.value else 0)
        held = self.portfolio.net_position(self.name)
        if wanted != held:
            side = OrderSide.BUY if wanted > held else OrderSide.SELL
            self.submit_order(self.order_factory.market(self.name, side, Quantity(SIZE, 0)))


def year() -> list[dict[str, Any]]:
    """Columns of each day."""
    chance, close, found = random.Random(1), 100.0, []
    for day in range(DAYS):
        columns: dict[str, Any] = {"index": 0, "volume": None}
        names = ("opened_ns", "closed_ns", "open", "high", "low", "close")
        columns |= {name: [] for name in names}
        for minute in range(390):
            first = round(close + chance.gauss(0, 0.03), 2)
            close = max(1.0, round(first + chance.gauss(0, 0.08), 2))
            at = (1_700_000_000 + day * 86_400 + minute * 60) * NS
            row = (at, at + 60 * NS, first, max(first, close), min(first, close), close)
            for name, value in zip(names, row, strict=True):
                columns[name].append(value)
        found.append(columns)
    return found


def dropped(kind: str, /, **body: Any) -> None:
    """Instead of a pipe: what is written is not measured here."""


def ready(start: dict[str, Any]) -> Any:
    return prepared(start, None, Record(dropped, at_once=False))


def measured(engine: Any, data: EngineData, days: list[dict[str, Any]], after: Any) -> float:
    """Processor seconds of `run()`, day by day, without what is done between."""
    taken = 0.0
    for columns in days:
        made, _ = data.data([columns])
        engine.add_data(made)
        before = time.process_time()
        engine.run(streaming=True)
        taken += time.process_time() - before
        engine.clear_data()
        after()
    return taken


def main() -> None:
    start = json.loads(sys.stdin.read())
    days = year()
    seconds: dict[str, list[float]] = {"bare": [], "ours": []}
    orders: dict[str, int] = {}
    for turn in range(2 * ROUNDS):
        name = ("bare", "ours")[turn % 2]
        run = ready(start)
        if name == "bare":
            mine = Bare(StrategyConfig(log_events=False, log_commands=False))
            mine.begin(run.series[0])
            engine = engine_of(run._replace(strategy=mine))
        else:
            engine = engine_of(run)
        data = EngineData(run.series, next_open=True)
        seconds[name].append(measured(engine, data, days, run.run.record.flush))
        orders[name] = len(engine.cache.orders())
        engine.dispose()
    print(json.dumps({"seconds": seconds, "orders": orders, "bars": DAYS * 390}))


if __name__ == "__main__":
    main()
