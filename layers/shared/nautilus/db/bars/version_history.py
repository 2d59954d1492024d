"""Which versions of a series there were when, and from which on its bars can still be given."""

from typing import NamedTuple

from nautilus.clock import NS_PER_DAY, datetime_of
from nautilus.db.cursor import Cursor
from nautilus.db.ranges import int8range
from nautilus.db.rows import one, one_or_none, scalar_or_none
from nautilus.spans import Span

LATEST_NS = 2**63 - 1 - NS_PER_DAY
"""No commit is later than this."""


class Forgotten(NamedTuple):
    """The newest version of which changes were forgotten. Bars of older ones cannot be given; those of this one and later can."""

    version: int
    at_ns: int


def forgotten(cursor: Cursor, series_id: int) -> Forgotten | None:
    """None: the bars of every version can be given."""
    cursor.execute(
        "SELECT version, (extract(epoch FROM at) * 1000000000)::bigint AS at_ns FROM forgotten_versions"
        " WHERE series_id = %s",
        (series_id,),
    )
    return one_or_none(cursor, Forgotten)


def newest_by(cursor: Cursor, series_id: int, machine_ns: int) -> int | None:
    """The highest version that is known to have been committed by a time; None: there is none.

    A version that changed coverage alone has left no time; its bars are those of the version before.
    """
    at = datetime_of(min(machine_ns, LATEST_NS))
    cursor.execute(
        "SELECT greatest("
        "(SELECT max(version) FROM series_changes WHERE series_id = %s AND committed_at <= %s),"
        " (SELECT max(until_version) FROM bar_revisions WHERE series_id = %s AND changed_at <= %s),"
        " (SELECT version FROM forgotten_versions WHERE series_id = %s AND at <= %s))",
        (series_id, at) * 3,
    )
    return scalar_or_none(cursor, int)


class _Loss(NamedTuple):
    changes: bool
    bars: bool


def is_lost(cursor: Cursor, series_id: int, version: int, span: Span) -> bool:
    """True when something is gone that the bars of a range at `version` would be made from: the bars themselves, which
    leave no revision when they are forgotten, or later changes."""
    cursor.execute(
        "SELECT EXISTS (SELECT 1 FROM forgotten_versions WHERE series_id = %s AND version > %s) AS changes,"
        " EXISTS (SELECT 1 FROM series_changes WHERE series_id = %s AND version > %s AND removed && %s::int8range) AS bars",
        (series_id, version, series_id, version, int8range(span)),
    )
    loss = one(cursor, _Loss)
    return loss.changes or loss.bars


def last_arrival(cursor: Cursor, series_id: int, span: Span) -> int:
    """The last version that brought a bar where there was none in a range; 0: none that is known."""
    cursor.execute(
        "SELECT greatest((SELECT max(version) FROM series_changes WHERE series_id = %s AND added && %s::int8range),"
        " (SELECT max(until_version) FROM bar_revisions WHERE series_id = %s AND ts >= %s AND ts < %s AND open IS NULL))",
        (series_id, int8range(span), series_id, *span),
    )
    return scalar_or_none(cursor, int) or 0
