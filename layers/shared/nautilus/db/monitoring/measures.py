"""Numbers for alarms and dashboards."""

from typing import NamedTuple

from nautilus.db.cursor import Cursor
from nautilus.db.rows import one


class LiveJobs(NamedTuple):
    """Backfill jobs that are not over, and how long the quietest of them has shown no progress."""

    jobs: int
    silent_s: float


def live_jobs(cursor: Cursor) -> LiveJobs:
    cursor.execute(
        "SELECT count(*) AS jobs,"
        " coalesce(extract(epoch FROM max(clock_timestamp() - updated_at)), 0)::float8 AS silent_s"
        " FROM backfill_jobs WHERE state IN ('queued', 'planning', 'running', 'stopping')"
    )
    return one(cursor, LiveJobs)
