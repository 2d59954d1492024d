"""Bars through the client equal those of the database, however they are paged and whatever is written meanwhile."""

import datetime as dt
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from nautilus.db.bars import write
from nautilus.market.bar import Bar
from nautilus_client import reading
from nautilus_client.cache import clear, folder
from nautilus_client.client import Client
from nautilus_client.errors import (
    BadTime,
    BrokenAnswer,
    Incomplete,
    Invalid,
    NotFound,
    RateLimited,
    TransportError,
    Unavailable,
    VersionChanged,
    VersionForgotten,
)
from nautilus_client.retry import RetryPolicy
from nautilus_client.routes import NotOnThisServer
from tests.integration.client.conftest import NOW
from tests.integration.reading.test_pages import END, START, Writer
from tests.support.client_server import served, wire
from tests.support.markets import DAY, MINUTE, ns
from tests.support.stored_bars import StoredBars, stock

SEEDS = range(3)
SQL = "SELECT ts, open, high, low, close, volume, vwap, trades FROM {} ORDER BY ts"


def of_database(stored_bars: StoredBars) -> list[tuple[Any, ...]]:
    from nautilus.market.timeframes import timeframe

    return [tuple(row) for row in stored_bars.rows(SQL.format(write.table_of(timeframe("1m"))))]


def minutes(first: int, count: int, price: float = 100.0) -> list[Bar]:
    """Bars of which each third has no volume, and no vwap."""
    rows = []
    for n in range(count):
        volume = None if n % 3 == 0 else float(n)
        vwap = None if volume is None else price
        rows.append(Bar(first + n * MINUTE, price, price + 1.25, price - 1, price + n / 100, volume, vwap, n))
    return rows


@pytest.fixture
def day(stored_bars: StoredBars) -> StoredBars:
    """A whole session of minutes."""
    stored_bars.record(stock(), "1m", minutes(START, 390), settled=[(START - DAY, NOW)])
    return stored_bars


@pytest.mark.parametrize("page_size", [7, 100, 389, 390, 50_000])
@pytest.mark.parametrize("start", [START, None])
def test_bars_equal_one_read_of_the_database(
    day: StoredBars, client: Client, page_size: int, start: int | None
) -> None:
    bars = client.bars("AAPL", "1m", start=start, end=END, page_size=page_size)
    assert list(map(tuple, bars)) == of_database(day)
    if start is not None:  # how far back the usual window begins, the page's size decides
        assert bars.complete
    assert bool(bars.missing) is not bars.complete
    assert (bars.instrument_id, bars.price, bars.session, bars.version) == ("AAPL.NASDAQ", "TRADES", "rth", 1)


@pytest.mark.parametrize("start", [START, None])
def test_a_limit_is_of_bars_in_all_and_without_a_start_of_the_newest(
    day: StoredBars, client: Client, start: int | None
) -> None:
    rows = of_database(day)
    for limit in (1, 50, 51, 149, 390, 1_000):
        found = list(map(tuple, client.bars("AAPL", "1m", start=start, end=END, limit=limit, page_size=50)))
        assert found == (rows[:limit] if start else rows[-limit:]), limit


@pytest.mark.parametrize("start", [START, None])
def test_batches_hold_the_same_bars_one_page_at_a_time(day: StoredBars, client: Client, start: int | None) -> None:
    parts = list(client.bars("AAPL", "1m", start=start, end=END, page_size=100).batches())
    assert [len(part) for part in parts] == [100, 100, 100, 90]
    assert [tuple(bar) for part in parts for bar in part] == of_database(day)


