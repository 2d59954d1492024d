"""What is known about a range of a series: what an answer of IB settles, and what it leaves in doubt.

Covered means settled: IB's answer is stored, or there is provably nothing. Everything else that is known is a note.
"No data", "not asked yet", "IB refuses" and "failed" never look alike.
"""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import NamedTuple

from nautilus.market.calendar import Calendar
from nautilus.market.instrument import QUOTE_KINDS
from nautilus.market.timeframes import Timeframe
from nautilus.spans import Span, Spans


class CoverageState(StrEnum):
    """How a range of a series stands, as callers are told."""

    FILLED = "filled"
    CLOSED = "closed"
    EMPTY_CONFIRMED = "empty_confirmed"
    NOT_ASKED = "not_asked"
    QUEUED = "queued"
    EMPTY_UNCONFIRMED = "empty_unconfirmed"
    UNAVAILABLE = "unavailable"
    FAILED = "failed"
    STALE = "stale"
    NOT_CLOSED_YET = "not_closed_yet"


SETTLED = frozenset({CoverageState.FILLED, CoverageState.CLOSED, CoverageState.EMPTY_CONFIRMED})
NOTED = frozenset(
    {CoverageState.EMPTY_UNCONFIRMED, CoverageState.UNAVAILABLE, CoverageState.FAILED, CoverageState.STALE}
)
"""The states that are stored as notes; the others follow from `covered`, the ledger, or rules alone."""


FORGOTTEN = "retention"
"""The reason of notes where bars were forgotten: unavailable, and asked for again only by force."""


class Note(NamedTuple):
    """A range that is not settled, and why. Times in market ns; `expires_at` None: until somebody asks by force."""

    span: Span
    state: CoverageState
    reason: str
    ib_code: int | None = None
    checked_at: int = 0
    expires_at: int | None = None


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
    calendar: Calendar,
    stamps: Sequence[int],
    unconfirmed: Spans,
) -> Verdict:
    """Credit an answer session by session; of each session only the part inside the chunk is judged.

    span: the chunk on the series' axis. stamps: the bars of the answer, sorted, on that axis; those outside the chunk
    credit nothing. unconfirmed: what an earlier answer, at least 15 minutes ago, already found empty; a second empty answer
    there is a confirmation. Closed time is credited with its surroundings, so that coverage stays a handful of ranges.
    Quote kinds have a bar for every slot: a session whose first or last slot is missing keeps that end in doubt.
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
            gaps = _missing_ends((start, end), timeframe, calendar, inside[first], inside[at - 1])
        else:
            gaps = []
        for gap in gaps:
            (confirmed if unconfirmed.covers(gap) else doubtful).append(gap)
    unconfirmed = Spans(doubtful)
    return Verdict(Spans.of(*span) - unconfirmed, unconfirmed, bool(inside), Spans(confirmed))


def _missing_ends(part: Span, timeframe: Timeframe, calendar: Calendar, first: int, last: int) -> list[Span]:
    gaps = []
    if first >= calendar.slot_end(timeframe, part[0]):
        gaps.append((part[0], first))
    over = calendar.slot_end(timeframe, last)
    if over < part[1]:
        gaps.append((over, part[1]))
    return gaps


class Missing(NamedTuple):
    """A range of open time that is not settled, and why, as callers are told."""

    span: Span
    state: CoverageState
    reason: str = ""
    ib_code: int | None = None


def missing(
    window: Span,
    timeframe: Timeframe,
    calendar: Calendar | None,
    *,
    covered: Spans,
    notes: Iterable[Note],
    live: Spans,
    until: int,
    impossible: Iterable[tuple[Span, str]],
) -> list[Missing]:
    """Label what of `window` is not settled, in order of time. Closed time is not missing.

    until: the end of what is closed by now; impossible: what rules alone exclude, with the reason. What nothing explains
    was not asked yet. Without a calendar (IB was never asked) all time counts as open.
    """
    rest = Spans.of(*window) - covered
    labels: list[tuple[Spans, CoverageState, str, int | None]] = [
        (Spans.of(until, max(until, window[1])), CoverageState.NOT_CLOSED_YET, "", None),
        *((Spans.of(*span), CoverageState.UNAVAILABLE, why, None) for span, why in impossible),
        (live, CoverageState.QUEUED, "", None),
        *((Spans.of(*note.span), note.state, note.reason, note.ib_code) for note in notes),
    ]
    found: list[Missing] = []
    for spans, state, reason, code in labels:
        found += [Missing(span, state, reason, code) for span in rest & spans]
        rest = rest - spans
    found += [Missing(span, CoverageState.NOT_ASKED) for span in rest]
    if calendar is not None:
        found = [m for m in (_open_part(m, timeframe, calendar) for m in found) if m is not None]
    return sorted(found, key=lambda m: m.span)


def _open_part(row: Missing, timeframe: Timeframe, calendar: Calendar) -> Missing | None:
    """The row cut to the first and last open time in it; None when all of it is closed; whole where not all is known."""
    if not calendar.known_axis(timeframe).covers(row.span):
        return row
    units = calendar.units(timeframe, row.span)
    return row._replace(span=(units[0][0], units[-1][1])) if units else None
