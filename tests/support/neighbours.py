"""Neighbours that hang, for tests: a relay before a real server that can stop passing anything on, connections kept open.

What hangs is a real socket: connecting works, what is sent is taken, and no answer comes. Nothing is closed, so that only
a time-out of whoever waits tells.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit, urlunsplit


class Relay:
    """Listens on a free port of 127.0.0.1 and passes bytes to and from `target` until it is told to hang.

    target: (host, port), or None for a neighbour that never says anything. accepted: connections so far. overheard: is
    given what clients send before it is passed on.
    """

    overheard: Callable[[bytes], None] | None = None
    drip_s: float = 0.0
    """When set: answers are passed on byte by byte, each after so many seconds."""

    def __init__(self, target: tuple[str, int] | None) -> None:
        self.accepted = 0
        self.port = 0
        self._target = target
        self._writers: list[asyncio.StreamWriter] = []
        self._loop = asyncio.new_event_loop()
        self._passing = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relay", daemon=True)
        self._thread.start()
        self._server = self._do(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = self._server.sockets[0].getsockname()[1]
        if target is not None:
            self.heal()

    def before(self, url: str) -> str:
        """The same URL, by way of this relay."""
        parts = urlsplit(url)
        login, at, _ = parts.netloc.rpartition("@")
        return urlunsplit(parts._replace(netloc=f"{login}{at}127.0.0.1:{self.port}"))

    def hang(self) -> None:
        """From here on nothing is passed on, over no connection."""
        self._loop.call_soon_threadsafe(self._passing.clear)

    def heal(self, *, anew: bool = False) -> None:
        """Pass on again, beginning with what was held back. anew: over new connections alone; the others stay silent."""
        self._loop.call_soon_threadsafe(self._set_anew if anew else self._passing.set)

    def _set_anew(self) -> None:
        self._passing = asyncio.Event()
        self._passing.set()

    def close(self) -> None:
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self._writers.append(writer)
        passing = self._passing
        with suppress(asyncio.CancelledError):  # the end of the test
            await passing.wait()
            assert self._target is not None
            there, back = await asyncio.open_connection(*self._target)
            self._writers.append(back)
            await asyncio.gather(
                self._pass(reader, back, passing, self._overhear), self._pass(there, writer, passing, dripping=True)
            )

    def _overhear(self, data: bytes) -> None:
        if self.overheard is not None:
            self.overheard(data)

    async def _pass(
        self,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        passing: asyncio.Event,
        overhear: Callable[[bytes], None] = lambda data: None,
        *,
        dripping: bool = False,
    ) -> None:
        try:
            while data := await source.read(65_536):
                overhear(data)
                await passing.wait()
                while dripping and self.drip_s and data:
                    sink.write(data[:1])
                    data = data[1:]
                    await asyncio.sleep(self.drip_s)
                sink.write(data)
                await sink.drain()
            await passing.wait()  # nor is it passed on that this side has hung up
        except OSError:
            pass
        finally:
            sink.close()

    async def _end(self) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextmanager
def relay(url: str = "") -> Iterator[Relay]:
    """A relay before the server of a URL; without one, a neighbour that accepts and says nothing."""
    parts = urlsplit(url)
    made = Relay((parts.hostname or "127.0.0.1", parts.port) if parts.port else None)
    try:
        yield made
    finally:
        made.close()
