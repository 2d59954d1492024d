"""How volumes were taken, bar by bar, against a dictionary: whatever is written over what, only the unproven is revised."""

import random

from nautilus.db.bars import volume_units
from nautilus.db.bars.volume_units import UNKNOWN, Taken, Unit
from nautilus.db.connection import Database
from nautilus.db.market import series
from nautilus.spans import Spans
from tests.integration.db.test_writing import MINUTE, bar, database, stored

__all__ = ["database"]  # the fixture

SETTING_LOTS, SETTING_SHARES = Unit("lots", "setting"), Unit("shares", "setting")
PROVEN_LOTS, PROVEN_SHARES = Unit("lots", "compared"), Unit("shares", "stated")
FACTORS = {"unknown": 1, "shares": 1, "lots": 100}


def write(database: Database, numbers: list[int], sent: float, taken: Taken) -> None:
    """Store bars as an answer brings them, whose volumes IB sent as `sent`."""
    volume = volume_units.in_shares(sent, taken.unit.unit)
    bars = [bar(n)._replace(volume=volume) for n in numbers]
    with database.transaction() as cursor:
        row = series.by_id(cursor, 1, lock=True)
        settled = Spans.of(bars[0].ts, bars[-1].ts + MINUTE)
        series.apply_changes(cursor, row, bars=bars, settled=settled, request_id=4)
        volume_units.note_taken(cursor, row, bars, taken)


def revise(database: Database, taken: Taken, limit: int) -> int:
    """One transaction after the other until all is right; returns how many bars changed."""
    bars = 0
    while True:
        with database.transaction() as cursor:
            step = volume_units.revise(cursor, taken, limit)
        if step is None:
            return bars
        bars += step.bars


def volumes(database: Database) -> dict[int, float | None]:
    with database.transaction() as cursor:
        return {b.ts: b.volume for b in stored(cursor)}


def test_any_bars_taken_in_any_unit_are_put_right_once_and_no_others(database: Database) -> None:
    rng = random.Random(5)
    units = [UNKNOWN, SETTING_LOTS, SETTING_SHARES, PROVEN_LOTS, PROVEN_SHARES]
    model: dict[int, tuple[float, Taken]] = {}
    for round_ in range(60):
        if rng.random() < 0.8:
            first = rng.randint(0, 60)
            numbers = sorted(rng.sample(range(first, first + 20), rng.randint(1, 20)))
            taken = Taken(rng.choice(["U1", "U2"]), rng.choice(units))
            sent = float(rng.randint(1, 99)) + round_ / 100
            write(database, numbers, sent, taken)
            model |= {bar(n).ts: (sent, taken) for n in numbers}
        else:
            now = Taken(rng.choice(["U1", "U2"]), rng.choice(units[1:]))
            revise(database, now, rng.choice([1, 7, 5000]))
            model = {
                ts: (sent, now if taken.login == now.login and not taken.unit.proven else taken)
                for ts, (sent, taken) in model.items()
            }
        expected = {ts: round(sent * FACTORS[taken.unit.unit], 2) for ts, (sent, taken) in model.items()}
        assert volumes(database) == expected
        with database.transaction() as cursor:
            for ts, (_, taken) in model.items():
                assert volume_units.unknown(cursor, 1, Spans.of(ts, ts + 1)) == (taken.unit == UNKNOWN)


def test_a_revision_keeps_the_old_values_and_raises_the_version(database: Database) -> None:
    write(database, [1, 2, 3], 948837.22, Taken("U1", UNKNOWN))
    assert revise(database, Taken("U1", PROVEN_LOTS), 5000) == 3
    assert set(volumes(database).values()) == {94883722.0}
    with database.transaction() as cursor:
        cursor.execute("SELECT volume, until_version FROM bar_revisions")
        assert [tuple(row) for row in cursor.fetchall()] == [(948837.22, 2)] * 3
        assert series.by_id(cursor, 1).data_version == 2
    assert revise(database, Taken("U1", PROVEN_LOTS), 5000) == 0


def test_another_login_and_other_evidence_change_nothing(database: Database) -> None:
    write(database, [1], 5.0, Taken("U1", PROVEN_LOTS))
    write(database, [2], 5.0, Taken("U2", UNKNOWN))
    assert revise(database, Taken("U1", PROVEN_SHARES), 5000) == 0
    assert revise(database, Taken("U1", SETTING_SHARES), 5000) == 0
    assert list(volumes(database).values()) == [500.0, 5.0]
