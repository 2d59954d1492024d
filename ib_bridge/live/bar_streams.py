"""Streams of bars: what IB sends is folded, published and stored as provisional; what was missed is kept as a hole."""

import time
from collections import deque
from collections.abc import Iterable

from ib_bridge.history.volume_units import VolumeUnits
from ib_bridge.ib.clock import MarketClock
from ib_bridge.ib.connection import IbConnection
from ib_bridge.ib.live_callbacks import BarValue, FirstBars
from ib_bridge.live.bar_folds import BarFolds, FoldedBar, slot_of
from ib_bridge.live.bar_values import part_of, part_of_row, placed, shown
from ib_bridge.live.confirming import Confirming
from ib_bridge.live.new_channels import Begun, NewChannels
from ib_bridge.live.outbox import Outbox
from ib_bridge.live.quote_state import size_factor
from ib_bridge.live.streams import FOR_GOOD, Stream
from ib_bridge.live.telling import Telling, of_row, provisional
from nautilus.clock import NS_PER_S
from nautilus.db.live.provisional import ProvisionalBar
from nautilus.live.bars import LiveBar, LiveState
from nautilus.live.confirmation import Outcome, Report, differs
from nautilus.live.envelope import NOT_FILLED
from nautilus.live.folding import Part
from nautilus.live.subscriptions import Source, StreamKey
from nautilus.market import slots
from nautilus.market.bar import Bar
from nautilus.market.calendar import Calendar
from nautilus.market.instrument import QUOTE_KINDS, sent_in_lots
from nautilus.market.timeframes import timeframe
from nautilus.spans import Spans

_FIVE_SECONDS_NS = 5 * NS_PER_S
_MOST_UNFOLDED = 100
_MOST_KEPT = 1_440
"""Closed bars of one stream that wait for history: a day of minutes."""


