"""Trading sessions as IB told them, and how far they are known."""

from typing import Any

from nautilus.calendars import Calendar, Session
from nautilus.clock import NS_PER_DAY
from nautilus.db.connection import Cursor, int8range, span_of
from nautilus.spans import Span

_LONGEST_NS = 14 * NS_PER_DAY
"""No session is longer; some slack for the trade dates around a range. Markets that never close are told in days."""


def known(cursor: Cursor, calendar: str, session: str) -> Span | None:
    """The range of time for which IB told the sessions, or None when it was never asked."""
    cursor.execute("SELECT known::text FROM calendars WHERE calendar = %s AND session = %s", (calendar, session))
    row = cursor.fetchone()
    return span_of(row.known) if row else None


def state(cursor: Cursor, calendar: str, session: str) -> tuple[Span, Any] | None:
    """The known range and when it was last told: who holds the sessions of both need not load them again."""
    cursor.execute(
        "SELECT known::text, checked_at FROM calendars WHERE calendar = %s AND session = %s", (calendar, session)
    )
    row = cursor.fetchone()
    return (span_of(row.known), row.checked_at) if row else None


def load(cursor: Cursor, calendar: str, session: str, span: Span) -> Calendar | None:
    """The calendar with the sessions that touch `span`, or None when IB was never asked.

    It knows no more than the span: of what was not loaded nothing may be said.
    """
    cursor.execute(
        "SELECT time_zone, known::text FROM calendars WHERE calendar = %s AND session = %s", (calendar, session)
    )
    head = cursor.fetchone()
    if head is None:
        return None
    cursor.execute(
        "SELECT open_ns, close_ns, trade_date FROM trading_sessions WHERE calendar = %s AND session = %s"
        " AND open_ns >= %s AND open_ns < %s ORDER BY open_ns",
        (calendar, session, span[0] - _LONGEST_NS, span[1]),
    )
    sessions = (Session(*row) for row in cursor.fetchall())
    first, last = span_of(head.known)
    return Calendar.of(sessions, (max(first, span[0]), max(first, min(last, span[1]))), head.time_zone)


def store(
    cursor: Cursor,
    calendar: str,
    session: str,
    time_zone: str,
    known: Span,
    sessions: list[Session],
    *,
    stand_in: bool = False,
) -> None:
    """Replace what is known about [known): sessions that begin there are forgotten, these are kept instead.

    The known range becomes the hull of the old and the new one, which must touch; a stand-in gives way to IB's word.
    """
    cursor.execute(
        "INSERT INTO calendars AS c (calendar, session, time_zone, known, stand_in) VALUES (%s, %s, %s, %s::int8range, %s)"
        " ON CONFLICT (calendar, session) DO UPDATE SET time_zone = excluded.time_zone, checked_at = clock_timestamp(),"
        " known = CASE WHEN c.stand_in AND NOT excluded.stand_in THEN excluded.known"
        " ELSE range_merge(c.known, excluded.known) END, stand_in = excluded.stand_in"
        " RETURNING known::text",
        (calendar, session, time_zone, int8range(known), stand_in),
    )
    whole = span_of(cursor.fetchone()[0])
    cursor.execute(
        "DELETE FROM trading_sessions WHERE calendar = %s AND session = %s"
        " AND ((open_ns >= %s AND open_ns < %s) OR open_ns < %s OR open_ns >= %s)",
        (calendar, session, *known, *whole),
    )
    for s in sessions:
        cursor.execute(
            "INSERT INTO trading_sessions (calendar, session, trade_date, open_ns, close_ns) VALUES (%s, %s, %s, %s, %s)"
            " ON CONFLICT (calendar, session, open_ns)"
            " DO UPDATE SET close_ns = excluded.close_ns, trade_date = excluded.trade_date",
            (calendar, session, s.trade_date, s.open_ns, s.close_ns),
        )
