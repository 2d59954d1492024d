"""What a client may send over `/ws/v1/stream`: JSON objects with an `op`. Text in, plain values out; no socket, no clock."""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from nautilus.errors import FieldError, InvalidInput
from nautilus.live import channels
from nautilus.live.channels import Channel
from nautilus.market.timeframes import NAMES, timeframe

OPS: Mapping[str, tuple[str, ...]] = {
    "auth": ("ticket", "token"),
    "subscribe": ("id", "channels", "snapshot", "forming", "rate_hz", "chart"),
    "unsubscribe": ("id", "channels"),
    "resume": ("id", "e", "channels"),
    "ping": ("id",),
    "seen": ("id", "seq"),
}
"""Operation -> its fields beside `op`."""
LIVE_TIMEFRAMES: tuple[str, ...] = tuple(name for name in NAMES if name == "5s" or not timeframe(name).small)
"""Timeframes that have a live stream. Shorter ones than a minute come as bars of five seconds alone."""
DEFAULT_BARS = 300
MOST_BARS_AT_ONCE = 20_000
"""Bars of all snapshots that one `subscribe` may ask for, and that one `resume` gets; what changed beyond them is a gap."""
MOST_EVENTS_AT_ONCE = 1_000
"""Events of orders and fills that one `resume` gets in all; who missed more must begin anew."""
_MOST_ID = 64
_MOST_RATE_HZ = 20.0


class Malformed(InvalidInput):
    """A frame that is no message at all."""

    code = "malformed"


class Auth(NamedTuple):
    """A sign-in: one of the two is empty."""

    ticket: str
    token: str


class Subscribe(NamedTuple):
    """channels: those that can be. wrong: an error for each of the others. bars: of each snapshot."""

    channels: tuple[Channel, ...]
    wrong: tuple[FieldError, ...]
    bars: int
    forming: bool
    rate_hz: float
    chart: bool


class Unsubscribe(NamedTuple):
    names: tuple[str, ...]


class Known(NamedTuple):
    """How far a client has followed a channel: number of the newest message, and version of the series."""

    number: int
    version: int


class Resume(NamedTuple):
    """epoch: in which the numbers count. channels: as far as they can be; wrong: an error for each of the others."""

    epoch: str
    channels: tuple[tuple[Channel, Known], ...]
    wrong: tuple[FieldError, ...]


class Ping(NamedTuple):
    pass


class Seen(NamedTuple):
    """Numbers up to which a client has worked; for its own log on this side."""


Operation = Auth | Subscribe | Unsubscribe | Resume | Ping | Seen
RequestId = int | str | None


class Request(NamedTuple):
    op: str
    id: RequestId
    operation: Operation


