"""Every request to IB: the pacing book that all bridges of one login share, and the answer to "why is this bar odd?"."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from nautilus.backfill.pacing import IDENTICAL_NS, MARGIN_NS, PERIOD_NS, Request
from nautilus.clock import NS_PER_S
from nautilus.db.cursor import Cursor
from nautilus.db.rows import every, scalar, scalar_or_none, scalars

TICK_BY_TICK = "live-tbt"
"""Kind of the requests for streams of ticks."""
_SKEW_NS = 5 * NS_PER_S
"""Clocks of two bridges differ by less. What lies further ahead is from another life of a simulated market."""


class SentRequest(NamedTuple):
    """A row of `ib_requests`: one request and how it ended."""

    id: int
    chunk_id: int | None
    kind: str
    identity: str
    booked_at: datetime
    sent_at: int
    outcome: str
    ib_code: int | None
    ib_text: str | None
    ms: int | None
    bars: int | None
    correlation_id: str | None


class RequestCount(NamedTuple):
    """How many requests of a kind ended in a way, and what they weigh in IB's ten minutes."""

    kind: str
    outcome: str
    requests: int
    weight: int


def lock(cursor: Cursor, login: str) -> None:
    """Hold the login's book until the transaction ends: first in the lock order."""
    cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 7243392))", (login,))


def book(cursor: Cursor, login: str, market_ns: int) -> list[Request]:
    """What was sent and still matters for the rules: small requests of ten minutes, streams of ticks of fifteen seconds, all
    others of three."""
    cursor.execute(
        "SELECT identity, contract, small, weight, interactive, historical, sent_at AS at, kind = %s AS tick_by_tick"
        " FROM ib_requests WHERE login = %s AND sent_at > %s AND sent_at < %s"
        " AND (small OR sent_at > %s OR (kind = %s AND sent_at > %s))",
        (
            TICK_BY_TICK,
            login,
            market_ns - PERIOD_NS - MARGIN_NS,
            market_ns + _SKEW_NS,
            market_ns - 3 * NS_PER_S,
            TICK_BY_TICK,
            market_ns - IDENTICAL_NS - MARGIN_NS,
        ),
    )
    return every(cursor, Request)


def sent_since(cursor: Cursor, login: str, kind: str, market_ns: int) -> list[int]:
    """When requests of a kind were sent, since a market time."""
    cursor.execute(
        "SELECT sent_at FROM ib_requests WHERE login = %s AND kind = %s AND sent_at > %s ORDER BY sent_at",
        (login, kind, market_ns),
    )
    return scalars(cursor, int)


def insert(
    cursor: Cursor,
    login: str,
    bridge: str,
    *,
    kind: str,
    request: Request,
    sent_at: int,
    series_id: int | None = None,
    chunk_id: int | None = None,
    correlation_id: str = "",
) -> int:
    """Book a request before it is sent: a crash then costs a slot and never causes a violation."""
    cursor.execute(
        "INSERT INTO ib_requests (login, bridge, kind, identity, contract, small, weight, interactive, historical,"
        " sent_at, series_id, chunk_id, correlation_id) VALUES (%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s) RETURNING id",
        (
            login,
            bridge,
            kind,
            request.identity,
            request.contract,
            request.small,
            request.weight,
            request.interactive,
            request.historical,
            sent_at,
            series_id,
            chunk_id,
            correlation_id,
        ),
    )
    return scalar(cursor, int)


def left_at(cursor: Cursor, request_id: int, sent_at: int) -> None:
    """A booked request left later than it was booked for."""
    cursor.execute("UPDATE ib_requests SET sent_at = %s WHERE id = %s", (sent_at, request_id))


def close(
    cursor: Cursor,
    request_id: int,
    outcome: str,
    *,
    ms: int,
    bars: int | None = None,
    ib_code: int | None = None,
    ib_text: str | None = None,
) -> None:
    """Write down how a request ended: ok, empty, error, timeout, cancelled, lost."""
    cursor.execute(
        "UPDATE ib_requests SET outcome = %s, ms = %s, bars = %s, ib_code = %s, ib_text = %s WHERE id = %s",
        (outcome, ms, bars, ib_code, ib_text, request_id),
    )


def lose(cursor: Cursor, bridge: str) -> None:
    """Requests of a bridge that died with them: their answers will never come."""
    cursor.execute("UPDATE ib_requests SET outcome = 'lost' WHERE bridge = %s AND outcome = 'sent'", (bridge,))


_RECENT = 10_000
"""Requests among which those are looked for that were never closed: some hours of them."""


def lose_old(cursor: Cursor, bridge: str, older_than_s: float) -> int:
    """Requests of a bridge that are open for longer than any answer is waited for (machine time), as what became of them
    could not be written; returns how many."""
    cursor.execute(
        "UPDATE ib_requests SET outcome = 'lost' WHERE id > (SELECT max(id) FROM ib_requests) - %s AND bridge = %s"
        " AND outcome = 'sent' AND booked_at < clock_timestamp() - make_interval(secs => %s)",
        (_RECENT, bridge, older_than_s),
    )
    return int(cursor.rowcount)


def typical_ms(cursor: Cursor) -> float | None:
    """The median time of the last answers with bars; None when there were none."""
    cursor.execute(
        "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY ms) FROM (SELECT ms FROM ib_requests WHERE kind = 'bars'"
        " AND outcome = 'ok' ORDER BY id DESC LIMIT 50) AS last"
    )
    return scalar_or_none(cursor, float)


def recent(cursor: Cursor, login: str, since_ns: int) -> list[RequestCount]:
    """Requests of a login since a market time, counted by kind and outcome."""
    cursor.execute(
        "SELECT kind, outcome, count(*) AS requests, coalesce(sum(weight) FILTER (WHERE small), 0) AS weight FROM ib_requests"
        " WHERE login = %s AND sent_at > %s GROUP BY kind, outcome ORDER BY kind, outcome",
        (login, since_ns),
    )
    return every(cursor, RequestCount)


def of_chunks(cursor: Cursor, chunk_ids: Sequence[int], request_ids: Sequence[int] = ()) -> list[SentRequest]:
    """Every request that was sent for these chunks, and those with these numbers, oldest first."""
    cursor.execute(
        "SELECT id, chunk_id, kind, identity, booked_at, sent_at, outcome, ib_code, ib_text, ms, bars, correlation_id"
        " FROM ib_requests WHERE chunk_id = ANY(%s) OR id = ANY(%s) ORDER BY id",
        (list(chunk_ids), list(request_ids)),
    )
    return every(cursor, SentRequest)
