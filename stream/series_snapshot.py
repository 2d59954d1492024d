"""The bars of one channel in one transaction.

Bars of five seconds, of a minute, and those with a date label are a series of their own. Longer intraday bars are made of
minutes, as the bridge makes the live ones: their version is that of the series of minutes.
"""

import json
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from nautilus.clock import NS_PER_DAY, rfc3339
from nautilus.coverage.availability import Calendars
from nautilus.db.bars import write as bar_store
from nautilus.db.bars.bar_source import BarSource
from nautilus.db.bars.read import SnapshotContext
from nautilus.db.cursor import Cursor
from nautilus.db.live import delta, provisional
from nautilus.db.live.delta import BarRow, Changes
from nautilus.db.live.provisional import ProvisionalBar
from nautilus.db.market import series
from nautilus.db.market.series import ALL_TIME, Series
from nautilus.errors import Unavailable
from nautilus.live.bars import bar_fields, live_fields
from nautilus.live.offered import stream_of
from nautilus.market import slots as grid
from nautilus.market.calendar import Calendar
from nautilus.market.instrument import Instrument
from nautilus.market.slots import Slots
from nautilus.market.timeframes import Timeframe, timeframe
from nautilus.spans import Span, Spans
from stream.holes import Hole, open_holes

_LONGEST_SEARCH_NS = 400 * NS_PER_DAY
"""So far back the slots of a snapshot are looked for, and so long a range of changes is aggregated at most."""
_UNSETTLED_NS = NS_PER_DAY
"""So far back longer bars are looked for that are over and not settled, or were settled by minutes without a bar."""
_MINUTE = timeframe("1m")


class SnapshotQuery(NamedTuple):
    """What is to be read. bars: the newest, so many. since: a version; then what changed since instead, so many at most.
    whole: who knows that version has all that was published of it (`nautilus.db.live.delta`)."""

    channel: str
    instrument: Instrument
    timeframe: str
    price: str
    session: str
    bars: int
    since: int | None = None
    whole: bool = False

    @property
    def stored(self) -> Timeframe:
        """The timeframe of the series that is read."""
        frame = timeframe(self.timeframe)
        return _MINUTE if frame.intraday and frame.step_ns > _MINUTE.step_ns else frame


class CalendarUnknown(Unavailable):
    """Longer bars cannot be made of minutes before the sessions are known."""

    code = "calendar-unknown"


class SeriesSnapshot(NamedTuple):
    """version: of the series. bars, provisional, forming: the texts of JSON. known: stamps of confirmed bars, as RFC 3339.

    seen: stamp of a provisional bar -> that bar. more: the range of the changes, when they are
    too many. confirmed_until: market time, ns. lost: the table of provisional bars was emptied by a crash. unknown: nobody
    knows what changed since the requested version; then all bars are in `removed`. holes: what the stream missed and history has
    not brought, and why. empty: there is nothing to tell.
    """

    series_id: int
    version: int
    confirmed_until: int | None
    bars: str = "[]"
    provisional: str = "[]"
    forming: str = "null"
    known: frozenset[str] = frozenset()
    seen: Mapping[str, "Provisional"] = {}
    more: Span | None = None
    removed: Spans = Spans()
    lost: bool = False
    unknown: bool = False
    holes: tuple[Hole, ...] = ()

    @property
    def empty(self) -> bool:
        return self.bars == self.provisional == "[]" and self.forming == "null" and not (self.removed or self.more)


class Provisional(NamedTuple):
    """A bar that is not confirmed, as clients get it. seen_at: when the bridge had it, market time, ns."""

    bar: BarRow
    state: str
    partial: bool
    source: str
    seen_at: int

    def as_dict(self) -> dict[str, Any]:
        return live_fields(self.bar, self.state, partial=self.partial, source=self.source, seen_at=self.seen_at)


