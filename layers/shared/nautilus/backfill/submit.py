"""Asking for bars to be filled: from a caller's wish to rows of the ledger, and what to tell about them."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from nautilus.auth.principal import Principal
from nautilus.backfill.outlook import Outlook, outlook
from nautilus.backfill.schemas import BackfillRequest
from nautilus.backfill.states import LIVE_JOBS
from nautilus.clock import NS_PER_S, rfc3339
from nautilus.db.bridge import status as sessions
from nautilus.db.connection import Database
from nautilus.db.cursor import Cursor
from nautilus.db.ledger import jobs, requests
from nautilus.db.ledger.jobs import Item
from nautilus.db.market import instruments, series
from nautilus.errors import InvalidInput, NotFound
from nautilus.log import correlation
from nautilus.lookup.identity import Change, change_of, identify_by_name, trade_day
from nautilus.lookup.resolve import known_identity, known_instrument
from nautilus.market import farms
from nautilus.market.instrument import Instrument, Selector, name_of, price_kind, select, session_kind
from nautilus.market.timeframes import timeframe
from nautilus.spans import Spans

MAX_ITEMS = 500
_PARTLY_AWAY = ("degraded", "reset_window")
"""States of the session in which some instruments may be served and others not."""


class Asked(NamedTuple):
    """What became of a wish: the job that serves it, or, when nothing is missing, none."""

    job_id: UUID | None
    deduplicated: bool = False


def items_of(
    wish: BackfillRequest, *, default_symbols: Sequence[str], default_frames: Sequence[str], default_days: int
) -> list[Item]:
    """The series that a wish names: symbols × timeframes. InvalidInput names the field that makes no sense."""
    names = _names(wish, default_symbols)
    frames = _frames(wish, default_frames)
    if len(names) * len(frames) > MAX_ITEMS:
        raise InvalidInput.field("symbols", f"symbols x timeframes may be at most {MAX_ITEMS} series in one job")
    back_s = wish.back_s
    if wish.start is None and back_s is None:
        back_s = default_days * 86_400
    return [
        Item(
            selector=selector,
            timeframe=frame,
            price=price_kind(selector.asset_class, wish.price) if wish.price and selector.asset_class else wish.price,
            session=session_kind(selector.asset_class, wish.session) if wish.session else None,
            start=wish.start,
            end=wish.end,
            back=back_s * NS_PER_S if back_s is not None else None,
        )
        for selector in names
        for frame in frames
    ]


def _names(wish: BackfillRequest, default_symbols: Sequence[str]) -> list[Selector]:
    given = [x for x in (wish.symbol, wish.symbols, wish.instrument_id, wish.con_id) if x is not None]
    if len(given) > 1:
        ways = ["symbol", "symbols", "instrument_id", "con_id"]
        raise InvalidInput.field("symbol", f"give only one of {', '.join(ways)}", ways)
    if wish.con_id is not None:
        return [
            select(
                con_id=wish.con_id,
                asset_class=wish.asset_class,
                exchange=wish.exchange,
                currency=wish.currency,
                expiry=wish.expiry,
            )
        ]
    if wish.instrument_id is not None:
        return [
            select(
                instrument_id=wish.instrument_id,
                asset_class=wish.asset_class,
                exchange=wish.exchange,
                currency=wish.currency,
                expiry=wish.expiry,
            )
        ]
    names = wish.symbols or ([wish.symbol] if wish.symbol is not None else list(default_symbols))
    selectors = [
        select(
            symbol=name,
            asset_class=wish.asset_class,
            exchange=wish.exchange,
            currency=wish.currency,
            expiry=wish.expiry,
        )
        for name in names
    ]
    return list(dict.fromkeys(selectors))


def by_name(database: Database, wish: BackfillRequest, items: Sequence[Item]) -> list[Item]:
    """The items of an instrument_id, for the contract that has this name here, if there is one.

    Conflict when several do; NotFound when the words are known to mean none, or one at another venue. `force` asks IB again
    what the words mean, so that they stay words.
    """
    assert wish.instrument_id is not None  # noqa: S101  for the type checker: called for these alone
    name = name_of(wish.instrument_id, wish.asset_class, wish.currency)
    with database.transaction(snapshot=True) as cursor:
        stored, today = instruments.named(cursor, name), trade_day(sessions.market_now(cursor))
        found = identify_by_name(name, stored, items[0].selector, None, today)
        if found is None and wish.mode != "force":
            known_identity(cursor, items[0].selector)
    if found is None or (wish.mode == "force" and found.instrument.asset_class == items[0].selector.asset_class):
        return list(items)
    con_id, kind = found.instrument.con_id, found.instrument.asset_class
    return [i._replace(selector=i.selector._replace(con_id=con_id, asset_class=kind, venue="")) for i in items]


def _frames(wish: BackfillRequest, default_frames: Sequence[str]) -> list[str]:
    if wish.timeframe is not None and wish.timeframes is not None:
        raise InvalidInput.field("timeframe", "give only one of timeframe, timeframes", ["timeframe", "timeframes"])
    asked = wish.timeframes or ([wish.timeframe] if wish.timeframe is not None else default_frames)
    return list(dict.fromkeys(timeframe(name).name for name in asked))


def ask(
    database: Database,
    caller: Principal,
    items: Sequence[Item],
    *,
    wish: dict[str, Any],
    priority: int,
    mode: str,
    origin: str = "api",
    route: str = "",
    key: str = "",
) -> Asked:
    """Write the job, or find the one that already serves this wish; the hint is sent by the caller after the commit."""
    print_ = jobs.fingerprint(items, mode)
    with database.transaction() as cursor:
        _refuse_the_future(items, sessions.market_now(cursor))
        if key:
            known = jobs.claim_key(cursor, caller.id, route, key, print_)
            if known is not None:
                return Asked(known, deduplicated=True)
        else:
            duplicate = jobs.live_duplicate(cursor, caller.id, print_)
            if duplicate is not None:
                return Asked(duplicate, deduplicated=True)
        if mode == "missing" and all(_nothing_missing(cursor, item) for item in items):
            return Asked(None)
        job_id = jobs.create(
            cursor,
            owner=caller.id,
            origin=origin,
            items=items,
            priority=priority,
            mode=mode,
            request=wish,
            fingerprint=print_,
            correlation_id=correlation.get(),
        )
        if key:
            jobs.keep_key(cursor, caller.id, route, key, print_, job_id)
        return Asked(job_id)


def check_range(database: Database, items: Sequence[Item]) -> None:
    """InvalidInput for items that begin in the future: `ask` refuses them too."""
    with database.transaction(snapshot=True) as cursor:
        _refuse_the_future(items, sessions.market_now(cursor))


def _refuse_the_future(items: Sequence[Item], now: int) -> None:
    for item in items:
        if item.start is not None and item.start >= now:
            raise InvalidInput.field(
                "start",
                f"{rfc3339(item.start)} lies in the future; market time is {rfc3339(now)}",
                [f"before {rfc3339(now)}"],
            )


def _nothing_missing(cursor: Cursor, item: Item) -> bool:
    """True when the range is known to be covered without asking anybody: only for a range with both ends."""
    found = instruments.look_up(cursor, item.selector)
    if found is None or not found.candidates or item.start is None or item.end is None:
        return False
    instrument = known_instrument(cursor, item.selector)
    if instrument is None:
        return False
    kind = price_kind(instrument.asset_class, item.price)
    session = session_kind(instrument.asset_class, item.session)
    frame = timeframe(item.timeframe)
    row = series.find(cursor, instrument.con_id, frame, kind, session)
    return row is not None and not (Spans.of(frame.floor(item.start), frame.ceil(item.end)) - row.covered)


# ---- telling ---------------------------------------------------------------------------------------------------------


def status(database: Database, owner: str | None, job_id: UUID | None = None) -> dict[str, Any]:
    """Jobs with their progress, and the numbers of the front end's card. NotFound for a job that is not there."""
    with database.transaction(snapshot=True) as cursor:
        if job_id is None:
            rows = jobs.summaries(cursor, owner)
        else:
            row = jobs.summary(cursor, job_id)
            if row is None or (owner is not None and row.owner != owner):
                raise NotFound(f"there is no job {job_id}", code="unknown-job")
            rows = [row]
        numbers = [row.id for row in rows]
        items = jobs.items(cursor, numbers)
        session = sessions.latest(cursor)
        changes = _changes(cursor, items)
        known = {}
        if session and session.state in _PARTLY_AWAY:
            known = instruments.several(cursor, {item.con_id for item in items if item.con_id is not None})
        put_off = jobs.put_off(cursor, numbers, session.market_ns) if session else {}
        live = any(row.state in LIVE_JOBS for row in rows)
        ahead = outlook(cursor, session) if live else None
        totals = jobs.totals(cursor) if job_id is None else None
        now = sessions.machine_now(cursor)
    told = []
    for row in rows:
        mine = [item for item in items if item.job_id == row.id]
        waits = _waits(row, {known.get(item.con_id) for item in mine if item.state != "failed"}, session)
        told.append(_job(row, mine, changes, waits or put_off.get(row.id), now, ahead))
    return {
        "jobs": told,
        "totals": totals,
        "session": session,
        "now_ns": now,
    }


