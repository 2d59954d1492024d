"""The one job of a series that is kept current: it carries the ranges that its live stream missed, as ordinary chunks."""

from typing import NamedTuple

from nautilus.backfill.states import LIVE_JOBS
from nautilus.db.cursor import Cursor
from nautilus.db.ledger import jobs
from nautilus.db.ledger.jobs import Item
from nautilus.db.market.series import Series
from nautilus.db.rows import one_or_none
from nautilus.log import correlation
from nautilus.market.symbols import Selector
from nautilus.spans import Spans

OWNER = "bridge"
ORIGIN = "live"
PRIORITY = 5
"""Above backfills as people usually ask for them, below what a reader waits for."""
_FIRST_S, _LONGEST_S = 60.0, 3600.0


class _Last(NamedTuple):
    state: str
    start: int | None
    attempts: int
    age_s: float


def bring(cursor: Cursor, row: Series, missing: Spans) -> bool:
    """Have missing ranges of a series requested; False when there are none, or its job still brings others: what is missing after
    that is requested then. In the caller's transaction, under the series' row lock. A job that has ended is forgotten. When it
    has left missing what it was for, the next one waits, each time twice as long."""
    if not missing:
        return False
    last, attempts = _last(cursor, row.id), 0
    if last is not None:
        if last.start is not None and last.start in missing:
            attempts = last.attempts + 1
        if last.state in LIVE_JOBS or (attempts and last.age_s < _wait_s(attempts)):
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
        request={"missed_by_live": len(missing), "start": next(iter(missing))[0], "attempts": attempts},
        fingerprint=_fingerprint(row.id),
        correlation_id=correlation.get(),
    )
    return True


def _wait_s(attempts: int) -> float:
    """Machine time between the end of a job that was in vain and the next one."""
    return min(_LONGEST_S, _FIRST_S * 2.0 ** (attempts - 1))


def _last(cursor: Cursor, series_id: int) -> _Last | None:
    cursor.execute(
        "SELECT state, (request ->> 'start')::bigint AS start, coalesce((request ->> 'attempts')::integer, 0) AS attempts,"
        " extract(epoch FROM clock_timestamp() - updated_at)::float8 AS age_s FROM backfill_jobs"
        " WHERE owner = %s AND fingerprint = %s ORDER BY created_at DESC LIMIT 1",
        (OWNER, _fingerprint(series_id)),
    )
    return one_or_none(cursor, _Last)


def _fingerprint(series_id: int) -> str:
    return f"live|{series_id}"
