"""All that takes part in a run of `make chaos-orders`, as processes that can be killed: PostgreSQL with fsync, the simulator, the
API over HTTP, the order process.

Two accounts, eight stocks. Market time runs as fast as the machine's. Market clock and quotes are rows that are written here, as
no bridge runs; what is tested starts behind them.
"""

import itertools
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from dev.credentials import token_settings
from dev.environment import environment
from dev.postgres import start_postgres
from dev.process import Child, Group, StartError, free_port
from dev.stack import read
from ib_gateway_sim.market.generated.market import Market
from nautilus.auth.tokens.sign import Signer
from nautilus.clock import NS_PER_S, MarketTime
from nautilus.db.bridge import status
from nautilus.db.migrate import upgrade
from nautilus.errors import Unavailable
from nautilus.market.instrument import Instrument
from tests.conftest import execute
from tests.support.order_process import NOON, OrderStack
from tests.support.sim_process import Simulator, simulator

SYMBOLS = ("AAPL", "MSFT", "SPY", "QQQ", "MANY01", "MANY02", "MANY03", "MANY04")
SIMULATOR = ("--start", NOON, "--master-client", "5", "--accounts", "2", "--price-range", "0", "--twin-cancel", "next")
ORDER_PROCESS = ("-m", "ib_bridge.orders")
_SOON = {"orders_ask_again_s": "0.3,0.6", "orders_ack_timeout_s": "1", "ib_heartbeat_s": "1"}
"""Settings of the order process: the same questions as ever, sooner."""
_UP_S = 60.0


class DurableServer:
    """A PostgreSQL with fsync on that can be killed, and databases on it. It keeps the time of each commit: when an order was
    announced, beside when it was received."""

    def __init__(self, group: Group, folder: Path) -> None:
        self._group = group
        self._folder = folder
        self._numbers = itertools.count(1)
        self.server = start_postgres(group, folder, durable=True)
        self.server.child.wait_ready(within_s=_UP_S)
        upgrade(self.server.dsn())
        execute(self.server, "ALTER SYSTEM SET track_commit_timestamp = on")
        group.stop_child(self.server.child)
        self._start_again()

    def new_database(self) -> str:
        """The URL of a migrated, empty database."""
        name = f"chaos_{next(self._numbers)}"
        execute(self.server, f"CREATE DATABASE {name} TEMPLATE nautilus")
        return self.server.dsn(name)

    def kill(self, away_s: float) -> None:
        """kill -9, and a new start after so many seconds."""
        self._group.kill_child(self.server.child)
        time.sleep(away_s)
        self._start_again()

    def _start_again(self) -> None:
        """What is left of a server that was killed ends in a moment, and until then no other one starts."""
        until = time.monotonic() + _UP_S
        while True:
            try:
                self.server = start_postgres(self._group, self._folder, durable=True, port=self.server.port)
                self.server.child.wait_ready(within_s=_UP_S)
                return
            except StartError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.1)


