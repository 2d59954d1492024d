"""Writes the simulator's table of exchange sessions, ib_gateway_sim/data/calendars.json.

Runs in an environment of its own, once a year or when an exchange announces a change:

    uv venv /tmp/calendars && uv pip install --python /tmp/calendars/bin/python pandas_market_calendars==5.5.0
    /tmp/calendars/bin/python dev/calendar_table.py

The holidays and early closes are those of the library, but for the short days that it has wrong (`short_days`); the hours
that it does not know (extended hours of US stocks, regular hours of futures, currencies, crypto) are given here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from importlib import metadata
from pathlib import Path
from typing import Any

FIRST, LAST = date(2004, 1, 1), date(2030, 12, 31)
TABLE = Path(__file__).parent.parent / "ib_gateway_sim" / "data" / "calendars.json"

Span = tuple[int, int]  # minutes after local midnight of the trade date; negative: the evening before
Hours = tuple[tuple[Span, ...], tuple[Span, ...]]  # (all sessions, regular hours), both empty when closed

# name -> zone, zone as IB spells it, calendar of the library, regular hours (None: the whole session)
EXCHANGES: dict[str, tuple[str, str, str, Span | None]] = {
    "us_index": ("America/New_York", "US/Eastern", "NYSE", None),
    "cboe_index": ("America/Chicago", "US/Central", "CBOE_Index_Options", None),
    "cme_equity": ("America/Chicago", "US/Central", "CME_Equity", (510, 900)),
    "nymex_energy": ("America/New_York", "US/Eastern", "CMEGlobex_Crude", (540, 870)),
    "comex_metals": ("America/New_York", "US/Eastern", "CMEGlobex_Gold", (500, 810)),
    "toronto": ("America/Toronto", "US/Eastern", "XTSE", None),
    "london": ("Europe/London", "GB-Eire", "XLON", None),
}
SHORT_EQUITY = 735
"""On the short days of the New York Stock Exchange (the Friday after Thanksgiving, Christmas Eve, the day before the Fourth
of July) CME's equity futures and Cboe's index options close at 12:15 Chicago, a quarter of an hour after the stocks. The
library has 12:00 for the former, as on holidays, and a full Christmas Eve for the latter (CME and Cboe holiday schedules
of 2013, 2017 and 2026, read 2026-11)."""
SHORT_COMMODITY = 825
"""On Christmas Eve energy and metals close at 13:45 New York; the library knows that of 2026 alone."""
EXTENDED = (240, 1200)  # US stocks trade from 04:00 to 20:00, after an early close to 17:00
EXTENDED_EARLY = (240, 1020)


def library_hours(name: str, zone: str, regular: Span | None) -> dict[date, Hours]:
    """Sessions of one calendar of the library, by trade date, in minutes of the zone."""
    import pandas_market_calendars  # type: ignore[import-not-found]  # only in the environment named above

    schedule = pandas_market_calendars.get_calendar(name).schedule(str(FIRST), str(LAST), tz=zone)
    hours: dict[date, Hours] = {}
    for day, row in schedule.iterrows():
        at = {column: round((row[column].tz_localize(None) - day).total_seconds() / 60) for column in schedule.columns}
        spans = [(at["market_open"], at["market_close"])]
        if "break_start" in at:
            spans = [(at["market_open"], at["break_start"]), (at["break_end"], at["market_close"])]
            spans = merged(spans)
        hours[day.date()] = (tuple(spans), tuple(spans) if regular is None else tuple(clipped(spans, regular)))
    return hours


def merged(spans: list[Span]) -> list[Span]:
    """Without empty spans, and adjoining ones as one."""
    result: list[Span] = []
    for start, end in spans:
        if start >= end:
            continue
        if result and result[-1][1] == start:
            start = result.pop()[0]
        result.append((start, end))
    return result


def clipped(spans: Iterable[Span], window: Span) -> Iterator[Span]:
    """The parts of the spans inside the window."""
    for start, end in spans:
        if max(start, window[0]) < min(end, window[1]):
            yield max(start, window[0]), min(end, window[1])


def short_days(name: str, hours: dict[date, Hours], nyse: dict[date, Hours]) -> dict[date, Hours]:
    """A calendar with the short days that the library has wrong put right."""
    early = {day for day, (spans, _) in nyse.items() if spans[-1][1] <= 780}
    closes = {
        "cme_equity": dict.fromkeys(early, SHORT_EQUITY),
        "cboe_index": dict.fromkeys(early, SHORT_EQUITY),
        "nymex_energy": {day: SHORT_COMMODITY for day in hours if (day.month, day.day) == (12, 24)},
        "comex_metals": {day: SHORT_COMMODITY for day in hours if (day.month, day.day) == (12, 24)},
    }.get(name, {})
    window = EXCHANGES[name][3]
    right = dict(hours)
    for day, close in closes.items():
        if day in hours:
            every = closing_at(hours[day][0], close)
            right[day] = (every, every if window is None else tuple(clipped(every, window)))
    return right


def closing_at(spans: tuple[Span, ...], close: int) -> tuple[Span, ...]:
    """The spans with the last of them, of those that begin before it, ended at `close`."""
    begun = [span for span in spans if span[0] < close]
    return (*begun[:-1], (begun[-1][0], close))


def us_stock_hours(regular: dict[date, Hours]) -> dict[date, Hours]:
    """Regular sessions with the extended hours around them."""
    return {day: ((EXTENDED_EARLY if spans[-1][1] <= 780 else EXTENDED,), spans) for day, (spans, _) in regular.items()}


def days() -> Iterator[date]:
    """Every calendar day of the table."""
    return (FIRST + timedelta(days=n) for n in range((LAST - FIRST).days + 1))


def currency_hours() -> dict[date, Hours]:
    """IDEALPRO: 17:15 of the evening before to 17:00 New York, Monday to Friday, but at Christmas and New Year."""
    spans = ((-405, 1020),)
    shut = ((12, 25), (1, 1))
    return {day: (spans, spans) for day in days() if day.weekday() < 5 and (day.month, day.day) not in shut}


def encoded(zone: str, ib_zone: str, hours: dict[date, Hours]) -> dict[str, Any]:
    """One letter per day: "." closed, "a" the first pattern ("all sessions | regular hours"), "b" the second ..."""
    patterns: list[Hours] = []
    years: dict[str, str] = {}
    for day in days():
        letter = "."
        if day in hours:
            if hours[day] not in patterns:
                patterns.append(hours[day])
            letter = chr(ord("a") + patterns.index(hours[day]))
        years[str(day.year)] = years.get(str(day.year), "") + letter
    return {
        "zone": zone,
        "ib_zone": ib_zone,
        "patterns": [f"{spelled(every)} | {spelled(regular)}" for every, regular in patterns],
        "years": years,
    }


def spelled(spans: tuple[Span, ...]) -> str:
    """Spans as text: "-420:915 930:960"."""
    return " ".join(f"{start}:{end}" for start, end in spans)


def main() -> None:
    """Build all calendars and write the table."""
    table: dict[str, Any] = {}
    nyse = library_hours("NYSE", "America/New_York", None)
    for name, (zone, ib_zone, library_name, regular) in EXCHANGES.items():
        hours = library_hours(library_name, zone, regular)
        table[name] = encoded(zone, ib_zone, short_days(name, hours, nyse))
    table["us_stock"] = encoded("America/New_York", "US/Eastern", us_stock_hours(nyse))
    table["idealpro"] = encoded("America/New_York", "US/Eastern", currency_hours())
    always = ((0, 1440),)
    table["always"] = encoded("UTC", "UTC", dict.fromkeys(days(), (always, always)))
    version = metadata.version("pandas_market_calendars")
    note = f"made {date.today()} by dev/calendar_table.py from pandas_market_calendars {version}"
    text = json.dumps({"note": note, "calendars": table}, indent=1, sort_keys=True)
    TABLE.write_text(text + "\n")


if __name__ == "__main__":
    main()
