"""Market time: IB's clock, or the simulator's virtual one.

IB tells its time in whole seconds, so one answer says where its clock stands to about a second. Many answers say it to a
few milliseconds: each bounds how far IB's clock is ahead of ours, and all of them hold at once. Pacing measures spans of
market time to 50 ms, so what was once chosen stays as long as it is possible, is corrected by running a little slower or
faster, and never goes back.
"""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from nautilus.clock import NS_PER_S, MarketTime

_DRIFT = 100e-6
"""How much two clocks may differ in speed: quartz is good for 50 parts in a million, less in the heat."""
_FASTER = 40e-6
"""What is behind is caught up with so slowly, beyond the drift that is proven, that ten minutes are 24 ms short: pacing has
50 ms in hand."""
_SLOWER = 0.05
"""What is ahead waits for IB's clock: then every rule is kept for longer than need be."""
_MUCH_SLOWER = 0.5
"""The same for more than a second."""
_FIRST_NS = 2 * NS_PER_S
"""In this time after the first answer better knowledge counts at once: no request has been sent yet."""
_OTHER_CLOCK_NS = 600 * NS_PER_S
"""A clock that is so far behind what it was is another clock."""


class Bounds(NamedTuple):
    """IB's clock is between `low` and `high` ns ahead of ours, as known at `at` of our clock."""

    low: int
    high: int
    at: int

    def later(self, at: int) -> "Bounds":
        """The same knowledge at a later time: the clocks may have drifted apart meanwhile."""
        grown = int((at - self.at) * _DRIFT)
        return Bounds(self.low - grown, self.high + grown, at)

    def meet(self, other: "Bounds") -> "Bounds | None":
        """What both say, at the later of their times; None when they contradict each other."""
        at = max(self.at, other.at)
        one, two = self.later(at), other.later(at)
        low, high = max(one.low, two.low), min(one.high, two.high)
        return Bounds(low, high, at) if low <= high else None

    def nearest(self, offset: int) -> int:
        return min(max(offset, self.low), self.high)


class Course(NamedTuple):
    """Market time as a line, and until when (steady ns) it runs at a rate of its own before it goes on at the clock's."""

    line: MarketTime
    until: int | None = None

    def at(self, steady_ns: int) -> int:
        if self.until is None or steady_ns <= self.until:
            return self.line.at(steady_ns)
        return self.line.at(self.until) + steady_ns - self.until


def steady_since_the_epoch() -> Callable[[], int]:
    """A clock of nanoseconds since the epoch as this machine's clock tells them now, which later settings do not move."""
    ahead = time.time_ns() - time.monotonic_ns()
    return lambda: time.monotonic_ns() + ahead


