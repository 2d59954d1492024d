"""What was left unconfirmed is requested again: empty answers a second time, bars that a split made stale.

The bridge opens a job of its own for them, at the lowest priority, so that a caller's job never waits for a confirmation.
"""

from nautilus.clock import NS_PER_S
from nautilus.db.cursor import Cursor
from nautilus.db.ledger import jobs
from nautilus.db.ledger.jobs import Item
from nautilus.db.market import series
from nautilus.log import correlation
from nautilus.market.symbols import Selector

OWNER = "bridge"
_AGAIN_NS = 3600 * NS_PER_S
_MOST = 200


def open_job(cursor: Cursor, market_ns: int) -> int:
    """Open one job for the unconfirmed ranges that are due, unless the last one still lives; returns how many there were."""
    if jobs.any_live(cursor, "confirm"):
        return 0
    due = series.due_rechecks(cursor, market_ns, market_ns + _AGAIN_NS, _MOST)
    if due:
        items = [
            Item(Selector("", "", con_id=row.con_id), row.timeframe, row.price, row.session, row.start, row.end, None)
            for row in due
        ]
        jobs.create(
            cursor,
            owner=OWNER,
            origin="confirm",
            items=items,
            priority=0,
            mode="missing",
            request={"second_look_at": len(due)},
            fingerprint=f"confirm|{market_ns}",
            correlation_id=correlation.get(),
        )
    return len(due)
