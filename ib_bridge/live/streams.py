"""One live stream, as the bridge has it: plain state, without a clock and without a socket."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from statistics import median
from typing import NamedTuple

from nautilus.clock import NS_PER_S
from nautilus.db.live.provisional import ProvisionalBar
from nautilus.db.live.streams import StreamRow
from nautilus.db.live.wants import CurrentWant
from nautilus.live.folding import LATEST_CLOSE_NS
from nautilus.live.offered import stream_of
from nautilus.live.subscriptions import SOURCES, Source, StreamKey
from nautilus.market.calendar import Calendar
from nautilus.market.instrument import Instrument
from nautilus.spans import Spans

FOR_GOOD = 2**62
_GAPS = 40
_STEADY_NS = 5 * NS_PER_S
"""Of a stream that usually speaks more seldom a silence shows nothing."""
_BELIEVED_NS = LATEST_CLOSE_NS + 5 * NS_PER_S
_TIMES_LONG = 5
"""A silence is believed that is longer than the first, and than so many times one of the stream's longer gaps: where what comes
follows trades and no clock, some gaps are much longer than the usual one."""
_LEAST_S = 2.0
"""Machine time without an event before a silence is believed: a fast market clock runs ahead of what is on its way."""


class StreamState(StrEnum):
    """How a stream is; the reason beside it says why, in words of the API."""

    WANTED = "wanted"
    """It has room and is not requested yet."""
    ASKING = "asking"
    """It is requested and nothing has come."""
    LIVE = "live"
    STALE = "stale"
    """It is silent for longer than usual, in an open market."""
    WAITING = "waiting"
    """There is no room, or IB refused it for now."""
    REFUSED = "refused"
    """IB refuses it."""
    EVICTED = "evicted"
    """It had room and lost it to a higher priority."""


class StreamWant(NamedTuple):
    """What is wanted of one stream, by all who want it together. since_s: seconds since the epoch, of the oldest want."""

    priority: int
    since_s: float
    timeframes: frozenset[str]


class Block(NamedTuple):
    """A way by which a stream cannot be had before a market time (ns)."""

    until: int
    reason: str
    code: int | None
    refused: bool


@dataclass(eq=False)
class Stream:
    """A stream and all that is known of it. Times are market time in ns, unless they say otherwise."""

    key: StreamKey
    instrument: Instrument
    want: StreamWant
    series_id: int | None = None
    seen_version: int = 0
    """The version of its series up to which changes by other bridges are known."""
    unanswered: tuple[ProvisionalBar, ...] = ()
    """Closed bars of its series from before it, that history had not answered for when it was loaded."""
    calendar: Calendar | None = None
    calendar_requested: tuple[float, int] | None = None
    """When it was requested last: machine time (s), market time (ns)."""
    source: Source | None = None
    """How it has room at IB; None while it has none."""
    request: int | None = None
    """The id at IB, while it is requested."""
    connection: int = 0
    """The connection over which it was requested."""
    booked: int | None = None
    """The row of ib_requests that is not closed yet."""
    sent_at: int = 0
    sent_s: float = 0.0
    """The same by machine time, in seconds that never go back."""
    duration_ns: int = 0
    """How much history its request covers."""
    state: StreamState = StreamState.WANTED
    reason: str = ""
    code: int | None = None
    evicted_by: StreamKey | None = None
    feed: str = ""
    since: int = 0
    last_event_at: int | None = None
    last_event_s: float = 0.0
    """The same by machine time, in seconds that never go back; of a stream that has not spoken, when it was requested."""
    confirmed_until: int | None = None
    holes: Spans = Spans()  # noqa: RUF009  immutable
    resubscribed: int = 0
    evicted_at_s: float = float("-inf")
    unwanted_since: float | None = None
    """Machine time (seconds) since which nobody wants it."""
    not_before: int = 0
    """It is not requested before."""
    attempts: int = 0
    """How often it was requested since it last spoke."""
    blocks: dict[Source, Block] = field(default_factory=dict)
    lost_at: int | None = None
    """When it last ended or fell silent, until it is whole again."""
    loss: str = ""
    """Why."""
    probe_after_ns: int = 0
    """It may be silent for so long before a request to history; doubled each time history has nothing either."""
    probed: bool = False
    """A request to history was sent about the present silence."""
    _gap_from: int | None = None
    gaps: deque[int] = field(default_factory=lambda: deque(maxlen=_GAPS))

    @property
    def is_bars(self) -> bool:
        return self.key.kind.startswith("bars:")

    @property
    def frame(self) -> str:
        """The timeframe of its own series, of a stream of bars."""
        return self.key.kind.partition(":")[2]

    def blocked(self, now: int) -> frozenset[Source]:
        """The ways by which it cannot be had now."""
        return frozenset(source for source, block in self.blocks.items() if now < block.until)

    def strongest_block(self, now: int) -> Block | None:
        """Why it cannot be had at all; None when there is a way."""
        ways = SOURCES[self.key.kind]
        if not set(ways) <= self.blocked(now):
            return None
        return max((self.blocks[way] for way in ways), key=lambda block: (block.refused, -block.until))

    def spoke(self, now: int, machine_s: float, event_ns: int | None = None) -> None:
        """Something came of it. event_ns: IB's own time of it, where it has one, as a fast clock makes several events one."""
        self.last_event_s = machine_s
        at = now if event_ns is None else event_ns
        if self._gap_from is not None and at > self._gap_from:
            self.gaps.append(at - self._gap_from)
        self._gap_from = at
        self.last_event_at = now
        self.attempts = 0
        self.probed = False

    def usual_gap_ns(self) -> int:
        """The median time between two events; 0 while too few came."""
        return int(median(self.gaps)) if len(self.gaps) >= 5 else 0

    def broke_off(self, now: int, machine_s: float) -> bool:
        """It is lost, or, as nobody has noticed yet that the socket is dead, silent for longer than one that speaks all the time
        ever is before a close. A bar that closes now, though nothing shows that it is over, may lack its end."""
        if self.lost_at is not None:
            return True
        if not 0 < self.usual_gap_ns() <= _STEADY_NS or machine_s - self.last_event_s < _LEAST_S:
            return False
        session = self.calendar.latest_session(now) if self.calendar is not None else None
        until = now if session is None else min(now, session.close_ns)
        longer = sorted(self.gaps)[-1 - len(self.gaps) // 10]  # nine of ten are not longer: an outage is no habit
        return until - (self.last_event_at or until) > max(_BELIEVED_NS, _TIMES_LONG * longer)

    def row(self) -> StreamRow:
        return StreamRow(
            *self.key,
            source=self.source.value if self.source else "",
            state=self.state.value,
            reason=self.reason,
            refused_code=self.code,
            feed=self.feed,
            priority=max(0, self.want.priority),
            since=self.since,
            last_event_at=self.last_event_at,
            confirmed_until=self.confirmed_until,
            holes=self.holes,
            resubscribed=self.resubscribed,
        )


def wanted_streams(wants: Iterable[CurrentWant]) -> dict[StreamKey, StreamWant]:
    """The streams that serve these wants. Bars of a minute and longer are one stream of minutes."""
    found: dict[StreamKey, StreamWant] = {}
    for want in wants:
        key = stream_of(want.con_id, want.kind, want.timeframe, price=want.price, session=want.session)
        before = found.get(key, StreamWant(want.priority, _seconds(want.since), frozenset()))
        found[key] = StreamWant(
            max(before.priority, want.priority),
            min(before.since_s, _seconds(want.since)),
            before.timeframes | ({want.timeframe} if want.timeframe else frozenset()),
        )
    return found


def _seconds(when: datetime) -> float:
    return when.timestamp()


def market_s(ns: int) -> float:
    """A time in ns as seconds."""
    return ns / NS_PER_S