def chunks(database: Database, owner: str | None, job_id: UUID, after: int, limit: int) -> dict[str, Any]:
    """A page of a job's chunks, with every request each took. NotFound for a job that is not there."""
    with database.transaction(snapshot=True) as cursor:
        row = jobs.summary(cursor, job_id)
        if row is None or (owner is not None and row.owner != owner):
            raise NotFound(f"there is no job {job_id}", code="unknown-job")
        found = jobs.chunks(cursor, job_id, after, limit)
        asked = requests.of_chunks(cursor, [c.id for c in found])
    rows = [_chunk(c, [r for r in asked if r.chunk_id == c.id]) for c in found]
    return {"job_id": str(job_id), "chunks": rows, "next_after": found[-1].id if len(found) == limit else None}


def _chunk(row: Any, asked: Sequence[Any]) -> dict[str, Any]:
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
            for r in asked
        ],
        "updated_at": _text(row.updated_at),
    }


def _changes(cursor: Cursor, items: Sequence[Any]) -> dict[str, Change]:
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
    row: Any,
    items: Sequence[Any],
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


def _ahead(row: Any, waits: str | None, rate: float, ahead: Outlook | None) -> dict[str, Any]:
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


def _waits(row: Any, known: Collection[Instrument | None], session: sessions.Session | None) -> str | None:
    """What a live job waits for besides its turn: the session, a reset window, IB's limits, or what planning lacks.

    known: the instruments it is about; None stands for those that are not looked up yet.
    """
    planned = row.state in ("running", "stopping")
    if row.state not in LIVE_JOBS or (planned and row.chunks_done == row.chunks_total):
        return None
    if session is None or session.state in ("down", "starting", "needs_login", "displaced"):
        return "ib_session"
    if session.state in _PARTLY_AWAY:
        # The bridge says when nothing of what is left can be asked, of this job or any other.
        nothing = planned and session.activity.get("blocked_on") == "ib_session"
        if nothing or all(_is_away(session, one) for one in known):
            return "reset_window" if session.state == "reset_window" else "ib_session"
    if row.waits_for and row.chunks_done == row.chunks_total:
        return str(row.waits_for)
    return "pacing" if session.activity.get("blocked_on") == "pacing" else None


def _is_away(session: sessions.Session, instrument: Instrument | None) -> bool:
    """True when nothing can be asked about an instrument (None: not looked up yet) while the session is as it is."""
    if session.activity.get("servers_lost"):
        return True
    if instrument is None:
        return bool(farms.broken(session.farms, "secdef"))
    return bool(farms.away(session.farms, instrument))


def _item(item: Any, changes: Mapping[str, Change]) -> dict[str, Any]:
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


def _item_name(item: Any) -> str:
    return Selector.of(item.selector).words


def _text(moment: Any) -> str | None:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ") if moment is not None else None