def test_a_frame_has_an_index_of_utc_and_what_is_not_known_is_unknown(day: StoredBars, client: Client) -> None:
    bars = client.bars("AAPL", "1m", start=START, end=END)
    frame = bars.pandas()
    assert str(frame.index.dtype) == "datetime64[ns, UTC]"
    assert frame.index.name == "ts"
    assert {name: str(kind) for name, kind in frame.dtypes.items()} == {
        **dict.fromkeys(("open", "high", "low", "close", "volume", "vwap"), "float64"),
        "trades": "Int64",
    }
    assert frame.index.asi8.tolist() == [row[0] for row in of_database(day)]
    assert frame["volume"].isna().tolist() == [row[5] is None for row in of_database(day)]
    assert str(bars.pandas(tz="exchange").index[0]) == "2024-01-08 09:30:00-05:00"
    assert str(bars.pandas(tz="Europe/Berlin").index[0]) == "2024-01-08 15:30:00+01:00"
    assert [str(one) for one in bars.pandas(prices="decimal")["high"][:2]] == ["101.25", "101.25"]


def test_what_is_changed_in_a_frame_changes_nothing_in_the_bars(day: StoredBars, client: Client) -> None:
    bars = client.bars("AAPL", "1m", start=START, end=END)
    before, frame = list(bars), bars.pandas()
    for name in frame.columns:
        frame.loc[frame.index[0], name] = 7
    assert list(bars) == before
    assert bars.pandas()["close"].iloc[0] == before[0].close != 7


def test_an_empty_answer_has_the_whole_schema(day: StoredBars, client: Client) -> None:
    empty = client.bars("AAPL", "1m", start=START - 12 * 3_600 * 10**9, end=START)
    full = client.bars("AAPL", "1m", start=START, end=END)
    assert len(empty) == 0
    assert empty.complete
    assert empty.pandas().dtypes.equals(full.pandas().dtypes)
    assert empty.pandas().index.dtype == full.pandas().index.dtype
    assert list(empty.columns) == list(full.columns)


def test_one_symbol_and_several_have_the_same_index_and_an_error_is_that_of_its_symbol(
    day: StoredBars, client: Client
) -> None:
    one = client.bars("AAPL", "1m", start=START, end=END).pandas()
    many = client.bars(["AAPL", "NOSUCH"], "1m", start=START, end=END)
    assert many.pandas().index.equals(one.index)
    assert many.pandas()["symbol"].unique().tolist() == ["AAPL"]
    assert list(many) == ["AAPL"]
    assert many.complete is False
    with pytest.raises(Exception, match="NOSUCH"):
        many["NOSUCH"]


def test_dates_begin_at_midnight_of_the_exchange_and_last_ends_with_the_last_closed_bar(
    day: StoredBars, client: Client
) -> None:
    bars = client.bars("AAPL", "1m", start="2024-01-08", end=dt.date(2024, 1, 9))
    assert bars.window == ("2024-01-08T05:00:00Z", "2024-01-09T05:00:00Z")
    assert len(bars) == 390
    assert client.bars("AAPL", "1m", last="5d").window[1] == client.bars("AAPL", "1m").window[1]
    with pytest.raises(BadTime, match="not both"):
        client.bars("AAPL", "1m", start="2024-01-08", last="5d")
    with pytest.raises(BadTime, match="zone"):
        client.bars("AAPL", "1m", start=dt.datetime(2024, 1, 8))


def test_labels_of_days_are_dates_that_no_zone_moves(stored_bars: StoredBars, client: Client) -> None:
    label = ns("2024-01-08 00:00", "UTC")
    stored_bars.record(stock(), "1d", [Bar(label, 1.0, 2.0, 0.5, 1.5, 3.0, None, None)], settled=[(label, label + DAY)])
    bars = client.bars("AAPL", "1d", start="2024-01-08", end="2024-01-09")
    assert str(bars.pandas().index[0]) == "2024-01-08 00:00:00+00:00"
    assert bars.pandas(dates=True).index.tolist() == [pd.Timestamp("2024-01-08")]
    with pytest.raises(BadTime, match="dates"):
        bars.pandas(tz="exchange")


