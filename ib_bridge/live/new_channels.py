"""Channels of bars that begin while their stream runs, and what their first listeners may have missed.

Who asks for a channel reads a snapshot at once. The bridge publishes the channel when it has read the want, a second or more
later. What the stream brought or history answered between the two was published to nobody: it is published when
the channel begins. Without that a listener would keep a bar that still formed, and take it for confirmed with the next range.
"""

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from nautilus.clock import NS_PER_S
from nautilus.live.bars import LiveState
from nautilus.live.confirmation import Outcome, Report
from nautilus.live.subscriptions import StreamKey
from nautilus.market.bar import Bar
from nautilus.market.timeframes import Timeframe
from nautilus.spans import Spans

_UNREAD_NS = 120 * NS_PER_S
"""Machine time within which a want is read, with much to spare: what history answered in that time is published again."""


class Answered(NamedTuple):
    """One answer of history. spans: the time that it answered. withdrawn: the bars that it has not."""

    steady_ns: int
    version: int
    spans: Spans
    withdrawn: tuple[Outcome, ...]


class Begun(NamedTuple):
    """Timeframes of a stream that are published from now on, and what history answered shortly before.

    answered: the time of its answers. withdrawn: bars that it has not, each with the version that says so.
    """

    frames: frozenset[str]
    answered: Spans
    withdrawn: tuple[tuple[Outcome, int], ...]


NOTHING = Begun(frozenset(), Spans(), ())


class NewChannels:
    """Which timeframes of which streams are published. Times of the calls are those of a steady clock, in ns."""

    def __init__(self) -> None:
        self._frames: dict[StreamKey, frozenset[str]] = {}
        self._answered: dict[StreamKey, deque[Answered]] = {}
        self._unheard: dict[StreamKey, Spans] = {}
        """The time of which bars of the stream's own timeframe are to be published again."""

    def begin(self, key: StreamKey, frames: frozenset[str], own: str, steady_ns: int) -> Begun:
        """These timeframes are wanted of a stream; those that were not before. Of a stream that begins, none: nothing of it was
        published to nobody."""
        before, self._frames[key] = self._frames.get(key), frames
        if before is None or not frames - before:
            return NOTHING
        lately = self._since(key, steady_ns - _UNREAD_NS)
        answered = Spans(span for one in lately for span in one.spans)
        if own in frames - before:
            self._unheard[key] = self._unheard.get(key, Spans()) | answered
        withdrawn = tuple((outcome, one.version) for one in lately for outcome in one.withdrawn)
        return Begun(frames - before, answered, withdrawn)

    def _since(self, key: StreamKey, steady_ns: int) -> deque[Answered]:
        found = self._answered.setdefault(key, deque())
        while found and found[0].steady_ns < steady_ns:
            found.popleft()
        return found

    def answered(self, key: StreamKey, frame: Timeframe, report: Report, steady_ns: int) -> None:
        """History has answered for bars of a stream."""
        bars = Spans((one.bar.ts, one.bar.ts + frame.step_ns) for one in report.outcomes)
        gone = tuple(one for one in report.outcomes if one.state is LiveState.WITHDRAWN)
        lately = self._since(key, steady_ns - _UNREAD_NS)
        lately.append(Answered(steady_ns, report.version, bars | report.answered, gone))

    def unheard(self, key: StreamKey, bars: Iterable[Bar], answered: Spans) -> list[Bar]:
        """Of the bars that the database holds of a time, those of the stream's own timeframe that are to be published again."""
        wanted = self._unheard.pop(key, Spans())
        left = wanted - answered
        if left:
            self._unheard[key] = left
        return [bar for bar in bars if bar.ts in wanted]

    def forget(self, key: StreamKey) -> None:
        """The stream is no more."""
        for known in (self._frames, self._answered, self._unheard):
            known.pop(key, None)
