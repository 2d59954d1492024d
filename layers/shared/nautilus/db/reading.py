"""What readers need to know besides bars: the moment, what is on its way, and how a bar came to be."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from nautilus.clock import SAME_TIME, MarketTime
from nautilus.db.connection import Cursor, int8range, span_of
from nautilus.db.series import Series, find, of_row
from nautilus.ledger import LIVE_JOBS
from nautilus.settle import Settle
from nautilus.spans import Span
from nautilus.timeframes import Timeframe

AGAIN_AFTER_S = 60
"""A read asks for the same stretch at most once in so many seconds of machine time, whatever became of it."""

SeriesKey = tuple[int, str, str, str]
"""(con_id, timeframe, price, session)"""


@dataclass(frozen=True, slots=True)
class Moment:
    """When and where something is read: market and machine time in ns, the store's id, where its bars come from, and when
    they count as closed."""

    market_ns: int
    machine_ns: int
    store_id: str
    source: str
    settle: Settle


def moment(cursor: Cursor) -> Moment:
    cursor.execute(
        "SELECT store.id, store.source, s.clock_machine_ns, s.clock_market_ns, s.clock_rate, s.settle_intraday_s,"
        " s.settle_daily_s,"
        " (extract(epoch FROM clock_timestamp()) * 1000000000)::bigint AS now_ns FROM store LEFT JOIN LATERAL"
        " (SELECT * FROM ib_sessions ORDER BY heartbeat_at DESC LIMIT 1) s ON true"
    )
    row = cursor.fetchone()
    clock, settle = SAME_TIME, Settle()
    if row.clock_rate is not None:
        clock = MarketTime(row.clock_machine_ns, row.clock_market_ns, row.clock_rate)
        settle = Settle(row.settle_intraday_s, row.settle_daily_s)
    return Moment(clock.at(row.now_ns), row.now_ns, str(row.id), row.source or "unknown", settle)


@dataclass(frozen=True, slots=True)
class Standing:
    """How a series and its calendar stand: the series, if there is one, and what `calendars.load` would be told of."""

    row: Series | None
    calendar: tuple[Span, Any] | None


def standing(cursor: Cursor, key: SeriesKey, calendar: str) -> Standing:
    """Both in one question: a read that is answered with 304 asks little else."""
    cursor.execute(
        "SELECT s.id, s.con_id, s.timeframe, s.price, s.session, s.covered::text AS covered, s.data_version, s.head_ts,"
        " c.known::text AS known, c.checked_at FROM (VALUES (1)) AS one LEFT JOIN series s"
        " ON s.con_id = %s AND s.timeframe = %s AND s.price = %s AND s.session = %s"
        " LEFT JOIN calendars c ON c.calendar = %s AND c.session = %s",
        (*key, calendar, key[3]),
    )
    row = cursor.fetchone()
    return Standing(
        of_row(row) if row.id is not None else None,
        (span_of(row.known), row.checked_at) if row.known is not None else None,
    )


def stored(cursor: Cursor, con_id: int, frames: Sequence[Timeframe], price: str, session: str) -> list[Series]:
    """Those of the timeframes that have a series, in the order given."""
    cursor.execute(
        "SELECT timeframe FROM series WHERE con_id = %s AND price = %s AND session = %s AND timeframe = ANY(%s)",
        (con_id, price, session, [frame.name for frame in frames]),
    )
    there = {row.timeframe for row in cursor.fetchall()}
    found = (find(cursor, con_id, frame, price, session) for frame in frames if frame.name in there)
    return [row for row in found if row is not None]


# ---- on its way ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Wish:
    """A stretch of a series that somebody asked for by instrument. live: its job is not over. waiting: it is not even
    planned, so that no chunk shows it."""

    job_id: UUID
    span: Span
    live: bool
    waiting: bool


def wishes(cursor: Cursor, key: SeriesKey) -> list[Wish]:
    """What was asked for of a series and is not planned yet, and what reads asked for within the last minute."""
    cursor.execute(
        "SELECT j.id, i.wanted_start, i.wanted_end, i.state, j.state = ANY(%s) AS live"
        " FROM backfill_jobs j JOIN backfill_items i ON i.job_id = j.id"
        " WHERE (j.state = ANY(%s) OR (j.origin = 'read' AND j.created_at > clock_timestamp() - make_interval(secs => %s)))"
        " AND i.selector ->> 'con_id' = %s AND i.timeframe = %s AND i.price = %s AND i.session = %s"
        " AND i.wanted_start < i.wanted_end ORDER BY j.created_at",
        (list(LIVE_JOBS), list(LIVE_JOBS), AGAIN_AFTER_S, str(key[0]), *key[1:]),
    )
    return [
        Wish(row.id, (row.wanted_start, row.wanted_end), row.live, row.live and row.state == "queued")
        for row in cursor.fetchall()
    ]


def lock_asking(cursor: Cursor, key: SeriesKey) -> None:
    """Of several reads that miss the same, one asks; the others wait here and then see that it did."""
    cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 7243394))", (f"read|{'|'.join(map(str, key))}",))


def job_of(cursor: Cursor, chunk_ids: Sequence[int]) -> UUID | None:
    """A live job that waits for one of these chunks, the newest."""
    cursor.execute(
        "SELECT j.id FROM job_chunks c JOIN backfill_jobs j ON j.id = c.job_id"
        " WHERE c.chunk_id = ANY(%s) AND j.state = ANY(%s) ORDER BY j.created_at DESC LIMIT 1",
        (list(chunk_ids), list(LIVE_JOBS)),
    )
    row = cursor.fetchone()
    return row.id if row else None


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


def ended(cursor: Cursor, job_ids: Iterable[UUID]) -> set[UUID]:
    """Those of the jobs that live no more."""
    wanted = set(job_ids)
    cursor.execute(
        "SELECT id FROM backfill_jobs WHERE id = ANY(%s) AND state = ANY(%s)", (list(wanted), list(LIVE_JOBS))
    )
    return wanted - {row.id for row in cursor.fetchall()}


# ---- how a bar came to be --------------------------------------------------------------------------------------------


def arrival(cursor: Cursor, series_id: int, ts: int) -> Any | None:
    """The version with which a stretch that held nothing got bars at `ts`, and when."""
    cursor.execute(
        "SELECT version, committed_at FROM series_changes WHERE series_id = %s AND added @> %s::bigint"
        " ORDER BY version LIMIT 1",
        (series_id, ts),
    )
    return cursor.fetchone()


def revisions(cursor: Cursor, series_id: int, ts: int) -> list[Any]:
    """What a bar was before each change, oldest first; without prices: it did not exist."""
    cursor.execute(
        "SELECT until_version, open, high, low, close, volume, vwap, trades, request_id FROM bar_revisions"
        " WHERE series_id = %s AND ts = %s ORDER BY until_version",
        (series_id, ts),
    )
    return list(cursor.fetchall())


def bar(cursor: Cursor, table: str, series_id: int, ts: int) -> Any | None:
    """The bar as it is now."""
    cursor.execute(
        f"SELECT open, high, low, close, volume, vwap, trades FROM {table} WHERE series_id = %s AND ts = %s",
        (series_id, ts),
    )
    return cursor.fetchone()


def chunks_at(cursor: Cursor, series_id: int, span: Span, limit: int = 20) -> list[Any]:
    """The chunks whose range touches `span`, newest first, with every request they led to."""
    cursor.execute(
        "SELECT c.id, c.span_start, c.span_end, c.state, c.outcome, c.ib_code, c.attempts, c.mode, c.updated_at"
        " FROM backfill_chunks c WHERE c.series_id = %s AND c.span_start < %s AND c.span_end > %s"
        " ORDER BY c.id DESC LIMIT %s",
        (series_id, span[1], span[0], limit),
    )
    return list(cursor.fetchall())


def requests_of(cursor: Cursor, chunk_ids: Sequence[int], request_ids: Sequence[int]) -> list[Any]:
    """Requests by chunk or by number, oldest first."""
    cursor.execute(
        "SELECT id, chunk_id, kind, identity, booked_at, sent_at, outcome, ib_code, ib_text, ms, bars, correlation_id"
        " FROM ib_requests WHERE chunk_id = ANY(%s) OR id = ANY(%s) ORDER BY id",
        (list(chunk_ids), list(request_ids)),
    )
    return list(cursor.fetchall())


def note_at(cursor: Cursor, series_id: int, ts: int) -> Any | None:
    """What is noted about a stamp that is not settled."""
    cursor.execute(
        "SELECT state, reason, ib_code, checked_at, expires_at, request_id FROM coverage_notes"
        " WHERE series_id = %s AND range && %s::int8range",
        (series_id, int8range((ts, ts + 1))),
    )
    return cursor.fetchone()
