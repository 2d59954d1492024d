"""Which of IB's streams serves which want, within IB's limits: plain values in, plain values out.

IB sells a number of market data lines, holds at most 50 historical requests open (a bar that is kept up to date is one of
them), lets 60 real-time bars begin in ten minutes, and gives few tick-by-tick streams. A want that finds no room waits with a
reason, or takes the room of one with a lower priority. What runs goes on as long as nothing of a higher priority needs its
room, so that nothing flaps.
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

EVICTION_REST_S = 60.0
"""For so long a stream that was evicted takes no other one's room."""
INTERACTIVE = 6
"""From this priority on somebody watches."""
REAL_TIME_BAR_PERIOD_S = 600.0


class Priority:
    """Usual priorities, 0 to 9: a higher one is served first."""

    WATCH_LIST = 3
    SOCKET = 6
    CHART = 7
    STRATEGY = 9


class Source(StrEnum):
    """How a stream is had from IB."""

    KEEP_UP_TO_DATE = "kutd"
    REAL_TIME_BARS = "rtb"
    MARKET_DATA = "mkt"
    TICK_BY_TICK = "tbt"
    POLL = "poll"


SOURCES: Mapping[str, tuple[Source, ...]] = {
    "bars:1m": (Source.KEEP_UP_TO_DATE, Source.REAL_TIME_BARS, Source.POLL),
    "bars:5s": (Source.REAL_TIME_BARS,),
    "quotes": (Source.MARKET_DATA,),
    "ticks": (Source.TICK_BY_TICK,),
}
"""Kind of stream -> how it can be had, the best way first."""
KINDS: tuple[str, ...] = tuple(SOURCES)
_LACKS = {
    Source.KEEP_UP_TO_DATE: "no_history_slot_free",
    Source.REAL_TIME_BARS: "no_market_data_line_free",
    Source.MARKET_DATA: "no_market_data_line_free",
    Source.TICK_BY_TICK: "no_tick_by_tick_stream_free",
}


class StreamKey(NamedTuple):
    """What one stream gives. kind: one of KINDS. price: of bars and ticks; session: of bars; else empty."""

    con_id: int
    kind: str
    price: str = ""
    session: str = ""


class Wanted(NamedTuple):
    """A stream that somebody wants: the highest priority of those who do, and since when (seconds).

    without: ways by which it cannot be had for now, as IB refused them.
    """

    key: StreamKey
    priority: int
    since_s: float
    without: frozenset[Source] = frozenset()


class Running(NamedTuple):
    """A stream as it is. source: how it is had now; None while it waits. evicted_at_s: when it last lost its room."""

    key: StreamKey
    source: Source | None
    evicted_at_s: float = float("-inf")


class Limits(NamedTuple):
    """IB's limits less what is left to others.

    lines: market data lines, shared with who uses TWS with the same user. real_time_bars: new ones in ten minutes;
    `reserved` of them are for streams that somebody watches.
    """

    lines: int = 90
    keep_up_to_date: int = 40
    real_time_bars: int = 50
    reserved: int = 10
    tick_by_tick: int = 5


class Share(NamedTuple):
    """What a wanted stream gets: a source, or none and the reason, in words of the API.

    evicted_by: whose want took its room.
    """

    key: StreamKey
    source: Source | None
    reason: str = ""
    evicted_by: StreamKey | None = None


class _Room:
    """What is left of the limits while shares are given."""

    def __init__(self, limits: Limits, begun: int) -> None:
        self._left = {
            Source.KEEP_UP_TO_DATE: limits.keep_up_to_date,
            Source.MARKET_DATA: limits.lines,
            Source.TICK_BY_TICK: limits.tick_by_tick,
        }
        self._new_left = limits.real_time_bars - begun
        self._reserved = limits.reserved

    def lacks(self, source: Source, running: bool, priority: int) -> str:
        """Why a stream cannot be had this way; empty when it can."""
        if source is Source.POLL:
            return ""
        if source is Source.REAL_TIME_BARS and not running:
            kept = 0 if priority >= INTERACTIVE else self._reserved
            if self._new_left <= kept:
                return "real_time_query"
        return "" if self._left[_pool(source)] > 0 else _LACKS[source]

    def take(self, source: Source, running: bool) -> None:
        if source is Source.POLL:
            return
        self._left[_pool(source)] -= 1
        if source is Source.REAL_TIME_BARS and not running:
            self._new_left -= 1


def _pool(source: Source) -> Source:
    """Real-time bars take a market data line, as quotes do."""
    return Source.MARKET_DATA if source is Source.REAL_TIME_BARS else source


def shares(
    wanted: Iterable[Wanted],
    running: Iterable[Running],
    *,
    limits: Limits,
    begun: Sequence[float],
    now_s: float,
) -> list[Share]:
    """What each wanted stream gets, in the order in which it was decided.

    begun: when real-time bars were requested, in seconds. A stream that runs keeps its source, even where a better one is free:
    changing it would cost a request and a piece of the bar that forms. One that is polled takes the better one.
    """
    streams = {one.key: one for one in running}
    recent = sum(1 for at in begun if at > now_s - REAL_TIME_BAR_PERIOD_S)
    room = _Room(limits, recent)
    given: list[Share] = []
    for want in sorted(wanted, key=lambda one: _turn(one, streams.get(one.key), now_s)):
        stream = streams.get(want.key)
        given.append(_share(want, stream, room, given=given, streams=streams))
    return given


def _turn(want: Wanted, stream: Running | None, now_s: float) -> tuple[bool, int, bool, float]:
    """Who comes first: what lost its room just before comes last, then by priority, what runs before what does not, the
    older want before the younger."""
    resting = stream is not None and stream.source is None and now_s - stream.evicted_at_s < EVICTION_REST_S
    runs = stream is not None and stream.source is not None
    return resting, -want.priority, not runs, want.since_s


def _share(
    want: Wanted, stream: Running | None, room: _Room, *, given: Sequence[Share], streams: Mapping[StreamKey, Running]
) -> Share:
    ways = [way for way in SOURCES[want.key.kind] if way not in want.without]
    current = stream.source if stream is not None else None
    reason = ""
    kept = current if current is not Source.POLL else None  # a poll holds nothing at IB: what is better replaces it
    for source in sorted(ways, key=lambda way: way is not kept):
        lacking = room.lacks(source, source is current, want.priority)
        if not lacking:
            room.take(source, source is current)
            return Share(want.key, source)
        reason = reason or lacking
    if current is None:
        return Share(want.key, None, reason or "refused")
    newcomer = next((one.key for one in reversed(given) if _took_its_room(one, current, streams)), None)
    return Share(want.key, None, "evicted:priority" if newcomer else reason, newcomer)


def _took_its_room(share: Share, lost: Source, streams: Mapping[StreamKey, Running]) -> bool:
    stream = streams.get(share.key)
    is_new = stream is None or stream.source is not share.source
    return share.source is not None and is_new and _pool(share.source) is _pool(lost)
