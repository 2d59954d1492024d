"""A client of orders and fills that comes back whenever it is cut off, and who writes orders beside it, at random.

The client keeps nothing but ids: of each channel the last one that it was told, with which it resumes.
"""

import json
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from nautilus.db.connection import Database
from nautilus.db.orders import events, notifications, risk_book
from nautilus.db.orders.events import Event
from tests.support.order_ledger import NOW, commission, corrected, execution, ib_says, placed, row_of, ticket, working


class Follower:
    """Follows channels for as long as it is open, in a thread of its own.

    received: channel -> ids of all events that it was told, in their order. begun: channel -> id of its first snapshot. anew: how
    often it had to begin anew.
    """

    def __init__(self, port: int, headers: Callable[[], Mapping[str, str]], channels: Sequence[str]) -> None:
        self.received: dict[str, list[int]] = {channel: [] for channel in channels}
        self.fills: list[dict[str, Any]] = []
        self.begun: dict[str, int] = {}
        self.anew = 0
        self.connections = 0
        self._url = f"ws://127.0.0.1:{port}/ws/v1/stream"
        self._headers = headers
        self._versions: dict[str, int] = {}
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closed.set()
        self._thread.join(30)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                self._follow()
            except (OSError, WebSocketException, EOFError):
                self._closed.wait(0.05)

    def _follow(self) -> None:
        with connect(
            self._url, additional_headers=self._headers(), proxy=None, compression=None, max_size=2**26
        ) as one:
            self.connections += 1
            places = {name: {"version": version} for name, version in self._versions.items()}
            new = [name for name in self.received if name not in places]
            if places:
                one.send(json.dumps({"op": "resume", "channels": places}))
            if new:
                one.send(json.dumps({"op": "subscribe", "channels": new}))
            while not self._closed.is_set():
                try:
                    frame = one.recv(timeout=0.2)
                except TimeoutError:
                    continue
                for message in json.loads(frame):
                    self._take(message)

    def _take(self, message: Mapping[str, Any]) -> None:
        channel = message.get("c", "")
        if message["t"] == "snapshot":
            self.anew += channel in self._versions
            self.begun.setdefault(channel, message["version"])
            self._versions[channel] = message["version"]
        elif message["t"] in ("order", "fill"):
            self.received[channel].append(message["version"])
            self._versions[channel] = message["version"]
            if message["t"] == "fill":
                self.fills.append(dict(message))


class Writer:
    """Writes what orders go through, in two threads: orders, fills with corrections and commissions, and events of two
    accounts that are committed in another order than their ids have. expected: (exec_id, kind) of what must be told as a fill of
    the first account."""

    def __init__(self, database: Database, accounts: tuple[str, str], seed: int) -> None:
        self.expected: list[tuple[str, str]] = []
        self.failed: list[BaseException] = []
        self._db = database
        self._first, self._second = accounts
        self._random = random.Random(seed)
        self._closed = threading.Event()
        work = ((self._order, self._fill), (self._crossed,))
        self._threads = [threading.Thread(target=self._run, args=(some,), daemon=True) for some in work]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Write no more, once what is under way is committed."""
        self._closed.set()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()
        assert not self.failed, self.failed

    def _run(self, work: Sequence[Callable[[], None]]) -> None:
        try:
            while not self._closed.is_set():
                self._random.choice(work)()
                time.sleep(self._random.uniform(0, 0.02))
        except BaseException as failed:
            self.failed.append(failed)

    def _order(self) -> None:
        placed(self._db, ticket(account=self._random.choice([self._first, self._second])))

    def _fill(self) -> None:
        row = working(self._db, ticket(quantity=10, account=self._first))
        word = execution(row, self._random.randint(1, 9))
        ib_says(self._db, word)
        ib_says(self._db, word)
        self.expected.append((word.exec_id, "execution"))
        if self._random.random() < 0.5:
            revised = corrected(word, word.quantity - 1)
            ib_says(self._db, revised)
            self.expected.append((revised.exec_id, "execution"))
            word = revised
        ib_says(self._db, commission(word))
        self.expected.append((word.exec_id, "commission"))
        assert row_of(self._db, row.id).filled == word.quantity

    def _crossed(self) -> None:
        with self._db.transaction() as slow:
            risk_book.lock_account(slow, self._first)
            events.add(slow, Event("terms", "ib", NOW, "early id, late commit"), account=self._first)
            notifications.notify(slow)
            with self._db.transaction() as fast:
                risk_book.lock_account(fast, self._second)
                events.add(fast, Event("terms", "ib", NOW, "late id, early commit"), account=self._second)
                notifications.notify(fast)
            time.sleep(self._random.choice([0.0, 0.05, 1.2]))
