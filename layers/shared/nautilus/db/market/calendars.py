"""Trading sessions as IB sent them, and how far they are known."""

from datetime import datetime
from typing import NamedTuple

from nautilus.clock import NS_PER_DAY, NS_PER_HOUR
from nautilus.db.cursor import Cursor
from nautilus.db.ranges import int8range, multirange, span_of, spans_of
from nautilus.db.rows import every, insert_rows, one_or_none, scalar_or_none
from nautilus.market.calendar import Calendar, Session
from nautilus.spans import Span, Spans

_AGAIN_NS, _MOST_DOUBLINGS = NS_PER_HOUR, 8
"""A refused schedule is requested again after an hour, then after two, four ... up to eleven days of market time."""
_SESSION = {
    "calendar": "text",
    "session": "text",
    "trade_date": "date",
    "open_ns": "bigint",
    "close_ns": "bigint",
    "stand_in": "boolean",
}
_LONGEST_NS = 14 * NS_PER_DAY
"""No session is longer; some slack for the trade dates around a range. IB sends markets that never close in days."""


CalendarStamp = tuple[Span, datetime]
"""The range for which sessions are known, and when IB sent them last: it changes whenever the sessions do."""


class _Known(NamedTuple):
    known: str
    checked_at: datetime


class _Zone(NamedTuple):
    time_zone: str
    known: str


class _Guessed(NamedTuple):
    known: str
    guessed: str


def known(cursor: Cursor, calendar: str, session: str) -> Span | None:
    """The range of time for which IB sent the sessions, or None when they were never requested."""
    cursor.execute("SELECT known::text FROM calendars WHERE calendar = %s AND session = %s", (calendar, session))
    found = scalar_or_none(cursor, str)
    return span_of(found) if found else None


def state(cursor: Cursor, calendar: str, session: str) -> CalendarStamp | None:
    """The known range and when it was last sent: who holds the sessions of both need not load them again."""
    cursor.execute(
        "SELECT known::text, checked_at FROM calendars WHERE calendar = %s AND session = %s", (calendar, session)
    )
    row = one_or_none(cursor, _Known)
    return (span_of(row.known), row.checked_at) if row else None


def load(cursor: Cursor, calendar: str, session: str, span: Span) -> Calendar | None:
    """The calendar with the sessions that touch `span`, or None when none was ever requested.

    It knows no more than the span: nothing may be concluded about what was not loaded.
    """
    cursor.execute(
        "SELECT time_zone, known::text FROM calendars WHERE calendar = %s AND session = %s", (calendar, session)
    )
    head = one_or_none(cursor, _Zone)
    if head is None:
        return None
    cursor.execute(
        "SELECT open_ns, close_ns, trade_date FROM trading_sessions WHERE calendar = %s AND session = %s"
        " AND open_ns >= %s AND open_ns < %s ORDER BY open_ns",
        (calendar, session, span[0] - _LONGEST_NS, span[1]),
    )
    sessions = every(cursor, Session)
    first, last = span_of(head.known)
    return Calendar.of(sessions, (max(first, span[0]), max(first, min(last, span[1]))), head.time_zone)


def end_of_day(cursor: Cursor, con_id: int, at: int, session: str) -> int | None:
    """The last close of the trade date that an order of market time `at` belongs to: the one of the session under way, else of
    the next one. None where no such session is known."""
    cursor.execute(
        "SELECT max(s.close_ns) FROM trading_sessions s JOIN instruments i ON i.calendar = s.calendar"
        " WHERE i.con_id = %(con_id)s AND s.session = %(session)s AND s.trade_date = (SELECT n.trade_date"
        "  FROM trading_sessions n WHERE n.calendar = i.calendar AND n.session = %(session)s AND n.close_ns > %(at)s"
        "  ORDER BY n.open_ns LIMIT 1)",
        {"con_id": con_id, "session": session, "at": at},
    )
    return scalar_or_none(cursor, int)


