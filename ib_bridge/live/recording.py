"""What an answer of history does to the bars of a live stream, in one transaction: bars and coverage as any answer's, and the
provisional bars that it settles go."""

from typing import NamedTuple

from ib_bridge.history import settling, writer
from ib_bridge.history.writer import Answer
from nautilus.clock import NS_PER_S
from nautilus.coverage.states import CoverageState, Note
from nautilus.db.bars import write as bar_store
from nautilus.db.bars.volume_units import Taken
from nautilus.db.cursor import Cursor
from nautilus.db.ledger import standing_jobs
from nautilus.db.live import provisional, wants
from nautilus.db.live.provisional import ProvisionalBar
from nautilus.db.market import series
from nautilus.db.market.series import ALL_TIME, Series
from nautilus.live import confirmation, watching
from nautilus.live.confirmation import LivePrices, Report
from nautilus.live.offered import stream_of
from nautilus.live.subscriptions import StreamKey
from nautilus.market.bar import Bar
from nautilus.market.calendar import Calendar
from nautilus.market.timeframes import Timeframe
from nautilus.spans import Span, Spans

_RECHECK_NS = settling.EMPTY_RECHECK_NS + 300 * NS_PER_S
"""The stream's own requests check what is unconfirmed again after a quarter of an hour; others only where they did not."""
_MOST_BROUGHT = 35_000
"""Bars of a range that are read at once: the minutes of a month that trades around the clock are 32,000."""


class Settled(NamedTuple):
    """How a series stands, what history refuses of it now, and the outcomes of provisional bars that others' answers have
    settled; None: of none."""

    row: Series
    refusals: list[Note]
    report: Report | None


def inspect(cursor: Cursor, key: StreamKey, series_id: int, *, since: int, now: int) -> Settled:
    """How a series stands from `since` on. Provisional bars where another answer has settled the slot (a backfill's, one that
    was stored before a crash) get their outcome here."""
    row = series.by_id(cursor, series_id)
    refusals = [note for note in series.notes(cursor, series_id, (since, max(since + 1, now))) if note.refuses(now)]
    lives = provisional.within(cursor, series_id, *ALL_TIME)
    if not any(one.ts in row.covered for one in lives):
        return Settled(row, refusals, None)
    row = series.by_id(cursor, series_id, lock=True)
    stored = bar_store.read(cursor, row.id, row.timeframe, [one.ts for one in lives])
    outcomes = confirmation.outcomes(stored, stored, [_prices(one) for one in lives], row.covered)
    _remove(cursor, row, lives)
    settled = _settled(row, lives)
    report = Report(key, row.id, row.data_version, tuple(outcomes), settled=settled, covered=row.covered)
    return Settled(row, refusals, report)


def record(
    cursor: Cursor,
    key: StreamKey,
    series_id: int,
    answer: Answer,
    *,
    span: Span,
    rows: list[Bar],
    calendar: Calendar,
    market_ns: int,
    taken: Taken | None = None,
    begins: int | None = None,
) -> Report:
    """Store an answer, and say what it means for listeners.

    span: what the answer is judged on. begins: as in `settling.store`. rows: its closed bars, ascending; none where IB says that
    there are none. What a series of the watch list lacks before the span is requested in the same transaction.
    """
    row = series.by_id(cursor, series_id, lock=True)
    kept = key in kept_series(cursor)
    gaps = request_gaps(cursor, row, span[0], calendar, market_ns=market_ns) if kept else Spans()
    lives = provisional.within(cursor, row.id, *ALL_TIME)
    stamps = sorted({bar.ts for bar in rows} | {one.ts for one in lives})
    before = bar_store.read(cursor, row.id, row.timeframe, stamps)
    unproven = confirmation.unproven_tail(span, calendar, row.timeframe, stamps=[bar.ts for bar in rows], now=market_ns)
    stored = settling.store(
        cursor,
        row,
        span,
        calendar=calendar,
        rows=rows,
        market_ns=market_ns,
        request_id=answer.request_id,
        ib_code=answer.ib_code,
        taken=taken,
        unproven=unproven,
        recheck_ns=_RECHECK_NS,
        begins=begins,
    )
    after = series.by_id(cursor, row.id)
    bars = bar_store.read(cursor, row.id, row.timeframe, stamps)
    outcomes = confirmation.outcomes(bars, before, [_prices(one) for one in lives], after.covered)
    _remove(cursor, after, lives)
    writer.close(cursor, answer, "ok" if rows else "empty", len(rows))
    return Report(
        key,
        row.id,
        after.data_version,
        tuple(outcomes),
        settled=(after.covered - row.covered) | _settled(after, lives),
        gaps=gaps,
        covered_until=_covered_until(after, span),
        splits=stored.splits,
        covered=after.covered,
        answered=after.covered - row.covered,
    )


