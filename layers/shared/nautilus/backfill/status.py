"""What became of backfill jobs: their progress, what they wait for, and when they will be done."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from nautilus.backfill.outlook import Outlook, outlook
from nautilus.backfill.states import LIVE_JOBS
from nautilus.clock import NS_PER_S, microseconds_text, rfc3339
from nautilus.db.bridge import status
from nautilus.db.connection import Database
from nautilus.db.cursor import Cursor
from nautilus.db.ledger import job_list, job_waits, requests
from nautilus.db.ledger.job_list import JobChunk, JobItem, JobSummary
from nautilus.db.ledger.requests import SentRequest
from nautilus.db.market import instruments
from nautilus.errors import NotFound
from nautilus.lookup.identity import Change, change_of
from nautilus.market import farms
from nautilus.market.instrument import Instrument
from nautilus.market.symbols import Selector

_PARTLY_AWAY = ("degraded", "reset_window")
"""States of the session in which some instruments may be served and others not."""


def read_jobs(database: Database, owner: str | None, job_id: UUID | None = None) -> dict[str, Any]:
    """Jobs with their progress, and the numbers of the front end's card. NotFound for a job that is not there."""
    with database.transaction(snapshot=True) as cursor:
        if job_id is None:
            rows = job_list.summaries(cursor, owner)
        else:
            row = job_list.summary(cursor, job_id)
            if row is None or (owner is not None and row.owner != owner):
                raise NotFound(f"there is no job {job_id}", code="unknown-job")
            rows = [row]
        numbers = [row.id for row in rows]
        items = job_list.items(cursor, numbers)
        session = status.latest(cursor)
        changes = _changes(cursor, items)
        known: dict[int, Instrument] = {}
        if session and session.state in _PARTLY_AWAY:
            known = instruments.several(cursor, {item.con_id for item in items if item.con_id is not None})
        deferred = job_waits.deferred(cursor, numbers, session.market_ns) if session else {}
        live = any(row.state in LIVE_JOBS for row in rows)
        ahead = outlook(cursor, session) if live else None
        totals = job_list.totals(cursor) if job_id is None else None
        now = status.machine_now(cursor)
    found = []
    for row in rows:
        mine = [item for item in items if item.job_id == row.id]
        waits = _waits(row, {_known(known, item) for item in mine if item.state != "failed"}, session)
        found.append(_job(row, mine, changes=changes, waits=waits or deferred.get(row.id), now_ns=now, ahead=ahead))
    return {
        "jobs": found,
        "totals": totals,
        "session": session,
        "now_ns": now,
    }


def read_chunks(database: Database, owner: str | None, job_id: UUID, *, after: int, limit: int) -> dict[str, Any]:
    """A page of a job's chunks, with every request each took. NotFound for a job that is not there."""
    with database.transaction(snapshot=True) as cursor:
        row = job_list.summary(cursor, job_id)
        if row is None or (owner is not None and row.owner != owner):
            raise NotFound(f"there is no job {job_id}", code="unknown-job")
        found = job_list.chunks(cursor, job_id, after, limit)
        requests_of_chunks = requests.of_chunks(cursor, [c.id for c in found])
    rows = [_chunk(c, [r for r in requests_of_chunks if r.chunk_id == c.id]) for c in found]
    return {"job_id": str(job_id), "chunks": rows, "next_after": found[-1].id if len(found) == limit else None}


def _known(instruments_: Mapping[int, Instrument], item: JobItem) -> Instrument | None:
    return instruments_.get(item.con_id) if item.con_id is not None else None


def _chunk(row: JobChunk, requests_of_chunks: Sequence[SentRequest]) -> dict[str, Any]:
    return {
        "chunk_id": row.id,
        "instrument_id": row.instrument_id,
        "timeframe": row.timeframe,
        "price": row.price,
        "session": row.session,
        "start": rfc3339(row.span_start),
        "end": rfc3339(row.span_end),
        "state": row.state,
        "outcome": row.outcome,
        "ib_code": row.ib_code,
        "attempts": row.attempts,
        "not_before": rfc3339(row.not_before) if row.not_before else None,
        "bars": row.bars,
        "requests": [
            {
                "request_id": r.id,
                "sent_at": rfc3339(r.sent_at),
                "outcome": r.outcome,
                "ib_code": r.ib_code,
                "ib_text": r.ib_text,
                "ms": r.ms,
                "bars": r.bars,
            }
            for r in requests_of_chunks
        ],
        "updated_at": _text(row.updated_at),
    }


def _changes(cursor: Cursor, items: Sequence[JobItem]) -> dict[str, Change]:
    """The words of these items that mean another contract than before, by the key of their lookup."""
    selectors = {(one := Selector.of(item.selector)).key: one for item in items}
    found = {}
    for key in instruments.changed(cursor, selectors):
        lookup = instruments.look_up(cursor, selectors[key])
        change = change_of(selectors[key], lookup) if lookup else None
        if change is not None:
            found[key] = change
    return found