def read_series(cursor: Cursor, calendars: Calendars, context: SnapshotContext, query: SnapshotQuery) -> SeriesSnapshot:
    """The snapshot of a channel, in the caller's transaction on the primary. CalendarUnknown: it cannot be made yet."""
    frame, stored = timeframe(query.timeframe), query.stored
    row = series.find(cursor, query.instrument.con_id, stored, price=query.price, session=query.session)
    lost = not provisional.is_whole(cursor)
    if row is None:
        nothing = SeriesSnapshot(0, 0, None, lost=lost)
        return nothing if query.since is None else nothing._replace(removed=Spans.of(*ALL_TIME), unknown=True)
    key = stream_of(row.con_id, "bars", query.timeframe, price=query.price, session=query.session)
    holes = open_holes(cursor, key, market_ns=context.market_ns)
    if stored is frame:
        return _own(cursor, row, query, lost=lost)._replace(holes=holes)
    calendar = calendars.get(cursor, query.instrument.calendar, query.session)
    if calendar is None:
        detail = f"{query.channel}: longer bars need the sessions, which IB has not sent yet"
        raise CalendarUnknown(detail)
    view = _View(cursor, row, frame, calendar, now=context.market_ns)
    return view.snapshot(query, lost=lost)._replace(holes=holes)


def _own(cursor: Cursor, row: Series, query: SnapshotQuery, *, lost: bool) -> SeriesSnapshot:
    """Of a series of its own."""
    live = _live(cursor, row)
    if query.since is None:
        bars = delta.newest(cursor, BarSource(row.id, row.timeframe), query.bars)
        return _snapshot(row, bars, live, lost=lost)
    changes = delta.since(cursor, row.id, row.timeframe, query.since, limit=query.bars, whole=query.whole)
    return _changed(_snapshot(row, changes.bars, live, lost=lost), changes, changes.more)


def _changed(snapshot: SeriesSnapshot, changes: Changes, more: Span | None) -> SeriesSnapshot:
    """A snapshot that tells changes. more: the range of those that it does not hold."""
    if changes.known:
        return snapshot._replace(more=more, removed=changes.removed)
    return snapshot._replace(more=more, removed=Spans.of(*ALL_TIME), unknown=True)


def _live(cursor: Cursor, row: Series) -> list[Provisional]:
    """What is provisional and not answered by history yet."""
    if not row.timeframe.intraday:
        return []
    rows = provisional.within(cursor, row.id, *ALL_TIME)
    return [_of_row(one) for one in rows if one.ts not in row.covered]


def _of_row(row: ProvisionalBar) -> Provisional:
    bar = BarRow(row.ts, row.open, row.high, row.low, row.close, row.volume, row.trades)
    return Provisional(bar, row.state, row.partial, row.source, row.seen_at)


