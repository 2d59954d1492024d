"""Live data over days of market time, and what listeners have in the end beside history that is asked for anew.

The bridge runs in a thread of the test, so that a test can break it; simulator, PostgreSQL, Redis and the sockets between them
are real. Time passes in steps: the simulator's clock is moved, the bridge reads it, and time goes on when nothing is open any
more.
"""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from psycopg2.extras import execute_values
from pydantic import SecretStr

from ib_bridge.bridge import Bridge
from ib_bridge.live.streams import Stream, StreamState
from nautilus.clock import NS_PER_S, parse_rfc3339, rfc3339
from nautilus.db.market import series
from nautilus.log import logger
from nautilus.market.timeframes import timeframe
from nautilus.settings.bridge import BridgeSettings
from nautilus.spans import Spans
from tests.support.live_stack import LiveStack

MINUTE_NS = 60 * NS_PER_S
OLDEST_NS = 2 * MINUTE_NS
"""No provisional bar may be older in the end."""
LAG_S = 2_700
"""What is empty and younger is in doubt for a quarter of an hour, and as seldom asked about."""
_PATIENCE_S = 3.0
"""Machine time that one step waits for what an outage may hold up for longer."""


class Line(NamedTuple):
    """One series. channel: of its minutes."""

    symbol: str
    price: str
    session: str
    channel: str
    query: tuple[tuple[str, str], ...]


LINES = (
    Line("AAPL", "TRADES", "rth", "data.bars.AAPL.NASDAQ-1-MINUTE-LAST-EXTERNAL", (("symbol", "AAPL"),)),
    Line(
        "ES", "TRADES", "all", "data.bars.ESH6.CME-1-MINUTE-LAST-EXTERNAL", (("symbol", "ESH6"), ("asset_class", "FUT"))
    ),
    Line("EUR/USD", "MIDPOINT", "all", "data.bars.EUR/USD.IDEALPRO-1-MINUTE-MID-EXTERNAL", (("symbol", "EUR/USD"),)),
    Line("THIN", "TRADES", "rth", "data.bars.THIN.NASDAQ-1-MINUTE-LAST-EXTERNAL", (("symbol", "THIN"),)),
)
"""The last has no room to be kept up to date (`KEPT_UP`), and lives by bars of five seconds."""
KEPT_UP = 3


class Fault(NamedTuple):
    """A command to the simulator, so many seconds of market time after the start."""

    at_s: float
    command: str