def test_what_is_missing_is_there_with_its_reason(day: StoredBars, client: Client) -> None:
    window = {"start": START - 3 * DAY, "end": END}
    bars = client.bars("AAPL", "1m", **window)
    assert bars.complete is False
    assert {gap.state for gap in bars.missing} <= {"not_asked", "queued"}
    with pytest.raises(Incomplete, match="ranges are missing") as wrong:
        client.bars("AAPL", "1m", **window, require_complete=True)
    assert wrong.value.missing


def test_errors_name_what_is_wrong(client: Client) -> None:
    with pytest.raises(Invalid) as wrong:
        client.bars("AAPL", "1m", price="MIDPONT")
    assert wrong.value.errors[0]["field"] == "price"
    assert wrong.value.request_id
    with pytest.raises(Unavailable) as away:
        client.instrument("NOPE.NASDAQ")
    assert away.value.code == "instrument-not-resolved"
    with pytest.raises(NotFound) as gone:
        client.session()  # a route that this server does not have
    assert gone.value.code == "no-such-route"
    with pytest.raises(NotOnThisServer, match="exports"):
        client.exports.list()
    with pytest.raises(ValueError, match="7m"):
        client.bars("AAPL", "7m")
    with pytest.raises(TypeError, match="exactly one"):
        client.bars("AAPL", "1m", con_id=1)


# ---- what happens meanwhile ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("parallel", [False, True])
def test_bars_have_one_version_whatever_is_written_meanwhile(
    stored_bars: StoredBars, client: Client, monkeypatch: pytest.MonkeyPatch, seed: int, parallel: bool
) -> None:
    cuts = [START + n * 65 * MINUTE for n in range(7)]
    monkeypatch.setattr(reading, "PARALLEL_FROM", 0 if parallel else 10**9)
    monkeypatch.setattr(reading, "months", lambda start, end: list(pairwise(cuts)))
    writer = Writer(stored_bars, seed)
    writer.write()
    versions = set()
    with writer.running():
        for _ in range(8):
            try:
                bars = client.bars("AAPL", "1m", start=START, end=END, page_size=30)
                found = [bar.open for bar in bars]
            except VersionChanged:
                continue
            assert found == [bar.open for bar in writer.history[bars.version]], bars.version
            versions.add(bars.version)
    assert versions


