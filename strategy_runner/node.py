"""A paper or live run: the engine's live node, with the pipe as its market data, and as its broker in a live run."""

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

from nautilus_trader.adapters.sandbox import SandboxExecutionClientConfig, SandboxExecutionClientFactory
from nautilus_trader.common import Environment, LoggerConfig
from nautilus_trader.live import (
    DataClientConfig,
    ExecutionClientConfig,
    LiveExecutionEngineConfig,
    LiveNodeBuilder,
    LiveNodeConfig,
    SubmissionRecoveryPolicy,
)
from nautilus_trader.live.clients import DataClientFactory, ExecutionClientFactory
from nautilus_trader.model import AccountId, AccountType, Money, OmsType, TraderId

from nautilus.strategies.pipe import PipeError
from strategy_runner.bars import EngineData
from strategy_runner.channel import Channel
from strategy_runner.data_client import PipeData
from strategy_runner.engine_names import ENGINE
from strategy_runner.execution_client import PipeExecution
from strategy_runner.fees import Commissions
from strategy_runner.heartbeat import EVERY_S, Heartbeat, rss_kb
from strategy_runner.record import Record
from strategy_runner.result import result
from strategy_runner.setup import TRADER, Prepared, prepared
from strategy_runner.taking_up import take_up

DATA, BROKER = "PIPE", "HOST"


def live(
    channel: Channel, start: dict[str, Any], folder: Path | None, fence: list[str], *, heartbeat: Heartbeat
) -> None:
    """Run until the host stops it, or is gone."""
    with heartbeat.working():
        ready = prepared(start, folder, Record(channel.send, at_once=True))
    run = ready.run
    heartbeat.follow(lambda: (run.learned, run.last_bar_ns))
    channel.send("ready", engine=ENGINE, code_hash=ready.template.hash, fence=fence)
    session = Session(channel, ready)
    session.read_beginning(heartbeat)
    heartbeat.end()  # from here on the node's loop beats
    asyncio.run(session.run())


