"""When the exchanges are open: sessions with holidays, early closes and daylight saving, 2004 to 2030."""

from __future__ import annotations

from datetime import date
from typing import NamedTuple


class Session(NamedTuple):
    """One stretch of trading: epoch seconds UTC, half-open; a trade date can have several, in order."""

    open_s: int
    close_s: int
    trade_date: date


def calendar_names() -> tuple[str, ...]:
    """The calendars of the table."""
    raise NotImplementedError


def zone_name(calendar: str) -> str:
    """The time zone of a calendar as IB spells it (US/Eastern)."""
    raise NotImplementedError


def day_sessions(calendar: str, day: date, *, rth: bool) -> tuple[Session, ...]:
    """The sessions of one trade date, empty when closed; LookupError outside 2004 to 2030."""
    raise NotImplementedError


def sessions(calendar: str, start_s: float, end_s: float, *, rth: bool) -> list[Session]:
    """Sessions that overlap [start_s, end_s), whole, in order."""
    raise NotImplementedError
