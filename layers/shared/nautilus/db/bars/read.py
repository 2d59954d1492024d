"""What a read must know before it reads bars: the clocks and the source, what is known of its instruments, and how their
series stand."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from nautilus.backfill.plan_rules import PlanRules
from nautilus.clock import SAME_TIME, MarketTime
from nautilus.db.connection import Json
from nautilus.db.cursor import Cursor, Prepared
from nautilus.db.market import instruments
from nautilus.db.market.series import Series, SeriesRow, find_several, of_row
from nautilus.db.ranges import int8range, span_of
from nautilus.lookup.identity import Lookup
from nautilus.market.closing import BarCloseDelay
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


_CONTEXT = (
    "store.id AS store_id, store.source, b.clock_machine_ns, b.clock_market_ns, b.clock_rate,"
    " b.settle_intraday_s, b.settle_daily_s, b.activity -> 'planning' AS planning,"
    " (extract(epoch FROM clock_timestamp()) * 1000000000)::bigint AS now_ns"
)
_CONTEXT_FROM = "store LEFT JOIN LATERAL (SELECT * FROM ib_sessions ORDER BY heartbeat_at DESC LIMIT 1) b ON true"
_SERIES_STATE = (
    "s.id AS series_id, s.timeframe, s.price, s.session, s.covered::text AS covered, s.data_version, s.head_ts,"
    " c.known::text AS known, c.checked_at"
)


def snapshot_context(cursor: Cursor) -> SnapshotContext:
    cursor.execute(f"SELECT {_CONTEXT} FROM {_CONTEXT_FROM}")
    return _snapshot_context(cursor.fetchone())


def _snapshot_context(row: Any) -> SnapshotContext:
    clock, close_delay, rules = SAME_TIME, BarCloseDelay(), PlanRules()
    if row.clock_rate is not None:
        clock = MarketTime(row.clock_machine_ns, row.clock_market_ns, row.clock_rate)
        close_delay = BarCloseDelay(row.settle_intraday_s, row.settle_daily_s)
        rules = PlanRules.of(row.planning)
    return SnapshotContext(
        clock.at(row.now_ns), row.now_ns, str(row.store_id), row.source or "unknown", close_delay, rules
    )


class SeriesState(NamedTuple):
    """How a series and its calendar stand: the series, if there is one, and what `calendars.load` would be told of."""

    row: Series | None
    calendar: tuple[Span, Any] | None


def series_state(cursor: Cursor, key: SeriesKey, calendar: str) -> SeriesState:
    """Both in one question."""
    cursor.execute(
        f"SELECT s.con_id, {_SERIES_STATE} FROM (VALUES (1)) AS one LEFT JOIN series s"
        " ON s.con_id = %s AND s.timeframe = %s AND s.price = %s AND s.session = %s"
        " LEFT JOIN calendars c ON c.calendar = %s AND c.session = %s",
        (*key, calendar, key[3]),
    )
    return _series_state(cursor.fetchone())


def _series_state(row: Any) -> SeriesState:
    found = None
    if row.series_id is not None:
        found = of_row(SeriesRow(row.series_id, *(getattr(row, name) for name in SeriesRow._fields[1:])))
    return SeriesState(found, (span_of(row.known), row.checked_at) if row.known is not None else None)


_LOOKUP_SNAPSHOT = Prepared(
    "nautilus_looked_up",
    f"SELECT {_CONTEXT}, l.key, {instruments.ANSWER}, {instruments.columns('i')}, {_SERIES_STATE}"
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
    """The moment, what is known about these selectors and under a name, and how each candidate's series stands: the first
    question of a snapshot.

    prices and sessions: asset class -> which series is meant; none is looked for where a class is left out.
    """
    keys = [selector.key for selector in selectors]
    numbers = [selector.con_id for selector in selectors if selector.con_id]
    text = name.text if name else ""
    cursor.run(_LOOKUP_SNAPSHOT, (keys, frame.name, Json(prices), Json(sessions), numbers, text))
    rows = cursor.fetchall()
    groups = {key: list(group) for key, group in groupby((r for r in rows if r.key is not None), lambda r: str(r.key))}
    return LookupSnapshot(
        _snapshot_context(rows[0]),
        {key: instruments.lookup(group) for key, group in groups.items() if key != f"={text}"},
        {r.con_id: _series_state(r) for r in rows if r.con_id is not None and r.asset_class in prices},
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
    return bool(cursor.fetchone()[0])


_SAME = Prepared(
    "nautilus_same",
    "SELECT pg_is_in_recovery() AND store.id = $1 AND (SELECT count(*) FROM unnest($2, $3) AS w(id, version)"
    " JOIN series s ON s.id = w.id AND s.data_version = w.version) = cardinality($2) AS same FROM store",
    ("uuid", "int[]", "bigint[]"),
)


def is_same(cursor: Cursor, store_id: str, versions: Mapping[int, int]) -> bool:
    """True when this is a standby of that store in which these series, by id, have these versions: the first question of a
    snapshot. A version stands for the bars, the revisions and the coverage of its series, in one line of history: who was
    promoted counts on for other bars, and is asked no more."""
    cursor.run(_SAME, (store_id, list(versions), list(versions.values())))
    return bool(cursor.fetchone().same)


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
    return {(row[0], row[1], row[2], row[3]): row[4] for row in cursor.fetchall()}
