"""Shows a chart over some minutes (make live-show): the last bars by REST, then live ones over a socket, with the bridge
killed in the middle. In the end the same minutes are requested of history by force, and the chart is put beside them.
"""

if __name__ == "__main__":  # first: what follows takes half a second, in which somebody may press Ctrl-C
    from dev.launch import end_quietly_on_interrupt

    end_quietly_on_interrupt()

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from dev.api_client import ApiError
from dev.environment import drop_foreign
from dev.launch import INTERRUPTED, unwind_on_interrupt
from dev.live_chart import VALUES, LiveChart, differences
from dev.market_desk import MarketDesk
from dev.process import StartError, end_on_signals
from dev.sources import Generated
from dev.stack import stack_of
from dev.up import say
from nautilus.clock import NS_PER_S, ns_of, rfc3339
from nautilus.errors import NautilusError

MINUTES = "data.bars.AAPL.NASDAQ-1-MINUTE-LAST-EXTERNAL"
FIVES = "data.bars.AAPL.NASDAQ-5-MINUTE-LAST-EXTERNAL"
QUOTES = "data.quotes.NASDAQ.AAPL"
FRAMES = {MINUTES: "1m", FIVES: "5m"}
_MINUTE_NS = 60 * NS_PER_S
_AWAY_NS = _MINUTE_NS
"""So long no bridge runs."""
_LATEST_NS = 3 * _MINUTE_NS
"""History has confirmed all bars so long after the last of them."""
_READ_S = 0.2
_BARS = "/api/v1/market-data/historical/bars"


