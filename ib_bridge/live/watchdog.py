"""Which streams are silent for longer than is usual, and when a request to history checks it. No clock, no socket.

Silence alone shows nothing: an illiquid instrument has nothing to send. So a silent stream becomes stale, once. One request
to history checks whether it has what the stream lacks. When history has nothing either, the stream may be silent twice as long.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

from ib_bridge.live.streams import Stream, StreamState
from nautilus.clock import NS_PER_S
from nautilus.market.calendar import Calendar

SHORTEST_NS = 30 * NS_PER_S
LONGEST_NS = 3_600 * NS_PER_S
_TIMES_USUAL = 6
_QUOTES_NS = 60 * NS_PER_S
_LEAST_S = 2.0
"""Machine time without an event before anything is believed: a fast market clock runs ahead of what is on its way."""


class Alarm(StrEnum):
    """What is to be done about a silent stream."""

    STALE = "stale"
    PROBE = "probe"


class Silence(NamedTuple):
    """A stream that is silent for too long, and since when (market ns)."""

    stream: Stream
    alarm: Alarm
    since: int


def silent(streams: Iterable[Stream], now: int, machine_s: float) -> list[Silence]:
    """The streams about which something is to be done now. Each is stale once and probed once for one silence."""
    found = []
    for stream in streams:
        since = silent_since(stream, now)
        if since is None or now - since <= allowed_ns(stream) or machine_s - stream.last_event_s < _LEAST_S:
            continue
        if stream.state is not StreamState.STALE and not stream.probed:
            found.append(Silence(stream, Alarm.STALE, since))
        if not stream.probed:
            found.append(Silence(stream, Alarm.PROBE, since))
    return found


def allowed_ns(stream: Stream) -> int:
    """For how long a stream may be silent in an open market."""
    shortest = SHORTEST_NS if stream.is_bars else _QUOTES_NS
    return max(shortest, _TIMES_USUAL * stream.usual_gap_ns(), stream.probe_after_ns)


def silent_since(stream: Stream, now: int) -> int | None:
    """Since when it says nothing, of the time in which its market is open; None while that is closed or not known."""
    if stream.request is None or stream.state not in (StreamState.LIVE, StreamState.ASKING, StreamState.STALE):
        return None
    session = stream.calendar.session_at(now) if stream.calendar is not None else None
    if session is None:
        return None
    return max(session.open_ns, stream.last_event_at or stream.sent_at)


def was_right_to_be_silent(stream: Stream, now: int) -> None:
    """History has nothing either: the stream may be silent for twice as long before somebody asks again."""
    since = silent_since(stream, now) or now
    stream.probe_after_ns = min(LONGEST_NS, 2 * max(allowed_ns(stream), now - since))
    stream.probed = False


def expect_again(stream: Stream, now: int) -> None:
    """What explained a silence, such as a halt, is over: from now on the stream should speak."""
    since = silent_since(stream, now) or now
    stream.probe_after_ns = now - since + SHORTEST_NS
    stream.probed = False


def is_open(calendar: Calendar | None, now: int) -> bool:
    """True while the market is open, as far as that is known."""
    return calendar is not None and calendar.session_at(now) is not None
