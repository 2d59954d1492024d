"""What can be seen of versions: which series there are and how far each has come, and what bars were before."""

from collections.abc import Mapping, Sequence
from typing import Any

from nautilus.clock import microseconds_text, rfc3339
from nautilus.coverage.availability import Subject, Window
from nautilus.db.bars import revisions
from nautilus.db.bars.revisions import Revision
from nautilus.db.cursor import Cursor
from nautilus.db.market import series, series_list
from nautilus.db.market.series_list import ListedSeries

_PRICES = ("open", "high", "low", "close", "volume", "vwap", "trades")


def series_rows(
    cursor: Cursor, *, instrument_id: str | None, timeframe: str | None, limit: int, after: int
) -> Sequence[Mapping[str, Any]]:
    """The series that exist, by number: all of one instrument or timeframe, or all."""
    rows = series_list.listed(cursor, instrument_id=instrument_id, frame=timeframe, limit=limit, after=after)
    ends = series_list.ends(cursor, rows)
    return [_series_row(row, ends[row.id]) for row in rows]


def _series_row(row: ListedSeries, ends: series_list.Ends) -> Mapping[str, Any]:
    covered = None
    if row.covered_from is not None and row.covered_to is not None:
        covered = {"start": rfc3339(row.covered_from), "end": rfc3339(row.covered_to), "ranges": row.covered_ranges}
    return {
        "series_id": row.id,
        "con_id": row.con_id,
        "instrument_id": row.instrument_id,
        "symbol": row.symbol,
        "asset_class": row.asset_class,
        "timeframe": row.timeframe,
        "price": row.price,
        "session": row.session,
        "data_version": row.data_version,
        "head": _time(row.head_ts),
        "covered": covered,
        "first_bar": _time(ends.first),
        "last_bar": _time(ends.last),
        "changed_at": microseconds_text(row.changed_at) if row.changed_at is not None else None,
    }


def revision_page(
    cursor: Cursor, subject: Subject, window: Window, *, since_version: int, limit: int
) -> Mapping[str, Any]:
    """What bars of a window were before each version above `since_version`, in order of bar and version.

    All revisions of a bar stand on one page. next_start: where the next page begins; None on the last.
    """
    row = series.find(
        cursor, subject.instrument.con_id, subject.timeframe, price=subject.price, session=subject.session
    )
    start = window.start if window.start is not None else series.ALL_TIME[0]
    end = window.end if window.end is not None else series.ALL_TIME[1]
    found = (
        revisions.within(cursor, row.id, (start, end), since_version=since_version, limit=limit + 1)
        if row is not None
        else []
    )
    page: Sequence[Revision] = found
    next_start: int | None = None
    if row is not None and len(found) > limit:
        next_start = found[-1].ts
        page = [one for one in found if one.ts < next_start]
        if not page:  # one bar with more revisions than a page holds
            page = revisions.within(
                cursor, row.id, (next_start, next_start + 1), since_version=since_version, limit=series.ALL_TIME[1]
            )
            more = revisions.within(cursor, row.id, (next_start + 1, end), since_version=since_version, limit=1)
            next_start = more[0].ts if more else None
    return {
        "instrument_id": subject.instrument.instrument_id,
        "timeframe": subject.timeframe.name,
        "price": subject.price,
        "session": subject.session,
        "data_version": row.data_version if row is not None else 0,
        "revisions": [_revision_row(one) for one in page],
        "next_start": str(next_start) if next_start is not None else None,
    }


def _revision_row(one: Revision) -> Mapping[str, Any]:
    return {
        "ts": one.ts,
        "until_version": one.until_version,
        "before": {name: getattr(one, name) for name in _PRICES} if one.existed else None,
        "by_request": one.request_id,
        "changed_at": microseconds_text(one.changed_at),
    }


def _time(ns: int | None) -> str | None:
    return rfc3339(ns) if ns is not None else None
