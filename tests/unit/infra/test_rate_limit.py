"""What one caller may take of a process, without Redis."""

import pytest

from nautilus.errors import RateLimited
from nautilus.infra.cache import Cache
from nautilus.infra.rate_limit import WAITS, CallerLimits, Rate


def take(limits: CallerLimits, caller: str) -> Rate:
    rate = limits.take(caller)
    assert rate is not None
    return rate


def test_a_minutes_share_is_counted_by_caller_and_begins_anew():
    now = [120.0]
    limits = CallerLimits(Cache(""), 3, lambda: now[0])
    rates = [take(limits, "user:1") for _ in range(4)]
    assert [rate.left for rate in rates] == [2, 1, 0, -1]
    CallerLimits.check(rates[2])
    with pytest.raises(RateLimited) as refused:
        CallerLimits.check(rates[3])
    assert refused.value.retry_after_s == 60
    assert rates[3].headers == {"RateLimit-Policy": '"reads";q=3;w=60', "RateLimit": '"reads";r=0;t=60'}
    assert take(limits, "user:2").left == 2
    now[0] = 179.4
    assert take(limits, "user:1").reset_s == 1
    now[0] = 180.0
    assert take(limits, "user:1").left == 2


def test_no_limit():
    assert CallerLimits(Cache(""), 0).take("user:1") is None
    CallerLimits.check(None)


def test_waits_are_counted_while_they_last():
    limits = CallerLimits(Cache(""), 0)
    held = [limits.waiting("a") for _ in range(WAITS + 1)]
    assert [wait.__enter__() for wait in held] == [True] * WAITS + [False]
    with limits.waiting("b") as granted:
        assert granted
    for wait in held:
        wait.__exit__(None, None, None)
    with limits.waiting("a") as granted:
        assert granted


def test_without_an_address_nothing_is_kept():
    cache = Cache("")
    assert not cache.there
    cache.put("a", b"1", 10)
    assert (cache.get("a"), cache.count("a", 10)) == (None, None)


def test_a_redis_that_fails_is_left_alone_for_a_while():
    cache = Cache("redis://127.0.0.1:1/0")
    assert cache.there
    assert cache.get("a") is None
    assert not cache.there


def test_a_place_that_is_never_given_back_is_free_again_after_the_longest_wait():
    now = [120.0]
    limits = CallerLimits(Cache(""), 0, lambda: now[0])
    held = [limits.waiting("a") for _ in range(WAITS)]
    assert [wait.__enter__() for wait in held] == [True] * WAITS
    with limits.waiting("a") as granted:
        assert not granted
    now[0] += 31
    with limits.waiting("a") as granted:
        assert granted