class BarStreams:
    """The folds of each stream of bars, and its closed bars that history has not answered for."""

    def __init__(
        self,
        outbox: Outbox,
        telling: Telling,
        confirming: Confirming,
        *,
        clock: MarketClock,
        connection: IbConnection,
        volumes: VolumeUnits,
    ) -> None:
        self._outbox = outbox
        self._telling = telling
        self._confirming = confirming
        self._clock = clock
        self._connection = connection
        self._volumes = volumes
        self._folds: dict[StreamKey, BarFolds] = {}
        self._by: dict[StreamKey, Source | None] = {}
        self._kept: dict[StreamKey, dict[int, ProvisionalBar]] = {}
        self._unfolded: dict[StreamKey, deque[Report]] = {}
        """What history answered for streams before they began: their longer bars go by it when they begin."""
        self._channels = NewChannels()
        self._part_end: dict[StreamKey, int] = {}
        """Up to when its bars of five seconds have come."""

    # ---- a stream begins and ends ------------------------------------------------------------------------------------

    def keep(self, stream: Stream) -> None:
        """It is loaded: the closed bars of its series that history has not answered for are its bars, too."""
        if stream.unanswered:
            self._kept[stream.key] = {row.ts: row for row in stream.unanswered[-_MOST_KEPT:]}

    def unconfirmed_since(self, stream: Stream) -> int:
        """From when on its bars are to be confirmed: its loss, or the oldest of its bars that history has not answered for."""
        return min([stream.lost_at or self._clock.now_ns(), *self._kept.get(stream.key, {})])

    def begin(self, stream: Stream) -> None:
        """It is about to be requested, for the first time, again, or by another way; or history alone brings its bars."""
        own = timeframe(stream.frame)
        five = stream.source is Source.REAL_TIME_BARS
        folds = self._folds.get(stream.key)
        new = folds is None or self._by.get(stream.key) is not stream.source
        if new:
            fillers = stream.key.price not in QUOTE_KINDS and stream.instrument.asset_class != "IND"
            self._folds[stream.key] = BarFolds(
                lambda: _calendar(stream),
                own,
                from_five_seconds=five,
                with_fillers=fillers,
                unsettled_from=_unsettled_from(stream),
            )
            self._by[stream.key] = stream.source
            self._part_end.pop(stream.key, None)
        self.want(stream)
        if new:
            self._recall(stream, self._folds[stream.key])
        if stream.source is Source.POLL:
            self._tell_gap(stream, self._clock.now_ns())

    def _recall(self, stream: Stream, folds: BarFolds) -> None:
        """New folds learn what an earlier bridge, or another way, has published, and what history has answered meanwhile."""
        own, calendar, factor = timeframe(stream.frame), _calendar(stream), self.factor(stream)
        rows = sorted(self._kept.get(stream.key, {}).values(), key=lambda row: row.ts)
        folds.recall(part_of_row(row, own, calendar.slot_end(own, row.ts), factor) for row in rows)
        for report in self._unfolded.pop(stream.key, ()):
            self._refold(stream, report, self._clock.now_ns())

    def want(self, stream: Stream) -> None:
        """Fold and publish what is wanted of it now. What went before is requested of history, back to the open; of earlier days
        it may be there."""
        folds, now = self._folds.get(stream.key), self._clock.now_ns()
        if folds is None:
            return
        frames = stream.want.timeframes
        begun = self._channels.begin(stream.key, frames, stream.frame, self._clock.steady_ns())
        self._put(stream, folds.want(frames, begun.answered))
        self._tell_begun(stream, begun, now)
        missing = folds.lacking(now, polled=stream.source is Source.POLL)
        if missing:
            session = _calendar(stream).session_at(now)
            self._confirming.need(stream.key, missing, since=session.open_ns if session is not None else now)

    def _tell_begun(self, stream: Stream, begun: Begun, now: int) -> None:
        """Publish on channels that begin what their listeners may have missed; longer bars that form or closed are published
        already. Bars that history answered are read again, and `reported` publishes them."""
        folds = self._folds[stream.key]
        for hole in stream.holes if begun.frames else ():
            self._telling.gap(stream, hole, NOT_FILLED, begun.frames)
        if stream.frame in begun.frames:
            for row in sorted(self._kept.get(stream.key, {}).values(), key=lambda row: row.ts):
                self._telling.bar(stream, stream.frame, of_row(row), factor=1.0, now=now)
            if folds.newest is not None and folds.newest.state is LiveState.FORMING:
                self._telling.bar(stream, stream.frame, folds.newest, factor=self.factor(stream), now=now)
        for outcome, version in begun.withdrawn:
            for name in begun.frames:
                ts = outcome.bar.ts if name == stream.frame else folds.emptied(name, outcome.bar.ts)
                if ts is not None:
                    self._telling.outcome(stream, name, placed(outcome, ts), version=version, now=now)
        if begun.answered:
            self._confirming.need(stream.key, begun.answered, since=now)

    def forget(self, stream: Stream) -> None:
        """It is no more. Its closed bars stay in the database until history has answered for them."""
        for known in (self._folds, self._by, self._part_end, self._kept, self._unfolded):
            known.pop(stream.key, None)
        self._channels.forget(stream.key)

    # ---- what IB sends -----------------------------------------------------------------------------------------------

    def first(self, stream: Stream, answer: FirstBars) -> None:
        """History up to now, and the bar that forms. Bars that listeners missed meanwhile are published as closed."""
        folds = self._folds[stream.key]
        own, now = timeframe(stream.frame), self._clock.now_ns()
        calendar = _calendar(stream)
        parts = [part_of(bar, calendar, own, now) for bar in answer.bars]
        last_seen = folds.newest.ts if folds.newest is not None else None
        self._tell_gap(stream, self._missed_until(stream, now))
        if parts:
            requested_from = calendar.slot(own, stream.sent_at - stream.duration_ns)[1]
            older = [part for part in parts if (part.complete if last_seen is None else part.ts < last_seen)]
            self._put(stream, folds.learn(older, min(parts[0].ts, requested_from)))
            for part in parts[len(older) :]:
                self._put(stream, folds.add(part))

    def update(self, stream: Stream, bar: BarValue) -> None:
        """The newest state of a bar of its own timeframe."""
        self._tell_gap(stream, bar.ts)
        own = timeframe(stream.frame)
        part, folds = part_of(bar, _calendar(stream), own, 0), self._folds[stream.key]
        self._put(stream, folds.learn([part]) if part.end <= folds.learned_until else folds.add(part))

    def five_seconds(self, stream: Stream, bar: BarValue) -> None:
        """A bar of five seconds that is over. Every one of an open market comes, so that a missing one is seen."""
        end = self._part_end.get(stream.key)
        if end is not None and bar.ts > end and not stream.lost_at:
            lost = slots.in_time(_calendar(stream), timeframe("5s"), (end, bar.ts)).starts
            if lost:
                stream.lost_at, stream.loss = lost[0], "missed"
        self._tell_gap(stream, bar.ts)
        self._part_end[stream.key] = max(end or 0, bar.ts + _FIVE_SECONDS_NS)
        values = bar.open, bar.high, bar.low, bar.close, bar.volume, bar.trades
        self._put(stream, self._folds[stream.key].add(Part(bar.ts, _FIVE_SECONDS_NS, *values)))

    def pass_time(self, stream: Stream, market_ns: int) -> None:
        """Close what is over, though nothing has come that shows it."""
        folds = self._folds.get(stream.key)
        if folds is not None and stream.source is not Source.POLL:
            self._put(stream, folds.pass_time(market_ns, broke_off=stream.broke_off(market_ns, time.monotonic())))

    def newest(self, stream: Stream) -> LiveBar | None:
        """The newest bar of its own timeframe, with its volume as IB sent it."""
        folds = self._folds.get(stream.key)
        return folds.newest if folds is not None else None

    def factor(self, stream: Stream) -> float | None:
        """By what its volumes are multiplied; None while their unit is not known."""
        unit = self._volumes.current()
        if stream.source is Source.POLL:
            return 1.0  # stored bars have shares
        if stream.source is Source.REAL_TIME_BARS:
            return size_factor(stream.instrument, self._connection.server_version or 0, unit.unit)
        if not sent_in_lots(stream.instrument, stream.key.price):
            return 1.0
        return {"shares": 1.0, "lots": 100.0}.get(unit.unit)

    def _put(self, stream: Stream, changed: Iterable[FoldedBar]) -> None:
        now, factor = self._clock.now_ns(), self.factor(stream)
        for frame, bar in changed:
            own = frame.name == stream.frame
            if own and bar.ts < (stream.confirmed_until or -FOR_GOOD):
                continue  # history has answered for it: a late part changes nothing
            if frame.name in stream.want.timeframes:
                self._telling.bar(stream, frame.name, bar, factor=factor, now=now)
            if own:
                self._store(stream, provisional(stream, bar, factor=factor, now=now))

    def _store(self, stream: Stream, row: ProvisionalBar) -> None:
        self._outbox.put_bar(row)
        if row.state == "closed":
            kept = self._kept.setdefault(stream.key, {})
            kept[row.ts] = row
            if len(kept) > _MOST_KEPT:
                del kept[min(kept)]
            self._confirming.wake(stream.key, partial=row.partial)

    # ---- holes -------------------------------------------------------------------------------------------------------

    @staticmethod
    def _missed_until(stream: Stream, now: int) -> int:
        """Up to when bars were missed, where the bar that forms comes whole: up to its slot, unless it was lost in that slot."""
        slot = slot_of(_calendar(stream), timeframe(stream.frame), now)
        return slot[0] if slot is not None and stream.lost_at is not None and stream.lost_at < slot[0] else now

    def _tell_gap(self, stream: Stream, upto: int) -> None:
        """It speaks again: what came to nobody between its loss and now is a hole."""
        if stream.lost_at is None:
            return
        calendar, own = _calendar(stream), timeframe(stream.frame)
        slot = slot_of(calendar, own, stream.lost_at)
        span = (slot[0] if slot is not None else stream.lost_at, upto)
        reason, stream.lost_at, stream.loss = stream.loss, None, ""
        missed = calendar.open_time(own, span) if span[0] < span[1] else Spans()
        if missed:
            whole = list(missed)
            end = slot_of(calendar, own, whole[-1][1] - 1)
            hole = (whole[0][0], end[1] if end is not None else whole[-1][1])
            stream.holes |= Spans.of(*hole)
            self._telling.gap(stream, hole, reason)
            self._confirming.hole(stream.key, hole)
            self._folds[stream.key].lose(hole)

    # ---- what history says -------------------------------------------------------------------------------------------

    def reported(self, stream: Stream, report: Report) -> None:
        """History has answered for bars of its series."""
        now = self._clock.now_ns()
        self.pass_time(stream, now)
        report = report._replace(outcomes=tuple(self._beside_published(stream, one) for one in report.outcomes))
        exact: list[int] = []
        for outcome in report.outcomes:
            if outcome.exact:
                exact.append(outcome.bar.ts)
            elif stream.frame in stream.want.timeframes:
                self._telling.outcome(stream, stream.frame, outcome, version=report.version, now=now)
        if exact and stream.frame in stream.want.timeframes:
            own = timeframe(stream.frame)
            span = (exact[0], stream.calendar.slot_end(own, exact[-1]) if stream.calendar else exact[-1] + own.step_ns)
            self._telling.confirmed(stream, stream.frame, span, report.version)
        for bar in self._channels.unheard(stream.key, report.brought, report.answered):
            again = Outcome(bar, LiveState.CONFIRMED)
            self._telling.outcome(stream, stream.frame, again, version=report.version, now=now)
        self._channels.answered(stream.key, timeframe(stream.frame), report, self._clock.steady_ns())
        self._settle(stream, report)
        self._refold(stream, report, now)
        self._telling.series(report)

    def _beside_published(self, stream: Stream, outcome: Outcome) -> Outcome:
        """An outcome beside the closed bar that listeners have: the stream may have changed it since its row was compared."""
        row = self._kept.get(stream.key, {}).get(outcome.bar.ts)
        if row is None or not outcome.exact:
            return outcome
        had = Bar(row.ts, row.open, row.high, row.low, row.close, row.volume, None, row.trades)
        return Outcome(outcome.bar, LiveState.REVISED, had) if differs(had, outcome.bar) else outcome

    def _settle(self, stream: Stream, report: Report) -> None:
        kept = self._kept.get(stream.key, {})
        for start, end in report.settled:
            self._outbox.settle(report.series_id, start, end)
            for ts in [ts for ts in kept if start <= ts < end]:
                del kept[ts]
        if report.covered_until is not None:
            stream.confirmed_until = max(stream.confirmed_until or report.covered_until, report.covered_until)
        stream.holes = stream.holes - report.filled
        for hole in report.filled:
            self._telling.filled(stream, hole, report.version)
        for hole, reason in report.refused:
            self._telling.gap(stream, hole, reason)
        self._outbox.put_stream(stream.row())

    def _refold(self, stream: Stream, report: Report, now: int) -> None:
        """Longer bars go by what history says of their minutes."""
        folds = self._folds.get(stream.key)
        if folds is None:
            self._unfolded.setdefault(stream.key, deque(maxlen=_MOST_UNFOLDED)).append(report)
            return
        factor, own, calendar = self.factor(stream), timeframe(stream.frame), _calendar(stream)
        changed = frozenset(one.bar.ts for one in report.outcomes if not one.exact)
        gone = [one.bar.ts for one in report.outcomes if one.state is LiveState.WITHDRAWN]
        there = [one for one in report.outcomes if one.state is not LiveState.WITHDRAWN]
        real = sorted({*report.brought, *(one.bar for one in there if not one.exact or folds.needs(one.bar.ts))})
        parts = [part_of_row(bar, own, calendar.slot_end(own, bar.ts), factor) for bar in real]
        unsettled, meaning = folds.answer(
            parts, gone, answered=report.answered, covered=report.covered, changed=changed
        )
        self._put(stream, unsettled)
        for frame, one in meaning:
            for outcome in one.outcomes:
                self._telling.outcome(stream, frame.name, shown(outcome, factor), version=report.version, now=now)
            for span in one.confirmed:
                self._telling.confirmed(stream, frame.name, span, report.version)
        missing = folds.incomplete(sorted(changed))
        if missing:
            self._confirming.need(stream.key, missing, since=now)

    def kept(self) -> list[ProvisionalBar]:
        """The closed bars that history has not answered for, of all streams."""
        return [row for rows in self._kept.values() for row in rows.values()]

    def lost_table(self, streams: Iterable[Stream]) -> None:
        """The table of provisional bars was emptied: who read it may have missed bars."""
        now = self._clock.now_ns()
        for stream in streams:
            if stream.is_bars and stream.key in self._folds:
                start = stream.confirmed_until or min(self._kept.get(stream.key, {now: None}))
                self._telling.gap(stream, (start, now), "live_bars_lost")


def _calendar(stream: Stream) -> Calendar:
    assert stream.calendar is not None  # noqa: S101  for the type checker: loaded before a stream of bars is requested
    return stream.calendar


def _unsettled_from(stream: Stream) -> int:
    """Since when longer bars may be over that history has not settled: nobody else tells them any more."""
    holes = [start for start, _ in stream.holes]
    return min([at for at in (stream.confirmed_until, stream.lost_at, *holes) if at is not None], default=FOR_GOOD)
