"""A back-test: the engine's simulated exchange, fed by the host one trade date after the other."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nautilus_trader.backtest import BacktestEngine, BacktestEngineConfig
from nautilus_trader.common import LoggerConfig
from nautilus_trader.execution import StaticLatencyModel
from nautilus_trader.model import AccountType, Money, OmsType, TraderId

from nautilus.strategies.pipe import PipeError
from strategy_runner.bars import LATENCY_NS, EngineData
from strategy_runner.channel import Channel
from strategy_runner.engine_names import ENGINE
from strategy_runner.fees import Commissions
from strategy_runner.heartbeat import Heartbeat
from strategy_runner.record import Record
from strategy_runner.result import result
from strategy_runner.setup import TRADER, Prepared, prepared


def engine_of(ready: Prepared) -> Any:
    """The engine with its one venue, the instruments and the strategy."""
    start = ready.start
    engine = BacktestEngine(
        BacktestEngineConfig(
            trader_id=TraderId(TRADER),
            logging=LoggerConfig(bypass_logging=True),
            bypass_logging=True,
            run_analysis=False,
        )
    )
    engine.add_venue(
        ready.venue,
        OmsType.NETTING,
        AccountType.MARGIN,
        [Money.from_str(f"{start['capital']} {start['currency']}")],
        base_currency=ready.currency,
        fee_model=Commissions(list(ready.traded.values())),
        latency_model=StaticLatencyModel(base_latency_nanos=LATENCY_NS) if start["fill"] == "next_open" else None,
        bar_adaptive_high_low_ordering=start["adaptive_ordering"],
    )
    for one in ready.traded.values():
        engine.add_instrument(one.engine)
    engine.add_strategy(ready.strategy)
    return engine


def backtest(
    channel: Channel, start: dict[str, Any], folder: Path | None, fence: list[str], *, heartbeat: Heartbeat
) -> None:
    """Run it to its end, or to where the host ends it: the result up to there is whole."""
    with heartbeat.working():
        ready = prepared(start, folder, Record(channel.send, at_once=False))
    engine = engine_of(ready)
    data = EngineData(ready.series, next_open=start["fill"] == "next_open")
    channel.send("ready", engine=ENGINE, code_hash=ready.template.hash, fence=fence)
    run = ready.run
    heartbeat.follow(lambda: (run.learned + run.turns, run.last_bar_ns))
    bars = 0
    for message in until_the_end(channel):
        with heartbeat.working():
            if message["type"] == "warm_up":
                ready.strategy.warm_up(data.warm_up(message["series"]))
            else:
                bars += feed(engine, data, message)
        run.record.flush()
        if message["type"] == "chunk" and message["last"]:
            channel.send("progress", bars_done=bars, trade_date=message["trade_date"])
        if ready.strategy.failed:
            break
    heartbeat.end()
    # The engine's own end would fill what waits for an open that no bar has, at a price of the past.
    ready.strategy.give_up_waiting()
    ready.strategy.mark()
    run.record.flush()
    channel.send("result", **result(ready, engine.cache, data, bars))


def feed(engine: Any, data: EngineData, chunk: dict[str, Any]) -> int:
    """Let the engine see a chunk; the number of its bars."""
    made, bars = data.data(chunk["series"])
    if made:
        engine.add_data(made)
        engine.run(streaming=True)
        engine.clear_data()
    return bars


def until_the_end(channel: Channel) -> Iterator[dict[str, Any]]:
    """Warm-up and chunks as they come."""
    while True:
        message = channel.next()
        if message["type"] in ("end", "stop"):
            return
        if message["type"] not in ("warm_up", "chunk"):
            raise PipeError(f"a back-test takes no {message['type']}")
        yield message
