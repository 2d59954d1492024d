"""Bars on their way into the database: exactly counted, nothing rewritten that is the same, nothing lost that changes."""

import random
from collections.abc import Callable, Iterator
from typing import Any

import psycopg2
import pytest

from nautilus.clock import NS_PER_S
from nautilus.db import timescale
from nautilus.db.bars.write import Written
from nautilus.db.connection import Database
from nautilus.db.cursor import Cursor
from nautilus.db.ledger import job_list
from nautilus.db.market import series
from nautilus.db.ranges import spans_of
from nautilus.market.bar import Bar
from nautilus.market.timeframes import timeframe
from nautilus.spans import Spans
from tests.integration.db.test_migrate import INSTRUMENT

MINUTE = 60 * NS_PER_S
AT = 1_704_465_000 * NS_PER_S
FRAME = timeframe("1m")


@pytest.fixture
def database(dsn: str) -> Iterator[Database]:
    made = Database(dsn, name="test")
    with made.transaction() as cursor:
        cursor.execute(INSTRUMENT)
        series.find_or_make(cursor, 1, FRAME, price="TRADES", session="rth")
    yield made
    made.close()


def bar(n: int, price: float = 10.0, kind: int = 0) -> Bar:
    """kind: 0 with volume, vwap and trades, 1 without any, 2 and 3 with some."""
    rest = ((100.0, price, 7), (None, None, None), (5.0, None, 1), (None, 9.5, None))[kind]
    return Bar(AT + n * MINUTE, price, price + 1, price - 1, price + 0.1, *rest)


class ReadWatch:
    """Counts how often writing reads the bars that are stored, and calls `after` after the first time."""

    def __init__(self, after: Callable[[], object] = lambda: None) -> None:
        self.reads = 0
        self._after = after

    def over(self, cursor: Cursor) -> Any:
        """The same cursor, watched."""
        return _WatchedCursor(cursor, self._read)

    def _read(self) -> None:
        self.reads += 1
        if self.reads == 1:
            self._after()


class _WatchedCursor:
    def __init__(self, cursor: Cursor, read: Callable[[], None]) -> None:
        self._cursor = cursor
        self._read = read

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)

    def copy_expert(self, sql: str, file: Any, size: int = 8192) -> None:
        self._cursor.copy_expert(sql, file, size)
        if "FROM bars_minute" in sql:
            self._read()


def record(
    database: Database, bars: list[Bar], request_id: int | None = 4, *, watch: ReadWatch | None = None
) -> Written:
    with database.transaction() as own:
        cursor = watch.over(own) if watch else own
        settled = Spans.of(bars[0].ts, bars[-1].ts + MINUTE) if bars else Spans()
        row = series.by_id(cursor, 1, lock=True)
        return series.apply_changes(cursor, row, bars=bars, settled=settled, request_id=request_id)


def stored(cursor: Cursor) -> list[Bar]:
    cursor.execute("SELECT ts, open, high, low, close, volume, vwap, trades FROM bars_minute ORDER BY ts")
    return [Bar(*row) for row in cursor.fetchall()]


def test_any_bars_over_any_others_are_stored_counted_and_undone(database: Database) -> None:
    write_any(database, lambda: None)


