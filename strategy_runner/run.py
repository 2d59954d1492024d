"""What one run gives to its strategy, and how its orders are named in messages."""

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, ClassVar, Self

from nautilus_trader.model import OrderSide, OrderType
from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, model_validator

from nautilus.strategies.relations import RELATIONS, broken, wrong
from strategy_runner.engine_names import Series
from strategy_runner.record import Record

SIDES = {OrderSide.BUY: "BUY", OrderSide.SELL: "SELL"}
ORDER_TYPES = {
    OrderType.MARKET: "MARKET",
    OrderType.LIMIT: "LIMIT",
    OrderType.STOP_MARKET: "STOP_MARKET",
    OrderType.STOP_LIMIT: "STOP_LIMIT",
}

ENDS = {
    "OrderAccepted": "accepted",
    "OrderDenied": "denied",
    "OrderRejected": "rejected",
    "OrderCanceled": "canceled",
    "OrderExpired": "expired",
    "OrderTriggered": "triggered",
    "OrderModifyRejected": "modify_rejected",
    "OrderCancelRejected": "cancel_rejected",
}
"""Event of the engine -> its name in messages; a fill has a message of its own."""
OVER = {"denied", "rejected", "canceled", "expired"}
"""Of these, after which an order is over."""


class StrategyParameters(BaseModel):
    """What a run may choose. A template's own class extends it; its JSON schema is what callers see.

    relations: between two parameters, `("fast", "<", "slow")` or with `<=`. They stand in the schema, so that a request that
    breaks one is refused; what a validator of your own refuses is known only when the run begins, and ends it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    relations: ClassVar[tuple[tuple[str, str, str], ...]] = ()

    trade_size: Decimal = Field(Decimal(100), gt=0, description="Shares, contracts or units of a full position.")

    @model_validator(mode="after")
    def keeps_its_relations(self) -> Self:
        for one in broken(type(self).relations, self.model_dump()):
            raise ValueError(f"{one.name} {one.words}")
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """With the relations, by the names that callers use, whatever else a template adds to its schema."""
        schema = handler.resolve_ref_schema(handler(core))
        if problem := wrong(cls.relations, cls.model_fields):
            raise ValueError(problem)
        schema.pop(RELATIONS, None)
        if cls.relations:
            names = {name: one.alias or name for name, one in cls.model_fields.items()}
            schema[RELATIONS] = [[names[one], sign, names[other]] for one, sign, other in cls.relations]
        return schema


@dataclass
class Run:
    """What one run gives to its strategy.

    equity_every: bars between two points of the equity curve. unconfirmed: (bar type, close) of bars from which no entry follows.
    late: the same of bars that are learned alone.
    waits_for_open: paper, where orders are handed over at the next opening; a back-test has a latency for that.
    takes_up: paper that had a position when its process was lost.
    turns, learned: bars that it was given, and bars from before the run.
    closes: con_id -> its last bar.
    market_ns: of paper, whose engine has the machine's clock: the market's time, for what is written down.
    """

    parameters: StrategyParameters
    series: list[Series]
    record: Record
    currency: Any
    equity_every: int
    paused: bool = False
    waits_for_open: bool = False
    takes_up: bool = False
    market_ns: int | None = None
    unconfirmed: set[tuple[str, int]] = field(default_factory=set)
    late: set[tuple[str, int]] = field(default_factory=set)
    on_bar_done: Callable[[int, int], None] | None = None
    last_bar_ns: int | None = None
    turns: int = 0
    learned: int = 0
    closes: dict[int, Any] = field(default_factory=dict)


def prices_of(order: Any) -> dict[str, str | None]:
    """The limit and the trigger of an order, or of the event that began it; null where it has none."""
    found = {name: getattr(order, name, None) for name in ("price", "trigger_price")}
    return {name: None if value is None else str(value) for name, value in found.items()}


def nearer(position: Decimal, target: Decimal) -> Decimal:
    """The wanted position without what would enter: between the position and nothing."""
    return min(max(target, Decimal(0)), position) if position >= 0 else max(min(target, Decimal(0)), position)


def equity_point(portfolio: Any, venue: Any, run: Run) -> dict[str, str] | None:
    """Cash, open positions at the last closes, and both together; None while the account is not known."""
    # The account itself is not read: it would be copied with all its events, of which each fill adds one.
    worth = portfolio.equity(venue=venue).get(run.currency)
    if worth is None:
        return None
    engines = portfolio.unrealized_pnls(venue=venue).get(run.currency)
    cash = worth.as_decimal() - (Decimal(0) if engines is None else engines.as_decimal())
    unrealized = Decimal(0)
    names = {one.con_id: one.name for one in run.series}
    for con_id, bar in run.closes.items():
        gain = portfolio.unrealized_pnl(names[con_id], price=bar.close)
        unrealized += Decimal(0) if gain is None else gain.as_decimal()
    return {"equity": str(cash + unrealized), "cash": str(cash), "unrealized": str(unrealized)}
