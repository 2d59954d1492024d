"""How current the series of the watch list are: until where each is confirmed by history, and whether that is late."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from nautilus.clock import NS_PER_S, SAME_TIME, ns_of
from nautilus.coverage.availability import Calendars
from nautilus.db.bars import read
from nautilus.db.bars.read import SnapshotContext
from nautilus.db.bridge.status import market_now
from nautilus.db.cursor import Cursor
from nautilus.db.live import wants
from nautilus.db.live.watch_list import WatchRow
from nautilus.db.market import instruments, series
from nautilus.errors import NautilusError
from nautilus.live import offered, watching
from nautilus.live.stream_report import LiveSnapshot, age_s, stream_fields, text_of
from nautilus.live.watch_series import WatchSeries
from nautilus.live.watching import Unresolved, WatchList
from nautilus.lookup.identity import identify, trade_day
from nautilus.market.calendar import Calendar
from nautilus.market.closing import BarCloseDelay, BarClosing
from nautilus.market.instrument import Instrument
from nautilus.market.symbols import select
from nautilus.market.timeframes import Timeframe
from nautilus.market.windows import last_close

LATE_AFTER_S = 600
"""A bar that history has not confirmed for so long after its close makes its series stale. A hundred series are confirmed every
five minutes (20 requests a minute); twice that leaves room for a farm that is away for a while."""


class Freshness(NamedTuple):
    """How a series stands. confirmed_until: the end of the newest range that history has settled; due_until: until where it
    should be settled by now, None where the calendar is not known. Market time in ns.
    """

    row: WatchRow
    instrument: Instrument
    confirmed_until: int | None
    due_until: int | None

    @property
    def stale(self) -> bool:
        return self.due_until is not None and (self.confirmed_until or 0) < self.due_until


class WatchReport(NamedTuple):
    """The watch list that holds, and how each of its series stands."""

    found: WatchList
    series: Sequence[Freshness]

    @property
    def wanted(self) -> int:
        """How many series are to be kept current."""
        return len(self.series) + len(self.found.unresolved)

    @property
    def stale(self) -> int:
        """How many of them are not."""
        return sum(one.stale for one in self.series) + len(self.found.unresolved)


def watched(
    cursor: Cursor, setting: Sequence[WatchSeries], snapshot: LiveSnapshot, calendars: Calendars
) -> WatchReport:
    """How the series of the list that holds stand."""
    found = watching.read(cursor, setting)
    known = instruments.several(cursor, {row.con_id for row in found.rows})
    context = read.snapshot_context(cursor)
    since = _since(cursor)
    at = snapshot.now - LATE_AFTER_S * NS_PER_S
    rows = []
    for row in found.rows:
        one, frame = known[row.con_id], offered.stored_timeframe(row.timeframe)
        calendar = calendars.get(cursor, one.calendar, row.session)
        due = _due(calendar, frame, one, delay=context.close_delay, at=at) if calendar else None
        if due is not None and (_expired(one, snapshot) or _too_young(since.get(row[:4], 0), due, snapshot, context)):
            due = None
        rows.append(Freshness(row, one, _confirmed_until(cursor, row, frame, snapshot.now), due))
    return WatchReport(found, rows)


def _too_young(since: int, due: int, snapshot: LiveSnapshot, context: SnapshotContext) -> bool:
    """Whether a series is wanted for so short a time that nothing of it can be late: neither was it wanted when the bar was
    due, nor for as long as a bar may take. since: machine time in ns; a market clock that is moved by hand has no rate to
    compute it by."""
    clock = snapshot.bridge.clock if snapshot.bridge is not None else SAME_TIME
    return clock.at(since) >= due and context.machine_ns - since < LATE_AFTER_S * NS_PER_S


def _since(cursor: Cursor) -> Mapping[tuple[int, str, str, str], int]:
    """Since when each series of the list is wanted, in ns of machine time."""
    return {
        (want.con_id, want.timeframe, want.price, want.session): ns_of(want.since)
        for want in wants.of_owner(cursor, watching.OWNER)
    }


def _expired(one: Instrument, snapshot: LiveSnapshot) -> bool:
    return bool(one.expiry) and one.expiry < trade_day(snapshot.now)


def _due(calendar: Calendar, frame: Timeframe, one: Instrument, *, delay: BarCloseDelay, at: int) -> int:
    """The close of the last bar that is closed at `at`, as far as the sessions are known."""
    at = min(at, calendar.known[1])
    closed = BarClosing.of(calendar, frame, one, delay=delay, now=at).closed_until(at)
    return last_close(closed, frame, calendar)


def _confirmed_until(cursor: Cursor, row: WatchRow, frame: Timeframe, now: int) -> int | None:
    stored = series.find(cursor, row.con_id, frame, price=row.price, session=row.session)
    return max((min(end, now) for start, end in stored.covered if start < now), default=None) if stored else None


def rows_of(report: WatchReport, snapshot: LiveSnapshot, changes: Mapping[int, dict[str, Any]]) -> list[dict[str, Any]]:
    """The series in the words of the API, in the order of the list, and then those that cannot be kept current.

    changes: of `name_changes`.
    """
    rows = [_row(one, snapshot) | changes.get(one.row.con_id, {}) for one in report.series]
    return rows + [_unresolved(one) for one in report.found.unresolved]


def _row(one: Freshness, snapshot: LiveSnapshot) -> dict[str, Any]:
    row = one.row
    key = offered.stream_of(row.con_id, "bars", row.timeframe, price=row.price, session=row.session)
    return {
        "series": WatchSeries(row.instrument_id, row.timeframe, row.price, row.session).text,
        **row._asdict(),
        **stream_fields(snapshot, key),
        "confirmed_until": text_of(one.confirmed_until),
        "age_s": age_s(snapshot.now, one.confirmed_until),
        "due_until": text_of(one.due_until),
        "stale": one.stale,
        "expired": _expired(one.instrument, snapshot),
    }


def _unresolved(one: Unresolved) -> dict[str, Any]:
    known = one.series._asdict() | {"con_id": None, "confirmed_until": None, "age_s": None, "due_until": None}
    return {"series": one.series.text, **known, "state": "waiting", "reason": one.reason, "stale": True}


def name_changes(cursor: Cursor, rows: Sequence[WatchRow]) -> Mapping[int, dict[str, Any]]:
    """How names of the list have changed hands since it was set: con_id -> `instrument_changed`.

    Either the contract has another name by now, or its name means another contract. The list keeps its contract.
    """
    known = instruments.several(cursor, {row.con_id for row in rows})
    today = trade_day(market_now(cursor))
    found = {}
    for row in rows:
        one = known[row.con_id]
        meant = one if one.instrument_id != row.instrument_id else _meant(cursor, row.instrument_id, today)
        if meant is not None and (meant.con_id, meant.instrument_id) != (row.con_id, row.instrument_id):
            found[row.con_id] = {"instrument_changed": _change(row, meant)}
    return found


def _meant(cursor: Cursor, instrument_id: str, today: str) -> Instrument | None:
    """The contract that a name means by IB's newest answer; None where nobody looked it up, or it is not one alone."""
    selector = select(instrument_id=instrument_id)
    found = instruments.look_up(cursor, selector)
    with suppress(NautilusError):
        identity = identify(selector, found, today) if found is not None else None
        return identity.instrument if identity is not None else None
    return None


def _change(row: WatchRow, now: Instrument) -> dict[str, Any]:
    return {
        "from_con_id": row.con_id,
        "from_instrument_id": row.instrument_id,
        "to_con_id": now.con_id,
        "to_instrument_id": now.instrument_id,
    }
