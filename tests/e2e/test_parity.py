"""A strategy decides alike in live, in paper and in the back-test of the bars that it saw. `make parity` plays a whole day, and
another one in which the child, the host, the order process and the bridge are killed; the suite plays a few minutes."""

import os
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from nautilus.db.strategies.runs import RunRow
from nautilus.strategies.states import Mode
from tests.support.parity_day import ParityDay, parity_day
from tests.support.parity_table import TICK, Parity
from tests.support.strategy_parity import (
    Mutation,
    bars_given,
    course_of,
    dropping,
    replayed,
    taken_while_forming,
)
from tests.support.strategy_runner import needs_engine

pytestmark = needs_engine
MINUTES = int(os.environ.get("PARITY_MINUTES", "0"))
SHORT, PARTS = 8, 5
QUICK = {"fast": 1, "slow": 3, "trade_size": "10"}
SLOW = {"fast": 3, "slow": 8, "trade_size": "10"}


def parity_of(day: ParityDay, live: RunRow, paper: RunRow, mutation: Mutation = list) -> Parity:
    """mutation: of the bars that the back-test beside the live run gets."""
    database = day.strategies.db
    last_ns = bars_given(database, live)[1][-1].closed_ns
    tested, paper_tested = replayed(database, live, mutation=mutation), replayed(database, paper)
    return Parity(course_of(database, live), course_of(database, paper), tested, paper_tested, last_ns)


def moved(parity: Parity) -> Parity:
    """With the first live fill six ticks away."""
    first, *rest = parity.live.fills
    return parity._replace(live=parity.live._replace(fills=[first._replace(price=first.price + 6 * TICK), *rest]))


def test_a_few_live_minutes_decide_as_the_back_test_of_their_bars_and_mutants_do_not(
    servers: SimpleNamespace, tmp_path: Path, dsn: str
) -> None:
    with parity_day(servers.group, tmp_path, dsn) as day:
        live, paper = day.begin("ema_cross", QUICK, warm_up_bars=5, modes=[Mode.LIVE, Mode.PAPER])
        for _ in range(PARTS):  # in which minute it begins decides what there is to decide
            day.play([live, paper], SHORT)
            if len(course_of(day.strategies.db, live).decisions) >= 2:
                break
        live, paper = day.stop(live), day.stop(paper)
        parity = parity_of(day, live, paper)
        print(f"\n{parity.table()}")
        assert parity.differences() == []
        assert len(parity.live.decisions) >= 2
        assert len(parity.live.fills) == len(parity.live.decisions)
        decided = {one.decided_ns for one in parity.live.decisions}
        given = [n for n, bar in enumerate(bars_given(day.strategies.db, live)[1]) if bar.closed_ns in decided]
        assert parity_of(day, live, paper, dropping(given)).differences() != []
        assert parity_of(day, live, paper, taken_while_forming(given)).differences() != []
        assert any("ticks apart" in one for one in moved(parity).differences())


@pytest.mark.timeout(3_600)
@pytest.mark.skipif(MINUTES == 0, reason="make parity")
def test_a_live_day_decides_as_the_back_test_of_its_bars(servers: SimpleNamespace, tmp_path: Path, dsn: str) -> None:
    with parity_day(servers.group, tmp_path, dsn) as day:
        live, paper = day.begin("ema_cross", SLOW, warm_up_bars=20, modes=[Mode.LIVE, Mode.PAPER])
        day.play([live, paper], MINUTES)
        live, paper = day.stop(live), day.stop(paper)
        parity = parity_of(day, live, paper)
        print(f"\n{live.bars_done} bars\n{parity.table()}")
        assert parity.differences() == []


@pytest.mark.timeout(3_600)
@pytest.mark.skipif(MINUTES == 0, reason="make parity")
def test_a_live_day_of_crashes_decides_as_the_back_test_of_its_bars(
    servers: SimpleNamespace, tmp_path: Path, dsn: str
) -> None:
    victims = {MINUTES * (n + 1) // 5: victim for n, victim in enumerate(("child", "orders", "bridge", "host"))}
    with parity_day(servers.group, tmp_path, dsn) as day:
        (live,) = day.begin("ema_cross", SLOW, warm_up_bars=20, modes=[Mode.LIVE])
        day.play([live], MINUTES, after=partial(kill, day, live, victims))
        live = day.stop(live)
        tested, course = replayed(day.strategies.db, live), course_of(day.strategies.db, live)
        assert course.decisions == tested.decisions
        assert len(course.decisions) >= 2


def kill(day: ParityDay, run: RunRow, victims: dict[int, str], minute: int) -> None:
    if minute in victims:
        day.crash(victims[minute], run)
