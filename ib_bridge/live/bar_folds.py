"""The bars of one stream in all timeframes that are wanted: its own from what IB sends, longer ones from its minutes.

Days, weeks and months are forming bars for ever here: their close is an auction or a settlement price, which history tells.
A longer bar whose slot began before what is known is partial: what went before is in no stream.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from nautilus.clock import label_of
from nautilus.live.bars import LiveBar, LiveState
from nautilus.live.folding import Folding, Part
from nautilus.market.calendar import Calendar
from nautilus.market.timeframes import Timeframe, timeframe
from nautilus.spans import Span

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
    known_from: the market time since when all its bars are known; None while none is.
    """

    def __init__(
        self, calendar: Callable[[], Calendar], own: Timeframe, *, from_five_seconds: bool, with_fillers: bool
    ) -> None:
        self._calendar = calendar
        self.own = own
        self._longer: dict[str, Folding] = {}
        self._base = Folding(
            lambda ts: slot_of(calendar(), own, ts), every_part_comes=from_five_seconds, with_fillers=with_fillers
        )
        self._history: dict[int, Part] = {}
        self.known_from: int | None = None
        self.learned_until = 0
        """Up to here history told the bars that no listener has from the stream: they are told by history alone."""
        self.newest: LiveBar | None = None
        """The newest bar of its own timeframe."""

    def want(self, frames: Iterable[str]) -> None:
        """Fold these timeframes; others are forgotten. A new one begins with the minutes that are known."""
        wanted = {name for name in frames if name != self.own.name}
        for name in self._longer.keys() - wanted:
            del self._longer[name]
        for name in wanted - self._longer.keys():
            self._longer[name] = self._folding(name)
            for _, part in sorted(self._history.items()):
                self._longer[name].add(part)

    def _folding(self, name: str) -> Folding:
        frame = timeframe(name)
        return Folding(lambda ts: slot_of(self._calendar(), frame, ts), every_part_comes=False, with_fillers=False)

    def add(self, part: Part) -> list[FoldedBar]:
        """Take what IB sent; the bars that changed."""
        if self.known_from is None:
            self.known_from = part.ts
        return self._spread(self._base.add(part))

    def pass_time(self, market_ns: int) -> list[FoldedBar]:
        """The bars that close because their slots are over for long enough."""
        found = self._spread(self._base.pass_time(market_ns))
        for name, folding in self._longer.items():
            found += self._named(name, folding.pass_time(market_ns))
        return found

    def learn(self, bars: Iterable[Part], known_from: int | None = None) -> list[FoldedBar]:
        """Take closed bars as history has them; the longer bars that change by it. known_from: none is missing since then."""
        found: list[FoldedBar] = []
        if known_from is not None and (self.known_from is None or known_from < self.known_from):
            self.known_from = known_from
        for part in bars:
            self.learned_until = max(self.learned_until, part.end) if self.newest is None else self.learned_until
            found += self._into_longer(part)
        return found

    def _spread(self, changed: list[LiveBar]) -> list[FoldedBar]:
        found: list[FoldedBar] = []
        for bar in changed:
            self.newest = bar if self.newest is None or bar.ts >= self.newest.ts else self.newest
            found.append(FoldedBar(self.own, bar))
            found += self._into_longer(_part(bar, self._calendar(), self.own))
        return found

    def _into_longer(self, part: Part) -> list[FoldedBar]:
        self._remember(part)
        return [bar for name, folding in self._longer.items() for bar in self._named(name, folding.add(part))]

    def _remember(self, part: Part) -> None:
        """Keep a minute for timeframes that are wanted later."""
        self._history[part.ts] = part
        if len(self._history) > _KEPT:
            for ts in sorted(self._history)[: _KEPT // 4]:
                del self._history[ts]

    def _named(self, name: str, bars: list[LiveBar]) -> list[FoldedBar]:
        frame = timeframe(name)
        found = []
        for bar in bars:
            begun = bar.ts
            partial = bar.partial or self.known_from is None or begun < self.known_from
            if frame.intraday:
                found.append(FoldedBar(frame, bar._replace(partial=partial)))
            else:
                label = frame.floor(self._label(begun))
                found.append(FoldedBar(frame, bar._replace(ts=label, state=LiveState.FORMING, partial=partial)))
        return found

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
