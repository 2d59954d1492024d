"""What changed since a version, put over the bars of that version, is the series now: over random commits, for each version."""

import random
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from nautilus.clock import NS_PER_S
from nautilus.db.bars.bar_source import BarSource
from nautilus.db.connection import Database
from nautilus.db.live import delta
from nautilus.db.live.delta import BarRow, Changes
from nautilus.db.market import instruments, series
from nautilus.market.bar import Bar
from nautilus.market.timeframes import timeframe
from nautilus.spans import Spans
from tests.support.stored_bars import stock

MINUTE = 60 * NS_PER_S
START = 1_767_623_400 * NS_PER_S
FRAME = timeframe("1m")
Kept = dict[int, BarRow]


@pytest.fixture
def db(dsn: str) -> Iterator[Database]:
    with closing(Database(dsn, name="test-delta", size=2)) as database:
        with database.transaction() as cursor:
            instruments.store(cursor, stock(), {})
        yield database


def commit(db: Database, bars: list[Bar]) -> int:
    """One answer of history; the number of the series."""
    with db.transaction() as cursor:
        row = series.find_or_make(cursor, stock().con_id, FRAME, price="TRADES", session="rth")
        locked = series.by_id(cursor, row.id, lock=True)
        series.apply_changes(cursor, locked, bars=bars, settled=Spans([(bars[0].ts, bars[-1].ts + MINUTE)]))
        return row.id


def remove(db: Database, series_id: int, first: int, last: int) -> None:
    """What retention does to a range."""
    span = (START + first * MINUTE, START + last * MINUTE)
    with db.transaction() as cursor:
        row = series.by_id(cursor, series_id, lock=True)
        cursor.execute("DELETE FROM bars_minute WHERE series_id = %s AND ts >= %s AND ts < %s", (series_id, *span))
        cursor.execute("DELETE FROM bar_revisions WHERE series_id = %s AND ts >= %s AND ts < %s", (series_id, *span))
        series.removed(cursor, row, span)
        cursor.execute("UPDATE series SET data_version = data_version + 1 WHERE id = %s", (series_id,))


def bars_of(draw: random.Random, first: int, count: int, gaps: float = 0.0) -> list[Bar]:
    chosen = [n for n in range(first, first + count) if n == first or draw.random() >= gaps]
    return [
        Bar(START + n * MINUTE, 1.0, 2.0, 0.5, draw.choice((1.0, 1.25, 1.5)), float(draw.randint(1, 3)), None, 1)
        for n in chosen
    ]


def history(db: Database, draw: random.Random, commits: int) -> tuple[int, dict[int, Kept]]:
    """Random commits: new minutes, overlaps, revisions, late holes, scattered bars, and what retention takes. Version -> the bars
    of that version."""
    series_id, newest = commit(db, bars_of(draw, 0, 5)), 5
    kept = {}
    for _ in range(commits):
        way = draw.random()
        if way < 0.4:
            count = draw.randint(1, 4)
            commit(db, bars_of(draw, newest + draw.choice((0, 0, 0, 3)), count))
            newest += count + 3
        elif way < 0.9:
            first = draw.randrange(newest)
            commit(db, bars_of(draw, first, draw.randint(1, 40), gaps=0.3))
        else:
            first = draw.randrange(newest)
            remove(db, series_id, first, first + draw.randint(1, 3))
        version, bars = now(db, series_id)
        kept[version] = bars
    return series_id, kept


def now(db: Database, series_id: int) -> tuple[int, Kept]:
    with db.transaction(snapshot=True) as cursor:
        row = series.by_id(cursor, series_id)
        bars = delta.newest(cursor, BarSource(series_id, FRAME), 100_000)
        return row.data_version, {bar.ts: bar for bar in bars}


def since(db: Database, series_id: int, version: int, limit: int = 100_000, *, whole: bool = True) -> Changes:
    with db.transaction(snapshot=True) as cursor:
        return delta.since(cursor, series_id, FRAME, version, limit=limit, whole=whole)


def repeated(db: Database, series_id: int, older: int, version: int) -> Changes:
    """What is told of a version to who lacks some of it; and what retention took since the older one, which is no message."""
    found = since(db, series_id, version, whole=False)
    return found._replace(removed=since(db, series_id, older).removed)


