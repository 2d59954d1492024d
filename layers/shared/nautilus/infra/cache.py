"""Redis as a cache: complete answers, and counters. Every failure of it is harmless.

Calls give up when nothing comes for a tenth of a second, or not all within half a second; after a failure none is made for a
few seconds. Without Redis nothing is kept.
"""

import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from nautilus.infra.breaker import Breaker
from nautilus.infra.executors import Executor

T = TypeVar("T")
_CONNECT_S = 0.1
_ANSWER_S = 0.1
_WHOLE_ANSWER_S = 0.5
"""An answer whose bytes keep coming, each in time, is given up, too."""
_REST_S = 5.0
"""How long a Redis that failed is left alone."""
_THREADS = 4
MAX_BYTES = 8 * 1024 * 1024
"""Larger values are not kept."""
# A sorted set: holder -> when its slot expires. It goes when the last slot does.
_HOLD = """
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now_ms)
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
redis.call('ZADD', KEYS[1], now_ms + ARGV[3], ARGV[1])
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[3]) then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
return 1
"""


class _PatientSocket:
    """A connected socket whose answer to what was sent last has to be there, all of it, within `_WHOLE_ANSWER_S`."""

    def __init__(self, connected: Any) -> None:
        self._connected = connected
        self._deadline = time.monotonic() + _WHOLE_ANSWER_S

    def sendall(self, *args: Any) -> None:
        self._deadline = time.monotonic() + _WHOLE_ANSWER_S
        self._connected.sendall(*args)

    def recv(self, *args: Any) -> Any:
        # Without a time-out this only checks whether anything has come, on a connection that nobody used for a while.
        if self._connected.gettimeout() and time.monotonic() > self._deadline:
            raise TimeoutError("the answer takes too long")
        return self._connected.recv(*args)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connected, name)


def _patient(connection: type) -> type:
    """The same class of the library's connections (plain, TLS or of a file), with a patient socket."""

    class Patient(connection):  # type: ignore[misc]  # whichever class it is
        def _connect(self) -> _PatientSocket:
            return _PatientSocket(super()._connect())

    return Patient


class Cache:
    """A cache of one process's connection to Redis; safe to share between threads. An empty URL: no cache.

    breaker: what leaves a Redis alone that failed.
    """

    def __init__(self, url: str, breaker: Breaker | None = None) -> None:
        self._url = url
        self._client: Any = None
        self._lock = threading.Lock()
        self._breaker = breaker or Breaker(_REST_S)
        self.threads = Executor("redis", _THREADS)
        """The threads in which coroutines call Redis."""

    @property
    def there(self) -> bool:
        """True when Redis is configured and did not just fail."""
        return bool(self._url) and not self._breaker.resting

    def get(self, key: str) -> bytes | None:
        found = self._try(lambda client: client.get(key))
        return found if isinstance(found, bytes) else None

    def put(self, key: str, value: bytes, keep_s: int) -> None:
        if len(value) <= MAX_BYTES:
            self._try(lambda client: client.set(key, value, ex=keep_s))

    def count(self, key: str, keep_s: int) -> int | None:
        """Raise a counter that lives `keep_s` from now on and return it; None when nobody counts."""

        def raised(client: Any) -> int:
            # As one: a counter whose expiry gets lost on the way would stay for ever.
            with client.pipeline(transaction=True) as commands:
                commands.incr(key).expire(key, keep_s)
                return int(commands.execute()[0])

        return self._try(raised)

    def hold(self, key: str, holder: str, most: int, keep_s: float) -> bool | None:
        """Have `holder` hold one of `most` slots until it is released, at most `keep_s`; None when nobody counts.

        Each slot expires by itself, by Redis' own clock: who dies, or finds Redis away, keeps none for longer.
        """
        keep_ms = max(1, round(keep_s * 1000))
        held = self._try(lambda client: client.eval(_HOLD, 1, key, holder, most, keep_ms))
        return None if held is None else bool(held)

    def release(self, key: str, holder: str) -> None:
        """Let go of a slot."""
        self._try(lambda client: client.zrem(key, holder))

    def _try(self, call: Callable[[Any], T]) -> T | None:
        if not self._url or not self._breaker.admits():
            return None
        # Not at the top: redis costs a tenth of a second at import, and the breaker must catch its errors by name.
        import redis

        began = self._breaker.clock()
        try:
            found = call(self._connected())
        except (
            redis.RedisError,
            OSError,
            ValueError,
        ):  # the last: its client reads numbers where something else speaks
            self._breaker.failed(began)
            return None
        self._breaker.succeeded(began)
        return found

    def _connected(self) -> Any:
        with self._lock:
            if self._client is None:
                import redis
                from redis.backoff import NoBackoff
                from redis.retry import Retry

                self._client = redis.Redis.from_url(
                    self._url,
                    socket_connect_timeout=_CONNECT_S,
                    socket_timeout=_ANSWER_S,
                    retry=Retry(NoBackoff(), 0),
                    health_check_interval=0,
                )
                pool = self._client.connection_pool
                pool.connection_class = _patient(pool.connection_class)
            return self._client

    def close(self) -> None:
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None
