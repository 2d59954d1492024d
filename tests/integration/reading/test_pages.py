"""Pages cannot shear: whatever is written meanwhile, a client that pages sees exactly what its first page saw."""

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from nautilus.db import retention_bars
from nautilus.market.bar import Bar
from tests.support.markets import MINUTE, ns, nyse
from tests.support.stored_bars import BARS, Api, StoredBars, stock

NOW = ns("2024-01-12 17:00", "America/New_York")
START, END = ns("2024-01-08 09:30", "America/New_York"), ns("2024-01-08 16:00", "America/New_York")
SLOTS = range(START, END, MINUTE)
FIELDS = "ts,open,close,volume,vwap,trades"


class Writer:
    """Writes what a bridge at full speed may write, and remembers what the series was at each version."""

    def __init__(self, stored_bars: StoredBars, seed: int) -> None:
        self._stored_bars = stored_bars
        self._chance = random.Random(seed)
        self._bars: dict[int, Bar] = {}
        self.history: dict[int, list[Bar]] = {0: []}
        self.version = 0

    def write(self) -> None:
        """New stretches, scattered new bars among old ones, revisions, and answers that change nothing."""
        chance = self._chance
        first = chance.choice(SLOTS)
        kind = chance.random()
        if kind < 0.4:  # a run
            stamps = [ts for ts in range(first, first + chance.randrange(1, 90) * MINUTE, MINUTE) if ts < END]
        elif kind < 0.7:  # many single bars
            stamps = sorted(chance.sample(SLOTS, chance.randrange(1, 60)))
        else:  # what is there, revised
            known = sorted(self._bars) or [first]
            stamps = sorted(chance.sample(known, chance.randrange(1, 1 + min(40, len(known)))))
        rows = [self._bar(ts) for ts in stamps]
        settled = [(stamps[0], stamps[-1] + MINUTE)] if chance.random() < 0.5 else []
        changed = any(self._bars.get(row.ts) != row for row in rows)
        after = {**self._bars, **{row.ts: row for row in rows}}
        # A reader may see the new version as soon as it is committed, so it is remembered before.
        self.history[self.version + 1] = [after[ts] for ts in sorted(after)]
        self._stored_bars.record(stock(), "1m", rows, settled=settled)
        self._bars = after
        now = self._stored_bars.rows("SELECT data_version FROM series")[0][0]
        assert now - self.version in (0, 1)
        assert now > self.version or not changed
        self.version = now

    def _bar(self, ts: int) -> Bar:
        chance = self._chance
        if ts in self._bars and chance.random() < 0.3:
            return self._bars[ts]
        price = round(chance.uniform(90, 110), 2)
        volume = None if chance.random() < 0.1 else float(chance.randrange(1000))
        return Bar(
            ts, price, price + 1, price - 1, price, volume, None if volume is None else price, chance.randrange(50)
        )

    @contextmanager
    def running(self) -> Iterator[None]:
        """Writes at full speed beside what is done meanwhile, and must not fail."""
        over = threading.Event()
        failures: list[BaseException] = []

        def work() -> None:
            try:
                while not over.is_set():
                    self.write()
            except BaseException as failure:
                failures.append(failure)

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join(30)
        assert not failures


@pytest.fixture
def stored_bars(dsn: str) -> Iterator[StoredBars]:
    made = StoredBars(dsn, NOW)
    made.instrument(stock(), nyse(date(2023, 12, 1), 60))
    yield made
    made.close()


def page(api: Api, limit: int, token: str | None, **query: Any) -> Any:
    requested = {
        "symbol": "AAPL",
        "timeframe": "1m",
        "start": START,
        "end": END,
        "limit": limit,
        "fields": FIELDS,
        "wait": 0,
    }
    answer = api.get(BARS, params={**requested, **query, **({"page_token": token} if token else {})})
    assert answer.status_code == 200, answer.text
    return answer.json()


def candles_of(bars: list[Bar]) -> list[dict[str, Any]]:
    return [{name: getattr(b, name) for name in FIELDS.split(",")} for b in bars]