def store(
    cursor: Cursor,
    calendar: str,
    session: str,
    *,
    time_zone: str,
    known: Span,
    sessions: list[Session],
    stand_in: bool = False,
) -> None:
    """Replace what is known about the range: sessions that begin in it are forgotten, these are kept instead.

    The range must touch what is known already, as a hole would look like closed time; ValueError otherwise. stand_in:
    IB gave no schedule and these sessions are a guess, which replaces nothing that IB sent before.
    """
    cursor.execute(
        "SELECT known::text, guessed::text FROM calendars WHERE calendar = %s AND session = %s FOR UPDATE",
        (calendar, session),
    )
    row = one_or_none(cursor, _Guessed)
    whole, fresh, guesses = known, Spans.of(*known), Spans()
    if row is not None:
        guesses = spans_of(row.guessed)
        if stand_in:
            fresh = fresh - (Spans.of(*span_of(row.known)) - guesses)
        old = span_of(row.known)
        if known[0] > old[1] or known[1] < old[0]:
            raise ValueError(f"{calendar}: a range of sessions must touch what is known")
        whole = (min(old[0], known[0]), max(old[1], known[1]))
    cursor.execute(
        "INSERT INTO calendars (calendar, session, time_zone, known, guessed)"
        " VALUES (%s, %s, %s, %s::int8range, %s::int8multirange) ON CONFLICT (calendar, session) DO UPDATE"
        " SET time_zone = excluded.time_zone, known = excluded.known, guessed = excluded.guessed,"
        " refusals = CASE WHEN excluded.guessed = '{}' THEN 0 ELSE calendars.refusals END, checked_at = clock_timestamp()",
        (calendar, session, time_zone, int8range(whole), multirange(guesses | fresh if stand_in else guesses - fresh)),
    )
    cursor.execute(
        "DELETE FROM trading_sessions WHERE calendar = %s AND session = %s AND %s::int8multirange @> open_ns",
        (calendar, session, multirange(fresh)),
    )
    kept = {s.open_ns: s for s in sessions if not stand_in or s.open_ns in fresh}
    insert_rows(
        cursor,
        "trading_sessions",
        _SESSION,
        [(calendar, session, s.trade_date, s.open_ns, s.close_ns, stand_in) for s in kept.values()],
        then="ON CONFLICT (calendar, session, open_ns) DO UPDATE SET close_ns = excluded.close_ns,"
        " trade_date = excluded.trade_date, stand_in = excluded.stand_in",
    )


# ---- guesses ---------------------------------------------------------------------------------------------------------


def guessed(cursor: Cursor, calendar: str, session: str) -> Spans:
    """Where IB refused the schedule and weekdays stand in."""
    cursor.execute("SELECT guessed::text FROM calendars WHERE calendar = %s AND session = %s", (calendar, session))
    return spans_of(scalar_or_none(cursor, str))


def refused(cursor: Cursor, calendar: str, session: str, market_ns: int) -> None:
    """IB refused it once more: longer until the next time."""
    cursor.execute(
        "UPDATE calendars SET refusals = least(refusals, 99) + 1,"
        " ask_again_at = %s + %s * (2 ^ least(refusals, %s))::bigint WHERE calendar = %s AND session = %s",
        (market_ns, _AGAIN_NS, _MOST_DOUBLINGS, calendar, session),
    )


class DueGuess(NamedTuple):
    """A calendar with ranges that are guessed, as PostgreSQL writes them, and an instrument by which to ask for it."""

    calendar: str
    session: str
    guessed: str
    con_id: int


def guesses_due(cursor: Cursor, market_ns: int) -> list[DueGuess]:
    """The schedules that are to be requested again at a market time."""
    cursor.execute(
        "SELECT c.calendar, c.session, c.guessed::text AS guessed, i.con_id FROM calendars c CROSS JOIN LATERAL"
        " (SELECT con_id FROM instruments i WHERE i.calendar = c.calendar ORDER BY expiry DESC, resolved_at DESC LIMIT 1) i"
        " WHERE c.guessed <> '{}' AND c.ask_again_at <= %s ORDER BY c.ask_again_at LIMIT 20",
        (market_ns,),
    )
    return every(cursor, DueGuess)