def write_any(database: Database, between: Callable[[], object]) -> None:
    """Against a dictionary: what is there, the counts, and from revisions and changes every version before.

    between: what else happens after each write.
    """
    rng = random.Random(11)
    now: dict[int, Bar] = {}
    history: list[dict[int, Bar]] = [{}]
    for _ in range(60):
        first, count = rng.randint(0, 90), rng.choice((1, 3, 40, 80))
        wanted = sorted(rng.sample(range(first, first + count), rng.randint(1, count)))
        keep = rng.random()
        chosen = [
            now.get(n) if n in now and rng.random() < keep else bar(n, 10.0 + rng.randint(0, 2), n % 4) for n in wanted
        ]
        bars = [b for b in chosen if b]
        numbers = [(b.ts - AT) // MINUTE for b in bars]
        new = [n for n in numbers if n not in now]
        revised = [n for n, b in zip(numbers, bars, strict=True) if n in now and now[n] != b]
        written = record(database, bars)
        assert (written.new, written.revised) == (len(new), len(revised))
        assert written.same == len(bars) - len(new) - len(revised)
        now = now | dict(zip(numbers, bars, strict=True))
        if written.changed:
            history.append(now)
        between()
    with database.transaction(snapshot=True) as cursor:
        assert stored(cursor) == [now[n] for n in sorted(now)]
        for version, state in enumerate(history):
            assert at_version(cursor, version) == [state[n] for n in sorted(state)]


def at_version(cursor: Cursor, version: int) -> list[Bar]:
    """The bars as they were: without what was added later, each with its earliest later revision (DESIGN: pages)."""
    cursor.execute("SELECT added::text FROM series_changes WHERE version > %s", (version,))
    added = Spans(span for row in cursor.fetchall() for span in spans_of(row[0]))
    cursor.execute(
        "SELECT DISTINCT ON (ts) ts, open, high, low, close, volume, vwap, trades FROM bar_revisions"
        " WHERE until_version > %s AND request_id = 4 ORDER BY ts, until_version",
        (version,),
    )
    older = {row[0]: Bar(*row) for row in cursor.fetchall()}
    found = [older.get(b.ts, b) for b in stored(cursor) if b.ts not in added]
    return [b for b in found if b.open is not None]


def test_the_same_again_writes_nothing(database: Database) -> None:
    bars = [bar(n, kind=n % 4) for n in range(200)]
    record(database, bars)
    with database.transaction() as cursor:
        cursor.execute("SELECT ctid, xmin FROM bars_minute ORDER BY ts")
        before = cursor.fetchall()
    assert record(database, bars) == Written(same=200)
    with database.transaction() as cursor:
        cursor.execute("SELECT ctid, xmin FROM bars_minute ORDER BY ts")
        assert cursor.fetchall() == before
        assert series.by_id(cursor, 1).data_version == 1


def stray(cursor: Cursor) -> None:
    cursor.execute("INSERT INTO bars_minute VALUES (1, %s, 1, 1, 1, 1)", (AT + MINUTE,))


def check_beside_a_stray(database: Database, written: Written) -> None:
    """Of three bars the second was there, by another hand."""
    assert (written.new, written.revised, written.same) == (2, 1, 0)
    assert list(written.added) == [(AT, AT + 1), (AT + 2 * MINUTE, AT + 2 * MINUTE + 1)]
    with database.transaction() as cursor:
        assert stored(cursor) == [bar(n) for n in range(3)]


def test_another_writer_without_the_lock_is_found(database: Database) -> None:
    """It commits after we have read what is stored, and before our COPY."""

    with database.transaction() as cursor:  # where something is covered, what is stored is read
        series.apply_changes(cursor, series.by_id(cursor, 1, lock=True), settled=Spans.of(AT, AT + MINUTE))

    def write_elsewhere() -> None:
        with database.transaction() as other:
            stray(other)

    watch = ReadWatch(write_elsewhere)
    check_beside_a_stray(database, record(database, [bar(n) for n in range(3)], watch=watch))
    assert watch.reads == 2


def test_stored_bars_are_read_only_where_something_is_covered_or_a_bar_is_met(database: Database) -> None:
    with database.transaction() as cursor:
        stray(cursor)
    watch = ReadWatch()
    check_beside_a_stray(database, record(database, [bar(n) for n in range(3)], watch=watch))
    assert watch.reads == 1, "a bar was met"
    assert record(database, [bar(n) for n in range(10, 13)], watch=watch).new == 3
    assert watch.reads == 1, "nothing is covered there"
    assert record(database, [bar(n) for n in range(10, 13)], watch=watch).same == 3
    assert watch.reads == 2, "they are covered"


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number_is_refused(database: Database, wrong: float) -> None:
    with pytest.raises(psycopg2.errors.CheckViolation):
        record(database, [bar(0)._replace(high=wrong)])
    with database.transaction() as cursor:
        assert stored(cursor) == []


def test_how_many_bars_there_are_is_known_after_the_counters_were_lost(database: Database) -> None:
    """As after a crash of the server, which forgets what it counted since the last vacuum."""
    record(database, [bar(n) for n in range(500)])
    with database.transaction() as cursor:
        cursor.execute("ANALYZE bars_minute")
        cursor.execute("SELECT pg_stat_reset_single_table_counters('bars_minute'::regclass)")
    with database.transaction() as cursor:
        assert timescale.estimated_bars(cursor) == job_list.totals(cursor).total_bars == 500