class Session:
    """One live node and the pipe that it lives on."""

    def __init__(self, channel: Channel, ready: Prepared) -> None:
        self._channel, self._ready = channel, ready
        self._paper = ready.start["mode"] == "paper"
        self._opens = self._paper and ready.start["fill"] == "next_open"
        self._adopted: dict[str, list[dict[str, Any]]] = {}
        self._data: PipeData | None = None
        self._broker: PipeExecution | None = None
        self._bars = 0
        self._flattening = False
        self._over = asyncio.Event()
        self._failure: BaseException | None = None

    def read_beginning(self, heartbeat: Heartbeat) -> None:
        """Orders and positions of an earlier life, and bars from before the run."""
        warm_up = EngineData(self._ready.series, next_open=False)
        while len(self._adopted) < 2:
            message = self._channel.next()
            match message["type"]:
                case "orders" | "positions":
                    self._adopted[message["type"]] = message[message["type"]]
                case "warm_up":
                    with heartbeat.working():
                        self._ready.strategy.warm_up(warm_up.warm_up(message["series"]))
                case other:
                    raise PipeError(f"{other} before orders and positions")

    # ---- the node ----------------------------------------------------------------------------------------------------

    def _node(self) -> Any:
        builder = LiveNodeBuilder.from_config("RUNNER", node_config(paper=self._paper))
        builder = builder.add_data_client(DATA, _DataFactory(self), DataClientConfig())
        if self._paper:
            builder = builder.add_simulated_exec_client(None, SandboxExecutionClientFactory(), self._sandbox())
        else:
            builder = builder.add_exec_client(BROKER, _BrokerFactory(self), ExecutionClientConfig())
        return builder.build()

    def _sandbox(self) -> Any:
        start = self._ready.start
        return SandboxExecutionClientConfig(
            self._ready.venue,
            [Money.from_str(f"{start['capital']} {start['currency']}")],
            base_currency=self._ready.currency,
            oms_type=OmsType.NETTING,
            account_type=AccountType.MARGIN,
            fee_model=Commissions(list(self._ready.traded.values())),
            bar_adaptive_high_low_ordering=start["adaptive_ordering"],
        )

    def data_client(self, **named: Any) -> PipeData:
        self._data = PipeData(venue=self._ready.venue, **named)
        self._data.attach(self._ready.series, openings=self._opens)
        return self._data

    def broker(self, **named: Any) -> PipeExecution:
        self._broker = PipeExecution(
            venue=self._ready.venue,
            account_id=AccountId(f"{BROKER}-001"),
            account_type=AccountType.MARGIN,
            oms_type=OmsType.NETTING,
            base_currency=self._ready.currency,
            **named,
        )
        self._broker.attach(self._channel, self._ready, self._adopted)
        return self._broker

    async def run(self) -> None:
        """Until the node has stopped."""
        run = self._ready.run
        run.on_bar_done = self._bar_done
        run.waits_for_open = self._opens
        run.market_ns = 0 if self._paper else None
        run.takes_up = self._paper and bool(self._adopted["positions"])
        node = self._node()
        self._ready.strategy.adopt(self._adopted["orders"])
        node.add_strategy(self._ready.strategy)
        cache, handle = node.cache, node.handle()
        loop = asyncio.get_running_loop()
        running = asyncio.create_task(node.run_async())
        beats = asyncio.create_task(self._beat())
        while not handle.is_running and not running.done():
            await asyncio.sleep(0.01)
        if self._paper and self._data is not None and not running.done():
            await take_up(self._ready, self._data, self._adopted["positions"], self._adopted["orders"])
        loop.add_reader(self._channel.incoming, self._readable)
        if self._channel.has_read:  # with the last message of the beginning: nothing more may come for a while
            loop.call_soon(self._readable)
        stopped = asyncio.create_task(self._over.wait())
        await asyncio.wait({running, stopped}, return_when=asyncio.FIRST_COMPLETED)
        loop.remove_reader(self._channel.incoming)
        beats.cancel()
        if self._failure is not None:
            raise self._failure
        left = result(self._ready, cache, self._data, self._bars)
        handle.stop()
        try:
            await running
        except RuntimeError as error:  # orders that nobody has confirmed: the ledger knows of them
            self._channel.send("log", level="warning", text=str(error)[:2_000])
        self._channel.send("result", **left)

    async def _beat(self) -> None:
        """From the node's own loop: a strategy that blocks it is seen."""
        while True:
            self._channel.send("heartbeat", last_bar_ns=self._ready.run.last_bar_ns, rss_kb=rss_kb())
            await asyncio.sleep(EVERY_S)

    # ---- messages ----------------------------------------------------------------------------------------------------

    def _readable(self) -> None:
        if self._over.is_set():
            return
        try:
            for message in self._channel.received():
                self._take(message)
        except BaseException as error:  # the loop would log it, and the node would live on without a host
            self._failure = error
            self._over.set()

    def _take(self, message: dict[str, Any]) -> None:
        assert self._data is not None  # noqa: S101
        run, kind = self._ready.run, message["type"]
        if kind == "bar":
            self._bars += 1
            if message["state"] == "unconfirmed":
                run.unconfirmed.add((str(self._bar_type(message["index"])), message["closed_ns"]))
            elif message["state"] == "warm_up":
                run.late.add((str(self._bar_type(message["index"])), message["closed_ns"]))
            self._data.bar(message)
        elif kind == "forming":
            self._data.forming(message)
        elif kind == "order_event" and self._broker is not None:
            self._broker.order_event(message)
        elif kind in ("pause", "resume"):
            run.paused = kind == "pause"
        elif kind == "stop":
            self._stop(flatten=message["flatten"])
        else:
            raise PipeError(f"a {self._ready.start['mode']} run takes no {kind}")

    def _bar_type(self, index: int) -> Any:
        return next(one.bar_type for one in self._ready.series if one.index == index)

    def _stop(self, *, flatten: bool) -> None:
        """At once; or, in paper, as soon as the closing orders have filled."""
        if not (flatten and self._paper):
            self._over.set()
            return
        self._flattening = True
        for one in self._ready.traded.values():
            self._ready.strategy.leave(one.engine)
        self._end_when_flat()

    def _bar_done(self, index: int, closed_ns: int) -> None:
        self._channel.send("bar_done", index=index, closed_ns=closed_ns)
        self._end_when_flat()

    def _end_when_flat(self) -> None:
        strategy = self._ready.strategy
        if self._flattening and all(strategy.position(one.engine) == Decimal(0) for one in self._ready.traded.values()):
            self._over.set()


def node_config(*, paper: bool) -> LiveNodeConfig:
    """The engine never ends an order by itself: it neither rejects what is long unconfirmed, nor looks for what is missing."""
    return LiveNodeConfig(
        environment=Environment.SANDBOX,
        trader_id=TraderId(TRADER),
        load_state=False,
        save_state=False,
        logging=LoggerConfig(bypass_logging=True),
        exec_engine=LiveExecutionEngineConfig(
            reconciliation=True,
            reconciliation_startup_delay_secs=0.0,
            inflight_check_interval_ms=0,
            submission_recovery_policy=None if paper else SubmissionRecoveryPolicy.RETAIN_UNRESOLVED,
        ),
        delay_post_stop_secs=0.0,
    )


class _DataFactory(DataClientFactory):  # type: ignore[misc]
    def __init__(self, session: Session) -> None:
        self._session = session

    def create(self, *, name: str, config: Any, cache: Any, clock: Any) -> PipeData:
        return self._session.data_client(name=name, config=config, cache=cache, clock=clock)


class _BrokerFactory(ExecutionClientFactory):  # type: ignore[misc]
    def __init__(self, session: Session) -> None:
        self._session = session

    def create(self, *, name: str, config: Any, cache: Any, clock: Any, trader_id: Any) -> PipeExecution:
        return self._session.broker(name=name, config=config, cache=cache, clock=clock, trader_id=trader_id)
