"""The streams that the bridge has, or tries to have, from IB: one row each, whoever wants it. The bridge alone writes them."""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import NamedTuple

from nautilus.db.cursor import Cursor
from nautilus.db.ranges import multirange, spans_of
from nautilus.db.rows import every, insert_rows, scalars
from nautilus.live.subscriptions import StreamKey
from nautilus.spans import Spans


class StreamRow(NamedTuple):
    """A stream as it is. Times are market time in ns, except `updated_at`.

    source, feed: empty while there is none, or it is not known. since: when the state began. confirmed_until: until where
    history has confirmed its bars. bridge and updated_at are of no importance when a row is written.
    """

    con_id: int
    kind: str
    price: str
    session: str
    source: str
    state: str
    reason: str
    refused_code: int | None
    feed: str
    priority: int
    since: int
    last_event_at: int | None
    confirmed_until: int | None
    holes: Spans
    resubscribed: int
    bridge: str = ""
    updated_at: datetime | None = None

    @property
    def key(self) -> StreamKey:
        return StreamKey(self.con_id, self.kind, self.price, self.session)


_KEY = ("con_id", "kind", "price", "session")
_TYPES = dict.fromkeys(StreamRow._fields[:-2], "bigint") | {
    **dict.fromkeys(("kind", "price", "session", "source", "state", "reason", "feed"), "text"),
    "refused_code": "integer",
    "priority": "smallint",
    "holes": "int8multirange",
    "resubscribed": "integer",
}
_READ = ", ".join(StreamRow._fields).replace("holes", "holes::text AS holes")


def put(cursor: Cursor, bridge: str, rows: Iterable[StreamRow]) -> None:
    """Write streams of a bridge as they are now. A stream that another bridge had becomes this one's."""
    latest = {row.key: row for row in rows}
    changed = ", ".join(f"{name} = excluded.{name}" for name in (*_TYPES, "bridge") if name not in _KEY)
    insert_rows(
        cursor,
        "live_streams",
        {**_TYPES, "bridge": "text"},
        [
            (*latest[key][:-4], multirange(latest[key].holes), latest[key].resubscribed, bridge)
            for key in sorted(latest)
        ],
        then=f"ON CONFLICT ({', '.join(_KEY)}) DO UPDATE SET {changed}, updated_at = clock_timestamp()",
    )


def remove(cursor: Cursor, bridge: str, keys: Collection[StreamKey] | None) -> int:
    """Forget streams of a bridge that are no more; None: all it has. Returns how many. Those of other bridges stay."""
    arrays = "%s::bigint[], %s::text[], %s::text[], %s::text[]"
    chosen = "" if keys is None else f" AND ({', '.join(_KEY)}) IN (SELECT * FROM unnest({arrays}))"
    columns = [] if keys is None else [[key[n] for key in keys] for n in range(len(_KEY))]
    cursor.execute(f"DELETE FROM live_streams WHERE bridge = %s{chosen}", (bridge, *columns))
    return int(cursor.rowcount)


def restart(cursor: Cursor, bridge: str, reason: str) -> None:
    """A bridge begins, and all streams are its own: it has requested none of them yet. What the rows know of bars stays."""
    cursor.execute(
        "UPDATE live_streams SET bridge = %s, state = 'wanted', reason = %s, source = '', feed = ''", (bridge, reason)
    )


def listed(cursor: Cursor) -> list[StreamRow]:
    """All streams, by instrument."""
    cursor.execute(f"SELECT {_READ} FROM live_streams ORDER BY {', '.join(_KEY)}")
    return every(cursor, StreamRow, holes=spans_of)


def holes(cursor: Cursor, key: StreamKey) -> Spans:
    """What a stream missed and history has not brought, in market time."""
    cursor.execute(
        "SELECT holes::text FROM live_streams WHERE con_id = %s AND kind = %s AND price = %s AND session = %s", key
    )
    return Spans(span for text in scalars(cursor, str) for span in spans_of(text))


class _Trouble(NamedTuple):
    con_id: int
    kind: str
    price: str
    session: str
    reason: str


def troubles(cursor: Cursor) -> dict[StreamKey, str]:
    """Why history does not bring what is missing of streams of bars: the reason of a note on one of its holes, or what was wrong
    with the job that was to bring it. Of streams without such trouble nothing."""
    cursor.execute(
        "SELECT s.con_id, 'bars:' || s.timeframe AS kind, s.price, s.session, i.error ->> 'code' AS reason"
        " FROM backfill_jobs j JOIN backfill_items i ON i.job_id = j.id JOIN series s ON 'live|' || s.id = j.fingerprint"
        " WHERE j.owner = 'bridge' AND j.origin = 'live' AND j.state IN ('failed', 'partial') AND i.error IS NOT NULL"
        " UNION ALL SELECT l.con_id, l.kind, l.price, l.session, n.reason FROM live_streams l JOIN series s"
        " ON s.con_id = l.con_id AND 'bars:' || s.timeframe = l.kind AND s.price = l.price AND s.session = l.session"
        " JOIN coverage_notes n ON n.series_id = s.id AND n.range && l.holes"
        " WHERE l.holes <> '{}' AND n.state IN ('unavailable', 'failed', 'stale')"
    )
    return {StreamKey(*row[:4]): row.reason for row in every(cursor, _Trouble)}