class MarketClock:
    """Market time on this machine's steady clock. `wall` tells machine time (ns since the epoch), `steady` nanoseconds that
    nobody sets."""

    def __init__(self, wall: Callable[[], int] = time.time_ns, steady: Callable[[], int] | None = None) -> None:
        self._wall = wall
        self.steady_ns = steady or steady_since_the_epoch()
        self._rate = 1.0
        self._course = Course(MarketTime(self.steady_ns(), wall()))
        self._bounds: Bounds | None = None
        self._first: Bounds | None = None
        self._contradiction: Bounds | None = None
        self._early_until = 0

    @property
    def reading(self) -> MarketTime:
        """How to read market time off machine time from now on."""
        return MarketTime(self._wall(), self.now_ns(), self._rate)

    def now_ns(self) -> int:
        """Market time now; any thread may ask."""
        return self._course.at(self.steady_ns())

    def machine_s(self, market_ns: int) -> float:
        """How many seconds of machine time a span of market time takes; bounded, so that a stopped clock is re-read."""
        return min(5.0, max(0.0, market_ns / NS_PER_S / self._rate)) if self._rate > 0 else 0.2

    def learn(self, market_ns: int, rate: float, requested_ns: int, answered_ns: int) -> None:
        """Take a simulator's word: `market_ns` was true between asking and the answer (steady ns). It may jump."""
        self._bounds = self._first = self._contradiction = None
        self._rate = rate
        self._course = Course(MarketTime((requested_ns + answered_ns) // 2, market_ns, rate))

    def learn_seconds(self, market_s: int, requested_ns: int, answered_ns: int) -> None:
        """Take IB's answer: its clock showed `market_s` whole seconds at some time between request and answer (steady ns)."""
        bounds = Bounds(market_s * NS_PER_S - answered_ns, (market_s + 1) * NS_PER_S - requested_ns, answered_ns)
        if self._bounds is None:
            self._begin(bounds)
        elif (known := self._bounds.meet(bounds)) is not None:
            self._bounds, self._contradiction = known, None
            self._correct(known)
        elif self._contradiction is not None and (found := self._contradiction.meet(bounds)) is not None:
            self._restart(found)
        else:
            self._contradiction = bounds  # one answer alone may be damaged: the next one decides

    @property
    def uncertain(self) -> bool:
        """True while a few more answers at once would tell much."""
        return self._bounds is None or self.steady_ns() < self._early_until

    def _begin(self, bounds: Bounds) -> None:
        """The first answer: market time is where it can be, and nobody has used it yet."""
        self._bounds = self._first = bounds
        self._rate = 1.0
        self._early_until = bounds.at + _FIRST_NS
        self._set(bounds.at, self._likely(bounds))

    def _likely(self, known: Bounds) -> int:
        """The machine's own clock where it can be right, else the middle."""
        own = self._wall() - self.steady_ns()
        return own if known.low <= own <= known.high else (known.low + known.high) // 2

    def _restart(self, found: Bounds) -> None:
        """Two answers agree that the clock is not where it was: this machine slept, or somebody set a clock."""
        self._bounds = self._first = found
        self._contradiction = None
        offset = self._offset(found.at)
        if offset < found.low or offset - found.high > _OTHER_CLOCK_NS:
            self._set(found.at, found.nearest(offset))
        else:
            self._correct(found)

    def _correct(self, known: Bounds) -> None:
        """Keep what was chosen while it is possible; else go to the nearest that is, never back."""
        offset = self._offset(known.at)
        early = known.at < self._early_until
        if early:
            self._first = known
        ahead = offset - (self._likely(known) if early else known.nearest(offset))
        if ahead > 0:
            self._bend(known.at, ahead, -_SLOWER if ahead <= NS_PER_S else -_MUCH_SLOWER)
        elif ahead < 0 and early:
            self._set(known.at, offset - ahead)
        elif ahead < 0:
            self._bend(known.at, -ahead, _FASTER + self._proven_drift(known))
        else:
            self._set(known.at, offset)

    def _proven_drift(self, known: Bounds) -> float:
        """How much faster than ours IB's clock must have run at least since the first answers."""
        first = self._first or known
        return max(0.0, (known.low - first.high) / max(1, known.at - first.at))

    def _offset(self, at: int) -> int:
        return self._course.at(at) - at

    def _set(self, at: int, offset: int) -> None:
        self._course = Course(MarketTime(at, at + offset))

    def _bend(self, at: int, distance: int, by: float) -> None:
        """Run faster or slower until a distance is made good."""
        self._course = Course(MarketTime(at, self._course.at(at), 1.0 + by), at + int(distance / abs(by)))


async def read_control(host: str, port: int) -> tuple[int, float]:
    """(now_ns, rate) of the simulator's clock. OSError or ValueError when its control port does not tell."""
    answer = await ask_control(host, port, "clock")
    try:
        return int(answer["now_ns"]), float(answer["rate"])
    except (KeyError, TypeError) as lacking:
        raise ValueError(f"the control port told no time: {answer}") from lacking


async def ask_control(host: str, port: int, command: str) -> dict[str, Any]:
    """What the simulator's control port answers. OSError when nobody does, ValueError when it refuses."""
    reader, writer = await asyncio.wait_for(asyncio.open_connection(host, port), 5)
    try:
        writer.write(command.encode() + b"\n")
        await writer.drain()
        answer = json.loads(await asyncio.wait_for(reader.readline(), 5))
    finally:
        writer.close()
    if not isinstance(answer, dict) or not answer.get("ok"):
        raise ValueError(f"the control port refused: {answer}")
    return dict(answer)