def _job(
    row: JobSummary,
    items: Sequence[JobItem],
    *,
    changes: Mapping[str, Change],
    waits: str | None,
    now_ns: int,
    ahead: Outlook | None,
) -> dict[str, Any]:
    begun = row.started_at or row.created_at
    ended_s = row.finished_at.timestamp() if row.finished_at else now_ns / NS_PER_S
    seconds = max(0.001, ended_s - begun.timestamp())
    rate = row.chunks_done / seconds
    total = row.chunks_total
    return {
        "job_id": str(row.id),
        "status": row.state,
        "priority": row.priority,
        "mode": row.mode,
        "request": row.request,
        "progress": {
            "chunks_done": row.chunks_done,
            "chunks_total": total,
            "bars_written": row.bars_new + row.bars_revised,
            "bars_new": row.bars_new,
            "bars_revised": row.bars_revised,
            "bars_same": row.bars_same,
            "requests_sent": row.requests_sent,
            "pct": 100.0 * row.chunks_done / total if total else (100.0 if row.state == "succeeded" else 0.0),
        },
        "rate": {"chunks_per_s": rate, "bars_per_s": (row.bars_new + row.bars_revised + row.bars_same) / seconds},
        **_ahead(row, waits, rate, ahead),
        "blocked_on": waits,
        "items": [_item(item, changes) for item in items],
        "errors": [item.error | {"item": _item_name(item)} for item in items if item.error],
        "created_at": _text(row.created_at),
        "started_at": _text(row.started_at),
        "finished_at": _text(row.finished_at),
        "updated_at": _text(row.updated_at),
    }


def _ahead(row: JobSummary, waits: str | None, rate: float, ahead: Outlook | None) -> dict[str, Any]:
    """When the last answer of a job is to be expected and its next request is sent; nulls while nobody can say.

    IB's limits and the requests that may be open tell it; where no hard limit holds a job back it takes no less than at
    its rate until now.
    """
    unknown: dict[str, Any] = {"eta_seconds": None, "next_request_at": None}
    left = row.chunks_total - row.chunks_done
    if row.state not in LIVE_JOBS or ahead is None or waits in ("ib_session", "reset_window"):
        return unknown
    times = ahead.times.get(row.id)
    if times is None and not left:
        return unknown
    seconds = ahead.seconds_left(row.id)
    if row.id not in ahead.paced and waits is None and rate:
        seconds = max(seconds, left / rate)
    return {"eta_seconds": seconds, "next_request_at": rfc3339(times.first) if times else None}


def _waits(row: JobSummary, known: Collection[Instrument | None], session: status.BridgeStatus | None) -> str | None:
    """What a live job waits for besides its turn: the session, a reset window, IB's limits, or what planning lacks.

    known: the instruments it is about; None stands for those that are not looked up yet.
    """
    planned = row.state in ("running", "stopping")
    if row.state not in LIVE_JOBS or (planned and row.chunks_done == row.chunks_total):
        return None
    if session is None or session.state in ("down", "starting", "needs_login", "displaced"):
        return "ib_session"
    if session.state in _PARTLY_AWAY:
        # The bridge says when nothing of what is left can be requested, of this job or any other.
        nothing = planned and session.activity.get("blocked_on") == "ib_session"
        if nothing or all(_is_away(session, one) for one in known):
            return "reset_window" if session.state == "reset_window" else "ib_session"
    if row.waits_for and row.chunks_done == row.chunks_total:
        return str(row.waits_for)
    return "pacing" if session.activity.get("blocked_on") == "pacing" else None


def _is_away(session: status.BridgeStatus, instrument: Instrument | None) -> bool:
    """True when nothing can be requested about an instrument (None: not looked up yet) while the session is as it is."""
    if session.activity.get("servers_lost"):
        return True
    if instrument is None:
        return bool(farms.broken(session.farms, "secdef"))
    return bool(farms.away(session.farms, instrument))


def _item(item: JobItem, changes: Mapping[str, Change]) -> dict[str, Any]:
    change = changes.get(Selector.of(item.selector).key)
    return {
        "instrument_id": item.instrument_id,
        "con_id": item.con_id,
        "asked": _item_name(item),
        **({"instrument_changed": change.as_dict()} if change else {}),
        "timeframe": item.timeframe,
        "price": item.price,
        "session": item.session,
        "state": item.state,
        "plan": item.plan,
        "error": item.error,
    }


def _item_name(item: JobItem) -> str:
    return Selector.of(item.selector).words


def _text(moment: datetime | None) -> str | None:
    return microseconds_text(moment) if moment is not None else None
