"""Where a new answer meets bars that were stored earlier: the same, revised, or on another scale after a split.

IB adjusts all older bars when a stock splits (TRADES are split-adjusted; TWS API, historical bars), so bars stored before
the split no longer fit to those fetched after it. At least five overlapping bars that differ by one ratio are a split;
single differing bars are revisions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nautilus.market.bar import Bar

LEAST_BARS = 5
OVERLAP_BARS = 12
"""How many bars a request reaches into what is there, so that a bar or two may be missing or revised."""
_SAME = 1e-9
_SPREAD = 0.004
"""Prices after a split are rounded to the tick again: ratios of one split scatter by about a tick over the price."""
_LEAST_SPLIT = 0.02
"""Smaller ratios are stock dividends at most; they are left as revisions."""


@dataclass(frozen=True, slots=True)
class OverlapCheck:
    """What the overlap shows: `ratio` (new price over old) when there was a split, and the bars that were revised."""

    ratio: float | None
    revised: tuple[Bar, ...]


def compare(new: Sequence[Bar], old: Mapping[int, Bar]) -> OverlapCheck:
    """Compare the bars of an answer with those stored at the same ts."""
    pairs = [(bar, old[bar.ts]) for bar in new if bar.ts in old]
    differing = [(bar, was) for bar, was in pairs if bar != was]
    moved = [(bar, was) for bar, was in differing if was.close and abs(bar.close / was.close - 1) > _SAME]
    ratios = [bar.close / was.close for bar, was in moved]
    if len(ratios) >= LEAST_BARS and len(ratios) >= 0.8 * len(pairs):
        middle = sorted(ratios)[len(ratios) // 2]
        # Prices that become nothing, or change their sign, are revised; no split does that.
        if middle > 0 and abs(middle - 1) >= _LEAST_SPLIT and _are_alike(ratios, middle):
            return OverlapCheck(middle, ())
    return OverlapCheck(None, tuple(bar for bar, _ in differing))


def _are_alike(ratios: Sequence[float], middle: float) -> bool:
    alike = [r for r in ratios if abs(r / middle - 1) <= _SPREAD]
    return len(alike) >= LEAST_BARS and len(alike) >= 0.8 * len(ratios)
