"""The server of sockets: uvicorn with a listening socket of our own, and goodbyes before it ends."""

import socket
from typing import cast

import uvicorn
from starlette.types import ASGIApp
from uvicorn._types import ASGISendEvent
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

from stream.open_socket import ABORT
from stream.service import Stream

SEND_BUFFER_BYTES = 131_072
"""Of the kernel, for each socket. With the default of some megabytes a client that reads nothing is not noticed for long."""
PING_S = 20.0
LARGEST_FRAME_BYTES = 1_048_576
"""A frame above our own limit gets an error and the socket stays open; above this one the library closes with 1009."""
_GRACE_S = 3
_LINGER_S = 10.0
"""So long a client that took nothing may still read what was sent before its close."""


class Protocol(WebSocketsSansIOProtocol):
    """The library's protocol, and a way to close a socket while what was written cannot be sent."""

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if self.handshake_initiated and not self.close_sent:
            extensions = cast(dict[str, object], self.scope["extensions"])
            extensions[ABORT] = self.abort

    async def send(self, message: ASGISendEvent) -> None:
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body"):
            self.handshake_complete = True  # the refusal was answered; else the library takes it for broken off

    def abort(self, last: str, code: int, reason: str) -> None:
        """Write a last text and a close behind what waits, and cut the connection a while later. code 0: the text alone."""
        if self.close_sent or self.transport.is_closing():
            return
        if last:
            self.conn.send_text(last.encode())
        if code:
            self.conn.send_close(code, reason)
            self.close_sent = True
            self.stop_keepalive()
            self.close_timer = self.loop.call_later(_LINGER_S, self.transport.abort)
            if self.read_paused:
                self.read_paused = False
                self.transport.resume_reading()
        self.transport.write(b"".join(self.conn.data_to_send()))


class Server(uvicorn.Server):
    """Starts the stream before the first connection, and ends it before the last."""

    def __init__(self, config: uvicorn.Config, stream: Stream) -> None:
        super().__init__(config)
        self._stream = stream

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await self._stream.start()
        await super().startup(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        await self._stream.end()
        await super().shutdown(sockets)


def server(app: ASGIApp, stream: Stream, **options: object) -> Server:
    """A server of this app, which has the sockets of this stream."""
    return Server(
        uvicorn.Config(
            app,
            access_log=False,
            log_level="warning",
            lifespan="off",
            # nautilus.http.app decides whose X-Forwarded-For is believed; uvicorn would believe everybody on this machine.
            proxy_headers=False,
            workers=1,  # else uvicorn takes the number that WEB_CONCURRENCY says to others
            timeout_graceful_shutdown=_GRACE_S,
            ws=Protocol,
            # Each socket would pay for it: a tenth of a core for a thousand sockets, and some memory.
            ws_per_message_deflate=False,
            ws_ping_interval=PING_S,
            ws_ping_timeout=PING_S,
            ws_max_size=LARGEST_FRAME_BYTES,
            **options,  # type: ignore[arg-type]
        ),
        stream,
    )


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens, with small send buffers. Connections that it accepts inherit them."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    made.bind((host, port))
    made.set_inheritable(True)
    return made
