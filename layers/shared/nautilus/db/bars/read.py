"""What a read must know before it reads bars: the clocks and the source, what is known of its instruments, and how their
series stand."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any, NamedTuple
from uuid import UUID

from nautilus.backfill.plan_rules import PlanRules
from nautilus.clock import SAME_TIME, MarketTime
from nautilus.db.connection import Json
from nautilus.db.cursor import Cursor, Prepared
from nautilus.db.market import instruments
from nautilus.db.market.calendars import CalendarStamp
from nautilus.db.market.series import Series, SeriesRow, find_several, of_row
from nautilus.db.ranges import int8range, span_of
from nautilus.db.rows import every, joined, scalar
from nautilus.lookup.identity import Lookup
from nautilus.market.closing import BarCloseDelay
from nautilus.market.instrument import Instrument
from nautilus.market.symbols import InstrumentName, Selector
from nautilus.market.timeframes import Timeframe
from nautilus.spans import Span

SeriesKey = tuple[int, str, str, str]
"""(con_id, timeframe, price, session)"""


class SnapshotContext(NamedTuple):
    """When and where something is read: market and machine time in ns, the store's id, where its bars come from, and when
    they count as closed."""

    market_ns: int
    machine_ns: int
    store_id: str
    source: str
    close_delay: BarCloseDelay
    rules: PlanRules = PlanRules()
    """What the bridge plans by."""


class _StorePart(NamedTuple):
    """The first columns of `_CONTEXT`."""

    store_id: UUID
    source: str | None
    now_ns: int


class _BridgePart(NamedTuple):
    """The other columns of `_CONTEXT`: what the bridge wrote last, if one ever came."""

    clock_machine_ns: int
    clock_market_ns: int
    clock_rate: float
    settle_intraday_s: int
    settle_daily_s: int
    planning: dict[str, Any] | None


class _SeriesPart(NamedTuple):
    """The columns of `_SERIES`."""

    series_id: int
    timeframe: str
    price: str
    session: str
    covered: str
    data_version: int
    head_ts: int | None


class _CalendarPart(NamedTuple):
    """The columns of `_CALENDAR`."""

    known: str
    checked_at: datetime


_CONTEXT = (
    "store.id AS store_id, store.source, (extract(epoch FROM clock_timestamp()) * 1000000000)::bigint AS now_ns,"
    " b.clock_machine_ns, b.clock_market_ns, b.clock_rate, b.settle_intraday_s, b.settle_daily_s,"
    " b.activity -> 'planning' AS planning"
)
_CONTEXT_FROM = "store LEFT JOIN LATERAL (SELECT * FROM ib_sessions ORDER BY heartbeat_at DESC LIMIT 1) b ON true"
_SERIES = "s.id AS series_id, s.timeframe, s.price, s.session, s.covered::text AS covered, s.data_version, s.head_ts"
_CALENDAR = "c.known::text AS known, c.checked_at"


def snapshot_context(cursor: Cursor) -> SnapshotContext:
    cursor.execute(f"SELECT {_CONTEXT} FROM {_CONTEXT_FROM}")
    ((store, bridge),) = joined(cursor, (_StorePart, _BridgePart))
    return _snapshot_context(store, bridge)


def _snapshot_context(store: _StorePart, bridge: _BridgePart | None) -> SnapshotContext:
    clock, close_delay, rules = SAME_TIME, BarCloseDelay(), PlanRules()
    if bridge is not None:
        clock = MarketTime(bridge.clock_machine_ns, bridge.clock_market_ns, bridge.clock_rate)
        close_delay = BarCloseDelay(bridge.settle_intraday_s, bridge.settle_daily_s)
        rules = PlanRules.of(bridge.planning)
    return SnapshotContext(
        clock.at(store.now_ns), store.now_ns, str(store.store_id), store.source or "unknown", close_delay, rules
    )


class SeriesState(NamedTuple):
    """How a series and its calendar stand: the series, if there is one, and the stamp of the calendar, if IB sent it."""

    row: Series | None
    calendar: CalendarStamp | None


class _Always(NamedTuple):
    always: int


def series_state(cursor: Cursor, key: SeriesKey, calendar: str) -> SeriesState:
    """Both in one question."""
    cursor.execute(
        f"SELECT always, {_SERIES}, {_CALENDAR} FROM (VALUES (1)) AS one (always) LEFT JOIN series s"
        " ON s.con_id = %s AND s.timeframe = %s AND s.price = %s AND s.session = %s"
        " LEFT JOIN calendars c ON c.calendar = %s AND c.session = %s",
        (*key, calendar, key[3]),
    )
    ((_, row, known),) = joined(cursor, (_Always, _SeriesPart, _CalendarPart))
    return _series_state(key[0], row, known)


def _series_state(con_id: int, row: _SeriesPart | None, known: _CalendarPart | None) -> SeriesState:
    found = of_row(SeriesRow(row.series_id, con_id, *row[1:])) if row is not None else None
    return SeriesState(found, (span_of(known.known), known.checked_at) if known is not None else None)


_LOOKUP_SNAPSHOT = Prepared(
    "nautilus_looked_up",
    f"SELECT {_CONTEXT}, {instruments.ANSWER}, {instruments.columns('i')}, {_SERIES}, {_CALENDAR}"
    f" FROM {_CONTEXT_FROM}"
    " LEFT JOIN ("
    "  SELECT l.key, l.con_ids, l.former_con_ids, l.ib_code, l.ib_text, l.checked_at, l.changed_at"
    f"   FROM instrument_lookups l WHERE l.key = ANY($1) AND {instruments.BELIEVED}"
    "   AND (left(l.key, 6) <> 'conId=' OR cardinality(l.con_ids) = 0)"
    "  UNION ALL SELECT 'conId=' || con_id, ARRAY[con_id], '{}', NULL, NULL, resolved_at, NULL"
    "   FROM instruments WHERE con_id = ANY($5)"
    "  UNION ALL SELECT '=' || $6, array_agg(con_id), '{}', NULL, NULL, max(resolved_at), NULL"
    "   FROM instruments WHERE instrument_id = $6 HAVING count(*) > 0"
    " ) l ON true"
    " LEFT JOIN instruments i ON i.con_id = ANY(l.con_ids || l.former_con_ids)"
    " LEFT JOIN series s ON s.con_id = i.con_id AND s.timeframe = $2"
    "  AND s.price = $3 ->> i.asset_class AND s.session = $4 ->> i.asset_class"
    " LEFT JOIN calendars c ON c.calendar = i.calendar AND c.session = $4 ->> i.asset_class"
    " ORDER BY l.key, i.con_id",
    ("text[]", "text", "jsonb", "jsonb", "bigint[]", "text"),
)


class LookupSnapshot(NamedTuple):
    """The answer to one question for all that a read of some series must know.

    lookups: by the selector's key, those that were ever answered. standings: by con_id, of every candidate. named: all
    contracts that are stored under the name that was given.
    """

    context: SnapshotContext
    lookups: Mapping[str, Lookup]
    series_states: Mapping[int, SeriesState]
    named: Lookup = Lookup(())


def lookup_snapshot(
    cursor: Cursor,
    selectors: Sequence[Selector],
    frame: Timeframe,
    *,
    prices: Mapping[str, str],
    sessions: Mapping[str, str],
    name: InstrumentName | None = None,
) -> LookupSnapshot:
    """The snapshot context, what is known about these selectors and under a name, and how each candidate's series stands:
    the first question of a snapshot.

    prices and sessions: asset class -> which series is meant; none is looked for where a class is left out.
    """
    keys = [selector.key for selector in selectors]
    numbers = [selector.con_id for selector in selectors if selector.con_id]
    text = name.text if name else ""
    cursor.run(_LOOKUP_SNAPSHOT, (keys, frame.name, Json(prices), Json(sessions), numbers, text))
    rows = joined(cursor, (_StorePart, _BridgePart, instruments.AnswerRow, Instrument, _SeriesPart, _CalendarPart))
    answers = [(answer, found) for _, _, answer, found, _, _ in rows if answer is not None]
    groups = {key: list(group) for key, group in groupby(answers, lambda each: each[0].key)}
    return LookupSnapshot(
        _snapshot_context(*rows[0][:2]),
        {key: instruments.lookup(group) for key, group in groups.items() if key != f"={text}"},
        {
            found.con_id: _series_state(found.con_id, row, known)
            for _, _, _, found, row, known in rows
            if found is not None and found.asset_class in prices
        },
        instruments.lookup(groups[f"={text}"]) if f"={text}" in groups else Lookup(()),
    )


def stored(cursor: Cursor, con_id: int, frames: Sequence[Timeframe], *, price: str, session: str) -> list[Series]:
    """Those of the timeframes that have a series, in the order given."""
    names = [frame.name for frame in frames]
    found = {row.timeframe.name: row for row in find_several(cursor, con_id, names, price=price, session=session)}
    return [found[name] for name in names if name in found]


def any_removed(cursor: Cursor, series_id: int, version: int, span: Span) -> bool:
    """True when retention has removed bars of a range after a version of the series, whether or not they came back."""
    cursor.execute(
        "SELECT EXISTS (SELECT 1 FROM series_changes WHERE series_id = %s AND version > %s AND removed && %s::int8range)",
        (series_id, version, int8range(span)),
    )
    return scalar(cursor, bool)


_SAME = Prepared(
    "nautilus_same",
    "SELECT pg_is_in_recovery() AND store.id = $1 AND (SELECT count(*) FROM unnest($2, $3) AS w(id, version)"
    " JOIN series s ON s.id = w.id AND s.data_version = w.version) = cardinality($2) AS same FROM store",
    ("uuid", "int[]", "bigint[]"),
)


def is_same(cursor: Cursor, store_id: str, versions: Mapping[int, int]) -> bool:
    """True when this is a standby of that store in which these series, by id, have these versions: the first question of a
    snapshot. A version stands for the bars, the revisions and the coverage of its series, in one line of history: who was
    promoted counts on for other bars, and gets no more reads."""
    cursor.run(_SAME, (store_id, list(versions), list(versions.values())))
    return scalar(cursor, bool)


class _VersionRow(NamedTuple):
    con_id: int
    timeframe: str
    price: str
    session: str
    data_version: int


def versions(cursor: Cursor, keys: Iterable[SeriesKey]) -> dict[SeriesKey, int]:
    """data_version of those series that exist."""
    wanted = tuple(set(keys))
    if not wanted:
        return {}
    cursor.execute(
        "SELECT con_id, timeframe, price, session, data_version FROM series"
        " WHERE (con_id, timeframe, price, session) IN %s",
        (wanted,),
    )
    return {row[:4]: row.data_version for row in every(cursor, _VersionRow)}
