"""How long the simulated gateway takes to answer: not at all, a fixed time, or as measured."""

from dataclasses import dataclass
from itertools import pairwise

# Calendar length divided by bar size -> seconds: one-minute AAPL over 1 W, 2 W, 1 M and 2 M, measured by others against
# a demo account (0.21, 5.98, 24 and 60 s). Ten years of daily bars took 0.32 s: the archive's surcharge below.
_CURVE = ((0.0, 0.13), (10_080.0, 0.21), (20_160.0, 5.98), (43_200.0, 24.0), (86_400.0, 60.0))
_ARCHIVE_S = 0.16
_OTHERS_S = {  # ours, in the range that users report
    "reqContractDetails": 0.08,
    "reqMatchingSymbols": 0.12,
    "reqSecDefOptParams": 0.15,
    "reqHeadTimestamp": 0.15,
    "reqHistoricalTicks": 0.25,
    "reqHistogramData": 0.25,
    "reqMktData": 0.5,  # a snapshot; IB collects for up to eleven seconds
    "placeOrder": 0.03,
    "cancelOrder": 0.03,
    "reqGlobalCancel": 0.03,
}


@dataclass
class Latency:
    """`mode`: none, measured or fixed (then `fixed_s`). `factor` is what the command `slow` sets."""

    mode: str = "none"
    fixed_s: float = 0.0
    factor: float = 1.0

    @classmethod
    def parse(cls, text: str) -> "Latency":
        """Raises ValueError naming what is allowed."""
        if text in ("none", "measured"):
            return cls(text)
        try:
            fixed_ms = float(text)
        except ValueError:
            fixed_ms = -1.0
        if not 0 <= fixed_ms <= 3_600_000:
            raise ValueError(
                f"latency: {text!r} is not allowed; allowed: none, measured, or milliseconds (0 to 3600000)"
            )
        return cls("fixed", fixed_ms / 1000)

    def of(self, kind: str) -> float:
        """Seconds of market time for a request that is no history."""
        if self.mode == "measured":
            return _OTHERS_S.get(kind, 0.0) * self.factor
        return (self.fixed_s if kind in _OTHERS_S else 0.0) * self.factor

    def of_history(self, size_s: int, length_s: int) -> float:
        """Seconds for bars of `size_s` over `length_s` calendar seconds; grows steeply beyond 10,000 steps."""
        if self.mode != "measured":
            return self.fixed_s * self.factor
        seconds = _interpolate(length_s / size_s)
        return (seconds + (_ARCHIVE_S if size_s >= 86_400 else 0.0)) * self.factor


def _interpolate(steps: float) -> float:
    pieces = list(pairwise(_CURVE))
    (low, low_s), (high, high_s) = next((piece for piece in pieces if steps <= piece[1][0]), pieces[-1])
    return low_s + (steps - low) * (high_s - low_s) / (high - low)
