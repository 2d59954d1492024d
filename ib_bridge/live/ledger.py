"""Which streams there should be, and how each is had: wants and IB's limits in, changes out. No clock and no socket."""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from ib_bridge.live.streams import Block, Stream, StreamState, StreamWant, market_s
from nautilus.clock import NS_PER_S
from nautilus.live.subscriptions import (
    REAL_TIME_BAR_PERIOD_S,
    Limits,
    Running,
    Share,
    Source,
    StreamKey,
    Wanted,
    shares,
)

_RELEARN_NS = 60 * NS_PER_S
"""So long a learnt limit is believed before one line more is tried."""
_NOBODY = -1
"""Priority of a stream that nobody wants any more: it goes first, and takes nobody's room."""
LINES = frozenset({Source.MARKET_DATA, Source.REAL_TIME_BARS})


class Step(StrEnum):
    """What is to be done with a stream."""

    START = "start"
    STOP = "stop"
    FORGET = "forget"


class Change(NamedTuple):
    """A step, after the stream's state has been changed already. A stream that goes on by another way is stopped first."""

    step: Step
    stream: Stream


class Ledger:
    """The streams of this bridge.

    linger_s: for so long (machine time) a stream goes on that nobody wants any more.
    """

    def __init__(self, limits: Limits, linger_s: float) -> None:
        self.limits = limits
        self.streams: dict[StreamKey, Stream] = {}
        self.real_time_bars_begun: list[float] = []
        """When bars of five seconds were requested, in seconds of market time."""
        self.lines = limits.lines
        """How many market data lines there are for us, as far as IB has shown."""
        self._learnt_at: int | None = None
        self._linger_s = linger_s

    def lines_in_use(self) -> int:
        return sum(1 for stream in self.streams.values() if stream.source in LINES)

    def open_requests(self) -> int:
        """How many of IB's open historical requests are ours."""
        return self.had_by(Source.KEEP_UP_TO_DATE)

    def had_by(self, source: Source) -> int:
        """How many streams are had this way."""
        return sum(1 for stream in self.streams.values() if stream.source is source)

    def missing(self, wants: Mapping[StreamKey, StreamWant]) -> list[StreamKey]:
        """Wanted streams that the ledger does not know yet."""
        return [key for key in wants if key not in self.streams]

    def update_wants(self, wants: Mapping[StreamKey, StreamWant], machine_s: float) -> None:
        """Take what is wanted now."""
        for key, stream in self.streams.items():
            if key in wants:
                stream.want, stream.unwanted_since = wants[key], None
            elif stream.unwanted_since is None:
                stream.unwanted_since = machine_s

    def refuse(self, stream: Stream, now: int, *, seconds: float, reason: str, code: int | None, refused: bool) -> None:
        """IB does not give a stream by the way it was requested. It loses its room, and that way is not tried for a while."""
        if stream.source is None:
            return
        stream.blocks[stream.source] = Block(now + int(seconds * NS_PER_S), reason, code, refused)
        stream.source = None

    def line_refused(self, now: int) -> None:
        """IB has no line (101) although by our count there is one: somebody uses TWS. The stream has lost its room already."""
        self.lines = max(1, min(self.lines - 1, self.lines_in_use()))
        self._learnt_at = now

    def decide(self, now: int, machine_s: float) -> list[Change]:
        """The changes that wants and limits make necessary; those that free room come first."""
        self._relearn(now)
        cutoff = market_s(now) - REAL_TIME_BAR_PERIOD_S
        self.real_time_bars_begun = [at for at in self.real_time_bars_begun if at > cutoff]
        over = [Change(Step.FORGET, stream) for stream in self._over(machine_s)]
        for change in over:
            del self.streams[change.stream.key]
        waiting = [s for s in self.streams.values() if s.source is Source.REAL_TIME_BARS and s.request is None]
        given = shares(
            [self._wanted(stream, now) for stream in self.streams.values()],
            [Running(s.key, s.source, s.evicted_at_s) for s in self.streams.values()],
            limits=self.limits._replace(lines=self.lines),
            begun=[*self.real_time_bars_begun, *(market_s(now) for _ in waiting)],  # those are still to be requested
            now_s=market_s(now),
        )
        changes = [change for share in given for change in self._apply(share, now)]
        return [*over, *sorted(changes, key=lambda change: change.step is Step.START)]

    def _relearn(self, now: int) -> None:
        if self._learnt_at is not None and now - self._learnt_at >= _RELEARN_NS and self.lines < self.limits.lines:
            self.lines += 1
            self._learnt_at = now

    def _over(self, machine_s: float) -> list[Stream]:
        return [
            stream
            for stream in self.streams.values()
            if stream.unwanted_since is not None
            and (stream.source is None or machine_s - stream.unwanted_since >= self._linger_s)
        ]

    @staticmethod
    def _wanted(stream: Stream, now: int) -> Wanted:
        priority = stream.want.priority if stream.unwanted_since is None else _NOBODY
        return Wanted(stream.key, priority, stream.want.since_s, stream.blocked(now))

    def _apply(self, share: Share, now: int) -> list[Change]:
        stream = self.streams[share.key]
        before = stream.source
        if share.source is before:
            if before is None:
                self._keep_waiting(stream, share, now)
            return []
        stops = [Change(Step.STOP, stream)] if before is not None else []
        stream.source = share.source
        if share.source is None:
            evicted = share.reason.startswith("evicted")
            stream.evicted_by = share.evicted_by
            stream.evicted_at_s = market_s(now) if evicted else stream.evicted_at_s
            move(stream, StreamState.EVICTED if evicted else StreamState.WAITING, share.reason, now)
            return stops
        stream.evicted_by = None
        move(stream, StreamState.WANTED, "", now)
        return [*stops, Change(Step.START, stream)]

    @staticmethod
    def _keep_waiting(stream: Stream, share: Share, now: int) -> None:
        block = stream.strongest_block(now)
        if block is not None:
            state = StreamState.REFUSED if block.refused else StreamState.WAITING
            move(stream, state, block.reason, now, code=block.code)
        elif stream.state is not StreamState.EVICTED:
            move(stream, StreamState.WAITING, share.reason, now)


def move(stream: Stream, state: StreamState, reason: str, now: int, *, code: int | None = None) -> None:
    """Give a stream a state and the reason for it. `since` stays while the state does."""
    if state is not stream.state or not stream.since:
        stream.since = now
    stream.state, stream.reason, stream.code = state, reason, code
