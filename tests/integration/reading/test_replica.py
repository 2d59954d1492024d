"""A read replica takes the bars off the primary's hands, and neither its lag nor its failures show in an answer.

A real standby, following by streaming. Where a page was read is not taken from the answer's word alone: the tests look at
the connection that its bars came over.
"""

import asyncio
import os
import re
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from dev.process import Group
from functions.bars.app import ReadServices
from nautilus.db.connection import Database
from nautilus.db.prepared import TransactionCursor
from nautilus.db.replica import LONGEST_REST_S, Replica
from nautilus.errors import Unavailable
from nautilus.infra.breaker import Breaker
from nautilus.log import logger
from nautilus.market.bar import Bar
from nautilus.reading import pages
from tests.conftest import database
from tests.integration.reading.test_pages import FIELDS, Writer, candles_of
from tests.support.markets import MINUTE, ns, nyse
from tests.support.replication import TEMPLATE, Pair, ask, wait_for
from tests.support.stored_bars import BARS, Api, StoredBars, stock

NOW = ns("2024-01-12 17:00", "America/New_York")
DAYS = [
    (ns(f"2024-01-{day:02} 09:30", "America/New_York"), ns(f"2024-01-{day:02} 16:00", "America/New_York"))
    for day in range(8, 12)
]
START, END = DAYS[0]
LAST = DAYS[-1][1]


def bars(close: float = 100.5, days: int = 1) -> list[Bar]:
    stamps = [ts for start, end in DAYS[:days] for ts in range(start, end, MINUTE)]
    return [Bar(ts, 100.0, 101.0, 99.0, close, 10.0, 100.1, 3) for ts in stamps]


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with tempfile.TemporaryDirectory(prefix="nautilus-pair-") as name, Group() as group:
        Path(name).chmod(0o711)  # as root the servers may have to be somebody else (dev/postgres.py)
        yield Pair(group, Path(name))


@pytest.fixture
def dsn(pair: Pair) -> Iterator[str]:
    with database(pair.primary, TEMPLATE) as own:
        yield own


@pytest.fixture
def stored_bars(dsn: str) -> Iterator[StoredBars]:
    made = StoredBars(dsn, NOW)
    made.instrument(stock(), nyse(date(2023, 12, 1), 60))
    made.record(stock(), "1m", bars(days=4), settled=DAYS)
    yield made
    made.close()


@pytest.fixture
def api(stored_bars: StoredBars, pair: Pair, tmp_path: Path) -> Api:
    pair.catch_up()
    return stored_bars.api(tmp_path, replica_url=pair.copied(stored_bars.dsn), log_level="INFO")


def use_replica(api: Api, **numbers: float) -> None:
    """Have an API that has read nothing yet use its replica with other numbers, and try it again soon after a failure."""
    services = api.services
    replica = Replica(services.replica, breaker=Breaker(0.05, LONGEST_REST_S), **numbers)
    services.kept(ReadServices, lambda: ReadServices(services, replica=replica))


Meddling = Callable[[Any], Any]


class Watch:
    """Sees the connection of each page's bars; `meddle` is given the standby's cursor before a page is read, and gives back
    the cursor to read with. `meddle_primary`: the same with the primary's."""

    def __init__(self, standby_port: int) -> None:
        self.standby_port = standby_port
        self.tried: list[bool] = []
        """For each page that was begun: was it on the standby?"""
        self.meddle: Meddling | None = None
        self.meddle_primary: Meddling | None = None

    def saw(self, cursor: Any) -> Any:
        self.tried.append(cursor.connection.info.port == self.standby_port)
        meddle = self.meddle if self.tried[-1] else self.meddle_primary
        return meddle(cursor) if meddle else cursor


