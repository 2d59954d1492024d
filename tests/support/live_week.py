"""Live data over days of market time, and what listeners have in the end beside history that is asked for anew.

Simulator, bridge, PostgreSQL, Redis, the stream and the sockets between them are real. Time passes in steps: the simulator's
clock is moved, the bridge reads it, and time goes on when nothing is open any more. What is compared is what a client of the
stream has, who resumes by version; what is said on the bus is looked through for words that contradict each other.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import redis

from nautilus.clock import NS_PER_S, parse_rfc3339, rfc3339
from nautilus.db.market import calendars, instruments, series
from nautilus.market.timeframes import timeframe
from nautilus.spans import Spans
from tests.support.live_bridges import BridgeProcess, BridgeThread
from tests.support.live_listener import Listener
from tests.support.live_stack import LiveStack
from tests.support.stream_server import Chart, StreamServer

MINUTE_NS = 60 * NS_PER_S
OLDEST_NS = 2 * MINUTE_NS
"""No provisional bar may be older in the end."""
LAG_S = 2_700
"""What is empty and younger is in doubt for a quarter of an hour, and as seldom asked about."""
_PATIENCE_S = 3.0
"""Machine time that one step waits for what an outage may hold up for longer."""
_LEVEL_S = 60.0
"""Machine time within which a listener has heard all that was said."""
FRAMES = {"1m": "1-MINUTE", "5m": "5-MINUTE", "1h": "1-HOUR"}
"""The bars of each series that are compared. Longer ones than a minute are folded of live minutes."""
_VALUES = ("open", "high", "low", "close", "volume")


class Line(NamedTuple):
    """One series. channel: of its minutes."""

    symbol: str
    price: str
    session: str
    channel: str
    query: tuple[tuple[str, str], ...]

    def channel_of(self, frame: str) -> str:
        """The channel of its bars of a timeframe."""
        return self.channel.replace(FRAMES["1m"], FRAMES[frame])


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
    """A command to the simulator, or one of `Week.own`, so many seconds of market time after the start."""

    at_s: float
    command: str


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

    def __init__(self, live: LiveStack, bridge: BridgeThread | BridgeProcess, running: StreamServer) -> None:
        self.live = live
        self.bridge = bridge
        self.running = running
        self.begun = live.stack.market_ns()
        self.start = self.begun - self.begun % MINUTE_NS + MINUTE_NS
        self.longest_wait_s = 0.0
        self.played: list[Fault] = []
        self.own: Mapping[str, Callable[[], None]] = {
            "bridge kill": lambda: self._process().kill(),
            "bridge start": self._start_bridge,
            "redis flush": self._flush,
            "listener leave": lambda: self.listener.leave(),
            "listener resume": lambda: self.listener.resume(),
        }

    def _process(self) -> BridgeProcess:
        assert isinstance(self.bridge, BridgeProcess)
        return self.bridge

    def _start_bridge(self) -> None:
        self.live.stack.sign_in("trader")  # an access token is older than that by now
        self._process().start()

    def _flush(self) -> None:
        """Two minutes are said on the bus and lost with it before the stream has read them."""
        with self.running.paused_bus(), closing(redis.Redis.from_url(self.live.redis_url)) as client:
            self.step(60)
            self.step(60)
            client.flushall()

    # ---- time passes -------------------------------------------------------------------------------------------------

    def want_all(self) -> None:
        """All series are on the watch list, and somebody listens to them."""
        live = self.live
        rows = [live.bars(one.symbol, "1m", one.price, one.session, 9 - n) for n, one in enumerate(LINES)]
        live.want("user:1", rows)
        listed = [{**dict(one.query), "session": one.session} for one in LINES]
        answer = live.stack.client.put("/api/v1/market-data/watchlist", json={"series": listed})
        assert answer.status_code == 200, answer.text
        live.wait(lambda: len(live.streams()) == len(LINES), "all are streams", 60, live.streams)
        live.wait(self._at_rest, "all are requested", 60, live.streams)
        self.listener = Listener(self.running, [one.channel_of(frame) for one in LINES for frame in FRAMES])

    def play(self, faults: Sequence[Fault], until_s: float, *, step_s: float = 60.0, near_s: float = 25.0) -> None:
        """Let time pass until so many seconds after the start. near_s: the step in the minutes after a fault."""
        for fault in sorted(faults):
            self._pass(self.begun + int(fault.at_s * NS_PER_S), step_s, near_s)
            self.played.append(fault)
            if fault.command in self.own:
                self.own[fault.command]()
            else:
                self.live.sim.command(fault.command)
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
        began = time.monotonic()
        while not self._at_rest() and time.monotonic() - began < _PATIENCE_S:
            time.sleep(0.02)
        self.longest_wait_s = max(self.longest_wait_s, time.monotonic() - began)

    def _at_rest(self) -> bool:
        """No request is open (a stream of five-second bars is one until it speaks), and nothing is provisional for long; or
        there is no bridge."""
        seen = self.bridge.read_clock()
        open_requests = "SELECT 1 FROM ib_requests WHERE outcome = 'sent' AND kind <> 'live-rtb' LIMIT 1"
        return seen is None or not (self.live.rows(open_requests) or self.overdue(seen.now_ns) or seen.requesting)

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
        """When its market was open, as far as IB has told."""
        con_id = self.live.instrument(one.symbol)
        with self.live.stack.db.transaction() as cursor:
            name = instruments.several(cursor, {con_id})[con_id].calendar
            calendar = calendars.load(cursor, name, one.session, (self.start, self.end))
        assert calendar is not None
        return calendar.open_time(timeframe("1m"), (self.start, self.end))

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
        live.stack.sign_in("trader")
        before = {one: self.covered(one) for one in LINES}
        wrong = [f"provisional for too long: {row}" for row in self.overdue(live.stack.market_ns())]
        self._let_listener_hear()
        shown = self.listener.bars()
        for one in LINES:
            self._force(one)
            for frame in FRAMES:
                wrong += self._compared(one, frame, shown[one.channel_of(frame)])
            missing = (self.covered(one) & self.open_time(one)) - before[one]
            wrong += [f"{one.symbol} was not covered: {rfc3339(a)} to {rfc3339(b)}" for a, b in missing]
        wrong += [f"IB's limits: {row}" for row in live.violations()]
        quiet = self.begun + int(quiet_s * NS_PER_S)
        for channel, last in self.last_words().items():
            wrong += [f"{channel} twice: {words}" for words in last.twice]
            early = [ts for ts in last.revised if self.start <= ts < quiet]
            wrong += [f"{channel} closed otherwise than history: {rfc3339(ts)}" for ts in early]
        wrong += [f"the listener was cut off {self.listener.cut_off} times"] if self.listener.cut_off else []
        wrong += [f"the listener was told: {error}" for error in self.listener.errors]
        return wrong + ([f"{live.missed} messages were lost"] if live.missed else [])

    def _let_listener_hear(self) -> None:
        """Until it has a word of history on each bar, or nothing more comes."""
        deadline = time.monotonic() + _LEVEL_S
        while time.monotonic() < deadline and not (self.listener.is_quiet() and not self._unconfirmed()):
            time.sleep(0.1)

    def _unconfirmed(self) -> list[str]:
        bars = self.listener.bars()
        return [
            f"{one.symbol} {frame} never confirmed: {ts}"
            for one in LINES
            for frame in FRAMES
            for ts, bar in bars[one.channel_of(frame)].items()
            if self._is_compared(ts, frame) and Chart.RANK[bar["state"]] < 2
        ]

    def _is_compared(self, ts: str, frame: str) -> bool:
        """True for a bar whose whole slot lies in what is compared."""
        begin = parse_rfc3339(ts)
        return self.start <= begin and begin + timeframe(frame).step_ns <= self.end

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

    def _compared(self, one: Line, frame: str, bars: Mapping[str, Mapping[str, Any]]) -> list[str]:
        """Where what the listener has and history differ, both ways."""
        shown = {(ts, *(bar[name] for name in _VALUES)) for ts, bar in bars.items() if self._is_compared(ts, frame)}
        history = {row for row in self._history(one, frame) if self._is_compared(row[0], frame)}
        wrong = [f"{one.symbol} {frame} told, not history: {row}" for row in sorted(shown - history)]
        wrong += [f"{one.symbol} {frame} history, not told: {row}" for row in sorted(history - shown)]
        open_ones = [ts for ts, bar in bars.items() if self._is_compared(ts, frame) and Chart.RANK[bar["state"]] < 2]
        return wrong + [f"{one.symbol} {frame} never confirmed: {ts}" for ts in open_ones]

    def _history(self, one: Line, frame: str) -> list[tuple[Any, ...]]:
        """What is stored now: minutes from their table, longer bars as the API folds them."""
        if frame == "1m":
            query = f"SELECT ts, {', '.join(_VALUES)} FROM bars_minute WHERE series_id = %s AND ts >= %s AND ts < %s"
            rows = self.live.rows(query, self._series(one).id, self.start, self.end)
            return [(rfc3339(row[0]), *row[1:]) for row in rows]
        window = {"start": rfc3339(self.start), "end": rfc3339(self.end), "limit": 50_000}
        found = self.live.stack.bars(**dict(one.query), timeframe=frame, session=one.session, **window)
        return [(rfc3339(int(row["ts"])), *(row[name] for name in _VALUES)) for row in found["candles"]]

    def table(self) -> str:
        """A line for each series."""
        names = ("bars", "of 5m", "of 1h", "confirmed", "revised", "withdrawn", "gaps", "resubscribed", "requests")
        lines = [f"{'series':10}" + "".join(f"{name:>14}" for name in names)]
        shown = self.listener.bars()
        for one, last in zip(LINES, self.last_words().values(), strict=True):
            bars = [
                [bar for ts, bar in shown[one.channel_of(frame)].items() if self._is_compared(ts, frame)]
                for frame in FRAMES
            ]
            confirmed = sum(1 for bar in bars[0] if bar["state"] == "confirmed")
            row = self.live.stream(one.symbol, "bars")
            requests = self.live.rows(
                "SELECT count(*) AS n FROM ib_requests WHERE series_id = %s", self._series(one).id
            )
            values = (
                *map(len, bars), confirmed, last.count["revised"], last.count["withdrawn"], last.count["gap"],
                row.resubscribed if row else 0, requests[0].n,
            )  # fmt: skip
            lines.append(f"{one.symbol:10}" + "".join(f"{value:>14,}" for value in values))
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(self.listener.kinds.items()))
        return "\n".join([*lines, f"the listener heard: {kinds}"])


@contextmanager
def week(live: LiveStack, folder: Path, *, in_thread: bool = False, **settings: Any) -> Iterator[Week]:
    """A bridge, all series wanted and listened to, before time passes. in_thread: the bridge is one that a test may break,
    and that cannot be killed."""
    kind = BridgeThread if in_thread else BridgeProcess
    running = StreamServer(live.stack.dsn, folder, redis_url=live.redis_url)
    bridge = kind(live, live_keep_up_to_date=KEPT_UP, **settings)
    made = Week(live, bridge, running)
    try:
        made.want_all()
        yield made
        made.listener.leave()
    finally:
        bridge.stop()
        running.stop()
