"""The bars of one stream in all timeframes that are wanted: its own from what IB sends, longer ones from its minutes.

Days, weeks and months are forming bars for ever here: their close is an auction or a settlement price, which history tells.
A longer bar whose slot began before what is known is partial: what went before is in no stream.

Minutes behind what the calendar knows wait: at an open nobody knows yet where the session, and with it a longer slot, begins.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from ib_bridge.live.longer_bars import LongerBars, Meaning, Word
from nautilus.clock import NS_PER_DAY, day_of, label_of
from nautilus.live.bars import LiveBar, LiveState
from nautilus.live.folding import Folding, Part
from nautilus.market.calendar import Calendar
from nautilus.market.timeframes import Timeframe, timeframe
from nautilus.spans import Span, Spans

_FOREVER = 2**62
_NO_TIME = Spans()
_LONGEST_NS = NS_PER_DAY
"""So far back a longer bar that its predecessor left unsettled is made whole."""
_KEPT = 2_400
"""Minutes that are remembered: more than the longest session."""


class FoldedBar(NamedTuple):
    """A bar that changed. ts of `bar` is its stamp on the series' axis; volume is in the unit in which IB sent it."""

    frame: Timeframe
    bar: LiveBar


class BarFolds:
    """Folds what one stream sends.

    calendar: called whenever a slot is needed, as what is known of the market grows. own: the stream's own timeframe.
    from_five_seconds: it sends bars of five seconds; otherwise states of its own bars. with_fillers: as in `Folding`.
    unsettled_from: since this time others (an earlier bridge, another way) may have left longer bars that are not settled.
    """

    def __init__(
        self,
        calendar: Callable[[], Calendar],
        own: Timeframe,
        *,
        from_five_seconds: bool,
        with_fillers: bool,
        unsettled_from: int = _FOREVER,
    ) -> None:
        self._calendar = calendar
        self.own = own
        self._longer: dict[str, LongerBars] = {}
        self._base = Folding(
            lambda ts: slot_of(calendar(), own, ts), every_part_comes=from_five_seconds, with_fillers=with_fillers
        )
        self._history: dict[int, Part] = {}
        self._early: dict[int, Part] = {}
        """Minutes behind what the calendar knows: in no longer bar yet."""
        self._unsettled_from = unsettled_from
        self._upto = 0
        """ts of the newest minute."""
        self._known = Spans()
        """The time of which no minute is missing here."""
        self._streams = False
        """Something has come of the stream: from then on its minutes come."""
        self._begins = True
        """It begins, or a longer bar of it does: what went before may be missing."""
        self._covered = Spans()
        self.learned_until = 0
        """Up to here history had the bars that no listener has from the stream: history alone publishes them."""
        self.newest: LiveBar | None = None
        """The newest bar of its own timeframe."""

    def want(self, frames: Iterable[str], answered: Spans = _NO_TIME) -> list[FoldedBar]:
        """Fold these timeframes; others are forgotten. A new one begins with the minutes that are known; returns its bars that
        history has not settled. answered: as in `LongerBars.begin`."""
        wanted = {name for name in frames if name != self.own.name}
        for name in self._longer.keys() - wanted:
            del self._longer[name]
        found: list[FoldedBar] = []
        for name in wanted - self._longer.keys():
            self._begins = True
            self._longer[name] = self._bars_of(timeframe(name))
            minutes = [part for ts, part in sorted(self._history.items()) if ts not in self._early]
            bars = self._longer[name].begin(minutes, self._covered, self._known, answered)
            found += self._named(name, bars if timeframe(name).intraday else bars[-1:])
        return found

    def _bars_of(self, frame: Timeframe) -> LongerBars:
        kept = _KEPT // (frame.step_ns // self.own.step_ns) if frame.intraday else 1
        return LongerBars(lambda ts: slot_of(self._calendar(), frame, ts), kept)

    def emptied(self, name: str, ts: int) -> int | None:
        """The start of the slot of a longer bar that holds a minute, where nothing of it is left."""
        slot = slot_of(self._calendar(), timeframe(name), ts) if timeframe(name).intraday else None
        return slot[0] if slot is not None and self._longer[name].is_empty(slot[0]) else None

    def add(self, part: Part) -> list[FoldedBar]:
        """Take what IB sent; the bars that changed."""
        self._begin(part.ts)
        return self._spread(self._base.add(part))

    def _begin(self, ts: int) -> None:
        if not self._streams:
            self._streams = self._begins = True
            self._known |= Spans.of(ts, _FOREVER)

    def lacking(self, market_ns: int, *, polled: bool) -> Spans:
        """What is missing of the longer bars that form, and of those that others left unsettled, from the begins of their slots
        on; each time they begin, once. polled: no stream brings their minutes."""
        calendar = self._calendar()
        if not self._begins or not (self._streams or polled) or market_ns > calendar.known[1]:
            return Spans()
        self._begins = False
        left = max(self._unsettled_from, market_ns - _LONGEST_NS)
        slots = [slot_of(calendar, timeframe(name), market_ns) for name in self._longer]
        if left < market_ns:
            slots += [slot_of(calendar, timeframe(name), left) for name in self._longer if timeframe(name).intraday]
        start = min((slot[0] for slot in slots if slot is not None), default=market_ns)
        return calendar.open_time(self.own, (start, max(start, market_ns))) - self._known

    def pass_time(self, market_ns: int, *, broke_off: bool = False) -> list[FoldedBar]:
        """The bars that close because their slots are over for long enough. broke_off: as in `Folding.pass_time`."""
        found = self._spread(self._base.pass_time(market_ns, broke_off=broke_off)) + self._into_longer(())
        for name, longer in self._longer.items():
            found += self._named(name, longer.pass_time(market_ns))
        return found

    def learn(self, bars: Iterable[Part], known_from: int | None = None) -> list[FoldedBar]:
        """Take closed bars as history has them; the longer bars that change by it. known_from: none is missing since then."""
        minutes = list(bars)
        if known_from is not None:
            self._begin(known_from)
            self._known |= Spans.of(known_from, _FOREVER)
        if self.newest is None:
            self.learned_until = max([self.learned_until, *(part.end for part in minutes)])
        # History's word on a minute comes with `answer`: a listener that has a longer bar confirmed takes no `closed` one.
        return self._into_longer([part for part in minutes if part.ts not in self._covered or self.needs(part.ts)])

    def recall(self, minutes: Iterable[Part]) -> None:
        """Take closed minutes, in order of time, that an earlier bridge or another way has published, and that history has not
        answered for. Nothing is published for that."""
        self._into_longer(minutes)

    def needs(self, ts: int) -> bool:
        """True when a minute is not known here, or in part only."""
        known = self._history.get(ts)
        return known is None or known.partial

    def lose(self, hole: Span) -> None:
        """The stream missed this time: what is folded over it is partial, until history has shown what was there."""
        self._known -= Spans.of(*hole)

    def incomplete(self, minutes: Iterable[int]) -> Spans:
        """What history has answered, and is not known here, of the longer bars that hold some minutes (ts, ascending)."""
        calendar, found = self._calendar(), list[Span]()
        frames = [timeframe(name) for name in self._longer if timeframe(name).intraday]
        ends = dict.fromkeys(frames, 0)
        for ts in minutes:
            for frame in [one for one in frames if ts >= ends[one]]:
                slot = slot_of(calendar, frame, ts) or (ts, ts + 1)
                ends[frame] = slot[1]
                found.append(slot)
        missing = Spans(found) - self._known
        return Spans(part for span in missing for part in calendar.open_time(self.own, span)) & self._covered

    def answer(
        self,
        parts: Iterable[Part],
        withdrawn: Iterable[int],
        *,
        answered: Spans,
        covered: Spans,
        changed: frozenset[int] = frozenset(),
    ) -> tuple[list[FoldedBar], list[tuple[Timeframe, Meaning]]]:
        """Take what history says of minutes: (bars that changed and are not settled, what is settled of longer bars).

        parts: what it has otherwise than the stream. withdrawn: ts of the minutes that it has not. answered: the time of which
        all is published with that. covered: what is covered in all. changed: as in `Word`.
        """
        knew, self._known = self._known, self._known | answered
        self._covered = covered
        gone = tuple(withdrawn)
        for ts in gone:
            self._history.pop(ts, None)
            self._early.pop(ts, None)
        found = self._into_longer(())
        word = Word(tuple(self._placed(parts)), changed, gone, covered, self._known, knew)
        meaning = [(timeframe(name), longer.answer(word)) for name, longer in self._longer.items()]
        unsettled = [bar for frame, one in meaning for bar in self._named(frame.name, one.changed)]
        return found + unsettled, [(frame, one) for frame, one in meaning if frame.intraday]

    def _spread(self, changed: list[LiveBar]) -> list[FoldedBar]:
        found: list[FoldedBar] = []
        for bar in changed:
            self.newest = bar if self.newest is None or bar.ts >= self.newest.ts else self.newest
            found.append(FoldedBar(self.own, bar))
            if bar.ts not in self._covered or bar.ts not in self._history:  # else history has answered for it
                found += self._into_longer([_part(bar, self._calendar(), self.own)])
        return found

    def _into_longer(self, minutes: Iterable[Part]) -> list[FoldedBar]:
        """Take minutes in order of time, after those that waited; the longer bars that change."""
        placed = self._placed(minutes)
        return [bar for name, longer in self._longer.items() for bar in self._named(name, longer.fill(placed))]

    def _placed(self, minutes: Iterable[Part]) -> list[Part]:
        """Remember minutes; those of which the slot is known now, in order of time. Others wait."""
        for part in minutes:
            self._remember(part)
            self._early[part.ts] = part
        if not self._early:
            return []
        known = self._calendar().known[1]
        placed = [part for ts, part in sorted(self._early.items()) if ts < known]
        self._early = dict(sorted((ts, part) for ts, part in self._early.items() if ts >= known)[-_KEPT:])
        return placed

    def _remember(self, part: Part) -> None:
        """Keep a minute for timeframes that are wanted later."""
        self._history[part.ts] = part
        self._upto = max(self._upto, part.ts)
        if len(self._history) > _KEPT:
            for ts in sorted(self._history)[: _KEPT // 4]:
                del self._history[ts]

    def _named(self, name: str, bars: list[LiveBar]) -> list[FoldedBar]:
        frame = timeframe(name)
        found = []
        for bar in bars:
            begun = bar.ts
            partial = bar.partial or not self._is_known(frame, bar)
            if frame.intraday:
                found.append(FoldedBar(frame, bar._replace(partial=partial)))
            else:
                label = frame.floor(self._label(begun))
                found.append(FoldedBar(frame, bar._replace(ts=label, state=LiveState.FORMING, partial=partial)))
        return found

    def _is_known(self, frame: Timeframe, bar: LiveBar) -> bool:
        """True when no minute of a slot is missing, up to the newest one where the bar forms. Closed hours have none."""
        calendar, begun = self._calendar(), bar.ts
        slot = slot_of(calendar, frame, begun) or (begun, begun + 1)
        end = slot[1] if bar.state is LiveState.CLOSED else min(self._upto + 1, slot[1])
        if not frame.intraday and calendar.midnight(day_of(frame.floor(self._label(begun)))) < calendar.known[0]:
            return False  # the slot's first days are not known to have been closed
        if self._known.covers((begun, end)) or not calendar.known[0] <= begun < end <= calendar.known[1]:
            return self._known.covers((begun, end))
        return not calendar.open_time(self.own, (begun, end)) - self._known

    def _label(self, ts: int) -> int:
        session = self._calendar().session_at(ts)
        return label_of(session.trade_date) if session is not None else self._calendar().date_label(ts)


def slot_of(calendar: Calendar, frame: Timeframe, ts: int) -> Span | None:
    """The slot of a bar of the timeframe that holds a market time, in real time, cut at the session; None where the market is
    known to be closed. Behind what the calendar knows it is the whole slot of the grid."""
    session = calendar.session_at(ts)
    if session is None:
        known = calendar.known[0] <= ts < calendar.known[1]
        return None if known or not frame.intraday else calendar.slot(frame, ts)
    if frame.intraday:
        start, end = calendar.slot(frame, ts)
        return max(start, session.open_ns), min(end, session.close_ns)
    label = frame.floor(label_of(session.trade_date))
    return calendar.real_time(frame, (label, frame.next(label)))


def _part(bar: LiveBar, calendar: Calendar, frame: Timeframe) -> Part:
    """A bar as a part of longer ones."""
    end = calendar.slot_end(frame, bar.ts)
    values = bar.open, bar.high, bar.low, bar.close, bar.volume, bar.trades
    return Part(bar.ts, end - bar.ts, *values, complete=bar.state is not LiveState.FORMING, partial=bar.partial)
