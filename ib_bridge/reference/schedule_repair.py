"""Keeping what IB says about sessions, and putting right what was concluded from a guess.

Where IB refuses a schedule weekdays stand in for it. When the real one comes later, time that was taken for closed and is
not is unconfirmed again, and requested at once; time that was taken for open and is closed needs nothing: it was never
settled, and the next plan closes it.
"""

from nautilus.coverage.states import CoverageState, Note
from nautilus.db.cursor import Cursor
from nautilus.db.market import calendars, series
from nautilus.market.calendar import Calendar, Session
from nautilus.spans import Span

REASON = "schedule_corrected"


def keep(
    cursor: Cursor, name: str, session: str, *, time_zone: str, known: Span, sessions: list[Session], market_ns: int
) -> int:
    """Keep the sessions of a range as IB sent them; returns how many series had taken open time in it for closed."""
    guessed = calendars.guessed(cursor, name, session)
    parts = [(max(s, known[0]), min(e, known[1])) for s, e in guessed if s < known[1] and e > known[0]]
    before = {part: calendars.load(cursor, name, session, part) for part in parts}
    calendars.store(cursor, name, session, time_zone=time_zone, known=known, sessions=sessions)
    wrong: set[int] = set()
    for part, guess in before.items():
        actual = calendars.load(cursor, name, session, part)
        if guess is not None and actual is not None:
            wrong |= _reopen(cursor, name, session, part=part, guess=guess, actual=actual, market_ns=market_ns)
    return len(wrong)


def _reopen(
    cursor: Cursor, name: str, session: str, *, part: Span, guess: Calendar, actual: Calendar, market_ns: int
) -> set[int]:
    changed = set()
    for number in series.of_calendar(cursor, name, session):
        row = series.by_id(cursor, number, lock=True)
        opened = actual.open_time(row.timeframe, part) - guess.open_time(row.timeframe, part)
        unconfirmed = row.covered & opened
        if unconfirmed:
            noted = [
                Note(span, CoverageState.EMPTY_UNCONFIRMED, REASON, None, market_ns, market_ns) for span in unconfirmed
            ]
            series.apply_changes(cursor, row, noted=noted)
            changed.add(number)
    return changed
