"""The bars of a run in paper or live: read from rows, each written down before it is given, in the order of time.

A closed bar is given at once. One with missing parts, or behind a hole of its stream, is held until history has what is missing,
for a while; then no entry follows from it. So is one of a pair in paper with the fill model `close` until the other side of the
market is there, at which its order fills. A bar that changes after it was given is noted, and not given again. What closed while
nobody was there to decide, and what came too late to be decided on, is fed as warm-up, and noted as a gap.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from nautilus.clock import NS_PER_S, rfc3339
from nautilus.db.bridge.status import market_now
from nautilus.db.cursor import Cursor
from nautilus.db.live import provisional, streams
from nautilus.db.market import series as series_rows
from nautilus.db.strategies import leases, live_bars, writing
from nautilus.db.strategies.leases import Hold
from nautilus.db.strategies.live_bars import Given, SeenBar
from nautilus.db.strategies.runs import RunRow
from nautilus.db.strategies.writing import NewBar, NewEvent
from nautilus.live.subscriptions import StreamKey
from nautilus.spans import Span, Spans
from nautilus.strategies import history
from nautilus.strategies.columns import FedBar, StoredBar, in_order
from nautilus.strategies.history import FedSeries
from nautilus.strategies.states import Mode

_LATE_NS = 10 * NS_PER_S
"""A bar that was over for more than its own length and this is not decided on any more."""
_WATCHED = 30
"""So many of the last bars are compared with what history makes of them."""


class GivenBar(NamedTuple):
    """A bar that is to be given. state: `closed`, `confirmed`, `unconfirmed` or `warm_up`."""

    bar: FedBar
    state: str


class Forming(NamedTuple):
    """The first sign of a bar."""

    series: int
    opened_ns: int
    open: float


class News(NamedTuple):
    """What there is to be given, in order: the first signs of bars, and bars that are over; and what there is to be noted."""

    forming: list[Forming]
    bars: list[GivenBar]
    events: list[NewEvent]
    market_ns: int


class _Cursor:
    """How far one series is. last: the open of the last bar that was given, for warm-up too; without one, of the last that is
    too old to be decided on. closed: when it closed, -1 where it is not known. held_since: machine time since which bars wait.
    From the oldest of `given` on rows are read, to see revisions."""

    def __init__(self, one: FedSeries) -> None:
        self.one = one
        self.last = -1
        self.formed = -1
        self.closed = -1
        self.held_since: dict[int, float] = {}
        self.given: dict[int, tuple[FedBar, bool]] = {}

    def copy(self) -> "_Cursor":
        copied = _Cursor(self.one)
        copied.last, copied.formed, copied.closed = self.last, self.formed, self.closed
        copied.held_since, copied.given = dict(self.held_since), dict(self.given)
        return copied


class _Position(NamedTuple):
    """How far a feed is. again: bars that are given once more."""

    series: list[_Cursor]
    number: int
    again: list[GivenBar]

    def copy(self) -> "_Position":
        return _Position([each.copy() for each in self.series], self.number, list(self.again))


class BarFeed:
    """The feed of one run. clock: seconds of machine time that never go back."""

    def __init__(
        self, run: RunRow, fed: Sequence[FedSeries], *, held_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._hold = Hold(run.id, run.token)
        self._committed = _Position([_Cursor(one) for one in fed], 0, [])
        self._series, self._number, self._again = self._committed.copy()
        self._held_s = held_s
        self._clock = clock
        self._others = _others(fed)
        self._waits_for_others = run.mode == Mode.PAPER and run.options.get("fill") == "close"

    def committed(self) -> None:
        """The transaction of the last call is committed. Without this the next call begins where that one did."""
        self._committed = _Position(self._series, self._number, self._again)

    def _begin(self) -> None:
        self._series, self._number, self._again = self._committed.copy()

    # ---- the beginning -------------------------------------------------------------------------------------------

    def warm_up(self, cursor: Cursor, bars: int) -> list[FedBar]:
        """All that indicators are fed before the run goes on, in order. What was not given before is written down."""
        self._begin()
        leases.held(cursor, self._hold)
        now = market_now(cursor)
        self._number = writing.numbers(cursor, self._hold.run_id).bars
        whole = provisional.is_whole(cursor)
        found: list[FedBar] = []
        for each in self._series:
            found += self._warm_up_of(cursor, each, bars, now=now, whole=whole)
        return in_order(found)

    def _warm_up_of(self, cursor: Cursor, each: _Cursor, bars: int, *, now: int, whole: bool) -> list[FedBar]:
        one = each.one
        before = history.warm_up_of(cursor, one._replace(version=self._version(cursor, one)), now, bars)
        rows = [bar for bar in before if bar.closed_ns <= now]
        first = rows[-1].opened_ns + 1 if rows else now - 2 * one.row.timeframe.step_ns * (bars + 1)
        live = live_bars.seen(cursor, one.row.id, one.row.timeframe, first) if whole else []
        rows += [one.axis.bar(stored(bar)) for bar in live if bar.state != "forming" and not bar.partial]
        rows = sorted({bar.opened_ns: bar for bar in rows}.values())
        last = live_bars.last_given(cursor, self._hold.run_id, one.axis.series)
        rows = self._give_again(each, rows, last, now=now)
        each.closed = rows[-1].closed_ns if rows else -1
        each.last = rows[-1].opened_ns if rows else now - 2 * one.row.timeframe.step_ns - _LATE_NS - 1
        new = [bar for bar in rows if last is None or bar.opened_ns > last.opened_ns]
        self._write(cursor, [GivenBar(bar, "warm_up") for bar in new])
        if last is not None and last.begun and new:
            gap = {"series": one.axis.series, "from": rfc3339(new[0].opened_ns), "bars": len(new)}
            writing.events(cursor, self._hold.run_id, [NewEvent(now, "gap", gap)])
        return rows[-bars:] if bars else []

    def _give_again(self, each: _Cursor, rows: list[FedBar], last: Given | None, *, now: int) -> list[FedBar]:
        """The rows to warm up with. Bars that are fresh are left to be decided on: those that were never given, and the last
        one that was, unless it came too late, its child had done with it or an order follows from it already."""
        fresh = [bar for bar in rows if self._is_fresh(each, bar, now)]
        if last is None or not last.begun:
            return rows
        is_over = last.state == "warm_up" or last.done or last.decided
        undecided = set() if is_over else {last.opened_ns}
        again = [bar for bar in fresh if bar.opened_ns in undecided]
        self._again += [GivenBar(bar, "closed") for bar in again]
        left = {bar.opened_ns for bar in fresh if bar.opened_ns > last.opened_ns} | {bar.opened_ns for bar in again}
        return [bar for bar in rows if bar.opened_ns not in left]

    def _is_fresh(self, each: _Cursor, bar: FedBar, now: int, *, held: bool = False) -> bool:
        waited_ns = int(self._held_s * NS_PER_S) if held else 0
        return now - bar.closed_ns <= each.one.row.timeframe.step_ns + _LATE_NS + waited_ns

    @staticmethod
    def _version(cursor: Cursor, one: FedSeries) -> int:
        return series_rows.by_id(cursor, one.row.id).data_version

    # ---- going on ------------------------------------------------------------------------------------------------

    def news(self, cursor: Cursor) -> News:
        """What is to be given now; bars are written down in this transaction. LeaseLost."""
        self._begin()
        now = market_now(cursor)
        again, self._again = self._again, []
        for given in again:
            self._note(given)
        forming: list[Forming] = []
        bars: list[GivenBar] = []
        events: list[NewEvent] = []
        for each in sorted(self._series, key=lambda each: self._rank(each.one.axis.series)):
            rows = live_bars.seen(
                cursor, each.one.row.id, each.one.row.timeframe, min(each.given, default=each.last + 1)
            )
            events += self._revisions(each, rows, now)
            found = self._ready(cursor, each, rows, now)
            forming += found.forming
            bars += found.bars
            events += found.events
        bars.sort(key=lambda given: (given.bar.closed_ns, self._rank(given.bar.series)))
        if bars or events:
            leases.held(cursor, self._hold)
            self._write(cursor, bars)
            writing.events(cursor, self._hold.run_id, events)
        return News(sorted(forming, key=lambda one: one.opened_ns), [*again, *bars], events, now)

    def _ready(self, cursor: Cursor, each: _Cursor, rows: Sequence[SeenBar], now: int) -> News:
        """What there is to be given of one series."""
        found = News([], [], [], now)
        for n, row in enumerate(rows):
            if row.ts <= each.last:
                continue
            if row.ts > each.formed:
                each.formed = row.ts
                found.forming.append(Forming(each.one.axis.series, row.ts, row.open))
            if row.state == "forming":
                break
            bar = each.one.axis.bar(stored(row))
            hole = _hole_before(cursor, each, row)
            whole = not (row.partial or hole) and self._others_are_there(each, row)
            if not whole and self._is_held(each, rows[n:], now):
                break
            state = row.state if whole else "unconfirmed"
            if not self._is_fresh(each, bar, now, held=row.ts in each.held_since):
                state = "warm_up"
            if hole:
                found.events.append(_gap(bar.series, now, _slots(hole, each.one.row.timeframe.step_ns)))
            given = GivenBar(bar, state)
            each.last = row.ts
            self._note(given)
            found.bars.append(given)
        late = [one.bar for one in found.bars if one.state == "warm_up"]
        if late:
            found.events.append(_gap(late[0].series, now, [(bar.opened_ns, bar.closed_ns) for bar in late]))
        return found

    def _is_held(self, each: _Cursor, rows: Sequence[SeenBar], now: int) -> bool:
        """Whether the first of these bars waits for what it lacks. Those behind it that are fresh are held as well from now on:
        what this wait makes late did not come too late."""
        at = self._clock()
        if at - each.held_since.setdefault(rows[0].ts, at) >= self._held_s:
            return False
        for row in rows[1:]:
            if row.state != "forming" and self._is_fresh(each, each.one.axis.bar(stored(row)), now):
                each.held_since.setdefault(row.ts, at)
        return True

    def _others_are_there(self, each: _Cursor, row: SeenBar) -> bool:
        others = self._others.get(each.one.axis.series, ()) if self._waits_for_others else ()
        return all(one.last >= row.ts for one in self._series if one.one.axis.series in others)

    def _rank(self, series: int) -> tuple[bool, int]:
        """Of bars that close at once, what a strategy follows comes last, as in a back-test."""
        return series in self._others, series

    def _note(self, given: GivenBar) -> None:
        """Remember a bar that is given, to see whether history has it otherwise."""
        each = next(one for one in self._series if one.one.axis.series == given.bar.series)
        each.last = max(each.last, given.bar.opened_ns)
        each.closed = max(each.closed, given.bar.closed_ns)
        each.held_since.pop(given.bar.opened_ns, None)
        each.given[given.bar.opened_ns] = (given.bar, given.state == "confirmed")
        while len(each.given) > _WATCHED:
            del each.given[min(each.given)]

    def _revisions(self, each: _Cursor, rows: Sequence[SeenBar], now: int) -> list[NewEvent]:
        """Bars that history has otherwise than they were given: once each."""
        found = []
        for row in rows:
            before, settled = each.given.get(row.ts, (None, True))
            if before is None or settled or row.state != "confirmed":
                continue
            after = each.one.axis.bar(stored(row))
            each.given[row.ts] = (before, True)
            if after != before:
                body = {
                    "series": before.series,
                    "opened": rfc3339(row.ts),
                    "before": values(before),
                    "after": values(after),
                }
                found.append(NewEvent(now, "revision", body))
        return found

    def _write(self, cursor: Cursor, bars: Sequence[GivenBar]) -> None:
        rows = [NewBar(*given.bar, given.state) for given in bars]
        writing.bars(cursor, self._hold.run_id, self._number + 1, rows)
        self._number += len(rows)


def _others(fed: Sequence[FedSeries]) -> dict[int, tuple[int, ...]]:
    """Of each series that a strategy follows, the first of its instrument: the others of that instrument."""
    by_contract: dict[int, list[int]] = {}
    for one in fed:
        by_contract.setdefault(one.row.con_id, []).append(one.axis.series)
    return {min(mine): tuple(sorted(mine)[1:]) for mine in by_contract.values()}


def _hole_before(cursor: Cursor, each: _Cursor, row: SeenBar) -> Spans:
    """What its stream has missed between the bar before and this one, and history has not brought yet."""
    if each.closed < 0 or row.ts <= each.closed:
        return Spans()
    one = each.one.row
    key = StreamKey(one.con_id, f"bars:{one.timeframe.name}", one.price, one.session)
    return streams.holes(cursor, key) & Spans.of(each.closed, row.ts)


def _slots(hole: Spans, step_ns: int) -> list[Span]:
    return [(at, at + step_ns) for start, end in hole for at in range(start, end, step_ns)]


def _gap(series: int, now: int, missed: Iterable[Span]) -> NewEvent:
    """Bars on which nothing is decided. missed: their times, ascending."""
    spans = list(missed)
    return NewEvent(now, "gap", {"series": series, "from": rfc3339(spans[0][0]), "bars": len(spans)})


def stored(row: SeenBar) -> StoredBar:
    return StoredBar(row.ts, row.open, row.high, row.low, row.close, row.volume)


def values(bar: FedBar) -> dict[str, Any]:
    """Its prices and volume."""
    return {name: getattr(bar, name) for name in ("open", "high", "low", "close", "volume")}
