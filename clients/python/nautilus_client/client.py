"""The client: one object for one API and one caller. Calls are answered before they return; there is no event loop inside."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from nautilus_client.connection import Connection
from nautilus_client.credentials import Key
from nautilus_client.market import Market
from nautilus_client.profiles import settings
from nautilus_client.retry import RetryPolicy
from nautilus_client.transport import TraceLine, Transport

if TYPE_CHECKING:
    from nautilus_client.exports import Export, Exports
    from nautilus_client.live import LiveBars
    from nautilus_client.orders import Orders
    from nautilus_client.portfolio import Portfolio
    from nautilus_client.runs import Runs


class Client(Market):
    """A client of one API.

    url, key: else of the environment (NAUTILUS_URL, NAUTILUS_API_KEY), else of a profile: `profile`, NAUTILUS_PROFILE, or the
    one that `make up` writes. policy: time-outs and tries. cache: keep bars of whole months on this machine. trace: called with
    each request that was sent. ConfigError when no API is known.
    """

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        profile: str | None = None,
        policy: RetryPolicy | None = None,
        cache: bool | None = None,
        allow_http: bool | None = None,
        trace: Callable[[TraceLine], None] | None = None,
    ) -> None:
        chosen = settings(url=url, key=key, profile=profile)
        if policy is None:
            usual = RetryPolicy()
            policy = usual._replace(read_s=chosen.timeout or usual.read_s, tries=chosen.tries or usual.tries)
        plain = chosen.allow_http if allow_http is None else allow_http
        transport = Transport(chosen.url, Key(chosen.key), policy=policy, allow_http=plain, trace=trace)
        super().__init__(Connection(transport, chosen), cache=chosen.cache if cache is None else cache)

    # ---- parts, each made when it is used ----------------------------------------------------------------------------

    @property
    def orders(self) -> "Orders":
        """Orders: new ones, previews, changes, cancels, the kill switch."""
        from nautilus_client.orders import Orders

        return Orders(self._connection)

    @property
    def portfolio(self) -> "Portfolio":
        """Accounts, positions, executions, profit."""
        from nautilus_client.portfolio import Portfolio

        return Portfolio(self._connection)

    @property
    def exports(self) -> "Exports":
        """Bars in bulk, as files."""
        from nautilus_client.exports import Exports

        return Exports(self._connection)

    @property
    def backtests(self) -> "Runs":
        """Back-tests of strategies."""
        from nautilus_client.runs import backtests

        return backtests(self._connection)

    @property
    def strategies(self) -> "Runs":
        """Strategies that trade, on paper or for real."""
        from nautilus_client.runs import strategy_runs

        return strategy_runs(self._connection)

    def export(self, **request: Any) -> "Export":
        """Begin an export: as `Exports.start`."""
        return self.exports.start(**request)

    def live(self, symbol: str | None = None, timeframe: str = "1m", **options: Any) -> "LiveBars":
        """Live bars of an instrument, without end: `for bar in client.live("AAPL", "1m")`. As `live.open_bars`."""
        from nautilus_client.live import open_bars

        return open_bars(self._connection, symbol, timeframe, **options)

    # ---- how things are ----------------------------------------------------------------------------------------------

    def me(self) -> Mapping[str, Any]:
        """The caller, with scopes and accounts."""
        return self._connection.call("me")

    def session(self) -> Mapping[str, Any]:
        """The session with Interactive Brokers."""
        return self._connection.call("session")

    def budget(self) -> Mapping[str, Any]:
        """What IB's limits leave of the login's requests."""
        return self._connection.call("budget")

    def incidents(
        self, *, open: bool = False, code: str | None = None, limit: int = 100
    ) -> Sequence[Mapping[str, Any]]:
        """What is or was wrong, the newest first."""
        found = self._connection.call("incidents", open=open, code=code, limit=limit)
        rows: Sequence[Mapping[str, Any]] = found["incidents"]
        return rows

    def close(self) -> None:
        """Close its connections; it may be used again."""
        self._connection.transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Client {self._connection.transport.url}>"