def put_over(bars: Kept, changes: Changes) -> Kept:
    left = {ts: bar for ts, bar in bars.items() if ts not in changes.removed}
    return left | {bar.ts: bar for bar in changes.bars}


def differing(db: Database, series_id: int, kept: dict[int, Kept], put: Callable[[Kept, Changes], Kept]) -> list[int]:
    """The versions from which one does not come to the bars as they are now."""
    _, bars = now(db, series_id)
    return [version for version in kept if put(kept[version], since(db, series_id, version)) != bars]


@pytest.mark.parametrize("seed", range(4))
def test_the_bars_of_any_version_and_what_changed_since_are_the_bars_now(db: Database, seed: int) -> None:
    series_id, kept = history(db, random.Random(seed), 100)
    assert differing(db, series_id, kept, put_over) == []
    version, _ = now(db, series_id)
    assert since(db, series_id, version) == Changes([], None, Spans())


def test_who_has_a_version_in_part_only_gets_all_that_was_committed_shortly_before(db: Database) -> None:
    """Of each version that a listener knows, it lacks what the three commits before and that one changed."""
    series_id, kept = history(db, random.Random(3), 100)
    bars, versions = now(db, series_id)[1], list(kept)
    pairs = list(zip(versions, versions[4:], strict=False))
    for older, version in pairs:
        assert put_over(kept[older], repeated(db, series_id, older, version)) == bars
    assert any(put_over(kept[older], since(db, series_id, version)) != bars for older, version in pairs), "a mutant"


def test_only_commits_of_the_last_minutes_and_bars_of_the_last_day_are_repeated(db: Database) -> None:
    draw = random.Random(4)
    series_id = commit(db, bars_of(draw, 0, 5))
    with db.transaction() as cursor:
        cursor.execute("UPDATE series_changes SET committed_at = committed_at - interval '121 seconds'")
    commit(db, bars_of(draw, 4_000, 5))
    commit(db, bars_of(draw, 10, 2_000))
    version, _ = now(db, series_id)
    found = since(db, series_id, version, whole=False)
    assert [bar.ts for bar in found.bars] == [START + n * MINUTE for n in range(4_000, 4_005)]
    assert since(db, series_id, version).bars == []
    with db.transaction() as cursor:
        cursor.execute("INSERT INTO forgotten_versions VALUES (%s, %s, now())", (series_id, version))
    assert since(db, series_id, version, whole=False).bars == [], "nobody knows what changed before"


def test_without_revisions_or_removed_ranges_it_would_fail(db: Database) -> None:
    """The mutants: a reader who forgets what was removed, and one who takes only bars that are new."""
    series_id, kept = history(db, random.Random(5), 80)

    def without_removed(bars: Kept, changes: Changes) -> Kept:
        return bars | {bar.ts: bar for bar in changes.bars}

    def without_revised(bars: Kept, changes: Changes) -> Kept:
        return put_over(bars, changes._replace(bars=[bar for bar in changes.bars if bar.ts not in bars]))

    for mutant in (without_removed, without_revised):
        assert differing(db, series_id, kept, mutant)


def test_more_changes_than_wanted_are_told_as_a_range(db: Database) -> None:
    draw = random.Random(1)
    series_id = commit(db, bars_of(draw, 0, 50))
    version, _ = now(db, series_id)
    commit(db, bars_of(draw, 60, 30))
    found = since(db, series_id, version, limit=29)
    assert found == Changes([], (START + 60 * MINUTE, START + 89 * MINUTE + 1), Spans())
    assert len(since(db, series_id, version, limit=30).bars) == 30
    for unknown in (version + 50, 0):
        with db.transaction() as cursor:
            cursor.execute("INSERT INTO forgotten_versions VALUES (%s, 1, now()) ON CONFLICT DO NOTHING", (series_id,))
        assert since(db, series_id, unknown).more == (START, START + 89 * MINUTE + 1), "nobody knows what changed since"
    assert since(db, series_id, 1, limit=30).more is None
    commit(db, [bar._replace(close=9.0, high=9.0) for bar in bars_of(draw, 10, 40)])
    found = since(db, series_id, version, limit=35)
    assert found.more == (START + 10 * MINUTE, START + 89 * MINUTE + 1)
