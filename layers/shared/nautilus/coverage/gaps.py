"""What of a window is not settled, and why."""

from collections.abc import Iterable
from typing import NamedTuple

from nautilus.coverage.states import CoverageState, Note
from nautilus.market.calendar import Calendar
from nautilus.market.timeframes import Timeframe
from nautilus.spans import Span, Spans


class Missing(NamedTuple):
    """A range of open time that is not settled, and why, as answers show it."""

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
    was not asked yet. Without a calendar (none was ever requested) all time counts as open.
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
