"""What an answer means for a series: bars, revisions, coverage and notes, whoever made the request. In the caller's
transaction, under the series' row lock."""

from collections.abc import Iterable
from typing import NamedTuple

from nautilus.clock import NS_PER_DAY, NS_PER_S, label_of
from nautilus.coverage.judge import judge
from nautilus.coverage.splits import compare
from nautilus.coverage.states import CoverageState, Note
from nautilus.db.bars import volume_units
from nautilus.db.bars import write as bar_store
from nautilus.db.bars.revisions import Revision
from nautilus.db.bars.volume_units import Taken
from nautilus.db.bars.write import Written
from nautilus.db.cursor import Cursor
from nautilus.db.market import series
from nautilus.db.market.series import Series
from nautilus.market.bar import Bar
from nautilus.market.calendar import Calendar
from nautilus.market.timeframes import timeframe
from nautilus.spans import Span, Spans

EMPTY_RECHECK_NS = 900 * NS_PER_S
"""An empty answer is looked at again after this long, market time; a second one confirms it."""
_REQUESTED_AGAIN_NS = {CoverageState.UNAVAILABLE: NS_PER_DAY, CoverageState.FAILED: 3600 * NS_PER_S}
"""How long a refusal (no permission, kind not offered) or a failure is believed before the range may be requested again."""
_NO_DATA = "no_data"
"""Of what is unconfirmed, only what IB itself called empty counts as a first answer."""
_EARLIEST, _LATEST = -(2**63), 2**63 - 1


class Revised(NamedTuple):
    """Bars that answers have changed, as they were and as they are, and how the series stands since."""

    version: int
    covered: Spans
    before: dict[int, Bar]
    now: dict[int, Bar]


def revised_by(cursor: Cursor, series_id: int, revisions: Iterable[Revision]) -> Revised:
    """What these revisions of one series, in order of bar and version, have changed in all."""
    before: dict[int, Bar] = {}
    for old in revisions:
        if old.bar is not None:
            before.setdefault(old.ts, old.bar)
    after = series.by_id(cursor, series_id)
    now = bar_store.read(cursor, after.id, after.timeframe, list(before))
    return Revised(after.data_version, after.covered, before, now)


class Stored(NamedTuple):
    """What an answer changed: `inside` counts its bars in the span, `doubtful` is what it left unconfirmed of it; `splits` has
    the ratio of each split that its overlaps with stored bars showed. revised: where the writer looks for it."""

    written: Written
    splits: tuple[float, ...]
    inside: int
    doubtful: Spans
    revised: Revised | None = None


def store(
    cursor: Cursor,
    row: Series,
    span: Span,
    *,
    calendar: Calendar,
    rows: list[Bar],
    market_ns: int,
    request_id: int,
    ib_code: int | None,
    taken: Taken | None = None,
    unproven: Spans = Spans(),  # noqa: B008  immutable
    recheck_ns: int = EMPTY_RECHECK_NS,
    begins: int | None = None,
) -> Stored:
    """Store the closed bars of an answer to a request for `span`, and credit what they settle of it.

    rows: closed bars, ascending; none where IB says that there are none. Of bars outside the span only those that meet settled
    ranges count: they are compared with what is there. taken: how the volumes were taken, where they may come in several units.
    unproven: what the answer lacks there stays open. recheck_ns: when others check again what is unconfirmed.

    begins: where the request begins, the open of a bar, if it is in seconds: from there on all bars of the answer are whole. None
    where that is not known: IB counts days and weeks in its own way, and a request that ends now begins within a bar. Then the
    first bar of the answer may be cut, and is compared with nothing.
    """
    old = series.notes(cursor, row.id, span)
    found_empty = _found_empty_before(old, market_ns)
    verdict = judge(
        span, row.timeframe, row.price, calendar=calendar, stamps=[bar.ts for bar in rows], unconfirmed=found_empty
    )
    # What is settled stays so: a bar that a later answer lacks is kept. What was found empty before is so by this answer, too.
    doubtful = (verdict.doubtful | unproven) - row.covered - found_empty
    doubtful = doubtful - _no_day(cursor, row, doubtful, calendar)
    # A range keeps the time when it was found empty first: that is what the second answer is measured by.
    noted = [
        Note(s, CoverageState.EMPTY_UNCONFIRMED, _NO_DATA, ib_code, market_ns, market_ns + recheck_ns)
        for s in doubtful - _empty(old)
    ]
    whole = rows if begins is not None and rows and rows[0].ts >= begins else rows[1:]
    beyond = [bar for bar in whole if bar.ts in row.covered and not span[0] <= bar.ts < span[1]]
    revised, stale, splits = _check_overlaps(cursor, row, span, beyond=beyond, market_ns=market_ns)
    inside = [bar for bar in rows if span[0] <= bar.ts < span[1]]
    stored = sorted([*inside, *revised])
    written = series.apply_changes(
        cursor,
        row,
        bars=stored,
        settled=Spans.of(*span) - doubtful,
        noted=[*noted, *stale],
        request_id=request_id,
    )
    if taken is not None:
        volume_units.note_taken(cursor, row, stored, taken)
    if inside and row.head_ts is not None and inside[0].ts < row.head_ts:
        series.set_head(cursor, row.id, inside[0].ts)  # IB's word on its oldest bar is not always right
    return Stored(written, splits, len(inside), doubtful)