def main() -> int:
    given = options()
    try:
        unwind_on_interrupt()
        end_on_signals()
        drop_foreign()
        with tempfile.TemporaryDirectory() as folder:
            wrong = show(Path(folder), given.minutes, given.speed)
        say("\nNothing runs any more, and nothing was kept.")
        return 1 if wrong else 0
    except (StartError, ApiError, NautilusError, httpx.HTTPError, WebSocketException, OSError) as error:
        print(f"\nThe show did not work: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        say("\nStopped; nothing runs any more.")
        return INTERRUPTED


def options() -> argparse.Namespace:
    made = argparse.ArgumentParser("make live-show", description="Show live bars beside history.")
    made.add_argument("--minutes", type=int, choices=range(4, 121), default=10, metavar="4..120", help="of market time")
    made.add_argument("--speed", type=float, default=1.0, help="market seconds in a second of the machine")
    return made.parse_args()


def show(folder: Path, minutes: int, speed: float = 1.0) -> Sequence[str]:
    """The whole show, with a stack of its own in a folder; where the chart and history differ."""
    simulator = ("--clock", f"rate:{speed:g}", "--latency", "none")
    with stack_of(folder, Generated(), simulator=simulator) as stack:
        say("Nautilus with a simulated market ...")
        stack.start()
        with closing(MarketDesk(stack)) as desk:
            desk.open_market()
            say(f"It is {desk.now():%A, %Y-%m-%d}, and New York trades. Times are the market's, UTC.")
            last_bars(desk)
            with open_socket(desk) as socket:
                return Show(desk, socket, minutes).run()


def last_bars(desk: MarketDesk) -> None:
    """The last bars by REST; they are requested of IB first, as the database is empty."""
    end = _now_ns(desk) // _MINUTE_NS * _MINUTE_NS
    window = {"start": rfc3339(end - 15 * _MINUTE_NS), "end": rfc3339(end)}
    found = history(desk, "1m", window)
    desk.line("REST", f"GET {_BARS}: {len(found)} bars, the last three:")
    for ts in sorted(found)[-3:]:
        desk.line("REST", _words(ts, found[ts]))


def history(desk: MarketDesk, frame: str, window: Mapping[str, str], **more: str) -> dict[str, Any]:
    """The bars of a range by REST, requested of IB before: what is missing, or with mode `force` all."""
    job = desk.trader.post("/api/v1/ib/backfill", {"symbol": "AAPL", "timeframe": "1m", **window, **more})
    if job["job_id"]:
        path = f"/api/v1/historical/backfill/{job['job_id']}"
        desk.wait(lambda: desk.trader.get(path)["finished_at"], "history has answered")
    found = desk.trader.get(_BARS, symbol="AAPL", timeframe=frame, **window)["candles"]
    return {rfc3339(int(row["ts"])): row for row in found}


@contextmanager
def open_socket(desk: MarketDesk) -> Any:
    """A socket as a page opens it: with a ticket in its first message."""
    ticket = desk.trader.post("/api/v1/stream/tickets", {})["ticket"]
    url = desk.stack.url.replace("http", "ws", 1) + "/ws/v1/stream"
    with connect(url, proxy=None) as socket:
        socket.send(json.dumps({"op": "auth", "ticket": ticket}))
        channels = [*FRAMES, QUOTES]
        socket.send(json.dumps({"op": "subscribe", "channels": channels, "snapshot": {"bars": 3}, "chart": True}))
        desk.line("socket", f"subscribed to {', '.join(channels)}")
        yield socket


class Show:
    """The minutes over the socket. start, kill_at, end: market time, ns."""

    def __init__(self, desk: MarketDesk, socket: ClientConnection, minutes: int) -> None:
        self._desk = desk
        self._socket = socket
        self._charts = {name: LiveChart(name) for name in FRAMES}
        self._kinds: Counter[str] = Counter()
        self._quote: Mapping[str, Any] = {}
        self.start = -(-_now_ns(desk) // _MINUTE_NS) * _MINUTE_NS
        self.end = self.start + minutes * _MINUTE_NS
        self.kill_at = self.start + minutes * _MINUTE_NS // 2 + 20 * NS_PER_S

    def run(self) -> Sequence[str]:
        """All of it; where chart and history differ."""
        self._until(self.kill_at)
        self._desk.stack.running("bridge").kill()
        self._desk.line("bridge", "killed (SIGKILL); the socket stays open")
        self._until(self.kill_at + _AWAY_NS)
        self._desk.stack.restart("bridge")
        self._desk.line("bridge", "another one starts")
        self._until(self.end)
        self._settle()
        return self._compare()

    def _until(self, market_ns: int) -> None:
        while _now_ns(self._desk) < market_ns:
            self._read()

    def _settle(self) -> None:
        """Until history has answered for each bar, or should have."""
        while _now_ns(self._desk) < self.end + _LATEST_NS and not self._are_confirmed():
            self._read()

    def _are_confirmed(self) -> bool:
        return all(self._is_confirmed(chart) for chart in self._charts.values())

    def _is_confirmed(self, chart: LiveChart) -> bool:
        start, end = self._span(chart.channel)
        return chart.is_confirmed(rfc3339(start), rfc3339(end), (end - start) // _step(chart.channel))

    def _span(self, channel: str) -> tuple[int, int]:
        """The bars of a channel that lie in these minutes as a whole."""
        step = _step(channel)
        return -(-self.start // step) * step, self.end // step * step

    def _read(self) -> None:
        """Take what comes, and tell of what is no quote and no bar that forms."""
        try:
            frame = self._socket.recv(timeout=_READ_S)
        except TimeoutError:
            return
        for message in json.loads(frame):
            self._kinds[message["t"]] += 1
            for chart in self._charts.values():
                chart.take(message)
            self._tell(message)

    def _tell(self, message: Mapping[str, Any]) -> None:
        kind, frame = message["t"], FRAMES.get(message.get("c", ""), "")
        if kind == "quote":
            self._quote = message
        elif kind == "snapshot" and frame:
            bars = len(message["bars"]) + len(message["provisional"])
            self._desk.line("snapshot", f"{frame}: {bars} bars, version {message['version']}")
        elif kind == "bar" and message["state"] != "forming":
            who = "live" if message["state"] == "closed" else "history"
            quote = f"; quote {self._quote['bid']} / {self._quote['ask']}" if who == "live" and self._quote else ""
            self._desk.line(who, f"{frame} {_words(message['ts'], message)} {message['state']}{quote}")
        elif kind == "confirmed":
            self._desk.line("history", f"{frame} confirmed from {_time(message['start'])} to {_time(message['end'])}")
        elif kind in ("gap", "filled"):
            why = f", {message['reason']}" if kind == "gap" else ""
            self._desk.line(kind, f"{frame} from {_time(message['start'])} to {_time(message['end'])}{why}")
        elif kind == "stream" and frame:
            self._desk.line("stream", f"{frame} {message['state']} {message['source']} {message['reason']}".rstrip())
        elif kind in ("reset", "error", "bye"):
            self._desk.line(kind, message.get("detail") or message.get("reason") or "the bus has a new epoch")

    def _compare(self) -> Sequence[str]:
        self._desk.line("socket", ", ".join(f"{count:,} {kind}" for kind, count in sorted(self._kinds.items())))
        found: list[str] = []
        for name, frame in FRAMES.items():
            start, end = map(rfc3339, self._span(name))
            if start >= end:
                self._desk.line("comparison", f"{frame}: the show was too short for a whole bar")
                continue
            shown = self._charts[name].between(start, end)
            true = history(self._desk, frame, {"start": start, "end": end}, mode="force")
            wrong = differences(shown, true)
            states = Counter(bar["state"] for bar in shown.values())
            of = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
            self._desk.line(
                "comparison",
                f"{frame}: {len(shown)} bars live ({of}), {len(true)} in history, requested by force: "
                + (f"{len(wrong)} differences" if wrong else "all equal"),
            )
            for line in wrong:
                self._desk.line("comparison", line)
            found += wrong
        return found


def _step(channel: str) -> int:
    return {"1m": 1, "5m": 5}[FRAMES[channel]] * _MINUTE_NS


def _now_ns(desk: MarketDesk) -> int:
    return ns_of(desk.now())


def _time(ts: str) -> str:
    return ts[11:19]


def _words(ts: str, bar: Mapping[str, Any]) -> str:
    return f"{_time(ts)} " + " ".join(f"{name} {bar[name]:,}" for name in VALUES)


if __name__ == "__main__":
    sys.exit(main())
