"""How many requests may be open at once: as many as allowed, fewer while IB answers slowly, more again when it is quick.

IB serves bars of a minute and more without hard limits but with a balancer that slows down who asks too much (TWS API,
historical data limitations). Slower answers are the only sign, so they are compared with the quickest of their kind.
"""

from collections import deque
from dataclasses import dataclass, field

SLOW_RATIO = 1.5
"""Answers this much slower than the quickest of their kind mean: too many at once."""
QUICK_RATIO = 1.25


@dataclass
class Concurrency:
    """Additive increase, multiplicative decrease between 1 and `cap`.

    Begins with two, to learn what quick means before there is a crowd, and doubles until the first slow round.
    """

    cap: int
    level: float = 2.0
    _doubling: bool = True
    _best_ms: dict[tuple[str, int], float] = field(default_factory=dict)
    _ratios: deque[float] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self.level = min(self.level, float(self.cap))

    @property
    def allowed(self) -> int:
        """How many requests may be open now."""
        return max(1, int(self.level))

    def answered(self, kind: str, bars: int, ms: float) -> None:
        """An answer of `bars` bars of a kind (a timeframe) took `ms`. Every `level` answers the level is thought over."""
        # Answers of a size: within a factor of two the time depends little on the number of bars.
        key = (kind, bars.bit_length())
        ms = max(ms, 1.0)
        best = min(ms, self._best_ms.get(key, ms))
        self._best_ms[key] = best
        self._ratios.append(ms / best)
        if len(self._ratios) < self.allowed:
            return
        middle = sorted(self._ratios)[len(self._ratios) // 2]
        self._ratios.clear()
        if middle > SLOW_RATIO and self.level == 1.0:
            # Slow even alone: that is how IB is now, and no longer our doing. Learn anew what quick means.
            self._best_ms.clear()
        elif middle > SLOW_RATIO:
            self._doubling = False
            self.level = max(1.0, self.level * 0.75)
        elif middle < QUICK_RATIO:
            self.level = min(float(self.cap), self.level * 2 if self._doubling else self.level + 1.0)

    def troubled(self) -> None:
        """A time-out or a pacing violation: halve."""
        self._ratios.clear()
        self._doubling = False
        self.level = max(1.0, self.level / 2)
