"""From "these bars are wanted" to the fewest requests that IB allows and answers fast.

Nothing is requested that is covered, noted, already under way, closed, still forming, or that IB cannot serve.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from nautilus.clock import NS_PER_DAY, NS_PER_S
from nautilus.market.calendar import Calendar
from nautilus.market.timeframes import REQUEST_SPANS_S, Timeframe, timeframe
from nautilus.spans import Span, Spans

_DAY_S = 86_400
_WEEK_NS = 7 * NS_PER_DAY
SIX_MONTHS_NS = 181 * NS_PER_DAY
"""The shortest six months there are. To a request for older bars IB answers "no data", as if there were none."""


def chunk_spans(text: str) -> dict[str, int]:
    """The built-in spans, replaced by those of a setting such as `1m=86400,1h=604800`. Seconds.

    ValueError names what is wrong: no timeframe, no number, shorter than a bar, or longer than IB accepts.
    """
    found = dict(REQUEST_SPANS_S)
    for part in filter(None, (p.strip() for p in text.split(","))):
        name, _, number = (p.strip() for p in part.partition("="))
        if name not in found or not (number.isascii() and number.isdigit()):
            raise ValueError(f"{part!r} is not of the form timeframe=seconds, such as 1m=86400")
        frame = timeframe(name)
        least, most = frame.step_ns // NS_PER_S, frame.longest_request_s
        if not least <= int(number) <= most:
            raise ValueError(f"{part!r}: {name} takes {least} to {most} seconds")
        found[name] = int(number)
    return found


class Chunk(NamedTuple):
    """One request: `span` is what its answer is judged on (closed time around it included), `window` what is requested."""

    span: Span
    window: Span


class Plan(NamedTuple):
    """What a requested range comes to. `closed` is settled by the calendar alone; `impossible` says what IB can never deliver."""

    chunks: tuple[Chunk, ...] = ()
    closed: Spans = Spans()
    impossible: tuple[tuple[Span, str], ...] = ()
    not_closed_yet: Spans = Spans()
    unknown: Spans = Spans()
    """Beyond what the calendar knows: neither requested nor closed until more sessions are learnt."""
    under_way: Spans = Spans()
    already: Spans = Spans()


def by_rules(
    wanted: Span, timeframe: Timeframe, *, now: int, until: int, head: int | None, calendar: Calendar | None = None
) -> tuple[Span, Plan]:
    """Cut a requested range down to what can exist: after the head, before the last closed bar, within IB's six months.

    until: the end of what is closed at market time `now` (`Calendar.closed_until`). calendar: whose grid the range is
    widened to, whole slots; without one (nothing known of the instrument yet) that of UTC. The returned plan holds what
    was cut; it and the returned span partition the widened range, but for the rest of a slot that a range ending at `until`
    does not reach into.
    """

    def slot(ns: int) -> Span:
        return calendar.slot(timeframe, ns) if calendar else (timeframe.floor(ns), timeframe.next(ns))

    if wanted[0] >= wanted[1]:
        return (wanted[0], wanted[0]), Plan()
    start, end = slot(wanted[0])[0], slot(wanted[1] - 1)[1]
    # A range that ends where bars are closed wants nothing of the rest of its last slot.
    forming = Spans.of(max(start, until), end if wanted[1] > until else until)
    end = max(start, min(end, until))
    impossible: list[tuple[Span, str]] = []
    floors = [(slot(head)[0], "before_head")] if head is not None else []
    if timeframe.small:
        # IB keeps bars of 30 seconds and less for six months (TWS API, historical data limitations).
        floors.append((slot(now - SIX_MONTHS_NS - 1)[1], "older_than_six_months"))
    for floor, why in floors:
        floor = min(floor, end)
        if start < floor:
            impossible.append(((start, floor), why))
            start = floor
    return (start, end), Plan(impossible=tuple(impossible), not_closed_yet=forming)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanInput:
    """All that a plan depends on; ranges are on the series' axis.

    until: the end of what is closed at market time `now`. head: the oldest bar that IB has; None: not known. covered, noted,
    live: settled ranges, unexpired notes, and chunks under way. span_s: the longest request for this timeframe, in seconds.
    overlap: how many bars a request reaches into covered ranges it touches, so that the answer can be compared with what is
    stored.
    """

    wanted: Span
    timeframe: Timeframe
    calendar: Calendar
    now: int
    until: int
    head: int | None
    span_s: int
    covered: Spans = field(default_factory=Spans)
    noted: Spans = field(default_factory=Spans)
    live: Spans = field(default_factory=Spans)
    overlap: int = 0


def plan(given: PlanInput) -> Plan:
    """The chunks still to be requested, and an account of everything else in the requested range."""
    timeframe, calendar, until = given.timeframe, given.calendar, given.until
    (start, end), cut = by_rules(
        given.wanted, timeframe, now=given.now, until=until, head=given.head, calendar=calendar
    )
    possible = Spans.of(start, end)
    lacking = possible - given.covered - given.noted - given.live
    missing = lacking & calendar.known_axis(timeframe)
    closed: list[Span] = []
    chunks: list[Chunk] = []
    for gap in missing:
        lead, tail = gap
        if given.overlap and lead - 1 in given.covered:
            lead = calendar.back(timeframe, lead, given.overlap)
        if given.overlap and tail in given.covered:
            tail = calendar.ahead(timeframe, tail, given.overlap)
        found = _cut(gap, timeframe, calendar, length=given.span_s * NS_PER_S, wide=(lead, min(tail, until)))
        if found:
            chunks += found
        else:
            closed.append(gap)
    return Plan(
        chunks=tuple(chunks),
        closed=Spans(closed),
        impossible=cut.impossible,
        not_closed_yet=cut.not_closed_yet,
        unknown=lacking - missing,
        under_way=possible & given.live,
        already=possible & (given.covered | given.noted),
    )


def _cut(gap: Span, timeframe: Timeframe, calendar: Calendar, *, length: int, wide: Span | None = None) -> list[Chunk]:
    """Cut a gap into the fewest windows of open time no longer than `length`; the chunks' spans partition the gap.

    A window begins and ends with a session or at a slot of the grid: a request that ended within a slot would get half
    a bar. It may hold the end of one session and the beginning of the next. No window is shorter than a slot. wide: the
    gap and what the first and last window hold beyond it.
    """
    if not calendar.units(timeframe, gap):
        return []

    def request_end(start: int, end: int) -> int:
        return _request_end(timeframe, calendar, (start, end), length=length, first=gap[0])

    windows: list[Span] = []
    for start, end in calendar.open_time(timeframe, wide or gap):
        at = start
        if windows:
            at = max(start, request_end(windows[-1][0], end))
            if at > start:
                windows[-1] = (windows[-1][0], at)
        while at < end:
            stop = max(request_end(at, end), min(end, calendar.slot(timeframe, at)[1]))
            windows.append((at, stop))
            at = stop
    windows = [w for w in windows if w[0] < gap[1] and w[1] > gap[0]]
    starts = [gap[0], *(max(gap[0], w[0]) for w in windows[1:]), gap[1]]
    return [Chunk((starts[i], starts[i + 1]), window) for i, window in enumerate(windows)]


def _request_end(timeframe: Timeframe, calendar: Calendar, open_: Span, *, length: int, first: int) -> int:
    """How far a request for a range of open time may go: to its end, or to the last slot of the grid within its length."""
    start, end = max(open_[0], first), open_[1]  # what a request holds beyond its gap comes on top of its length
    limit = start + length
    if length % _WEEK_NS == 0:
        # Trading weeks as a whole: a request for five days gets one week, not the end of one and the beginning of the next.
        saturday = limit - (limit - 2 * NS_PER_DAY) % _WEEK_NS
        limit = saturday if saturday > start else limit
    return end if end <= limit else calendar.slot(timeframe, limit)[0]


def halves(span: Span, timeframe: Timeframe, calendar: Calendar) -> list[Chunk]:
    """The two smaller requests to try after a time-out; empty when the request is as small as it gets."""
    units = calendar.units(timeframe, span)
    if not units:
        return []
    start, end = units[0][0], units[-1][1]
    half = (end - start) // 2
    if half < timeframe.shortest_request_s * NS_PER_S:
        return []
    middle = calendar.slot(timeframe, start + half - 1)[1]
    if not start < middle < end:
        return []
    length = end - start + 1  # more than either half, and no whole weeks: nothing is cut again
    return [
        *_cut((span[0], middle), timeframe, calendar, length=length),
        *_cut((middle, span[1]), timeframe, calendar, length=length),
    ]