class BridgeThread:
    """A bridge with an event loop of its own."""

    def __init__(self, live: LiveStack, **settings: Any) -> None:
        stack = live.stack
        self.settings = BridgeSettings(
            database_url=SecretStr(stack.dsn),
            ib_port=stack.sim.port,
            control_port=stack.sim.ready["control_port"],
            redis_url=SecretStr(live.redis_url),
            **{"ib_heartbeat_s": 1.0, "ib_timeout_s": 2.0, "request_timeout_s": 20.0, **settings},
        )
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()
        assert self._ready.wait(60), "the bridge starts"
        live.wait(lambda: self.bridge._source.ready, "the bridge is ready")

    async def _run(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self.bridge = Bridge(self.settings, logger("live-week", "CRITICAL"))
        self._ready.set()
        await self.bridge.run(self._stop)

    def read_clock(self) -> None:
        """Read the simulator's clock now, and look at what is due."""
        asyncio.run_coroutine_threadsafe(self.bridge._connection._read_control(), self.loop).result(30)
        self.loop.call_soon_threadsafe(self.bridge._confirming.wake)

    def requesting(self) -> bool:
        """True while a stream is about to be requested."""
        now = self.bridge._clock.now_ns()
        return any(one.state is StreamState.WANTED and one.not_before <= now for one in self.streams())

    def streams(self) -> list[Stream]:
        return list(self.bridge._live.ledger.streams.values())

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(60)
        assert not self._thread.is_alive()


@dataclass
class LastWords:
    """What a listener makes of the messages of one channel: the last word on each bar, and how often which was said."""

    bars: dict[int, tuple[float, ...]] = field(default_factory=dict)
    states: dict[int, str] = field(default_factory=dict)
    versions: dict[int, int] = field(default_factory=dict)
    count: Counter[str] = field(default_factory=Counter)
    twice: list[str] = field(default_factory=list)
    """History's words on one bar that differ and have no higher version."""
    revised: list[int] = field(default_factory=list)

    def take(self, message: dict[str, Any]) -> None:
        kind = message["t"]
        if kind in ("gap", "filled"):
            self.count[kind] += 1
        elif kind == "confirmed":
            self._confirmed(message)
        elif kind == "bar" and message["state"] != "forming":
            self._bar(message)

    def _confirmed(self, message: dict[str, Any]) -> None:
        start, end = parse_rfc3339(message["start"]), parse_rfc3339(message["end"])
        for ts in self.bars:
            if start <= ts < end:
                self.states[ts], self.versions[ts] = "confirmed", message["version"]

    def _bar(self, message: dict[str, Any]) -> None:
        ts, state, version = parse_rfc3339(message["ts"]), message["state"], int(message.get("version", 0))
        self.count[state] += 1
        values = tuple(message[name] for name in ("open", "high", "low", "close", "volume"))
        if state in ("revised", "withdrawn"):
            self.revised.append(ts)
        known = self.versions.get(ts, 0)
        if version < known:
            return
        if version and version == known and self.bars.get(ts) != values:
            self.twice.append(f"{message['ts']} {self.bars.get(ts)} {values} version {version}")
        self.states[ts], self.versions[ts] = state, version
        if state == "withdrawn":
            self.bars.pop(ts, None)
        else:
            self.bars[ts] = values


class Week:
    """Some days of market time with faults, and what they came to. start: from when on bars are compared (market ns)."""

    def __init__(self, live: LiveStack, bridge: BridgeThread) -> None:
        self.live = live
        self.bridge = bridge
        self.begun = live.stack.market_ns()
        self.start = self.begun - self.begun % MINUTE_NS + MINUTE_NS
        self.longest_wait_s = 0.0
        self.played: list[Fault] = []

    # ---- time passes -------------------------------------------------------------------------------------------------

    def want_all(self) -> None:
        """All series are on the watch list, and somebody listens to them."""
        live = self.live
        rows = [live.bars(one.symbol, "1m", one.price, one.session, 6 - n) for n, one in enumerate(LINES)]
        live.want("user:1", rows)
        listed = [{**dict(one.query), "session": one.session} for one in LINES]
        answer = live.stack.client.put("/api/v1/market-data/watchlist", json={"series": listed})
        assert answer.status_code == 200, answer.text
        live.wait(lambda: len(live.streams()) == len(LINES), "all are streams", 60, live.streams)
        live.wait(lambda: not self.bridge.requesting(), "all are requested", 60, live.streams)

    def play(self, faults: Sequence[Fault], until_s: float, *, step_s: float = 60.0, near_s: float = 25.0) -> None:
        """Let time pass until so many seconds after the start. near_s: the step in the minutes after a fault."""
        for fault in sorted(faults):
            self._pass(self.begun + int(fault.at_s * NS_PER_S), step_s, near_s)
            self.live.sim.command(fault.command)
            self.played.append(fault)
        self._pass(self.begun + int(until_s * NS_PER_S), step_s, near_s)

    def _pass(self, until: int, step_s: float, near_s: float) -> None:
        now = self.live.stack.market_ns()
        while now < until:
            last = self.played[-1].at_s if self.played else -1e9
            near = (now - self.begun) / NS_PER_S - last < 100
            self.step(min(near_s if near else step_s, (until - now) / NS_PER_S))
            now = self.live.stack.market_ns()

    def step(self, seconds: float) -> None:
        """Move the clock, and wait until the bridge has done what is to be done, or an outage holds it up."""
        self.live.sim.command(f"advance {seconds}")
        self.bridge.read_clock()
        began = time.monotonic()
        while not self._at_rest() and time.monotonic() - began < _PATIENCE_S:
            time.sleep(0.02)
            self.bridge.read_clock()
        self.longest_wait_s = max(self.longest_wait_s, time.monotonic() - began)

    def _at_rest(self) -> bool:
        """No request is open (a stream of five-second bars is one until it speaks), and nothing is provisional for long."""
        now = self.bridge.bridge._clock.now_ns()
        open_requests = "SELECT 1 FROM ib_requests WHERE outcome = 'sent' AND kind <> 'live-rtb' LIMIT 1"
        return not (self.live.rows(open_requests) or self.overdue(now) or self.bridge.requesting())

    def overdue(self, now: int) -> list[Any]:
        """Closed provisional bars that should be history by now."""
        query = "SELECT series_id, ts, state, partial FROM live_bars WHERE ts < %s"
        return self.live.rows(query, now - OLDEST_NS - MINUTE_NS)

    # ---- the comparison ----------------------------------------------------------------------------------------------

    def last_words(self) -> dict[str, LastWords]:
        """Channel -> what was told on it."""
        found = {one.channel: LastWords() for one in LINES}
        for message in list(self.live.all):
            if message["c"] in found:
                found[message["c"]].take(message)
        return found

    def covered(self, one: Line) -> Spans:
        return self._series(one).covered & Spans.of(self.start, self.end)

    def open_time(self, one: Line) -> Spans:
        """When its market was open, as far as the bridge knows."""
        (stream,) = [each for each in self.bridge.streams() if each.key.con_id == self.live.instrument(one.symbol)]
        assert stream.calendar is not None
        return stream.calendar.open_time(timeframe("1m"), (self.start, self.end))

    def _series(self, one: Line) -> series.Series:
        (row,) = self.live.rows(
            "SELECT id FROM series WHERE con_id = %s AND timeframe = '1m' AND price = %s AND session = %s",
            self.live.instrument(one.symbol), one.price, one.session,
        )  # fmt: skip
        with self.live.stack.db.transaction() as cursor:
            return series.by_id(cursor, row.id)

    def conclude(self, quiet_s: float = 0.0, lag_s: int = LAG_S) -> list[str]:
        """What is wrong in the end; nothing where all is as it has to be. `end` is where the comparison ends. quiet_s: in so many
        seconds after the start nothing was broken, so that each bar closed as history has it. lag_s: what is younger is not
        compared."""
        live = self.live
        self.end = live.stack.market_ns() - lag_s * NS_PER_S
        before = {one: self.covered(one) for one in LINES}
        wrong = [f"provisional for too long: {row}" for row in self.overdue(live.stack.market_ns())]
        for one in LINES:
            self._force(one)
            wrong += self._compared(one)
            missing = (self.covered(one) & self.open_time(one)) - before[one]
            wrong += [f"{one.symbol} was not covered: {rfc3339(a)} to {rfc3339(b)}" for a, b in missing]
        wrong += [f"IB's limits: {row}" for row in live.violations()]
        quiet = self.begun + int(quiet_s * NS_PER_S)
        for channel, last in self.last_words().items():
            wrong += [f"{channel} twice: {words}" for words in last.twice]
            early = [ts for ts in last.revised if self.start <= ts < quiet]
            wrong += [f"{channel} closed otherwise than history: {rfc3339(ts)}" for ts in early]
        return wrong + ([f"{live.missed} messages were lost"] if live.missed else [])

    def _force(self, one: Line) -> None:
        """Ask IB's history for all of it again."""
        stack = self.live.stack
        window = {"start": rfc3339(self.start), "end": rfc3339(self.end)}
        job = stack.backfill(**dict(one.query), timeframe="1m", session=one.session, **window, mode="force")
        deadline = time.monotonic() + 120
        while not stack.job(job)["finished_at"]:
            assert time.monotonic() < deadline, stack.job(job)
            stack.sim.command("advance 1")
            self.bridge.read_clock()
            time.sleep(0.05)
        assert stack.job(job)["status"] in ("succeeded", "partial"), stack.job(job)

    def _compared(self, one: Line) -> list[str]:
        """Where the last words and history differ, both ways."""
        number = self._series(one).id
        last = self.last_words()[one.channel]
        rows = [(number, ts, *values) for ts, values in last.bars.items() if self.start <= ts < self.end]
        columns = "series_id, ts, open, high, low, close, volume"
        mine = f"SELECT {columns} FROM told WHERE series_id = %s"
        history = f"SELECT {columns} FROM bars_minute WHERE series_id = %s AND ts >= %s AND ts < %s"
        with self.live.stack.db.transaction() as cursor:
            cursor.execute(f"CREATE TEMPORARY TABLE IF NOT EXISTS told AS SELECT {columns} FROM bars_minute LIMIT 0")
            cursor.execute("TRUNCATE told")
            execute_values(cursor, f"INSERT INTO told ({columns}) VALUES %s", rows)
            cursor.execute(f"({mine}) EXCEPT ({history})", (number, number, self.start, self.end))
            wrong = [f"{one.symbol} told, not history: {_text(row)}" for row in cursor.fetchall()]
            cursor.execute(f"({history}) EXCEPT ({mine})", (number, self.start, self.end, number))
            wrong += [f"{one.symbol} history, not told: {_text(row)}" for row in cursor.fetchall()]
        open_ones = [ts for ts, state in last.states.items() if state == "closed" and self.start <= ts < self.end]
        return wrong + [f"{one.symbol} never confirmed: {rfc3339(ts)}" for ts in open_ones]

    def table(self) -> str:
        """A line for each series."""
        names = ("bars", "confirmed", "revised", "withdrawn", "gaps", "resubscribed", "requests")
        lines = [f"{'series':10}" + "".join(f"{name:>14}" for name in names)]
        for one, last in zip(LINES, self.last_words().values(), strict=True):
            bars = [ts for ts in last.bars if self.start <= ts < self.end]
            confirmed = sum(1 for ts in bars if last.states[ts] == "confirmed")
            row = self.live.stream(one.symbol, "bars")
            requests = self.live.rows(
                "SELECT count(*) AS n FROM ib_requests WHERE series_id = %s", self._series(one).id
            )
            values = (
                len(bars), confirmed, last.count["revised"], last.count["withdrawn"], last.count["gap"],
                row.resubscribed if row else 0, requests[0].n,
            )  # fmt: skip
            lines.append(f"{one.symbol:10}" + "".join(f"{value:>14,}" for value in values))
        return "\n".join(lines)


def _text(row: Any) -> str:
    return f"{rfc3339(row[1])} {tuple(row[2:])}"


@contextmanager
def week(live: LiveStack, **settings: Any) -> Iterator[Week]:
    """A bridge in a thread, all series wanted, before time passes."""
    bridge = BridgeThread(live, live_keep_up_to_date=KEPT_UP, **settings)
    try:
        made = Week(live, bridge)
        made.want_all()
        yield made
    finally:
        bridge.stop()