def test_parts_of_different_versions_are_never_put_together(
    day: StoredBars, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mutant that takes parts as they come mixes a revision in."""
    cuts = [START + n * 130 * MINUTE for n in range(4)]
    monkeypatch.setattr(reading, "PARALLEL_FROM", 0)
    monkeypatch.setattr(reading, "WORKERS", 1)
    monkeypatch.setattr(reading, "months", lambda start, end: list(pairwise(cuts)))
    send = client._connection.send
    before = [row[1] for row in of_database(day)]

    def revises(allow_newer: bool) -> list[float]:
        day.record(stock(), "1m", minutes(START, 390))
        sent: list[Any] = []

        def after_the_first_part(request: Any) -> Any:
            answer = send(request)
            if request.path.endswith("/bars") and not sent and dict(request.query).get("end") == str(cuts[1]):
                sent.append(request)
                day.record(stock(), "1m", minutes(START, 390, price=200.0))
            return answer

        monkeypatch.setattr(client._connection, "send", after_the_first_part)
        bars = client.bars("AAPL", "1m", start=START, end=END, page_size=30, allow_newer=allow_newer)
        found = [bar.open for bar in bars]
        assert sent
        return found

    assert len(set(revises(allow_newer=True))) == 2
    assert set(revises(allow_newer=False)) == {200.0} != set(before)


def test_bars_of_an_older_version_can_be_read_again(day: StoredBars, client: Client) -> None:
    first = list(client.bars("AAPL", "1m", start=START, end=END))
    day.record(stock(), "1m", minutes(START, 390, price=200.0))
    again = client.bars("AAPL", "1m", start=START, end=END, as_of=1)
    assert list(again) == first
    assert again.complete is None


def test_a_version_that_retention_has_forgotten_is_an_error_of_its_own(day: StoredBars, client: Client) -> None:
    day.record(stock(), "1m", minutes(START, 390, price=200.0))
    day.forget_changes(2)
    with pytest.raises(VersionForgotten) as gone:
        client.bars("AAPL", "1m", start=START, end=END, as_of=1)
    assert (gone.value.status, gone.value.code) == (410, "version-forgotten")
    assert client.bars("AAPL", "1m", start=START, end=END, as_of=2).columns["open"].data[0] == 200.0


# ---- what goes wrong on the way --------------------------------------------------------------------------------------


def test_a_page_that_is_cut_anywhere_raises_and_is_no_shorter_frame(day: StoredBars, url: str) -> None:
    ends = [1, 200, 400, 700, 1_500]
    for end in ends:

        def cut(n: int, answer: bytes, end: int = end) -> bytes:
            return answer[:end] if n == 3 else answer

        with wire(url, cut) as line:
            client = Client(line.url, policy=RetryPolicy(tries=1))
            with pytest.raises(TransportError):
                len(client.bars("AAPL", "1m", start=START, end=END, page_size=100))
            assert line.answers == 3


def test_an_answer_that_was_lost_is_requested_again(day: StoredBars, url: str) -> None:
    with wire(url, lambda n, answer: answer[:300] if n in (1, 3, 4) else answer) as line:
        client = Client(line.url, policy=RetryPolicy(tries=3, first_wait_s=0.01))
        assert len(client.bars("AAPL", "1m", start=START, end=END, page_size=200)) == 390
    with wire(url, lambda n, answer: answer[:300]) as line:
        client = Client(line.url, policy=RetryPolicy(tries=3, first_wait_s=0.01))
        with pytest.raises(BrokenAnswer) as wrong:
            client.bars("AAPL", "1m", start=START, end=END)
        assert wrong.value.tries == line.answers == 3


def test_what_may_have_been_done_is_not_sent_twice_without_a_key(url: str) -> None:
    with wire(url, lambda n, answer: b"") as line:
        client = Client(line.url, policy=RetryPolicy(tries=3, first_wait_s=0.01))
        with pytest.raises(TransportError):
            client._connection.call("want", body={"wants": []})
        assert line.answers == 1
        with pytest.raises(TransportError):
            client.backfill("AAPL", "1m", start=START, end=END)
        assert line.answers == 4, "which has an idempotency key"


def test_a_connection_that_the_server_ends_while_it_is_idle_costs_no_try(day: StoredBars, url: str) -> None:
    """A server names five seconds to wait, and ends idle connections after five."""
    with wire(url, lambda n, answer: b"" if n == 2 else answer) as line:
        client = Client(line.url, policy=RetryPolicy(tries=1))
        assert len(client.bars("AAPL", "1m", start=START, end=END, page_size=200)) == 390
        assert line.answers == 4, "a page, coverage twice, the other page"
    with wire(url, lambda n, answer: b"" if n == 2 else answer) as line:
        client = Client(line.url, policy=RetryPolicy(tries=1))
        client.coverage("AAPL", "1m", start=START, end=END)
        with pytest.raises(TransportError):
            client._connection.call("want", body={"wants": []})
        assert line.answers == 2, "what may have been done is not"
    with wire(url, lambda n, answer: b"") as line:
        with pytest.raises(TransportError):
            Client(line.url, policy=RetryPolicy(tries=1)).bars("AAPL", "1m", start=START, end=END)
        assert line.answers == 1, "a connection of its own was not idle"


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the client waits; it does not."""
    found: list[float] = []
    monkeypatch.setattr(time, "sleep", found.append)
    return found


def limited(after: str) -> bytes:
    body = b'{"code": "rate-limited", "detail": "too many", "status": 429}'
    head = f"HTTP/1.1 429 Too Many\r\nRetry-After: {after}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def test_who_is_sent_away_waits_as_long_as_requested(day: StoredBars, url: str, waits: list[float]) -> None:
    statuses = []
    with wire(url, lambda n, answer: limited("17").ljust(len(answer)) if n <= 2 else answer) as line:
        client = Client(
            line.url, policy=RetryPolicy(tries=3), trace=lambda one: statuses.append((one.status, one.tried))
        )
        assert len(client.bars("AAPL", "1m", start=START, end=END)) == 390
    assert statuses == [(429, 1), (429, 2), (200, 3)]
    assert waits == [17.0, 17.0]


def test_a_limit_that_lasts_is_an_error_with_the_time_to_wait(
    day: StoredBars, tmp_path: Path, waits: list[float]
) -> None:
    """The server's own limit: three reads a minute."""
    with served(day.app(tmp_path, reads_per_minute=3)) as url:
        client = Client(url, policy=RetryPolicy(tries=2))
        with pytest.raises(RateLimited) as wrong:
            assert [client.bars("AAPL", "1m", start=START, end=END) for _ in range(6)]
    assert 0 < (wrong.value.retry_after or 0) <= 60
    assert wrong.value.code == "rate-limited"
    assert waits


# ---- bars that are kept ----------------------------------------------------------------------------------------------


@pytest.fixture
def month(stored_bars: StoredBars) -> tuple[int, int]:
    """A whole month of minutes, of which one day has bars."""
    start, end = ns("2023-12-01 00:00", "UTC"), ns("2024-01-01 00:00", "UTC")
    first = ns("2023-12-05 09:30", "America/New_York")
    stored_bars.record(stock(), "1m", minutes(first, 390), settled=[(start, NOW)])
    return start, end


def reader(url: str) -> tuple[Client, Callable[[], list[str]]]:
    """A client that keeps bars, and which routes it has used since the last question."""
    used: list[str] = []
    client = Client(url, cache=True, trace=lambda one: used.append(one.path.partition("?")[0].rpartition("/")[2]))

    def since() -> list[str]:
        found = list(used)
        used.clear()
        return found

    return client, since


def test_a_month_is_read_once_and_again_when_a_bar_of_it_is_revised(
    stored_bars: StoredBars, url: str, month: tuple[int, int]
) -> None:
    start, end = month
    client, used = reader(url)
    first = list(client.bars("AAPL", "1m", start=start, end=end))
    assert len(first) == 390
    assert used() == ["coverage", "bars"]
    assert list(client.bars("AAPL", "1m", start=start, end=end)) == first
    assert used() == ["coverage"]

    stored_bars.record(stock(), "1m", minutes(START, 5))  # another month: a new version, and the kept bars still hold
    again = client.bars("AAPL", "1m", start=start, end=end)
    assert list(again) == first
    assert again.version == 2
    assert used() == ["coverage", "coverage", "revisions"]

    stored_bars.record(stock(), "1m", [Bar(first[7].ts, 5.0, 6.0, 4.0, 5.5, 1.0, 5.0, 1)])
    revised = list(client.bars("AAPL", "1m", start=start, end=end))
    assert [bar.open for n, bar in enumerate(revised) if bar != first[n]] == [5.0]
    assert used() == ["coverage", "coverage", "revisions", "bars"]

    stored_bars.record(stock(), "1m", [Bar(first[-1].ts + 3_600 * 10**9, 5.0, 6.0, 4.0, 5.5, 1.0, 5.0, 1)])
    assert len(client.bars("AAPL", "1m", start=start, end=end)) == 391, "a bar that came is no revision"


def test_kept_bars_that_are_broken_are_read_again(stored_bars: StoredBars, url: str, month: tuple[int, int]) -> None:
    start, end = month
    client, used = reader(url)
    first = list(client.bars("AAPL", "1m", start=start, end=end))
    (kept,) = folder().rglob("*.bars")
    data = bytearray(kept.read_bytes())
    data[-1] ^= 1
    kept.write_bytes(data)
    used()
    assert list(client.bars("AAPL", "1m", start=start, end=end)) == first
    assert used() == ["coverage", "bars"]
    assert clear(folder()) == 1
