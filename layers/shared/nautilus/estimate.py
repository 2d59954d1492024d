"""What a backfill would cost, before anything is spent: requests, IB's budget, seconds, and what can never be had."""

from collections.abc import Sequence
from typing import Any

from nautilus.calendars import Calendar, weekdays
from nautilus.catalogue import known_instrument
from nautilus.clock import NS_PER_DAY, NS_PER_S, rfc3339
from nautilus.db import calendars, reading, requests, series
from nautilus.db.connection import Cursor, Database
from nautilus.db.jobs import Item
from nautilus.db.reading import Moment
from nautilus.errors import NautilusError
from nautilus.instruments import Instrument, price_kind, session_kind
from nautilus.pacing import BURST_COUNT, BURST_NS, WINDOW_NS, Limits
from nautilus.planner import CHUNK_SPANS_S, Plan, plan
from nautilus.spans import Spans
from nautilus.timeframes import Timeframe, timeframe
from nautilus.views import closed_until

_CHUNKS_SHOWN = 500
_GUESSED_MS = 600
"""One request of a day of one-minute bars, as users measured it; used until our own requests tell better."""
_OPEN_REQUESTS = 6
_STAND_IN = Instrument(0, "", "", "STK", "SMART", "", "USD", "", "", "", "", 0.01, "", "America/New_York", "")


def dry_run(database: Database, items: Sequence[Item]) -> dict[str, Any]:
    """Plan without writing anything. Items whose instrument or sessions are not known yet are told as approximate."""
    with database.transaction(snapshot=True) as cursor:
        moment = reading.moment(cursor)
        rows = [_item(cursor, item, moment) for item in items]
        answer_ms = requests.typical_ms(cursor) or _GUESSED_MS
    weight = sum(row["weight"] for row in rows)
    count = sum(row["requests"] for row in rows)
    return {
        "dry_run": True,
        "requests": count,
        "weight": weight,
        "seconds": _seconds(rows, answer_ms),
        "approximate": any(row["approximate"] for row in rows),
        "items": rows,
    }


def _item(cursor: Cursor, item: Item, moment: Moment) -> dict[str, Any]:
    frame = timeframe(item.timeframe)
    told: dict[str, Any] = {"asked": item.selector.words, "timeframe": frame.name, "instrument_id": None}
    nothing = {"requests": 0, "weight": 0, "small": frame.small, "approximate": False, "unavailable": [], "chunks": []}
    try:
        found = known_instrument(cursor, item.selector)
        kind = found or _STAND_IN
        asset_class = found.asset_class if found else item.selector.asset_class or "STK"
        price = price_kind(asset_class, item.price)
        session = session_kind(asset_class, item.session)
    except NautilusError as wrong:
        return told | nothing | {"error": {"code": wrong.code, "detail": wrong.detail}}
    made, approximate = _plan(cursor, item, kind, found is not None, frame, price, session, moment)
    weight = 2 if price == "BID_ASK" else 1
    return {
        **told,
        "instrument_id": found.instrument_id if found else None,
        "price": price,
        "session": session,
        "requests": len(made.chunks),
        "weight": len(made.chunks) * weight if frame.small else 0,
        "small": frame.small,
        "approximate": approximate,
        "unavailable": [{"start": rfc3339(s[0]), "end": rfc3339(s[1]), "reason": why} for s, why in made.impossible],
        "not_closed_yet": [{"start": rfc3339(s), "end": rfc3339(e)} for s, e in made.not_closed_yet],
        "under_way": [{"start": rfc3339(s), "end": rfc3339(e)} for s, e in made.under_way],
        "chunks": [{"start": rfc3339(c.window[0]), "end": rfc3339(c.window[1])} for c in made.chunks[:_CHUNKS_SHOWN]],
    }


def _plan(
    cursor: Cursor,
    item: Item,
    kind: Instrument,
    known: bool,
    frame: Timeframe,
    price: str,
    session: str,
    moment: Moment,
) -> tuple[Plan, bool]:
    """The plan, and whether it rests on guesses: weekdays for sessions, or an instrument nobody has looked up."""
    now = moment.market_ns
    end = item.end if item.end is not None else now
    start = item.start if item.start is not None else end - (item.back or NS_PER_DAY)
    around = (frame.floor(min(start, now)) - 14 * NS_PER_DAY, frame.ceil(max(end, now)) + 14 * NS_PER_DAY)
    told: Calendar | None = calendars.load(cursor, kind.calendar, session, around) if known else None
    complete = told is not None and told.known[0] <= start and min(end, now) <= told.known[1] + NS_PER_DAY
    calendar = told if told is not None and complete else weekdays(*around, kind.time_zone)
    row = series.find(cursor, kind.con_id, frame, price, session) if known else None
    until = closed_until(calendar, frame, kind, now, moment.settle)
    if item.end is None:
        end = max(start, until)
    notes = series.notes(cursor, row.id, (start, end)) if row and start < end else []
    made = plan(
        (start, end),
        frame,
        calendar,
        now=now,
        until=until,
        head=row.head_ts if row else None,
        covered=row.covered if row else Spans(),
        noted=Spans(n.span for n in notes if n.expires_at is None or n.expires_at > now),
        live=Spans(span for _, span in series.live(cursor, row.id, (start, end))) if row and start < end else Spans(),
        span_s=CHUNK_SPANS_S[frame.name],
    )
    return made, not (known and complete)


def _seconds(rows: Sequence[dict[str, Any]], answer_ms: float) -> float:
    """The longest of what bounds a backfill: IB's ten-minute window, its burst rule per contract, and the answers."""
    limits = Limits()
    small = sum(row["weight"] for row in rows)
    window_s = small / (limits.window_weight - limits.reserve) * WINDOW_NS / NS_PER_S if small else 0.0
    per_contract: dict[str, int] = {}
    for row in rows:
        per_contract[row["asked"]] = per_contract.get(row["asked"], 0) + row["requests"]
    burst_s = max(per_contract.values(), default=0) / BURST_COUNT * BURST_NS / NS_PER_S
    answers_s = sum(row["requests"] for row in rows) * answer_ms / 1000 / _OPEN_REQUESTS
    return float(round(max(window_s, burst_s, answers_s), 1))
