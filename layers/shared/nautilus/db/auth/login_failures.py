"""Counters of failed attempts to sign in. An attempt is counted before it is judged: many at once are not free."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import NamedTuple

from nautilus.db.cursor import Cursor
from nautilus.db.rows import every, scalar


class Failures(NamedTuple):
    """The counter of one subject; `idle_s`: seconds since the last failure."""

    subject: str
    failures: int
    last_failed_at: datetime
    idle_s: float


def locked(cursor: Cursor, subjects: Iterable[str]) -> Mapping[str, Failures]:
    """The counters of these subjects, made where there are none, alone in our hands until the transaction ends."""
    ordered = sorted(subjects)
    cursor.execute(
        "INSERT INTO login_failures (subject) SELECT unnest(%s) ON CONFLICT (subject) DO UPDATE SET subject ="
        " excluded.subject RETURNING subject, failures, last_failed_at,"
        " extract(epoch FROM clock_timestamp() - last_failed_at)::float8 AS idle_s",
        (ordered,),
    )
    return {row.subject: row for row in every(cursor, Failures)}


def count(cursor: Cursor, failures: Mapping[str, int]) -> datetime:
    """Set the counters, whose rows are locked; the last failure is now. Returns when that is."""
    cursor.execute(
        "WITH moment AS MATERIALIZED (SELECT clock_timestamp() AS at)"
        " UPDATE login_failures f SET failures = n.failures, last_failed_at = moment.at"
        " FROM moment, unnest(%s::text[], %s::integer[]) AS n(subject, failures) WHERE f.subject = n.subject"
        " RETURNING moment.at",
        (list(failures), list(failures.values())),
    )
    return scalar(cursor, datetime)


def uncount(cursor: Cursor, before: Mapping[str, Failures], counted_at: datetime) -> None:
    """Take back an attempt that was counted at a given time and never judged. A counter that nobody has raised since is as it
    was before; any other lacks one failure."""
    cursor.execute(
        "SELECT 1 FROM login_failures WHERE subject = ANY(%s) ORDER BY subject FOR UPDATE", (sorted(before),)
    )
    cursor.execute(
        "UPDATE login_failures f SET"
        " failures = CASE WHEN f.last_failed_at = %(at)s THEN b.failures ELSE greatest(0, f.failures - 1) END,"
        " last_failed_at = CASE WHEN f.last_failed_at = %(at)s THEN b.last_failed_at ELSE f.last_failed_at END"
        " FROM unnest(%(subjects)s::text[], %(failures)s::integer[], %(moments)s::timestamptz[])"
        "  AS b(subject, failures, last_failed_at) WHERE f.subject = b.subject",
        {
            "at": counted_at,
            "subjects": list(before),
            "failures": [row.failures for row in before.values()],
            "moments": [row.last_failed_at for row in before.values()],
        },
    )


def forgive(cursor: Cursor, whole: str, one: Iterable[str]) -> None:
    """After a success: forget the counter `whole`, and in the others the attempt that was no failure.

    `whole` comes last in the order of names, in which `locked` takes them too: two of us cannot wait for each other.
    """
    for subject in sorted(one):
        cursor.execute("UPDATE login_failures SET failures = greatest(0, failures - 1) WHERE subject = %s", (subject,))
    cursor.execute("DELETE FROM login_failures WHERE subject = %s", (whole,))


def forget_old(cursor: Cursor) -> None:
    """Remove counters that were not raised for a day, except what somebody else has in hand."""
    # Not clock_timestamp(): no index is used for what may change from row to row.
    cursor.execute(
        "DELETE FROM login_failures WHERE subject IN (SELECT subject FROM login_failures"
        " WHERE last_failed_at < statement_timestamp() - interval '1 day' FOR UPDATE SKIP LOCKED)"
    )
