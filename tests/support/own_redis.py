"""A Redis of a test's own, which can be killed, frozen and started again with the same port and password."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from dev.environment import inherited
from dev.process import Group
from dev.redis import Redis, redis_binary, start_redis


class OwnRedis:
    """The server and what happens to it."""

    def __init__(self, group: Group, folder: Path) -> None:
        self._group = group
        self._folder = folder
        made: Redis = start_redis(group, folder)
        made.child.wait_ready()
        self.url = made.url
        self._child = made.child

    def kill(self) -> None:
        """SIGKILL: all that it holds is lost."""
        self._group.kill_child(self._child)

    def start(self) -> None:
        """Start it again, empty."""
        log = self._folder / f"redis-{time.monotonic_ns()}.log"
        self._child = self._group.start(
            "redis",
            [redis_binary() or "", str(self._folder / "redis.conf")],
            env=inherited(),
            log=log,
            ready=lambda child: child.logged("Ready to accept connections"),
        )
        self._child.wait_ready()

    def freeze(self) -> None:
        """SIGSTOP: it takes connections and what is sent, and answers nothing."""
        os.kill(self._child.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self._child.pid, signal.SIGCONT)

    def flush(self) -> None:
        cache = redis.Redis.from_url(self.url)
        cache.flushall()
        cache.close()


@contextmanager
def own_redis(folder: Path) -> Iterator[OwnRedis]:
    with Group() as group:
        yield OwnRedis(group, folder)
