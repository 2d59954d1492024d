"""The one job of a series that is kept current: it carries the ranges that its live stream missed, as ordinary chunks."""

from nautilus.backfill.states import LIVE_JOBS
from nautilus.db.cursor import Cursor
from nautilus.db.ledger import jobs
from nautilus.db.ledger.jobs import Item
from nautilus.db.market.series import Series
from nautilus.db.rows import scalar
from nautilus.log import correlation
from nautilus.market.symbols import Selector
from nautilus.spans import Spans

OWNER = "bridge"
ORIGIN = "live"
PRIORITY = 5
"""Above backfills as people usually ask for them, below what a reader waits for."""


def is_under_way(cursor: Cursor, series_id: int) -> bool:
    """True while the job of a series lives."""
    cursor.execute(
        "SELECT EXISTS (SELECT FROM backfill_jobs WHERE owner = %s AND fingerprint = %s AND state = ANY(%s))",
        (OWNER, _fingerprint(series_id), list(LIVE_JOBS)),
    )
    return scalar(cursor, bool)


def bring(cursor: Cursor, row: Series, missing: Spans) -> bool:
    """Have missing ranges of a series requested; False when there are none, or its job still brings others: what is missing after
    that is requested then. In the caller's transaction, under the series' row lock. A job that has ended is forgotten."""
    if not missing or is_under_way(cursor, row.id):
        return False
    cursor.execute(
        "DELETE FROM backfill_jobs WHERE owner = %s AND fingerprint = %s AND NOT state = ANY(%s)",
        (OWNER, _fingerprint(row.id), list(LIVE_JOBS)),
    )
    selector = Selector("", "", con_id=row.con_id)
    jobs.create(
        cursor,
        owner=OWNER,
        origin=ORIGIN,
        items=[Item(selector, row.timeframe.name, row.price, row.session, *span, None) for span in missing],
        priority=PRIORITY,
        mode="missing",
        request={"missed_by_live": len(missing)},
        fingerprint=_fingerprint(row.id),
        correlation_id=correlation.get(),
    )
    return True


def _fingerprint(series_id: int) -> str:
    return f"live|{series_id}"
