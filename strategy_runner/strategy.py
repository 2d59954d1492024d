"""What every strategy extends. A strategy learns from each bar and then decides which position it wants; the rest is here.

The rest is: one market order to the wanted position and none while one is under way, no entry while paused, and the first
failure of a strategy ends its trading. The engine itself would log the failure and call the strategy again.
"""

from decimal import Decimal
from typing import Any, ClassVar

from nautilus_trader.model import ClientOrderId, OrderSide, Quantity
from nautilus_trader.trading import Strategy as EngineStrategy

from strategy_runner.guard import Denied, guarded
from strategy_runner.order_messages import OrderMessages
from strategy_runner.run import ENDS, OVER, Run, StrategyParameters, equity_point, nearer

__all__ = ["Strategy", "StrategyParameters"]

MOST_DENIED = 50
"""Orders in a row that the engine denied or the broker rejected: then the strategy is wrong, and stops."""
_OF_PAPER = {"OrderInitialized", "OrderUpdated", "OrderFilled", *ENDS}
"""Events that are written down. What a back-test or the ledger accepts nobody reads."""
_KINDS = _OF_PAPER - {"OrderAccepted"}
_CALLBACKS = ("on_bar", "on_start", "on_order_event", "on_trade", "on_quote")
_KEPT_FOR_US = (*_CALLBACKS, "attach", "adopt", "take_up", "submit_order")


