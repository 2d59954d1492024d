"""Counters of failed attempts to sign in. An attempt is counted before it is judged: many at once are not free."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from nautilus.db.connection import Cursor


class Row(NamedTuple):
    """failures, and seconds since the last one."""

    failures: int
    idle_s: float


def locked(cursor: Cursor, subjects: Iterable[str]) -> Mapping[str, Row]:
    """The counters of these subjects, made where there are none, alone in our hands until the transaction ends."""
    ordered = sorted(subjects)
    cursor.execute(
        "INSERT INTO login_failures (subject) SELECT unnest(%s) ON CONFLICT (subject) DO UPDATE SET subject ="
        " excluded.subject RETURNING subject, failures, extract(epoch FROM clock_timestamp() - last_failed_at) AS idle_s",
        (ordered,),
    )
    return {row.subject: Row(row.failures, float(row.idle_s)) for row in cursor.fetchall()}


def count(cursor: Cursor, failures: Mapping[str, int]) -> None:
    """Set the counters; the last failure is now."""
    for subject in sorted(failures):
        cursor.execute(
            "UPDATE login_failures SET failures = %s, last_failed_at = clock_timestamp() WHERE subject = %s",
            (failures[subject], subject),
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