class World:
    """command: what Python runs as the order process; a mutant has another one."""

    def __init__(
        self, group: Group, folder: Path, sim: Simulator, *, server: DurableServer, command: Sequence[str]
    ) -> None:
        self.folder = folder
        self.sim = sim
        self.command = command
        self._group = group
        self.server = server
        self._dsn = server.new_database()
        self.stack = OrderStack(group, folder, self._dsn, sim)
        self.instruments: dict[str, Instrument] = {symbol: self.stack.learn(symbol) for symbol in SYMBOLS}
        self.accounts = (str(sim.ready["account"]), f"{sim.ready['account']}001")
        self._keys = token_settings(folder)
        self._tokens: dict[int, tuple[float, str]] = {}
        self._clock = self._calibrated()
        self._publish_clock()
        self.quote_all()
        self.api_port = free_port()
        self.api: Child | None = None

    def rows(self, query: str, *values: Any) -> list[Any]:
        """Rows of the database; a server that was just killed is waited for."""
        until = time.monotonic() + _UP_S
        while True:
            try:
                return self.stack.rows(query, *values)
            except Unavailable:
                if time.monotonic() > until:
                    raise
                time.sleep(0.1)

    # ---- the API -----------------------------------------------------------------------------------------------------

    def start_api(self) -> None:
        settings = {
            "NAUTILUS_ENV": "test",
            "NAUTILUS_LOG_LEVEL": "WARNING",
            "NAUTILUS_DATABASE_URL": self._dsn,
            "NAUTILUS_QUEUE_URL": "",
            **self._keys,
        }
        url = f"http://127.0.0.1:{self.api_port}/health"
        self.api = self._group.start(
            "api",
            [sys.executable, "-m", "dev.local_api", "--port", str(self.api_port)],
            log=self.folder / "api.log",
            env=environment(settings),
            ready=lambda child: read(url) is not None,
        )
        self.api.wait_ready(within_s=_UP_S)

    def kill_api(self) -> None:
        assert self.api is not None
        self._group.kill_child(self.api)
        self.start_api()

    def headers(self, user: int, *, admin: bool = False) -> Mapping[str, str]:
        """Of a user who may trade for both accounts; admin: of an administrator."""
        made_at, token = self._tokens.get(user, (0.0, ""))
        if time.monotonic() - made_at > 200:
            keys, now_s = self._keys, int(time.time())
            signer = Signer(
                keys["NAUTILUS_TOKEN_KEY_ID"], keys["NAUTILUS_TOKEN_PRIVATE_KEY"],
                issuer="nautilus", audience="nautilus-api",
            )  # fmt: skip
            token = signer.sign(
                user_id=user,
                name=f"user{user}",
                scopes=("admin",) if admin else ("orders:read", "orders:write"),
                accounts=() if admin else self.accounts,
                session=f"00000000-0000-0000-0000-{user:012d}",
                key_id=None,
                now_s=now_s,
                expires_s=now_s + 300,
            ).token
            self._tokens[user] = (time.monotonic(), token)
        return {"Authorization": f"Bearer {token}"}

    # ---- the order process -------------------------------------------------------------------------------------------

    def launch(self, crash_at: str = "none") -> Child:
        """Start a life of the order process."""
        return self.stack.launch(command=self.command, orders_crash_at=crash_at, **_SOON)

    def kill_process(self) -> None:
        """SIGKILL, if it lives."""
        if self.stack.process is not None:
            self.stack.kill()

    def has_ended(self) -> bool:
        return self.stack.process is None or self.stack.process.exit_code() is not None

    # ---- market ------------------------------------------------------------------------------------------------------

    def _calibrated(self) -> MarketTime:
        """Market time by this machine's steady clock: the closest of some answers."""
        found = []
        for _ in range(20):
            before = time.monotonic_ns()
            market = self.stack.market_ns()
            after = time.monotonic_ns()
            found.append((after - before, MarketTime((before + after) // 2, market)))
        self.uncertain_ns, clock = min(found)
        return clock

    def now_ns(self) -> int:
        """Market time."""
        return self._clock.at(time.monotonic_ns())

    def clock_was_set(self) -> None:
        """The simulator's clock has jumped to another day: market time, the hours of that day and quotes here follow."""
        self._clock = self._calibrated()
        self._publish_clock()
        for symbol in SYMBOLS:
            self.stack.learn(symbol, anew=True)
        self.quote_all()

    def _publish_clock(self) -> None:
        """Market time by the database's clock, as a bridge would publish it."""
        with self.stack.db.transaction() as cursor:
            before, market, after = status.machine_now(cursor), self.now_ns(), status.machine_now(cursor)
            self.database_clock = MarketTime((before + after) // 2, market)
            status.publish(
                cursor,
                "chaos",
                login="chaos",
                account=self.accounts[0],
                state="connected",
                reason="",
                host="127.0.0.1",
                port=self.sim.port,
                client_id=17,
                server_version=176,
                farms={},
                activity={},
                clock=self.database_clock,
                settle_s=(0, 0),
            )

    def quote_all(self) -> None:
        """A new quote of each stock, of the simulator's own price."""
        for symbol, instrument in self.instruments.items():
            self.stack.quote(instrument, float(self.price_of(symbol)))

    def price_of(self, symbol: str) -> Decimal:
        """About where the simulator's market stands, in whole cents."""
        market = Market(int(str(self.sim.ready["account"]).removeprefix("SIM")))
        now_s = self.now_ns() / NS_PER_S
        (contract,) = [one for one in market.search(symbol, now_s) if one.symbol == symbol and one.sec_type == "STK"]
        quote = market.quote(contract, now_s)
        return Decimal(str(round((quote.bid + quote.ask) / 2, 2)))

    def close(self) -> None:
        self.kill_process()
        if self.api is not None and self.api.exit_code() is None:
            self._group.kill_child(self.api)
        self.stack.close()


@contextmanager
def chaos_world(
    group: Group, folder: Path, server: DurableServer, command: Sequence[str] = ORDER_PROCESS
) -> Iterator[World]:
    """A world whose API and order process run."""
    folder.mkdir()
    with simulator(*SIMULATOR) as sim:
        world = World(group, folder, sim, server=server, command=command)
        try:
            world.start_api()
            world.launch()
            yield world
        finally:
            world.close()
