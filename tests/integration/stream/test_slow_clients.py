"""A client that reads nothing costs the others nothing: it is closed, and comes back without having lost a bar."""

import asyncio
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import closing, contextmanager
from math import inf
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.client import ClientProtocol
from websockets.frames import Opcode
from websockets.uri import parse_uri

from nautilus.clock import rfc3339
from nautilus.infra.bus.publishing import Message
from stream.open_socket import OpenSocket
from stream.outbox import Outbox
from tests.support.stream_server import BARS, MINUTE, OPEN, QUOTES, Chart, Publishing, StreamServer, client, wait

STUCK_S = 1.5
_AT = re.compile(r'"at":(\d+)')


@pytest.fixture
def running(bridge: Publishing, tmp_path: Path) -> Iterator[StreamServer]:
    made = StreamServer(bridge.stored.dsn, tmp_path, stream_stuck_s=STUCK_S, stream_beat_ms=50)
    yield made
    made.stop()


class Stalled:
    """A client with a small receive window that reads when it is told to, and else nothing: no frame, no byte."""

    def __init__(self, running: StreamServer) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        self._socket.settimeout(20)
        self._socket.connect(("127.0.0.1", running.port))
        self._protocol = ClientProtocol(parse_uri(f"ws://{running.address}/ws/v1/stream"))
        request = self._protocol.connect()
        request.headers["Authorization"] = f"Bearer {running.token(9)}"
        self._protocol.send_request(request)
        self._flush()
        self.received: list[dict[str, Any]] = []
        self.code = 0
        self.read(until="welcome")

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self._socket.sendall(data)

    def send(self, **request: Any) -> None:
        self._protocol.send_text(json.dumps(request).encode())
        self._flush()

    def read(self, *, until: str) -> None:
        """Read on until a message of this kind came, or the close."""
        while not self.code and not any(m["t"] == until for m in self.received):
            data = self._socket.recv(65_536)
            if not data:
                return
            self._protocol.receive_data(data)
            for event in self._protocol.events_received():
                opcode = getattr(event, "opcode", None)
                if opcode is Opcode.TEXT:
                    self.received += json.loads(bytes(event.data))  # type: ignore[union-attr]
                elif opcode is Opcode.CLOSE:
                    self.code = int.from_bytes(event.data[:2], "big")  # type: ignore[union-attr]

    def close(self) -> None:
        self._socket.close()


@contextmanager
def stalled(running: StreamServer) -> Iterator[Stalled]:
    made = Stalled(running)
    try:
        yield made
    finally:
        made.close()


def load(bridge: Publishing, n: int, **more: Any) -> None:
    """A beat's worth of large quotes, so that buffers fill soon."""
    quote = {"bid": float(n), "feed": "live", "padding": "x" * 7_000, **more}
    bridge.publish(*(Message("quote", QUOTES, quote) for _ in range(4)))


def keep_every_quote(monkeypatch: pytest.MonkeyPatch) -> None:
    def keep(self: Outbox, quotes: Any) -> None:
        for message in quotes.values():
            self.put(message.text)

    monkeypatch.setattr(Outbox, "put_quotes", keep)


