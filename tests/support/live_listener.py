"""A listener over a socket of the stream, who keeps bars as docs/live.md says, goes away, and resumes by version."""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from tests.support.stream_server import Chart, StreamServer, client

_QUIET_S = 1.0


class Listener:
    """A client of /ws/v1/stream in a thread of its own. charts: channel -> what he has; closed: how often he was cut off."""

    def __init__(self, running: StreamServer, channels: Iterable[str]) -> None:
        self.charts = {name: Chart(name) for name in channels}
        self.kinds: Counter[str] = Counter()
        self.errors: list[dict[str, Any]] = []
        self.cut_off = 0
        self._running = running
        self._received_at = time.monotonic()
        self._lock = threading.Lock()
        self._acknowledged = threading.Event()
        self._connect({"op": "subscribe", "id": 1, "channels": list(self.charts), "snapshot": {"bars": 10}})

    def _connect(self, request: dict[str, Any]) -> None:
        self._leaving = False
        self._acknowledged.clear()
        self._open = ExitStack()
        socket = self._open.enter_context(client(self._running, self._running.token())).connection
        socket.send(json.dumps(request))
        self._thread = threading.Thread(target=self._listen, args=(socket,), daemon=True)
        self._thread.start()
        assert self._acknowledged.wait(60), "the channels are there"

    def _listen(self, socket: ClientConnection) -> None:
        try:
            while True:
                for message in json.loads(socket.recv()):
                    self._take(message)
        except ConnectionClosed:
            self.cut_off += 0 if self._leaving else 1

    def _take(self, message: dict[str, Any]) -> None:
        kind = message["t"]
        with self._lock:
            self.kinds[kind] += 1
            if kind == "ack":
                self._acknowledged.set()
            if kind == "error":
                self.errors.append(message)
            if message.get("c") in self.charts:
                self._received_at = time.monotonic()
                self.charts[message["c"]].take(message)

    def leave(self) -> None:
        """Go away."""
        self._leaving = True
        self._open.close()
        self._thread.join(30)

    def resume(self) -> None:
        """Come back, with the version of each channel."""
        known = {name: {"seq": 0, "version": chart.version} for name, chart in self.charts.items()}
        self._connect({"op": "resume", "id": 2, "e": "", "channels": known})

    def is_quiet(self) -> bool:
        """True when nothing was said of bars for a second."""
        return time.monotonic() - self._received_at > _QUIET_S

    def bars(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Channel -> time as text -> the bar."""
        with self._lock:
            return {name: {ts: dict(bar) for ts, bar in chart.bars.items()} for name, chart in self.charts.items()}