@pytest.fixture(autouse=True)
def watch(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> Watch:
    made = Watch(pair.standby.port)
    read_page = pages.read_page
    monkeypatch.setattr(
        pages, "read_page", lambda cursor, query, snapshot: read_page(made.saw(cursor), query, snapshot)
    )
    return made


@pytest.fixture
def read(api: Api, watch: Watch) -> Callable[..., tuple[Any, bool]]:
    def answer(**query: Any) -> tuple[Any, bool]:
        """The answer, and whether the standby gave its bars."""
        before = len(watch.tried)
        got = get(api, **query)
        copied = "replica" in got.headers["server-timing"]
        # A standby that was given up may be noted after the primary that answered.
        assert copied in watch.tried[before:]
        return got.json(), copied

    return answer


Read = Callable[..., tuple[Any, bool]]


def get(api: Api, **query: Any) -> Any:
    requested = {"symbol": "AAPL", "timeframe": "1m", "start": START, "end": END, "wait": 0}
    got = api.get(BARS, params=requested | query)
    assert got.status_code == 200, got.text
    return got


def replica_log(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The log lines about the replica since the last call."""
    return re.findall(r'"message":"(replica-[a-z]+)', capsys.readouterr().out)


def closes(answer: Any) -> set[float]:
    return {candle["close"] for candle in answer["candles"]}


# ---- as far as the primary, or not -------------------------------------------------------------------------------------


def test_a_standby_that_is_as_far_gives_the_same_bytes(
    stored_bars: StoredBars, api: Api, watch: Watch, tmp_path: Path
) -> None:
    plain = stored_bars.api(tmp_path)
    for query in (
        {"end": LAST},
        {"end": LAST, "format": "columns"},
        {"end": LAST, "format": "csv"},
        {"end": LAST, "timeframe": "30m", "sort": "desc"},
        {"end": LAST, "limit": 100},
    ):
        watch.tried.clear()
        copied, own = get(api, **query), get(plain, **query)
        assert watch.tried == [True, False]
        assert "replica" in copied.headers["server-timing"]
        assert copied.headers["etag"] == own.headers["etag"]
        assert len(own.content) > 3_000
        # A token is sealed anew each time.
        assert without_token(copied.content) == without_token(own.content)


def without_token(content: bytes) -> bytes:
    return re.sub(rb'"next_page_token":"[^"]+"', b"", content)


def test_readers_lock_and_keep_their_plans_on_a_standby_too(read: Read, watch: Watch) -> None:
    seen: list[bool] = []

    def meddle(cursor: Any) -> Any:
        cursor.execute(
            "SELECT pg_is_in_recovery() AND current_setting('transaction_isolation') = 'repeatable read'"
            " AND EXISTS (SELECT 1 FROM pg_prepared_statements WHERE starts_with(name, 'nautilus_same_') AND generic_plans = %s)"
            " AND EXISTS (SELECT 1 FROM pg_locks WHERE pid = pg_backend_pid() AND relation = 'store'::regclass"
            "  AND mode = 'AccessShareLock' AND granted)",
            (len(seen) + 1,),
        )
        seen.append(cursor.fetchone()[0])
        return cursor

    watch.meddle = meddle
    assert [read()[1] for _ in range(3)] == [True] * 3
    assert seen == [True] * 3


def test_what_a_standby_does_not_show_yet_is_read_from_the_primary(
    stored_bars: StoredBars, pair: Pair, read: Read
) -> None:
    assert read()[1]
    with pair.paused():
        stored_bars.record(stock(), "1m", [bars()[0]._replace(close=100.75)])
        for _ in range(3):
            answer, copied = read()
            assert (copied, answer["candles"][0]["close"]) == (False, 100.75)
        other = stock(2, "MSFT")
        stored_bars.instrument(other, nyse(date(2023, 12, 1), 60))
        stored_bars.record(other, "1m", bars(close=55.5), settled=[(START, END)])
        answer, copied = read(symbol="MSFT")
        assert (copied, answer["total"], closes(answer)) == (False, 390, {55.5})
    answer, copied = read()
    assert (copied, answer["candles"][0]["close"]) == (True, 100.75)
    assert read(symbol="MSFT")[1]


def test_pages_of_a_walk_may_come_from_either(stored_bars: StoredBars, pair: Pair, read: Read) -> None:
    first, copied = read(limit=100)
    assert copied
    with pair.paused():
        stored_bars.record(stock(), "1m", bars(close=99.5))
        second, copied = read(limit=100, page_token=first["next_page_token"])
        assert not copied, "as of the first page's version, which only the primary can tell by now"
        begun, copied = read(limit=100)
        assert (copied, closes(begun)) == (False, {99.5})
    third, copied = read(limit=1000, page_token=second["next_page_token"])
    assert copied
    candles = [c for page in (first, second, third) for c in page["candles"]]
    assert [(c["ts"], c["close"]) for c in candles] == [(b.ts, b.close) for b in bars()]
    rest, copied = read(limit=1000, page_token=begun["next_page_token"])
    assert (copied, rest["total"], closes(rest)) == (True, 290, {99.5})


def test_a_tag_is_the_primarys(stored_bars: StoredBars, pair: Pair, api: Api) -> None:
    query = {"symbol": "AAPL", "timeframe": "1m", "start": START, "end": END}
    tag = api.get(BARS, params=query).headers["etag"]
    assert api.get(BARS, params=query, headers={"if-none-match": tag}).status_code == 304
    with pair.paused():
        stored_bars.record(stock(), "1m", bars(close=99.5))
        assert api.get(BARS, params=query, headers={"if-none-match": tag}).status_code == 200


def test_while_a_writer_runs_at_full_speed_every_walk_is_one_snapshot(
    dsn: str, pair: Pair, tmp_path: Path, watch: Watch
) -> None:
    stored_bars = StoredBars(dsn, NOW)
    stored_bars.instrument(stock(), nyse(date(2023, 12, 1), 60))
    writer = Writer(stored_bars, 7)
    writer.write()
    pair.catch_up()
    api = stored_bars.api(tmp_path, replica_url=pair.copied(dsn))
    walks: list[tuple[int, list[Any]]] = []
    deadline = time.monotonic() + 20
    with closing(stored_bars), writer.running():
        while len(walks) < 10 or (set(watch.tried) != {True, False} and time.monotonic() < deadline):
            answer = get(api, limit=25, fields=FIELDS).json()
            version, seen = answer["data_version"], answer["candles"]
            while token := answer["next_page_token"]:
                answer = get(api, limit=25, fields=FIELDS, page_token=token).json()
                assert answer["data_version"] == version
                seen += answer["candles"]
            walks.append((version, seen))
    assert writer.version > walks[0][0] + 10, "the writer hardly wrote"
    assert set(watch.tried) == {True, False}, "pages came from one of them alone"
    for version, seen in walks:
        assert seen == candles_of(writer.history[version])


# ---- replay gets in the way --------------------------------------------------------------------------------------------


class Meddled:
    """A cursor whose statement for the bars stops behind the first time slice, until `stir` was called beside it."""

    def __init__(self, cursor: Any, stir: Callable[[], None]) -> None:
        self._cursor = cursor
        self._stir = stir

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)

    def rows_with_bytes(self, query: str) -> Any:
        slowly = f"SELECT q.* FROM ({query}) AS q WHERE q.first_ts < {END} OR pg_sleep(10) IS NOT NULL"
        with ThreadPoolExecutor(1) as beside:
            stirred = beside.submit(self._when_it_sleeps)
            try:
                return self._cursor.rows_with_bytes(slowly)
            finally:
                stirred.result()

    def _when_it_sleeps(self) -> None:
        connection = self._cursor.connection.info
        server = psycopg2.extensions.make_dsn(**connection.dsn_parameters, password=connection.password)
        sleeps = "SELECT wait_event = 'PgSleep' FROM pg_stat_activity WHERE pid = %s"
        wait_for(lambda: ask(server, sleeps, connection.backend_pid), "the middle of the bars")
        self._stir()


def stirring(stir: Callable[[], None], *, midway: bool) -> Meddling:
    """Do it once: between two statements of a page, or in the middle of its bars."""
    left = [stir]

    def once() -> None:
        left.pop()()

    def meddle(cursor: Any) -> Any:
        if not left:
            return cursor
        if midway:
            return Meddled(cursor, once)
        once()
        return cursor

    return meddle


VACUUM = ["UPDATE series SET head_ts = head_ts", "VACUUM series"]
LOCK = ["BEGIN; LOCK TABLE store IN ACCESS EXCLUSIVE MODE; COMMIT"]


@pytest.mark.parametrize("midway", [False, True], ids=["between-statements", "midway"])
@pytest.mark.parametrize("written", [VACUUM, LOCK], ids=["vacuum", "lock"])
def test_a_read_that_replay_cancels_is_answered_by_the_primary(
    stored_bars: StoredBars,
    pair: Pair,
    api: Api,
    watch: Watch,
    capsys: pytest.CaptureFixture[str],
    written: list[str],
    midway: bool,
) -> None:
    use_replica(api)
    expected = get(api, end=LAST).content

    def resume() -> None:
        pair.resume()
        pair.catch_up()

    with pair.impatient():
        conflicts = pair.conflicts
        pair.pause()
        for statement in written:
            ask(stored_bars.dsn, statement)
        watch.tried.clear()
        watch.meddle = stirring(resume, midway=midway)
        got = get(api, end=LAST)
        assert watch.tried == [True, False]
        assert "replica" not in got.headers["server-timing"]
        assert got.content == expected
        assert pair.conflicts == conflicts + 1
        wait_for(lambda: "replica" in get(api, end=LAST).headers["server-timing"], "the standby's next page")
    assert replica_log(capsys) == ["replica-failed", "replica-recovered"]


@pytest.mark.parametrize("midway", [False, True], ids=["between-statements", "midway"])
def test_a_session_of_the_standby_that_is_ended_is_replaced(pair: Pair, api: Api, watch: Watch, midway: bool) -> None:
    use_replica(api)
    expected = get(api, end=LAST).content
    watch.meddle = stirring(
        lambda: ask(
            pair.standby.dsn(),
            "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE application_name = 'nautilus-test'",
        ),
        midway=midway,
    )
    got = get(api, end=LAST)
    assert (watch.tried[-2:], got.content) == ([True, False], expected)
    wait_for(lambda: "replica" in get(api, end=LAST).headers["server-timing"], "the standby's next page")


def test_a_page_that_breaks_off_on_both_is_no_page(api: Api, watch: Watch) -> None:
    """The connection ends in the middle of the bars, without a word: first the standby's, then the primary's too."""

    def meddle(cursor: Any) -> Any:
        return Meddled(cursor, lambda: break_off(cursor.connection))

    watch.meddle = watch.meddle_primary = meddle
    query = {"symbol": "AAPL", "timeframe": "1m", "start": START, "end": LAST, "wait": 0}
    got = api.get(BARS, params=query)
    assert watch.tried == [True, False]
    assert (got.status_code, got.json()["code"]) == (503, "database-unavailable")
    watch.meddle = watch.meddle_primary = None
    assert get(api, end=LAST).json()["total"] == 1000


def test_a_server_that_hangs_is_not_waited_for(api: Api, watch: Watch, capsys: pytest.CaptureFixture[str]) -> None:
    """Its machine is awake and keeps the connection; the session itself does nothing any more."""
    use_replica(api, longest_read_s=0.2, interval_s=0.05)
    expected = get(api, end=LAST).content
    stopped: list[int] = []

    def stop(cursor: Any) -> Any:
        stopped.append(cursor.connection.info.backend_pid)
        os.kill(stopped[0], signal.SIGSTOP)
        return cursor

    watch.meddle = stop
    try:
        got = get(api, end=LAST)
    finally:
        os.kill(stopped[0], signal.SIGCONT)
    assert (watch.tried[-2:], got.content) == ([True, False], expected)
    assert replica_log(capsys) == ["replica-failed"]


def test_a_commit_that_is_cancelled_leaves_no_transaction_behind(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replay's cancel may come just as the session begins to read COMMIT, and the next reader would find a transaction that
    has failed."""
    reader = Database(dsn, name="test", size=1)
    end = TransactionCursor.end

    def cancelled(cursor: Any, how: str) -> None:
        if how == "COMMIT":
            cursor.execute("SELECT pg_cancel_backend(pg_backend_pid()), pg_sleep(5)")
        end(cursor, how)

    with monkeypatch.context() as once:
        once.setattr(TransactionCursor, "end", cancelled)
        with pytest.raises(Unavailable), reader.transaction(snapshot=True) as cursor:
            cursor.execute("SELECT 1")
    with reader.transaction(snapshot=True) as cursor:
        cursor.execute("SELECT 7")
        assert cursor.fetchone()[0] == 7
    reader.close()


def break_off(connection: Any) -> None:
    with socket.socket(fileno=os.dup(connection.fileno())) as line:
        line.shutdown(socket.SHUT_RDWR)


def test_a_lock_that_replay_holds_keeps_nobody_waiting(stored_bars: StoredBars, pair: Pair, read: Read) -> None:
    """What moves bars into columns locks `store` and commits; here replay stops between the two."""
    assert read()[1]
    copied = pair.copied(stored_bars.dsn)
    held = "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE relation = 'store'::regclass AND mode = 'AccessExclusiveLock')"
    with stored_bars.db.transaction() as cursor:
        cursor.execute("LOCK TABLE store IN ACCESS EXCLUSIVE MODE")
        pair.mark()  # sends what is not committed along
        wait_for(lambda: ask(copied, held), "the lock on the standby")
        pair.pause()
    try:
        since = time.monotonic()
        answer, was_copied = read()
        assert (was_copied, answer["total"]) == (False, 390)
        assert time.monotonic() - since < 3
    finally:
        pair.resume()
    pair.catch_up()


# ---- servers come and go -----------------------------------------------------------------------------------------------


def test_a_killed_standby_is_left_alone_until_it_is_back(
    pair: Pair, read: Read, watch: Watch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert read()[1]
    watch.meddle = stirring(pair.kill_standby, midway=True)
    answer, copied = read(end=LAST)
    assert (copied, answer["total"]) == (False, 1000)
    for _ in range(2):
        assert not read()[1]
    assert replica_log(capsys) == ["replica-failed"], "it was asked again at once"
    pair.start_standby()
    pair.catch_up()
    wait_for(lambda: read()[1], "the standby's next page")
    assert read()[0]["total"] == 390


def test_rests_grow_while_it_fails_and_one_read_at_a_time_tries_again(
    stored_bars: StoredBars, pair: Pair, capsys: pytest.CaptureFixture[str]
) -> None:
    pair.catch_up()
    (row,) = stored_bars.rows("SELECT store.id AS store_id, s.id, s.data_version FROM store, series s")
    standby = Database(pair.copied(stored_bars.dsn), name="test", size=4)
    copy = Replica(standby, patience_s=60, breaker=Breaker(0.05, 0.3))
    logger("test", "INFO")
    failing, answers = True, []

    def read(call: Callable[[Any], bool]) -> bool | None:
        return asyncio.run(copy.read(str(row.store_id), {row.id: row.data_version}, call))

    def call(cursor: Any) -> bool:
        if failing:
            raise Unavailable("it is not well")
        # Another reader, while this one finds out.
        answers.append(read(lambda cursor: True))
        return True

    rests: list[str] = []

    def rested() -> bool:
        assert read(call) is None
        rests.extend(re.findall(r"left alone for ([0-9.]+) s: it is not well", capsys.readouterr().out))
        return len(rests) >= 4

    wait_for(rested, "the fourth rest")
    assert rests[:4] == ["0.05", "0.1", "0.2", "0.3"]
    failing = False
    wait_for(lambda: read(call), "a read that finds it well")
    assert read(lambda cursor: True)
    assert answers[0] is None, "it was ill still"
    standby.close()


def test_without_the_primary_nothing_is_told_and_after_its_restart_all_goes_on(
    stored_bars: StoredBars, pair: Pair, api: Api, read: Read
) -> None:
    assert read()[1]
    pair.stop_primary()
    try:
        refused = api.get(BARS, params={"symbol": "AAPL", "timeframe": "1m", "start": START, "end": END})
        assert (refused.status_code, refused.json()["code"]) == (503, "database-unavailable")
        assert int(refused.headers["retry-after"]) > 0
    finally:
        pair.start_primary()
    answer, copied = read()
    assert (copied, answer["total"]) == (True, 390)
    stored_bars.record(stock(), "1m", bars(close=99.5))
    assert closes(read()[0]) == {99.5}
    pair.catch_up()
    answer, copied = read()
    assert (copied, closes(answer)) == (True, {99.5})


def test_an_older_version_comes_from_a_replica_that_knows_it_and_else_from_the_primary(
    stored_bars: StoredBars, pair: Pair, api: Api
) -> None:
    stored_bars.record(stock(), "1m", bars(close=99.5))
    pair.catch_up()
    stored = dict(enumerate((100.5, 99.5), 1))
    for version, close in stored.items():
        answer = get(api, as_of=version)
        assert ("replica" in answer.headers["server-timing"], closes(answer.json())) == (True, {close})
    with pair.paused():
        stored_bars.record(stock(), "1m", bars(close=98.5))
        for version, close in (stored | {3: 98.5}).items():
            answer = get(api, as_of=version)
            assert ("replica" in answer.headers["server-timing"], closes(answer.json())) == (False, {close})


def test_provisional_bars_are_read_on_the_primary_alone(stored_bars: StoredBars, pair: Pair, api: Api) -> None:
    """PostgreSQL refuses to read a table that is not logged on a standby."""
    assert "replica" in get(api).headers["server-timing"]
    with pytest.raises(psycopg2.errors.FeatureNotSupported, match="unlogged"):
        ask(pair.copied(stored_bars.dsn), "SELECT FROM live_bars")
    answer = get(api, live=1)
    assert ("replica" in answer.headers["server-timing"], answer.json()["total"]) == (False, 390)


def test_a_promoted_standby_counts_on_for_itself_and_is_a_replica_no_more(
    stored_bars: StoredBars, pair: Pair, tmp_path: Path, watch: Watch
) -> None:
    """The same store, the same series, the same version, and other bars."""
    other = pair.another("promoted")
    watch.standby_port = other.port
    theirs = other.dsn(stored_bars.dsn.rpartition("/")[2].partition("?")[0])
    api = stored_bars.api(tmp_path, replica_url=theirs)
    assert "replica" in get(api).headers["server-timing"]
    assert ask(other.dsn(), "SELECT pg_promote()")
    promoted = StoredBars(theirs, NOW)
    promoted.record(stock(), "1m", bars(close=77.25))
    stored_bars.record(stock(), "1m", bars(close=99.5))
    same = "SELECT concat(store.id, data_version) FROM store, series"
    assert ask(stored_bars.dsn, same) == ask(theirs, same)
    answer = get(api)
    assert "replica" not in answer.headers["server-timing"]
    assert closes(answer.json()) == {99.5}
    # The other way round: the one that was promoted decides, and the one that was its primary is no replica of it.
    answer = get(promoted.api(tmp_path, replica_url=stored_bars.dsn))
    assert closes(answer.json()) == {77.25}
    promoted.close()


# ---- no replica at all -------------------------------------------------------------------------------------------------


def test_another_store_is_no_replica(stored_bars: StoredBars, pair: Pair, tmp_path: Path, watch: Watch) -> None:
    """The same series with the same version, and other bars: the store's id tells them apart."""
    with database(pair.primary, TEMPLATE) as another:
        ask(another, "UPDATE store SET id = gen_random_uuid()")
        other = StoredBars(another, NOW)
        other.instrument(stock(), nyse(date(2023, 12, 1), 60))
        other.record(stock(), "1m", bars(close=55.5, days=4), settled=DAYS)
        pair.catch_up()
        answer = get(stored_bars.api(tmp_path, replica_url=pair.copied(another)))
        other.close()
    assert closes(answer.json()) == {100.5}
    assert watch.tried == [False]


def test_a_standby_without_the_tables_yet_is_passed_over(stored_bars: StoredBars, pair: Pair, tmp_path: Path) -> None:
    """It lags behind a migration."""
    with pytest.raises(psycopg2.errors.UndefinedTable):
        ask(pair.standby.dsn("nautilus"), "SELECT FROM store")
    answer = get(stored_bars.api(tmp_path, replica_url=pair.standby.dsn("nautilus")))
    assert answer.json()["total"] == 390
