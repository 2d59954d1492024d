"""A part of a transaction that may fail without ending the whole."""

from collections.abc import Callable
from typing import TypeVar

import psycopg2

from nautilus.db.cursor import Cursor
from nautilus.errors import Unavailable

T = TypeVar("T")
_OF_THE_CONNECTION = (psycopg2.OperationalError, psycopg2.InterfaceError, Unavailable)
"""Errors that are nobody's mistake: the connection is gone, two transactions met. They end the transaction; it is tried again.
(A value that is too large for an index is called an operational error, too, and would fail for ever.)"""


class Failed(Exception):
    """What was tried has failed, and is undone. The reason is its cause, and its text."""


def attempt(cursor: Cursor, work: Callable[[], T]) -> T:
    """Do some work; Failed when it cannot be done, and then nothing of it is left. Errors of the connection come as they are."""
    cursor.execute("SAVEPOINT attempt")
    try:
        done = work()
    except Exception as reason:
        if isinstance(reason, _OF_THE_CONNECTION) and not isinstance(reason, psycopg2.errors.ProgramLimitExceeded):
            raise
        cursor.execute("ROLLBACK TO SAVEPOINT attempt; RELEASE SAVEPOINT attempt")
        raise Failed(f"{type(reason).__name__}: {reason}") from reason
    cursor.execute("RELEASE SAVEPOINT attempt")
    return done
