"""The one job of a series that is kept current: it carries the ranges that its live stream missed, as ordinary chunks."""

from typing import NamedTuple

from nautilus.backfill.states import LIVE_JOBS
from nautilus.db.cursor import Cursor
from nautilus.db.ledger import jobs
from nautilus.db.ledger.jobs import Item
from nautilus.db.market.series import Series
from nautilus.db.rows import every
from nautilus.log import correlation
from nautilus.market.symbols import Selector
from nautilus.spans import Spans

OWNER = "bridge"
ORIGIN = "live"
PRIORITY = 5
"""Above backfills as people usually ask for them, below what a reader waits for."""


class _Range(NamedTuple):
    wanted_start: int
    wanted_end: int


def under_way(cursor: Cursor, series_id: int) -> Spans:
    """What the job of a series still brings."""
    cursor.execute(
        "SELECT i.wanted_start, i.wanted_end FROM backfill_jobs j JOIN backfill_items i ON i.job_id = j.id"
        " WHERE j.owner = %s AND j.fingerprint = %s AND j.state = ANY(%s) AND i.state <> 'failed'",
        (OWNER, _fingerprint(series_id), list(LIVE_JOBS)),
    )
    return Spans((row.wanted_start, row.wanted_end) for row in every(cursor, _Range))


def bring(cursor: Cursor, row: Series, missing: Spans) -> Spans:
    """Have missing ranges of a series requested; returns those that were not on their way before. In the caller's transaction,
    under the series' row lock. A job of the series that has ended is forgotten, so that there is one at a time."""
    new = missing - under_way(cursor, row.id)
    if not new:
        return new
    cursor.execute(
        "DELETE FROM backfill_jobs WHERE owner = %s AND fingerprint = %s AND NOT state = ANY(%s)",
        (OWNER, _fingerprint(row.id), list(LIVE_JOBS)),
    )
    selector = Selector("", "", con_id=row.con_id)
    jobs.create(
        cursor,
        owner=OWNER,
        origin=ORIGIN,
        items=[Item(selector, row.timeframe.name, row.price, row.session, *span, None) for span in new],
        priority=PRIORITY,
        mode="missing",
        request={"missed_by_live": len(new)},
        fingerprint=_fingerprint(row.id),
        correlation_id=correlation.get(),
    )
    return new


def _fingerprint(series_id: int) -> str:
    return f"live|{series_id}"
