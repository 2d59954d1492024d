"""The stream on a loopback port, a client of its sockets, and a stand-in for the bridge that writes rows and publishes.

Database, bus and server are real. The stand-in does what the bridge does: it commits, then it tells.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

import stream.app
from dev.credentials import token_settings
from nautilus.auth.tokens.sign import Signer
from nautilus.clock import NS_PER_DAY, NS_PER_S, day_of, rfc3339
from nautilus.db.bridge import status
from nautilus.db.live import provisional
from nautilus.db.live.provisional import ProvisionalBar
from nautilus.db.market import series
from nautilus.infra.bus.notifications import NotifyPublisher
from nautilus.infra.bus.publishing import Bus, Message, Publisher
from nautilus.infra.bus.redis_streams import RedisPublisher
from nautilus.market.bar import Bar
from nautilus.market.calendar import Calendar, Session
from nautilus.market.timeframes import timeframe
from nautilus.settings.stream import StreamSettings
from nautilus.spans import Span, Spans
from stream import server
from tests.support.stored_bars import StoredBars, stock

PATIENCE_S = 60.0
MINUTE = 60 * NS_PER_S
OPEN = 1_767_623_400 * NS_PER_S
"""2026-01-05T14:30:00Z, a Monday, when New York opens."""
SESSION = (OPEN, OPEN + 390 * MINUTE)
BARS = "data.bars.AAPL.NASDAQ-1-MINUTE-LAST-EXTERNAL"
FIVE = "data.bars.AAPL.NASDAQ-5-MINUTE-LAST-EXTERNAL"
QUOTES = "data.quotes.NASDAQ.AAPL"


class StreamServer:
    """The stream's process as a thread of the test. Its settings are in `settings`."""

    def __init__(self, dsn: str, folder: Path, **settings: Any) -> None:
        keys = {n.removeprefix("NAUTILUS_").lower(): v for n, v in token_settings(folder).items()}
        self._signer = Signer(
            keys["token_key_id"], keys["token_private_key"], issuer="nautilus", audience="nautilus-api"
        )
        values: dict[str, Any] = {"database_url": dsn, "log_level": "WARNING", "stream_bye_s": 0.2}
        known = {name: value for name, value in keys.items() if name in StreamSettings.model_fields}
        self.settings = StreamSettings.model_validate(values | known | settings)
        self.app = stream.app.create(self.settings)
        self.stream = self.app.state.stream
        self._server = server.server(self.app, self.stream)
        self._listening = server.listening("127.0.0.1", 0)
        self.port: int = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._server.run, args=([self._listening],), daemon=True)
        self._thread.start()
        wait(lambda: self._server.started, "the server listens")
        # What is published before would be no loss to it: it had not joined.
        wait(lambda: self.stream.health()["ok"], "the bus is read")

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def token(self, user: int = 1, *scopes: str, session: str = "", accounts: Sequence[str] = ()) -> str:
        """An access token of a user with these scopes and accounts."""
        now_s = int(time.time())
        return self._signer.sign(
            user_id=user,
            name=f"user {user}",
            scopes=scopes or ("bars:read", "monitoring:read"),
            session=session or f"00000000-0000-0000-0000-{user:012d}",
            key_id=None,
            now_s=now_s,
            expires_s=now_s + 300,
            accounts=accounts,
        ).token

    @contextmanager
    def paused_bus(self) -> Iterator[None]:
        """The bus is not read while the block lasts; what is there at its end is read then."""
        paused, readers = threading.Event(), [thread._reader for thread in self.stream._threads]
        reads = [reader.read for reader in readers]

        def wait_first(read: Any) -> Any:
            def reading() -> Any:
                if not paused.is_set():
                    found: list[Any] = []
                    paused.wait(PATIENCE_S)
                    return found
                return read()

            return reading

        for reader, read in zip(readers, reads, strict=True):
            reader.read = wait_first(read)
        time.sleep(0.7)  # the reads that are under way come back
        try:
            yield
        finally:
            paused.set()
            for reader, read in zip(readers, reads, strict=True):
                reader.read = read

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()


