"""What a backfill would cost, before anything is spent: requests, IB's budget, seconds, and what can never be had."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

from nautilus.backfill.pacing import BURST_COUNT, BURST_NS, PERIOD_NS, PacingLimits
from nautilus.backfill.plan_rules import HEAD_DAYS, PlanRules
from nautilus.backfill.planner import Plan, PlanInput, by_rules, plan
from nautilus.clock import NS_PER_DAY, NS_PER_S, rfc3339
from nautilus.db.bars import read
from nautilus.db.bars.read import SnapshotContext
from nautilus.db.connection import Database
from nautilus.db.cursor import Cursor
from nautilus.db.ledger import requests
from nautilus.db.ledger.jobs import Item
from nautilus.db.market import calendars, series
from nautilus.db.market.series import Series
from nautilus.errors import NautilusError
from nautilus.lookup.resolve import known_instrument
from nautilus.market.calendar import Calendar, extended, weekdays
from nautilus.market.closing import BarClosing
from nautilus.market.instrument import Instrument, price_kind, session_kind
from nautilus.market.timeframes import Timeframe, timeframe
from nautilus.spans import Span, Spans

_CHUNKS_SHOWN = 500
GUESSED_MS = 600
"""One request of a day of one-minute bars, as users measured it; used until our own requests tell better."""
_STAND_IN = Instrument(0, "", "", "STK", "SMART", "", "USD", "", "", "", "", 0.01, "", "America/New_York", "")


class _Series(NamedTuple):
    """A series that a request names, as far as it is known. row: None while it has no bars and no coverage."""

    instrument: Instrument
    known: bool
    """False while nobody has looked the instrument up: another stands in."""
    timeframe: Timeframe
    price: str
    session: str
    row: Series | None


class Estimate(NamedTuple):
    """What planning an item comes to. words: the key of the lookup of its instrument."""

    words: str
    series: _Series
    plan: Plan
    approximate: bool
    """True where it rests on guesses: weekdays for sessions, or an instrument nobody has looked up."""
    asks_head: bool
    """True when the oldest bar is requested first, which may make the plan smaller."""
    length: int
    """How long the range is that bars are wanted of, in ns on the series' axis."""

    @property
    def head_key(self) -> Hashable:
        """What the oldest bar belongs to: it is requested once, whatever timeframes want it."""
        about = self.series
        return (about.instrument.con_id or self.words, about.price, about.session)


def dry_run(database: Database, items: Sequence[Item], mode: str = "missing") -> dict[str, Any]:
    """Plan as the bridge would, without writing anything. Items whose instrument or sessions are not known yet are marked
    as approximate."""
    with database.transaction(snapshot=True) as cursor:
        context = read.snapshot_context(cursor)
        heads: set[Hashable] = set()
        rows = [_item(cursor, item, context, mode=mode, heads=heads) for item in items]
        answer_ms = requests.typical_ms(cursor) or GUESSED_MS
    return {
        "dry_run": True,
        "requests": sum(row["requests"] for row in rows),
        "head_requests": sum(row["head_requests"] for row in rows),
        "weight": sum(row["weight"] for row in rows),
        "seconds": _seconds(rows, answer_ms, context.rules.open_requests),
        "approximate": any(row["approximate"] for row in rows),
        "items": rows,
    }


_NOTHING: Mapping[str, Any] = {
    "requests": 0,
    "head_requests": 0,
    "weight": 0,
    "small": False,
    "approximate": False,
    "unavailable": [],
    "chunks": [],
}


def _item(cursor: Cursor, item: Item, context: SnapshotContext, *, mode: str, heads: set[Hashable]) -> dict[str, Any]:
    """What one item comes to. heads: of which earlier items request the oldest bar; the item's own is added."""
    frame = timeframe(item.timeframe)
    stored: dict[str, Any] = {"asked": item.selector.words, "timeframe": frame.name, "instrument_id": None}
    try:
        found = estimate(cursor, item, context, mode)
    except NautilusError as wrong:
        return {**stored, **_NOTHING, "small": frame.small, "error": {"code": wrong.code, "detail": wrong.detail}}
    series_, made = found.series, found.plan
    asks_head = found.asks_head and found.head_key not in heads
    if asks_head:
        heads.add(found.head_key)
    weight = 2 if series_.price == "BID_ASK" else 1
    return {
        **stored,
        "instrument_id": series_.instrument.instrument_id if series_.known else None,
        "price": series_.price,
        "session": series_.session,
        "requests": len(made.chunks),
        "head_requests": int(asks_head),
        "weight": len(made.chunks) * weight if frame.small else 0,
        "small": frame.small,
        "approximate": found.approximate,
        "unavailable": [{"start": rfc3339(s[0]), "end": rfc3339(s[1]), "reason": why} for s, why in made.impossible],
        "not_closed_yet": [{"start": rfc3339(s), "end": rfc3339(e)} for s, e in made.not_closed_yet],
        "under_way": [{"start": rfc3339(s), "end": rfc3339(e)} for s, e in made.under_way],
        "chunks": [{"start": rfc3339(c.window[0]), "end": rfc3339(c.window[1])} for c in made.chunks[:_CHUNKS_SHOWN]],
    }


