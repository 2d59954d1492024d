"""A service stack with live data: wants as rows, and a listener that reads the bus."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from nautilus.clock import rfc3339
from nautilus.db.bridge import commands
from nautilus.db.connection import Database
from nautilus.db.live import streams, wants
from nautilus.db.live.streams import StreamRow
from nautilus.db.live.wants import WantRow
from nautilus.errors import Unavailable
from nautilus.infra.bus.notifications import NotifyReader
from nautilus.infra.bus.redis_streams import RedisReader
from nautilus.live.hearing import Hearing
from nautilus.market.symbols import select
from tests.support.stack import ServiceStack

NOTICES = frozenset({2104, 2106, 2158, 2103, 2105, 2119, 10167, 10090, 10091})


class LiveStack:
    """Short words for tests of live data. What is heard is kept in order."""

    def __init__(self, stack: ServiceStack, redis_url: str = "") -> None:
        self.stack = stack
        self.sim = stack.sim
        self.redis_url = redis_url
        self.all: list[dict[str, Any]] = []
        self.missed = 0
        self._known: dict[str, int] = {}
        self._hearing = Hearing()
        self._stop = threading.Event()
        self._database = Database(stack.dsn, name="listener", size=1)
        store = str(stack.rows("SELECT id FROM store")[0].id)
        self._reader = RedisReader(redis_url, store, 0.05) if redis_url else NotifyReader(self._database, 0.05)
        self._reader.read()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while not self._stop.is_set():
            try:
                entries = self._reader.read()
            except Unavailable:
                self._stop.wait(0.1)
                continue
            for entry in entries:
                received = self._hearing.hear(entry)
                if received is not None:
                    self.missed += received.missed
                    self.all.append(dict(received.fields))

    def close(self) -> None:
        self._stop.set()
        self._thread.join(5)
        self._reader.close()
        self._database.close()

    # ---- the stack's words -------------------------------------------------------------------------------------------

    def start_bridge(self, name: str = "bridge-1", **settings: str) -> None:
        own = {"redis_url": self.redis_url} if self.redis_url else {}
        self.stack.start_bridge(name, **own, **settings)

    def wait(self, true: Any, what: str, within_s: float = 60, tell: Any = lambda: "") -> None:
        self.stack.wait(true, what, within_s, tell)

    def rows(self, query: str, *values: Any) -> list[Any]:
        return self.stack.rows(query, *values)

    def received(self, kind: str) -> list[Any]:
        return self.stack.received(kind)

    def errors(self) -> list[tuple[int, str]]:
        """What the simulator refused."""
        found = [row["fields"] for row in self.sim.command("received error")["received"]]
        rows = [(int(one["code"]), str(one["text"])) for one in found]
        return [row for row in rows if row[0] not in NOTICES]

    def violations(self) -> list[tuple[int, str]]:
        """What the simulator refused because a limit of IB was broken."""
        limits = (100, 101, 102, 309, 322, 326, 386, 420, 10190)
        return [(code, text) for code, text in self.errors() if code in limits or "pacing" in text.lower()]

    def market(self) -> str:
        return rfc3339(self.stack.market_ns())

    def advance(self, seconds: float) -> None:
        self.stack.advance(seconds)

    # ---- wants and what comes of them --------------------------------------------------------------------------------

    def instrument(self, symbol: str) -> int:
        """The con_id of an instrument, looked up at IB where it is not known. symbol: `AAPL`, `EUR/USD`, or `ES` (a future)."""
        if symbol not in self._known:
            selector = select(symbol=symbol, asset_class="FUT" if symbol in ("ES",) else None)
            with self.stack.db.transaction() as cursor:
                number = commands.request(
                    cursor, "resolve", selector.as_dict(), by="test", correlation_id="", expires_s=60
                )
            self.wait(
                lambda: self._outcome(number).state == "done", f"{symbol} is found", 60, lambda: self._outcome(number)
            )
            self._known[symbol] = int(self._outcome(number).result["con_id"])
        return self._known[symbol]

    def _outcome(self, number: UUID) -> Any:
        with self.stack.db.transaction() as cursor:
            return commands.outcome(cursor, number)

    def quotes(self, symbol: str, priority: int = 6) -> WantRow:
        return WantRow(self.instrument(symbol), "quotes", "", "", "", priority)

    def bars(
        self, symbol: str, timeframe: str = "1m", price: str = "TRADES", session: str = "rth", priority: int = 6
    ) -> WantRow:
        return WantRow(self.instrument(symbol), "bars", timeframe, price, session, priority)

    def ticks(self, symbol: str, price: str = "TRADES", priority: int = 6) -> WantRow:
        return WantRow(self.instrument(symbol), "ticks", "", price, "", priority)

    def want(self, owner: str, rows: Sequence[WantRow], lease_s: float | None = None) -> None:
        with self.stack.db.transaction() as cursor:
            wants.put(cursor, owner, rows, lease_s)

    def drop(self, owner: str) -> None:
        with self.stack.db.transaction() as cursor:
            wants.drop(cursor, owner, None)

    def streams(self) -> list[StreamRow]:
        with self.stack.db.transaction() as cursor:
            return streams.listed(cursor)

    def stream(self, symbol: str, kind: str = "") -> StreamRow | None:
        con_id = self.instrument(symbol)
        return next((s for s in self.streams() if s.con_id == con_id and s.kind.startswith(kind)), None)

    def wait_state(self, symbol: str, state: str, kind: str = "", within_s: float = 60) -> StreamRow:
        def there() -> bool:
            row = self.stream(symbol, kind)
            return row is not None and row.state == state

        self.wait(there, f"{symbol} {kind} is {state}", within_s, lambda: self.stream(symbol, kind))
        row = self.stream(symbol, kind)
        assert row is not None
        return row

    def messages(self, kind: str, channel: str) -> list[dict[str, Any]]:
        return [m for m in self.all if m["t"] == kind and m["c"] == channel]

    def quote_row(self, symbol: str) -> Any:
        return self.rows("SELECT * FROM live_quotes WHERE con_id = %s", self.instrument(symbol))[0]


@contextmanager
def live_stack(stack: ServiceStack, redis_url: str = "") -> Iterator[LiveStack]:
    made = LiveStack(stack, redis_url)
    try:
        yield made
    finally:
        made.close()
