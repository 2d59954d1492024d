"""What one answer does to the ledger: bars, revisions, coverage, notes, chunk and job counters, in one transaction."""

from dataclasses import dataclass

from ib_bridge.ib.codes import UNRESOLVED
from nautilus.backfill.planner import Chunk
from nautilus.clock import NS_PER_DAY, NS_PER_S, label_of
from nautilus.coverage.judge import judge
from nautilus.coverage.splits import compare
from nautilus.coverage.states import CoverageState, Note
from nautilus.db.bars import volume_units
from nautilus.db.bars import write as bar_store
from nautilus.db.bars.volume_units import Taken
from nautilus.db.bars.write import Written
from nautilus.db.cursor import Cursor
from nautilus.db.ledger import chunks, job_stopping, requests
from nautilus.db.ledger.chunks import Lease
from nautilus.db.market import series
from nautilus.db.market.series import Series
from nautilus.market.bar import Bar
from nautilus.market.calendar import Calendar
from nautilus.market.timeframes import timeframe
from nautilus.spans import Span, Spans

EMPTY_RECHECK_NS = 900 * NS_PER_S
"""An empty answer is looked at again after this long, market time; a second one confirms it."""
_REFUSED_NS = NS_PER_DAY
"""How long a refusal (no permission, kind not offered) is believed before it may be asked again."""
_FAILED_NS = 3600 * NS_PER_S
_WHOLE_SERIES = UNRESOLVED | {"no_permission", "kind_not_offered", "no_market_data_subscription"}
"""Refusals that hold for every range of a series: what is still pending need not be asked."""
_NO_DATA = "no_data"
"""Of what is in doubt, only what IB itself called empty counts as a first answer."""
_EARLIEST, _LATEST = -(2**63), 2**63 - 1


@dataclass(frozen=True, slots=True)
class Answer:
    """How a request ended: what it took, and IB's code and text when it refused."""

    request_id: int
    ms: int
    ib_code: int | None = None
    ib_text: str | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """What an answer changed, and the ratio of each split that its seams showed."""

    written: Written
    splits: tuple[float, ...]


def bars(
    cursor: Cursor,
    held: Lease,
    answer: Answer,
    *,
    calendar: Calendar,
    rows: list[Bar],
    market_ns: int,
    taken: Taken | None = None,
) -> Stored:
    """Store an answer that came with bars, or with the statement that there are none, and credit what it settles.

    taken: how the volumes were taken, where they may come in several units.
    Of bars outside the chunk only those that meet settled ranges count: they are compared with what is there.
    """
    row = series.by_id(cursor, held.series_id, lock=True)
    old = series.notes(cursor, row.id, held.span)
    found_empty = _found_empty_before(old, market_ns)
    verdict = judge(
        held.span, row.timeframe, row.price, calendar=calendar, stamps=[bar.ts for bar in rows], unconfirmed=found_empty
    )
    # What is settled stays so: a bar that a later answer lacks is kept.
    doubtful = verdict.doubtful - row.covered
    doubtful = doubtful - _no_day(cursor, row, doubtful, calendar)
    noted = [
        Note(span, CoverageState.EMPTY_UNCONFIRMED, _NO_DATA, answer.ib_code, market_ns, market_ns + EMPTY_RECHECK_NS)
        for span in doubtful
    ]
    # The first bar of an answer may be cut by where IB's counting back began; outside the chunk it is not believed.
    beyond = [bar for bar in rows[1:] if bar.ts in row.covered and not held.span[0] <= bar.ts < held.span[1]]
    revised, stale, splits = _check_overlaps(cursor, row, held.span, beyond=beyond, market_ns=market_ns)
    inside = [bar for bar in rows if held.span[0] <= bar.ts < held.span[1]]
    stored = sorted([*inside, *revised])
    written = series.apply_changes(
        cursor,
        row,
        bars=stored,
        settled=Spans.of(*held.span) - doubtful,
        noted=[*noted, *stale],
        request_id=answer.request_id,
    )
    if taken is not None:
        volume_units.note_taken(cursor, row, stored, taken)
    if inside and row.head_ts is not None and inside[0].ts < row.head_ts:
        series.set_head(cursor, row.id, inside[0].ts)  # IB's word on its oldest bar is not always right
    _close(cursor, answer, "ok" if rows else "empty", len(rows))
    chunks.done(
        cursor,
        held,
        outcome=_outcome(bool(inside), bool(doubtful)),
        good=not doubtful,
        bars=len(inside),
        new=written.new,
        revised=written.revised,
        same=written.same,
        request_id=answer.request_id,
        ib_code=answer.ib_code,
    )
    return Stored(written, splits)


