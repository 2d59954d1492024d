"""The bus over PostgreSQL: notifications on one channel, for where there is no Redis. They are lost on who does not listen."""

from collections.abc import Sequence
from typing import Any

import psycopg2

from nautilus.db.connection import Database, readable
from nautilus.db.cursor import Cursor
from nautilus.errors import Unavailable

CHANNEL = "nautilus_bus"
MAX_BYTES = 7_900
"""PostgreSQL refuses a payload of 8,000 bytes."""


def notify(cursor: Cursor, payloads: Sequence[str]) -> None:
    """Send payloads, in order, when the transaction commits. Equal payloads of one transaction arrive once."""
    cursor.execute("SELECT pg_notify(%s, payload) FROM unnest(%s::text[]) AS payload", (CHANNEL, list(payloads)))


class Notifications:
    """What is sent on a channel from the first `read` on, received by a connection of its own. Not safe to share between
    threads."""

    def __init__(self, database: Database, channel: str = CHANNEL) -> None:
        self._database = database
        self._channel = channel
        self._connection: Any = None

    def read(self, wait_s: float) -> list[str]:
        """The payloads since the last call, waiting a while for the first. Unavailable: the database is away; the next call
        connects again, and what was sent meanwhile is lost."""
        try:
            if self._connection is None:
                self._connection = self._database.listen(self._channel)
            if not readable(self._connection, wait_s):
                return []
            self._connection.poll()
        except psycopg2.Error as gone:
            self.close()
            raise Unavailable(f"the database is gone ({gone})".strip(), code="database-unavailable") from gone
        received = [str(note.payload) for note in self._connection.notifies]
        self._connection.notifies.clear()
        return received

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
