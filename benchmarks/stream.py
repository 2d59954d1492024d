"""What the stream costs: `python -m benchmarks.stream`. Compare figures of one run alone; clients share the machine.

A publisher sends 25 quotes four times a second over the bus to 1, 100 and 1,000 sockets that have all of them. Beside it a
bare TCP server writes the same number of bytes as often. Then the same with one client that reads nothing among 200.
"""

import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks._stream_clients import BARS, CHANNELS
from dev.credentials import token_settings
from dev.environment import REPOSITORY, environment
from dev.postgres import start_postgres
from dev.process import Child, Group, free_port
from dev.redis import redis_binary, start_redis
from nautilus.auth.tokens.sign import Signer
from nautilus.clock import NS_PER_S, rfc3339
from nautilus.db.bridge import status
from nautilus.db.connection import Database
from nautilus.db.market import instruments
from nautilus.db.migrate import upgrade
from nautilus.infra.bus.notifications import NotifyPublisher
from nautilus.infra.bus.publishing import Bus, Message, Publisher
from nautilus.infra.bus.redis_streams import RedisPublisher
from nautilus.market.instrument import Instrument

SECONDS = 10.0
BEAT_S = 0.25
SOCKETS = (1, 100, 1_000)
HEALTHY = 200


class Figures(NamedTuple):
    """Of one run. core: share of one core that the server took. rss_mb: what it holds at the end."""

    core: float
    rss_mb: float
    bytes: int
    p50_ms: float
    p99_ms: float
    bars_p50_ms: float
    bars_p99_ms: float


class Publishing(threading.Thread):
    """Sends all quotes each beat, and by itself a closed bar, with the time at which they leave."""

    def __init__(self, bus: Bus) -> None:
        super().__init__(daemon=True)
        self._bus = bus
        self._over = threading.Event()

    def run(self) -> None:
        n = 0
        while not self._over.wait(BEAT_S):
            n += 1
            quote = {
                "bid": 100.0 + n / 100,
                "bid_size": 3,
                "ask": 100.1,
                "ask_size": 4,
                "last": 100.05,
                "volume": float(n),
            }
            closed = {"ts": rfc3339(n * 60 * NS_PER_S), "state": "closed", "close": 100.05}
            self._bus.publish([Message("bar", BARS, {**closed, "closed_at": time.monotonic_ns()})])
            self._bus.publish(
                [Message("quote", name, {**quote, "feed": "live", "at": time.monotonic_ns()}) for name in CHANNELS]
            )

    def stop(self) -> None:
        self._over.set()
        self.join()


