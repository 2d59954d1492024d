"""200,000 bars, read side by side, equal one read of the database at their version, whatever a backfill revises meanwhile."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import date
from itertools import cycle

import psycopg2
import pytest

from nautilus.db.market import series
from nautilus.market.bar import Bar
from nautilus.market.timeframes import timeframe
from nautilus.spans import Spans
from nautilus_client import reading
from nautilus_client.client import Client
from nautilus_client.errors import VersionChanged
from tests.integration.client.test_bars import of_database
from tests.support.markets import DAY, MINUTE, market, ns
from tests.support.stored_bars import StoredBars, stock

FIRST = ns("2023-08-20 00:00")
COUNT = 201_600  # 140 days without a pause, in six months
END = FIRST + COUNT * MINUTE
LONG = stock(2, "LONG", "TEST:LONG")
MONTHS = 6
Rows = dict[int, tuple[object, ...]]


@pytest.fixture
def stored(stored_bars: StoredBars) -> StoredBars:
    """Minutes that PostgreSQL makes, some without a volume."""
    stored_bars.instrument(LONG, market("UTC", date(2023, 8, 10), 180, [(0, 1_440)], weekdays=range(7)))
    with stored_bars.db.transaction() as cursor:
        row = series.find_or_make(cursor, LONG.con_id, timeframe("1m"), price="TRADES", session="rth")
        locked = series.by_id(cursor, row.id, lock=True)
        series.apply_changes(cursor, locked, bars=[], settled=Spans.of(FIRST, END), noted=[])
    connection = psycopg2.connect(stored_bars.dsn)
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO bars_minute SELECT %s, %s + n * %s, p, p + 0.07, p - 0.03, p + 0.01,"
            " CASE WHEN n %% 3 > 0 THEN n %% 10000 END, CASE WHEN n %% 3 > 0 THEN p + 0.0025 END, n %% 500"
            " FROM (SELECT n, round((180 + abs(hashint8(n)) %% 1000 / 100.0)::numeric, 2)::float8 AS p"
            " FROM generate_series(0::bigint, %s) AS n) AS g",
            (row.id, FIRST, MINUTE, COUNT - 1),
        )
    connection.close()
    return stored_bars


class Reviser:
    """Revises a bar of each month in turn. changes: the version of each, and the bar, before it can be seen."""

    def __init__(self, stored: StoredBars) -> None:
        self._stored = stored
        self._stamps = cycle(FIRST + n * 30 * DAY + 60 * MINUTE for n in range(5))
        self.changes: list[tuple[int, Bar]] = []
        self.version = stored.rows("SELECT data_version FROM series")[0][0]

    def revise(self) -> None:
        number = len(self.changes)
        bar = Bar(next(self._stamps), 500.0, 501.0, 499.0, 500.0 + number / 1_000, 7.0, 500.0, number)
        self.version += 1
        self.changes.append((self.version, bar))
        self._stored.record(LONG, "1m", [bar])
        assert self._stored.rows("SELECT data_version FROM series") == [(self.version,)]

    @contextmanager
    def running(self) -> Iterator[None]:
        over = threading.Event()
        failures: list[BaseException] = []

        def work() -> None:
            try:
                while not over.is_set():
                    self.revise()
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

    def rows(self, before: Rows, version: int) -> list[tuple[object, ...]]:
        """What the database held at a version."""
        found = dict(before)
        for changed, bar in self.changes:
            if changed <= version:
                found[bar.ts] = tuple(bar)
        return list(found.values())


def test_two_hundred_thousand_bars_are_those_of_one_version_while_some_are_revised(
    stored: StoredBars, client: Client
) -> None:
    before: Rows = {int(row[0]): row for row in of_database(stored)}
    assert len(before) == COUNT >= reading.PARALLEL_FROM
    reviser = Reviser(stored)
    steps: list[tuple[int, int | None]] = []
    with reviser.running(), suppress(VersionChanged):
        bars = client.bars("LONG", "1m", start=FIRST, end=END, progress=lambda *step: steps.append(step))
        found = list(map(tuple, bars))
        assert found == reviser.rows(before, bars.version), bars.version
        assert bars.complete
    assert len([done for done, expected in steps if expected == COUNT]) == MONTHS, "each month by itself"
    assert len(reviser.changes) > 1, "it was revised while it was read"
    last = client.bars("LONG", "1m", start=FIRST, end=END)
    assert list(map(tuple, last)) == of_database(stored) == reviser.rows(before, reviser.version)
