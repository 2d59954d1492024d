"""An answer with bars: what a snapshot has decided about it, and how it is written."""

import gzip
import time
from collections.abc import Mapping
from typing import Any, NamedTuple
from uuid import UUID

from nautilus.clock import datetime_of, rfc3339
from nautilus.coverage.availability import Availability, missing_rows
from nautilus.errors import NautilusError
from nautilus.market.timeframes import Timeframe
from nautilus.reading.as_of import NO_COVERAGE
from nautilus.reading.formats import Piece, body
from nautilus.reading.headers import Timing, caching, describing, matches, tag_of
from nautilus.reading.pages import Page, SeriesPage
from nautilus.reading.query import BarsQuery
from nautilus.reading.snapshot import Part, Snapshot

_MIN_GZIP_BYTES = 1_000
_GZIP_LEVEL = 4
_GZIP_LEVEL_PACKED = 1
"""Of numbers of eight bytes the higher levels make little less, and take several times as long."""


class Reply(NamedTuple):
    """An answer ready to be sent."""

    status: int
    content: bytes
    headers: Mapping[str, str]


class Draft(NamedTuple):
    """What a snapshot has decided about an answer whose bars may come from somewhere else.

    failed: why instruments could not be looked up, by the key of their lookup. job_id: the job that this read has made.
    tag: empty when the answer is not complete.
    """

    query: BarsQuery
    snapshot: Snapshot
    failed: Mapping[str, NautilusError]
    job_id: UUID | None
    tag: str
    headers: Mapping[str, str]

    @classmethod
    def of(
        cls, query: BarsQuery, snapshot: Snapshot, failed: Mapping[str, NautilusError], job_id: UUID | None
    ) -> "Draft":
        tag = tag_of(query, snapshot) if snapshot.complete and not query.live else ""
        return cls(query, snapshot, failed, job_id, tag, caching(query, snapshot, tag))

    @property
    def unchanged(self) -> bool:
        """True when the caller has the answer already."""
        return bool(self.tag) and matches(self.query.if_none_match, self.tag)


def not_modified(draft: Draft, timing: Timing) -> Reply:
    return Reply(304, b"", {**draft.headers, "Server-Timing": timing.header})


def write(draft: Draft, page: Page, timing: Timing, *, fills: bool) -> Reply:
    """The answer with these bars. fills: reading alone has what is missing fetched."""
    query, snapshot = draft.query, draft.snapshot
    since = time.perf_counter()
    pieces = [_piece(query, snapshot, part, found) for part, found in zip(snapshot.parts, page.series, strict=False)]
    rest: dict[str, Any] = {"next_page_token": page.next_token}
    if not query.several:
        job_id = draft.job_id or next((a.job_id for a in snapshot.availabilities if a.job_id), None)
        rest |= {"job_id": str(job_id) if job_id else None, **({} if fills else _backfill_hint(query, snapshot))}
    content = body(query.form, pieces, query.fields, several=query.several, rest=rest)
    described = describing(query, snapshot, pieces, page.next_token)
    if query.gzip and len(content) >= _MIN_GZIP_BYTES:
        content = gzip.compress(content, _GZIP_LEVEL if query.form.text else _GZIP_LEVEL_PACKED, mtime=0)
        described["Content-Encoding"] = "gzip"
    timing.add("write", since)
    return Reply(200, content, {**draft.headers, **described, "Server-Timing": timing.header})


def _piece(query: BarsQuery, snapshot: Snapshot, part: Part, page: SeriesPage) -> Piece:
    if part.availability is None:
        error = part.error or NautilusError("it is not known yet, and IB has not answered in time", code="unavailable")
        problem = {"code": error.code, "detail": error.detail, **error.extra}
        upstream = {"upstream": error.upstream.as_dict()} if error.upstream else {}
        return Piece({"symbol": part.name}, page.candles, {"total": 0, "error": problem | upstream})
    availability, subject = part.availability, part.availability.subject
    tail: dict[str, Any] = {
        "total": page.total,
        "start_date": _date(subject.timeframe, page.first_ts),
        "end_date": _date(subject.timeframe, page.last_ts),
        "source": f"derived from {availability.finer.name}" if availability.finer else snapshot.context.source,
        "store": snapshot.context.source,
        "instrument_id": subject.instrument.instrument_id,
        "price": subject.price,
        "session": subject.session,
        "data_version": part.page_cursor.version,
        "window": {"start": rfc3339(availability.span[0]), "end": rfc3339(availability.span[1])},
        **_coverage(query, part, availability),
        **(part.identity.as_dict() if part.identity else {}),
    }
    symbol = part.name or subject.instrument.display_symbol
    return Piece({"symbol": symbol, "timeframe": subject.timeframe.name}, page.candles, tail)


def _coverage(query: BarsQuery, part: Part, availability: Availability) -> Mapping[str, Any]:
    if query.as_of is not None:
        return {"coverage": None, "coverage_reason": NO_COVERAGE}
    coverage: dict[str, Any] = {"complete": part.complete, "missing": missing_rows(availability.missing)}
    if part.as_of is not None:
        # The gaps are those of now, the candles those of the first page.
        coverage["newer_version"] = availability.data_version
    return {"coverage": coverage}


def _date(frame: Timeframe, ts: int | None) -> str | None:
    """A time as the front end's chart reads it: `20240105  14:30:00Z`, or `20240105` for days and longer."""
    if ts is None:
        return None
    return datetime_of(ts).strftime("%Y%m%d  %H:%M:%SZ" if frame.intraday else "%Y%m%d")


def _backfill_hint(query: BarsQuery, snapshot: Snapshot) -> Mapping[str, Any]:
    """What to post to have the rest filled; nothing when nothing is missing."""
    for part in snapshot.parts:
        availability = part.availability
        if availability is None or not availability.to_ask:
            continue
        instrument, gaps = availability.subject.instrument, list(availability.to_ask)
        # A name may be shared by then; the number of a contract never is.
        by_number = bool(query.selectors[0].con_id or (part.identity and part.identity.change))
        wanted = {
            **({"con_id": instrument.con_id} if by_number else {"instrument_id": instrument.instrument_id}),
            "timeframe": query.timeframe.name,
            "price": availability.subject.price,
            "session": availability.subject.session,
            "start": rfc3339(gaps[0][0]),
            "end": rfc3339(gaps[-1][1]),
        }
        return {"backfill": {"method": "POST", "path": "/api/v1/ib/backfill", "body": wanted}}
    return {}
