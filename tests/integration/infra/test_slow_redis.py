"""A Redis whose bytes come one by one, or that holds and says what nobody understands: reads go on without it."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import redis

from nautilus.infra.cache import Cache
from tests.support.markets import MINUTE, ns, nyse
from tests.support.neighbours import relay
from tests.support.stored_bars import BARS, StoredBars, stock

NOW = ns("2024-01-12 17:00", "America/New_York")
START = ns("2024-01-12 09:30", "America/New_York")
REQUESTED: dict[str, Any] = {"symbol": "AAPL", "timeframe": "1m", "start": START, "end": START + 390 * MINUTE}


@pytest.fixture
def stored_bars(dsn: str) -> Iterator[StoredBars]:
    made = StoredBars(dsn, NOW)
    made.instrument(stock(), nyse(date(2023, 12, 1), 60))
    made.record_session(START, NOW)
    yield made
    made.close()


def test_an_answer_that_comes_byte_by_byte_is_given_up(redis_url: str) -> None:
    with relay(redis_url) as between, ThreadPoolExecutor(1) as threads:
        cache = Cache(between.before(redis_url))
        value = os.urandom(100_000)
        cache.put("large", value, 60)
        assert cache.get("large") == value
        between.drip_s = 0.02
        requested = threads.submit(cache.get, "large")
        try:
            assert requested.result(60) is None
            assert not cache.there, "it is left alone for a while"
        finally:
            between.drip_s = 0.0
        cache.close()


def test_reads_are_answered_while_redis_answers_byte_by_byte(
    stored_bars: StoredBars, redis_url: str, tmp_path: Path
) -> None:
    with relay(redis_url) as between, ThreadPoolExecutor(1) as threads:
        api = stored_bars.api(tmp_path, redis_url=between.before(redis_url))
        assert api.get(BARS, params=REQUESTED).json()["total"] == 390
        assert "hit" in api.get(BARS, params=REQUESTED).headers["Server-Timing"]
        between.drip_s = 0.05
        requested = threads.submit(api.get, BARS, params=REQUESTED)
        try:
            assert requested.result(60).json()["total"] == 390
        finally:
            between.drip_s = 0.0


@pytest.mark.parametrize("value", [b"", b"\n", b"nonsense", b"[1]\nbody", b'{"ETag": '])
def test_what_lies_in_redis_and_is_not_ours_is_no_answer(
    stored_bars: StoredBars, redis_url: str, tmp_path: Path, value: bytes
) -> None:
    api = stored_bars.api(tmp_path, redis_url=redis_url)
    assert api.get(BARS, params=REQUESTED).json()["total"] == 390
    with closing(redis.Redis.from_url(redis_url)) as client:
        kept = client.keys("nautilus:bars:*")
        assert len(kept) == 1
        client.set(kept[0], value)
    answer = api.get(BARS, params=REQUESTED)
    assert (answer.status_code, answer.json()["total"]) == (200, 390)