def cpu_s(pid: int) -> float:
    """Seconds of the processor that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def rss_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def measure(child: Child, port: int, token: str, *, sockets: int, kind: str, stalled: int = 0) -> Figures:
    """Let so many clients listen for a while."""
    words = [str(port), token, str(sockets), str(SECONDS), kind, str(stalled)]
    clients = subprocess.Popen(
        [sys.executable, "-m", "benchmarks._stream_clients", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
        env=dict(environment({})),
    )
    assert clients.stdin is not None
    assert clients.stdout is not None
    assert clients.stdout.readline() == "ready\n"
    time.sleep(2 * BEAT_S)
    began, spent = time.monotonic(), cpu_s(child.pid)
    clients.stdin.write("go\n")
    clients.stdin.flush()
    answer: dict[str, Any] = json.loads(clients.stdout.readline())
    core = (cpu_s(child.pid) - spent) / (time.monotonic() - began)
    figures = Figures(core, rss_mb(child.pid), answer["bytes"], *(answer[name] for name in Figures._fields[3:]))
    clients.wait()
    return figures


def start_stream(group: Group, folder: Path, dsn: str, redis_url: str) -> tuple[Child, int, str]:
    """The process, its port, and an access token for it."""
    keys, port = token_settings(folder), free_port()
    settings = {
        "NAUTILUS_DATABASE_URL": dsn,
        "NAUTILUS_REDIS_URL": redis_url,
        "NAUTILUS_STREAM_PORT": str(port),
        "NAUTILUS_STREAM_SOCKETS_PER_CALLER": "2000",
        "NAUTILUS_STREAM_QUOTES_PER_CALLER": "100000",
        "NAUTILUS_LOG_LEVEL": "WARNING",
        **keys,
    }
    child = group.start(
        "stream",
        [sys.executable, "-c", "import stream.__main__ as m; print('made', flush=True); m.main()"],
        log=folder / "stream.log",
        env=environment(settings),
        ready=lambda child: child.logged("made"),
    )
    child.wait_ready(within_s=60)
    time.sleep(3)
    signer = Signer(
        keys["NAUTILUS_TOKEN_KEY_ID"], keys["NAUTILUS_TOKEN_PRIVATE_KEY"], issuer="nautilus", audience="nautilus-api"
    )
    now_s, session = int(time.time()), "00000000-0000-0000-0000-000000000001"
    token = signer.sign(
        user_id=1, name="", scopes=["bars:read"], session=session, key_id=None, now_s=now_s, expires_s=now_s + 900
    ).token
    return child, port, token


def store_instruments(dsn: str) -> str:
    """The instruments of the channels; the id of the store."""
    database = Database(dsn, name="bench", size=1)
    with database.transaction() as cursor:
        for n, _ in enumerate(CHANNELS):
            words = (f"X{n}.NASDAQ", f"X{n}", "STK", "SMART", "NASDAQ", "USD", f"X{n}", "NMS", "", "", 0.01, "", "", "")
            instruments.store(cursor, Instrument(n + 1, *words), {})
        store = status.store(cursor).id
    database.close()
    return store


def beside_raw(group: Group, folder: Path, figures: Figures, sockets: int) -> Figures:
    """The same bytes over bare TCP."""
    size = max(1, round(figures.bytes / sockets / (SECONDS / BEAT_S)))
    port = free_port()
    child = group.start(
        f"raw-{sockets}",
        [sys.executable, "-m", "benchmarks._raw_tcp", str(port), str(size), str(1 / BEAT_S)],
        log=folder / f"raw-{sockets}.log",
        env=environment({}),
        ready=lambda child: child.logged("ready"),
    )
    child.wait_ready()
    found = measure(child, port, "", sockets=sockets, kind="raw")
    group.stop_child(child)
    return found


def main() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 8_192)), hard))
    with tempfile.TemporaryDirectory() as name, Group() as group:
        folder = Path(name)
        server = start_postgres(group, folder, durable=False)
        cache = start_redis(group, folder) if redis_binary() else None
        group.wait_ready()
        upgrade(server.dsn())
        store = store_instruments(server.dsn())
        database = Database(server.dsn(), name="bench", size=2)
        ways: list[Publisher] = [RedisPublisher(cache.url, store)] if cache else []
        bus = Bus([*ways, NotifyPublisher(database)], lambda: time.time_ns() // 1_000_000)
        child, port, token = start_stream(group, folder, server.dsn(), cache.url if cache else "")
        publishing = Publishing(bus)
        publishing.start()
        run(group, folder, child, port, token)
        publishing.stop()
        bus.close()
        database.close()


def run(group: Group, folder: Path, child: Child, port: int, token: str) -> None:
    idle = rss_mb(child.pid)
    print(f"{len(CHANNELS)} channels at {1 / BEAT_S:g} Hz; the process holds {idle:.0f} MB before the first socket")
    for sockets in SOCKETS:
        ours = measure(child, port, token, sockets=sockets, kind="stream")
        raw = beside_raw(group, folder, ours, sockets)
        share = f"{ours.core:6.1%} of a core, {ours.core / max(raw.core, 0.001):4.1f} times raw TCP ({raw.core:.1%})"
        each = (ours.rss_mb - idle) * 1024 / sockets
        print(f"  {sockets:5} sockets: {share}, p50 {ours.p50_ms} ms, p99 {ours.p99_ms} ms, {each:.0f} KB a socket")
        late = f"p50 {ours.bars_p50_ms} ms, p99 {ours.bars_p99_ms} ms"
        print(f"        closed bars {late} from the publisher; quotes wait for a beat of {BEAT_S * 1000:g} ms as well")
    alone = measure(child, port, token, sockets=HEALTHY, kind="stream")
    beside = measure(child, port, token, sockets=HEALTHY, kind="stream", stalled=1)
    print(
        f"  {HEALTHY} sockets: p99 {alone.p99_ms} ms; with one that reads nothing {beside.p99_ms} ms,"
        f" {beside.rss_mb - alone.rss_mb:+.2f} MB"
    )


if __name__ == "__main__":
    main()
