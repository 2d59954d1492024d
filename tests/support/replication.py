"""A primary and a standby that follows it by streaming, for tests of reading from a replica.

Always our own servers, whatever NAUTILUS_TEST_DSN says: the tests stop replay, kill the standby and restart the primary.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg2

from dev.postgres import Postgres, start_postgres, start_standby
from dev.process import Group
from nautilus.db.migrate import upgrade
from tests.conftest import execute, unconnected

TEMPLATE = "template_nautilus"
_PATIENCE_S = 20.0


def ask(dsn: str, query: str, *values: Any) -> Any:
    """The first value of a query's answer, if it has one; each statement commits by itself."""
    with closing(psycopg2.connect(dsn)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(query, values or None)
            return cursor.fetchone()[0] if cursor.description else None


def wait_for(question: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not question():
        assert time.monotonic() < deadline, f"waited {_PATIENCE_S:g} s in vain: {what}"
        time.sleep(0.005)


class Pair:
    """Two servers. `primary` has a database TEMPLATE in which the migrations ran."""

    def __init__(self, group: Group, folder: Path) -> None:
        self._group = group
        self._folder = folder
        self.primary = start_postgres(group, folder / "primary", durable=False)
        self.primary.child.wait_ready()
        # Tests ask for what was committed just now. The copy takes this setting along.
        execute(self.primary, "ALTER ROLE nautilus SET synchronous_commit = on")
        execute(self.primary, "ALTER SYSTEM SET wal_retrieve_retry_interval = '50ms'")
        execute(self.primary, f"CREATE DATABASE {TEMPLATE}")
        upgrade(self.primary.dsn(TEMPLATE))
        self.standby = self.another("standby")
        with unconnected(self.primary, TEMPLATE):
            pass

    def another(self, name: str) -> Postgres:
        """One more standby."""
        standby = start_standby(self._group, self._folder / name, self.primary, durable=False)
        standby.child.wait_ready()
        return standby

    def copied(self, dsn: str) -> str:
        """The standby's copy of a database."""
        return self.standby.dsn(urlsplit(dsn).path[1:])

    def catch_up(self, standby: Postgres | None = None) -> None:
        """Wait until the standby shows all that the primary has committed."""
        # Where the primary writes now would not do: what no commit follows (hints, its own notes) is not sent.
        reached = self.mark()
        shown = (standby or self.standby).dsn()
        wait_for(lambda: ask(shown, "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", reached), "replay")

    def mark(self) -> str:
        """Commit something: all that was written before is sent to the standby. Returns the place in the WAL."""
        place: str = ask(self.primary.dsn(), "SELECT pg_logical_emit_message(true, '', '')")
        return place

    def pause(self) -> None:
        """From here on the standby gets what is written, but does not show it."""
        self.catch_up()
        ask(self.standby.dsn(), "SELECT pg_wal_replay_pause()")
        wait_for(lambda: ask(self.standby.dsn(), "SELECT pg_get_wal_replay_pause_state()") == "paused", "the pause")

    def resume(self) -> None:
        ask(self.standby.dsn(), "SELECT pg_wal_replay_resume()")

    @contextmanager
    def paused(self) -> Iterator[None]:
        self.pause()
        try:
            yield
        finally:
            self.resume()
        self.catch_up()

    @contextmanager
    def impatient(self) -> Iterator[None]:
        """Replay waits for no reader (max_standby_streaming_delay = 0)."""
        self._set_delay("0")
        try:
            yield
        finally:
            self._set_delay("30s")

    def _set_delay(self, delay: str) -> None:
        execute(self.standby, f"ALTER SYSTEM SET max_standby_streaming_delay = '{delay}'")
        ask(self.standby.dsn(), "SELECT pg_reload_conf()")
        wait_for(lambda: ask(self.standby.dsn(), "SHOW max_standby_streaming_delay") == delay, "the setting")

    @property
    def conflicts(self) -> int:
        """Readers that replay has cancelled or thrown out so far. The server's own counters may come 10 s later."""
        return self.standby.child.log.read_text().count("due to conflict with recovery")

    def kill_standby(self) -> None:
        """As a crash would."""
        ask(self.standby.dsn(), "CHECKPOINT")  # with little to replay it is soon back
        self._group.kill_child(self.standby.child)

    def start_standby(self) -> None:
        self.standby = start_standby(
            self._group, self._folder / "standby", self.primary, durable=False, port=self.standby.port
        )
        self.standby.child.wait_ready()

    def stop_primary(self) -> None:
        self._group.stop_child(self.primary.child)

    def start_primary(self) -> None:
        self.primary = start_postgres(self._group, self._folder / "primary", durable=False, port=self.primary.port)
        self.primary.child.wait_ready()
