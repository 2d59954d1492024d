"""The bus over PostgreSQL's NOTIFY, with the interface of the one over Redis: bodies as lines, packed into few payloads.

Some hundred messages a second go through. A message larger than a payload is left out; listeners see it by the numbers.
"""

import json
from collections.abc import Iterator, Sequence

from nautilus.db.connection import Database
from nautilus.db.live import notifications
from nautilus.live.envelope import Entry


class NotifyPublisher:
    """Publishes through the database's pool. Unavailable: the database is away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, epoch: str) -> None:
        """Begin an epoch: nothing is kept, so that there is nothing to do."""

    def publish(self, epoch: str, entries: Sequence[Entry]) -> bool:
        """Send messages to who listens now."""
        payloads = list(packed(entries))
        if payloads:
            with self._database.transaction() as cursor:
                notifications.notify(cursor, payloads)
        return True

    def close(self) -> None:
        """Nothing is its own."""


def packed(entries: Sequence[Entry]) -> Iterator[str]:
    """Payloads that hold the messages in order, without those that fit into none."""
    lines: list[bytes] = []
    size = 0
    for body in (entry.body for entry in entries if len(entry.body) <= notifications.MAX_BYTES):
        if lines and size + 1 + len(body) > notifications.MAX_BYTES:
            yield b"\n".join(lines).decode()
            lines, size = [], 0
        lines.append(body)
        size += len(body) + (1 if size else 0)
    if lines:
        yield b"\n".join(lines).decode()


class NotifyReader:
    """Receives from its first `read` on. Not safe to share between threads. Unavailable: read again later; what was sent
    meanwhile is lost."""

    def __init__(self, database: Database, block_s: float = 0.5) -> None:
        self._notifications = notifications.Notifications(database)
        self._block_s = block_s

    def read(self) -> list[Entry]:
        """What came since the last call, waiting a while for the first."""
        return [_entry(line) for payload in self._notifications.read(self._block_s) for line in payload.splitlines()]

    def close(self) -> None:
        self._notifications.close()


def _entry(line: str) -> Entry:
    about = json.loads(line)
    return Entry(about["t"], about["c"], line.encode())