def _found_empty_before(notes: list[Note], market_ns: int) -> Spans:
    """What was found empty long enough ago that a second empty answer confirms it."""
    latest = market_ns - EMPTY_RECHECK_NS
    unconfirmed = (n for n in notes if n.state is CoverageState.EMPTY_UNCONFIRMED)
    return Spans(n.span for n in unconfirmed if n.reason == _NO_DATA and n.checked_at <= latest)


def _outcome(filled: bool, doubtful: bool) -> str:
    if doubtful:
        return "filled:partly" if filled else "empty:unconfirmed"
    return "filled" if filled else "empty:confirmed"


def _check_overlaps(
    cursor: Cursor, row: Series, span: Span, *, beyond: list[Bar], market_ns: int
) -> tuple[list[Bar], list[Note], tuple[float, ...]]:
    """Compare an answer with what is there on either side of its chunk: revised bars, or what a split made stale."""
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
    """The doubtful ranges that are whole sessions of days which, says the settled daily series, had no trade."""
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


def refused(cursor: Cursor, held: Lease, answer: Answer, *, reason: str, market_ns: int) -> None:
    """IB will not serve this range, or the series at all: a note that says why, and the chunk is done."""
    row = series.by_id(cursor, held.series_id, lock=True)
    others = chunks.others_pending(cursor, row.id) if reason in _WHOLE_SERIES else []
    span = Spans([held.span, *(other for _, other in others)]) - row.covered
    noted = [
        Note(s, CoverageState.UNAVAILABLE, reason, answer.ib_code, market_ns, market_ns + _REFUSED_NS) for s in span
    ]
    series.apply_changes(cursor, row, noted=noted, request_id=answer.request_id)
    _close(cursor, answer, "error")
    chunks.done(
        cursor,
        held,
        outcome=f"unavailable:{reason}",
        good=False,
        bars=0,
        request_id=answer.request_id,
        ib_code=answer.ib_code,
    )
    if others:
        numbers = [number for number, _ in others]
        chunks.done_unasked(cursor, numbers, outcome=f"unavailable:{reason}", ib_code=answer.ib_code)


def failed(
    cursor: Cursor, held: Lease, answer: Answer, *, reason: str, market_ns: int, outcome: str | None = None
) -> None:
    """Nobody could get this range for now: a note that says why, and the chunk has failed.

    outcome: how the request ended; by itself an error where IB gave a code, else without an answer.
    """
    row = series.by_id(cursor, held.series_id, lock=True)
    span = Spans.of(*held.span) - row.covered
    noted = [Note(s, CoverageState.FAILED, reason, answer.ib_code, market_ns, market_ns + _FAILED_NS) for s in span]
    series.apply_changes(cursor, row, noted=noted, request_id=answer.request_id)
    _close(cursor, answer, outcome or ("error" if answer.ib_code else "timeout"))
    chunks.failed(cursor, held, outcome=reason, ib_code=answer.ib_code, request_id=answer.request_id)


def again(cursor: Cursor, held: Lease, answer: Answer, *, outcome: str, reason: str, not_before: int) -> None:
    """The chunk goes back to the ledger, not to be asked before a market time."""
    _close(cursor, answer, outcome)
    chunks.again(cursor, held, not_before=not_before, outcome=reason, ib_code=answer.ib_code)


def split(cursor: Cursor, held: Lease, answer: Answer, parts: list[Chunk]) -> None:
    """The request was too large to be answered in time: smaller ones take its place."""
    series.by_id(cursor, held.series_id, lock=True)
    _close(cursor, answer, "timeout")
    chunks.split(cursor, held, parts, request_id=answer.request_id)


def cancelled(cursor: Cursor, held: Lease, answer: Answer) -> None:
    """Nobody wants the chunk any more; its request was cancelled at IB."""
    _close(cursor, answer, "cancelled")
    chunks.cancel(cursor, held)
    job_stopping.finish_stopping(cursor)  # or, when others are cancelled at the same moment, the next sweep


def close(cursor: Cursor, answer: Answer, outcome: str, bars: int | None = None) -> None:
    """Write down how a request ended, where its chunk is not ours any more and nothing else is stored."""
    _close(cursor, answer, outcome, bars)


def _close(cursor: Cursor, answer: Answer, outcome: str, bars: int | None = None) -> None:
    requests.close(
        cursor,
        answer.request_id,
        outcome,
        ms=answer.ms,
        bars=bars,
        ib_code=answer.ib_code,
        ib_text=answer.ib_text,
    )
