"""A WebSocket as ASGI has it: frames in, frames out, and an end that does not wait for a client that reads nothing."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from starlette.requests import HTTPConnection
from starlette.types import Message, Receive, Scope, Send

from nautilus.auth.scopes import ROUTES
from nautilus.errors import Unavailable
from stream import messages
from stream.listener import SocketListener

ABORT = "nautilus.abort"
"""Name of the extension of our server (stream/server.py) that closes a socket whose client takes nothing."""
_LAST_WORDS_S = 2.0


class Path(NamedTuple):
    """The route of a socket, for the table of scopes and for lines of the log."""

    path: str


def begin(scope: Scope, path: Path) -> HTTPConnection:
    """The handshake of a socket. LookupError where the table of scopes has no row for it: then nobody is served."""
    scope["route"] = path
    ROUTES["WEBSOCKET", path.path]
    return HTTPConnection(scope)


ClientGone = OSError
"""What sending raises when the client has gone (ASGI 2.4)."""


class OpenSocket:
    """One socket. ClientGone: there is nobody to send to."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send

    async def accept(self, subprotocol: str) -> None:
        message = await self._receive()
        if message["type"] != "websocket.connect":
            raise Unavailable("the handshake was not finished")
        await self._send({"type": "websocket.accept", "subprotocol": subprotocol or None, "headers": []})

    async def receive(self) -> str | bytes | None:
        """The next frame, text or binary; None when the client has gone."""
        message: Message = await self._receive()
        if message["type"] != "websocket.receive":
            return None
        text: str | None = message.get("text")
        return text if text is not None else bytes(message.get("bytes") or b"")

    async def send(self, text: str) -> None:
        """Send one text frame; it returns when the server can take more."""
        await self._send({"type": "websocket.send", "text": text})

    async def close(self, code: int, reason: str) -> None:
        await self._send({"type": "websocket.close", "code": code, "reason": reason})

    def abort(self, last: str, code: int, reason: str) -> None:
        """Close it although the client takes nothing: a last frame and the close lie behind what it has not read yet."""
        end: Callable[[str, int, str], None] | None = self._scope.get("extensions", {}).get(ABORT)
        if end is not None:
            end(last, code, reason)


async def run(
    listener: SocketListener,
    socket: OpenSocket,
    receiving: Awaitable[None],
    last_words: Callable[[int, str], Sequence[str]],
) -> None:
    """Serve a socket until its client has gone or it is to be closed. last_words: the frames to send before a close."""
    sender = asyncio.create_task(listener.send_all())
    receiver = asyncio.ensure_future(receiving)
    try:
        waiting: set[asyncio.Future[Any]] = {sender, receiver, listener.ended}
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if listener.ended.done() and not receiver.done():
            sender.cancel()
            await asyncio.wait({sender})
            await _end(listener, socket, last_words)
        else:
            for task in (one for one in (receiver, sender) if one.done()):
                with suppress(ClientGone):
                    task.result()
    finally:
        for task in (sender, receiver):
            task.cancel()
        await asyncio.gather(sender, receiver, return_exceptions=True)


async def _end(listener: SocketListener, socket: OpenSocket, last_words: Callable[[int, str], Sequence[str]]) -> None:
    code, reason = listener.ended.result()
    if code == 4008:
        words = last_words(code, reason)
        for word in words[:-1]:
            socket.abort(word, 0, "")
        socket.abort(words[-1] if words else "", code, reason)
        return
    try:
        async with asyncio.timeout(_LAST_WORDS_S):
            await listener.flush()
            for word in last_words(code, reason):
                await socket.send(word)
            await socket.close(code, reason)
    except (TimeoutError, ClientGone):
        socket.abort("", code, reason)


def bye(listener: SocketListener, code: int, reason: str, retry_after_s: float | None) -> str:
    """The last message before a close: why, when to come back, and how far the channels were followed."""
    fields: dict[str, object] = {"code": code, "reason": reason}
    if retry_after_s is not None:
        fields["retry_after_s"] = round(retry_after_s, 1)
    outbox = listener.outbox
    known = {
        name: {"seq": outbox.number(name), "version": outbox.version(name) or 0} for name in listener.subscriptions
    }
    fields["resume"] = {"e": listener.hub.epoch, "channels": known}
    return messages.text("bye", fields)
