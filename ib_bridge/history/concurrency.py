"""How many requests may be open at once: one more after quick rounds of answers, fewer when IB answers slowly.

IB serves bars of a minute and more without hard limits but with a balancer that slows down who asks too much (TWS API,
historical data limitations). Slower answers are the only sign, so they are compared with what is usual for their kind.
"""

from dataclasses import dataclass, field
from math import inf
from statistics import median

SLOW_RATIO = 2.0
"""Answers this much slower than usual for their kind mean: too many at once. They vary by a half by themselves."""
FIRST_ANSWERS = 3
"""So many answers of a kind tell what is usual."""
DRIFT = 1.25
"""How far above its least the usual time may rise: what slowly becomes slower must not pass for usual in the end."""
ROUND, FIRST_ROUND = 8, 4
"""So many answers at least are judged together, as answers vary by themselves; fewer while nothing was slow yet."""
QUICK_ROUNDS = 32
"""So many quick rounds before one more request may be open, once a number was too many."""
SLOW_FACTOR, TROUBLE_FACTOR = 0.8, 0.5
"""What is left of the number after a slow round, and after a time-out or a pacing violation."""


@dataclass
class _Usual:
    """How long answers of a kind usually take: a mean, not the quickest ever, because answers vary by themselves."""

    ms: float = 0.0
    least_ms: float = inf
    answers: int = 0

    def ratio(self, ms: float) -> float:
        """How slow this answer is against what is usual; 1.0 while that is not known. Slow ones change nothing."""
        known = self.answers >= FIRST_ANSWERS
        if not known or ms < self.ms * SLOW_RATIO:
            self.answers = min(self.answers + 1, 32)
            self.ms += (ms - self.ms) / self.answers
        if known:
            self.least_ms = min(self.least_ms, self.ms)
            self.ms = min(self.ms, DRIFT * self.least_ms)
        return ms / self.ms if known else 1.0


@dataclass
class Concurrency:
    """A level between 1 and `cap` with additive increase and multiplicative decrease."""

    cap: int
    level: int = 1
    epoch: int = 0
    """Counts the changes of level. A request takes it along, so that its answer is held against the right level."""
    _careful: bool = False
    """True once a level was too many."""
    _quick_rounds: int = 0
    """At this level, one after the other."""
    _usual: dict[tuple[str, int], _Usual] = field(default_factory=dict)
    _ratios: list[float] = field(default_factory=list)

    @property
    def allowed(self) -> int:
        """How many requests may be open now."""
        return self.level

    def answered(self, epoch: int, kind: str, bars: int, ms: float) -> None:
        """An answer of `bars` bars of a kind (a timeframe) to a request sent in `epoch` took `ms` of market time."""
        # Answers of a size: within a factor of two the time depends little on the number of bars.
        ratio = self._usual.setdefault((kind, bars.bit_length()), _Usual()).ratio(max(ms, 1.0))
        if epoch != self.epoch:
            return
        self._ratios.append(ratio)
        if len(self._ratios) < max(self.level, ROUND if self._careful else FIRST_ROUND):
            return
        slow = median(self._ratios) > SLOW_RATIO
        self._ratios.clear()
        if not slow:
            self._quick_round()
        elif self.level > 1:
            self._decrease(SLOW_FACTOR)
        else:
            # Slow even alone: that is how IB is now, and no longer our doing. Learn anew what is usual.
            self._usual.clear()
            self._careful = False

    def troubled(self, epoch: int) -> None:
        """A time-out or a pacing violation of a request sent in `epoch`. Of one burst only the first counts."""
        if epoch == self.epoch:
            self._decrease(TROUBLE_FACTOR)

    def _quick_round(self) -> None:
        self._quick_rounds += 1
        if self.level < self.cap and self._quick_rounds >= (QUICK_ROUNDS if self._careful else 1):
            self._move(self.level + 1)

    def _decrease(self, factor: float) -> None:
        self._careful = True
        self._move(max(1, int(self.level * factor)))

    def _move(self, level: int) -> None:
        self.level = level
        self._quick_rounds = 0
        self._ratios.clear()
        self.epoch += 1
