"""From the message `start` to a strategy with its run."""

from pathlib import Path
from typing import Any, NamedTuple

from nautilus_trader.model import Currency, InstrumentId
from nautilus_trader.trading import StrategyConfig
from pydantic import ValidationError

from strategy_runner.discovery import Template, candidate, load
from strategy_runner.engine_names import Series, SetupError, Traded, instruments, series_of
from strategy_runner.record import Record
from strategy_runner.run import Run
from strategy_runner.strategy import Strategy

TRADER = "RUNNER-001"


class Prepared(NamedTuple):
    """A run that can begin: the strategy has its indicators, the engine does not know it yet."""

    start: dict[str, Any]
    template: Template
    traded: dict[int, Traded]
    series: list[Series]
    run: Run
    strategy: Strategy

    @property
    def currency(self) -> Any:
        return self.run.currency

    @property
    def venue(self) -> Any:
        return next(iter(self.traded.values())).engine.id.venue


def prepared(start: dict[str, Any], folder: Path | None, record: Record) -> Prepared:
    """Import the template and give it its parameters. SetupError says what does not fit; whatever the import raises."""
    if not start["series"]:
        raise SetupError("a run without a series")
    traded = instruments(start["instruments"], start["currency"])
    series = series_of(start["series"], traded)
    template = load(candidate(start["template"], folder))
    try:
        parameters = template.cls.Parameters.model_validate(start["parameters"])
    except ValidationError as error:
        raise SetupError(f"parameters: {_words(error)}"[:2_000]) from None
    followed = max(1, sum(one.followed for one in series))
    every = max(1, -(-start["bars_total"] * followed // (len(series) * max(1, start["equity_points"]))))
    run = Run(parameters, series, record, Currency.from_str(start["currency"]), every)
    strategy = template.cls(config(start["mode"], [one.engine.id for one in traded.values()]))
    strategy.attach(run)
    return Prepared(start, template, traded, series, run, strategy)


def _words(error: ValidationError) -> str:
    """What is wrong, without the address of a manual."""
    found = [(".".join(map(str, one["loc"])), one["msg"].removeprefix("Value error, ")) for one in error.errors()]
    return "; ".join(f"{where}: {what}" if where else what for where, what in found)


def config(mode: str, names: list[InstrumentId]) -> StrategyConfig:
    """The engine's settings of a strategy. Live ids are random: a counter begins again with each process, and two runs
    would make one id. In a back-test the counter is what makes two runs equal."""
    live = mode != "backtest"
    return StrategyConfig(
        order_id_tag="001",
        external_order_instrument_ids=names if live else None,
        manage_stop=False,
        use_uuid_client_order_ids=live,
        log_events=False,
        log_commands=False,
    )
