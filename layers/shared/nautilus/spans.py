"""Half-open ranges of integers, kept sorted, disjoint and merged: the arithmetic under planning and coverage."""

from collections.abc import Iterable, Iterator

Span = tuple[int, int]
"""(start, end), end excluded, in nanoseconds on a series' axis."""


class Spans:
    """An immutable set of integers as a handful of ranges. `a | b`, `a & b`, `a - b` are what they look like."""

    __slots__ = ("_ranges",)

    def __init__(self, ranges: Iterable[Span] = ()) -> None:
        merged: list[Span] = []
        for start, end in sorted(r for r in ranges if r[0] < r[1]):
            if merged and start <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((start, end))
        self._ranges: tuple[Span, ...] = tuple(merged)

    @classmethod
    def of(cls, start: int, end: int) -> "Spans":
        return cls([(start, end)])

    def __iter__(self) -> Iterator[Span]:
        return iter(self._ranges)

    def __len__(self) -> int:
        return len(self._ranges)

    def __bool__(self) -> bool:
        return bool(self._ranges)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Spans) and self._ranges == other._ranges

    def __hash__(self) -> int:
        return hash(self._ranges)

    def __repr__(self) -> str:
        return f"Spans({list(self._ranges)})"

    def __or__(self, other: "Spans") -> "Spans":
        return Spans((*self._ranges, *other._ranges))

    def __and__(self, other: "Spans") -> "Spans":
        out: list[Span] = []
        i = j = 0
        while i < len(self._ranges) and j < len(other._ranges):
            a, b = self._ranges[i], other._ranges[j]
            start, end = max(a[0], b[0]), min(a[1], b[1])
            if start < end:
                out.append((start, end))
            if a[1] < b[1]:
                i += 1
            else:
                j += 1
        return Spans(out)

    def __sub__(self, other: "Spans") -> "Spans":
        out: list[Span] = []
        j = 0
        for start, end in self._ranges:
            while j < len(other._ranges) and other._ranges[j][1] <= start:
                j += 1
            k = j
            while k < len(other._ranges) and other._ranges[k][0] < end:
                cut_start, cut_end = other._ranges[k]
                if start < cut_start:
                    out.append((start, cut_start))
                start = max(start, cut_end)
                k += 1
            if start < end:
                out.append((start, end))
        return Spans(out)

    def __contains__(self, point: object) -> bool:
        return isinstance(point, int) and any(start <= point < end for start, end in self._ranges)

    def covers(self, span: Span) -> bool:
        """True when the whole span lies in one of the ranges (an empty span always does)."""
        start, end = span
        return start >= end or any(a <= start and end <= b for a, b in self._ranges)

    @property
    def total(self) -> int:
        """How many integers are in it."""
        return sum(end - start for start, end in self._ranges)
