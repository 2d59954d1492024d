"""What of a window is there: the ranges in a table, or a character for each day."""

import datetime as dt
import itertools
from collections.abc import Iterator
from typing import Any

from nautilus_client import cli
from nautilus_client.cli.context import Context
from nautilus_client.cli.market import where, window
from nautilus_client.cli.output import table
from nautilus_client.times import at, to_ns

MARKS = {
    "filled": "#",
    "empty_confirmed": "#",
    "closed": "-",
    "not_asked": ".",
    "queued": "q",
    "empty_unconfirmed": "e",
    "unavailable": "x",
    "failed": "!",
    "stale": "s",
    "not_closed_yet": " ",
}
WORDS = {
    "#": "all there",
    "-": "no session",
    ".": "not requested yet",
    "q": "queued",
    "e": "nothing came, to be tried again",
    "x": "IB does not have it",
    "!": "failed",
    "s": "to be fetched again",
    "?": "sessions not known yet",
}
_WORST = "!x?.seq# -"
"""What stands for a day that has several: the first of these."""
SIDE_BY_SIDE = 3
"""So many months in one line; more have a line each."""


def coverage(context: Context) -> int:
    found = [
        context.client.coverage(timeframe=context.options.timeframe, **where(context, symbol), **window(context))
        for symbol in context.options.symbol
    ]
    if context.options.map:
        days = [_days(one, _trade_dates(context, one)) for one in found]
        text_of = "\n".join(_map(one, marks) for one, marks in zip(found, days, strict=True))
        context.notice(_legend({mark for marks in days for mark in marks.values()}))
    else:
        text_of = "\n\n".join(_table(one) for one in found)
    context.emit([one.as_dict() for one in found] if len(found) > 1 else found[0].as_dict(), text_of)
    return cli.OK


def _table(found: Any) -> str:
    rows = [
        [one["start"], one["end"], one["state"], one["bars"], one["expected"], one.get("reason")]
        for one in found.intervals
    ]
    return f"{_name(found)}: {_share(found)}\n{table(rows, ['from', 'to', 'state', 'bars', 'slots', 'reason'])}"


def _name(found: Any) -> str:
    return f"{found.instrument_id} {found.as_dict()['timeframe']}"


def _share(found: Any) -> str:
    summary = found.summary
    share = (
        f"{summary['complete_pct']:g} %"
        if summary["complete_pct"] is not None
        else f"{summary['unknown']} ranges: sessions unknown"
    )
    return f"{summary['bars']:,} bars, {share}"


def _trade_dates(context: Context, found: Any) -> set[dt.date] | None:
    """The dates with sessions; None where they are not known for all of the window."""
    window = found.window
    names = {"instrument_id": found.instrument_id, "session": found.as_dict()["session"]}
    calendar = context.client.calendar(**names, start=window["start"], end=window["end"])
    known = calendar.known
    if known is None or to_ns(known["start"]) > to_ns(window["start"]) or to_ns(known["end"]) < to_ns(window["end"]):
        return None
    return {dt.date.fromisoformat(one.trade_date) for one in calendar.sessions}


def _days(found: Any, dates: set[dt.date] | None) -> dict[dt.date, str]:
    """The mark of each day, in order. dates: those with sessions, where they are known."""
    days: dict[dt.date, str] = {}
    for one in found.intervals:
        known = one["expected"] is not None or one["state"] != "not_asked"
        mark = MARKS.get(one["state"], "?") if known else "?"
        for day in _dates(one["start"], one["end"]):
            if dates is not None and day not in dates:
                days[day] = "-"
                continue
            before = days.get(day)
            days[day] = mark if before is None else min(before, mark, key=_WORST.index)
    return dict(sorted(days.items()))


def _dates(start: str, end: str) -> Iterator[dt.date]:
    first, last = at(to_ns(start)).date(), at(to_ns(end) - 1).date()
    for n in range((last - first).days + 1):
        yield first + dt.timedelta(days=n)


def _map(found: Any, days: dict[dt.date, str]) -> str:
    months = [
        (dt.date(*month, 1), "".join(days[day] for day in group))
        for month, group in itertools.groupby(days, key=lambda day: (day.year, day.month))
    ]
    if len(months) <= SIDE_BY_SIDE:
        return f"{_name(found)}  {'  '.join(f'{first:%b} {marks}' for first, marks in months)}  {_share(found)}"
    # The first month may begin in the middle; below each other stands what is the same day of a month.
    missing = next(iter(days)).day - 1
    lines = [f"  {first:%Y %b}  {' ' * (0 if n else missing)}{marks}" for n, (first, marks) in enumerate(months)]
    return "\n".join([f"{_name(found)}  {_share(found)}", *lines])


def _legend(marks: set[str]) -> str:
    return "a character for each day: " + ", ".join(f"{mark} {words}" for mark, words in WORDS.items() if mark in marks)
