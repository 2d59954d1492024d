"""What history says of live bars: which closed bars are due to be confirmed, in which request, and what an answer means.

Plain values in, plain values out. A live bar is a preview. A historical answer confirms it, revises it, or, where history has no
bar in a slot that is settled, withdraws it.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from nautilus.clock import NS_PER_DAY, NS_PER_S
from nautilus.live.bars import LiveState
from nautilus.live.subscriptions import StreamKey
from nautilus.market.bar import Bar
from nautilus.market.calendar import Calendar
from nautilus.market.timeframes import Timeframe
from nautilus.spans import Span, Spans

REQUESTS_PER_MINUTE = 20
"""Confirming requests in a minute, of all series together. A public project sustained 26 a minute for hours."""
MINUTE_NS = 60 * NS_PER_S
SMALL_WINDOW_NS = 30 * MINUTE_NS
"""Bars of 30 seconds and less are confirmed in windows of half an hour: they share IB's 60 requests in ten minutes."""
SMALL_SERIES = 60
"""So many series of small bars are confirmed at that pace, a third of what IB allows; more of them wait for longer."""
OVERLAP_BARS = 3
"""How far a request reaches into what is confirmed already, so that a change of the last bars is seen, down to the first of a
session."""
LONGEST_NS = 120 * MINUTE_NS
"""What is missing for longer than this is a hole of its own kind: other requests bring it (`beyond_one_request`)."""
RECENT_NS = 15 * MINUTE_NS
"""History may lag. So long nothing behind the last bar of an answer is believed to be empty."""
KEPT_NS = 10 * NS_PER_DAY
"""A series that is kept current is looked through so far back: what was missed is found, whoever died meanwhile."""
_LOT = 100
_LOT_SPREAD = 0.1
"""Volumes in lots are rounded: a ratio so near to a hundred is a matter of units."""
_SAME = 1e-9
"""Sums of parts differ from IB's own number in the last digits."""


class LivePrices(NamedTuple):
    """A provisional bar as listeners have it. closed: it does not form any more."""

    bar: Bar
    closed: bool


class Outcome(NamedTuple):
    """What history says of one bar.

    bar: history's values; of a withdrawn bar the last ones that were known. state: `confirmed`, `revised` or `withdrawn`.
    was: what listeners had, of a bar that is revised or withdrawn. exact: listeners have each of these values already.
    """

    bar: Bar
    state: LiveState
    was: Bar | None = None
    exact: bool = False


class Report(NamedTuple):
    """What one commit of the live path did to a series.

    series_id, version: the series and its version after the commit. outcomes: in order of time; bars that nobody has reason to
    receive again are not among them. settled: what is covered since this commit, and what of the provisional bars was covered
    before. filled: holes that are covered as a whole now. gaps: what was missing before the answer begins, and is requested since
    this commit. covered_until: the end of the range that is covered up to the newest bar; None where the newest closed bar is not
    covered. splits: the ratio of each split that was found. covered: all that is covered after the commit. answered: what is
    covered since this answer, or was brought by others and is published now; its bars are all among the outcomes and `brought`,
    which longer bars are made of and nobody has to receive. refused: holes that history does not close now, and why.
    """

    key: StreamKey
    series_id: int
    version: int
    outcomes: tuple[Outcome, ...] = ()
    settled: Spans = Spans()
    filled: Spans = Spans()
    gaps: Spans = Spans()
    covered_until: int | None = None
    splits: tuple[float, ...] = ()
    covered: Spans = Spans()
    answered: Spans = Spans()
    brought: tuple[Bar, ...] = ()
    refused: tuple[tuple[Span, str], ...] = ()


# ---- when, and what is requested -----------------------------------------------------------------------------------------