def test_a_client_that_reads_nothing_is_closed_and_the_others_hear_all(
    bridge: Publishing, running: StreamServer
) -> None:
    bridge.confirm(0, 0)
    stream, chart = running.stream, Chart()
    with stalled(running) as slow, client(running, running.token()) as healthy:
        slow.send(op="subscribe", id=1, channels=[BARS, QUOTES])
        slow.read(until="snapshot")
        healthy.subscribe(BARS, QUOTES)
        healthy.next("snapshot", c=BARS)
        [listener] = [one for one in stream.open if one.caller.id == "user:9"]
        most, n = 0, 0
        deadline = time.monotonic() + 60
        while listener in stream.open:
            n += 1
            load(bridge, n)
            if n % 10 == 0:
                bridge.closed(n // 10)
            healthy.next("quote")
            most = max(most, listener.outbox.waiting)
            assert time.monotonic() < deadline, "still open"
        assert most <= n // 10 + 2, "quotes do not pile up, closed bars are all there"
        assert listener.outbox.waiting <= n // 10 + 2
        slow.read(until="nothing")
        assert slow.code == 4008
        kinds = [m["t"] for m in slow.received]
        assert kinds[-2:] == ["lagged", "bye"]
        assert slow.received[-2]["skipped"] > 0
        bye = slow.received[-1]
        for message in slow.received:
            chart.take(message)
        newest = rfc3339(OPEN + n // 10 * MINUTE)
        if not any(m["t"] == "bar" and m["ts"] == newest for m in healthy.received):
            healthy.next("bar", ts=newest)
    with client(running, running.token(9)) as again:
        again.send(op="resume", id=1, **bye["resume"])
        again.next("snapshot", "resumed", c=BARS)
        for message in again.received:
            chart.take(message)
    assert [ts for ts, _ in chart.closes()] == [rfc3339(OPEN + m * MINUTE) for m in range(n // 10 + 1)]
    assert [m["ts"] for m in healthy.received if m["t"] == "bar"] == [
        rfc3339(OPEN + m * MINUTE) for m in range(1, n // 10 + 1)
    ]


HEALTHY, ROUND_S = 200, 1.5
BUSY_MS = 60
"""What a machine that does much else may add; `make bench` measures the share."""


class Followers:
    """Sockets that follow the quotes, in an event loop of their own. late_ms: how old each quote was when it came."""

    def __init__(self, running: StreamServer) -> None:
        self.late_ms: list[float] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._tasks: list[Future[None]] = []
        self._sockets: list[ClientConnection] = []
        for n in range(HEALTHY):
            opened = asyncio.run_coroutine_threadsafe(self._open(running, n // 10 + 100), self._loop).result(30)
            self._sockets.append(opened)
            self._tasks.append(asyncio.run_coroutine_threadsafe(self._listen(opened), self._loop))

    async def _open(self, running: StreamServer, user: int) -> ClientConnection:
        headers = {"Authorization": f"Bearer {running.token(user)}"}
        address = f"ws://{running.address}/ws/v1/stream"
        socket = await connect(address, additional_headers=headers, proxy=None, compression=None, max_size=2**24)
        await socket.send(json.dumps({"op": "subscribe", "channels": [QUOTES]}))
        return socket

    async def _listen(self, socket: ClientConnection) -> None:
        async for frame in socket:
            now = time.monotonic_ns()
            self.late_ms.extend((now - int(at)) / 1e6 for at in _AT.findall(str(frame))[-1:])

    def p99_ms(self, bridge: Publishing) -> float:
        """While quotes are published for a while."""
        self.late_ms = []
        until, n = time.monotonic() + ROUND_S, 0
        while time.monotonic() < until:
            n += 1
            load(bridge, n, at=time.monotonic_ns())
            time.sleep(0.025)
        return sorted(self.late_ms)[len(self.late_ms) * 99 // 100] if len(self.late_ms) >= HEALTHY else inf

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(60)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        for one in self._sockets:
            one.transport.abort()
            await one.wait_closed()


def beside_one_that_reads_nothing(bridge: Publishing, running: StreamServer, rounds: int) -> tuple[float, float, int]:
    """(best p99 in ms without a client that reads nothing, with one, bytes that the process holds for this one). What else the
    machine does only adds, so the best of several rounds is compared; they take turns."""
    alone, beside, held = [], [], 0
    with closing(Followers(running)) as followers:
        for _ in range(rounds):
            alone.append(followers.p99_ms(bridge))
            with stalled(running) as slow:
                slow.send(op="subscribe", id=1, channels=[BARS, QUOTES])
                slow.read(until="snapshot")
                wait(lambda: fill(bridge, running), "its buffers are full")
                beside += [followers.p99_ms(bridge), followers.p99_ms(bridge)]
                held = max(held, waiting_bytes(running))
            wait(lambda: len(running.stream.open) == HEALTHY, "it is gone")
    return min(alone), min(beside), held


def fill(bridge: Publishing, running: StreamServer) -> bool:
    """Send bars that the client that reads nothing alone has; True when the server waits for it."""
    bar = {"ts": rfc3339(OPEN), "state": "closed", "padding": "x" * 7_000}
    bridge.publish(*(Message("bar", BARS, bar) for _ in range(5)))
    return stalled_listener(running).stuck_since is not None


def stalled_listener(running: StreamServer) -> Any:
    [found] = [one for one in list(running.stream.open) if one.caller.id == "user:9"]
    return found


def waiting_bytes(running: StreamServer) -> int:
    """What waits for the client that reads nothing, in its outbox and in the buffers of the server."""
    outbox = stalled_listener(running).outbox
    texts = [one.text for one in (*outbox._queue, *outbox._newest.values())]
    buffers = [each.transport.get_write_buffer_size() for each in list(running._server.server_state.connections)]
    return sum(map(len, texts)) + max(buffers)


def one_after_the_other(lock: asyncio.Lock) -> Any:
    """The mutant: a frame is sent when the one of another socket is taken."""
    send = OpenSocket.send

    async def in_turn(self: OpenSocket, text: str) -> None:
        async with lock:
            await send(self, text)

    return in_turn


@pytest.mark.parametrize("mutant", [None, "one after the other"])
def test_the_others_hear_as_soon_as_without_a_client_that_reads_nothing(
    bridge: Publishing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mutant: str | None
) -> None:
    if mutant == "one after the other":
        monkeypatch.setattr(OpenSocket, "send", one_after_the_other(asyncio.Lock()))
    running = StreamServer(bridge.stored.dsn, tmp_path, stream_stuck_s=600, stream_queue=100_000)
    try:
        alone, beside, held = beside_one_that_reads_nothing(bridge, running, 1 if mutant else 4)
        assert (beside < 1.1 * alone + BUSY_MS) is (mutant != "one after the other"), (alone, beside)
        assert held < 2**20
    finally:
        monkeypatch.undo()
        running._server.force_exit = True  # of two hundred clients that are cut off, no goodbye is waited for
        running.stop()


@pytest.mark.parametrize("keeps", [False, True])
def test_an_outbox_that_keeps_every_quote_would_grow(
    bridge: Publishing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keeps: bool
) -> None:
    """The mutant: quotes wait in order, as bars do. Nobody closes the socket here, however long it takes nothing."""
    if keeps:
        keep_every_quote(monkeypatch)
    running = StreamServer(bridge.stored.dsn, tmp_path, stream_beat_ms=50, stream_stuck_s=600)
    try:
        with stalled(running) as slow:
            slow.send(op="subscribe", id=1, channels=[QUOTES])
            slow.read(until="snapshot")
            [listener] = running.stream.open
            loads = iter(range(1, 10_000))

            def waiting() -> int:
                load(bridge, next(loads))
                return int(listener.outbox.waiting)

            wait(lambda: waiting() > 10 or listener.outbox.skipped > 200, "quotes wait, or are replaced")
            assert (listener.outbox.waiting > 10) is keeps
    finally:
        running.stop()


def test_more_bars_than_may_wait_close_the_socket(bridge: Publishing, tmp_path: Path) -> None:
    running = StreamServer(bridge.stored.dsn, tmp_path, stream_queue=100, stream_stuck_s=600)
    bridge.confirm(0, 0)
    try:
        with stalled(running) as slow:
            slow.send(op="subscribe", id=1, channels=[BARS])
            slow.read(until="snapshot")
            [listener] = running.stream.open
            bar = {"ts": rfc3339(OPEN), "state": "closed", "padding": "x" * 7_000}

            def flood() -> bool:
                bridge.publish(*(Message("bar", BARS, bar) for _ in range(20)))
                return listener not in running.stream.open

            wait(flood, "it is closed")
            slow.read(until="nothing")
            assert slow.code == 4008
    finally:
        running.stop()
