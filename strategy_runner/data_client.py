"""The engine's source of live data: what the host writes down the pipe, and nothing else."""

from typing import Any

from nautilus_trader.live.clients import MarketDataClient

from strategy_runner.bars import BarFactory
from strategy_runner.engine_names import Series


class PipeData(MarketDataClient):  # type: ignore[misc]
    """Hands over bars and, in paper with `next_open`, the openings at which waiting orders fill."""

    def attach(self, series: list[Series], *, openings: bool) -> None:
        """Give a client that the node has just made its series."""
        self._factories = {one.index: BarFactory(one) for one in series}
        self._openings = openings
        self._opened: dict[int, int] = {}
        self._sides: dict[tuple[int, int], dict[str, float]] = {}
        self._ended: dict[int, dict[str, Any]] = {}

    def bar(self, message: dict[str, Any]) -> Any:
        """Hand over a closed bar, after the opening that no `forming` has announced; the engine's bar."""
        if self._openings and self._opened.get(message["index"], -1) < message["opened_ns"]:
            self.forming(message)
        prices = (message["open"], message["high"], message["low"], message["close"])
        made = self._factories[message["index"]].bar(prices, message["volume"], message["closed_ns"])
        self._handle_data(made)
        return made

    def show(self, index: int, price: float) -> None:
        """Hand over a trade of ours at which what waits fills; where bid and ask are given, a quote. No bar has come yet."""
        factory = self._factories[index]
        sides = factory.series.price in ("BID", "ASK")
        self._handle_data(factory.quote(price, price, 0) if sides else factory.opening(price, 0))

    def forming(self, message: dict[str, Any]) -> None:
        """Hand over the opening of the bar that has begun: once, however often the host says so."""
        index, at = message["index"], message["opened_ns"]
        if not self._openings or self._opened.get(index, -1) >= at:
            return
        self._opened[index] = at
        factory = self._factories[index]
        if factory.series.price not in ("BID", "ASK"):
            self._handle_data(factory.opening(message["open"], at))
            return
        sides = self._sides.setdefault((factory.series.traded.con_id, at), {})
        sides[factory.series.price] = message["open"]
        if len(sides) == 2:
            del self._sides[factory.series.traded.con_id, at]
            self._handle_data(factory.quote(sides["BID"], sides["ASK"], at))

    @property
    def without_volume(self) -> int:
        return sum(one.without_volume for one in self._factories.values())

    async def _connect(self) -> None:
        for traded in {one.series.traded.con_id: one.series.traded for one in self._factories.values()}.values():
            self._handle_instrument(traded.engine)

    async def _disconnect(self) -> None:
        pass

    async def _subscribe_bars(self, command: Any) -> None:
        pass

    async def _unsubscribe_bars(self, command: Any) -> None:
        pass

    async def _subscribe_instrument(self, command: Any) -> None:
        pass

    async def _unsubscribe_instrument(self, command: Any) -> None:
        pass

    # The simulated exchange of a paper run subscribes to what it fills orders at.
    async def _subscribe_quotes(self, command: Any) -> None:
        pass

    async def _subscribe_trades(self, command: Any) -> None:
        pass

    async def _unsubscribe_quotes(self, command: Any) -> None:
        pass

    async def _unsubscribe_trades(self, command: Any) -> None:
        pass