@pytest.mark.parametrize("seed", range(25))
def test_pages_between_writes_are_the_first_pages_snapshot(stored_bars: StoredBars, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    writer = Writer(stored_bars, seed)
    api = stored_bars.api(tmp_path, anonymous_scopes=("bars:read",))
    for _ in range(chance.randrange(1, 6)):
        writer.write()
    sort = chance.choice(["asc", "desc"])
    token, seen, version = None, [], None
    while True:
        answer = page(api, chance.randrange(1, 60), token, sort=sort)
        version = answer["data_version"] if version is None else version
        assert answer["data_version"] == version
        seen += answer["candles"]
        token = answer["next_page_token"]
        if token is None:
            break
        for _ in range(chance.randrange(3)):
            writer.write()
    expected = candles_of(writer.history[version])
    assert seen == (expected if sort == "asc" else expected[::-1])


def test_while_a_writer_runs_at_full_speed_every_walk_is_one_snapshot(stored_bars: StoredBars, tmp_path: Path) -> None:
    writer = Writer(stored_bars, 99)
    writer.write()
    api = stored_bars.api(tmp_path, anonymous_scopes=("bars:read",))
    walks = []
    with writer.running():
        for n in range(12):
            token, seen, version = None, [], None
            while True:
                answer = page(api, 20 + n * 3, token)
                version = answer["data_version"] if version is None else version
                seen += answer["candles"]
                token = answer["next_page_token"]
                if token is None:
                    break
            walks.append((version, seen))
    assert writer.version > walks[0][0] + 12, "the writer hardly wrote"
    for version, seen in walks:
        assert seen == candles_of(writer.history[version])


def test_plain_keyset_paging_does_shear(stored_bars: StoredBars) -> None:
    """The same interleavings, read as most services read: the next rows after the last key. It must go wrong, or the
    tests above prove nothing."""
    sheared = 0
    writer = Writer(stored_bars, 5)
    writer.write()
    chance = random.Random(5)
    for _ in range(10):
        first = writer.version
        last, seen = START - 1, []
        while True:
            rows = stored_bars.rows("SELECT ts, close FROM bars_minute WHERE ts > %s ORDER BY ts LIMIT 25", last)
            seen += [(row.ts, row.close) for row in rows]
            if len(rows) < 25:
                break
            last = rows[-1].ts
            for _ in range(chance.randrange(3)):
                writer.write()
        sheared += seen != [(b.ts, b.close) for b in writer.history[first]]
    assert sheared >= 5


def test_aggregated_pages_do_not_shear_either(stored_bars: StoredBars, tmp_path: Path) -> None:
    api = stored_bars.api(tmp_path, anonymous_scopes=("bars:read",))
    whole = [Bar(ts, 100.0, 101.0, 99.0, 100.5, 10.0, 100.1, 3) for ts in SLOTS]
    stored_bars.record(stock(), "1m", whole, settled=[(START, END)])
    before = page(api, 1000, None, timeframe="10m")
    assert before["source"] == "derived from 1m"
    token, seen = None, []
    while True:
        answer = page(api, 7, token, timeframe="10m")
        seen += answer["candles"]
        token = answer["next_page_token"]
        if token is None:
            break
        stored_bars.record(
            stock(), "1m", [b._replace(close=b.close + 1, volume=1.0) for b in sorted(random.sample(whole, 20))]
        )
    assert seen == before["candles"]
    assert page(api, 1000, None, timeframe="10m")["candles"] != seen


@pytest.mark.parametrize("sort", ["asc", "desc"])
@pytest.mark.parametrize("limit", [1, 7, 100])
def test_pages_are_full_where_slots_are_empty_and_where_bars_lie_beside_them(
    stored_bars: StoredBars, tmp_path: Path, limit: int, sort: str
) -> None:
    api = stored_bars.api(tmp_path, anonymous_scopes=("bars:read",))
    before_open = START - 3600 * 10**9
    stamps = [*range(before_open, before_open + 20 * MINUTE, MINUTE), *(ts for n, ts in enumerate(SLOTS) if n % 3)]
    bars = [Bar(ts, 100.0, 101.0, 99.0, 100.5, 10.0, 100.1, 3) for ts in stamps]
    stored_bars.record(stock(), "1m", bars, settled=[(before_open, END)])
    token, pages = None, []
    while True:
        answer = page(api, limit, token, start=before_open, sort=sort)
        pages.append([candle["ts"] for candle in answer["candles"]])
        token = answer["next_page_token"]
        if token is None:
            break
    assert [ts for each in pages for ts in each] == sorted(stamps, reverse=sort == "desc")
    assert {len(each) for each in pages[:-1]} == {limit}


@pytest.mark.parametrize("sort", ["asc", "desc"])
def test_a_walk_into_what_retention_forgot_meanwhile_ends_and_says_so(
    stored_bars: StoredBars, tmp_path: Path, sort: str
) -> None:
    """Bars that are forgotten leave no revision: the rest of the walk would be a hole that nothing tells of."""
    api = stored_bars.api(tmp_path, anonymous_scopes=("bars:read",))
    whole = [Bar(ts, 100.0, 101.0, 99.0, 100.5, 10.0, 100.1, 3) for ts in SLOTS]
    stored_bars.record(stock(), "1m", whole, settled=[(START, END)])
    forget(stored_bars, START + 60 * MINUTE)

    first = page(api, 50, None, sort=sort)
    assert {gap["reason"] for gap in first["coverage"]["missing"]} == {"retention"}
    stored_bars.record(stock(), "1m", [whole[-1]._replace(close=99.0)])
    second = page(api, 50, first["next_page_token"], sort=sort)  # what was forgotten before the walk is no matter
    forget(stored_bars, START + 90 * MINUTE)
    query = {"symbol": "AAPL", "timeframe": "1m", "start": START, "end": END, "fields": FIELDS, "sort": sort, "wait": 0}
    rest = [api.get(BARS, params={**query, "page_token": p["next_page_token"], "limit": 50}) for p in (first, second)]
    if sort == "desc":
        assert [answer.status_code for answer in rest] == [410, 410]
        assert rest[0].json()["code"] == "page-token-expired"
        assert "start over" in rest[0].json()["detail"]
        # Brought back by force they are newer than the walk, which would pass them over.
        stored_bars.record(stock(), "1m", whole[:90], settled=[(START, START + 90 * MINUTE)])
        again = api.get(BARS, params={**query, "page_token": second["next_page_token"], "limit": 50})
        assert again.status_code == 410
    else:  # these pages have left behind what is gone, and go on
        assert [answer.status_code for answer in rest] == [200, 200]
        seen = [c for p in (first, second) for c in p["candles"]]
        token = second["next_page_token"]
        while token:
            answer = page(api, 100, token, sort=sort)
            seen, token = seen + answer["candles"], answer["next_page_token"]
        assert seen == candles_of(whole[60:])
        forget(stored_bars, START + 200 * MINUTE)
        rest = [api.get(BARS, params={**query, "page_token": second["next_page_token"]})]
        assert [answer.json()["code"] for answer in rest] == ["page-token-expired"]


def forget(stored_bars: StoredBars, before: int) -> None:
    """As the daily command does: what is older than so many days, here counted back from `before`."""
    (row,) = stored_bars.rows("SELECT id FROM series WHERE timeframe = '1m'")
    assert retention_bars.forget_bars(stored_bars.db, row.id, before)
