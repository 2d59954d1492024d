"""How many requests may be open at once: as many as allowed, fewer while IB answers slowly, more again when it is quick.

IB serves bars of a minute and more without hard limits but with a balancer that slows down who asks too much (TWS API,
historical data limitations). Slower answers are the only sign, so they are compared with what is usual for their kind.
"""

from dataclasses import dataclass, field
from math import inf
from statistics import median

SLOW_RATIO = 1.5
"""Answers this much slower than usual for their kind mean: too many at once."""
QUICK_RATIO = 1.25
FIRST_ANSWERS = 3
"""So many answers, one request at a time, tell what is usual."""
ROUND = 8
"""So many answers at least are thought over together: answers vary by themselves."""
PATIENCE = 32
"""Quick rounds before a number that was too many is tried again; twice as many after each further failure."""
MOST_PATIENCE = 256


@dataclass
class _Usual:
    """How long answers of a kind usually take: a mean, not the quickest ever, because answers vary by themselves."""

    ms: float = 0.0
    least_ms: float = inf
    """The least mean: what slowly becomes slower must not pass for usual in the end."""
    answers: int = 0
    _first: list[float] = field(default_factory=list)

    def ratio(self, ms: float) -> float:
        """How slow this answer is against what is usual; 1.0 while that is not known. Slow ones change nothing."""
        if self.answers < FIRST_ANSWERS:
            self._first.append(ms)
            self.ms = median(self._first)
            self.answers += 1
            return 1.0
        if ms < self.ms * SLOW_RATIO:
            self.answers = min(self.answers + 1, 32)
            mean = self.ms + (ms - self.ms) / self.answers
            self.least_ms = min(self.least_ms, mean)
            self.ms = min(mean, QUICK_RATIO * self.least_ms)
        return ms / self.ms


@dataclass
class Concurrency:
    """A level between 1 and `cap` that climbs by single steps: one too many costs more than some rounds of one too few.

    A step up is a trial: when its answers are slow, the level before was right, and the next trial waits longer. A level
    that was right and becomes slow is cut by a quarter, again and again.
    """

    cap: int
    level: int = 1
    epoch: int = 0
    """Counts the changes of level. A request takes it along, so that its answer is held against the right level."""
    _before: int = 0
    """The level before a trial, which the first level is too; the same as `level` when there is none."""
    _bad: int | None = None
    """The lowest level that was too many; None while there was none."""
    _patience: int = 1
    _rounds: int = 0
    """Quick rounds at this level."""
    _usual: dict[tuple[str, int], "_Usual"] = field(default_factory=dict)
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
        if self._before < self.level:
            self._judge_trial()
        elif len(self._ratios) >= max(self.level, ROUND):
            self._judge_round()

    def troubled(self) -> None:
        """A time-out or a pacing violation: halve."""
        self._bad, self._patience = self.level, PATIENCE
        self._move(max(1, self.level // 2))

    def _judge_trial(self) -> None:
        """A trial that hurts ends at the third slow answer; one that does not lasts a round."""
        count, middle = len(self._ratios), median(self._ratios)
        if count >= max(self.level, FIRST_ANSWERS + 1):
            if middle > SLOW_RATIO:
                self._take_back()
            elif middle < QUICK_RATIO:
                self._bad = None if self._bad is not None and self.level >= self._bad else self._bad
                self._before, self._patience = self.level, 1
                self._climb()
            else:
                self._before = self.level
            self._ratios.clear()
        elif count == FIRST_ANSWERS and min(self._ratios) > SLOW_RATIO:
            self._take_back()

    def _judge_round(self) -> None:
        """Think the level over after a round of answers."""
        middle = median(self._ratios)
        self._ratios.clear()
        if middle > SLOW_RATIO and self.level == 1:
            # Slow even alone: that is how IB is now, and no longer our doing. Learn anew what is usual.
            self._usual.clear()
            self._bad, self._patience = None, 1
        elif middle > SLOW_RATIO:
            self._bad, self._patience = self.level, 1
            self._move(max(1, self.level * 3 // 4))
        elif middle < QUICK_RATIO:
            self._rounds += 1
            self._climb()

    def _take_back(self) -> None:
        self._bad = self.level
        self._patience = min(MOST_PATIENCE, 2 * self._patience) if self._patience >= PATIENCE else PATIENCE
        self._move(max(1, self._before))

    def _climb(self) -> None:
        """Try one more, unless that was too many lately."""
        held_back = self._bad == self.level + 1 and self._rounds < self._patience
        if self.level < self.cap and not held_back:
            before = self.level
            self._move(before + 1)
            self._before = before

    def _move(self, level: int) -> None:
        self._before = self.level = level
        self._rounds = 0
        self._ratios.clear()
        self.epoch += 1
