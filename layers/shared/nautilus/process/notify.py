"""How a process learns of work: NOTIFY from PostgreSQL and messages from SQS. Both only say "look"; both may be lost."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Mapping
from typing import Any

from nautilus.db.connection import Database, readable
from nautilus.infra.executors import Executor
from nautilus.infra.queue import Queue, Received

_RETRY_S = 2.0


class Listener:
    """A thread that waits for NOTIFY on a connection of its own. wake: channel -> what it calls in the event loop."""

    def __init__(self, database: Database, wake: Mapping[str, Callable[[], None]], log: Any) -> None:
        self._database = database
        self._wake = wake
        self._log = log
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._thread = threading.Thread(target=self._run, args=(loop,), name="listen", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(5)

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        while not self._stop.is_set():
            connection: Any = None
            try:
                connection = self._database.listen(*self._wake)
                while not self._stop.is_set():
                    if readable(connection, 0.5):
                        connection.poll()
                        channels = {note.channel for note in connection.notifies}
                        connection.notifies.clear()
                        for channel in channels:
                            loop.call_soon_threadsafe(self._wake[channel])
            except Exception as gone:
                # The database is away, or psycopg2 says so when the server goes; the sweep finds the work meanwhile.
                self._log.warning("listen-lost", extra={"reason": str(gone).strip() or type(gone).__name__})
                self._stop.wait(_RETRY_S)
            finally:
                if connection is not None:
                    with contextlib.suppress(Exception):
                        connection.close()


class Consumer:
    """Receives hints from SQS by long polling. A message is deleted as soon as it is read: the row is the truth."""

    def __init__(self, queue: Queue, wake: Callable[[], None], log: Any) -> None:
        self._queue = queue
        self._wake = wake
        self._log = log
        self._dead_letters: str | None = None
        self._thread = Executor("sqs", 1)

    async def run(self) -> None:
        """Poll until cancelled; without a queue, do nothing."""
        if not self._queue.url:
            return
        while True:
            try:
                # Short polls: a thread that waits cannot be cancelled, and shutting down must not take 20 seconds.
                messages = await self._thread.run(self._queue.receive, 2)
                if messages:
                    self._wake()
                    await self._thread.run(self._finish, messages)
            except asyncio.CancelledError:
                raise
            except Exception as gone:
                # botocore raises many kinds; without the queue NOTIFY and the sweep find the work.
                self._log.warning("queue-unavailable", extra={"reason": str(gone)})
                await asyncio.sleep(_RETRY_S)

    def _finish(self, messages: list[Received]) -> None:
        self._queue.delete([m for m in messages if m.hint is not None])
        for poison in (m for m in messages if m.hint is None):
            if self._dead_letters is None:
                self._dead_letters = self._queue.dead_letter_url()
            self._log.error("message-unreadable", extra={"reason": poison.error, "body": poison.body[:500]})
            self._queue.move_to_dead_letters(poison, self._dead_letters)