def period_ns(frame: Timeframe, series: int) -> int:
    """How much is confirmed with one request when so many series are: a minute, or as many as the budget asks for."""
    if frame.small:
        return SMALL_WINDOW_NS * max(1, -(-series // SMALL_SERIES))
    return max(frame.step_ns, MINUTE_NS * max(1, -(-series // REQUESTS_PER_MINUTE)))


def hole_wait_ns(series: int) -> int:
    """So long after its last request a series of small bars requests a hole, when so many are confirmed: holes together take ten
    of IB's 60 requests in ten minutes at most, and `period_ns` leaves 40 of these."""
    return series * MINUTE_NS


def lacking(closed: Span, calendar: Calendar, frame: Timeframe, *, covered: Spans, refused: Spans) -> Spans:
    """What of a closed range can hold bars and is neither covered nor refused, as whole slots of open time."""
    start = calendar.slot(frame, closed[0])[0]
    return calendar.open_time(frame, (start, max(start, closed[1]))) - covered - refused


def is_due(missing: Spans, calendar: Calendar, *, now: int, period: int, partial: bool) -> bool:
    """True when what is missing is to be requested now: it is as long as a request is to be, a bar of it is known in part only,
    or its session is over, so that no more comes to it."""
    if not missing:
        return False
    start, end = hull(missing)
    return partial or end - start >= period or calendar.session_at(now) is None or _is_older(missing, calendar, now)


def _is_older(missing: Spans, calendar: Calendar, now: int) -> bool:
    session = calendar.session_at(now)
    return session is not None and hull(missing)[0] < session.open_ns


def hull(spans: Spans) -> Span:
    """From the first start to the last end."""
    ranges = list(spans)
    return ranges[0][0], ranges[-1][1]


def window(missing: Spans, calendar: Calendar, frame: Timeframe) -> tuple[Span, Span]:
    """(span, window): what the answer is judged on, and what is requested, which begins a few bars of the session earlier.

    Of what is longer than one request is to be, only the newest part: the rest is a hole (`beyond_one_request`).
    """
    start, end = hull(missing)
    start = max(start, calendar.slot(frame, end - LONGEST_NS)[0])
    start = next(max(start, part[0]) for part in missing if part[1] > start)
    session = calendar.session_at(start)
    earliest = session.open_ns if session is not None else start
    return (start, end), (max(earliest, calendar.back(frame, start, OVERLAP_BARS)), end)


def beyond_one_request(missing: Spans, span: Span) -> Spans:
    """What is missing before the span of a request."""
    return missing & Spans.of(-(2**63), span[0])


def kept_since(covered: Spans, calendar: Calendar, frame: Timeframe, now: int) -> int:
    """From where on a series that is kept current is to be whole: from the end of what is covered, and over the last days where
    it was covered before. Of what nobody ever requested: from the open of the latest session, or the last label."""
    known = covered & Spans.of(-(2**63), now)
    if known:
        first, last = hull(known)
        return min(last, max(first, now - KEPT_NS))
    session = calendar.latest_session(now)
    if not frame.intraday or session is None:
        return frame.floor(frame.floor(now) - 1)
    return calendar.slot(frame, session.open_ns)[0]


def answered_span(calendar: Calendar, frame: Timeframe, *, sent_at: int, duration_ns: int, closed_until: int) -> Span:
    """What the first answer of a stream can be judged on: from the first whole slot in its duration to the last closed bar."""
    start, end = calendar.slot(frame, sent_at - duration_ns)
    first = start if start == sent_at - duration_ns else end
    return first, max(first, closed_until)


def unproven_tail(span: Span, calendar: Calendar, frame: Timeframe, *, stamps: Sequence[int], now: int) -> Spans:
    """What lies behind the last bar of an answer and is so young that history may only lag: it does not count as empty."""
    inside = [ts for ts in stamps if span[0] <= ts < span[1]]
    begin = calendar.slot_end(frame, inside[-1]) if inside else span[0]
    return calendar.open_time(frame, (max(begin, now - RECENT_NS), span[1])) if begin < span[1] else Spans()


# ---- what an answer means ------------------------------------------------------------------------------------------------


def outcomes(
    stored: Mapping[int, Bar], before: Mapping[int, Bar], live: Sequence[LivePrices], settled: Spans
) -> list[Outcome]:
    """What history says of the bars of a series, in order of time.

    stored: the bars that history has, by ts: those of the answer, and those in the slots of `live`. before: those of them that
    were stored before the answer. live: provisional bars. settled: what is covered now; all else stays as it is.
    """
    seen = {one.bar.ts: one for one in live if one.bar.ts in settled}
    found = [_of_stored(bar, before.get(ts), seen.get(ts)) for ts, bar in stored.items() if ts in settled]
    gone = [Outcome(one.bar, LiveState.WITHDRAWN, one.bar) for ts, one in seen.items() if ts not in stored]
    return sorted([*(one for one in found if one is not None), *gone], key=lambda one: one.bar.ts)


def _of_stored(bar: Bar, old: Bar | None, live: LivePrices | None) -> Outcome | None:
    if live is not None and live.closed:
        if differs(live.bar, bar):
            return Outcome(bar, LiveState.REVISED, live.bar)
        return Outcome(bar, LiveState.CONFIRMED, exact=live.bar[:6] == bar[:6] and live.bar.trades == bar.trades)
    if old is not None and old != bar:
        if differs(old, bar) or old[:6] == bar[:6]:
            return Outcome(bar, LiveState.REVISED, old)
        return Outcome(bar, LiveState.CONFIRMED)
    if old is not None and live is None:
        return None
    return Outcome(bar, LiveState.CONFIRMED)


def differs(was: Bar, bar: Bar) -> bool:
    """True when prices differ, or the volume does by more than its unit. What is not known differs from nothing."""
    if was[1:5] != bar[1:5]:
        return True
    if was.volume is None or bar.volume is None or _near(was.volume, bar.volume, _SAME):
        return False
    return not (_near(was.volume * _LOT, bar.volume, _LOT_SPREAD) or _near(was.volume, bar.volume * _LOT, _LOT_SPREAD))


def _near(one: float, other: float, spread: float) -> bool:
    return abs(one - other) <= spread * max(abs(one), abs(other))
