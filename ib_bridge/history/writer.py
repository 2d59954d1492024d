"""What one answer does to the ledger: its bars and what they settle, chunk and job counters, in one transaction."""

from dataclasses import dataclass

from ib_bridge.history import settling
from ib_bridge.history.settling import Stored
from ib_bridge.ib.codes import UNRESOLVED
from nautilus.backfill.planner import Chunk
from nautilus.coverage.states import CoverageState
from nautilus.db.bars import revisions
from nautilus.db.bars.volume_units import Taken
from nautilus.db.cursor import Cursor
from nautilus.db.ledger import chunks, job_stopping, requests
from nautilus.db.ledger.chunks import Lease
from nautilus.db.market import series
from nautilus.market.bar import Bar
from nautilus.market.calendar import Calendar
from nautilus.spans import Spans

_WHOLE_SERIES = UNRESOLVED | {"no_permission", "kind_not_offered", "no_market_data_subscription"}
"""Refusals that hold for every range of a series: what is still pending need not be requested."""

STREAMED = frozenset({"5s", "1m"})
"""Timeframes of which there are live streams: what changes of their bars is published."""
MOST_REVISED = 2_400
"""A split changes all bars at once: listeners read those anew, by version."""


@dataclass(frozen=True, slots=True)
class Answer:
    """How a request ended: what it took, and IB's code and text when it refused."""

    request_id: int
    ms: int
    ib_code: int | None = None
    ib_text: str | None = None


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
    stored = settling.store(
        cursor,
        row,
        held.span,
        calendar=calendar,
        rows=rows,
        market_ns=market_ns,
        request_id=answer.request_id,
        ib_code=answer.ib_code,
        taken=taken,
    )
    close(cursor, answer, "ok" if rows else "empty", len(rows))
    chunks.done(
        cursor,
        held,
        outcome=_outcome(bool(stored.inside), bool(stored.doubtful)),
        good=not stored.doubtful,
        bars=stored.inside,
        new=stored.written.new,
        revised=stored.written.revised,
        same=stored.written.same,
        request_id=answer.request_id,
        ib_code=answer.ib_code,
    )
    if row.timeframe.name in STREAMED and 0 < stored.written.revised <= MOST_REVISED:
        span = (rows[0].ts, rows[-1].ts + 1)
        found = revisions.within(cursor, row.id, span, since_version=row.data_version, limit=len(rows))
        return stored._replace(revised=settling.revised_by(cursor, row.id, found))
    return stored


def _outcome(filled: bool, doubtful: bool) -> str:
    if doubtful:
        return "filled:partly" if filled else "empty:unconfirmed"
    return "filled" if filled else "empty:confirmed"


def refused(cursor: Cursor, held: Lease, answer: Answer, *, reason: str, market_ns: int) -> None:
    """IB will not serve this range, or the series at all: a note that says why, and the chunk is done."""
    row = series.by_id(cursor, held.series_id, lock=True)
    others = chunks.others_pending(cursor, row.id) if reason in _WHOLE_SERIES else []
    span = Spans([held.span, *(other for _, other in others)])
    settling.note_missing(
        cursor,
        row,
        span,
        CoverageState.UNAVAILABLE,
        reason=reason,
        ib_code=answer.ib_code,
        request_id=answer.request_id,
        market_ns=market_ns,
    )
    close(cursor, answer, "error")
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
    settling.note_missing(
        cursor,
        row,
        Spans.of(*held.span),
        CoverageState.FAILED,
        reason=reason,
        ib_code=answer.ib_code,
        request_id=answer.request_id,
        market_ns=market_ns,
    )
    close(cursor, answer, outcome or ("error" if answer.ib_code else "timeout"))
    chunks.failed(cursor, held, outcome=reason, ib_code=answer.ib_code, request_id=answer.request_id)


def again(cursor: Cursor, held: Lease, answer: Answer, *, outcome: str, reason: str, not_before: int) -> None:
    """The chunk goes back to the ledger, not to be requested before a market time."""
    close(cursor, answer, outcome)
    chunks.again(cursor, held, not_before=not_before, outcome=reason, ib_code=answer.ib_code)


def split(cursor: Cursor, held: Lease, answer: Answer, parts: list[Chunk]) -> None:
    """The request was too large to be answered in time: smaller ones replace it."""
    series.by_id(cursor, held.series_id, lock=True)
    close(cursor, answer, "timeout")
    chunks.split(cursor, held, parts, request_id=answer.request_id)


def cancelled(cursor: Cursor, held: Lease, answer: Answer) -> None:
    """Nobody wants the chunk any more; its request was cancelled at IB."""
    close(cursor, answer, "cancelled")
    chunks.cancel(cursor, held)
    job_stopping.finish_stopping(cursor)  # or, when others are cancelled at the same time, the next sweep


def close(cursor: Cursor, answer: Answer, outcome: str, bars: int | None = None) -> None:
    """Write down how a request ended."""
    requests.close(
        cursor,
        answer.request_id,
        outcome,
        ms=answer.ms,
        bars=bars,
        ib_code=answer.ib_code,
        ib_text=answer.ib_text,
    )
