"""What one answer of IB settles of its chunk, and what it leaves unconfirmed."""

from collections.abc import Sequence
from typing import NamedTuple

from nautilus.market.calendar import Calendar
from nautilus.market.instrument import QUOTE_KINDS
from nautilus.market.timeframes import Timeframe
from nautilus.spans import Span, Spans


class Verdict(NamedTuple):
    """What one answer means for its chunk: `settled` and the spans of `doubtful` partition the chunk."""

    settled: Spans
    doubtful: Spans
    filled: bool
    confirmed_empty: Spans


def judge(
    span: Span,
    timeframe: Timeframe,
    price: str,
    *,
    calendar: Calendar,
    stamps: Sequence[int],
    unconfirmed: Spans,
) -> Verdict:
    """Credit an answer session by session; of each session only the part inside the chunk is judged.

    span: the chunk on the series' axis. stamps: the bars of the answer, sorted, on that axis; those outside the chunk
    credit nothing. unconfirmed: what an earlier answer, at least 15 minutes ago, already found empty; a second empty answer
    there is a confirmation. Closed time is credited with its surroundings, so that coverage stays a handful of ranges.
    Quote kinds have a bar for every slot: a session whose first or last slot is missing keeps that end unconfirmed.
    """
    inside = [ts for ts in stamps if span[0] <= ts < span[1]]
    doubtful: list[Span] = []
    confirmed: list[Span] = []
    at = 0
    for start, end in calendar.units(timeframe, span):
        while at < len(inside) and inside[at] < start:
            at += 1
        first = at
        while at < len(inside) and inside[at] < end:
            at += 1
        if first == at:
            gaps = [(start, end)]
        elif price in QUOTE_KINDS and timeframe.intraday:
            gaps = _missing_ends((start, end), timeframe, calendar, first=inside[first], last=inside[at - 1])
        else:
            gaps = []
        for gap in gaps:
            (confirmed if unconfirmed.covers(gap) else doubtful).append(gap)
    unconfirmed = Spans(doubtful)
    return Verdict(Spans.of(*span) - unconfirmed, unconfirmed, bool(inside), Spans(confirmed))


def _missing_ends(part: Span, timeframe: Timeframe, calendar: Calendar, *, first: int, last: int) -> list[Span]:
    gaps = []
    if first >= calendar.slot_end(timeframe, part[0]):
        gaps.append((part[0], first))
    over = calendar.slot_end(timeframe, last)
    if over < part[1]:
        gaps.append((over, part[1]))
    return gaps
