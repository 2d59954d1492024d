"""Server-sent events: the messages of `/ws/v1/stream` over plain HTTP, for `curl -N` and small scripts.

The id of an event is `<epoch>:<number>:<versions>`, the versions those of the channels in the order of the
request. Who sends it back as Last-Event-ID gets what changed since, as by `resume`.
"""

import asyncio
import json
import re
from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter, Header, Query
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from nautilus.auth.principal import Principal
from nautilus.errors import InvalidInput
from nautilus.http.dependencies import CallerDep
from nautilus.http.problems import PROBLEMS
from nautilus.http.routes import StrictRoute
from stream import messages
from stream.frames import Frame, Outgoing
from stream.protocol import DEFAULT_BARS, MOST_BARS_AT_ONCE, Known, channels_of
from stream.service import Stream
from stream.subscriber import Subscriber, in_one

router = APIRouter(tags=["stream"], responses=PROBLEMS, route_class=StrictRoute)
_EVENT_ID = re.compile(r"([0-9a-z]*):[0-9]{1,18}:([0-9]{1,18}(?:\.[0-9]{1,18})*)")
_HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}


class LastEvent(NamedTuple):
    """What a reader had: the epoch, and the version of each channel."""

    epoch: str
    versions: tuple[int, ...]


@router.get(
    "/api/v1/stream/events",
    summary="Live bars and quotes as server-sent events",
    response_class=Response,
)
async def events(
    connection: Request,
    caller: CallerDep,
    channels: Annotated[str, Query(description="names of channels, comma-separated", min_length=1, max_length=20_000)],
    bars: Annotated[int, Query(ge=0, le=2_000, description="bars of each snapshot")] = DEFAULT_BARS,
    forming: Annotated[bool, Query(description="bars that form, too")] = True,
    last_event_id: Annotated[str, Header(description="id of the last event that came", max_length=4_000)] = "",
) -> Response:
    stream: Stream = connection.app.state.stream
    stream.check_open()
    names = [name.strip() for name in channels.split(",") if name.strip()]
    found, wrong = channels_of(names)
    if wrong:
        raise in_one(wrong)
    if bars * sum(1 for one in found if one.timeframe) > MOST_BARS_AT_ONCE:
        raise InvalidInput.field(
            "bars", f"{bars} bars of each channel are too many at once", (f"at most {MOST_BARS_AT_ONCE} in all",)
        )
    last = parse_last_event(last_event_id)
    await stream.start()
    await stream.listening()
    listener = EventListener(stream, caller)
    stream.add(listener)
    try:
        joined, errors = await listener.join(found, forming=forming)
        if errors:
            raise errors[0]
        known = known_of(last, [one.requested for one in joined])
        listener.follow([one.channel.name for one in joined], last)
        listener.read(joined, bars=bars, known=known)
    except BaseException:
        listener.close()
        stream.remove(listener)
        raise
    return EventStream(stream, listener)


def parse_last_event(text: str) -> LastEvent | None:
    """The parts of an id. InvalidInput: it is none of ours."""
    if not text:
        return None
    parts = _EVENT_ID.fullmatch(text)
    if parts is None:
        form = ("<epoch>:<number>:<version>.<version>...",)
        raise InvalidInput.field("last-event-id", f"{text[:60]!r} is not the id of an event", form)
    return LastEvent(parts[1], tuple(int(one) for one in parts[2].split(".")))


def known_of(last: LastEvent | None, names: Sequence[str]) -> dict[str, Known]:
    """How far a reader has followed the channels of these names. InvalidInput: the id is one of other channels."""
    if last is None:
        return {}
    if len(last.versions) != len(names):
        raise InvalidInput.field(
            "last-event-id",
            f"it has {len(last.versions)} versions for {len(names)} channels",
            ("the channels of the request that it comes from, in their order",),
        )
    return {name: Known(0, version) for name, version in zip(names, last.versions, strict=True)}


class EventListener(Subscriber):
    """One reader of events."""

    def __init__(self, stream: Stream, caller: Principal) -> None:
        super().__init__(stream, caller, self._write_events)
        self.names: list[str] = []
        self._versions: dict[str, int] = {}
        self.send: Send | None = None

    def follow(self, names: list[str], last: LastEvent | None) -> None:
        """The channels in the order of the request, and how far the reader was."""
        self.names = names
        if last is not None:
            self._versions = {name: version for name, version in zip(names, last.versions, strict=False) if version}

    async def _write_events(self, frame: Frame) -> None:
        assert self.send is not None  # noqa: S101  for the type checker: set before anything is sent
        body = "".join(self._event(one) for one in frame.outgoing)
        await self.send({"type": "http.response.body", "body": body.encode(), "more_body": True})

    def _event(self, one: Outgoing) -> str:
        place = self._place(one)
        name = one.message.kind if one.message is not None else _kind(one.text)
        return f"{place}event: {name}\ndata: {one.text}\n\n"

    def _place(self, one: Outgoing) -> str:
        """The line with the id: how far the reader is once it has this event."""
        if one.begin is not None:
            number = one.begin.number
            self._versions[one.begin.channel] = one.begin.version
        elif one.message is not None:
            number = one.message.number
            before = self._versions.get(one.message.channel)
            if before is not None:
                self._versions[one.message.channel] = max(before, one.message.version)
        else:
            return ""
        versions = ".".join(str(self._versions.get(name, 0)) for name in self.names)
        return f"id: {self.hub.epoch}:{number}:{versions}\n"


def _kind(text: str) -> str:
    """The kind of a message that was made here."""
    found = json.loads(text)["t"]
    assert isinstance(found, str)  # noqa: S101  for the type checker
    return found


class EventStream(Response):
    """The answer that goes on until the reader has gone."""

    def __init__(self, stream: Stream, listener: EventListener) -> None:
        super().__init__(media_type="text/event-stream", headers=_HEADERS)
        del self.headers["content-length"]
        self._stream = stream
        self._listener = listener

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        listener = self._listener
        listener.send = send
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await send({"type": "http.response.body", "body": b": events follow\n\n", "more_body": True})
            gone = asyncio.create_task(_gone(receive))
            sender = asyncio.create_task(listener.send_all())
            try:
                waiting: set[asyncio.Future[Any]] = {gone, sender, listener.ended}
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                if listener.ended.done() and listener.stuck_since is None:
                    sender.cancel()
                    code, reason = listener.ended.result()
                    listener.outbox.put(messages.text("bye", {"code": code, "reason": reason}))
                    await listener.flush()
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
            finally:
                for task in (gone, sender):
                    task.cancel()
                await asyncio.gather(gone, sender, return_exceptions=True)
        finally:
            listener.close()
            self._stream.remove(listener)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