class _View:
    """Longer bars, made of the minutes of a series."""

    def __init__(self, cursor: Cursor, row: Series, frame: Timeframe, calendar: Calendar, *, now: int) -> None:
        self._cursor = cursor
        self._row = row
        self._frame = frame
        self._calendar = calendar
        self._now = now

    def snapshot(self, query: SnapshotQuery, *, lost: bool) -> SeriesSnapshot:
        live = self._provisional()
        if query.since is None:
            return _snapshot(self._row, self._newest(query.bars), live, lost=lost)
        minutes = query.bars * (self._frame.step_ns // _MINUTE.step_ns)
        changes = delta.since(self._cursor, self._row.id, _MINUTE, query.since, limit=minutes, whole=query.whole)
        more, bars = changes.more, changes.bars
        if more is None and bars and bars[-1].ts - bars[0].ts > _LONGEST_SEARCH_NS:
            more = (bars[0].ts, bars[-1].ts + 1)
        longer = [] if more or not bars else self._around(bars)
        if changes.known and not (query.whole and query.since == self._row.data_version):
            longer = sorted({*longer, *self._settled_since(query.since)})
        return _changed(_snapshot(self._row, longer, live, lost=lost), changes, more)

    def _newest(self, limit: int) -> list[BarRow]:
        span = (self._now - _LONGEST_SEARCH_NS, self._now)
        start = grid.cut_after(self._calendar, self._frame, span, limit + 1, backward=True)
        return self._confirmed((start, self._now))[-limit:] if limit else []

    def _around(self, minutes: Sequence[BarRow]) -> list[BarRow]:
        """The confirmed bars that hold some of these minutes."""
        first = self._calendar.slot(self._frame, minutes[0].ts)[0]
        bars = self._confirmed((first, minutes[-1].ts + 1))
        starts = [bar.ts for bar in bars]
        touched = {bisect_right(starts, minute.ts) - 1 for minute in minutes}
        return [bars[n] for n in sorted(touched) if n >= 0]

    def _settled_since(self, version: int) -> list[BarRow]:
        """The confirmed bars that may have been settled after a version without any minute that is new: by minutes that had no
        trade. At that version they had a bar already, and were among the newest."""
        newest = delta.newest_at(self._cursor, self._row.id, version) or self._now
        slots = [p for p in self._slots((newest - _UNSETTLED_NS, newest)) if self._row.covered.covers(p)]
        if not slots:
            return []
        stamps = bar_store.stamps(self._cursor, self._row.id, _MINUTE, start=slots[0][0], end=slots[-1][1])
        counts = [bisect_left(stamps, close) - bisect_left(stamps, start) for start, close in slots]
        lengths = [(close - start) // _MINUTE.step_ns for start, close in slots]
        return self._bars([p for p, n, most in zip(slots, counts, lengths, strict=True) if 0 < n < most])

    def _slots(self, span: Span) -> list[Span]:
        """The slots that hold a part of a range."""
        found = grid.on_axis(self._calendar, self._frame, (self._calendar.slot(self._frame, span[0])[0], span[1]))
        return list(zip(found.starts, found.closes, strict=True))

    def _confirmed(self, span: Span) -> list[BarRow]:
        return self._bars([p for p in self._slots(span) if self._row.covered.covers(p)])

    def _bars(self, slots: Sequence[Span]) -> list[BarRow]:
        """The stored bars of these slots, in order."""
        if not slots:
            return []
        starts, closes = [p[0] for p in slots], [p[1] for p in slots]
        source = BarSource(self._row.id, _MINUTE, slots=Slots(starts, starts, closes))
        return delta.newest(self._cursor, source, len(slots), (starts[0], closes[-1]))

    def _provisional(self) -> list[Provisional]:
        """The slots that history has not settled, folded from stored and from provisional minutes."""
        live = _live(self._cursor, self._row)
        stamps = [self._now - _UNSETTLED_NS, self._now - 1, *(one.bar.ts for one in live)]
        slots = [p for p in self._slots((min(stamps), max(stamps) + 1)) if not self._row.covered.covers(p)]
        if not slots:
            return []
        stored = delta.newest(self._cursor, BarSource(self._row.id, _MINUTE), 10_000, (slots[0][0], slots[-1][1]))
        minutes = sorted([*live, *map(_of_stored, stored)], key=lambda one: one.bar.ts)
        at = [one.bar.ts for one in minutes]
        folded = []
        for start, close in slots:
            parts = minutes[bisect_left(at, start) : bisect_left(at, close)]
            if parts:  # the clock that is known may be behind: a later minute shows, too, that a slot is over
                folded.append(_fold(start, parts, over=close <= max(self._now, at[-1])))
        return folded


def _of_stored(bar: BarRow) -> Provisional:
    """A minute of history, as a part of a longer bar that is not settled."""
    return Provisional(bar, "closed", False, "history", bar.ts + _MINUTE.step_ns)


def _fold(start: int, parts: Sequence[Provisional], *, over: bool) -> Provisional:
    """One bar of some minutes. It is partial where all its minutes are history's, and are not settled as a whole."""
    bars = [part.bar for part in parts]
    volumes, trades = [bar.volume for bar in bars], [bar.trades for bar in bars]
    closed = over and all(part.state == "closed" for part in parts)
    folded = BarRow(
        start,
        bars[0].open,
        max(bar.high for bar in bars),
        min(bar.low for bar in bars),
        bars[-1].close,
        None if None in volumes else round(sum(v for v in volumes if v is not None), 8),
        None if None in trades else sum(n for n in trades if n is not None),
    )
    newest = max(parts, key=lambda part: part.seen_at)
    partial = any(part.partial for part in parts) or (closed and all(part.source == "history" for part in parts))
    return Provisional(folded, "closed" if closed else "forming", partial, newest.source, newest.seen_at)


def _snapshot(row: Series, bars: Sequence[BarRow], live: Iterable[Provisional], *, lost: bool) -> SeriesSnapshot:
    rows = list(live)
    newest = rows[-1] if rows and rows[-1].state == "forming" else None
    closed = [one.as_dict() for one in rows if one is not newest]
    forming = newest.as_dict() if newest is not None else None
    confirmed = [{**bar_fields(bar), "state": "confirmed"} for bar in bars]
    return SeriesSnapshot(
        row.id,
        row.data_version,
        _confirmed_until(row),
        _text(confirmed),
        _text(closed),
        _text(forming),
        frozenset(bar["ts"] for bar in confirmed),
        {rfc3339(one.bar.ts): one for one in rows},
        lost=lost,
    )


def _confirmed_until(row: Series) -> int | None:
    """The end of the newest range that is covered."""
    return max((end for _, end in row.covered), default=None)


def _text(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
