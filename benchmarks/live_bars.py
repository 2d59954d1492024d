"""How long a closed bar is on its way from the bridge to a socket: `python -m benchmarks.live_bars`.

PostgreSQL, Redis, the simulator, the bridge and the stream are processes of their own; market time passes as the machine's
does. A socket has the bars of five seconds of some stocks. The time is taken from `seen`, when the bridge had what closed the
bar, to the frame here. Within it the bridge writes the bar's row and publishes it.
"""

import json
import os
import tempfile
import time
from pathlib import Path

from websockets.sync.client import connect

from benchmarks.stream import start_stream
from dev.postgres import start_postgres
from dev.process import Group
from dev.redis import redis_binary, start_redis
from nautilus.clock import NS_PER_MS, MarketTime, parse_rfc3339
from nautilus.db.bridge import status
from nautilus.db.market import instruments
from nautilus.db.migrate import upgrade
from nautilus.live import channels
from tests.support.live_stack import LiveStack, live_stack
from tests.support.stack import service_stack

NOON = "2026-03-02T17:00:00Z"
STOCKS = ("AAPL", "MSFT", "GOOGL", "AMZN", "TSLA", "NVDA", "QQQ", "TLT", "SPY", "IWM")
SECONDS = 60.0


def market_time(live: LiveStack) -> MarketTime:
    """How market time follows from machine time, as the bridge has it."""
    with live.stack.db.transaction() as cursor:
        found = status.latest(cursor)
    assert found is not None
    return found.clock


def subscribed(live: LiveStack) -> list[str]:
    """The channels of the stocks, which the bridge looks up first."""
    con_ids = [live.instrument(symbol) for symbol in STOCKS]
    with live.stack.db.transaction() as cursor:
        found = instruments.several(cursor, con_ids)
    return [channels.bars(one.instrument_id, "5s", "TRADES").name for one in found.values()]


def late_ms(live: LiveStack, port: int, token: str) -> list[float]:
    """For each bar that closes within a while, how late it came."""
    names, clock, found = subscribed(live), market_time(live), []
    headers = {"Authorization": f"Bearer {token}"}
    with connect(f"ws://127.0.0.1:{port}/ws/v1/stream", additional_headers=headers, proxy=None) as socket:
        socket.send(json.dumps({"op": "subscribe", "channels": names, "snapshot": {"bars": 0}}))
        for name in names:
            live.wait(lambda n=name: live.messages("bar", n), f"{name} has bars")
        end = time.monotonic() + SECONDS
        begun = clock.at(time.time_ns())
        while time.monotonic() < end:
            frame = socket.recv(timeout=30)
            now = clock.at(time.time_ns())
            for message in json.loads(frame):
                seen = parse_rfc3339(message["seen"]) if message.get("state") == "closed" else 0
                if seen > begun:
                    found.append((now - seen) / NS_PER_MS)
    return sorted(found)


def main() -> None:
    with tempfile.TemporaryDirectory() as name, Group() as group:
        folder = Path(name)
        (folder / "stream").mkdir()
        server = start_postgres(group, folder, durable=True)
        cache = start_redis(group, folder) if redis_binary() else None
        group.wait_ready()
        upgrade(server.dsn())
        url = cache.url if cache else ""
        options = ("--clock", "real", "--start", NOON, "--latency", "none")
        with service_stack(group, folder, server.dsn(), *options) as stack, live_stack(stack, url) as live:
            live.start_bridge()
            _, port, token = start_stream(group, folder / "stream", server.dsn(), url)
            found = late_ms(live, port, token)
        p50, p99 = (found[int(len(found) * share)] for share in (0.5, 0.99))
        print(f"{len(found)} closed bars of {len(STOCKS)} stocks, from the bridge's receipt to a socket:")
        print(f"  p50 {p50:.0f} ms, p99 {p99:.0f} ms, at a load of {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
