"""From "these bars are wanted" to the fewest requests that IB allows and answers fast.

Nothing is asked for that is covered, noted, already under way, closed, still forming, or that IB cannot serve.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from nautilus.calendars import Calendar
from nautilus.clock import NS_PER_DAY, NS_PER_S, datetime_of
from nautilus.spans import Span, Spans
from nautilus.timeframes import Timeframe

_DAY_S = 86_400
SIX_MONTHS_NS = 183 * NS_PER_DAY

CHUNK_SPANS_S: Mapping[str, int] = {
    # Safe request lengths per bar size: IB's table (TWS API, historical bars; 2,000 S is the limit for 1 s bars) and
    # what users measured: a week of one-minute bars takes 0.2 s, two weeks 6 s, a month 24 s. Settings may change them.
    "1s": 1_800,
    "5s": 7_200,
    "10s": 14_400,
    "15s": 14_400,
    "30s": 28_800,
    "1m": 7 * _DAY_S,
    "2m": 14 * _DAY_S,
    "3m": 14 * _DAY_S,
    "5m": 28 * _DAY_S,
    "10m": 28 * _DAY_S,
    "15m": 56 * _DAY_S,
    "20m": 56 * _DAY_S,
    "30m": 84 * _DAY_S,
    "1h": 182 * _DAY_S,
    "2h": 364 * _DAY_S,
    "3h": 364 * _DAY_S,
    "4h": 364 * _DAY_S,
    "8h": 364 * _DAY_S,
    "1d": 3_650 * _DAY_S,
    "1w": 3_650 * _DAY_S,
    "1M": 7_300 * _DAY_S,
}
_MIN_SPAN_S = {"1s": 60, "5s": 300, "10s": 600, "15s": 900, "30s": 1_800}


@dataclass(frozen=True, slots=True)
class Chunk:
    """One request: `span` is what its answer is judged on (closed time around it included), `window` what is asked."""

    span: Span
    window: Span


@dataclass(frozen=True, slots=True)
class Plan:
    """What a wish comes to. `closed` is settled by the calendar alone; `impossible` says what IB can never deliver."""

    chunks: tuple[Chunk, ...] = ()
    closed: Spans = field(default_factory=Spans)
    impossible: tuple[tuple[Span, str], ...] = ()
    not_closed_yet: Spans = field(default_factory=Spans)
    under_way: Spans = field(default_factory=Spans)
    already: Spans = field(default_factory=Spans)


def by_rules(wanted: Span, timeframe: Timeframe, *, now: int, until: int, head: int | None) -> tuple[Span, Plan]:
    """Cut a wish down to what can exist: after the head, before the last closed bar, within IB's six months.

    until: the end of what is closed at market time `now` (`Calendar.closed_until`). The returned plan holds what was cut.
    """
    start, end = timeframe.floor(wanted[0]), timeframe.ceil(wanted[1])
    forming = Spans.of(max(start, until), end)
    end = min(end, until)
    impossible: list[tuple[Span, str]] = []
    floor = start
    if head is not None and head > floor:
        impossible.append(((floor, min(head, end)), "before_head"))
        floor = timeframe.floor(head)
    # IB keeps bars of 30 seconds and less for six months (TWS API, historical data limitations).
    oldest = timeframe.ceil(now - SIX_MONTHS_NS)
    if timeframe.small and oldest > floor:
        impossible.append(((floor, min(oldest, end)), "older_than_six_months"))
        floor = oldest
    cut = tuple((span, why) for span, why in impossible if span[0] < span[1])
    return (min(floor, end), end), Plan(impossible=cut, not_closed_yet=forming)


def plan(
    wanted: Span,
    timeframe: Timeframe,
    calendar: Calendar,
    *,
    now: int,
    until: int,
    head: int | None,
    covered: Spans,
    noted: Spans,
    live: Spans,
    span_s: int,
) -> Plan:
    """The chunks still to be asked for, and an account of everything else in the wish.

    covered, noted, live: settled ranges, unexpired notes, and chunks under way, on the series' axis. span_s: the longest
    request for this timeframe, in seconds.
    """
    (start, end), cut = by_rules(wanted, timeframe, now=now, until=until, head=head)
    possible = Spans.of(start, end)
    missing = possible - covered - noted - live
    closed: list[Span] = []
    chunks: list[Chunk] = []
    for gap in missing:
        found = _cut(gap, timeframe, calendar, span_s * NS_PER_S)
        if found:
            chunks += found
        else:
            closed.append(gap)
    return Plan(
        chunks=tuple(chunks),
        closed=Spans(closed),
        impossible=cut.impossible,
        not_closed_yet=cut.not_closed_yet,
        under_way=possible & live,
        already=possible & (covered | noted),
    )


def _cut(gap: Span, timeframe: Timeframe, calendar: Calendar, length: int) -> list[Chunk]:
    """Cut a gap into windows of open time no longer than `length`; the spans of the chunks partition the gap."""
    windows: list[Span] = []
    for start, end in calendar.open_time(timeframe, gap):
        at = start
        if windows and end - windows[-1][0] <= length:
            windows[-1] = (windows[-1][0], end)
            continue
        if windows and windows[-1][0] + length > at and not timeframe.small:
            # Fill the request up to its length: a session may begin in one request and end in the next.
            stop = _boundary(timeframe, windows[-1][0] + length, at)
            if stop > at:
                windows[-1] = (windows[-1][0], stop)
                at = stop
        while at < end:
            stop = min(end, max(_boundary(timeframe, at + length, at), timeframe.next(at)))
            windows.append((at, stop))
            at = stop
    starts = [gap[0], *(w[0] for w in windows[1:]), gap[1]]
    return [Chunk((starts[i], starts[i + 1]), window) for i, window in enumerate(windows)]


def _boundary(timeframe: Timeframe, ns: int, least: int) -> int:
    return max(timeframe.floor(ns), least)


def halves(span: Span, timeframe: Timeframe, calendar: Calendar) -> list[Chunk]:
    """The two (or fewer) smaller requests to try after a time-out; empty when the request is as small as it gets."""
    windows = calendar.open_time(timeframe, span)
    if not windows:
        return []
    start, end = next(iter(windows))[0], list(windows)[-1][1]
    half_s = (end - start) // 2 // NS_PER_S
    if half_s < _MIN_SPAN_S.get(timeframe.name, max(3_600, timeframe.step_ns // NS_PER_S)):
        return []
    middle = timeframe.ceil(start + half_s * NS_PER_S)
    if not start < middle < end:
        return []
    return [
        *_cut((span[0], middle), timeframe, calendar, middle - start),
        *_cut((middle, span[1]), timeframe, calendar, end - middle),
    ]


def duration(window: Span, timeframe: Timeframe) -> str:
    """IB's durationStr for a window that ends where the request ends: never shorter than the window.

    IB counts back from the end, in trading days for `D` as users see it; calendar days are never fewer than those, so
    the answer holds the window in either reading. Bars outside the chunk are stored and credit nothing. Which unit goes
    with which bar size follows both of IB's tables (TWS API, "valid duration string units" and the older step sizes).
    """
    seconds = -((window[0] - window[1]) // NS_PER_S)
    days = -(-seconds // _DAY_S)
    weeks = -(-days // 7)
    step_s = timeframe.step_ns // NS_PER_S
    if step_s <= 60 and seconds <= _DAY_S:
        return f"{max(seconds, 30)} S"
    if not timeframe.intraday or days > 364:
        return f"{-(-days // 365)} Y"
    if step_s > 14_400:
        months = -(-days // 28)
        return f"{months} M" if months <= 12 else "1 Y"
    if step_s > 3_600 or weeks * 7 - days <= 1:
        return f"{weeks} W"
    return f"{days} D"


def end_text(window: Span) -> str:
    """IB's endDateTime, in its UTC form `yyyymmdd-hh:mm:ss` (immune to the gateway's zone settings)."""
    return datetime_of(window[1]).strftime("%Y%m%d-%H:%M:%S")
