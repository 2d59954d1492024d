"""Fold what a stream sends into bars: five-second bars into minutes, minutes into longer ones, updates into a closed bar.

No clock and no socket: parts and market times go in, states of bars come out. A bar closes by the first of three: a part of
a later slot, the part that ends at the slot's close, and `LATEST_CLOSE_NS` after it (an illiquid minute has no next part for
hours).

Five-second bars of trades come in every slot of an open market: where nothing was traded, IB repeats the last price with
volume 0. Such a filler proves that the stream lives. It makes no price and no bar: folded, it would make bars that history
does not have.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from nautilus.clock import NS_PER_S
from nautilus.live.bars import LiveBar, LiveState
from nautilus.spans import Span

LATEST_CLOSE_NS = 3 * NS_PER_S
"""Market time after a slot's end at which its bar closes without any further part."""


class Part(NamedTuple):
    """A piece of a slot: a five-second bar, a minute, or the newest state of the bar that forms.

    ts: ns since the epoch, UTC, its open. span_ns: how long it is. complete: it does not change any more.
    partial: what it stands for was seen in part only.
    """

    ts: int
    span_ns: int
    open: float
    high: float
    low: float
    close: float
    volume: float | None
    trades: int | None
    complete: bool = True
    partial: bool = False

    @property
    def end(self) -> int:
        return self.ts + self.span_ns


class FoldedSlot(NamedTuple):
    """A slot as it is now. bar: None where no part of it has a price."""

    span: Span
    closed: bool
    bar: LiveBar | None


@dataclass
class _Slot:
    span: Span
    parts: dict[int, Part] = field(default_factory=dict)
    closed: bool = False
    newest: LiveBar | None = None

    def bar(self, real: Sequence[Part], state: LiveState, partial: bool) -> LiveBar | None:
        if not real:
            return None
        return LiveBar(
            self.span[0],
            real[0].open,
            max(part.high for part in real),
            min(part.low for part in real),
            real[-1].close,
            _sum(part.volume for part in real),
            _count(part.trades for part in real),
            state,
            partial,
        )

    def lacks_parts(self, end: int) -> bool:
        """Some of the slot's time before `end` is covered by no complete part."""
        covered = sum(part.span_ns for part in self.parts.values() if part.complete)
        return covered < end - self.span[0]


class Folding:
    """The newest bars of one series.

    slot_of: the slot of a market time, cut at the session's open and close; None where the market is closed.
    every_part_comes: parts come for the whole slot, traded or not, so that an absent one is missing. It holds for five-second
    bars. Of minutes an absent one may have had no trade; a bar is partial there when one of its parts is.
    with_fillers: a part with volume 0 is a filler. It holds for trades, but for an index, which has no volume ever.
    kept: so many slots before the current one are remembered. With more than one, a late part may also make a slot of its own.
    """

    def __init__(
        self, slot_of: Callable[[int], Span | None], *, every_part_comes: bool, with_fillers: bool, kept: int = 1
    ) -> None:
        self._slot_of = slot_of
        self._every_part_comes = every_part_comes
        self._with_fillers = with_fillers
        self._current: _Slot | None = None
        self._kept = kept
        self._before: dict[int, _Slot] = {}
        """By the start of the slot, in order of time."""

    def add(self, part: Part) -> list[LiveBar]:
        """Take a part; the bars that changed, in order of time.

        A part that comes again replaces the first. A late part of a remembered slot makes that bar anew, closed as it was. Older
        parts and parts outside every session are dropped: history has the word on them.
        """
        span = self._slot_of(part.ts)
        if span is None:
            return []
        if self._current is None or span[0] > self._current.span[0]:
            changed = self._close_current()
            if self._current is not None:
                self._keep(self._current)
            self._current = _Slot(span)
            return changed + self._put(self._current, part)
        slot = self._slot(span[0]) or self._late(span)
        return self._put(slot, part) if slot is not None else []

    def remove(self, ts: int) -> list[LiveBar]:
        """Take the part that begins at `ts` out of its slot; the bar that changed. A slot without any part has no bar."""
        for slot in [*self._before.values(), *([self._current] if self._current is not None else [])]:
            if slot.span[0] <= ts < slot.span[1] and slot.parts.pop(ts, None) is not None:
                return self._changed(slot, LiveState.CLOSED if slot.closed else LiveState.FORMING)
        return []

    def slots(self) -> list[FoldedSlot]:
        """The remembered slots and the current one, in order of time."""
        found = [*self._before.values(), *([self._current] if self._current is not None else [])]
        return [FoldedSlot(slot.span, slot.closed, slot.newest) for slot in found]

    def _slot(self, start: int) -> _Slot | None:
        if self._current is not None and self._current.span[0] == start:
            return self._current
        return self._before.get(start)

    def _keep(self, slot: _Slot) -> None:
        self._before[slot.span[0]] = slot
        if len(self._before) > self._kept:
            del self._before[next(iter(self._before))]

    def _late(self, span: Span) -> _Slot | None:
        """A slot of which nothing was known when its time was, if there is room before the current one."""
        oldest = next(iter(self._before), span[0])
        if self._kept == 1 or (len(self._before) == self._kept and span[0] < oldest):
            return None
        slot = self._before[span[0]] = _Slot(span, closed=True)
        self._before = dict(sorted(self._before.items())[-self._kept :])
        return slot

    def pass_time(self, market_ns: int) -> list[LiveBar]:
        """The bar that closes because its slot is over for long enough, if there is one."""
        slot = self._current
        if slot is None or slot.closed or market_ns < slot.span[1] + LATEST_CLOSE_NS:
            return []
        return self._close_current()

    def _put(self, slot: _Slot, part: Part) -> list[LiveBar]:
        slot.parts[part.ts] = part
        if slot.closed:
            return self._changed(slot, LiveState.CLOSED)
        if part.complete and part.end >= slot.span[1]:
            return self._close_current()
        return self._changed(slot, LiveState.FORMING)

    def _close_current(self) -> list[LiveBar]:
        if self._current is None or self._current.closed:
            return []
        self._current.closed = True
        return self._changed(self._current, LiveState.CLOSED)

    def _changed(self, slot: _Slot, state: LiveState) -> list[LiveBar]:
        parts = [part for _, part in sorted(slot.parts.items()) if not (self._with_fillers and part.volume == 0)]
        bar = slot.bar(parts, state, self._is_partial(slot, state)) if parts else None
        if bar is None or bar == slot.newest:
            slot.newest = bar
            return []
        slot.newest = bar
        return [bar]

    def _is_partial(self, slot: _Slot, state: LiveState) -> bool:
        if any(part.partial for part in slot.parts.values()):
            return True
        end = slot.span[1] if state is LiveState.CLOSED else max(part.end for part in slot.parts.values())
        return self._every_part_comes and slot.lacks_parts(end)


def _count(values: Iterable[int | None]) -> int | None:
    known = list(values)
    return None if None in known else sum(v for v in known if v is not None)


def _sum(values: Iterable[float | None]) -> float | None:
    """The sum, rounded to what float64 can hold of volumes with eight decimals; None where one is not known."""
    known = list(values)
    return None if None in known else round(sum(v for v in known if v is not None), 8)
