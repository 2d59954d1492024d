"""Fold what a stream sends into bars: five-second bars into minutes, minutes into longer ones, updates into a closed bar.

No clock and no socket: parts and market times go in, states of bars come out. A bar closes by the first of three: a part of
a later slot, the part that ends at the slot's close, and `LATEST_CLOSE_NS` after it (an illiquid minute has no next part for
hours).

Five-second bars of trades come in every slot of an open market: where nothing was traded, IB repeats the last price with
volume 0. Such a filler proves that the stream lives. It makes no price and no bar: folded, it would make bars that history
does not have.
"""

from bisect import insort
from collections.abc import Callable, Iterable, Mapping
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


class _Sum(NamedTuple):
    """What parts of one slot make together. first, high, low, last: prices; None where no part has one."""

    first: float | None = None
    high: float = 0.0
    low: float = 0.0
    last: float = 0.0
    volume: float | None = 0.0
    trades: int | None = 0
    partial: bool = False
    complete_ns: int = 0
    end: int = 0

    def with_part(self, part: Part, *, is_filler: bool) -> "_Sum":
        """With one part more, which comes after the others."""
        partial, end = self.partial or part.partial, max(self.end, part.end)
        complete_ns = self.complete_ns + (part.span_ns if part.complete else 0)
        if is_filler:
            return self._replace(partial=partial, complete_ns=complete_ns, end=end)
        return _Sum(
            part.open if self.first is None else self.first,
            part.high if self.first is None else max(self.high, part.high),
            part.low if self.first is None else min(self.low, part.low),
            part.close,
            None if self.volume is None or part.volume is None else self.volume + part.volume,
            None if self.trades is None or part.trades is None else self.trades + part.trades,
            partial,
            complete_ns,
            end,
        )


class _Slot:
    """One slot and its parts. What comes last changes most: the sum of all parts before it is kept."""

    def __init__(self, span: Span, *, with_fillers: bool, closed: bool = False) -> None:
        self.span = span
        self.closed = closed
        self.broke_off = False
        self.newest: LiveBar | None = None
        self._with_fillers = with_fillers
        self.parts: dict[int, Part] = {}
        self._stamps: list[int] = []
        """ts of the parts, ascending."""
        self._before: _Sum | None = _Sum()
        """Of all parts but the last; None while it must be made anew."""

    def put(self, part: Part) -> None:
        """Take a part, or a newer state of it."""
        self.broke_off = False
        if not self._stamps or part.ts > self._stamps[-1]:
            if self._stamps and self._before is not None:
                self._before = self._with(self._before, self.parts[self._stamps[-1]])
            self._stamps.append(part.ts)
        elif part.ts != self._stamps[-1]:
            self._before = None
            if part.ts not in self.parts:
                insort(self._stamps, part.ts)
        self.parts[part.ts] = part

    def pop(self, ts: int) -> bool:
        """Take a part out; False where there is none."""
        if self.parts.pop(ts, None) is None:
            return False
        self._stamps.remove(ts)
        self._before = None
        return True

    def sum(self) -> _Sum:
        """Of all parts."""
        if not self._stamps:
            return _Sum()
        if self._before is None:
            self._before = _Sum()
            for ts in self._stamps[:-1]:
                self._before = self._with(self._before, self.parts[ts])
        return self._with(self._before, self.parts[self._stamps[-1]])

    def _with(self, before: _Sum, part: Part) -> _Sum:
        return before.with_part(part, is_filler=self._with_fillers and part.volume == 0)


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
        return self.fill([part])

    def fill(self, parts: Iterable[Part]) -> list[LiveBar]:
        """Take several parts in order of time; the bars that changed, each as it is after all of them."""
        changed: list[LiveBar] = []
        touched: dict[int, _Slot] = {}
        for part in parts:
            span = self._slot_of(part.ts)
            if span is None:
                continue
            if self._current is None or span[0] > self._current.span[0]:
                changed += self._settle(touched | self._end_current())
                touched = {}
                self._current = _Slot(span, with_fillers=self._with_fillers)
            slot = self._slot(span[0]) or self._late(span)
            if slot is not None:
                slot.put(part)
                slot.closed = slot.closed or (part.complete and part.end >= span[1])
                touched[span[0]] = slot
        return changed + self._settle(touched)

    def _end_current(self) -> dict[int, _Slot]:
        """A part of a later slot has come: the current one is over."""
        slot = self._current
        if slot is None:
            return {}
        slot.closed = True
        self._keep(slot)
        return {slot.span[0]: slot}

    def _settle(self, touched: Mapping[int, _Slot]) -> list[LiveBar]:
        return [bar for _, slot in sorted(touched.items()) for bar in self._changed(slot)]

    def remove(self, ts: int) -> list[LiveBar]:
        """Take the part that begins at `ts` out of its slot; the bar that changed. A slot without any part has no bar."""
        for slot in [*self._before.values(), *([self._current] if self._current is not None else [])]:
            if slot.span[0] <= ts < slot.span[1] and slot.pop(ts):
                return self._changed(slot)
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
        slot = self._before[span[0]] = _Slot(span, with_fillers=self._with_fillers, closed=True)
        self._before = dict(sorted(self._before.items())[-self._kept :])
        return slot

    def pass_time(self, market_ns: int, *, broke_off: bool = False) -> list[LiveBar]:
        """The bar that closes because its slot is over for long enough, if there is one. broke_off: its parts ceased to come, so
        that it is partial, unless one comes later."""
        slot = self._current
        if slot is None or slot.closed or market_ns < slot.span[1] + LATEST_CLOSE_NS:
            return []
        slot.broke_off = broke_off
        return self._close_current()

    def close(self, start: int) -> None:
        """The slot that begins there is over, though nothing has come that shows it. No bar is returned for that."""
        slot = self._slot(start)
        if slot is not None and not slot.closed:
            slot.closed = True
            self._changed(slot)

    def _close_current(self) -> list[LiveBar]:
        if self._current is None or self._current.closed:
            return []
        self._current.closed = True
        return self._changed(self._current)

    def _changed(self, slot: _Slot) -> list[LiveBar]:
        """The bar of a slot, if it is another one than before."""
        before, slot.newest = slot.newest, self._bar(slot)
        return [slot.newest] if slot.newest is not None and slot.newest != before else []

    def _bar(self, slot: _Slot) -> LiveBar | None:
        made = slot.sum()
        if made.first is None:
            return None
        end = slot.span[1] if slot.closed else made.end
        lacks = self._every_part_comes and made.complete_ns < end - slot.span[0]
        volume = round(made.volume, 8) if made.volume is not None else None
        state = LiveState.CLOSED if slot.closed else LiveState.FORMING
        values = made.first, made.high, made.low, made.last, volume, made.trades
        return LiveBar(slot.span[0], *values, state, made.partial or lacks or slot.broke_off)
