"""Places of waiting reads, counted in Redis: none is lost for longer than a wait lasts, whatever dies or goes away."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest
import redis

from nautilus.infra.cache import Cache
from nautilus.infra.rate_limit import WAITS, CallerLimits

LASTS_S = 0.5
LONG_S = 60.0
_DIES_WAITING = """
import os, sys
from nautilus.infra.cache import Cache
from nautilus.infra.rate_limit import WAITS, CallerLimits
limits = CallerLimits(Cache(sys.argv[1]), 0, longest_wait_s=float(sys.argv[2]))
held = [limits.waiting("user:1") for _ in range(WAITS)]
assert all(wait.__enter__() for wait in held)
os._exit(9)
"""


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with closing(redis.Redis.from_url(redis_url)) as made:
        yield made


def limits_of(url: str, lasts_s: float = LASTS_S) -> CallerLimits:
    """The limits of one process."""
    return CallerLimits(Cache(url), 0, longest_wait_s=lasts_s)


def granted_in_the_end(limits: CallerLimits, within_s: float = 20) -> bool:
    """Whether a caller that asks ten times a second, as an impatient one does, gets a place again."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        with limits.waiting("user:1") as granted:
            if granted:
                return True
        time.sleep(LASTS_S / 5)
    return False


@pytest.mark.parametrize(("lasts_s", "free"), [(LASTS_S, True), (3_600.0, False)])
def test_places_of_a_process_that_died_waiting_are_free_again(redis_url: str, lasts_s: float, free: bool) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", _DIES_WAITING, redis_url, str(lasts_s)]
    assert subprocess.run(command, env=environment, check=False).returncode == 9
    assert granted_in_the_end(limits_of(redis_url), within_s=20 if free else 1) is free
    with limits_of(redis_url).waiting("user:2") as granted:
        assert granted


def test_asking_in_vain_keeps_no_place(redis_url: str, client: redis.Redis) -> None:
    with ExitStack() as held:
        for _ in range(WAITS):
            assert held.enter_context(limits_of(redis_url).waiting("user:1"))
        for _ in range(3):
            with limits_of(redis_url).waiting("user:1") as granted:
                assert not granted
        assert client.zcard("nautilus:waiting:user:1") == WAITS
    assert client.keys("*") == []


def test_an_eviction_while_reads_wait_leaves_as_many_places_as_before(redis_url: str, client: redis.Redis) -> None:
    with limits_of(redis_url, LONG_S).waiting("user:1") as granted:
        assert granted
        client.flushall()
    with ExitStack() as held:
        requested = [held.enter_context(limits_of(redis_url, LONG_S).waiting("user:1")) for _ in range(WAITS + 1)]
    assert requested == [True] * WAITS + [False]
    assert client.keys("*") == []


def test_a_redis_that_is_away_when_waits_end_keeps_their_places_no_longer_than_they_last(
    redis_url: str, client: redis.Redis
) -> None:
    with ExitStack() as held:
        for _ in range(WAITS):
            assert held.enter_context(limits_of(redis_url).waiting("user:1"))
        client.client_pause(1_000)  # longer than anybody waits for an answer of Redis
    client.get("")  # answered when the pause is over
    assert granted_in_the_end(limits_of(redis_url))


def test_a_counter_of_requests_never_stays_for_ever(redis_url: str, client: redis.Redis) -> None:
    CallerLimits(Cache(redis_url), 5).take("user:1")
    (key,) = client.keys("*")
    assert 0 < client.ttl(key) <= 120
