"""What one answer does to the ledger: bars, revisions, coverage, notes, chunk and job counters, in one transaction."""

from dataclasses import dataclass

from ib_bridge.store import Cursor
from nautilus.bars import Bar
from nautilus.calendars import Calendar
from nautilus.clock import NS_PER_DAY, NS_PER_S
from nautilus.coverage import Note, State, judge
from nautilus.db import chunks, requests, series
from nautilus.db.bars import Written
from nautilus.db.chunks import Lease
from nautilus.planner import Chunk as Planned
from nautilus.spans import Span, Spans

SECOND_LOOK_NS = 900 * NS_PER_S
"""An empty answer is looked at again after this long, market time; a second one confirms it."""
_REFUSED_NS = NS_PER_DAY
"""How long a refusal (no permission, kind not offered) is believed before it may be asked again."""
_FAILED_NS = 3600 * NS_PER_S


@dataclass(frozen=True, slots=True)
class Answer:
    """How a request ended: what it took, and IB's code and text when it refused."""

    request_id: int
    ms: int
    ib_code: int | None = None
    ib_text: str | None = None


def bars(cursor: Cursor, held: Lease, answer: Answer, calendar: Calendar, rows: list[Bar], market_ns: int) -> Written:
    """Store an answer that came with bars, or with the statement that there are none, and credit what it settles."""
    row = series.by_id(cursor, held.series_id, lock=True)
    old = series.notes(cursor, row.id, held.span)
    doubted = Spans(
        n.span for n in old if n.state is State.EMPTY_UNCONFIRMED and n.checked_at <= market_ns - SECOND_LOOK_NS
    )
    verdict = judge(held.span, row.timeframe, row.price, calendar, [bar.ts for bar in rows], doubted)
    noted = [
        Note(span, State.EMPTY_UNCONFIRMED, "no_data", answer.ib_code, market_ns, market_ns + SECOND_LOOK_NS)
        for span in verdict.doubtful
    ]
    keep = _worth_keeping(rows, held.span, row.covered)
    written = series.record(cursor, row, bars=keep, settled=verdict.settled, noted=noted, request_id=answer.request_id)
    if verdict.doubtful:
        outcome = "empty:unconfirmed" if not verdict.filled else "filled:partly"
    else:
        outcome = "filled" if verdict.filled else "empty:confirmed"
    requests.close(
        cursor,
        answer.request_id,
        "ok" if rows else "empty",
        ms=answer.ms,
        bars=len(rows),
        ib_code=answer.ib_code,
        ib_text=answer.ib_text,
    )
    chunks.done(
        cursor,
        held,
        outcome=outcome,
        good=not verdict.doubtful,
        bars=len(rows),
        new=written.new,
        revised=written.revised,
        same=written.same,
        request_id=answer.request_id,
        ib_code=answer.ib_code,
    )
    return written


def _worth_keeping(rows: list[Bar], span: Span, covered: Spans) -> list[Bar]:
    """The bars of an answer that may be stored: all inside the chunk, and of those outside what nobody settled yet.

    The first bar of an answer may be cut by where IB's counting back began; outside the chunk it is not believed.
    """
    return [bar for at, bar in enumerate(rows) if span[0] <= bar.ts < span[1] or (at > 0 and bar.ts not in covered)]


def refused(cursor: Cursor, held: Lease, answer: Answer, reason: str, market_ns: int) -> None:
    """IB will not serve this range: a note that says why, and the chunk is done."""
    row = series.by_id(cursor, held.series_id, lock=True)
    span = Spans.of(*held.span) - row.covered
    noted = [Note(s, State.UNAVAILABLE, reason, answer.ib_code, market_ns, market_ns + _REFUSED_NS) for s in span]
    series.record(cursor, row, noted=noted, request_id=answer.request_id)
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


def failed(cursor: Cursor, held: Lease, answer: Answer, reason: str, market_ns: int) -> None:
    """Nobody could get this range for now: a note that says why, and the chunk has failed."""
    row = series.by_id(cursor, held.series_id, lock=True)
    span = Spans.of(*held.span) - row.covered
    noted = [Note(s, State.FAILED, reason, answer.ib_code, market_ns, market_ns + _FAILED_NS) for s in span]
    series.record(cursor, row, noted=noted, request_id=answer.request_id)
    _close(cursor, answer, "error" if answer.ib_code else "timeout")
    chunks.failed(cursor, held, outcome=reason, ib_code=answer.ib_code, request_id=answer.request_id)


def again(cursor: Cursor, held: Lease, answer: Answer, outcome: str, reason: str, not_before: int) -> None:
    """The chunk goes back to the ledger, not to be asked before a market time."""
    _close(cursor, answer, outcome)
    chunks.again(cursor, held, not_before=not_before, outcome=reason, ib_code=answer.ib_code)


def split(cursor: Cursor, held: Lease, answer: Answer, parts: list[Planned]) -> None:
    """The request was too large to be answered in time: smaller ones take its place."""
    series.by_id(cursor, held.series_id, lock=True)
    _close(cursor, answer, "timeout")
    chunks.split(cursor, held, parts, request_id=answer.request_id)


def cancelled(cursor: Cursor, held: Lease, answer: Answer) -> None:
    """Nobody wants the chunk any more; its request was cancelled at IB."""
    _close(cursor, answer, "cancelled")
    chunks.cancel(cursor, held)


def _close(cursor: Cursor, answer: Answer, outcome: str) -> None:
    requests.close(cursor, answer.request_id, outcome, ms=answer.ms, ib_code=answer.ib_code, ib_text=answer.ib_text)
