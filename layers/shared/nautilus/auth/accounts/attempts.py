"""Attempts to sign in. Each is counted as failed before it is judged: many at once would be free otherwise."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime

from nautilus.auth import principal
from nautilus.auth.login_throttle import ADDRESS, NAME, PAIR, Counter, Subjects
from nautilus.auth.principal import Client
from nautilus.db.auth import audit, login_failures, refresh_families, users
from nautilus.db.auth.users import User
from nautilus.db.connection import Database
from nautilus.db.cursor import Cursor
from nautilus.errors import NautilusError, RateLimited, Unauthorized, Unavailable
from nautilus.log import Log


@dataclass(frozen=True, slots=True)
class Attempt:
    """An admitted attempt, already counted as failed; `pause_s`: how long to wait before it is judged.

    before, counted_at: the counters before it was counted, and when that was.
    """

    subjects: Subjects
    pause_s: float
    before: Mapping[str, login_failures.Failures]
    counted_at: datetime


class Attempts:
    """The counters of attempts, and what is noted of those that are refused."""

    def __init__(self, db: Database, log: Log) -> None:
        self._db = db
        self._log = log

    def admit(self, name: str, client: Client) -> Attempt:
        """Count an attempt with this name, or RateLimited."""
        subjects = Subjects.of(name, client.address)
        with self._db.transaction() as cursor:
            before = login_failures.locked(cursor, subjects)
            counters = {subject: Counter(row.failures, row.idle_s) for subject, row in before.items()}
            wait_s = max(
                counters[subjects.pair].wait_s(PAIR),
                _address_wait_s(cursor, counters[subjects.address], name, client),
            )
            if not wait_s:
                counted_at = login_failures.count(cursor, {key: counter.now + 1 for key, counter in counters.items()})
        if wait_s:
            self._log.info("sign-in-throttled", extra={"address": client.address})
            seconds = math.ceil(wait_s)
            raise RateLimited(f"too many failed attempts; try again in {seconds} s", retry_after_s=seconds)
        return Attempt(subjects, NAME.delay_s(counters[subjects.name].now), before, counted_at)

    def give_back(self, attempt: Attempt) -> None:
        """Take back that an attempt was counted: it was never judged."""
        with self._db.transaction() as cursor:
            login_failures.uncount(cursor, attempt.before, attempt.counted_at)

    @contextmanager
    def unjudged(self, attempt: Attempt) -> Iterator[None]:
        """A block in which a database that is away is no failure of who signs in: the attempt is given back."""
        try:
            yield
        except Unavailable:
            with suppress(Unavailable):  # the same that went wrong: then it stays counted
                self.give_back(attempt)
            raise

    def forgive(self, attempt: Attempt) -> None:
        """After a success: the attempt was no failure. Counters and sessions that are old are removed, for everybody."""
        subjects = attempt.subjects
        with self._db.transaction() as cursor:
            login_failures.forgive(cursor, subjects.pair, (subjects.address, subjects.name))
            login_failures.forget_old(cursor)
            refresh_families.forget_old(cursor)

    def refused(
        self, action: str, user: User | None, client: Client, error: NautilusError | None = None
    ) -> NautilusError:
        """The error to raise, after the refusal has been noted. What was typed is not noted: it may be a password."""
        actor = f"user:{user.id}" if user is not None else "unknown"
        with self._db.transaction() as cursor:
            audit.record(cursor, action, actor=actor, client=client, refused=True)
        self._log.info("sign-in-refused", extra={"action": action, "actor": actor, "address": client.address})
        return error or Unauthorized("the name or the password is wrong", code="invalid-credentials")


def find_user(cursor: Cursor, name: str) -> User | None:
    """The user of a name as typed. A name that nobody can have is looked up too: the same work."""
    return users.by_login(cursor, principal.login_name(name) or "")


def _address_wait_s(cursor: Cursor, counter: Counter, name: str, client: Client) -> float:
    """How long this address has to wait. What others do there does not close it to a user who has signed in from it."""
    wait_s = counter.wait_s(ADDRESS)
    if wait_s:
        user = find_user(cursor, name)
        if user is not None and refresh_families.seen_from(cursor, user.id, client.address):
            return 0.0
    return wait_s