class Strategy(EngineStrategy):  # type: ignore[misc]
    """Extend it, and give it `learn` and `decide`; docs/writing-strategies.md has an example of twenty lines."""

    Parameters: ClassVar[type[StrategyParameters]] = StrategyParameters
    description: ClassVar[str] = ""

    def __init_subclass__(cls, **named: Any) -> None:
        super().__init_subclass__(**named)
        for name in _KEPT_FOR_US:
            if name in cls.__dict__:
                raise TypeError(f"{cls.__name__}.{name}: extend prepare, learn, decide, or a callback of one event")
        for name, call in list(cls.__dict__.items()):
            if name.startswith("on_") and callable(call):
                setattr(cls, name, guarded(call))

    # ---- for authors -------------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Make indicators from `self.parameters`. Called once, before the first bar."""

    def learn(self, bar: Any) -> None:
        """Update indicators with a bar: those from before the run, too, on which nothing is traded."""

    def decide(self, bar: Any) -> Decimal | int | None:
        """The position wanted after this bar, in units and negative for a short one; None: as before."""
        return None

    @property
    def parameters(self) -> Any:
        return self._run.parameters

    @property
    def trade_size(self) -> Decimal:
        return self._run.parameters.trade_size

    @property
    def instrument(self) -> Any:
        """The engine's instrument of the first series."""
        return self._run.series[0].traded.engine

    def position(self, instrument: Any = None) -> Decimal:
        """What this run holds, in units; negative when short."""
        return Decimal(self.portfolio.net_position((instrument or self.instrument).id))

    def wanted(self, instrument: Any = None) -> Decimal:
        """The position that was decided last; after a restart what the run holds, until it decides again."""
        instrument = instrument or self.instrument
        target = self._targets.get(self._messages.con_id(instrument.id))
        return self.position(instrument) if target is None else Decimal(target)

    def signal(self, name: str, **body: Any) -> None:
        """Write down something worth seeing later: numbers and texts, with a name."""
        self._run.record.signal(self._run.last_bar_ns or 0, name, body)

    def go(self, target: Decimal | int, instrument: Any = None) -> None:
        """Want a position. `decide` does this for the instrument of its bar."""
        instrument = instrument or self.instrument
        con_id = self._messages.con_id(instrument.id)
        self._targets[con_id] = target
        self._approach(instrument, con_id)

    def leave(self, instrument: Any) -> None:
        """Want nothing any more: no later decision counts."""
        self._leaving = True
        self.go(0, instrument)

    # ---- the engine's callbacks --------------------------------------------------------------------------------------

    def attach(self, run: Run) -> None:
        """Give a strategy that the engine has just made its run; `prepare` is called."""
        self.failed = False
        self._run = run
        self._followed = {one.bar_type: one for one in run.series if one.followed}
        self._only = next(iter(self._followed.values())) if len(self._followed) == 1 else None
        self._targets: dict[int, Decimal | int] = {}
        self._reached: dict[int, Decimal] = {}
        self._under_way: dict[Any, int] = {}
        self._left: dict[Any, Decimal] = {}
        self._messages = OrderMessages(run, lambda key: self.cache.order(key))
        self._waiting: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = []
        self._done: list[tuple[int, int]] = []
        self._unsent, self._brings_back = set[Any](), set[Any]()
        self._leaving = False
        self._kinds = _KINDS
        self._denied_in_row = 0
        self._mark_at = run.equity_every
        self._marked_ns: int | None = None
        guarded(type(self).prepare)(self)

    def adopt(self, orders: list[dict[str, Any]]) -> None:
        """Count the market orders of an earlier life as under way: they may still fill. orders: as the message has them."""
        for one in orders:
            if one["order_type"] == "MARKET":
                self._under_way[ClientOrderId(one["client_order_id"])] = one["con_id"]

    def take_up(self, order: Any, *, brings_back: bool) -> None:
        """Hand over an order of an earlier life, or one that brings its position back and is written down nowhere."""
        if brings_back:
            self._brings_back.add(order.client_order_id)
            self._waiting.append((order, (), {}))
        else:
            self._hand_over(order)

    def warm_up(self, bars: list[Any]) -> None:
        """Learn from bars before the run."""
        for bar in bars:
            guarded(type(self).learn)(self, bar)
            self._run.learned += 1

    def on_start(self) -> None:
        if self._run.market_ns is not None:
            self._kinds = _OF_PAPER
        for bar_type in self._followed:
            self.subscribe_bars(bar_type)
        if self._run.waits_for_open or self._run.takes_up:
            for one in self._run.series:
                if one.price in ("BID", "ASK"):
                    self.subscribe_quotes(one.traded.engine.id)
                else:
                    self.subscribe_trades(one.traded.engine.id)

    def on_trade(self, trade: Any) -> None:
        self._opened(trade)

    def on_quote(self, quote: Any) -> None:
        self._opened(quote)

    @guarded
    def _opened(self, opening: Any) -> None:
        """Hand over what waits for the open that the exchange has just seen."""
        self._run.market_ns = opening.ts_event
        waiting, self._waiting = self._waiting, []
        for order, arguments, named in waiting:
            if order.instrument_id == opening.instrument_id:
                super().submit_order(order, *arguments, **named)
            else:
                self._waiting.append((order, arguments, named))

    def _hand_over(self, order: Any, *arguments: Any, **named: Any) -> None:
        if self._run.waits_for_open:
            self._messages.ordered(order, order.side, self._run.last_bar_ns)
            self._waiting.append((order, arguments, named))
        else:
            super().submit_order(order, *arguments, **named)

    def on_bar(self, bar: Any) -> None:
        run = self._run
        series = self._only or self._followed[bar.bar_type]
        run.turns = turns = run.turns + 1
        run.last_bar_ns = at = bar.ts_event
        if run.market_ns is not None:
            run.market_ns = at
        if not self.failed:
            try:
                self.learn(bar)
                if not run.late or (str(bar.bar_type), at) not in run.late:
                    target, con_id = self.decide(bar), series.con_id
                    if target is None or self._leaving:
                        target = self._targets.get(con_id)
                    else:
                        self._targets[con_id] = target
                    if target is not None and self._reached.get(con_id) != target:
                        self._approach(series.traded.engine, con_id)
            except BaseException as error:  # as in guarded()
                self.fail(error)
        run.closes[series.con_id] = bar
        if turns >= self._mark_at:
            self._mark_at = turns + run.equity_every
            self.mark()
        if run.on_bar_done is not None:
            self._done.append((series.index, at))
            self._say_done()

    def _say_done(self) -> None:
        """A bar is done when every order that follows from it has left this process, or was denied in it."""
        if self._unsent or self._run.on_bar_done is None:
            return  # a back-test has nobody who waits
        done, self._done = self._done, []
        for index, at in done:
            self._run.on_bar_done(index, at)

    def on_order_event(self, event: Any) -> None:
        """Every event of every order of this run; a strategy's own callback for the event has been called before."""
        kind = type(event).__name__
        if self._run.on_bar_done is not None:
            if kind == "OrderInitialized" and not event.reconciliation:
                self._unsent.add(event.client_order_id)
            elif event.client_order_id in self._unsent:
                self._unsent.discard(event.client_order_id)
                self._say_done()
        if kind in self._kinds and not self.failed:
            try:
                self._event(kind, event)
            except BaseException as error:  # as in guarded()
                self.fail(error)

    def _event(self, kind: str, event: Any) -> None:
        self._reached.clear()
        if self._brings_back and event.client_order_id in self._brings_back:
            return
        later, messages = self._run.record.later, self._messages
        if kind == "OrderFilled":
            self._denied_in_row = 0
            self._filled(event)
            if not event.reconciliation:
                later(messages.filled, event)
        elif kind == "OrderUpdated":
            later(messages.updated, event)
        elif kind != "OrderInitialized":
            later(messages.ended, ENDS[kind], event)
            self._ended(ENDS[kind], event)
        elif not event.reconciliation:
            later(messages.ordered, event, event.order_side, self._run.last_bar_ns)

    def _filled(self, event: Any) -> None:
        """Whether an order is still under way is known of those made here; of one of an earlier life the engine knows it."""
        key = event.client_order_id
        left = self._left.get(key)
        if left is None:
            order = self.cache.order(key)
            over = order is None or order.is_closed
        else:
            self._left[key] = left = left - event.last_qty.as_decimal()
            over = left <= 0
        if over:
            self._under_way.pop(key, None)
            self._left.pop(key, None)

    def submit_order(self, order: Any, *arguments: Any, **named: Any) -> None:
        """Hand an order to the engine. While no entry may follow, an order that could enlarge the position is dropped."""
        if self._entries_barred() and not self._reduces(order):
            self._run.record.write("log", level="info", text=f"{order.client_order_id} not submitted: no entries now")
            return
        self._hand_over(order, *arguments, **named)

    # ---- orders ------------------------------------------------------------------------------------------------------

    def _approach(self, instrument: Any, con_id: int) -> None:
        """Submit the one order that leads to the wanted position, unless one is under way."""
        if con_id in self._under_way.values():
            return
        name, target = instrument.id, Decimal(self._targets[con_id])
        position = Decimal(self.portfolio.net_position(name))
        allowed = nearer(position, target) if self._entries_barred() else target
        missing = allowed - position
        if not missing:
            if allowed == target:
                self._reached[con_id] = target
            return
        order = self.order_factory.market(
            name,
            OrderSide.BUY if missing > 0 else OrderSide.SELL,
            Quantity.from_decimal_dp(abs(missing), instrument.size_precision),
            tags=["exit" if abs(allowed) < abs(position) and allowed * position >= 0 else "entry"],
        )
        key = order.client_order_id
        self._under_way[key], self._left[key] = con_id, abs(missing)
        self._hand_over(order)

    def _entries_barred(self) -> bool:
        run = self._run
        if run.paused:
            return True
        return bool(run.unconfirmed) and any((str(one), run.last_bar_ns) in run.unconfirmed for one in self._followed)

    def _reduces(self, order: Any) -> bool:
        """Whether an order can only bring the position nearer to nothing, whatever else is open."""
        position = Decimal(self.portfolio.net_position(order.instrument_id))
        sign = 1 if order.side == OrderSide.BUY else -1
        return position * sign < 0 and order.quantity.as_decimal() <= abs(position)

    # ---- what becomes of them ----------------------------------------------------------------------------------------

    def _ended(self, kind: str, event: Any) -> None:
        record = self._run.record
        if kind in OVER:
            self._under_way.pop(event.client_order_id, None)
            self._left.pop(event.client_order_id, None)
        if kind in ("denied", "rejected"):
            record.denied += kind == "denied"
            record.rejected += kind == "rejected"
            self._denied_in_row += 1
            if self._denied_in_row >= MOST_DENIED:
                self.fail(Denied(f"{MOST_DENIED} orders in a row were denied or rejected, the last: {event.reason}"))

    # ---- equity and failure ------------------------------------------------------------------------------------------

    def mark(self) -> None:
        """A point of the equity curve: cash, and open positions at the last closes."""
        run = self._run
        if run.last_bar_ns in (None, self._marked_ns):
            return
        self._marked_ns = run.last_bar_ns
        point = equity_point(self.portfolio, self.instrument.id.venue, run)
        if point is not None:
            run.record.write("equity", at_ns=run.last_bar_ns, **point)

    def give_up_waiting(self) -> None:
        """Write of each order that is still open that the bars ended before it did."""
        for order in (*self.cache.orders_open(), *self.cache.orders_inflight()):
            self._messages.expired(order, "the bars end")

    def fail(self, error: BaseException) -> None:
        """Keep the failure. Nothing of the strategy is called any more."""
        self.failed = True
        self._run.record.failed(error, ours=__file__)
