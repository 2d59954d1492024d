"""Bars of one timeframe longer than a minute: folded of minutes, and what history has answered for them.

The stream makes them `forming` and `closed`. A slot is settled when coverage holds all of its minutes, also those without a
trade. Then its bar is confirmed or revised, as a minute is. Values that were not folded of all minutes are never confirmed.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from nautilus.live.bars import LiveBar, LiveState
from nautilus.live.confirmation import Outcome, differs
from nautilus.live.folding import FoldedSlot, Folding, Part
from nautilus.market.bar import Bar
from nautilus.spans import Span, Spans


class Word(NamedTuple):
    """History's answer for the minutes of a stream.

    parts: the minutes that it has otherwise than the stream had. changed: ts of those whose values listeners were not sent
    before. withdrawn: ts of those that it has not. covered: what is covered now. known: the time of which each minute is known.
    knew: the same before the answer; a bar beyond it was partial.
    """

    parts: tuple[Part, ...]
    changed: frozenset[int]
    withdrawn: tuple[int, ...]
    covered: Spans
    known: Spans
    knew: Spans


class Meaning(NamedTuple):
    """What the answer means for one timeframe. Volumes are in the unit in which IB sent them.

    changed: bars that history has not settled yet, folded anew. outcomes: in order of time, but those that listeners have as
    they are. confirmed: the ranges of these.
    """

    changed: list[LiveBar]
    outcomes: list[Outcome]
    confirmed: list[Span]


class LongerBars:
    """slot_of: as in `Folding`. kept: so many slots are remembered."""

    def __init__(self, slot_of: Callable[[int], Span | None], kept: int) -> None:
        self._folding = Folding(slot_of, every_part_comes=False, with_fillers=False, kept=kept)
        self._settled: set[int] = set()
        self._unheard: set[int] = set()
        """Starts of settled slots of which listeners may have another bar."""
        self._pieces: set[int] = set()
        """Starts of closed slots of which history has brought some minutes and nothing was known before. Listeners may have more
        of them, from an earlier bridge: they are published once each of their minutes is known."""
        self._was: dict[int, LiveBar] = {}
        """Start of a closed slot -> its bar before history changed it, until it is settled."""

    def fill(self, parts: Iterable[Part]) -> list[LiveBar]:
        """Take minutes in order of time; the bars that changed."""
        return self._folding.fill(parts)

    def pass_time(self, market_ns: int) -> list[LiveBar]:
        """The bar that closes, if there is one."""
        return self._folding.pass_time(market_ns)

    def begin(self, parts: Iterable[Part], covered: Spans, known: Spans, answered: Spans) -> list[LiveBar]:
        """Take the minutes that are known; the bars that are not settled. Listeners have those that are, unless history answered
        for a minute of them shortly before (`answered`): then the next answer publishes them."""
        self._folding.fill(parts)
        self._close(covered)
        slots = self._folding.slots()
        self._settled = {slot.span[0] for slot in slots if _is_settled(slot, covered, known)}
        touched = {slot.span[0] for slot in slots if answered & Spans.of(*slot.span)}
        self._unheard = self._settled & touched
        return [slot.bar for slot in slots if slot.bar is not None and slot.span[0] not in self._settled]

    def is_empty(self, start: int) -> bool:
        """True when no minute of a slot is known."""
        return all(slot.bar is None for slot in self._folding.slots() if slot.span[0] == start)

    def _close(self, covered: Spans) -> None:
        """What is covered is over."""
        for slot in self._folding.slots():
            if covered.covers(slot.span):
                self._folding.close(slot.span[0])

    def answer(self, word: Word) -> Meaning:
        """Take the answer of history."""
        before = {slot.span[0]: slot for slot in self._folding.slots()}
        for ts in word.withdrawn:
            self._folding.remove(ts)
        self._folding.fill(word.parts)
        self._close(word.covered)
        meaning, run = Meaning([], [], []), False
        slots = self._folding.slots()
        for slot in slots:
            old = before[slot.span[0]].bar if slot.span[0] in before else None
            if not _is_settled(slot, word.covered, word.known):
                run = False
                self._unsettled(slot, old, meaning, whole=word.known.covers(slot.span))
            elif self._is_confirmed(slot, old, meaning, new=_is_new(slot, old, word)):
                meaning.confirmed.append((meaning.confirmed.pop()[0] if run else slot.span[0], slot.span[1]))
                run = True
        starts = {slot.span[0] for slot in slots}
        self._settled &= starts
        self._unheard &= starts
        self._pieces &= starts
        self._was = {start: bar for start, bar in self._was.items() if start in starts}
        return meaning

    def _unsettled(self, slot: FoldedSlot, old: LiveBar | None, meaning: Meaning, *, whole: bool) -> None:
        """A bar that forms, or has closed and is not settled as a whole. whole: each minute of its slot is known."""
        start, bar = slot.span[0], slot.bar
        if bar == old:
            return
        if bar is None and not whole:  # it may have other minutes
            if old is not None:
                self._was.setdefault(start, old)
            return
        if bar is None:
            self._was.pop(start, None)
            meaning.outcomes.append(_withdrawn(old))
            return
        if bar.state is LiveState.CLOSED and not whole and (old is None or start in self._pieces):
            self._pieces.add(start)
            return
        self._pieces.discard(start)
        if old is not None and old.state is LiveState.CLOSED:
            self._was.setdefault(start, old)
        meaning.changed.append(bar)

    def _is_confirmed(self, slot: FoldedSlot, old: LiveBar | None, meaning: Meaning, *, new: bool) -> bool:
        """True when this answer confirms a settled bar as listeners have it; what else is to be published is in `meaning`.
        new: where the bar is settled for the first time, listeners may have another one."""
        start, bar = slot.span[0], slot.bar
        first, piece = start not in self._settled, start in self._pieces
        was = self._was.pop(start, old)
        self._settled.add(start)
        self._pieces.discard(start)
        if bar is None:
            if was is not None:
                meaning.outcomes.append(_withdrawn(was))
            return False
        if was is not None and was.state is LiveState.CLOSED and not piece and differs(_values(was), _values(bar)):
            meaning.outcomes.append(Outcome(_values(bar), LiveState.REVISED, _values(was)))
            return False
        unheard = start in self._unheard or piece or (first and new)
        self._unheard.discard(start)
        if old is None or _values(old) != _values(bar) or unheard:
            meaning.outcomes.append(Outcome(_values(bar), LiveState.CONFIRMED))
            return False
        return first


def _is_settled(slot: FoldedSlot, covered: Spans, known: Spans) -> bool:
    return slot.closed and covered.covers(slot.span) and known.covers(slot.span)


def _is_new(slot: FoldedSlot, old: LiveBar | None, word: Word) -> bool:
    """True when listeners may have another bar of a slot than the one that is known: that was partial, or history has minutes of
    it otherwise than an earlier bridge, which may have published it as confirmed."""
    start, end = slot.span
    partial = old is not None and (old.partial or not word.knew.covers(slot.span))
    return partial or any(start <= ts < end for ts in word.changed)


def _withdrawn(bar: LiveBar | None) -> Outcome:
    assert bar is not None  # noqa: S101  for the type checker: what had no bar does not lose it
    return Outcome(_values(bar), LiveState.WITHDRAWN, _values(bar))


def _values(bar: LiveBar) -> Bar:
    return Bar(bar.ts, bar.open, bar.high, bar.low, bar.close, bar.volume, None, bar.trades)
