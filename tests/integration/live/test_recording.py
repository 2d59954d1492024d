"""Whatever answers come, in whatever order: who has the bars of a version and takes the changes since has the series as it is."""

from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ib_bridge.history.writer import Answer
from ib_bridge.live import recording
from nautilus.backfill.pacing import Request
from nautilus.db.bars import write as bar_store
from nautilus.db.connection import Database
from nautilus.db.cursor import Cursor
from nautilus.db.ledger import requests
from nautilus.db.live import delta, provisional
from nautilus.db.live.delta import BarRow
from nautilus.db.live.provisional import ProvisionalBar
from nautilus.db.market import series
from nautilus.db.market.series import ALL_TIME
from nautilus.live.bars import LiveState
from nautilus.live.confirmation import MINUTE_NS, Report
from nautilus.live.subscriptions import StreamKey
from nautilus.market.bar import Bar
from nautilus.market.timeframes import timeframe
from nautilus.spans import Spans
from tests.integration.db.test_migrate import INSTRUMENT
from tests.unit.live.test_confirmation import CALENDAR, at

OPEN = at("04 14:30")
MINUTE = timeframe("1m")
KEY = StreamKey(1, "bars:1m", "TRADES", "rth")
LENGTH = 24


class Step(NamedTuple):
    """An answer to a request for minutes [first, after), at a minute of the day; `prices` of the bars it has, by minute."""

    first: int
    after: int
    prices: dict[int, int]
    shown: dict[int, int]
    """What live shows meanwhile."""
    late: int
    """Minutes after the last one at which it comes."""


def price(n: int) -> tuple[float, float, float, float]:
    return 10.0, 11.0 + n, 9.0, 10.0 + n


@st.composite
def steps(draw: st.DrawFn) -> Step:
    first = draw(st.integers(0, LENGTH - 1))
    after = draw(st.integers(first + 1, LENGTH))
    prices = st.dictionaries(st.integers(first, after - 1), st.integers(0, 2), max_size=after - first)
    shown = st.dictionaries(st.integers(0, LENGTH - 1), st.integers(0, 2), max_size=4)
    return Step(first, after, draw(prices), draw(shown), draw(st.sampled_from([0, 5, 20, 40])))


def stamp(minute: int) -> int:
    return OPEN + minute * MINUTE_NS


def answer(cursor: Cursor, number: int, step: Step, begins: int | None = None) -> Report:
    row = series.find_or_make(cursor, 1, MINUTE, price="TRADES", session="rth")
    lives = [
        ProvisionalBar(row.id, stamp(n), *price(p), 5.0, 1, "closed", False, "kutd", 0) for n, p in step.shown.items()
    ]
    provisional.put(cursor, lives)
    request = Request("x", "x", small=False)
    booked = requests.insert(cursor, "l", "b", kind="confirm", request=request, sent_at=0, series_id=row.id)
    return recording.record(
        cursor,
        KEY,
        row.id,
        Answer(booked, number),
        span=(stamp(step.first), stamp(step.after)),
        rows=[Bar(stamp(n), *price(p), 5.0, None, 1) for n, p in sorted(step.prices.items())],
        calendar=CALENDAR,
        market_ns=stamp(LENGTH + step.late),
        begins=begins,
    )


def stored(cursor: Cursor, series_id: int) -> dict[int, BarRow]:
    bars = bar_store.first(cursor, series_id, MINUTE, span=ALL_TIME, limit=1_000)
    return {bar.ts: BarRow(*bar[:6], bar.trades) for bar in bars}


def upserted(snapshot: dict[int, BarRow], changes: delta.Changes) -> dict[int, BarRow]:
    """What a listener has that resumes."""
    kept = {ts: bar for ts, bar in snapshot.items() if ts not in changes.removed}
    return dict(sorted((kept | {bar.ts: bar for bar in changes.bars}).items()))


@pytest.fixture
def database(dsn: str) -> Iterator[Database]:
    made = Database(dsn, name="test")
    with made.transaction() as cursor:
        cursor.execute(INSTRUMENT)
    yield made
    made.close()


