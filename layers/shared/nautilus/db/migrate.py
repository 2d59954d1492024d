"""Bring a database to this version's schema: `python -m nautilus.db.migrate`. Safe to run at any time, and twice.

In two halves, as functions and bridge are never replaced in the same second. The first, before a deployment, only adds:
what runs still works. The second, `--after`, when nothing old runs any more, removes. A migration that removes says
`phase = "contract"`; one that follows it in a later release waits for nobody, as by then nothing old runs either.
"""

import argparse
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Literal

import psycopg2

from nautilus.db import timescale
from nautilus.db.connection import plain_connection
from nautilus.errors import Unavailable
from nautilus.settings.base import load
from nautilus.settings.bridge import MigrateSettings

# One migration at a time, whoever starts it. The number is arbitrary and ours alone.
ADVISORY_LOCK = 7_243_392_110
FOLDER = Path(__file__).parent / "migrations"
_ATTEMPTS = 20
LOCK_WAIT_MS = 2_000
"""A migration that waits for a table makes everybody behind it wait: it gives up after this time and tries again."""

Phase = Literal["expand", "contract"]


def upgrade(
    url: str,
    revision: str | None = None,
    *,
    phase: Phase = "contract",
    folder: Path = FOLDER,
    lock_wait_ms: int = LOCK_WAIT_MS,
) -> str:
    """Run the migrations that are missing, each in its own transaction; then make hypertables where Timescale is there.

    revision: how far; absent: as far as the phase allows (`contract`: all). lock_wait_ms: how long one attempt waits for a
    table. Returns which storage is in use, in words.
    """
    # Imported here: Alembic and SQLAlchemy are in the bridge's image, not in a function's.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(folder))
    config.attributes["url"] = url
    config.attributes["lock_timeout"] = f"{lock_wait_ms}ms"
    target = revision or last_of(ScriptDirectory.from_config(config), phase)
    attempt = 0
    while True:
        attempt += 1
        try:
            # Each time another connection: where making TimescaleDB's extension was undone, it cannot be made again.
            with _alone(url) as connection:
                if not _has_run(connection, ScriptDirectory.from_config(config), target):
                    command.upgrade(config, target)
                with connection, connection.cursor() as cursor:
                    cursor.execute("SELECT set_config('lock_timeout', %s, true)", (f"{lock_wait_ms}ms",))
                    return timescale.adopt(cursor)
        except Exception as error:
            refused = getattr(error, "orig", error)  # Alembic's driver wraps PostgreSQL's own error
            if attempt == _ATTEMPTS or not isinstance(refused, psycopg2.errors.LockNotAvailable):
                raise


def is_current(url: str) -> bool:
    """Whether the database has this version's schema, or a newer one. Unavailable when it cannot be reached."""
    from alembic.script import ScriptDirectory

    with closing(plain_connection(url, name="nautilus-migrate")) as connection:
        return _has_run(connection, ScriptDirectory(str(FOLDER)), "head")


def last_of(scripts: Any, phase: Phase) -> str:
    """The revision a phase goes to: the newest one, or for `expand` the newest one that does not remove."""
    for script in scripts.walk_revisions():
        if phase == "contract" or getattr(script.module, "phase", "expand") == "expand":
            return str(script.revision)
    return "base"


def _has_run(connection: Any, scripts: Any, target: str) -> bool:
    """True when the database is at `target` or beyond (beyond: after the second half, or by a newer version's code)."""
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('alembic_version') IS NOT NULL")
        if not cursor.fetchone()[0]:
            return False
        cursor.execute("SELECT version_num FROM alembic_version")
        row = cursor.fetchone()
    if row is None:
        return False
    if target == "head":
        target = str(scripts.get_current_head())
    known = [str(script.revision) for script in scripts.walk_revisions()]  # newest first
    return row[0] not in known or target not in known or known.index(row[0]) <= known.index(target)


@contextmanager
def _alone(url: str) -> Iterator[Any]:
    """A connection that holds the migration lock: whoever comes second waits, and then finds nothing to do."""
    with closing(plain_connection(url, name="nautilus-migrate")) as connection:
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", (ADVISORY_LOCK,))
        yield connection


def main() -> int:
    parser = argparse.ArgumentParser(description="Bring the database to this version's schema.")
    parser.add_argument("--after", action="store_true", help="also remove what only the version before this one needed")
    phase: Phase = "contract" if parser.parse_args().after else "expand"
    settings = load(MigrateSettings)
    try:
        storage = upgrade(settings.database_url.get_secret_value(), phase=phase)
    except Unavailable as away:
        print(f"no migration: {away}", file=sys.stderr)
        return 1
    print(f"the database is up to date ({storage})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