class Client:
    """A client of /ws/v1/stream. `received`: all messages that came so far."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.received: list[dict[str, Any]] = []
        self._at = 0

    def send(self, **request: Any) -> None:
        self.connection.send(json.dumps(request))

    def read(self, within_s: float = PATIENCE_S) -> bool:
        """Take one frame; False when none came in time."""
        try:
            frame = self.connection.recv(timeout=within_s)
        except TimeoutError:
            return False
        found = json.loads(frame)
        assert isinstance(found, list), "a frame is an array"
        self.received += found
        return True

    def next(self, *kinds: str, **fields: Any) -> dict[str, Any]:
        """The next message of these kinds with these fields, after the one that was taken last; others are passed over."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            while self._at < len(self.received):
                message = self.received[self._at]
                self._at += 1
                if message["t"] in kinds and fields.items() <= message.items():
                    return message
            left = deadline - time.monotonic()
            assert left > 0, f"no {kinds} {fields} among {self.received[-20:]}"
            assert self.read(left), f"no {kinds} {fields} among {self.received[-20:]}"

    def collect(self, until: Callable[[], bool], what: str) -> None:
        """Read until something is true of `received`."""
        deadline = time.monotonic() + PATIENCE_S
        while not until():
            left = deadline - time.monotonic()
            assert left > 0, f"{what}: {self.received[-20:]}"
            self.read(min(left, 1.0))

    def closed(self) -> int:
        """The code with which the server closes, once it does."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            try:
                self.read(1.0)
            except ConnectionClosed as closed:
                return closed.rcvd.code if closed.rcvd else 1006
        raise AssertionError(f"still open: {self.received[-10:]}")

    def subscribe(self, *channels: str, **more: Any) -> dict[str, Any]:
        """Subscribe and return the acknowledgement."""
        self.send(op="subscribe", id=7, channels=list(channels), **more)
        return self.next("ack")


@contextmanager
def client(
    running: StreamServer,
    token: str | None = None,
    *,
    path: str = "/ws/v1/stream",
    headers: Mapping[str, str] | None = None,
    **more: Any,
) -> Iterator[Client]:
    """A socket for as long as the block lasts; with a token it is signed in by the handshake."""
    given = dict(headers or {})
    if token:
        given["Authorization"] = f"Bearer {token}"
    with connect(
        f"ws://{running.address}{path}", additional_headers=given, proxy=None, compression=None, max_size=2**26, **more
    ) as connection:
        yield Client(connection)


class Publishing:
    """The stand-in for the bridge: one stock, one session day."""

    def __init__(self, stored: StoredBars, *, redis_url: str = "") -> None:
        self.stored = stored
        self.aapl = stored.instrument(stock(), calendar())
        with stored.db.transaction() as cursor:
            self.store = status.store(cursor).id
            provisional.begin_generation(cursor)
        ways: list[Publisher] = [RedisPublisher(redis_url, self.store)] if redis_url else []
        self.bus = Bus([*ways, NotifyPublisher(stored.db)], lambda: time.time_ns() // 1_000_000)
        self.version = 0

    def series_id(self) -> int:
        rows = self.stored.rows("SELECT id FROM series WHERE timeframe = '1m'")
        return int(rows[0][0]) if rows else 0

    def publish(self, *messages: Message) -> None:
        wait(lambda: self.bus.publish(messages), "the bus takes it")

    def quote(self, bid: float, **more: Any) -> None:
        fields = {"bid": bid, "bid_size": 3, "ask": bid + 0.02, "ask_size": 4, "last": bid + 0.01, "volume": 10.0}
        self.publish(Message("quote", QUOTES, {**fields, "feed": "live", "ts": None, "seen": rfc3339(OPEN), **more}))

    def closed(self, n: int, close: float | None = None, *, state: str = "closed", seen: int = 0) -> None:
        """Minute n of the session, told by the stream: it is in `live_bars`, then on the bus."""
        bar = minute(n, close)
        if not self.series_id():
            self.stored.record(self.aapl, "1m")
        with self.stored.db.transaction() as cursor:
            row = ProvisionalBar(
                self.series_id(), bar.ts, bar.open, bar.high, bar.low, bar.close, bar.volume, bar.trades, state, False, "kutd",
                bar.ts + MINUTE + seen,
            )  # fmt: skip
            provisional.put(cursor, [row])
        self.publish(Message("bar", BARS, live(bar, state, seen=rfc3339(bar.ts + MINUTE + seen))))

    def confirm(self, first: int, last: int, close: float | None = None, *, revised: bool = False) -> None:
        """Minutes first to last, answered by history: they are bars now, and no longer provisional; then it is told."""
        bars = [minute(n, close) for n in range(first, last + 1)]
        with self.stored.db.transaction() as cursor:
            self._commit(cursor, bars, (bars[0].ts, bars[-1].ts + MINUTE))
        if revised:
            for bar in bars:
                self.publish(
                    Message(
                        "bar", BARS, {**live(bar, "revised"), "version": self.version, "was": live(minute(0), "closed")}
                    )
                )
            return
        start, end = bars[0].ts, bars[-1].ts + MINUTE
        self.publish(
            Message("confirmed", BARS, {"start": rfc3339(start), "end": rfc3339(end), "version": self.version})
        )

    def long_ago(self) -> None:
        """Let the commits so far be ten minutes older than they are."""
        self.stored.rows("UPDATE series_changes SET committed_at = committed_at - interval '10 minutes'")

    def withdraw(self, n: int) -> None:
        """Minute n, which a stream told, is not in history's answer."""
        bar = minute(n)
        with self.stored.db.transaction() as cursor:
            self._commit(cursor, [], (bar.ts, bar.ts + MINUTE))
        self.publish(Message("bar", BARS, {**live(bar, "withdrawn"), "version": self.version}))

    def _commit(self, cursor: Any, bars: list[Bar], span: Span) -> None:
        row = series.find_or_make(cursor, self.aapl.con_id, timeframe("1m"), price="TRADES", session="rth")
        locked = series.by_id(cursor, row.id, lock=True)
        series.apply_changes(cursor, locked, bars=bars, settled=Spans([span]))
        provisional.remove(cursor, row.id, *span)
        self.version = series.by_id(cursor, row.id).data_version

    def close(self) -> None:
        self.bus.close()