def _empty(notes: list[Note]) -> Spans:
    """What IB called empty once."""
    return Spans(n.span for n in notes if n.state is CoverageState.EMPTY_UNCONFIRMED and n.reason == _NO_DATA)


def _found_empty_before(notes: list[Note], market_ns: int) -> Spans:
    """What was found empty long enough ago that a second empty answer confirms it."""
    return _empty([note for note in notes if note.checked_at <= market_ns - EMPTY_RECHECK_NS])


def _check_overlaps(
    cursor: Cursor, row: Series, span: Span, *, beyond: list[Bar], market_ns: int
) -> tuple[list[Bar], list[Note], tuple[float, ...]]:
    """Compare an answer with what is there on either side of its span: revised bars, or what a split made stale."""
    revised: list[Bar] = []
    stale: list[Note] = []
    splits: list[float] = []
    for side in (Spans.of(_EARLIEST, span[0]), Spans.of(span[1], _LATEST)):
        near = [bar for bar in beyond if bar.ts in side]
        check = compare(near, bar_store.read(cursor, row.id, row.timeframe, [bar.ts for bar in near]))
        revised += check.revised
        if check.ratio is not None:
            splits.append(check.ratio)
            reason = f"split:{check.ratio:.6g}"
            stale += [Note(s, CoverageState.STALE, reason, None, market_ns, market_ns) for s in row.covered & side]
    return revised, stale, tuple(splits)


def _no_day(cursor: Cursor, row: Series, doubtful: Spans, calendar: Calendar) -> Spans:
    """The unconfirmed ranges that are whole sessions of days which, says the settled daily series, had no trade."""
    daily = timeframe("1d")
    if not doubtful or not row.timeframe.intraday:
        return Spans()
    days = series.find(cursor, row.con_id, daily, price=row.price, session=row.session)
    if days is None:
        return Spans()
    empty = []
    for start, end in doubtful:
        session = calendar.session_at(start)
        if session is None or (session.open_ns, session.close_ns) != (start, end):
            continue
        label = label_of(session.trade_date)
        if label in days.covered and not bar_store.stamps(cursor, days.id, daily, start=label, end=label + NS_PER_DAY):
            empty.append((start, end))
    return Spans(empty)


def note_missing(
    cursor: Cursor,
    row: Series,
    span: Spans,
    state: CoverageState,
    *,
    reason: str,
    ib_code: int | None,
    request_id: int,
    market_ns: int,
) -> None:
    """IB will not serve these ranges (UNAVAILABLE), or nobody could get them for now (FAILED): a note says why."""
    until = market_ns + _REQUESTED_AGAIN_NS[state]
    noted = [Note(s, state, reason, ib_code, market_ns, until) for s in span - row.covered]
    series.apply_changes(cursor, row, noted=noted, request_id=request_id)
