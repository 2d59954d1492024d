"""The old front end as its own server would give it: the files of a built copy, and our API behind the same address, with a key
that the page does not have."""

import asyncio
import mimetypes
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from urllib.parse import unquote, urlsplit

_OURS = ("/api/", "/health", "/ws/")
_PIECE = 64 * 1024


class FrontEndServer:
    """Serves until closed, on 127.0.0.1. folder: with index.html. api: address of the API. key: what is put before it.

    answers: path -> body, which the page gets instead of the API's answer: to see that the walk finds what the page dies of.
    """

    def __init__(
        self, folder: Path, api: str, key: str, *, port: int = 0, answers: Mapping[str, str] | None = None
    ) -> None:
        self._folder = folder.resolve()
        if not (self._folder / "index.html").is_file():
            raise FileNotFoundError(f"{folder} has no index.html: give the folder of a built copy")
        self._api = urlsplit(api)
        self._key = key
        self.answers = dict(answers or {})
        self._loop = asyncio.new_event_loop()
        started: Future[int] = Future()
        self._thread = threading.Thread(target=self._run, args=(port, started), daemon=True, name="front-end")
        self._thread.start()
        self.port = started.result(30)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self, port: int, started: "Future[int]") -> None:
        asyncio.set_event_loop(self._loop)
        try:
            server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", port))
        except OSError as failed:
            self._loop.close()
            started.set_exception(failed)
            return
        started.set_result(server.sockets[0].getsockname()[1])
        self._loop.run_forever()
        server.close()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    # ---- one connection, one request ---------------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            path = urlsplit(head.split(b" ", 2)[1].decode("latin-1")).path
            if path in self.answers:
                _send(writer, 200, "application/json", self.answers[path].encode())
            elif path.startswith(_OURS):
                await self._forward(head, reader, writer)
            else:
                self._send_file(writer, path)
            await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, IndexError, OSError):
            pass
        finally:
            writer.close()

    async def _forward(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Hand a request on with the key, and everything after it both ways: a socket stays open."""
        lines = head.decode("latin-1").split("\r\n")[:-2]
        is_socket = any(line.lower().startswith("upgrade:") for line in lines)
        kept = [line for line in lines if is_socket or not line.lower().startswith("connection:")]
        kept += [f"X-API-Key: {self._key}", *(() if is_socket else ("Connection: close",)), "", ""]
        api_reader, api_writer = await asyncio.open_connection(self._api.hostname, self._api.port)
        api_writer.write("\r\n".join(kept).encode("latin-1"))
        there = asyncio.ensure_future(_copy(reader, api_writer))
        try:
            await _copy(api_reader, writer)
        finally:
            there.cancel()
            api_writer.close()

    def _send_file(self, writer: asyncio.StreamWriter, path: str) -> None:
        """A file of the folder; any other path is one of the page's own, which index.html serves."""
        file = (self._folder / unquote(path).lstrip("/")).resolve()
        if not file.is_file() or not file.is_relative_to(self._folder):
            file = self._folder / "index.html"
        kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        _send(writer, 200, kind, file.read_bytes())


def _send(writer: asyncio.StreamWriter, status: int, kind: str, body: bytes) -> None:
    head = f"HTTP/1.1 {status} OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    writer.write(head.encode() + body)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(_PIECE):
        writer.write(piece)
        await writer.drain()