def calendar() -> Calendar:
    """New York's day, and the day before."""
    sessions = [
        Session(SESSION[0] - n * NS_PER_DAY, SESSION[1] - n * NS_PER_DAY, day_of(OPEN - n * NS_PER_DAY)) for n in (3, 0)
    ]
    return Calendar.of(sessions, (OPEN - 5 * NS_PER_DAY, OPEN + NS_PER_DAY), "America/New_York")


def minute(n: int, close: float | None = None) -> Bar:
    """Minute n of the session."""
    price = 100.0 + n / 100
    end = price if close is None else close
    return Bar(OPEN + n * MINUTE, price, max(price, end) + 1, min(price, end) - 1, end, 10.0 + n, None, 3)


def live(bar: Bar, state: str, **more: Any) -> dict[str, Any]:
    """A bar as a message has it."""
    names = ("open", "high", "low", "close", "volume", "trades")
    return {
        "ts": rfc3339(bar.ts),
        **{name: getattr(bar, name) for name in names},
        "state": state,
        "source": "kutd",
        **more,
    }


class Chart:
    """What a careful client keeps: bars by their stamps, the higher rank or version wins."""

    RANK: ClassVar = {"forming": 0, "closed": 1, "confirmed": 2, "revised": 2}

    def __init__(self, channel: str = BARS) -> None:
        self.channel = channel
        self.bars: dict[str, dict[str, Any]] = {}
        self.version = 0
        self.events: list[tuple[str, str, int]] = []
        """(ts, state, version) of each bar that was told by a message of its own."""

    def take(self, message: Mapping[str, Any]) -> None:
        if message.get("c") != self.channel:
            return
        if message["t"] == "snapshot":
            self._snapshot(message)
        elif message["t"] == "bar":
            self.events.append((message["ts"], message["state"], message.get("version", 0)))
            self._bar(message, message.get("version", 0))
        elif message["t"] == "confirmed":
            self._confirmed(message)
        if message["t"] in ("snapshot", "bar", "confirmed"):
            self.version = max(self.version, message.get("version", 0))

    def _snapshot(self, message: Mapping[str, Any]) -> None:
        for start, end in message.get("removed", ()):
            self.bars = {ts: bar for ts, bar in self.bars.items() if not start <= ts < end}
        if not message.get("reason"):
            # What it does not repeat of what was provisional is withdrawn, or is confirmed below.
            self.bars = {ts: bar for ts, bar in self.bars.items() if self.RANK[bar["state"]] == 2}
        for bar in (*message["bars"], *message["provisional"], *([message["forming"]] if message["forming"] else [])):
            self._bar(bar, message["version"] if bar["state"] == "confirmed" else 0)

    def _bar(self, bar: Mapping[str, Any], version: int) -> None:
        if bar["state"] == "withdrawn":
            self.bars.pop(bar["ts"], None)
            return
        known = self.bars.get(bar["ts"])
        rank = (self.RANK[bar["state"]], version)
        if known is None or rank >= (self.RANK[known["state"]], known["version"]):
            self.bars[bar["ts"]] = {**bar, "version": version}

    def _confirmed(self, message: Mapping[str, Any]) -> None:
        for ts, bar in self.bars.items():
            if message["start"] <= ts < message["end"]:
                bar.update(state="confirmed", version=message["version"])

    def closes(self) -> list[tuple[str, float]]:
        return [(ts, bar["close"]) for ts, bar in sorted(self.bars.items())]


def wait(true: Callable[[], Any], what: str, within_s: float = PATIENCE_S) -> None:
    """Wait until something is true."""
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, f"still not: {what}"
        time.sleep(0.02)