def stored(cursor: Cursor, series_id: int, frame: Timeframe, spans: Spans) -> list[Bar]:
    """The bars that history has of these ranges, ascending; the newest of a range, where there are very many."""
    found = []
    for start, end in spans:
        start = max(start, end - _MOST_BROUGHT * frame.step_ns)
        found += bar_store.first(cursor, series_id, frame, span=(start, end), limit=_MOST_BROUGHT)
    return found


def refuse(
    cursor: Cursor, series_id: int, answer: Answer, *, span: Span, reason: str, market_ns: int, permanent: bool
) -> None:
    """IB will not serve a range, or nobody could get it: a note says why. Nothing is withdrawn for that."""
    row = series.by_id(cursor, series_id, lock=True)
    settling.note_missing(
        cursor,
        row,
        Spans.of(*span),
        CoverageState.UNAVAILABLE if permanent else CoverageState.FAILED,
        reason=reason,
        ib_code=answer.ib_code,
        request_id=answer.request_id,
        market_ns=market_ns,
    )
    writer.close(cursor, answer, "error" if answer.ib_code else "timeout")


def close_unanswered(cursor: Cursor, answer: Answer) -> None:
    """Write down that IB refused a request for a reason that passes."""
    writer.close(cursor, answer, "error")


def kept_series(cursor: Cursor) -> set[StreamKey]:
    """The streams that bring the series of the watch list: of five seconds, or the minutes that all others are made of."""
    listed = [want for want in wants.of_owner(cursor, watching.OWNER) if want.kind == "bars"]
    return {
        stream_of(want.con_id, want.kind, want.timeframe, price=want.price, session=want.session) for want in listed
    }


def request_gaps(cursor: Cursor, row: Series, until: int, calendar: Calendar, *, market_ns: int) -> Spans:
    """Have what a series that is kept current lacks before `until` requested by its permanent job; returns the range that is
    requested since now. Under the series' row lock."""
    since = confirmation.kept_since(row.covered, calendar, row.timeframe, market_ns)
    if since >= until:
        return Spans()
    noted = Spans(note.span for note in series.notes(cursor, row.id, (since, until)))
    missing = confirmation.lacking((since, until), calendar, row.timeframe, covered=row.covered, refused=noted)
    whole = Spans.of(*confirmation.hull(missing)) if missing else missing
    return whole if standing_jobs.bring(cursor, row, whole) else Spans()


def _covered_until(row: Series, span: Span) -> int | None:
    return next((end for start, end in row.covered if start < span[1] <= end), None)


def _prices(one: ProvisionalBar) -> LivePrices:
    bar = Bar(one.ts, one.open, one.high, one.low, one.close, one.volume, None, one.trades)
    return LivePrices(bar, one.state == "closed")


def _settled(row: Series, lives: list[ProvisionalBar]) -> Spans:
    """What is covered of the range of provisional bars."""
    return row.covered & Spans.of(lives[0].ts, lives[-1].ts + 1) if lives else Spans()


def _remove(cursor: Cursor, row: Series, lives: list[ProvisionalBar]) -> None:
    """Remove the provisional bars that are settled now."""
    for start, end in _settled(row, lives):
        provisional.remove(cursor, row.id, start, end)
