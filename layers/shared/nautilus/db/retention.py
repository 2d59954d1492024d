"""What is forgotten, and when: once a day by the bridge, or now by `python -m nautilus.db.retention`. By default no bar is
ever forgotten.

Everything goes in batches, each its own transaction, so that nobody waits for long. Then, with
TimescaleDB, quiet chunks of bars are stored by column, those that a backfill touched again. Safe to repeat and to kill.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from nautilus.backfill.states import LIVE_JOBS
from nautilus.clock import NS_PER_DAY
from nautilus.db import timescale
from nautilus.db.bars.write import table_of
from nautilus.db.bridge import status
from nautilus.db.connection import Database, plain_connection
from nautilus.db.cursor import Cursor
from nautilus.db.ledger import chunk_counts
from nautilus.db.retention_bars import AT_ONCE, forget_bars
from nautilus.db.retention_batches import delete_rows, older
from nautilus.db.retention_strategies import forget_runs
from nautilus.db.rows import one, scalars
from nautilus.errors import Unavailable
from nautilus.market.timeframes import ALL
from nautilus.settings.base import load
from nautilus.settings.bridge import BridgeSettings, RetentionSettings

DROPPED, STORED, LEFT = "empty chunks dropped", "chunks stored by column", "chunks in use, left for the next time"
CONFIRMATIONS = "ib_requests of live bars"
_OF_LIVE_BARS = "kind IN ('confirm', 'poll', 'keep-up') AND chunk_id IS NULL"
_BATCH = 20_000
_MINUTES_NS = 30 * NS_PER_DAY  # market time for which profit by the minute is kept
_LOCK = 7_243_392_111
_TIMEOUT_MS = 600_000

_VERSION = {"bar_revisions": "until_version", "series_changes": "version"}
"""The column of the version that a row belongs to."""
_NOTING = (
    ", noted AS (INSERT INTO forgotten_versions AS f (series_id, version, at)"
    " SELECT series_id, max({version}), max({when}) FROM gone GROUP BY series_id ON CONFLICT (series_id)"
    " DO UPDATE SET version = greatest(f.version, excluded.version), at = greatest(f.at, excluded.at))"
)
"""Bars of versions before one whose changes are gone cannot be given any more: the same transaction writes that down."""

# What goes by machine time. The pacing book needs ten minutes, a page token two days of revisions and changes, a search
# that was made before one day of commands.
_OLD = {
    "ib_requests": "booked_at",
    "bar_revisions": "changed_at",
    "series_changes": "committed_at",
    "audit_log": "at",
    "bridge_commands": "coalesce(finished_at, expires_at)",
    "incidents": "until",
}


@dataclass(frozen=True, slots=True)
class Kept:
    """For how many days rows are kept; 0: for good. `bars`: timeframe -> days, those that are not there for good."""

    requests: int
    revisions: int
    audit: int
    bars: Mapping[str, int]
    commands: int = 0
    incidents: int = 0
    confirmations: int = 0
    """Of the requests, those of live bars: there may be 27,000 a day."""
    runs: int = 0
    """After their end, back-tests and runs in paper. Live runs, whose orders are at IB, are kept for good."""

    def days(self, table: str) -> int:
        named = {
            "ib_requests": self.requests,
            "audit_log": self.audit,
            "bridge_commands": self.commands,
            "incidents": self.incidents,
        }
        return named.get(table, self.revisions)


class Busy(Exception):
    """Another process is at it."""


class _Due(NamedTuple):
    open: bool
    late: bool
    busy: bool


def due(cursor: Cursor, hour: int) -> bool:
    """True once a day after an hour (UTC) as soon as no backfill runs, or, when some always does, an hour before the next.

    By the database's clock; `run` writes down when it was done, for all bridges.
    """
    cursor.execute(
        "SELECT coalesce(forgotten_at, created_at) < day AS open, now > day + interval '23 hours' AS late,"
        " EXISTS (SELECT 1 FROM backfill_jobs WHERE state = ANY(%s)) AS busy FROM store,"
        " (SELECT now, date_trunc('day', now - hour, 'UTC') + hour AS day FROM"
        "  (SELECT clock_timestamp() AS now, make_interval(hours => %s) AS hour) t) d",
        (list(LIVE_JOBS), hour),
    )
    row = one(cursor, _Due)
    return row.open and (row.late or not row.busy)


def run(url: str, kept: Kept, stopped: Callable[[], bool] = lambda: False) -> dict[str, int]:
    """Forget, and store quiet chunks by column, alone; returns the rows of each table, and the chunks (DROPPED, STORED, LEFT).

    Raises Busy. stopped: called between batches; what is left then is done the next time.
    """
    database = Database(url, name="nautilus-retention", size=2, statement_timeout_ms=_TIMEOUT_MS)
    try:
        with alone(url) as free:
            if not free:
                raise Busy
            counts = forget(database, kept, stopped)
            counts[DROPPED] = drop_empty(database)
            counts[STORED], counts[LEFT] = recompress(database, stopped)
            if not stopped():
                with database.transaction() as cursor:
                    cursor.execute("UPDATE store SET forgotten_at = clock_timestamp()")
            return counts
    finally:
        database.close()


def kept_of(settings: BridgeSettings | RetentionSettings) -> Kept:
    """What the settings say."""
    return Kept(
        settings.keep_requests_days,
        settings.keep_revisions_days,
        settings.keep_audit_days,
        settings.kept_bars,
        settings.keep_commands_days,
        settings.keep_incidents_days,
        settings.keep_confirmations_days,
        settings.keep_runs_days,
    )


def forget(
    database: Database,
    kept: Kept,
    stopped: Callable[[], bool] = lambda: False,
    *,
    batch: int = _BATCH,
    bars_at_once: int = AT_ONCE,
) -> dict[str, int]:
    """Forget what is older than it is kept; returns how many rows of each table.

    stopped: called between transactions. batch, bars_at_once: rows, and bars of a series, that go in one transaction.
    """
    gone = {
        table: _old_rows(database, table, when, days=kept.days(table), stopped=stopped, batch=batch)
        for table, when in _OLD.items()
    }
    if kept.confirmations:
        condition = f"{older('booked_at', kept.confirmations)} AND {_OF_LIVE_BARS}"
        gone[CONFIRMATIONS] = delete_rows(database, "ib_requests", condition, stopped=stopped, batch=batch)
    gone["fill_imports"] = delete_rows(database, "fill_imports", _UNFINISHED_UPLOADS, stopped=stopped, batch=batch)
    gone["instrument_lookups"] = delete_rows(
        database, "instrument_lookups", _EXPIRED_REFUSALS, stopped=stopped, batch=batch
    )
    if kept.runs:
        gone |= forget_runs(database, kept.runs, stopped, batch=batch)
    if not stopped():
        with database.transaction() as cursor:
            chunk_counts.fold(cursor)
    with database.transaction() as cursor:
        now = status.market_now(cursor)
    gone["pnl_minutes"] = delete_rows(
        database, "pnl_minutes", f"minute < {now - _MINUTES_NS:d}", stopped=stopped, batch=batch
    )
    for name, days in kept.bars.items():
        limit = now - days * NS_PER_DAY
        with database.transaction() as cursor:
            cursor.execute("SELECT id FROM series WHERE timeframe = %s ORDER BY id", (name,))
            ids = scalars(cursor, int)
        gone[f"bars of {name}"] = sum(
            forget_bars(database, series_id, limit, stopped=stopped, at_once=bars_at_once) for series_id in ids
        )
    return gone


_EXPIRED_REFUSALS = "cardinality(con_ids) = 0 AND expires_at < statement_timestamp() - interval '1 day'"
"""Words that IB did not know a day ago and nobody has looked up since. What it knew stays, however old."""

_UNFINISHED_UPLOADS = "state = 'uploading' AND at < statement_timestamp() - interval '1 day'"
"""Files of fills that nobody finished: nothing of them was written. Their parts go with them."""


def _old_rows(database: Database, table: str, when: str, *, days: int, stopped: Callable[[], bool], batch: int) -> int:
    if not days:
        return 0
    version = _VERSION.get(table)
    noting = _NOTING.format(version=version, when=when) if version else ""
    return delete_rows(database, table, older(when, days), stopped=stopped, batch=batch, noting=noting)


def drop_empty(database: Database) -> int:
    """Let go of chunks in which no bar is left; returns how many. On plain PostgreSQL there are none."""
    dropped = 0
    for table in timescale.HYPERTABLES:
        with database.transaction() as cursor:
            dropped += timescale.drop_empty(cursor, table)
    return dropped


def recompress(database: Database, stopped: Callable[[], bool] = lambda: False) -> tuple[int, int]:
    """Store quiet chunks of bars by column; returns how many were, and how many have to wait for the next time because
    somebody was busy there. On plain PostgreSQL there are none."""
    done = waiting = 0
    for table in timescale.HYPERTABLES:
        frames = [frame.name for frame in ALL if table_of(frame) == table]
        with database.transaction() as cursor:
            chunks = timescale.chunks_to_convert(cursor, table, frames, status.market_now(cursor))
        for chunk in chunks:
            if stopped():
                break
            with database.transaction() as cursor:
                converted = timescale.convert(cursor, chunk)
            done, waiting = done + converted, waiting + (not converted)
    return done, waiting


@contextmanager
def alone(url: str) -> Iterator[bool]:
    """While the block lasts nobody else forgets or moves bars, nor copies the database; False: somebody is at it."""
    with closing(plain_connection(url, name="nautilus-retention")) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", (_LOCK,))
            yield bool(cursor.fetchone()[0])


def main() -> None:
    settings = load(RetentionSettings)
    try:
        counts = run(settings.database_url.get_secret_value(), kept_of(settings))
    except Unavailable as away:
        raise SystemExit(f"nothing was forgotten: {away}") from None
    except Busy:
        raise SystemExit("another process forgets, or copies the database") from None
    for what, count in counts.items():
        print(f"{what}: {count}" + ("" if what in (DROPPED, STORED, LEFT) else " rows forgotten"))


if __name__ == "__main__":
    main()
