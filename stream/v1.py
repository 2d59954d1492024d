"""`/ws/v1/stream`: each frame from the server is a JSON array of messages, each frame from the client one JSON object."""

import asyncio
import random
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from starlette.types import Receive, Scope, Send

from nautilus.auth.principal import Client, Principal
from nautilus.errors import InvalidInput, NautilusError, RateLimited, Unauthorized, Unavailable
from nautilus.http.dependencies import caller_of, client_of
from stream import messages
from stream.frames import Frame
from stream.limits import Bucket, Offences, TooMany
from stream.open_socket import ClientGone, OpenSocket, Path, begin, bye, run
from stream.protocol import (
    DEFAULT_BARS,
    MOST_BARS_AT_ONCE,
    Auth,
    Malformed,
    Ping,
    Request,
    RequestId,
    Resume,
    Seen,
    Subscribe,
    Unsubscribe,
    parse,
)
from stream.service import RETRY_AFTER_S, Stream
from stream.sign_in import check_address, offered_ticket
from stream.subscriber import Subscriber, in_one

PATH = Path("/ws/v1/stream")
_SEND_FIRST = 'send {"op": "auth", "ticket": "..."} first; POST /api/v1/stream/tickets gives a ticket'


class Endpoint:
    """The ASGI application of one path."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection = begin(scope, PATH)
        stream: Stream = connection.app.state.stream
        stream.check_open()
        await stream.start()
        await stream.listening()
        check_address(connection)
        subprotocol, ticket = offered_ticket(connection)
        caller = await stream.sign_in.by_ticket(ticket) if ticket else await caller_of(connection)
        with suppress(ClientGone):
            await _open(stream, OpenSocket(scope, receive, send), subprotocol, (caller, client_of(connection)))


async def _open(stream: Stream, socket: OpenSocket, subprotocol: str, who: tuple[Principal | None, Client]) -> None:
    caller, client = who
    await socket.accept(subprotocol)
    if caller is None:
        caller = await _first_message(stream, socket, client)
    if caller is not None:
        await _serve(stream, socket, caller, client)


async def _first_message(stream: Stream, socket: OpenSocket, client: Client) -> Principal | None:
    """The caller of the first message, which must be a sign-in; None when the socket was closed."""
    try:
        async with asyncio.timeout(stream.limits.stream_sign_in_s):
            frame = await socket.receive()
    except TimeoutError:
        wrong: NautilusError = Unauthorized(f"no sign-in within {stream.limits.stream_sign_in_s:g} s; {_SEND_FIRST}")
        await _refuse(socket, wrong, 4401)
        return None
    if frame is None:
        return None
    try:
        request = _parsed(frame, stream)
        if not isinstance(request.operation, Auth):
            raise Unauthorized(f"not signed in; {_SEND_FIRST}")
        return await signed_in(stream, request.operation, client)
    except NautilusError as wrong:
        await _refuse(socket, wrong, _close_code(wrong))
        return None


def _close_code(wrong: NautilusError) -> int:
    """The code for a first message that signs nobody in."""
    if isinstance(wrong, Malformed):
        return 4400
    return 1013 if isinstance(wrong, Unavailable) else 4401


async def _refuse(socket: OpenSocket, wrong: NautilusError, code: int) -> None:
    await socket.send(f"[{messages.error(wrong)}]")
    await socket.close(code, wrong.code)


async def signed_in(stream: Stream, auth: Auth, client: Client) -> Principal:
    """The caller of a sign-in message."""
    if auth.ticket:
        return await stream.sign_in.by_ticket(auth.ticket)
    return await stream.sign_in.by_token(auth.token, client)


async def _serve(stream: Stream, socket: OpenSocket, caller: Principal, client: Client) -> None:
    async def write(frame: Frame) -> None:
        await socket.send(frame.json)

    listener = Socket(stream, caller, write, client)
    try:
        stream.add(listener)
    except RateLimited as wrong:
        await _refuse(socket, wrong, 4429)
        return
    try:
        listener.welcome()
        await run(listener, socket, listener.receive_all(socket), listener.last_words)
    finally:
        listener.close()
        stream.remove(listener)


def _parsed(frame: str | bytes, stream: Stream) -> Request:
    """The request of a frame. Malformed: it is none that may be."""
    most = stream.limits.stream_frame_bytes
    if isinstance(frame, bytes):
        raise Malformed.field("frame", "is binary", ("text: one JSON object",))
    if len(frame.encode()) > most:
        raise Malformed.field(
            "frame", f"{len(frame.encode())} bytes are too many", (f"at most {most} (NAUTILUS_STREAM_FRAME_BYTES)",)
        )
    return parse(frame, most_bars=stream.limits.stream_snapshot_bars)


class Socket(Subscriber):
    """One client of this path."""

    def __init__(self, stream: Stream, caller: Principal, write: Any, client: Client) -> None:
        super().__init__(stream, caller, write)
        self._client = client
        self._offences = Offences()
        now = self.hub.clock()
        self._bucket = Bucket(self.limits.stream_messages_per_s, self.limits.stream_message_burst, now)

    def welcome(self) -> None:
        """Say who the caller is to us, and what the limits are."""
        self.signed_in_at = self.hub.clock()
        limits = self.limits
        now = self.hub.machine_ns()
        self.say(
            messages.text(
                "welcome",
                {
                    "v": messages.VERSION,
                    "e": self.hub.epoch,
                    "server_time": messages.time_of(now),
                    "market_time": messages.time_of(self.hub.market_ns()),
                    "scopes": sorted(self.caller.scopes),
                    "limits": {
                        "sockets": limits.stream_sockets_per_caller,
                        "channels": limits.stream_channels_per_socket,
                        "quotes": limits.stream_quotes_per_caller,
                        "messages_per_s": limits.stream_messages_per_s,
                        "frame_bytes": limits.stream_frame_bytes,
                        "snapshot_bars": limits.stream_snapshot_bars,
                        "beat_ms": limits.stream_beat_ms,
                    },
                    "heartbeat_s": limits.stream_heartbeat_s,
                    "reconnect_by": messages.time_of(now + round(limits.stream_sign_in_again_s * 1e9)),
                },
            )
        )

    # ---- frames ------------------------------------------------------------------------------------------------------

    async def receive_all(self, socket: OpenSocket) -> None:
        """Answer what the client sends, until it has gone."""
        while (frame := await socket.receive()) is not None:
            if self.ended.done():
                continue  # it is being closed
            if not self._bucket.take(self.hub.clock()):
                most = f"{self.limits.stream_messages_per_s:g} messages in a second"
                self._count(RateLimited(f"more than {most} (NAUTILUS_STREAM_MESSAGES_PER_S)", retry_after_s=1))
                continue
            try:
                request = _parsed(frame, self.stream)
            except Malformed as wrong:
                self._count(wrong)
            except InvalidInput as wrong:
                self.say(messages.error(wrong, wrong.extra.get("op"), wrong.extra.get("id")))
            else:
                await self._answer(request)

    def _count(self, wrong: NautilusError, op: str | None = None, number: RequestId = None) -> None:
        """Answer an error of form or excess; the third in a minute closes the socket."""
        self.say(messages.error(wrong, op, number))
        if self._offences.add(self.hub.clock()):
            self.end(4429, "three errors of form or excess within a minute")

    async def _answer(self, request: Request) -> None:
        try:
            await self._do(request)
        except (TooMany, RateLimited) as wrong:
            self._count(wrong, request.op, request.id)
        except NautilusError as wrong:
            self.say(messages.error(wrong, request.op, request.id))

    async def _do(self, request: Request) -> None:
        operation = request.operation
        if isinstance(operation, Subscribe):
            await self._subscribe(request, operation)
        elif isinstance(operation, Resume):
            await self._resume(request, operation)
        elif isinstance(operation, Unsubscribe):
            self.leave(operation.names)
            self._acknowledge(request)
        elif isinstance(operation, Ping):
            now = messages.time_of(self.hub.machine_ns())
            self.say(messages.text("pong", {"id": request.id, "server_time": now}))
        elif isinstance(operation, Auth):
            self.become(await signed_in(self.stream, operation, self._client))
            self.welcome()
        else:
            assert isinstance(operation, Seen)  # noqa: S101  for the type checker: nothing is answered

    async def _subscribe(self, request: Request, subscribe: Subscribe) -> None:
        self.rate_hz = subscribe.rate_hz
        if subscribe.wrong:
            self.say(messages.error(in_one(subscribe.wrong), request.op, request.id))
        joined, wrong = await self.join(subscribe.channels, forming=subscribe.forming, chart=subscribe.chart)
        self._acknowledge(request)
        for one in wrong:
            self.say(messages.error(one, request.op, request.id))
        self.read(joined, bars=subscribe.bars)

    async def _resume(self, request: Request, resume: Resume) -> None:
        if resume.wrong:
            self.say(messages.error(in_one(resume.wrong), request.op, request.id))
        joined, wrong = await self.join([channel for channel, _ in resume.channels])
        self._acknowledge(request)
        for one in wrong:
            self.say(messages.error(one, request.op, request.id))
        known = {channel.name: place for channel, place in resume.channels}
        most = min(DEFAULT_BARS, self.limits.stream_snapshot_bars, MOST_BARS_AT_ONCE // max(1, len(joined)))
        self.read(joined, bars=most, known=known, epoch=resume.epoch)

    def _acknowledge(self, request: Request) -> None:
        """All channels that hold now, and how the stream of each stands."""
        channels = [{"c": name, **self.stream_state(name)} for name in self.subscriptions]
        self.say(messages.text("ack", {"id": request.id, "op": request.op, "channels": channels}))

    # ---- what it says by itself --------------------------------------------------------------------------------------

    def last_words(self, code: int, reason: str) -> Sequence[str]:
        """The frames before a close."""
        words = []
        if code == 4008 and self.stuck_since is not None:
            words.append(self.lagged(self.hub.clock() - self.stuck_since))
        again = random.uniform(*RETRY_AFTER_S) if code in (1001, 1012) else None
        words.append(bye(self, code, reason, again))
        return [f"[{','.join(words)}]"]