def parse(text: str, *, most_bars: int) -> Request:
    """The request of a frame. Malformed: it is none. InvalidInput: a field is wrong; `extra` has its op and id."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise Malformed.field("frame", "is not JSON", ("one JSON object",)) from None
    if not isinstance(found, dict):
        raise Malformed.field("frame", "is not a JSON object", ("an object with op",))
    op = found.pop("op", None)
    if not isinstance(op, str) or op not in OPS:
        raise Malformed.field("op", f"{_shown(op)} is not an operation", tuple(OPS))
    number = found.get("id")
    try:
        _check_id(number)
        _check_fields(op, found)
        return Request(op, number, _READ[op](found, most_bars))
    except InvalidInput as wrong:
        wrong.extra = {"op": op, "id": number if isinstance(number, (int, str)) else None}
        raise


def channels_of(names: Iterable[object], field: str = "channels") -> tuple[list[Channel], list[FieldError]]:
    """The channels of these names, each once, and an error for each name that has none with a live stream."""
    found: dict[str, Channel] = {}
    wrong = []
    for n, name in enumerate(names):
        try:
            if not isinstance(name, str):
                raise InvalidInput.field("channel", f"{_shown(name)} is not a text")
            one = live_channel(name)
            found[one.name] = one
        except InvalidInput as error:
            first = error.errors[0]
            wrong.append(FieldError(f"{field}[{n}]", first.detail, first.allowed))
    return list(found.values()), wrong


def live_channel(name: str) -> Channel:
    """The channel of a name. InvalidInput where it is none, or has no live stream."""
    channel = channels.parse(name)
    if channel.timeframe and channel.timeframe not in LIVE_TIMEFRAMES:
        raise InvalidInput.field("channel", f"{name!r}: {channel.timeframe} has no live stream", LIVE_TIMEFRAMES)
    return channel


def _auth(fields: Mapping[str, Any], _: int) -> Auth:
    ticket, token = fields.get("ticket", ""), fields.get("token", "")
    for name, value in (("ticket", ticket), ("token", token)):
        if not isinstance(value, str):
            raise InvalidInput.field(name, "is not a text")
    if bool(ticket) == bool(token):
        raise InvalidInput.field("ticket", "give either a ticket or an access token", ("ticket", "token"))
    return Auth(ticket, token)


def _subscribe(fields: Mapping[str, Any], most_bars: int) -> Subscribe:
    found, wrong = channels_of(_names(fields))
    snapshot = fields.get("snapshot", {})
    if not isinstance(snapshot, dict) or not set(snapshot) <= {"bars"}:
        raise InvalidInput.field("snapshot", "is not an object with bars", ('{"bars": 300}',))
    bars = _whole("snapshot.bars", snapshot.get("bars", DEFAULT_BARS), most_bars)
    if bars * sum(1 for one in found if one.timeframe) > MOST_BARS_AT_ONCE:
        raise InvalidInput.field(
            "snapshot.bars",
            f"{bars} bars of each channel are too many at once",
            (f"at most {MOST_BARS_AT_ONCE} in all",),
        )
    rate = fields.get("rate_hz", _MOST_RATE_HZ)
    if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 < rate <= _MOST_RATE_HZ:
        raise InvalidInput.field(
            "rate_hz", f"{_shown(rate)} is not a rate", (f"more than 0, at most {_MOST_RATE_HZ:g}",)
        )
    forming, chart = _flag(fields, "forming", default=True), _flag(fields, "chart", default=False)
    return Subscribe(tuple(found), tuple(wrong), bars, forming, float(rate), chart)


def _unsubscribe(fields: Mapping[str, Any], _: int) -> Unsubscribe:
    names = _names(fields)
    return Unsubscribe(tuple(name for name in names if isinstance(name, str)))


def _resume(fields: Mapping[str, Any], _: int) -> Resume:
    epoch, known = fields.get("e", ""), fields.get("channels")
    if not isinstance(epoch, str):
        raise InvalidInput.field("e", f"{_shown(epoch)} is not an epoch")
    if not isinstance(known, dict) or not known:
        raise InvalidInput.field("channels", "is not an object", ('{"<channel>": {"seq": 812, "version": 4711}}',))
    found: dict[str, tuple[Channel, Known]] = {}
    wrong = []
    for name, value in known.items():
        try:
            channel = live_channel(name)
            found[channel.name] = (channel, _known(name, value))
        except InvalidInput as error:
            first = error.errors[0]
            wrong.append(FieldError(f"channels[{name[:80]!r}]", first.detail, first.allowed))
    return Resume(epoch, tuple(found.values()), tuple(wrong))


def _known(name: str, value: object) -> Known:
    if not isinstance(value, dict) or not set(value) <= {"seq", "version"}:
        raise InvalidInput.field(name, "is not an object", ("seq", "version"))
    return Known(_whole("seq", value.get("seq", 0)), _whole("version", value.get("version", 0)))


_READ: Mapping[str, Callable[[Mapping[str, Any], int], Operation]] = {
    "auth": _auth,
    "subscribe": _subscribe,
    "unsubscribe": _unsubscribe,
    "resume": _resume,
    "ping": lambda fields, _: Ping(),
    "seen": lambda fields, _: Seen(),
}


def _names(fields: Mapping[str, Any]) -> list[object]:
    names = fields.get("channels")
    if not isinstance(names, list) or not names:
        raise InvalidInput.field("channels", "is not a list of names", ('["data.quotes.NASDAQ.AAPL"]',))
    return names


def _check_id(number: object) -> None:
    fits = number is None or type(number) is int or (isinstance(number, str) and len(number) <= _MOST_ID)
    if not fits or (isinstance(number, int) and abs(number) > 2**53):
        raise InvalidInput.field(
            "id", "is neither a whole number nor a short text", (f"at most {_MOST_ID} characters",)
        )


def _check_fields(op: str, fields: Mapping[str, Any]) -> None:
    for name in fields:
        if name not in OPS[op]:
            raise InvalidInput.field(name[:40], f"is not a field of {op}", ("op", *OPS[op]))


def _whole(field: str, value: object, most: int = 2**63 - 1) -> int:
    if type(value) is not int or not 0 <= value <= most:
        raise InvalidInput.field(field, f"{_shown(value)} is not a whole number", (f"0 to {most}",))
    return value


def _flag(fields: Mapping[str, Any], name: str, *, default: bool) -> bool:
    value = fields.get(name, default)
    if not isinstance(value, bool):
        raise InvalidInput.field(name, f"{_shown(value)} is neither true nor false", ("true", "false"))
    return value


def _shown(value: object) -> str:
    """A value that a client sent, for a sentence."""
    text = repr(value)
    return text if len(text) <= 60 else text[:60] + "..."
