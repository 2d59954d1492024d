"""Charts of a report as SVG without script.

A chart is as wide as the page and always as high. Lines lie in an inner picture that takes any width; texts and marks lie beside
it by percent, so that they keep their size. Colours come from the page's style sheet, by class.

The horizontal axis counts points, not time: nights and weekends, when nothing trades, take no room.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import NamedTuple

from nautilus.clock import NS_PER_DAY, datetime_of

HEIGHT = 240
"""Pixels; the prices' chart is higher."""
_TOP, _BOTTOM = 10, 24
_WIDTH = 1000
"""Units of the inner picture."""
_TICKS = 5
_DATES = 5
_COLUMNS = 500
"""Of more points only so many columns are drawn, each from its lowest to its highest value."""


class Mark(NamedTuple):
    """A point on a chart. shape: `up` or `down`. text: shown when the pointer rests on it."""

    ts: int
    value: float
    shape: str
    text: str


class Scale(NamedTuple):
    """The vertical axis, from low to high, with the values that are written beside it."""

    low: float
    high: float
    ticks: tuple[float, ...]

    def y(self, value: float, height: int) -> float:
        """Pixels from the top."""
        return _TOP + (self.high - value) / (self.high - self.low) * (height - _TOP - _BOTTOM)


def scale(low: float, high: float) -> Scale:
    """An axis with round steps that holds both values."""
    if not high > low:
        room = abs(low) * 0.01 or 1.0
        low, high = low - room, high + room
    rough = (high - low) / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(one * power for one in (1, 2, 2.5, 5, 10) if one * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = tuple(n * step for n in range(first, last + 1))
    return Scale(ticks[0], ticks[-1], ticks)


class Column(NamedTuple):
    """Some points that stand next to each other. at: of the last, counted from 0."""

    at: int
    low: float
    high: float
    last: float


def columns(points: Sequence[tuple[float, float, float]]) -> list[Column]:
    """At most some 500 columns of (low, high, last)."""
    size = max(1, math.ceil(len(points) / _COLUMNS))
    found = []
    for begin in range(0, len(points), size):
        part = points[begin : begin + size]
        last = begin + len(part) - 1
        found.append(Column(last, min(p[0] for p in part), max(p[1] for p in part), part[-1][2]))
    return found


class Axis:
    """The horizontal axis: times in their order, each one step from the next."""

    def __init__(self, times: Sequence[int]) -> None:
        self.times = times
        self._steps = max(len(times) - 1, 1)

    def share(self, index: int) -> float:
        """Where the point with this index lies, 0 to 1."""
        return index / self._steps

    def share_of(self, ts: int) -> float:
        """Where a time lies: at the first point that is not before it."""
        return self.share(min(bisect_left(self.times, ts), len(self.times) - 1))

    def labels(self) -> list[tuple[float, str]]:
        """Dates, or times of day where all is of two days, at a few points."""
        short = self.times[-1] - self.times[0] < 2 * NS_PER_DAY
        wanted = dict.fromkeys(round(n * (len(self.times) - 1) / (_DATES - 1)) for n in range(_DATES))
        shape = "%d %b %H:%M" if short else "%d %b %Y"
        return [(self.share(index), datetime_of(self.times[index]).strftime(shape)) for index in wanted]


Write = Callable[[float], str]


def line_chart(
    title: str, times: Sequence[int], values: Sequence[float], *, write: Write, kind: str, height: int = HEIGHT
) -> str:
    """One value over time, with the area below it. kind: class of its colours. Empty without points."""
    return _chart(title, times, [(v, v, v) for v in values], write=write, kind=kind, height=height)


def price_chart(
    title: str,
    times: Sequence[int],
    prices: Sequence[tuple[float, float, float]],
    *,
    marks: Iterable[Mark],
    write: Write,
) -> str:
    """Bars as (low, high, close) over time, with marks on them. Empty without bars."""
    return _chart(title, times, prices, write=write, kind="price", height=HEIGHT + 100, marks=tuple(marks))


def _chart(
    title: str,
    times: Sequence[int],
    points: Sequence[tuple[float, float, float]],
    *,
    write: Write,
    kind: str,
    height: int,
    marks: Sequence[Mark] = (),
) -> str:
    if not points:
        return ""
    shown = columns(points)
    lowest, highest = min(c.low for c in shown), max(c.high for c in shown)
    found = scale(min([lowest, *(m.value for m in marks)]), max([highest, *(m.value for m in marks)]))
    axis = Axis(times)
    drawn = "".join(
        (
            _grid(found, axis, write, height),
            _lines(shown, axis, found, kind=kind, height=height),
            *(_mark(mark, axis, found, height) for mark in marks),
        )
    )
    return (
        f'<svg class="chart" role="img" aria-label="{escape(title)}" width="100%" height="{height}">'
        f"<title>{escape(title)}</title>{drawn}</svg>"
    )


def _grid(found: Scale, axis: Axis, write: Write, height: int) -> str:
    parts = []
    for tick in found.ticks:
        y = found.y(tick, height)
        parts.append(f'<line class="grid" x1="0" x2="100%" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="4" y="{y - 3:.1f}">{escape(write(tick))}</text>')
    labels = axis.labels()
    for n, (share, text) in enumerate(labels):
        anchor = "start" if n == 0 else "end" if n == len(labels) - 1 else "middle"
        inner = ' class="date inner"' if 0 < n < len(labels) - 1 else ' class="date"'
        parts.append(f'<text{inner} x="{share:.2%}" y="{height - 6}" text-anchor="{anchor}">{escape(text)}</text>')
    return "".join(parts)


def _lines(shown: Sequence[Column], axis: Axis, found: Scale, *, kind: str, height: int) -> str:
    def points(values: Iterable[tuple[int, float]]) -> str:
        return " ".join(f"{axis.share(at) * _WIDTH:.1f},{found.y(value, height):.1f}" for at, value in values)

    last = points((c.at, c.last) for c in shown)
    if kind == "price":
        area = points([*((c.at, c.high) for c in shown), *((c.at, c.low) for c in reversed(shown))])
    else:
        ground = found.low if kind == "equity" else found.high
        area = points([(shown[0].at, ground), *((c.at, c.last) for c in shown), (shown[-1].at, ground)])
    return (
        f'<svg class="{kind}" width="100%" height="{height}" viewBox="0 0 {_WIDTH} {height}" preserveAspectRatio="none">'
        f'<polygon class="area" points="{area}"/><polyline class="line" points="{last}"/></svg>'
    )


_SHAPES = {"up": "M0,2 5,11 -5,11Z", "down": "M0,-2 5,-11 -5,-11Z"}


def _mark(mark: Mark, axis: Axis, found: Scale, height: int) -> str:
    x, y = axis.share_of(mark.ts), found.y(mark.value, height)
    return (
        f'<svg x="{x:.3%}" y="{y:.1f}" overflow="visible"><path class="{mark.shape}" d="{_SHAPES[mark.shape]}">'
        f"<title>{escape(mark.text)}</title></path></svg>"
    )