def estimate(cursor: Cursor, item: Item, context: SnapshotContext, mode: str) -> Estimate:
    """The plan of an item by the bridge's own numbers, from what is stored. NautilusError when it makes no sense."""
    wanted = _series(cursor, item)
    frame, now = wanted.timeframe, context.market_ns
    end = item.end if item.end is not None else now
    start = item.start if item.start is not None else end - (item.back or NS_PER_DAY)
    head, asks_head = _head(cursor, wanted, start, now)
    # Sessions matter only where bars can be: a range may begin long before the instrument did.
    (first, _), _ = by_rules((start, max(end, start + 1)), frame, now=now, until=now, head=head)
    calendar, stored = _calendar(
        cursor, wanted, (frame.floor(min(first, now)), frame.ceil(max(end, now))), min(end, now)
    )
    closing = BarClosing.of(calendar, frame, wanted.instrument, delay=context.close_delay, now=now)
    until = closing.closed_until(now)
    if item.end is None:
        end = max(start, until)
    wide = (calendar.slot(frame, start)[0], calendar.slot(frame, max(start, end) - 1)[1])
    row, force = wanted.row, mode == "force"
    notes = series.notes(cursor, row.id, wide) if row and not force else []
    given = PlanInput(
        wanted=(start, end),
        timeframe=frame,
        calendar=calendar,
        now=now,
        until=until,
        head=head,
        covered=row.covered if row and not force else Spans(),
        noted=Spans(n.span for n in notes if n.expires_at is None or n.expires_at > now),
        live=Spans(span for _, span in series.live(cursor, row.id, wide)) if row else Spans(),
        span_s=context.rules.spans_s[frame.name],
        overlap=context.rules.overlap(wanted.instrument.asset_class, mode),
    )
    return Estimate(
        item.selector.key, wanted, plan(given), not (wanted.known and stored), asks_head, max(0, end - start)
    )


def _series(cursor: Cursor, item: Item) -> _Series:
    found = known_instrument(cursor, item.selector)
    asset_class = found.asset_class if found else item.selector.asset_class or "STK"
    frame = timeframe(item.timeframe)
    price, session = price_kind(asset_class, item.price), session_kind(asset_class, item.session)
    row = series.find(cursor, found.con_id, frame, price=price, session=session) if found else None
    return _Series(found or _STAND_IN._replace(asset_class=asset_class), found is not None, frame, price, session, row)


def _calendar(cursor: Cursor, wanted: _Series, span: Span, newest: int) -> tuple[Calendar, bool]:
    """The sessions around a range, weekdays where they are not known, and whether they are known up to `newest`."""
    instrument = wanted.instrument
    around = (span[0] - 14 * NS_PER_DAY, span[1] + 14 * NS_PER_DAY)
    stored = calendars.load(cursor, instrument.calendar, wanted.session, around) if wanted.known else None
    if stored is None:
        return weekdays(*around, instrument.time_zone), False
    known = stored.known[0] <= span[0] and newest <= stored.known[1]
    return (stored if known else extended(stored, around)), known


def _head(cursor: Cursor, wanted: _Series, start: int, now: int) -> tuple[int | None, bool]:
    """The oldest bar as the bridge will know it, and whether it asks IB first."""
    row = wanted.row
    if not PlanRules.asks_head(start, now):
        return (row.head_ts if row else None), False
    if not wanted.known:
        return None, True
    fresh, head = series.known_head(
        cursor, wanted.instrument.con_id, wanted.price, session=wanted.session, days=HEAD_DAYS
    )
    return (head, False) if fresh else (row.head_ts if row else None, True)


def _seconds(rows: Sequence[dict[str, Any]], answer_ms: float, open_requests: int) -> float:
    """The longest of what bounds a backfill: IB's ten-minute window, its burst rule per contract, and the answers."""
    limits = PacingLimits()
    small = sum(row["weight"] + row["head_requests"] for row in rows)
    window_s = small / (limits.period_weight - limits.reserve) * PERIOD_NS / NS_PER_S if small else 0.0
    per_contract: dict[str, int] = {}
    for row in rows:
        per_contract[row["asked"]] = per_contract.get(row["asked"], 0) + row["requests"]
    burst_s = max(per_contract.values(), default=0) / BURST_COUNT * BURST_NS / NS_PER_S
    answers_s = sum(row["requests"] for row in rows) * answer_ms / 1000 / open_requests
    return float(round(max(window_s, burst_s, answers_s), 1))
