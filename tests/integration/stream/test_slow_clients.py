"""A client that reads nothing costs the others nothing: it is closed, and comes back without having lost a bar."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.client import ClientProtocol
from websockets.frames import Opcode
from websockets.uri import parse_uri

from nautilus.clock import rfc3339
from nautilus.infra.bus.publishing import Message
from stream.outbox import Outbox
from tests.support.stream_server import BARS, MINUTE, OPEN, QUOTES, Chart, Publishing, StreamServer, client, wait

STUCK_S = 1.5


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


def load(bridge: Publishing, n: int) -> None:
    """A beat's worth of large quotes, so that buffers fill soon."""
    bridge.publish(
        *(Message("quote", QUOTES, {"bid": float(n), "feed": "live", "padding": "x" * 7_000}) for _ in range(4)),
    )


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
    with client(running, running.token(9)) as again:
        again.send(op="resume", id=1, **bye["resume"])
        again.next("snapshot", "resumed", c=BARS)
        for message in again.received:
            chart.take(message)
    assert [ts for ts, _ in chart.closes()] == [rfc3339(OPEN + m * MINUTE) for m in range(n // 10 + 1)]
    assert [m["ts"] for m in healthy.received if m["t"] == "bar"] == [
        rfc3339(OPEN + m * MINUTE) for m in range(1, n // 10 + 1)
    ]


def test_an_outbox_that_keeps_every_quote_would_grow(
    bridge: Publishing, running: StreamServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mutant: quotes wait in order, as bars do."""

    def keep(self: Outbox, quotes: Any) -> None:
        for message in quotes.values():
            self.put(message.text)

    monkeypatch.setattr(Outbox, "put_quotes", keep)
    with stalled(running) as slow:
        slow.send(op="subscribe", id=1, channels=[QUOTES])
        slow.read(until="snapshot")
        [listener] = running.stream.open
        most, n = 0, 0
        while listener in running.stream.open and most <= 10 and n < 2_000:
            n += 1
            load(bridge, n)
            most = max(most, listener.outbox.waiting)
        assert most > 10


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
