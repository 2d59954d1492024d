"""Wakes the runs that follow bars: what comes over the bus says of which series there is something to read, and nothing more."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol

from nautilus.db.bridge import status
from nautilus.db.connection import Database
from nautilus.infra.bus.notifications import NotifyReader
from nautilus.infra.bus.redis_streams import RedisReader
from nautilus.live import channels
from nautilus.live.envelope import Entry

_BARS = "data.bars."
_PAUSE_S = 1.0


class _Reader(Protocol):
    def read(self) -> list[Entry]: ...

    def close(self) -> None: ...


class BarSeries(NamedTuple):
    """What bars are of."""

    instrument_id: str
    timeframe: str


class BarSigns:
    """Which messages of bars are news for who follows them: each but a bar that goes on forming."""

    def __init__(self) -> None:
        self._forming: dict[str, str] = {}

    def news(self, entries: Iterable[Entry]) -> frozenset[BarSeries]:
        """The series of which there is something to read."""
        found = set()
        for entry in entries:
            if entry.channel.startswith(_BARS) and not self._goes_on(entry):
                channel = channels.parse(entry.channel)
                found.add(BarSeries(channel.instrument_id, channel.timeframe))
        return frozenset(found)

    def _goes_on(self, entry: Entry) -> bool:
        message = json.loads(entry.body)
        if message.get("state") != "forming":
            return False
        before = self._forming.get(entry.channel)
        self._forming[entry.channel] = message["ts"]
        return bool(before == message["ts"])


class BarBus:
    """A thread that reads the bus: over Redis where there is one, else over PostgreSQL. Where it fails, runs look each second.

    wake: called in the loop with the series of which there is something to read.
    """

    def __init__(
        self, database: Database, redis_url: str, wake: Callable[[frozenset[BarSeries]], None], log: Any
    ) -> None:
        self._database = database
        self._redis_url = redis_url
        self._wake = wake
        self._log = log
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._thread = threading.Thread(target=self._run, args=(loop,), name="bus", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(5)

    def _reader(self) -> _Reader:
        if not self._redis_url:
            return NotifyReader(self._database)
        with self._database.transaction() as cursor:
            store = status.store(cursor).id
        return RedisReader(self._redis_url, store)

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        reader: _Reader | None = None
        signs = BarSigns()
        while not self._stop.is_set():
            try:
                reader = reader or self._reader()
                if news := signs.news(reader.read()):
                    loop.call_soon_threadsafe(self._wake, news)
            except Exception as gone:
                # Whatever a neighbour's library says: rows are read each second all the same.
                if self._stop.is_set() or loop.is_closed():
                    break
                self._log.info("strategy-bus-away", extra={"reason": str(gone).strip() or type(gone).__name__})
                self._stop.wait(_PAUSE_S)
        if reader is not None:
            reader.close()