class Undone(Exception):
    """An example leaves nothing behind."""


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(steps(), min_size=1, max_size=8))
def test_a_snapshot_and_the_changes_since_are_the_series_now(database: Database, taken: list[Step]) -> None:
    with suppress(Undone), database.transaction() as cursor:
        snapshots: dict[int, dict[int, BarRow]] = {0: {}}
        for number, step in enumerate(taken):
            report = answer(cursor, number, step)
            snapshots[report.version] = stored(cursor, report.series_id)
            check_outcomes(cursor, step, report)
        row = series.by_id(cursor, report.series_id)
        now = stored(cursor, row.id)
        for version, snapshot in snapshots.items():
            assert upserted(snapshot, delta.since(cursor, row.id, MINUTE, version, limit=1_000)) == now, version
        raise Undone


def check_outcomes(cursor: Cursor, step: Step, report: Report) -> None:
    """Every provisional bar that is settled got a word, a true one, and no other was touched."""
    row = series.by_id(cursor, report.series_id)
    bars = bar_store.read(cursor, row.id, MINUTE, [one.bar.ts for one in report.outcomes])
    found = {one.bar.ts: one for one in report.outcomes}
    left = {one.ts for one in provisional.within(cursor, row.id, *ALL_TIME)}
    assert not left & {ts for ts in map(stamp, range(LENGTH)) if ts in row.covered}
    for minute in step.shown:
        assert (stamp(minute) in found) == (stamp(minute) in row.covered), "nothing is said of what is not settled"
    for ts, one in found.items():
        if one.state is LiveState.WITHDRAWN:
            assert ts not in bars
        else:
            assert one.bar == bars[ts]
    assert all(ts in row.covered for ts in found)
    assert not row.covered - Spans.of(OPEN, stamp(LENGTH)), "what was not asked for is not settled"


def test_changes_without_those_of_single_bars_are_found_out(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The opponent: a listener that hears of new bars and not of revised ones."""
    nothing = delta._Revised(0, None, None)
    first = Step(0, 3, {0: 0, 1: 0, 2: 0}, {}, 0)
    with database.transaction() as cursor:
        version = answer(cursor, 0, first).version
        snapshot = stored(cursor, 1)
        answer(cursor, 1, first._replace(prices={0: 0, 1: 2, 2: 0}))
        now = stored(cursor, 1)
        assert upserted(snapshot, delta.since(cursor, 1, MINUTE, version, limit=9)) == now
        monkeypatch.setattr(delta, "_revised", lambda *_: nothing)
        assert upserted(snapshot, delta.since(cursor, 1, MINUTE, version, limit=9)) != now


@pytest.mark.parametrize(("begins", "revised"), [(None, []), (stamp(1), []), (stamp(0), [0])])
def test_the_first_bar_of_an_answer_is_compared_where_the_request_begins_with_it(
    database: Database, begins: int | None, revised: list[int]
) -> None:
    """Else it may be cut."""
    before, now = Step(0, 2, {0: 0, 1: 0}, {}, 0), Step(2, 3, {0: 1, 1: 0, 2: 0}, {}, 0)
    with database.transaction() as cursor:
        answer(cursor, 0, before)
        report = answer(cursor, 1, now, begins)
    found = [one.bar.ts for one in report.outcomes if one.state is LiveState.REVISED]
    assert found == [stamp(n) for n in revised]


def test_an_unconfirmed_range_keeps_the_time_of_its_first_answer(database: Database) -> None:
    """An answer each minute must not put off for ever what the second one after a quarter of an hour proves."""
    with database.transaction() as cursor:
        for minute in range(14):
            answer(cursor, minute, Step(0, LENGTH, {}, {0: 1}, minute))
        row = series.by_id(cursor, 1)
        assert not row.covered
        report = answer(cursor, 14, Step(0, LENGTH, {}, {}, 15))
        assert series.by_id(cursor, 1).covered == Spans.of(OPEN, stamp(LENGTH))
    assert [one.state for one in report.outcomes] == [LiveState.WITHDRAWN]
