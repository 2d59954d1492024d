"""What bars were before they changed."""

from datetime import datetime
from typing import NamedTuple

from nautilus.db.cursor import Cursor
from nautilus.db.rows import every
from nautilus.market.bar import Bar
from nautilus.spans import Span


class Revision(NamedTuple):
    """The value of a bar until a version. All seven values are None when the bar did not exist before."""

    ts: int
    until_version: int
    open: float | None
    high: float | None
    low: float | None
    close: float | None
    volume: float | None
    vwap: float | None
    trades: int | None
    request_id: int | None
    changed_at: datetime

    @property
    def existed(self) -> bool:
        """There was a bar before."""
        return self.open is not None

    @property
    def bar(self) -> Bar | None:
        """The bar that there was before."""
        if self.open is None or self.high is None or self.low is None or self.close is None:
            return None
        return Bar(self.ts, self.open, self.high, self.low, self.close, self.volume, self.vwap, self.trades)


_ALL = 2**63 - 1


def within(cursor: Cursor, series_id: int, span: Span, *, since_version: int, limit: int) -> list[Revision]:
    """Revisions of the bars in [start, end) by versions above `since_version`, in order of bar and version; `limit` at most."""
    cursor.execute(
        "SELECT ts, until_version, open, high, low, close, volume, vwap, trades, request_id, changed_at FROM bar_revisions"
        " WHERE series_id = %s AND ts >= %s AND ts < %s AND until_version > %s ORDER BY ts, until_version LIMIT %s",
        (series_id, *span, since_version, limit),
    )
    return every(cursor, Revision)


def by_others(
    cursor: Cursor, series_id: int, bridge: str, *, since_version: int, until_version: int, limit: int
) -> list[Revision]:
    """Revisions by versions above `since_version`, up to `until_version`, that answers to other bridges than this have caused,
    in order of bar and version; `limit` at most."""
    cursor.execute(
        "SELECT r.ts, r.until_version, r.open, r.high, r.low, r.close, r.volume, r.vwap, r.trades, r.request_id, r.changed_at"
        " FROM bar_revisions r JOIN ib_requests q ON q.id = r.request_id"
        " WHERE r.series_id = %s AND r.until_version > %s AND r.until_version <= %s AND q.bridge <> %s"
        " ORDER BY r.ts, r.until_version LIMIT %s",
        (series_id, since_version, until_version, bridge, limit),
    )
    return every(cursor, Revision)


def of_bar(cursor: Cursor, series_id: int, ts: int) -> list[Revision]:
    """All revisions of one bar, oldest first."""
    return within(cursor, series_id, (ts, ts + 1), since_version=0, limit=_ALL)
